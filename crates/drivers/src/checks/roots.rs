//! Whom a check trusts over TLS: the certificates of the system, or those of the file that it names with `ca`.
//!
//! An empty store is an error here and not a failed handshake later, because only here it is known why it is empty.

use std::{fs, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject};

/// Returns the certificates that are trusted; the error is a reason for people.
pub(super) fn trusted(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
    let Some(path) = ca else {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            return Err(
                "the system trusts no certificate at all: install `ca-certificates`, or name a file \
                        with `ca`"
                    .to_owned(),
            );
        }
        return Ok(found.certs);
    };
    let cannot = |why: String| format!("cannot use the certificates in {}: {why}", path.display());
    let content = fs::read(path).map_err(|error| cannot(error.to_string()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| cannot(error.to_string()))?;
    if found.is_empty() { Err(cannot("there is none in it".to_owned())) } else { Ok(found) }
}
