//! The bytes between Muster and a server of a component: TCP, TLS in it, or a Unix socket of this host.
//!
//! In: a place. Out: a stream whose reads come back ten times a second, so that whoever waits can be stopped, and what
//! ends it from another thread. It knows no protocol and begins no TLS: that differs from server to server.
//! Read next: `redis/socket.rs`, `postgres/wire/socket.rs`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use rustix::net::sockopt;
use rustls::{ClientConnection, StreamOwned};

/// How long to wait for bytes between two looks at the watcher.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A TLS stream over TCP.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Ends a connection from another thread: a read that waits comes back with its end.
pub(crate) struct Stopper(Socket);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stopper {
    pub(crate) fn stop(&self) {
        // It fails only when the connection has ended already.
        drop(match &self.0 {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both),
        });
    }
}

/// The bytes to and from a server.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Calls the socket of this host at a path.
    pub(crate) fn at_path(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(TICK))?;
        Ok(Self::Unix(stream))
    }

    /// Takes a connection over whose login is done.
    pub(crate) fn over_tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(TICK))?;
        Ok(Self::Tcp(stream))
    }

    /// Takes a session over whose handshake is done.
    pub(crate) fn over_tls(session: TlsStream) -> io::Result<Self> {
        session.sock.set_read_timeout(Some(TICK))?;
        Ok(Self::Tls(Box::new(session)))
    }

    /// Sets how long a read waits for bytes before it comes back without any.
    pub(crate) fn set_tick(&self, tick: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(tick)),
            Self::Tls(stream) => stream.sock.set_read_timeout(Some(tick)),
            Self::Unix(stream) => stream.set_read_timeout(Some(tick)),
        }
    }

    /// Returns what ends it from another thread.
    pub(crate) fn stopper(&self) -> io::Result<Stopper> {
        let socket = match self {
            Self::Tcp(stream) => stream.try_clone().map(Socket::Tcp),
            Self::Tls(stream) => stream.sock.try_clone().map(Socket::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Socket::Unix),
        };
        socket.map(Stopper)
    }

    /// Returns this host's own address in the connection; none on a Unix socket.
    pub(crate) fn local_address(&self) -> Option<IpAddr> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => &stream.sock,
            Self::Unix(_) => return None,
        };
        stream.local_addr().ok().map(|address| address.ip())
    }
}

/// Calls a host, each of its addresses in turn, and watches from then on for a peer that vanishes.
///
/// Reads block for `within`, as a login wants it, until [`Stream::over_tcp`] or [`Stream::over_tls`] takes it over.
pub(crate) fn call(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for place in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, within) {
            Ok(stream) => {
                sockopt::set_socket_keepalive(&stream, true)?;
                sockopt::set_tcp_keepidle(&stream, Duration::from_secs(30))?;
                sockopt::set_tcp_keepintvl(&stream, Duration::from_secs(10))?;
                sockopt::set_tcp_keepcnt(&stream, 6)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(within))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Tells whether a read has only come back to let others look.
pub(crate) fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
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
