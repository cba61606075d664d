//! TLS to a Redis server: the chain and the name are checked, always.
//!
//! In: a TCP stream and the files that the URL names. Out: a stream. It never falls back to plain text: whoever writes
//! `redis://` has chosen that, whoever writes `rediss://` has not.

use std::{net::TcpStream, path::Path, sync::Arc};

use muster_types::Kind;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};

use super::address::{Address, Tls};
use crate::{
    DriverError,
    socket::TlsStream,
    trust::{SYSTEM_ROOTS, certificates, private_key, unreadable},
};

/// Begins TLS on a stream that still blocks for as long as a login may take.
pub(super) fn wrap(stream: TcpStream, address: &Address, tls: &Tls) -> Result<TlsStream, DriverError> {
    let mut roots = RootCertStore::empty();
    let path = tls.roots.as_deref().unwrap_or(Path::new(SYSTEM_ROOTS));
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unreadable(path, &error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(address, &error))?
        .with_root_certificates(roots);
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            builder
                .with_client_auth_cert(chain, private_key(key)?)
                .map_err(|error| unusable(address, &error))?
        }
    };
    let name = ServerName::try_from(address.host.clone()).map_err(|_| {
        DriverError::new(Kind::Config, format!("`{}` is no host name for TLS", address.host))
            .with_hint("name the server as its certificate does")
    })?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(|error| unusable(address, &error))?;
    let mut session = StreamOwned::new(session, stream);
    while session.conn.is_handshaking() {
        session.conn.complete_io(&mut session.sock).map_err(|error| {
            DriverError::new(Kind::Unavailable, format!("no TLS with {address}: {error}"))
                .with_hint("does the server speak TLS on this port, is `cacert` the authority that signed its certificate, and does the certificate name this host?")
        })?;
    }
    Ok(session)
}

fn unusable(address: &Address, error: &rustls::Error) -> DriverError {
    DriverError::new(Kind::Config, format!("cannot prepare TLS to {address}: {error}"))
}
