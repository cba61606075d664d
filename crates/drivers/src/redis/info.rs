//! What `INFO` says, as names and values.
//!
//! In: its text. Out: values by name; what a version does not tell is absent. It never asks a server.

use std::collections::BTreeMap;

/// One answer to `INFO`.
#[derive(Debug, Clone, Default)]
pub(super) struct Info(BTreeMap<String, String>);

/// The keys of one database of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// All of them.
    pub(super) all: u64,
    /// Those with an expiry.
    pub(super) expiring: u64,
}

impl Info {
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// Tells whether a flag is set.
    pub(super) fn is(&self, name: &str) -> bool {
        self.text(name) == "1"
    }

    /// Returns the databases that have keys, by their numbers.
    pub(super) fn keyspace(&self) -> BTreeMap<u64, Keys> {
        let pairs = self.0.iter().filter_map(|(name, value)| {
            let number = name.strip_prefix("db")?.parse().ok()?;
            let field = |wanted: &str| {
                value.split(',').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('=')?.parse().ok())
            };
            Some((number, Keys { all: field("keys")?, expiring: field("expires").unwrap_or_default() }))
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_each_database_are_read() {
        let info = Info::parse(
            "# Keyspace\r\ndb0:keys=12,expires=3,avg_ttl=7\r\ndb11:keys=1,expires=0\r\nrole:master\r\n",
        );
        let keys = info.keyspace();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[&0], Keys { all: 12, expiring: 3 });
        assert_eq!(info.text("role"), "master");
    }
}
