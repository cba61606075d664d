//! Where a repository lies. In: the text of the configuration. Out: an absolute folder, or a bucket and a prefix.
//!
//! This module never touches the folder or the bucket. Read next: `repo.rs`, `place.rs`.

use std::{
    fmt,
    num::NonZeroU64,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use muster_types::Secret;

use crate::error::RepoError;

/// What an address of object storage begins with.
const SCHEME: &str = "s3://";
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
}

/// A place in object storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket; it must exist.
    pub bucket: String,
    /// Without slashes at its ends; empty: the whole bucket.
    pub prefix: String,
    /// `http://host:port` or `https://host`. Without one: AWS, in the region.
    pub endpoint: Option<String>,
    /// What requests are signed for.
    pub region: String,
    /// Whether the bucket stands in the path instead of before the host's name.
    pub path_style: bool,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// How long a request that failed for a passing reason is repeated.
    pub patience: Duration,
    /// Asked between two tries: then nothing is repeated any more.
    pub stop: Stop,
    /// Bytes per second that are sent at most, by all threads together.
    pub upload_rate_max: Option<NonZeroU64>,
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
    /// The name of the key. It is no secret.
    pub access_key: String,
    /// The key.
    pub secret_key: Secret,
    /// Goes with a key that holds for a short time.
    pub session_token: Option<Secret>,
}

impl Location {
    /// Returns the folder when it is one of this host.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Local(folder) => Some(folder),
            Self::S3(_) => None,
        }
    }
}

impl Location {
    /// Returns the same place, asked with less patience: for whoever only looks.
    #[must_use]
    pub fn hasty(mut self) -> Self {
        if let Self::S3(s3) = &mut self {
            s3.patience = s3.patience.min(PATIENCE_OF_A_LOOK);
        }
        self
    }
}

impl FromStr for Location {
    type Err = RepoError;

    /// A relative folder counts from the present working folder, once and for all.
    fn from_str(text: &str) -> Result<Self, RepoError> {
        if let Some(address) = text.strip_prefix(SCHEME) {
            return parse_s3(address)
                .map(Self::S3)
                .ok_or_else(|| RepoError::UnsupportedLocation(text.into()));
        }
        if text.is_empty() || text.contains("://") {
            return Err(RepoError::UnsupportedLocation(text.into()));
        }
        let absolute = std::path::absolute(text).map_err(|source| RepoError::Io {
            operation: "find",
            path: text.into(),
            source,
        })?;
        Ok(Self::Local(absolute))
    }
}

fn parse_s3(address: &str) -> Option<S3Location> {
    let (bucket, prefix) = address.split_once('/').unwrap_or((address, ""));
    let prefix = prefix.trim_matches('/');
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_part =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    let is_sound = !bucket.is_empty()
        && bucket.chars().all(is_name)
        && (prefix.is_empty() || prefix.split('/').all(is_part));
    is_sound.then(|| S3Location {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: None,
        region: REGION.to_owned(),
        path_style: false,
        credentials: None,
        patience: PATIENCE,
        stop: Stop::default(),
        upload_rate_max: None,
    })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(folder) => folder.display().fmt(f),
            Self::S3(location) => location.fmt(f),
        }
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "{SCHEME}{}{slash}{}", self.bucket, self.prefix)
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
        for text in ["", "sftp://host/x", "s3://", "s3:///x", "s3://b/../x", "s3://b/a//b", "s3://b@h/x"] {
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
}
