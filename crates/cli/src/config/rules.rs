//! What the types cannot say: names that do not exist, targets that are missing, settings that contradict each other.
//!
//! The typed document and its tree come in; findings leave, each with the place where a person has to mend it. What was
//! refused before is not judged again: one mistake is shown once.
//!
//! It never looks at the disk. Read next: `rules/components.rs`, for what has state, and `rules/services.rs`.

use std::path::Path;

use self::store::StoreKeys;
use super::{
    discover::{Choice, is_name},
    finding::Finding,
    secret,
    tree::{At, Entry, Node, Sources},
    typed::Typed,
};

mod caches;
mod commands;
mod components;
mod copies;
mod overlaps;
mod rpo;
mod schedules;
mod secrets;
mod services;
mod store;

/// The names of the files, for hints.
pub(super) struct Files {
    shared: String,
    /// The file of the environment, if there are two.
    pub(super) own: Option<String>,
}

impl Files {
    pub(super) fn new(shared: &Path, choice: &Choice) -> Self {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { shared: name(shared), own: choice.file.as_deref().map(name) }
    }

    /// Says in which file something is to be added: a connection belongs to an environment.
    fn whither(&self) -> String {
        self.own.as_ref().map_or_else(String::new, |own| {
            format!(" in `{own}`: environments share `{}`, and it gives no connection", self.shared)
        })
    }
}

/// One document that is judged.
pub(super) struct Rules<'a> {
    pub(super) tree: &'a Node,
    pub(super) sources: &'a Sources,
    pub(super) typed: &'a Typed,
    pub(super) files: &'a Files,
}

impl Rules<'_> {
    /// Judges everything but checks and overlaps, on the document as it is written.
    pub(super) fn judge(&self, findings: &mut Vec<Finding>) {
        self.judge_names(findings);
        self.judge_repository(findings);
        self.judge_components(findings);
        self.judge_services(findings);
        self.judge_secrets(findings);
        self.judge_channels(findings);
        self.judge_schedules(findings);
    }

    fn judge_names(&self, findings: &mut Vec<Finding>) {
        let mut wrong = |what: &str, name: &str, at: At| {
            if !is_name(name) {
                let finding =
                    Finding::error(format!("`{name}` cannot name {what}")).at(self.sources.place(at));
                findings.push(finding.hint("use letters, digits, `-` and `_`"));
            }
        };
        for (key, what) in [("platform", "a platform"), ("environment", "an environment")] {
            if let Some(node) = self.node(&[key])
                && let Some(text) = node.text()
            {
                wrong(what, text, node.at);
            }
        }
        for (section, what) in [
            ("components", "a component"),
            ("services", "a service"),
            ("secrets", "a secret"),
            ("checks", "a check"),
            ("notify", "a channel"),
        ] {
            for entry in self.entries(section) {
                wrong(what, &entry.key, entry.key_at);
            }
        }
    }

    fn judge_repository(&self, findings: &mut Vec<Finding>) {
        const SAMPLE: &str =
            "`repository: {location: /var/backups/muster, password: \"${file:/etc/muster/repository.key}\"}`";
        let Some(repository) = &self.typed.platform.repository else {
            if !self.is_refused(&["repository"]) {
                let hint = format!("add {SAMPLE}{}", self.files.whither());
                let place = self.sources.place(self.key_at(&["platform"]));
                findings.push(Finding::error("there is no `repository`").at(place).hint(hint));
            }
            return;
        };
        if repository.location.trim().is_empty()
            && let Some(node) = self.node(&["repository", "location"])
        {
            let finding = Finding::error("`location` is empty").at(self.sources.place(node.at));
            findings.push(finding.hint("give a folder, like `location: /var/backups/muster`"));
        }
        let file = "`password: ${file:/etc/muster/repository.key}`";
        let path = ["repository"];
        let whole = (&path[..], "the repository");
        self.refuse_clear_text(whole, "password", &repository.password, file, findings);
        if let Some(secret) = &repository.secret_key {
            self.refuse_clear_text(whole, "secret_key", secret, "`secret_key: ${env:NAME}`", findings);
        }
        self.judge_store(&path, &StoreKeys::of(repository), findings);
        self.judge_copies(repository, findings);
    }

    fn refuse_clear_text(
        &self,
        (path, whose): (&[&str], &str),
        key: &str,
        text: &str,
        instead: &str,
        findings: &mut Vec<Finding>,
    ) {
        let path = [path, &[key]].concat();
        if !secret::has_reference(text)
            && let Some(node) = self.node(&path)
        {
            let mut place = self.sources.place(node.at);
            // This one line is not shown as it stands: it would carry the secret into logs.
            place.source = place.source.replace(&place.text, "***");
            "***".clone_into(&mut place.text);
            let what = if key == "password" { "password" } else { "secret key" };
            let message = format!("{whose}'s {what} stands here in clear text");
            let hint = if key == "password" {
                format!("put it into a file (mode 0600) and write {instead}")
            } else {
                format!("put it into a variable or a file (mode 0600) and write {instead}")
            };
            findings.push(Finding::error(message).at(place).hint(hint));
        }
    }

    fn node(&self, path: &[&str]) -> Option<&Node> {
        self.tree.get(path)
    }

    fn entries(&self, section: &str) -> &[Entry] {
        self.node(&[section]).map(Node::entries).unwrap_or_default()
    }

    /// Where the last key of a path stands, or the nearest one above it.
    fn key_at(&self, path: &[&str]) -> At {
        let mut at = self.tree.at;
        for (depth, key) in path.iter().enumerate() {
            match self.node(&path[..depth]).and_then(|node| node.entry(key)) {
                Some(entry) => at = entry.key_at,
                None => break,
            }
        }
        at
    }

    /// Where the value of a path stands, or the nearest key above it.
    fn value_at(&self, path: &[&str]) -> At {
        self.node(path).map_or_else(|| self.key_at(path), |node| node.at)
    }

    /// Whether this, something below it or the whole above it was refused before.
    fn is_refused(&self, path: &[&str]) -> bool {
        self.typed.refused.iter().any(|refused| refused.iter().zip(path).all(|(one, other)| one == other))
    }
}
