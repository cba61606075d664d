//! Judges the keys of `repository` and of its copies that belong to object storage.
//!
//! A typed `repository`, or one of its copies, comes in; findings leave. What has a reference in it is judged when it is used.
//!
//! It never asks the server.

use muster_repo::Location;
use muster_types::{
    ByteSize,
    config::{Repository, RepositoryCopy},
};

use super::Rules;
use crate::config::{finding::Finding, secret};

/// The keys that mean nothing for a folder.
const KEYS: [&str; 6] = ["endpoint", "region", "path_style", "access_key", "secret_key", "max_upload_rate"];
/// Slower than this no backup of a platform would come to its end.
const UPLOAD_RATE_MIN: ByteSize = ByteSize(64 << 10);

/// What the repository and its copies have in common.
pub(super) struct StoreKeys<'a> {
    location: &'a str,
    endpoint: Option<&'a str>,
    max_upload_rate: Option<ByteSize>,
    access_key: Option<&'a str>,
    secret_key: Option<&'a str>,
}

impl<'a> StoreKeys<'a> {
    pub(super) fn of(one: &'a Repository) -> Self {
        Self {
            location: &one.location,
            endpoint: one.endpoint.as_deref(),
            max_upload_rate: one.max_upload_rate,
            access_key: one.access_key.as_deref(),
            secret_key: one.secret_key.as_deref(),
        }
    }

    pub(super) fn of_copy(one: &'a RepositoryCopy) -> Self {
        Self {
            location: &one.location,
            endpoint: one.endpoint.as_deref(),
            max_upload_rate: one.max_upload_rate,
            access_key: one.access_key.as_deref(),
            secret_key: one.secret_key.as_deref(),
        }
    }
}

fn below<'a>(path: &[&'a str], key: &'a str) -> Vec<&'a str> {
    [path, &[key]].concat()
}

impl Rules<'_> {
    pub(super) fn judge_store(&self, path: &[&str], repository: &StoreKeys<'_>, findings: &mut Vec<Finding>) {
        let at = |key: &str| self.sources.place(self.value_at(&below(path, key)));
        if !repository.location.starts_with("s3://") {
            for key in KEYS.iter().filter(|key| self.node(&below(path, key)).is_some()) {
                let message = format!("`{key}` belongs to object storage, and `location` is a folder");
                let place = self.sources.place(self.key_at(&below(path, key)));
                let hint = format!("remove `{key}`, or write `location: s3://bucket/prefix`");
                findings.push(Finding::error(message).at(place).hint(hint));
            }
            return;
        }
        let is_written_out = !secret::has_reference(repository.location);
        if is_written_out && repository.location.parse::<Location>().is_err() {
            let message = format!("`location: {}` is no address in object storage", repository.location);
            findings.push(Finding::error(message).at(at("location")).hint("write `s3://bucket/prefix`"));
        }
        if let Some(endpoint) = repository.endpoint.filter(|text| !secret::has_reference(text)) {
            let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
            let host = host.map(|host| host.trim_end_matches('/'));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '@', '?', '#', ' '])) {
                let message = format!("`endpoint: {endpoint}` is no address of a server");
                let hint = "write `https://host` or `http://host:port`; the bucket stands in `location`";
                findings.push(Finding::error(message).at(at("endpoint")).hint(hint));
            }
        }
        if let Some(rate) = repository.max_upload_rate.filter(|rate| *rate < UPLOAD_RATE_MIN) {
            let message = format!(
                "`max_upload_rate: {rate}` is less than {UPLOAD_RATE_MIN} in a second: no backup would end"
            );
            let hint = "write bytes per second, such as `max_upload_rate: 20MiB`, or leave it out";
            findings.push(Finding::error(message).at(at("max_upload_rate")).hint(hint));
        }
        let pair = [("access_key", repository.access_key), ("secret_key", repository.secret_key)];
        if let [(given, Some(_)), (missing, None)] | [(missing, None), (given, Some(_))] = pair {
            let place = self.sources.place(self.key_at(&below(path, given)));
            let finding = Finding::error(format!("`{given}` stands here without `{missing}`")).at(place);
            findings.push(finding.hint(format!(
                "give both, or none: then the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY count (add `{missing}`)"
            )));
        }
    }
}
