//! The bytes between Muster and a server: a TCP connection, one with TLS in it, or a socket of the host.
//!
//! In: an address. Out: a stream whose reads come back ten times a second, so that whoever waits can be stopped.
//! Read next: `tls.rs`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::Duration,
};

use bytes::BytesMut;
use muster_types::Kind;
use postgres_protocol::message::frontend;

use super::{
    super::{
        address::{Address, TlsMode},
        tls::{self, TlsStream},
    },
    LOGIN_WITHIN,
};
use crate::DriverError;

/// How long to wait for bytes between two looks at the watcher.
const TICK: Duration = Duration::from_millis(100);

/// Ends a connection from another thread: a read that waits comes back with an error.
pub(in super::super) struct Stopper(Socket);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
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
}

impl Stopper {
    pub(in super::super) fn stop(&self) {
        // It fails only when the connection has ended already.
        drop(match &self.0 {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        });
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

pub(super) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Calls the server, and begins TLS when it is wanted.
pub(super) fn connect(address: &Address) -> Result<Stream, DriverError> {
    let unreachable = |error: io::Error| {
        let hint = match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
                "is the server running, and is this its host and port? (`listen_addresses`, `port`)"
            }
            ErrorKind::PermissionDenied => {
                "run Muster as a user that may use this socket, or connect to a TCP port"
            }
            _ => "look at the host name and the network between",
        };
        DriverError::new(Kind::Unavailable, format!("cannot reach PostgreSQL at {address}: {error}"))
            .with_hint(hint)
    };
    if let Some(folder) = address.socket_folder() {
        let stream =
            UnixStream::connect(folder.join(format!(".s.PGSQL.{}", address.port))).map_err(unreachable)?;
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
    mut stream: TcpStream,
    address: &Address,
    unreachable: &dyn Fn(io::Error) -> DriverError,
) -> Result<Stream, DriverError> {
    use rustix::net::sockopt;
    let kept = sockopt::set_socket_keepalive(&stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(&stream, Duration::from_secs(30)))
        .and_then(|()| sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(10)))
        .and_then(|()| sockopt::set_tcp_keepcnt(&stream, 6));
    kept.map_err(|errno| unreachable(errno.into()))?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if address.tls != TlsMode::Disable {
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        stream.set_read_timeout(Some(LOGIN_WITHIN)).map_err(unreachable)?;
        let mut answer = [0];
        stream.write_all(&out).and_then(|()| stream.read_exact(&mut answer)).map_err(unreachable)?;
        match answer {
            [b'S'] => {
                let mut session = tls::wrap(stream, address)?;
                while session.conn.is_handshaking() {
                    session.conn.complete_io(&mut session.sock).map_err(|error| untrusted(address, error))?;
                }
                session.sock.set_read_timeout(Some(TICK)).map_err(unreachable)?;
                return Ok(Stream::Tls(Box::new(session)));
            }
            _ if address.tls == TlsMode::Prefer => {}
            _ => {
                let message = format!("{address} does not speak TLS, and `sslmode` demands it");
                return Err(DriverError::new(Kind::Unavailable, message).with_hint(
                    "set `ssl = on` with a certificate on the server, or change `sslmode` in the URL",
                ));
            }
        }
    }
    stream.set_read_timeout(Some(TICK)).map_err(unreachable)?;
    Ok(Stream::Tcp(stream))
}

fn untrusted(address: &Address, error: io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("no TLS with {address}: {error}"))
        .with_hint("is `sslrootcert` the authority that signed the server's certificate, and does the certificate name this host?")
}
