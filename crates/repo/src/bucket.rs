//! Compares what a bucket says of itself with what it is declared to be.
//!
//! In: a location and what the configuration declares. Out: a row for each declared property.
//!
//! It only asks, and never changes a bucket. What the server does not tell is `unknown`; that it cannot be reached is
//! an error. Read next: `s3/bucket.rs` asks.

use muster_types::{
    bucket::{BucketPoint, BucketVerdict, Property},
    config::Bucket,
};

use crate::{error::RepoError, location::Location, s3::S3};

/// Why nothing is known of a container at Azure.
const NOT_ASKED: &str = "Muster does not ask Azure Blob Storage for its settings";

/// What a server says of one property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// This.
    Is(String),
    /// Nothing that can be used, and why.
    Unknown(String),
}

/// Looks at the bucket of a location; only at what is declared. A location that is no bucket has no rows.
///
/// # Errors
/// `Store`: the server does not answer, refuses who asks, or has no such bucket.
pub fn look(location: &Location, declared: &Bucket) -> Result<Vec<BucketPoint>, RepoError> {
    let Location::S3(location) = location else { return Ok(Vec::new()) };
    let s3 = S3::new(location)?;
    let mut points = Vec::new();
    let word = |is_on: bool| if is_on { "on" } else { "off" };
    let seen = |ask: fn(&S3) -> Result<Seen, RepoError>| {
        if s3.tells_of_its_bucket() { ask(&s3) } else { Ok(Seen::Unknown(NOT_ASKED.into())) }
    };
    if let Some(is_on) = declared.versioning {
        points.push(compare(Property::Versioning, word(is_on), seen(S3::versioning)?));
    }
    if let Some(encryption) = declared.encryption {
        points.push(compare(Property::Encryption, encryption.word(), seen(S3::encryption)?));
    }
    if let Some(is_on) = declared.object_lock {
        points.push(compare(Property::ObjectLock, word(is_on), seen(S3::object_lock)?));
    }
    if let Some(class) = &declared.storage_class {
        points.push(compare(Property::StorageClass, class, seen(S3::class_of_a_pack)?));
    }
    Ok(points)
}

fn compare(property: Property, declared: &str, seen: Seen) -> BucketPoint {
    let (found, reason) = match seen {
        Seen::Is(found) => (Some(found), None),
        Seen::Unknown(reason) => (None, Some(reason)),
    };
    let verdict = match &found {
        Some(found) if found == declared => BucketVerdict::AsDeclared,
        Some(_) => BucketVerdict::Differs,
        None => BucketVerdict::Unknown,
    };
    BucketPoint { property, declared: declared.to_owned(), found, verdict, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_says_in_the_same_words_is_as_declared() {
        let verdict = |declared: &str, seen| compare(Property::ObjectLock, declared, seen).verdict;
        assert_eq!(verdict("on", Seen::Is("on".into())), BucketVerdict::AsDeclared);
        let partly = Seen::Is("on without a default retention".into());
        assert_eq!(verdict("on", partly), BucketVerdict::Differs);
        assert_eq!(verdict("off", Seen::Unknown("no".into())), BucketVerdict::Unknown);
    }
}
