//! Whom a check trusts over TLS: the certificates of the system, or those of the file that it names with `ca`.
//!
//! An empty store is an error here and not a failed handshake later, because only here it is known why it is empty.

use std::path::Path;

use rustls::pki_types::CertificateDer;

use crate::trust;

/// Returns the certificates that are trusted; the error is a reason for people.
pub(crate) fn trusted(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, String> {
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
    trust::certificates(path).map_err(|error| error.to_string())
}
