//! Files in PEM form: whom a TLS connection trusts, and who it is itself.
//!
//! In: a path. Out: certificates or a key. A file without one is an error here and not a failed handshake later, because
//! only here it is known why nothing is trusted.

use std::{fs, path::Path};

use muster_types::Kind;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::DriverError;

/// The certificates that a Debian host trusts.
pub(crate) const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Returns the certificates of a file, one at least.
///
/// # Errors
/// Kind `Config`: the file cannot be read, is not PEM, or holds no certificate.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, DriverError> {
    let content = fs::read(path).map_err(|error| unreadable(path, &error.to_string()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(path, &error.to_string()))?;
    if found.is_empty() {
        return Err(unreadable(path, "there is no certificate in it"));
    }
    Ok(found)
}

/// Returns the first private key of a file.
///
/// # Errors
/// As [`certificates`].
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, DriverError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| unreadable(path, &error.to_string()))
}

/// Says that a file cannot be used, and why.
pub(crate) fn unreadable(path: &Path, why: &str) -> DriverError {
    DriverError::new(Kind::Config, format!("cannot use {}: {why}", path.display()))
        .with_hint("name a readable file in PEM form")
}
