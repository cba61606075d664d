//! Signs requests to object storage: AWS Signature Version 4, in the request's headers.
//!
//! In: what is asked, and who asks. Out: the headers that prove it. The hash of the content is part of the signature,
//! so that the server refuses what changed on its way.
//!
//! The secret key never leaves this module in any form but a signature.
//! Source: AWS manual, "Create a signed AWS API request".

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::{location::Credentials, unlock::hex_hash};
use muster_types::text::hex;

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;

/// What is signed.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// As the request line has it, encoded.
    pub(super) path: &'a str,
    /// As the request line has it, encoded and sorted by name.
    pub(super) query: &'a str,
    /// The value of the header `host`.
    pub(super) host: &'a str,
    /// The SHA-256 of the body, in hex.
    pub(super) hash: &'a str,
    /// The storage class that the object is to have.
    pub(super) storage_class: Option<&'a str>,
    pub(super) at: Timestamp,
}

/// Returns the headers to add, `host` not among them.
pub(super) fn headers(
    request: &Signable<'_>,
    region: &str,
    credentials: &Credentials,
) -> Vec<(&'static str, String)> {
    let time = request.at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &time[..8];
    let mut headers = vec![
        ("host", request.host.to_owned()),
        ("x-amz-content-sha256", request.hash.to_owned()),
        ("x-amz-date", time.clone()),
    ];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.expose().to_owned()));
    }
    // In the order of their names, as the signature wants them.
    headers.extend(request.storage_class.map(|class| ("x-amz-storage-class", class.to_owned())));
    let canonical: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let Signable { method, path, query, hash, .. } = request;
    let canonical = format!("{method}\n{path}\n{query}\n{canonical}\n{names}\n{hash}");
    let scope = format!("{day}/{region}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex_hash(canonical.as_bytes()));
    let mut key = hmac(format!("AWS4{}", credentials.secret_key.expose()).as_bytes(), day.as_bytes());
    for part in [region, "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex(hmac(&key, to_sign.as_bytes()));
    let access_key = &credentials.access_key;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    headers.remove(0);
    headers.push(("authorization", authorization));
    headers
}

/// Encodes a part of a path or a query. A slash stays when it separates.
pub(super) fn encode(text: &str, keeps_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            b'/' if keeps_slash => encoded.push('/'),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// HMAC with SHA-256, as RFC 2104 has it.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use muster_types::Secret;

    use super::*;

    #[test]
    fn keyed_hashes_are_those_of_rfc_4231() {
        assert_eq!(
            hex(hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    /// The example "GET Bucket (List Objects)" of the AWS manual for signatures in headers.
    #[test]
    fn a_signature_is_the_one_of_the_manual() {
        let credentials = Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let request = Signable {
            method: "GET",
            path: "/",
            query: "max-keys=2&prefix=J",
            host: "examplebucket.s3.amazonaws.com",
            hash: &hex_hash(b""),
            storage_class: None,
            at: "2013-05-24T00:00:00Z".parse().unwrap(),
        };
        let headers = headers(&request, "us-east-1", &credentials);
        let (_, authorization) = headers.last().unwrap();
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn what_a_path_cannot_hold_is_encoded() {
        assert_eq!(encode("a b/ö~+", true), "a%20b/%C3%B6~%2B");
        assert_eq!(encode("a/b=", false), "a%2Fb%3D");
    }
}
