//! Why object storage did not do what was asked, in words that name the next action.
//!
//! In: status, code and headers of an answer, or the failure of a connection. Out: a [`StoreError`], and whether to
//! ask again.
//!
//! No message ever holds a credential or a signature.

use jiff::Timestamp;
use muster_types::Kind;

use super::{answer::Answer, xml};

/// A signature is refused when its time is further away than this; the server's own limit.
const SKEW_SECONDS_MAX: i64 = 15 * 60;

/// Codes of what passes, whatever their status; with the last four, the content changed on its way.
const PASSING: [&str; 8] = [
    "SlowDown",
    "RequestTimeout",
    "OperationAborted",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
    "BadDigest",
    "Md5Mismatch",
    "IncompleteBody",
];

/// Azure's words for who is not known, or does not prove it.
const WRONG_ACCOUNT: [&str; 4] = [
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
];
/// Azure's words for who is known and may not do it.
const NO_RIGHT: [&str; 5] = [
    "AuthorizationPermissionMismatch",
    "AuthorizationProtocolMismatch",
    "AuthorizationServiceMismatch",
    "AuthorizationResourceTypeMismatch",
    "AuthorizationSourceIPMismatch",
];

/// Why object storage did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nobody said who asks.
    #[error("no credentials are given")]
    NoCredentials,
    /// Nobody said which storage account it is, or what proves it.
    #[error("no storage account and no key of it are given")]
    NoAccount,
    /// That can be no name of a storage account.
    #[error("`{0}` is no name of a storage account")]
    BadAccount(String),
    /// The server has no such account.
    #[error("the storage account `{0}` is not known there")]
    UnknownAccount(String),
    /// What should prove who asks can be neither.
    #[error("the key of the storage account is neither in base64 nor a SAS token")]
    BadAccountKey,
    /// The address of the server cannot be used.
    #[error("the endpoint `{0}` is not an address like `https://host:port`")]
    BadEndpoint(String),
    /// The server does not accept who asks, or not for this.
    #[error("the credentials are refused ({code})")]
    Refused {
        /// The server's word for it.
        code: String,
    },
    /// There is no such bucket.
    #[error("the bucket `{0}` is missing")]
    NoBucket(String),
    /// There is no such container.
    #[error("the container `{0}` is missing")]
    NoContainer(String),
    /// The bucket lies elsewhere.
    #[error("the bucket lies in another region{}", region.as_ref().map(|region| format!(", {region}")).unwrap_or_default())]
    WrongRegion {
        /// Where, if the server says so.
        region: Option<String>,
    },
    /// The clocks of this host and the server differ too much for a signature to hold.
    #[error("the clock of this host is {} s {} the server's", seconds.abs(), if *seconds < 0 { "behind" } else { "ahead of" })]
    ClockSkew {
        /// This host's time minus the server's.
        seconds: i64,
    },
    /// It did not answer, or always with a passing failure.
    #[error("it did not answer as it should in {tries} tries over {seconds} s; the last time: {last}")]
    Unreachable {
        /// How often it was asked.
        tries: u32,
        /// For how long.
        seconds: u64,
        /// What happened the last time.
        last: String,
    },
    /// Nobody that this host trusts says that the server is who it says.
    #[error("its certificate is not trusted: {0}")]
    Untrusted(String),
    /// It does not know the storage class that packs are to have.
    #[error("it does not know the storage class ({0})")]
    NoStorageClass(String),
    /// Nobody on this host has said what the key of that host is.
    #[error("the key of the host is not known here")]
    HostKeyUnknown,
    /// The host has another key than before: it was set up anew, or another host answers in its place.
    #[error("the host has another key than the one that is known here")]
    HostKeyChanged,
    /// The host does not let the user in.
    #[error("the login is refused: {0}")]
    LoginRefused(String),
    /// The host lets the user in, and does not offer files.
    #[error("the host offers no SFTP: {0}")]
    NoSftp(String),
    /// `ssh` does not do what it is told.
    #[error("ssh cannot be used: {0}")]
    Ssh(String),
    /// The user of that host may not do it.
    #[error("the user there may not do that ({0})")]
    NotPermitted(String),
    /// It gave no other reason.
    #[error("it answered: {0}")]
    Said(String),
    /// It has no room left.
    #[error("it has no space left ({0})")]
    Full(String),
    /// It answered what nobody expected.
    #[error("it answered {status} {code}")]
    Unexpected {
        /// The status of HTTP.
        status: u16,
        /// The server's word for it.
        code: String,
    },
}

impl StoreError {
    /// Tells whether who asks may not do this, though perhaps other things.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::NotPermitted(_))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::NoCredentials
            | Self::NoAccount
            | Self::BadAccount(_)
            | Self::UnknownAccount(_)
            | Self::BadAccountKey
            | Self::BadEndpoint(_)
            | Self::Untrusted(_)
            | Self::Refused { .. }
            | Self::NoBucket(_)
            | Self::NoContainer(_)
            | Self::WrongRegion { .. }
            | Self::NoStorageClass(_)
            | Self::HostKeyUnknown
            | Self::HostKeyChanged
            | Self::LoginRefused(_)
            | Self::NoSftp(_)
            | Self::Ssh(_)
            | Self::NotPermitted(_) => Kind::Config,
            _ => Kind::Unavailable,
        }
    }

    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoCredentials => {
                "give `access_key` and `secret_key` below `repository`, or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY"
            }
            Self::NoAccount => {
                "give `access_key` (the account) and `secret_key` (its key, or a SAS token) below `repository`, or set \
                 AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
            }
            Self::BadAccount(_) => {
                "give the account's own name in `access_key` or AZURE_STORAGE_ACCOUNT: small letters and digits, no address"
            }
            Self::UnknownAccount(_) => "check `access_key` (the account) and `endpoint`",
            Self::BadAccountKey => {
                "give a key of the account as the portal shows it, or a SAS token (`sv=…&sig=…`), in `secret_key`, \
                 AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
            }
            Self::BadEndpoint(_) => "give `endpoint: https://host` or `http://host:port`, without a path",
            Self::Refused { code } if WRONG_ACCOUNT.contains(&code.as_str()) => {
                "check that `access_key` is the storage account, that `secret_key` is one of its keys as they are now or a \
                 SAS token that has not expired, and that the account's firewall lets this host in"
            }
            Self::Refused { code } if NO_RIGHT.contains(&code.as_str()) => {
                "give a SAS token that may read, create, write, delete and list in the container (`sp=rcwdl`), from this \
                 host's address"
            }
            Self::Refused { .. } => {
                "check `access_key` and `secret_key`, and that they may list, read and write in the bucket; what removes \
                 something (`muster prune`, `muster key remove`) also needs the right to delete"
            }
            Self::NoBucket(bucket) => {
                return format!("check `location` and `endpoint`, or make the bucket `{bucket}`");
            }
            Self::NoContainer(container) => {
                return format!("check `location` and `access_key`, or make the container `{container}`");
            }
            Self::WrongRegion { region: Some(region) } => return format!("set `region: {region}`"),
            Self::WrongRegion { region: None } => "set `region` to the one in which the bucket was made",
            Self::ClockSkew { .. } => "set this host's clock, best by NTP, and run it again",
            Self::Unreachable { .. } => {
                "check that the server runs and that `endpoint` is right, and run it again"
            }
            Self::Untrusted(_) => {
                "make this host trust the authority that signed it (`update-ca-certificates`), or name its file in \
                 SSL_CERT_FILE"
            }
            Self::NoStorageClass(_) => "set `bucket: {storage_class: …}` to one that it knows, or leave it out",
            Self::HostKeyUnknown => {
                "ask its owner for the fingerprint, connect once by hand as the user that runs Muster (`sftp USER@HOST`), \
                 compare, and answer `yes`"
            }
            Self::HostKeyChanged => {
                "ask its owner whether it was set up anew. If so: `ssh-keygen -R HOST`, connect once by hand and compare; \
                 if not, another host answers in its place: send nothing there"
            }
            Self::LoginRefused(_) => {
                "try `sftp USER@HOST` as the user that runs Muster: it must get in without a question; name another key in \
                 its ~/.ssh/config or in the file of `ssh_config`"
            }
            Self::NoSftp(_) => "let its sshd_config have `Subsystem sftp internal-sftp`",
            Self::Ssh(_) => "install `openssh-client`, and try `sftp USER@HOST` as the user that runs Muster",
            Self::NotPermitted(_) => "let that user of the host read and write in the folder of `location`",
            Self::Said(_) => "try it by hand with `sftp USER@HOST`; a quota or its log may tell why",
            Self::Full(_) => "free space there, or give the server more, and run it again",
            Self::Unexpected { .. } => "look into the server's log",
        }
        .to_owned()
    }
}

/// What to do about an answer that is no success.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The object is not there.
    Missing,
    /// The object is shorter than what was asked for.
    Short,
    /// Asking again may help; the text says what happened.
    Again(String),
    /// Asking again cannot help.
    Final(StoreError),
}

/// Judges a connection that failed.
pub(super) fn judge_failure(said: String) -> Verdict {
    if said.contains("invalid peer certificate") {
        return Verdict::Final(StoreError::Untrusted(said));
    }
    Verdict::Again(said)
}

/// Judges an answer that is no success. `now` is the time that the request was signed with.
pub(super) fn judge(answer: &Answer, bucket: &str, now: Timestamp) -> Verdict {
    let code = xml::field(&answer.body, "Code").unwrap_or_default();
    let status = answer.status;
    let word = if code.is_empty() { format!("status {status}") } else { code.clone() };
    let skew = answer.date.map(|date| now.as_second() - date.as_second());
    match (status, code.as_str()) {
        (_, "RequestTimeTooSkewed") => {
            Verdict::Final(StoreError::ClockSkew { seconds: skew.unwrap_or_default() })
        }
        (_, "NoSuchBucket") => Verdict::Final(StoreError::NoBucket(bucket.to_owned())),
        (_, "ContainerNotFound" | "ContainerBeingDeleted") => {
            Verdict::Final(StoreError::NoContainer(bucket.to_owned()))
        }
        (300..=399, _)
        | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | "PermanentRedirect") => {
            let region = answer.region.clone().or_else(|| xml::field(&answer.body, "Region"));
            Verdict::Final(StoreError::WrongRegion { region })
        }
        (_, "InvalidStorageClass") => Verdict::Final(StoreError::NoStorageClass(word)),
        (507, _) | (_, "XMinioStorageFull" | "QuotaExceeded") => Verdict::Final(StoreError::Full(word)),
        (401 | 403, _) => Verdict::Final(match skew {
            Some(seconds) if seconds.abs() > SKEW_SECONDS_MAX => StoreError::ClockSkew { seconds },
            _ => StoreError::Refused { code: word },
        }),
        (404, _) => Verdict::Missing,
        (416, _) => Verdict::Short,
        (501 | 505, _) => Verdict::Final(StoreError::Unexpected { status, code }),
        (408 | 425 | 429 | 500..=599, _) => Verdict::Again(word),
        (_, code) if PASSING.contains(&code) => Verdict::Again(word),
        // Azurite's word for "Md5Mismatch".
        (400, "InvalidOperation") if message(answer).contains("MD5") => Verdict::Again(word),
        _ => Verdict::Final(StoreError::Unexpected { status, code }),
    }
}

fn message(answer: &Answer) -> String {
    xml::field(&answer.body, "Message").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Answer {
        let body =
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Region>eu-x-1</Region></Error>");
        let date = Some("2026-05-01T10:00:00Z".parse().unwrap());
        Answer { status, body: body.into_bytes(), date, modified: None, region: None, storage_class: None }
    }

    #[test]
    fn answers_are_told_apart_by_what_helps() {
        let now: Timestamp = "2026-05-01T10:01:00Z".parse().unwrap();
        let verdict = |status, code: &str| judge(&answer(status, code), "b", now);
        let last = |status, code: &str| match verdict(status, code) {
            Verdict::Final(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            last(403, "InvalidAccessKeyId"),
            StoreError::Refused { code: "InvalidAccessKeyId".into() }
        );
        assert_eq!(last(404, "NoSuchBucket"), StoreError::NoBucket("b".into()));
        let region = Some("eu-x-1".to_owned());
        assert_eq!(last(301, "PermanentRedirect"), StoreError::WrongRegion { region: region.clone() });
        assert_eq!(last(400, "AuthorizationHeaderMalformed"), StoreError::WrongRegion { region });
        assert_eq!(last(403, "RequestTimeTooSkewed"), StoreError::ClockSkew { seconds: 60 });
        assert!(matches!(last(507, ""), StoreError::Full(_)));
        assert!(matches!(last(400, "InvalidStorageClass"), StoreError::NoStorageClass(_)));
        assert!(matches!(last(400, "InvalidArgument"), StoreError::Unexpected { status: 400, .. }));
        assert_eq!(last(404, "ContainerNotFound"), StoreError::NoContainer("b".into()));
        for (status, code) in [(503, "ServerBusy"), (500, "OperationTimedOut"), (400, "Md5Mismatch")] {
            assert!(matches!(verdict(status, code), Verdict::Again(_)), "{status} {code}");
        }
        assert!(matches!(verdict(404, "BlobNotFound"), Verdict::Missing));
        for (code, words) in [
            ("AuthenticationFailed", "is the storage account"),
            ("AuthorizationPermissionMismatch", "`sp=rcwdl`"),
            ("AccessDenied", "in the bucket"),
        ] {
            let hint = last(403, code).hint();
            assert!(hint.contains(words), "{code}: {hint}");
        }
        for (status, code) in [(503, "SlowDown"), (500, ""), (429, ""), (400, "RequestTimeout"), (502, "x")] {
            assert!(matches!(verdict(status, code), Verdict::Again(_)), "{status} {code}");
        }
        assert!(matches!(verdict(404, "NoSuchKey"), Verdict::Missing));
        assert!(matches!(verdict(416, "InvalidRange"), Verdict::Short));
    }

    #[test]
    fn a_certificate_does_not_become_good_by_waiting() {
        let said = "invalid peer certificate: UnknownIssuer";
        assert!(matches!(judge_failure(said.into()), Verdict::Final(StoreError::Untrusted(_))));
        assert!(matches!(judge_failure("Connection refused".into()), Verdict::Again(_)));
    }

    #[test]
    fn a_refusal_far_from_the_servers_time_is_the_clocks_fault() {
        let now: Timestamp = "2026-05-01T09:00:00Z".parse().unwrap();
        let Verdict::Final(error) = judge(&answer(403, "AccessDenied"), "b", now) else { panic!() };
        assert_eq!(error.to_string(), "the clock of this host is 3600 s behind the server's");
        let Verdict::Final(azure) = judge(&answer(403, "AuthenticationFailed"), "b", now) else { panic!() };
        assert_eq!(azure, StoreError::ClockSkew { seconds: -3600 });
    }
}
