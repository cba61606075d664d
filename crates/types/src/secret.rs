//! Values that must not be printed: passwords, keys, tokens.
//!
//! A [`Secret`] shows itself as `***` in every format. The value leaves only through [`Secret::expose`], so that
//! a search for that word finds each place that uses one.

use std::{fmt, sync::Arc};

/// A secret text. `Debug`, `Display` and JSON show `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// Returns the secret itself. Never put it into an argument list, a log or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// Values shorter than this are not masked: they would be found in half of all words.
const SHORTEST_BYTES: usize = 4;

/// Takes secrets out of texts that were made elsewhere: the output of a command, an error of a server.
#[derive(Clone, Default)]
pub struct Mask(Arc<[String]>);

impl Mask {
    /// Masks these values; the longest first, so that one inside another leaves nothing behind.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let mut values: Vec<String> =
            values.into_iter().filter(|value| value.len() >= SHORTEST_BYTES).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values.into())
    }

    /// Returns the text with `***` in place of every value.
    pub fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }

    /// Returns the values, for a process that has to mask them itself. Never put them into an argument list or a file.
    pub fn expose(&self) -> &[String] {
        &self.0
    }

    /// Applies it in place.
    pub fn cover(&self, text: &mut String) {
        if self.0.iter().any(|value| text.contains(value)) {
            *text = self.apply(text);
        }
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} values)", self.0.len())
    }
}
