//! What is lost by a step, and the names that a person must give before it is done.
//!
//! Names come in from the plan or the look before it; whether somebody's words name all of them and nothing else leaves. It
//! never decides who may say them.

use serde::Serialize;

/// What a person must name before a step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// The names, all of which must be typed. Empty only in a dry run: they are not known yet.
    pub names: Vec<String>,
    /// What stands behind them, one line each, for people.
    pub what: Vec<String>,
}

impl Approval {
    /// Returns what is typed: `node-1`, or `app.db, app.disk`.
    pub fn word(&self) -> String {
        self.names.join(", ")
    }

    /// Whether these words name all of it and nothing else, in any order: `approve node-1` or `node-1`.
    pub fn is_given(&self, words: &str) -> bool {
        let words = words.trim();
        let words = words.strip_prefix("approve ").unwrap_or(words).trim();
        // A name with a comma in it is typed as it is shown.
        if self.names.is_empty() || words == self.word() {
            return !self.names.is_empty();
        }
        let mut given: Vec<&str> = words.split(',').map(str::trim).collect();
        let mut wanted: Vec<&str> = self.names.iter().map(String::as_str).collect();
        given.sort_unstable();
        wanted.sort_unstable();
        given == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_must_be_given_and_no_other_in_any_order() {
        let approval = |names: &[&str]| Approval {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            what: Vec::new(),
        };
        let two = approval(&["app.db", "app.disk"]);
        for words in ["app.db, app.disk", "approve app.disk,app.db", " approve app.db, app.disk "] {
            assert!(two.is_given(words), "{words}");
        }
        for words in ["", "approve", "yes", "app.db", "app.db, app.disk, app.net", "app.db, app.db"] {
            assert!(!two.is_given(words), "{words}");
        }
        assert!(approval(&["x[\"a,b\"]"]).is_given("approve x[\"a,b\"]"));
        assert!(!approval(&[]).is_given(""), "what nobody knows yet nobody can approve");
    }
}
