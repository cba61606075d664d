//! What a bucket says of itself: whether it keeps versions, encrypts, locks objects, and in which class packs lie.
//!
//! In: nothing but the place. Out: for each property what the server says, or why it does not tell.
//!
//! Nothing here changes a bucket, and what is not understood is never taken for "off": a server that does not know a
//! question may answer with a list of objects. Read next: `crates/repo/src/bucket.rs`.

use bytes::Bytes;

use super::{Answer, Question, Refusal, S3, xml};
use crate::{
    bucket::Seen,
    error::RepoError,
    place::{Fault, Listed},
};

/// Smaller objects are read often, and in the classes for what is read rarely the least that is paid for is this.
const CLASS_BYTES_MIN: u64 = 128 * 1024;
/// Of so many packs one is looked at.
const SAMPLE: usize = 1_000;
/// Codes that say that the keys are wrong, and nothing about the bucket.
const WRONG_KEY: [&str; 4] =
    ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "RequestTimeTooSkewed"];

impl S3 {
    /// Tells whether the server can be asked these questions.
    pub(crate) fn tells_of_its_bucket(&self) -> bool {
        self.azure.is_none()
    }

    /// Returns the storage class that an object is to have when it is written; `None`: the bucket's own.
    pub(super) fn class_of(&self, name: &str, content: &[Bytes]) -> Option<&str> {
        let size: usize = content.iter().map(Bytes::len).sum();
        let is_large = size as u64 >= CLASS_BYTES_MIN;
        self.location.storage_class.as_deref().filter(|_| is_large && is_pack(name))
    }

    /// Says whether the bucket keeps what is replaced or removed: `on`, `off`.
    pub(crate) fn versioning(&self) -> Result<Seen, RepoError> {
        let answer = self.ask_bucket("versioning")?;
        Ok(match xml::root(&answer.body).as_deref() {
            Some("VersioningConfiguration") if answer.status == 200 => {
                let is_on = xml::field(&answer.body, "Status").as_deref() == Some("Enabled");
                Seen::Is(if is_on { "on" } else { "off" }.into())
            }
            _ => not_told(&answer),
        })
    }

    /// Says how the bucket encrypts: the server's word, or `off`.
    pub(crate) fn encryption(&self) -> Result<Seen, RepoError> {
        let answer = self.ask_bucket("encryption")?;
        let root = xml::root(&answer.body);
        Ok(match (answer.status, root.as_deref()) {
            (200, Some("ServerSideEncryptionConfiguration")) => {
                Seen::Is(xml::field(&answer.body, "SSEAlgorithm").unwrap_or_else(|| "off".into()))
            }
            (404, _) if code(&answer) == "ServerSideEncryptionConfigurationNotFoundError" => {
                Seen::Is("off".into())
            }
            _ => not_told(&answer),
        })
    }

    /// Says whether what is put into the bucket stays for some time.
    ///
    /// A lock that has no default retention keeps only what is written with one of its own, which Muster does not do.
    pub(crate) fn object_lock(&self) -> Result<Seen, RepoError> {
        let answer = self.ask_bucket("object-lock")?;
        let field = |name| xml::field(&answer.body, name);
        Ok(match (answer.status, xml::root(&answer.body).as_deref()) {
            (200, Some("ObjectLockConfiguration")) => Seen::Is(match field("ObjectLockEnabled").as_deref() {
                Some("Enabled") if field("Days").or_else(|| field("Years")).is_some() => "on".into(),
                Some("Enabled") => "on without a default retention".into(),
                _ => "off".into(),
            }),
            (404, _) if code(&answer) == "ObjectLockConfigurationNotFoundError" => Seen::Is("off".into()),
            _ => not_told(&answer),
        })
    }

    /// Returns the storage class of the newest of the first packs that are not small.
    pub(crate) fn class_of_a_pack(&self) -> Result<Seen, RepoError> {
        let (page, _) = self.objects("data/", "", Some(SAMPLE))?;
        let packs = self.names(page.objects).filter(|(listed, _)| listed.size >= CLASS_BYTES_MIN);
        let newest = packs.filter(|(listed, _)| is_pack(&listed.name)).max_by_key(|(_, modified)| *modified);
        let Some((Listed { name, .. }, _)) = newest else {
            return Ok(Seen::Unknown("no pack of 128 KiB or more is there yet".into()));
        };
        match self.ask(&self.question("look at", "HEAD", &name)).map_err(Fault::from) {
            Ok(answer) => Ok(Seen::Is(answer.storage_class.unwrap_or_else(|| "STANDARD".into()))),
            Err(Fault::Failed(error)) => Err(error),
            Err(Fault::Missing | Fault::Short) => Ok(Seen::Unknown(format!("{name} has just gone"))),
        }
    }

    /// Asks the bucket for one of its settings; any answer counts that is about the setting.
    fn ask_bucket(&self, setting: &str) -> Result<Answer, RepoError> {
        let question =
            Question { query: format!("{setting}="), ..self.question("look at the bucket of", "GET", "") };
        let is_about_it = |answer: &Answer| match answer.status {
            408 | 425 | 429 | 500 | 502..=599 => false,
            _ => {
                let code = code(answer);
                code != "NoSuchBucket" && !WRONG_KEY.contains(&code.as_str())
            }
        };
        self.ask_until(&question, &is_about_it).map_err(|refusal| match refusal {
            Refusal::Failed(error) => error,
            Refusal::Missing | Refusal::Short => RepoError::Store {
                operation: "look at the bucket of",
                object: self.location.to_string(),
                source: self.no_bucket(),
            },
        })
    }
}

fn is_pack(name: &str) -> bool {
    name.starts_with("data/")
}

fn code(answer: &Answer) -> String {
    xml::field(&answer.body, "Code").unwrap_or_default()
}

fn not_told(answer: &Answer) -> Seen {
    let code = code(answer);
    Seen::Unknown(match (answer.status, code.as_str()) {
        (200..=299, _) => "the server answers something else than what it was asked".into(),
        (401 | 403, _) => format!("these credentials may not ask for it ({code})"),
        (status, "") => format!("the server answered {status}"),
        (status, code) => format!("the server answered {status} {code}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_does_not_tell_is_unknown_with_the_reason() {
        let answer = |status, body: &str| Answer {
            status,
            body: body.as_bytes().to_vec(),
            date: None,
            modified: None,
            region: None,
            storage_class: None,
        };
        for (answer, reason) in [
            (answer(200, "<ListBucketResult></ListBucketResult>"), "something else"),
            (answer(403, "<Error><Code>AccessDenied</Code></Error>"), "may not ask for it (AccessDenied)"),
            (answer(501, "<Error><Code>NotImplemented</Code></Error>"), "answered 501 NotImplemented"),
            (answer(405, ""), "answered 405"),
        ] {
            let Seen::Unknown(said) = not_told(&answer) else { panic!() };
            assert!(said.contains(reason), "{said}");
        }
    }
}
