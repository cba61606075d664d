//! A YAML file as a tree in which every key and value knows where it stands.
//!
//! `parse` makes a [`Node`] of each file; merging, typed reading and checks work on it, so that an error about a merged
//! configuration still names the file and the line that a person wrote. [`Sources`] turns an [`At`] into a place.
//!
//! It never interprets: `15` stays the text `15`. Read next: `parse`, `merge`, then `typed`.

use std::{ops::Range, path::PathBuf};

use super::finding::Place;

/// Where a key or value stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At {
    pub(super) file: usize,
    line: usize,
    column: usize,
    /// Byte offsets in the file's text.
    start: usize,
    end: usize,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value. Keys of a map are unique.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) node: Node,
}

/// The files that were read, to turn an [`At`] into a [`Place`].
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<Source>);

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: String,
}

impl Node {
    /// Returns what stands under a key, or at a position of a list.
    pub(super) fn get(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match &self.value {
            Value::List(items) => items.get(first.parse::<usize>().ok()?)?.get(rest),
            _ => self.entry(first)?.node.get(rest),
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Scalar { text, .. } = &self.value { Some(text) } else { None }
    }

    /// Removes what stands at `path`.
    pub(super) fn remove(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        match &mut self.value {
            Value::Map(entries) if rest.is_empty() => entries.retain(|entry| entry.key != *first),
            Value::Map(entries) => {
                if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *first) {
                    entry.node.remove(rest);
                }
            }
            Value::List(items) => {
                let Ok(index) = first.parse::<usize>() else { return };
                if rest.is_empty() && index < items.len() {
                    items.remove(index);
                } else if let Some(item) = items.get_mut(index) {
                    item.remove(rest);
                }
            }
            _ => {}
        }
    }

    /// Calls `look` with every scalar and its path.
    pub(super) fn scalars<'a>(
        &'a self,
        path: &mut Vec<String>,
        look: &mut impl FnMut(&[String], &'a Self, &'a str),
    ) {
        match &self.value {
            Value::Scalar { text, .. } => look(path, self, text),
            Value::Null => {}
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.scalars(path, look);
                    path.pop();
                }
            }
            Value::Map(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    entry.node.scalars(path, look);
                    path.pop();
                }
            }
        }
    }
}

impl Sources {
    /// Returns the files in the order in which they were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.0.iter().map(|source| source.path.clone()).collect()
    }

    /// Returns the place of a key or value with its line and text.
    pub(super) fn place(&self, at: At) -> Place {
        self.0.get(at.file).map_or_else(
            || Place { file: PathBuf::new(), line: 1, column: 1, text: String::new(), source: String::new() },
            |source| source.place(at),
        )
    }

    /// As [`Self::place`], of `part` inside the value; the whole value where `part` does not stand in it literally.
    pub(super) fn place_of(&self, at: At, part: &str) -> Place {
        let whole = self.place(at);
        if part.is_empty() {
            return whole;
        }
        let Some(offset) = whole.text.find(part) else { return whole };
        let column = whole.column + whole.text[..offset].chars().count();
        Place { column, text: part.to_owned(), ..whole }
    }

    /// Takes a file in and returns its number.
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.0.push(Source { path, text });
        self.0.len() - 1
    }

    /// Returns the text of a file.
    pub(super) fn text(&self, file: usize) -> &str {
        self.0.get(file).map_or("", |source| &source.text)
    }
}

impl At {
    /// The place between two byte offsets; line and column count from 1.
    pub(super) fn new(file: usize, line: usize, column: usize, bytes: Range<usize>) -> Self {
        Self { file, line, column, start: bytes.start, end: bytes.end }
    }
}

impl Source {
    fn place(&self, at: At) -> Place {
        let source = self.text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default().to_owned();
        let text = self.text.get(at.start..at.end).unwrap_or_default();
        let text = text.lines().next().unwrap_or_default().trim_end().to_owned();
        Place { file: self.path.clone(), line: at.line.max(1), column: at.column.max(1), text, source }
    }
}
