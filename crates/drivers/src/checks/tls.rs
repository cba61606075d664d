//! Shakes hands over TLS with `host:port`, and tells when the first of its certificates ends.
//!
//! The certificate must be trusted, valid now and made for that host, as a client would demand it. Nothing is sent after
//! the handshake.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use muster_types::event::Watcher;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use x509_cert::{Certificate, der::Decode};

use super::{CheckConfigError, Look, Observation, Unseen, connection_failed, no_answer, roots, tcp, wrong};

pub(super) fn validate(address: &str) -> Result<(), CheckConfigError> {
    tcp::validate(address)?;
    let host = host(address);
    ServerName::try_from(host.to_owned())
        .map(|_| ())
        .map_err(|_| wrong("this is not a host that a certificate can name", host, "write `localhost:5432`"))
}

pub(super) fn observe(
    address: &str,
    ca: Option<&Path>,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    validate(address).map_err(|error| error.to_string())?;
    let (address, ca, timeout) = (address.to_owned(), ca.map(PathBuf::from), look.timeout);
    look.supervise(watcher, move |_stop| {
        let begun = Instant::now();
        let (ends_at, ip) = shake_hands(&address, ca.as_deref(), timeout)?;
        Ok(Observation {
            response_time: begun.elapsed(),
            is_connected: true,
            ip: Some(ip.to_string()),
            certificate_ends_at: Some(ends_at),
            ..Observation::default()
        })
    })
}

/// Returns when the first of the server's certificates ends, as seconds since 1970, and the address that answered.
pub(super) fn shake_hands(
    address: &str,
    ca: Option<&Path>,
    timeout: Duration,
) -> Result<(Duration, IpAddr), Unseen> {
    let begun = Instant::now();
    let mut store = RootCertStore::empty();
    // A system's store may hold one that nobody understands; it then vouches for nobody.
    store.add_parsable_certificates(roots::trusted(ca)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    let name = ServerName::try_from(host(address).to_owned()).map_err(|error| error.to_string())?;
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let (mut stream, ip) = tcp::connect(address, timeout)?;
    while session.is_handshaking() {
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(no_answer(timeout).into());
        }
        let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
        set.map_err(|error| error.to_string())?;
        step(&mut session, &mut stream).map_err(|error| failed(&error, timeout))?;
    }
    let ends_at = earliest_end(session.peer_certificates().unwrap_or_default())?;
    session.send_close_notify();
    // Only a courtesy: what was asked is known already.
    session.write_tls(&mut stream).ok();
    Ok((ends_at, ip))
}

fn step(session: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    session.complete_io(stream).map(|_| ())
}

fn failed(error: &io::Error, timeout: Duration) -> Unseen {
    match error.kind() {
        ErrorKind::InvalidData => format!("TLS failed: {error}").into(),
        _ => Unseen { is_unconnected: false, ..connection_failed(error, timeout) },
    }
}

fn earliest_end(chain: &[CertificateDer<'_>]) -> Result<Duration, Unseen> {
    let mut earliest = None;
    for certificate in chain {
        let certificate = Certificate::from_der(certificate)
            .map_err(|error| format!("the server's certificate cannot be read: {error}"))?;
        let end = certificate.tbs_certificate().validity().not_after.to_unix_duration();
        earliest = Some(earliest.map_or(end, |earlier: Duration| earlier.min(end)));
    }
    earliest.ok_or_else(|| "the server showed no certificate".to_owned().into())
}

fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
