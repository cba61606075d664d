//! The way to one target: name, then for each address route and connection, then TLS, then the answer.
//!
//! A later part is only looked at where the one before it succeeded, because it could not say anything else; what was not
//! looked at is not told. Every address is tried, and not only the first that works: a name with one dead address is what
//! makes every second request fail.
//!
//! It sends nothing but a GET, and that only where a URL was named.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use muster_types::{Span, Timestamp, network::ProbeKind};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError,
    RootCertStore, SignatureScheme, StreamOwned,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use x509_cert::{Certificate, der::Decode};

use super::{Found, Request, Target, Teller, firewall, names, outside, place};
use crate::checks::roots;

/// A name with more addresses than this is a cloud: some of them stand for all.
const ADDRESSES_MAX: usize = 8;
/// The first line of an answer is no longer.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Looks at the whole way.
pub(super) fn look(teller: &Teller, target: &Target, known: &place::Known, request: &Request) {
    let timeout = request.timeout;
    let addresses = match target.host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) => names::look(teller, &target.host, &known.names, timeout),
    };
    let mut open = None;
    for ip in addresses.iter().take(ADDRESSES_MAX) {
        if teller.is_stopped() {
            return;
        }
        teller.probe(ProbeKind::Route, Some(ip.to_string()), || place::route(*ip, timeout));
        let Some(port) = target.port else { continue };
        teller.probe(ProbeKind::Tcp, Some(SocketAddr::new(*ip, port).to_string()), || {
            match TcpStream::connect_timeout(&SocketAddr::new(*ip, port), timeout) {
                Ok(stream) => {
                    let found = Found::ok(
                        stream
                            .local_addr()
                            .map_or("connected".to_owned(), |from| format!("connected from {}", from.ip())),
                    );
                    open.get_or_insert(stream);
                    found
                }
                Err(error) => unconnected(&error, port, &known.drops, timeout),
            }
        });
    }
    if let Some(stream) = open {
        speak(teller, target, stream, request);
    }
    if let Some(url) = &request.outside
        && !teller.is_stopped()
    {
        teller.probe(ProbeKind::Outside, None, || outside::look(url, target, timeout));
    }
}

/// Says what a failed connection means: silence, a refusal and no way are three different faults.
fn unconnected(error: &io::Error, port: u16, drops: &[String], timeout: Duration) -> Found {
    let rule = firewall::of_port(drops, port);
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            let found = Found::failed("no-answer", format!("no answer within {}", Span::from(timeout)));
            found.with_hint(match rule {
                Some(rule) => format!("a rule of the firewall here does not let it through: `{rule}`"),
                None => "a firewall on the way drops it, or nobody has this address".to_owned(),
            })
        }
        ErrorKind::ConnectionRefused => {
            Found::failed("refused", "the connection was refused: nothing listens on this port")
                .with_hint("look whether the service runs, and on which address it listens")
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            Found::failed("no-route", format!("there is no way to it: {error}"))
                .with_hint("look at the routes, and whether the host is up")
        }
        ErrorKind::PermissionDenied => {
            Found::failed("not-permitted", format!("this host does not let it out: {error}"))
        }
        _ => Found::failed("not-connected", error.to_string()),
    }
}

fn speak(teller: &Teller, target: &Target, stream: TcpStream, request: &Request) {
    let timeout = request.timeout;
    // Without a bound on silence the first read would wait for ever; a socket that takes none is not asked.
    if stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout))).is_err()
    {
        return;
    }
    if !target.speech.is_encrypted() {
        if target.speech.is_http() {
            teller.probe(ProbeKind::Http, None, || ask(stream, target, timeout));
        }
        return;
    }
    let mut session = None;
    teller.probe(ProbeKind::Tls, None, || {
        match shake_hands(stream, &target.host, request.ca.as_deref(), timeout) {
            Ok((made, found)) => {
                session = Some(made);
                found
            }
            Err(found) => found,
        }
    });
    if let Some(session) = session.filter(|_| target.speech.is_http()) {
        teller.probe(ProbeKind::Http, None, || ask(session, target, timeout));
    }
}

/// Asks with GET and reads the first line of the answer.
fn ask(mut stream: impl Read + Write, target: &Target, timeout: Duration) -> Found {
    let begun = Instant::now();
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let port = target
        .port
        .filter(|port| ![80, 443].contains(port))
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {host}{port}\r\nUser-Agent: muster\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        if target.path.is_empty() { "/" } else { &target.path }
    );
    let late =
        || Found::failed("no-answer", format!("connected, and no answer within {}", Span::from(timeout)));
    if let Err(error) = stream.write_all(head.as_bytes()).and_then(|()| stream.flush()) {
        return Found::failed(
            "closed",
            format!("the connection was closed before the request was sent: {error}"),
        );
    }
    let mut line = Vec::new();
    let mut byte = [0; 1];
    while !line.ends_with(b"\n") && line.len() < HEAD_BYTES_MAX {
        if begun.elapsed() >= timeout {
            return late();
        }
        match stream.read(&mut byte) {
            Ok(0) => return Found::failed("closed", "the connection was closed without an answer"),
            Ok(_) => line.extend_from_slice(&byte),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return late();
            }
            Err(error) => return Found::failed("closed", format!("the connection broke: {error}")),
        }
    }
    let line = String::from_utf8_lossy(&line).trim().to_owned();
    let status = line.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
    match status {
        None => Found::failed("not-http", "the answer is not HTTP"),
        Some(status @ 500..) => Found::failed("status", format!("status {status}")),
        Some(status) => Found::ok(format!("status {status}")),
    }
}

type Session = StreamOwned<ClientConnection, TcpStream>;

/// Shakes hands, and tells the chain whether it is trusted or not.
fn shake_hands(
    mut stream: TcpStream,
    host: &str,
    ca: Option<&Path>,
    timeout: Duration,
) -> Result<(Session, Found), Found> {
    let unknown = |why: String| Found::unknown("not-looked", why);
    let begun = Instant::now();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots::trusted(ca).map_err(unknown)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build();
    let judge = judge.map_err(|error| unknown(error.to_string()))?;
    let witness = Arc::new(Witness { judge, seen: Mutex::new(Vec::new()) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unknown(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unknown(error.to_string()))?;
    let mut session =
        ClientConnection::new(Arc::new(config), name).map_err(|error| unknown(error.to_string()))?;
    while session.is_handshaking() {
        let left = timeout.saturating_sub(begun.elapsed());
        let silence = || {
            Found::failed("no-answer", format!("connected, and no handshake within {}", Span::from(timeout)))
        };
        if left.is_zero() {
            return Err(silence());
        }
        let set = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
        set.map_err(|error| unknown(error.to_string()))?;
        match session.complete_io(&mut stream) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(silence());
            }
            Err(error) => return Err(untrusted(&error, &witness.chain())),
        }
    }
    stream.set_read_timeout(Some(timeout)).map_err(|error| unknown(error.to_string()))?;
    let found = Found::ok(chain_shown(&witness.chain()));
    Ok((StreamOwned::new(session, stream), found))
}

/// Says why a handshake failed, with the chain that was shown.
fn untrusted(error: &io::Error, chain: &[CertificateDer<'static>]) -> Found {
    let shown = if chain.is_empty() { String::new() } else { format!("; {}", chain_shown(chain)) };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let told = |reason, what: &str, hint: &str| {
        Found::failed(reason, format!("{what}{shown}")).with_hint(hint.to_owned())
    };
    match inner {
        Some(TlsError::InvalidCertificate(fault)) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                told("expired", "the certificate has ended", "renew it, and let the server read it again")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                told("not-valid-yet", "the certificate is not valid yet", "look at the clocks of both hosts")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => told(
                "wrong-name",
                "the certificate is made for another name",
                "look which server answers here",
            ),
            CertificateError::UnknownIssuer => told(
                "not-trusted",
                "nobody that is trusted here has issued the certificate",
                "let the server send its whole chain, or name the authority with `--ca FILE`",
            ),
            other => told(
                "not-trusted",
                &format!("the certificate is not accepted: {other}"),
                "look at the certificate",
            ),
        },
        Some(other) => Found::failed("tls-failed", format!("TLS failed: {other}{shown}")),
        None if error.kind() == ErrorKind::UnexpectedEof || error.kind() == ErrorKind::ConnectionReset => {
            Found::failed("closed", "the server closed the connection in the handshake: does it speak TLS?")
        }
        None => Found::failed("tls-failed", format!("TLS failed: {error}{shown}")),
    }
}

/// The server's own certificate with its end, and how many there are.
fn chain_shown(chain: &[CertificateDer<'static>]) -> String {
    let read: Vec<Certificate> = chain.iter().filter_map(|der| Certificate::from_der(der).ok()).collect();
    let Some(own) = read.first().map(Certificate::tbs_certificate) else {
        return "no certificate was shown".to_owned();
    };
    let seconds = i64::try_from(own.validity().not_after.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let end = Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_default();
    format!("{} by {}, ends {end}; {} in the chain", own.subject(), own.issuer(), read.len())
}

/// Lets the usual judge decide, and remembers what it was shown.
#[derive(Debug)]
struct Witness {
    judge: Arc<WebPkiServerVerifier>,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl Witness {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let shown = std::iter::once(end_entity).chain(intermediates).map(|der| der.clone().into_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.judge.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.judge.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
