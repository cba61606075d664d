//! Where a repository lies. In: the text of the configuration. Out: an absolute folder, a bucket and a prefix, or a host
//! and a folder of it.
//!
//! This module never touches the folder, the bucket or the host. Read next: `location/sftp.rs`, `place.rs`.

mod sftp;

use std::{
    fmt,
    num::NonZeroU64,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use muster_types::Secret;

pub use self::sftp::SftpLocation;
use crate::error::RepoError;

/// Where Google Cloud Storage answers as S3 does.
const GOOGLE_ENDPOINT: &str = "https://storage.googleapis.com";
/// The region that it signs for, wherever a bucket lies.
const GOOGLE_REGION: &str = "auto";
/// The region that servers of one's own take for theirs.
const REGION: &str = "us-east-1";
/// How long a request is repeated: longer than a server takes to start again, shorter than a person's patience.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long somebody who only wants to know how it stands waits for a server.
const PATIENCE_OF_A_LOOK: Duration = Duration::from_secs(10);

/// Where a repository lies. Displayed as it can be parsed again; an endpoint and credentials are not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A local folder, absolute.
    Local(PathBuf),
    /// A prefix in a bucket.
    S3(S3Location),
    /// A folder on a host that is reached over SSH.
    Sftp(SftpLocation),
}

/// Whose object storage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// `s3://`: AWS, or whatever speaks its language.
    S3,
    /// `gs://`: Google Cloud Storage, in the language of S3 with an HMAC key.
    Google,
    /// `azblob://`: Azure Blob Storage, in its own language; a bucket is a container there.
    Azure,
}

impl Provider {
    /// Returns what its addresses begin with.
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3://",
            Self::Google => "gs://",
            Self::Azure => "azblob://",
        }
    }
}

/// A place in object storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// Whose it is.
    pub provider: Provider,
    /// The bucket; it must exist.
    pub bucket: String,
    /// Without slashes at its ends; empty: the whole bucket.
    pub prefix: String,
    /// `http://host:port` or `https://host`. Without one: the provider's own, for AWS the one of the region.
    pub endpoint: Option<String>,
    /// What requests are signed for; Azure's have none.
    pub region: String,
    /// Whether the bucket stands in the path instead of before the host's name; at Azure the account, unless the host's
    /// name begins with it.
    pub path_style: bool,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// How long a request that failed for a passing reason is repeated.
    pub patience: Duration,
    /// Asked between two tries: then nothing is repeated any more.
    pub stop: Stop,
    /// Bytes per second that are sent at most, by all threads together.
    pub upload_rate_max: Option<NonZeroU64>,
    /// The storage class of packs that are not small; without one the bucket's own.
    pub storage_class: Option<String>,
}

/// Tells whether a person wants everything to stop.
#[derive(Debug, Clone, Copy)]
pub struct Stop(pub fn() -> bool);

impl Default for Stop {
    fn default() -> Self {
        Self(|| false)
    }
}

impl PartialEq for Stop {
    /// Who may stop it makes no other place of it.
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Stop {}

/// Who asks object storage for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the key, or Azure's account. It is no secret.
    pub access_key: String,
    /// The key; for Azure the account's in base64, or a SAS token.
    pub secret_key: Secret,
    /// Goes with a key that holds for a short time.
    pub session_token: Option<Secret>,
}

impl Location {
    /// Returns the folder when it is one of this host.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Local(folder) => Some(folder),
            Self::S3(_) | Self::Sftp(_) => None,
        }
    }
}

impl Location {
    /// Returns the same place, asked with less patience: for whoever only looks.
    #[must_use]
    pub fn hasty(mut self) -> Self {
        match &mut self {
            Self::Local(_) => {}
            Self::S3(s3) => s3.patience = s3.patience.min(PATIENCE_OF_A_LOOK),
            Self::Sftp(sftp) => sftp.patience = sftp.patience.min(PATIENCE_OF_A_LOOK),
        }
        self
    }
}

impl FromStr for Location {
    type Err = RepoError;

    /// A relative folder counts from the present working folder, once and for all.
    fn from_str(text: &str) -> Result<Self, RepoError> {
        let unsupported = || RepoError::UnsupportedLocation(text.into());
        for provider in [Provider::S3, Provider::Google, Provider::Azure] {
            if let Some(address) = text.strip_prefix(provider.scheme()) {
                return parse_s3(provider, address).map(Self::S3).ok_or_else(unsupported);
            }
        }
        if let Some(address) = text.strip_prefix(sftp::SCHEME) {
            return sftp::parse(address).map(Self::Sftp).ok_or_else(unsupported);
        }
        if text.is_empty() || text.contains("://") {
            return Err(unsupported());
        }
        let absolute = std::path::absolute(text).map_err(|source| RepoError::Io {
            operation: "find",
            path: text.into(),
            source,
        })?;
        Ok(Self::Local(absolute))
    }
}

fn parse_s3(provider: Provider, address: &str) -> Option<S3Location> {
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    let prefix = prefix.trim_matches('/');
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_part =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    let is_bucket = match provider {
        Provider::S3 | Provider::Google => !bucket.is_empty() && bucket.chars().all(is_name),
        Provider::Azure => is_container(bucket),
    };
    let is_sound = is_bucket && (prefix.is_empty() || prefix.split('/').all(is_part));
    is_sound.then(|| S3Location {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        provider,
        endpoint: match provider {
            Provider::S3 | Provider::Azure => None,
            Provider::Google => Some(GOOGLE_ENDPOINT.to_owned()),
        },
        region: match provider {
            Provider::S3 => REGION,
            Provider::Google => GOOGLE_REGION,
            Provider::Azure => "",
        }
        .to_owned(),
        path_style: provider == Provider::Google,
        credentials: None,
        patience: PATIENCE,
        stop: Stop::default(),
        upload_rate_max: None,
        storage_class: None,
    })
}

/// Tells whether a container of Azure may have this name.
fn is_container(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (3..=63).contains(&name.len()) && name.split('-').all(is_part)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(folder) => folder.display().fmt(f),
            Self::S3(location) => location.fmt(f),
            Self::Sftp(location) => location.fmt(f),
        }
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "{}{}{slash}{}", self.provider.scheme(), self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_folder_becomes_absolute_and_other_schemes_are_refused() {
        let location: Location = "some/repository".parse().unwrap();
        let folder = location.folder().unwrap();
        assert!(folder.is_absolute() && folder.ends_with("some/repository"));
        assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        for text in [
            "",
            "ftp://host/x",
            "sftp://host",
            "gs://",
            "s3://",
            "s3:///x",
            "s3://b/../x",
            "s3://b/a//b",
            "s3://b@h/x",
            "azblob://",
            "azblob://ab",
            "azblob://Container/x",
            "azblob://a--b/x",
            "azblob://abc/../x",
        ] {
            assert!(matches!(text.parse::<Location>(), Err(RepoError::UnsupportedLocation(_))), "{text}");
        }
    }

    #[test]
    fn a_bucket_and_its_prefix_are_read_and_shown_again() {
        for (text, prefix, shown) in
            [("s3://b", "", "s3://b"), ("s3://b/", "", "s3://b"), ("s3://b/p/q/", "p/q", "s3://b/p/q")]
        {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(location.folder(), None);
            let Location::S3(location) = location else { panic!("{location}") };
            assert_eq!((location.bucket.as_str(), location.prefix.as_str()), ("b", prefix));
        }
    }

    #[test]
    fn googles_storage_is_asked_in_the_language_of_s3_where_google_answers_it() {
        let location: Location = "gs://b/p/q".parse().unwrap();
        assert_eq!(location.to_string(), "gs://b/p/q");
        let Location::S3(location) = location else { panic!("{location}") };
        assert_eq!((location.bucket.as_str(), location.prefix.as_str()), ("b", "p/q"));
        assert_eq!(location.endpoint.as_deref(), Some("https://storage.googleapis.com"));
        assert_eq!((location.region.as_str(), location.path_style), ("auto", true));
    }

    #[test]
    fn a_container_of_azure_lies_in_an_account_that_is_a_host() {
        let location: Location = "azblob://my-backups/p/q/".parse().unwrap();
        assert_eq!(location.to_string(), "azblob://my-backups/p/q");
        let Location::S3(location) = location else { panic!("{location}") };
        assert_eq!((location.bucket.as_str(), location.prefix.as_str()), ("my-backups", "p/q"));
        assert_eq!((location.endpoint, location.path_style), (None, false));
    }
}
