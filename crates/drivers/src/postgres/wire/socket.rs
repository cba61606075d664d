//! How a PostgreSQL server is called: a TCP connection, one with TLS in it, or a socket of the host.
//!
//! In: an address. Out: a stream. Read next: `crate::socket`, `tls.rs`.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
};

use bytes::BytesMut;
use muster_types::Kind;
use postgres_protocol::message::frontend;

use super::{
    super::{
        address::{Address, TlsMode},
        tls,
    },
    LOGIN_WITHIN,
};
use crate::{
    DriverError,
    socket::{self, Stream},
};

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
        let path = folder.join(format!(".s.PGSQL.{}", address.port));
        return Stream::at_path(&path).map_err(unreachable);
    }
    let stream = socket::call(&address.host, address.port, LOGIN_WITHIN).map_err(unreachable)?;
    begin(stream, address, &unreachable)
}

/// Begins TLS when it is wanted and the server speaks it.
fn begin(
    mut stream: TcpStream,
    address: &Address,
    unreachable: &dyn Fn(io::Error) -> DriverError,
) -> Result<Stream, DriverError> {
    if address.tls != TlsMode::Disable {
        let mut out = BytesMut::new();
        frontend::ssl_request(&mut out);
        let mut answer = [0];
        stream.write_all(&out).and_then(|()| stream.read_exact(&mut answer)).map_err(unreachable)?;
        match answer {
            [b'S'] => {
                let mut session = tls::wrap(stream, address)?;
                while session.conn.is_handshaking() {
                    session.conn.complete_io(&mut session.sock).map_err(|error| untrusted(address, error))?;
                }
                return Stream::over_tls(session).map_err(unreachable);
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
    Stream::over_tcp(stream).map_err(unreachable)
}

fn untrusted(address: &Address, error: io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("no TLS with {address}: {error}"))
        .with_hint("is `sslrootcert` the authority that signed the server's certificate, and does the certificate name this host?")
}
