//! TLS to a PostgreSQL server, with libpq's meaning of `sslmode`.
//!
//! `prefer` and `require` encrypt and trust anybody (as libpq does without `sslrootcert`); `verify-ca` checks the
//! chain, `verify-full` the name too. It never falls back to plain text where `sslmode` forbids it.

use std::{net::TcpStream, path::Path, sync::Arc};

use muster_types::Kind;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::address::{Address, TlsMode};
use crate::{
    DriverError,
    socket::TlsStream,
    trust::{SYSTEM_ROOTS, certificates, private_key, unreadable},
};

/// Makes the TLS session; the handshake happens with the first byte.
pub(super) fn wrap(stream: TcpStream, address: &Address) -> Result<TlsStream, DriverError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(address, error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(address, provider)?);
    let config = match &address.client_certificate {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            builder
                .with_client_auth_cert(chain, private_key(key)?)
                .map_err(|error| unusable(address, error))?
        }
    };
    let name = ServerName::try_from(address.host.clone()).map_err(|error| {
        DriverError::new(Kind::Config, format!("`{}` is no host name for TLS", address.host))
            .with_source(error)
    })?;
    let session = ClientConnection::new(Arc::new(config), name).map_err(|error| unusable(address, error))?;
    Ok(StreamOwned::new(session, stream))
}

fn verifier(
    address: &Address,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, DriverError> {
    let Some(path) = &address.root_certificate else {
        return Ok(Arc::new(Lenient { provider, chain: None }));
    };
    let path = if path == Path::new("system") { Path::new(SYSTEM_ROOTS) } else { path };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unreadable(path, &error.to_string()))?;
    }
    let strict = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unreadable(path, &error.to_string()))?;
    if address.tls == TlsMode::VerifyFull {
        return Ok(strict);
    }
    Ok(Arc::new(Lenient { provider, chain: Some(strict) }))
}

fn unusable(address: &Address, error: Error) -> DriverError {
    DriverError::new(Kind::Config, format!("cannot prepare TLS to {address}: {error}")).with_source(error)
}

/// Accepts any name, and without a chain to check any certificate.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    chain: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(own, between, name, ocsp, now) {
            // The name is looked at last, when the chain has been found good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
