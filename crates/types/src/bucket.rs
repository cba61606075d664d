//! What was seen of a bucket, beside what the configuration says of it.
//!
//! In: what was declared and what the server said. Out: a row for each declared property, with its verdict.
//!
//! What a server does not tell is `unknown` and never taken for what was declared.
//! Read next: `crates/repo/src/s3/bucket.rs` asks, `crates/engine/src/buckets.rs` collects.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What was seen of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketFacts {
    /// `repository`, or the name of the copy.
    pub name: String,
    /// Where it is.
    pub location: String,
    /// One for each property that the configuration declares.
    pub points: Vec<BucketPoint>,
    /// Why nothing could be asked; then there are no points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One declared property of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPoint {
    /// Which one.
    pub property: Property,
    /// What the configuration says: `on`, `off`, or a name of the server's.
    pub declared: String,
    /// What the server says; absent when it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// How the two go together.
    pub verdict: BucketVerdict,
    /// Why it is unknown, or what follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A property of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Property {
    /// It keeps what is replaced or removed.
    Versioning,
    /// It encrypts what is put into it.
    Encryption,
    /// What is put into it stays for some time.
    ObjectLock,
    /// Where the server keeps packs.
    StorageClass,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Versioning => "versioning",
            Self::Encryption => "encryption",
            Self::ObjectLock => "object lock",
            Self::StorageClass => "storage class",
        })
    }
}

/// How what was declared and what was found go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketVerdict {
    /// The server says what the configuration says.
    AsDeclared,
    /// The server says something else.
    Differs,
    /// The server does not tell.
    Unknown,
}

impl BucketFacts {
    /// Tells whether the server says something else than the configuration.
    pub fn differs(&self) -> bool {
        self.points.iter().any(|point| point.verdict == BucketVerdict::Differs)
    }

    /// Returns a line for each property that is not known to be as declared, and for what could not be asked.
    pub fn warnings(&self) -> Vec<String> {
        let who = match self.name.as_str() {
            "repository" => format!("the bucket of the repository, {}", self.location),
            name => format!("the bucket of the copy `{name}`, {}", self.location),
        };
        let unasked = self.error.iter().map(|error| format!("{who}, could not be looked at: {error}"));
        let points = self.points.iter().filter(|point| point.verdict != BucketVerdict::AsDeclared);
        unasked.chain(points.map(|point| format!("{who}: {point}"))).collect()
    }
}

impl fmt::Display for BucketPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { property, declared, found, reason, .. } = self;
        match found {
            Some(found) => write!(f, "{property} is {found}, declared is {declared}")?,
            None => write!(f, "{property} is unknown, declared is {declared}")?,
        }
        reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_said_and_never_taken_for_as_declared() {
        let point = |verdict, found: Option<&str>| BucketPoint {
            property: Property::ObjectLock,
            declared: "on".into(),
            found: found.map(Into::into),
            verdict,
            reason: None,
        };
        let facts = BucketFacts {
            name: "offsite".into(),
            location: "s3://b/p".into(),
            points: vec![
                point(BucketVerdict::AsDeclared, Some("on")),
                point(BucketVerdict::Differs, Some("off")),
                point(BucketVerdict::Unknown, None),
            ],
            error: None,
        };
        let who = "the bucket of the copy `offsite`, s3://b/p: object lock is ";
        assert_eq!(
            facts.warnings(),
            [format!("{who}off, declared is on"), format!("{who}unknown, declared is on")]
        );
        assert!(facts.differs());
        let unknown = BucketFacts { points: facts.points[2..].to_vec(), ..facts };
        assert!(!unknown.differs() && unknown.warnings().len() == 1);
    }
}
