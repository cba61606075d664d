//! The bytes between Muster and a Redis server: TCP, TLS in it, or a Unix socket of this host.
//!
//! In: an address. Out: a stream whose reads come back ten times a second. It knows no protocol. Read next: `tls.rs`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::Duration,
};

use muster_types::Kind;
use rustix::net::sockopt;

use super::{
    address::Address,
    tls::{self, TlsStream},
};
use crate::DriverError;

/// How long to wait for bytes between two looks at the watcher.
const TICK: Duration = Duration::from_millis(100);
/// How long a connection and its handshake may take.
const LOGIN_WITHIN: Duration = Duration::from_secs(15);

/// Ends a connection from another thread: a read that waits comes back with its end.
pub(super) struct Stopper(Socket);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stopper {
    pub(super) fn stop(&self) {
        // It fails only when the connection has ended already.
        drop(match &self.0 {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        });
    }
}

/// The bytes to and from a server.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Returns what ends it from another thread.
    pub(super) fn stopper(&self) -> io::Result<Stopper> {
        let socket = match self {
            Self::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
            Self::Tls(stream) => stream.sock.try_clone().map(Socket::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Socket::Unix),
        };
        socket.map(Stopper)
    }

    pub(super) fn local_address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            Self::Tls(stream) => stream.sock.local_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Tells whether a read has only come back to let others look.
pub(super) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Calls the server, and begins TLS when it is wanted.
pub(super) fn connect(address: &Address) -> Result<Stream, DriverError> {
    let unreachable = |error: io::Error| {
        let hint = match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                "is the server running, and is this its host and port? (`bind`, `port`, `tls-port`)"
            }
            _ => "look at the host name and the network between",
        };
        DriverError::new(Kind::Unavailable, format!("cannot reach Redis at {address}: {error}"))
            .with_hint(hint)
    };
    if address.host.starts_with('/') {
        let stream = UnixStream::connect(&address.host).map_err(unreachable)?;
        stream.set_read_timeout(Some(TICK)).map_err(unreachable)?;
        return Ok(Stream::Unix(stream));
    }
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for place in (address.host.as_str(), address.port).to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&place, LOGIN_WITHIN) {
            Ok(stream) => return prepare(stream, address, &unreachable),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Watches for a peer that vanishes, and begins TLS when it is wanted.
fn prepare(
    stream: TcpStream,
    address: &Address,
    unreachable: &dyn Fn(io::Error) -> DriverError,
) -> Result<Stream, DriverError> {
    let kept = sockopt::set_socket_keepalive(&stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(&stream, Duration::from_secs(30)))
        .and_then(|()| sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(10)))
        .and_then(|()| sockopt::set_tcp_keepcnt(&stream, 6));
    kept.map_err(|errno| unreachable(errno.into()))?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if let Some(tls) = &address.tls {
        stream.set_read_timeout(Some(LOGIN_WITHIN)).map_err(unreachable)?;
        let session = tls::wrap(stream, address, tls)?;
        session.sock.set_read_timeout(Some(TICK)).map_err(unreachable)?;
        return Ok(Stream::Tls(Box::new(session)));
    }
    stream.set_read_timeout(Some(TICK)).map_err(unreachable)?;
    Ok(Stream::Tcp(stream))
}
