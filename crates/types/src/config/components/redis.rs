//! The component of kind `redis`: a server behind a URL, and the settings that it must have.
//!
//! In: the keys of the file. Out: the component, and the way back. It never resolves a secret.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::Check, Component, ComponentCommon, ComponentKeys, MissingSecret, Named};
use crate::Span;

/// Takes the keys of this kind.
pub(super) fn from_keys(keys: ComponentKeys, common: ComponentCommon) -> Component {
    let expect = keys.expect.unwrap_or_default();
    Component::Redis(RedisComponent {
        url: keys.url,
        password: keys.password,
        password_missing: None,
        bin_dir: keys.bin_dir,
        expect: expect.into_iter().map(|(name, setting)| (name, setting.to_string())).collect(),
        is_disposable: keys.disposable.unwrap_or_default(),
        warm: keys.warm,
        service: keys.service,
        data_dir: keys.data_dir,
        common,
    })
}

/// Returns the expected settings as the file has them.
pub(super) fn expect_keys(expect: Named<String>) -> Option<Named<Setting>> {
    let settings = expect.into_iter().map(|(name, text)| (name, Setting::Text(text)));
    Some(settings.collect::<Named<_>>()).filter(|settings| !settings.is_empty())
}

/// The value of a server's setting: YAML reads `64mb` as text, `100` as a number and, in its older version, `yes` as a
/// truth; the server has text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "it is no setting: write text or a number, such as `64mb`")]
pub enum Setting {
    /// Such as `yes`, read as a truth.
    Flag(bool),
    /// Such as `100`.
    Number(i64),
    /// Such as `everysec`.
    Text(String),
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(is_on) => f.write_str(if *is_on { "yes" } else { "no" }),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// How a cache is filled again after it was emptied.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// What is asked for it: `POST http://api:8080/cache/warm`, or a URL (`GET`). Without it only the server is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Headers; secrets as references.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// A file with the certificates that are trusted, instead of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// What must hold of the answer. Default: `[STATUS] < 300`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// How long it may take. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Over how long the hit rate is measured, before and after. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
}

impl WarmUp {
    /// Returns the request as a check, which knows how to ask and to judge; `None` where nothing is asked.
    pub fn check(&self) -> Option<Check> {
        let http = self.http.clone()?;
        let conditions = if self.conditions.is_empty() {
            vec!["[STATUS] < 300".to_owned()]
        } else {
            self.conditions.clone()
        };
        Some(Check {
            http: Some(http),
            headers: self.headers.clone(),
            body: self.body.clone(),
            ca: self.ca.clone(),
            conditions,
            timeout: Some(self.timeout.unwrap_or(Span::from_secs(5 * 60))),
            ..Check::default()
        })
    }
}

impl fmt::Debug for WarmUp {
    /// Without the URL, the headers and the body: each may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmUp").field("conditions", &self.conditions).finish_non_exhaustive()
    }
}

/// A Redis server.
#[derive(Clone, PartialEq, Default)]
pub struct RedisComponent {
    /// The server; `None` only in a shared file, before an environment gives it.
    pub url: Option<String>,
    /// The password of the URL's user.
    pub password: Option<String>,
    /// Why the password that the file names cannot be had; then `password` is `None`. Never written.
    pub password_missing: Option<MissingSecret>,
    /// The folder of the server's programs.
    pub bin_dir: Option<PathBuf>,
    /// Settings that the server must have.
    pub expect: Named<String>,
    /// Whether it is a cache that is emptied instead of restored, and never backed up.
    pub is_disposable: bool,
    /// How it is filled again; of a disposable one only.
    pub warm: Option<WarmUp>,
    /// The service that runs the server, when its folder is emptied.
    pub service: Option<String>,
    /// The server's folder on this host, which is emptied while the service is stopped.
    pub data_dir: Option<PathBuf>,
    /// What all kinds share.
    pub common: ComponentCommon,
}

impl fmt::Debug for RedisComponent {
    /// Without the URL and the password: both may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisComponent")
            .field("bin_dir", &self.bin_dir)
            .field("expect", &self.expect)
            .field("common", &self.common)
            .finish_non_exhaustive()
    }
}
