//! Reads the keys of a YAML map, each once, with faults that name the place.
//!
//! A node comes in; values leave by name. What was not asked for when [`Keys::finish`] is called is an unknown key.

use muster_types::Span;

use super::Fault;
use crate::yaml::{Node, Value};

/// The keys of one map.
pub(super) struct Keys<'a, 'f> {
    node: &'a Node,
    known: Vec<&'static str>,
    pub(super) faults: &'f mut Vec<Fault>,
    /// What the map is, for people: "a `restore` step".
    what: String,
}

impl<'a, 'f> Keys<'a, 'f> {
    pub(super) fn new(node: &'a Node, what: impl Into<String>, faults: &'f mut Vec<Fault>) -> Self {
        Self { node, known: Vec::new(), faults, what: what.into() }
    }

    pub(super) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.node.get(key).filter(|node| node.value != Value::Null)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let node = self.node(key)?;
        if node.text().is_none() {
            self.wrong(node, key, "a text");
        }
        node.text().map(str::to_owned)
    }

    /// Where the map begins.
    pub(super) fn place(&self) -> (usize, usize) {
        (self.node.line, self.node.column)
    }

    /// A text that must be there.
    pub(super) fn needed(&mut self, key: &'static str) -> String {
        let is_there = self.node.get(key).is_some_and(|node| node.value != Value::Null);
        if !is_there {
            self.known.push(key);
            let place = (self.node.line, self.node.column);
            self.faults.push(Fault::new(
                place,
                "",
                format!("{} needs `{key}`", self.what),
                format!("add `{key}: …`"),
            ));
            return String::new();
        }
        self.text(key).unwrap_or_default()
    }

    /// One name or a list of names.
    pub(super) fn names(&mut self, key: &'static str) -> Vec<String> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let found = names(node);
        if found.is_none() {
            self.wrong(node, key, "a name or a list of names");
        }
        found.unwrap_or_default()
    }

    pub(super) fn span(&mut self, key: &'static str) -> Option<Span> {
        let node = self.node(key)?;
        match node.text().map(str::parse::<Span>) {
            Some(Ok(span)) => Some(span),
            Some(Err(error)) => {
                let place = (node.line, node.column);
                self.faults.push(Fault::new(
                    place,
                    node.text().unwrap_or_default(),
                    format!("`{key}`: {error}"),
                    "write it with a unit: `30s`, `15m`, `1h30m`",
                ));
                None
            }
            None => {
                self.wrong(node, key, "a duration");
                None
            }
        }
    }

    pub(super) fn count(&mut self, key: &'static str) -> Option<u32> {
        let node = self.node(key)?;
        let number = node.text().and_then(|text| text.parse().ok());
        if number.is_none() {
            self.wrong(node, key, "a whole number");
        }
        number
    }

    pub(super) fn is_set(&mut self, key: &'static str) -> bool {
        let Some(node) = self.node(key) else { return false };
        match node.text() {
            Some("true" | "yes") => true,
            Some("false" | "no") => false,
            _ => {
                self.wrong(node, key, "`true` or `false`");
                false
            }
        }
    }

    /// A map of texts.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(String, String)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        if !matches!(node.value, Value::Map(_)) {
            self.wrong(node, key, "a map of `name: value`");
        }
        let mut found = Vec::new();
        for entry in node.entries() {
            match entry.node.text() {
                Some(text) => found.push((entry.key.clone(), text.to_owned())),
                None => self.wrong(&entry.node, &entry.key, "a text"),
            }
        }
        found
    }

    pub(super) fn wrong(&mut self, node: &Node, key: &str, wanted: &str) {
        let place = (node.line, node.column);
        let text = node.text().unwrap_or_default();
        self.faults.push(Fault::new(
            place,
            text,
            format!("`{key}` is not {wanted}"),
            format!("give {wanted} to `{key}`"),
        ));
    }

    /// Says what nobody has asked for.
    pub(super) fn finish(self) {
        for entry in self.node.entries().iter().filter(|entry| !self.known.contains(&entry.key.as_str())) {
            let near = nearest(&entry.key, &self.known);
            let hint = near.map_or_else(
                || format!("it may have: {}", self.known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            let message = format!("{} has no key `{}`", self.what, entry.key);
            self.faults.push(Fault::new((entry.line, entry.column), &entry.key, message, hint));
        }
    }
}

/// Returns one name, or a list of names.
pub(super) fn names(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        Value::Text(text) => Some(vec![text.clone()]),
        Value::List(items) => items.iter().map(|item| item.text().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// The known word that begins alike or differs in at most two letters.
pub(super) fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .copied()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut above_left = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (j, to) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or_default();
            left = (above_left + usize::from(from != *to)).min(above + 1).min(left + 1);
            next.push(left);
            above_left = above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
