//! From the tree to the typed document, with every refusal turned into a finding that a person can act on.
//!
//! The part that was refused is taken out of a copy of the tree and the rest is read again: one wrong key hides no
//! other. What follows only from such a removal (a key that is now missing) is not reported.
//!
//! It never changes a value. Read next: `rules`, for what the types cannot say.

use muster_types::config::Platform;
use serde::Deserialize;

use super::{
    de::{ReadError, Reader, What},
    finding::Finding,
    suggest::closest,
    tree::{At, Entry, Node, Sources, Value},
};

/// More mistakes than this in one file help nobody.
const ROUNDS_MAX: usize = 100;

/// A platform that lacks what was refused, and the paths of that.
pub(super) struct Typed {
    pub(super) platform: Platform,
    pub(super) refused: Vec<Vec<String>>,
}

/// Reads the document.
pub(super) fn read(tree: &Node, sources: &Sources, findings: &mut Vec<Finding>) -> Option<Typed> {
    let mut rest = tree.clone();
    let mut removed: Vec<Vec<String>> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let error = match Platform::deserialize(Reader::new(&rest)) {
            Ok(platform) => return Some(Typed { platform, refused: removed }),
            Err(error) => error,
        };
        let path = error.path.clone().unwrap_or_default();
        if let What::Missing(field) = error.what {
            let mut missing = path.clone();
            missing.push(field.to_owned());
            if !removed.contains(&missing) {
                findings.push(explain(&error, &path, &rest, sources));
            }
            if path.is_empty() {
                fill_in(&mut rest, field);
                continue;
            }
            rest.remove(&path);
            removed.push(path);
            continue;
        }
        findings.push(explain(&error, &path, &rest, sources));
        let path = culprit(&error, &path, &rest).map_or(path.clone(), |key| {
            let mut path = path.clone();
            path.push(key.key.clone());
            path
        });
        if path.is_empty() {
            return None;
        }
        rest.remove(&path);
        removed.push(path);
    }
    None
}

/// Puts a placeholder for a missing text at the top, so that the rest can be read.
fn fill_in(rest: &mut Node, field: &str) {
    let value = Value::Scalar { text: "unnamed".into(), is_plain: true };
    let entry = Entry { key: field.to_owned(), key_at: rest.at, node: Node { at: rest.at, value } };
    if let Value::Map(entries) = &mut rest.value {
        entries.push(entry);
    }
}

/// The key that a message about a whole map begins with, if the map has it: "`include` does not belong to …".
fn culprit<'a>(error: &ReadError, path: &[String], tree: &'a Node) -> Option<&'a Entry> {
    let What::Other(message) = &error.what else { return None };
    let name = message.strip_prefix('`')?.split('`').next()?;
    find(tree, path)?.entry(name)
}

fn find<'a>(tree: &'a Node, path: &[String]) -> Option<&'a Node> {
    tree.get(&path.iter().map(String::as_str).collect::<Vec<_>>())
}

fn explain(error: &ReadError, path: &[String], tree: &Node, sources: &Sources) -> Finding {
    let node = find(tree, path);
    let key = path.last().map_or("", String::as_str);
    let at = position(error, path, tree);
    match &error.what {
        What::UnknownKey(known) => unknown_key(key, path, known),
        What::UnknownWord(known) => {
            let text = node.and_then(Node::text).unwrap_or("this");
            Finding::error(format!("`{}` is not one of {}", shown(key, text), listed(known))).hint(
                closest(text, known).map_or_else(
                    || format!("write {}", listed(known)),
                    |word| format!("did you mean `{word}`?"),
                ),
            )
        }
        What::Missing(field) => {
            let owner = if path.is_empty() { "the configuration".to_owned() } else { format!("`{key}`") };
            let finding = Finding::error(format!("{owner} has no `{field}`"));
            finding.hint(format!("add `{field}: {}`", sample(field)))
        }
        What::WrongType(expected) => wrong_type(key, node, expected),
        What::Other(message) => {
            let (message, hint) = message.split_once(": ").unwrap_or((message, ""));
            let text = node.and_then(Node::text).unwrap_or_default();
            let message = message.replacen(&format!("`{text}`"), &format!("`{}`", shown(key, text)), 1);
            let finding = Finding::error(message);
            if hint.is_empty() { finding } else { finding.hint(hint) }
        }
    }
    .at(sources.place(at))
}

/// Where the offending text stands: the key if it is the key or a block that is meant, else the value.
fn position(error: &ReadError, path: &[String], tree: &Node) -> At {
    if let Some(entry) = culprit(error, path, tree) {
        return entry.key_at;
    }
    let Some((key, above)) = path.split_last() else { return tree.at };
    let entry = find(tree, above).and_then(|map| map.entry(key));
    match (entry, find(tree, path)) {
        (Some(entry), _) if error.is_key || !matches!(entry.node.value, Value::Scalar { .. }) => entry.key_at,
        (_, Some(node)) => node.at,
        (_, None) => tree.at,
    }
}

fn unknown_key(key: &str, path: &[String], known: &[&'static str]) -> Finding {
    let owner = match path {
        [] | [_] => "the configuration".to_owned(),
        [.., above, _] if above.parse::<usize>().is_ok() => "this entry".to_owned(),
        [.., above, _] => format!("`{above}`"),
    };
    let hint = match closest(key, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None if key == "<<" => "merge keys are not read; write the keys out".to_owned(),
        None => format!("there is {}", listed(known)),
    };
    Finding::error(format!("{owner} has no key `{key}`")).hint(hint)
}

fn wrong_type(key: &str, node: Option<&Node>, expected: &str) -> Finding {
    let expected = match expected {
        text if text.contains("sequence") => "a list",
        text if text.contains("map") || text.starts_with("struct") => "a block of keys",
        text if text.contains("string") => "a text",
        text if text.contains("boolean") => "`true` or `false`",
        text => text,
    };
    let (found, text) = match node.map(|node| &node.value) {
        None | Some(Value::Null) => return empty(key, expected),
        Some(Value::List(_)) => ("a list", ""),
        Some(Value::Map(_)) => ("a block of keys", ""),
        Some(Value::Scalar { text, .. }) => ("one value", text.as_str()),
    };
    let hint = match (expected, found) {
        ("a list", "one value") => format!("write `{key}: [{text}]`"),
        ("a text", _) => format!("write one value: `{key}: …`"),
        ("a block of keys", _) => format!("write `{key}:` and its keys below it, indented"),
        _ => format!("give {expected}"),
    };
    Finding::error(format!("`{}` is {found}, not {expected}", shown(key, text))).hint(hint)
}

fn empty(key: &str, expected: &str) -> Finding {
    Finding::error(format!("`{key}` is empty")).hint(format!("give {expected}, or remove `{key}`"))
}

fn shown(key: &str, text: &str) -> String {
    match (key.parse::<usize>().is_ok(), text) {
        (true, text) => text.to_owned(),
        (false, "") => key.to_owned(),
        (false, text) => format!("{key}: {text}"),
    }
}

fn sample(field: &str) -> &'static str {
    match field {
        "kind" => "sqlite",
        "location" => "/var/backups/muster",
        "password" => "${file:/etc/muster/repository.key}",
        "path" | "file" => "/path/to/it",
        "rpo" => "1h",
        "start" | "stop" | "status" => "[program, argument]",
        _ => "NAME",
    }
}

fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}
