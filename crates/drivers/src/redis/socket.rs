//! How a Redis server is called: TCP, TLS in it, or a Unix socket of this host.
//!
//! In: an address. Out: a stream. It knows no protocol. Read next: `crate::socket`, `tls.rs`.

use std::{
    io::{self, ErrorKind},
    path::Path,
    time::Duration,
};

use muster_types::Kind;

use super::{address::Address, tls};
use crate::{
    DriverError,
    socket::{self, Stream},
};

/// How long a connection and its handshake may take.
const LOGIN_WITHIN: Duration = Duration::from_secs(15);

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
        return Stream::at_path(Path::new(&address.host)).map_err(unreachable);
    }
    let stream = socket::call(&address.host, address.port, LOGIN_WITHIN).map_err(unreachable)?;
    match &address.tls {
        Some(tls) => Stream::over_tls(tls::wrap(stream, address, tls)?),
        None => Stream::over_tcp(stream),
    }
    .map_err(unreachable)
}
