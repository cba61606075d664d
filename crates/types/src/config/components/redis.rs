//! The component of kind `redis`: a server behind a URL, and the settings that it must have.
//!
//! In: the keys of the file. Out: the component, and the way back. It never resolves a secret.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Component, ComponentCommon, ComponentKeys, MissingSecret, Named};

/// Takes the keys of this kind.
pub(super) fn from_keys(keys: ComponentKeys, common: ComponentCommon) -> Component {
    let expect = keys.expect.unwrap_or_default();
    Component::Redis(RedisComponent {
        url: keys.url,
        password: keys.password,
        password_missing: None,
        bin_dir: keys.bin_dir,
        expect: expect.into_iter().map(|(name, setting)| (name, setting.to_string())).collect(),
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
