//! Judges the copies of the repository: names that can be given to `--from`, places of their own, and their stores.
//!
//! A typed `repository` comes in; findings leave. What has a reference in it is judged when it is used.
//!
//! It never looks at a disk or asks a server.

use muster_types::config::Repository;

use super::{Rules, store::StoreKeys};
use crate::{
    commands::copy::ITSELF,
    config::{discover::is_name, finding::Finding, secret},
};

impl Rules<'_> {
    pub(super) fn judge_copies(&self, repository: &Repository, findings: &mut Vec<Finding>) {
        for (index, copy) in repository.copies.iter().enumerate() {
            let number = index.to_string();
            let path = ["repository", "copies", number.as_str()];
            let at = |key: &str| self.sources.place(self.value_at(&[&path[..], &[key]].concat()));
            if !is_name(&copy.name) || copy.name == ITSELF {
                let finding = Finding::error(format!("`{}` cannot name a copy", copy.name)).at(at("name"));
                findings.push(
                    finding.hint("use letters, digits, `-` and `_`; `repository` is the repository itself"),
                );
            }
            if repository.copies[..index].iter().any(|other| other.name == copy.name) {
                let finding = Finding::error(format!("two copies are called `{}`", copy.name)).at(at("name"));
                findings.push(finding.hint("give each a name of its own"));
            }
            if copy.location.trim().is_empty() {
                let finding = Finding::error("`location` is empty").at(at("location"));
                findings.push(finding.hint("give a folder or `s3://bucket/prefix`"));
            }
            let others = repository.copies[..index].iter().map(|other| other.location.as_str());
            for other in others.chain([repository.location.as_str()]) {
                // The same bucket name on two servers is two places.
                let is_local = !copy.location.contains("://");
                let (one, two) = (copy.location.trim_end_matches('/'), other.trim_end_matches('/'));
                let is_within = |inner: &str, outer: &str| inner.starts_with(&format!("{outer}/"));
                if is_local && (one == two || is_within(one, two) || is_within(two, one)) {
                    let message =
                        format!("`{}` is the place of another copy, or in it, or around it", copy.location);
                    let finding = Finding::error(message).at(at("location"));
                    findings.push(finding.hint("a copy has a folder of its own, on another disk"));
                }
            }
            if let Some(text) = &copy.secret_key
                && !secret::has_reference(text)
            {
                let whose = (&path[..], "the copy");
                self.refuse_clear_text(whose, "secret_key", text, "`secret_key: ${env:NAME}`", findings);
            }
            self.judge_store(&path, &StoreKeys::of_copy(copy), findings);
        }
    }
}
