//! Judges the keys of `repository` and of its copies that belong to object storage.
//!
//! A typed `repository`, or one of its copies, comes in; findings leave. What has a reference in it is judged when it is used.
//!
//! It never asks the server.

use muster_repo::Location;
use muster_types::{
    ByteSize,
    config::{Bucket, Repository, RepositoryCopy},
};

use super::Rules;
use crate::config::{finding::Finding, secret};

/// The keys that mean nothing but for object storage.
const KEYS: [&str; 6] = ["endpoint", "region", "path_style", "access_key", "secret_key", "bucket"];
/// Those of them that mean nothing for Azure either.
const NOT_OF_AZURE: [&str; 2] = ["region", "bucket"];
/// The key that means nothing for a folder of this host.
const RATE: &str = "max_upload_rate";
/// The key that means nothing but for a host that is reached over SSH.
const SSH: &str = "ssh_config";
/// What lies in these classes cannot be read before it is asked back, which takes hours.
const FROZEN: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];
/// Slower than this no backup of a platform would come to its end.
const UPLOAD_RATE_MIN: ByteSize = ByteSize(64 << 10);

/// What the repository and its copies have in common.
pub(super) struct StoreKeys<'a> {
    location: &'a str,
    endpoint: Option<&'a str>,
    max_upload_rate: Option<ByteSize>,
    access_key: Option<&'a str>,
    secret_key: Option<&'a str>,
    storage_class: Option<&'a str>,
}

/// What kind of place a location names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Folder,
    Bucket,
    Container,
    Host,
}

impl Sort {
    fn is_store(self) -> bool {
        matches!(self, Self::Bucket | Self::Container)
    }

    fn of(location: &str) -> Self {
        match location.split_once("://") {
            Some(("s3" | "gs", _)) => Self::Bucket,
            Some(("azblob", _)) => Self::Container,
            Some(("sftp", _)) => Self::Host,
            _ => Self::Folder,
        }
    }
}

fn class_of(bucket: Option<&Bucket>) -> Option<&str> {
    bucket.and_then(|bucket| bucket.storage_class.as_deref())
}

impl<'a> StoreKeys<'a> {
    pub(super) fn of(one: &'a Repository) -> Self {
        Self {
            location: &one.location,
            endpoint: one.endpoint.as_deref(),
            max_upload_rate: one.max_upload_rate,
            access_key: one.access_key.as_deref(),
            secret_key: one.secret_key.as_deref(),
            storage_class: class_of(one.bucket.as_ref()),
        }
    }

    pub(super) fn of_copy(one: &'a RepositoryCopy) -> Self {
        Self {
            location: &one.location,
            endpoint: one.endpoint.as_deref(),
            max_upload_rate: one.max_upload_rate,
            access_key: one.access_key.as_deref(),
            secret_key: one.secret_key.as_deref(),
            storage_class: class_of(one.bucket.as_ref()),
        }
    }
}

fn below<'a>(path: &[&'a str], key: &'a str) -> Vec<&'a str> {
    [path, &[key]].concat()
}

impl Rules<'_> {
    pub(super) fn judge_store(&self, path: &[&str], repository: &StoreKeys<'_>, findings: &mut Vec<Finding>) {
        let at = |key: &str| self.sources.place(self.value_at(&below(path, key)));
        let sort = Sort::of(repository.location);
        let is_written_out = !secret::has_reference(repository.location);
        if is_written_out
            && repository.location.contains("://")
            && repository.location.parse::<Location>().is_err()
        {
            let (what, hint) = match sort {
                Sort::Bucket => {
                    ("no address in object storage", "write `s3://bucket/prefix` or `gs://bucket/prefix`")
                }
                Sort::Container => (
                    "no address in Azure Blob Storage",
                    "write `azblob://container/prefix`: 3 to 63 small letters, digits and single dashes; the account stands in \
                     `access_key`",
                ),
                Sort::Host => {
                    ("no address over SSH", "write `sftp://user@host/path` or `sftp://user@host:port/path`")
                }
                Sort::Folder => (
                    "no address that Muster knows",
                    "write a folder, `s3://bucket/prefix`, `gs://bucket/prefix`, `azblob://container/prefix` or \
                     `sftp://user@host/path`",
                ),
            };
            let message = format!("`location: {}` is {what}", repository.location);
            findings.push(Finding::error(message).at(at("location")).hint(hint));
        }
        self.judge_keys(path, sort, findings);
        self.judge_rate(path, repository, findings);
        if !sort.is_store() {
            return;
        }
        self.judge_class(path, repository, findings);
        if let Some(endpoint) = repository.endpoint.filter(|text| !secret::has_reference(text)) {
            let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
            let host = host.map(|host| host.trim_end_matches('/'));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '@', '?', '#', ' '])) {
                let message = format!("`endpoint: {endpoint}` is no address of a server");
                let hint = "write `https://host` or `http://host:port`; the bucket stands in `location`";
                findings.push(Finding::error(message).at(at("endpoint")).hint(hint));
            }
        }
        let pair = [("access_key", repository.access_key), ("secret_key", repository.secret_key)];
        if let [(given, Some(_)), (missing, None)] | [(missing, None), (given, Some(_))] = pair {
            let place = self.sources.place(self.key_at(&below(path, given)));
            let finding = Finding::error(format!("`{given}` stands here without `{missing}`")).at(place);
            let variables = match sort {
                Sort::Container => "AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY",
                _ => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            };
            findings.push(
                finding.hint(format!(
                    "give both, or none: then the variables {variables} count (add `{missing}`)"
                )),
            );
        }
    }

    /// Refuses keys that belong to another kind of place.
    fn judge_keys(&self, path: &[&str], sort: Sort, findings: &mut Vec<Finding>) {
        let shown = match sort {
            Sort::Folder => "`location` is a folder",
            Sort::Bucket => "`location` is object storage",
            Sort::Container => "`location` is Azure Blob Storage",
            Sort::Host => "`location` is a host over SSH",
        };
        let (bucket, host) = ("belongs to object storage", "belongs to a host over SSH");
        let buckets = KEYS.iter().map(|key| {
            let is_unknown = sort == Sort::Container && NOT_OF_AZURE.contains(key);
            let belongs = if is_unknown { "belongs to S3 and Google Cloud Storage" } else { bucket };
            (*key, belongs, "s3://bucket/prefix", is_unknown || !sort.is_store())
        });
        let others = [
            (RATE, bucket, "s3://bucket/prefix", sort == Sort::Folder),
            (SSH, host, "sftp://user@host/path", sort != Sort::Host),
        ];
        for (key, belongs, instead, is_odd) in buckets.chain(others) {
            if is_odd && self.node(&below(path, key)).is_some() {
                let place = self.sources.place(self.key_at(&below(path, key)));
                let hint = format!("remove `{key}`, or write `location: {instead}`");
                findings.push(Finding::error(format!("`{key}` {belongs}, and {shown}")).at(place).hint(hint));
            }
        }
    }

    fn judge_rate(&self, path: &[&str], repository: &StoreKeys<'_>, findings: &mut Vec<Finding>) {
        let at = |key: &str| self.sources.place(self.value_at(&below(path, key)));
        if let Some(rate) = repository.max_upload_rate.filter(|rate| *rate < UPLOAD_RATE_MIN) {
            let message = format!(
                "`max_upload_rate: {rate}` is less than {UPLOAD_RATE_MIN} in a second: no backup would end"
            );
            let hint = "write bytes per second, such as `max_upload_rate: 20MiB`, or leave it out";
            findings.push(Finding::error(message).at(at("max_upload_rate")).hint(hint));
        }
    }

    /// A class from which nothing can be read at once, or that is no name of a class.
    fn judge_class(&self, path: &[&str], repository: &StoreKeys<'_>, findings: &mut Vec<Finding>) {
        let Some(class) = repository.storage_class.filter(|text| !secret::has_reference(text)) else {
            return;
        };
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let key = [path, &["bucket", "storage_class"]].concat();
        let place = || self.sources.place(self.value_at(&key));
        if FROZEN.contains(&class) {
            let message =
                format!("`storage_class: {class}`: packs could not be read before they are asked back");
            let hint = "write a class that answers at once, such as `STANDARD_IA` or `GLACIER_IR`";
            findings.push(Finding::error(message).at(place()).hint(hint));
        } else if class.is_empty() || !class.chars().all(is_name) {
            let message = format!("`storage_class: {class}` is no name of a class");
            findings
                .push(Finding::error(message).at(place()).hint("write it as the server does: `STANDARD_IA`"));
        }
    }
}
