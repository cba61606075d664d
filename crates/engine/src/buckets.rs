//! Looks at the buckets of the repository and of its copies, beside what the configuration declares of them.
//!
//! In: a configuration, and where things are. Out: facts, one for each bucket of which something is declared. A bucket
//! that cannot be asked is a fact too, with the reason.
//!
//! Nothing is refused here and nothing is changed: a backup in a bucket that is not as declared is better than none.
//! Read next: `crates/repo/src/bucket.rs`.

use muster_repo::{Location, bucket};
use muster_types::{
    bucket::BucketFacts,
    config::{Bucket, Platform},
};

/// What the repository itself is called beside its copies.
pub const REPOSITORY: &str = "repository";

/// Looks at each bucket of which something is declared: the repository's first, then the copies that `wanted` takes.
///
/// `place` says where the repository (`None`) or a copy is, or why nobody can tell. Who only looks gives hasty places.
pub fn look(
    platform: &Platform,
    wanted: &dyn Fn(&str) -> bool,
    place: &dyn Fn(Option<&str>) -> Result<Location, String>,
) -> Vec<BucketFacts> {
    let Some(repository) = &platform.repository else { return Vec::new() };
    let own = (None, repository.bucket.as_ref(), &repository.location);
    let copies = repository.copies.iter().filter(|copy| wanted(&copy.name));
    let copies = copies.map(|copy| (Some(copy.name.as_str()), copy.bucket.as_ref(), &copy.location));
    std::iter::once(own)
        .chain(copies)
        .filter_map(|(name, declared, location)| {
            let facts = BucketFacts {
                name: name.unwrap_or(REPOSITORY).to_owned(),
                location: location.clone(),
                points: Vec::new(),
                error: None,
            };
            declared.map(|declared| look_at(facts, declared, place(name)))
        })
        .collect()
}

fn look_at(facts: BucketFacts, declared: &Bucket, location: Result<Location, String>) -> BucketFacts {
    let looked = location.and_then(|location| {
        bucket::look(&location, declared).map_err(|error| crate::survey::describe(&error))
    });
    match looked {
        Ok(points) => BucketFacts { points, ..facts },
        Err(error) => BucketFacts { error: Some(error), ..facts },
    }
}
