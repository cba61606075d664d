//! Where a repository lies. In: the text of the configuration. Out: an absolute folder.
//!
//! This module never touches the folder. Read next: `repo.rs`.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::error::RepoError;

/// Where a repository lies: a local folder, absolute. Displayed as it can be parsed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location(pub(crate) PathBuf);

impl Location {
    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for Location {
    type Err = RepoError;

    /// A relative folder counts from the present working folder, once and for all.
    fn from_str(text: &str) -> Result<Self, RepoError> {
        if text.is_empty() || text.contains("://") {
            return Err(RepoError::UnsupportedLocation(text.into()));
        }
        let absolute = std::path::absolute(text).map_err(|source| RepoError::Io {
            operation: "find",
            path: text.into(),
            source,
        })?;
        Ok(Self(absolute))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_folder_becomes_absolute_and_an_address_is_refused() {
        let location: Location = "some/repository".parse().unwrap();
        assert!(location.path().is_absolute() && location.path().ends_with("some/repository"));
        assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
        for text in ["", "s3://bucket/x", "sftp://host/x"] {
            assert!(matches!(text.parse::<Location>(), Err(RepoError::UnsupportedLocation(_))), "{text}");
        }
    }
}
