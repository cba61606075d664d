//! What the buckets of the repository and of its copies say of themselves, for `survey`, `status`, `backup` and `copy`.
//!
//! In: a configuration. Out: facts, and the lines and warnings that show them.
//!
//! No backup is refused for what a bucket is: one in a bucket that is not as declared is better than none. `survey`
//! fails for it, because nothing is lost there by failing. Read next: `crates/engine/src/buckets.rs`.

use muster_engine::buckets;
use muster_repo::Location;
use muster_types::bucket::{BucketFacts, BucketVerdict};
use serde_json::json;

use crate::{answer::Answer, app, config::Loaded, exit::Failure};

/// Looks at the repository's bucket and at those of the copies that `wanted` takes. Asks only what is declared.
pub(super) fn look(loaded: &Loaded, wanted: &dyn Fn(&str) -> bool) -> Vec<BucketFacts> {
    let place = |name: Option<&str>| {
        let location = name.map_or_else(|| app::location(loaded), |name| app::copy_location(loaded, name));
        // A person waits: what does not answer at once is said to be unknown.
        location.map(Location::hasty).map_err(said)
    };
    buckets::look(&loaded.platform, wanted, &place)
}

/// Looks at the buckets that a backup writes to.
pub(super) fn of_backup(loaded: &Loaded) -> Vec<BucketFacts> {
    let copies = loaded.platform.repository.iter().flat_map(|repository| &repository.copies);
    let named: Vec<&str> =
        copies.filter(|copy| copy.after_backup != Some(false)).map(|copy| copy.name.as_str()).collect();
    look(loaded, &|name| named.contains(&name))
}

/// Adds what is not known to be as declared to an answer: as warnings, and in its document.
pub(super) fn warn(answer: &mut Answer, facts: &[BucketFacts]) {
    for warning in facts.iter().flat_map(BucketFacts::warnings) {
        answer.errors.push_str(&format!("warning: {warning}\n"));
    }
    if !facts.is_empty() {
        answer.document["buckets"] = json!(facts);
    }
}

/// Tells whether all that was asked was answered, and nothing differs. What a server does not tell is no failure.
pub(super) fn are_sound(facts: &[BucketFacts]) -> bool {
    facts.iter().all(|facts| facts.error.is_none() && !facts.differs())
}

/// A block for each bucket, a line for each property.
pub(super) fn text(facts: &[BucketFacts]) -> String {
    facts.iter().map(block).collect()
}

fn block(facts: &BucketFacts) -> String {
    let mut text = format!("bucket of {} ({})\n", facts.name, facts.location);
    if let Some(error) = &facts.error {
        text.push_str(&format!("  could not be looked at: {error}\n"));
    }
    for point in &facts.points {
        let found = point.found.as_deref().unwrap_or("unknown");
        let verdict = match point.verdict {
            BucketVerdict::AsDeclared => "as declared".to_owned(),
            BucketVerdict::Differs => format!("DIFFERS, declared is {}", point.declared),
            BucketVerdict::Unknown => format!("declared is {}", point.declared),
        };
        let reason = point.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        text.push_str(&format!("  {:13}  {found} ({verdict}){reason}\n", point.property));
    }
    text
}

fn said(failure: Failure) -> String {
    let causes = failure.note.causes.iter().map(|cause| format!(": {cause}"));
    format!("{}{}", failure.note.error, causes.collect::<String>())
}
