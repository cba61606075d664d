//! Replaces the references of a tree by their values, all but the repository's secrets.
//!
//! A merged tree comes in; a tree with the values leaves, with the list of the values, so that no message repeats one.
//! Faults of a reference become findings that name it.
//!
//! It never resolves what stands in the file that environments share (`merge` has refused it) and never puts a value
//! into a finding.

use std::{collections::BTreeMap, path::Path};

use muster_types::Mask;

use super::{
    environment::Environment,
    finding::{Finding, Severity},
    secret::{self, FORMS},
    tree::{Node, Sources, Value},
};

/// The secrets of `repository`: read only when the repository is opened.
pub(super) const SECRETS: [&str; 3] = ["password", "access_key", "secret_key"];

/// The secrets of a component's connection: told when one of them is needed.
pub(super) const SECRETS_OF_COMPONENTS: [&str; 4] = ["password", "token", "role_id", "secret_id"];

/// Where references are resolved.
pub(super) struct Resolver<'a> {
    pub(super) sources: &'a Sources,
    pub(super) folder: &'a Path,
    pub(super) environment: &'a dyn Environment,
    /// Whether the first file is shared by environments.
    pub(super) has_own: bool,
}

/// A tree with its values.
pub(super) struct Resolved {
    pub(super) tree: Node,
    /// Where a reference could not be resolved and still stands.
    missing: Vec<Vec<String>>,
    /// What is wrong with the passwords of components, by their names: told when one is needed.
    pub(super) passwords: BTreeMap<String, Vec<Finding>>,
    values: Vec<String>,
}

impl Resolved {
    /// Tells whether a reference below a path could not be resolved.
    pub(super) fn is_missing(&self, path: &[&str]) -> bool {
        self.missing.iter().any(|missing| missing.iter().zip(path).all(|(one, other)| one == other))
    }

    /// Returns what takes every secret out of a text.
    pub(super) fn mask(&self) -> Mask {
        Mask::new(self.values.iter().cloned())
    }

    /// Replaces every secret in a text by `***`.
    pub(super) fn redact(&self, text: &str) -> String {
        self.mask().apply(text)
    }
}

impl Resolver<'_> {
    pub(super) fn resolve(&self, tree: &Node, findings: &mut Vec<Finding>) -> Resolved {
        let mut resolved = Resolved {
            tree: tree.clone(),
            missing: Vec::new(),
            passwords: BTreeMap::new(),
            values: Vec::new(),
        };
        tree.scalars(&mut Vec::new(), &mut |path, node, text| {
            if !text.contains("${") || is_of_a_shell(path) {
                return;
            }
            let (mut values, mut found) = (Vec::new(), Vec::new());
            let value = self.value(path, node, text, &mut values, &mut found);
            match path {
                // Most commands do not ask the component's server for anything.
                [section, name, key]
                    if section == "components"
                        && SECRETS_OF_COMPONENTS.contains(&key.as_str())
                        && value.is_none()
                        && secret::parts(text).is_ok() =>
                {
                    resolved.passwords.insert(name.clone(), found);
                }
                _ => findings.append(&mut found),
            }
            match value {
                None => resolved.missing.push(path.to_vec()),
                Some(None) => {}
                Some(Some(value)) => {
                    // Where data lies is no secret, and must be readable in plans and errors.
                    let section = path.first().map_or("", String::as_str);
                    let is_secret =
                        |key: &String| key == "url" || SECRETS_OF_COMPONENTS.contains(&key.as_str());
                    let is_inside = |key: &String| ["env", "headers", "http", "body"].contains(&key.as_str());
                    let is_login = section == "components"
                        && (path.get(2).is_some_and(is_secret) || path.get(3).is_some_and(is_inside));
                    if is_login
                        || ["services", "checks", "network", "notify", "secrets", "variables"]
                            .contains(&section)
                    {
                        resolved.values.append(&mut values);
                    }
                    put(&mut resolved.tree, path, value);
                }
            }
        });
        resolved
    }

    /// `None`: it cannot be resolved. `Some(None)`: it is left as it stands.
    #[allow(
        clippy::option_option,
        reason = "the outer one says whether it went well, the inner one whether to replace"
    )]
    fn value(
        &self,
        path: &[String],
        node: &Node,
        text: &str,
        values: &mut Vec<String>,
        findings: &mut Vec<Finding>,
    ) -> Option<Option<String>> {
        if let Err(wrong) = secret::parts(text) {
            let place = self.sources.place_of(node.at, wrong.offending);
            findings.push(Finding::error(wrong.message).at(place).hint(format!("write {FORMS}")));
            return None;
        }
        let is_secret = match path {
            [section, key] => section == "repository" && SECRETS.contains(&key.as_str()),
            [section, list, _, key] => {
                section == "repository" && list == "copies" && SECRETS.contains(&key.as_str())
            }
            _ => false,
        };
        if is_secret {
            return Some(None);
        }
        let is_shared = self.has_own && node.at.file == 0;
        if is_shared && secret::has_reference(text) {
            return None;
        }
        let place = self.sources.place(node.at);
        let looked = secret::look(text, &place, self.folder, self.environment);
        let is_missing = looked.iter().any(|finding| finding.severity == Severity::Error);
        findings.extend(looked);
        if is_missing {
            return None;
        }
        match secret::resolve(text, &place, self.folder, self.environment, values) {
            Ok(value) => Some(Some(value.expose().to_owned())),
            Err(finding) => {
                findings.push(finding);
                None
            }
        }
    }
}

/// `${HOME}` in a command is its shell's; a secret there would be seen by every user of the host.
fn is_of_a_shell(path: &[String]) -> bool {
    path.first().is_some_and(|section| section == "components")
        && path.get(2).is_some_and(|key| ["dump", "restore", "verify"].contains(&key.as_str()))
        && path.get(3).is_some_and(|key| key == "command")
}

fn put(tree: &mut Node, path: &[String], text: String) {
    let Some((first, rest)) = path.split_first() else {
        tree.value = Value::Scalar { text, is_plain: false };
        return;
    };
    let below = match &mut tree.value {
        Value::Map(entries) => {
            entries.iter_mut().find(|entry| entry.key == *first).map(|entry| &mut entry.node)
        }
        Value::List(items) => first.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
        _ => None,
    };
    if let Some(node) = below {
        put(node, rest, text);
    }
}
