//! What must hold for components: where they are, what they promise, when they are backed up, how they are proven.
//!
//! Judges [`Component`]s with their place in the tree; findings leave. A warning is what works and still breaks a
//! promise: a backup every hour does not keep an RPO of five minutes.
//!
//! It never opens a component.

use std::path::Path;

use muster_types::config::{
    Assertion, BackupPolicy, Component, Keep, KeepCount, KubernetesComponent, PostgresComponent,
    VaultComponent,
};

use super::{Rules, schedules};
use crate::config::{finding::Finding, secret};

impl Rules<'_> {
    pub(super) fn judge_components(&self, findings: &mut Vec<Finding>) {
        for (name, component) in &self.typed.platform.components {
            self.judge_place(name, component, findings);
            self.judge_objectives(name, component, findings);
            self.judge_backup(name, component, findings);
            self.judge_classes(name, component, findings);
            let assertions = component.common().prove.iter().flat_map(|prove| &prove.assertions);
            for (index, assertion) in assertions.enumerate() {
                self.judge_assertion(name, component, index, assertion, findings);
            }
        }
    }

    /// A password in clear text would be in every copy of the file and every version of it.
    fn judge_login(&self, name: &str, findings: &mut Vec<Finding>) {
        for key in ["password", "token", "secret_id", "url"] {
            let Some(node) = self.node(&["components", name, key]) else { continue };
            let text = node.text().unwrap_or_default();
            let is_clear = match key {
                "password" | "token" | "secret_id" => !text.is_empty() && !secret::has_reference(text),
                _ => has_password(text),
            };
            if is_clear {
                let mut place = self.sources.place(node.at);
                place.source = place.source.replace(&place.text, "***");
                "***".clone_into(&mut place.text);
                let what = if key == "url" { "password" } else { key };
                let message = format!("the {what} of component `{name}` stands here in clear text");
                let file = if what == "password" { "database.password" } else { "vault.token" };
                findings.push(Finding::error(message).at(place).hint(format!(
                    "put it into a file (mode 0600) and write `{what}: ${{file:/etc/muster/{file}}}`"
                )));
            }
        }
    }

    /// Members without a password in clear text, each with a service that there is.
    fn judge_members(&self, name: &str, postgres: &PostgresComponent, findings: &mut Vec<Finding>) {
        for (member, definition) in &postgres.members {
            let path = ["components", name, "members", member];
            if has_password(&definition.url)
                && let Some(node) = self.node(&[&path[..], &["url"]].concat())
                && node.text().is_some_and(has_password)
            {
                let mut place = self.sources.place(node.at);
                place.source = place.source.replace(&place.text, "***");
                "***".clone_into(&mut place.text);
                let message = format!(
                    "the password of member `{member}` of component `{name}` stands here in clear text"
                );
                findings.push(
                    Finding::error(message)
                        .at(place)
                        .hint("leave it out: `password` of the component is used"),
                );
            }
            let service = definition.service.as_ref();
            if let Some(service) = service.filter(|one| !self.typed.platform.services.contains_key(*one)) {
                let node = self.node(&[&path[..], &["service"]].concat());
                let at = node.map_or_else(|| self.key_at(&path), |node| node.at);
                let message = format!(
                    "member `{member}` of component `{name}` names the service `{service}`, which is not there"
                );
                findings.push(
                    Finding::error(message)
                        .at(self.sources.place(at))
                        .hint("add it under `services:`, or leave `service` out"),
                );
            }
        }
    }

    /// Either a token or both halves of an AppRole.
    fn judge_vault_login(&self, name: &str, vault: &VaultComponent, findings: &mut Vec<Finding>) {
        let is_refused =
            ["token", "role_id", "secret_id"].iter().any(|key| self.is_refused(&["components", name, key]));
        let (message, hint) = match (&vault.token, &vault.role_id, &vault.secret_id) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => return,
            (None, None, None) => (
                format!("component `{name}` has neither a `token` nor an AppRole"),
                format!(
                    "add `token: ${{file:/etc/muster/vault.token}}` to component `{name}`{}",
                    self.files.whither()
                ),
            ),
            (Some(_), _, _) => (
                format!("component `{name}` has a `token` and an AppRole"),
                "keep one of them: `token`, or `role_id` and `secret_id`".to_owned(),
            ),
            _ => (
                format!("component `{name}` has half of an AppRole"),
                "give both, `role_id` and `secret_id`".to_owned(),
            ),
        };
        if !is_refused {
            let place = self.sources.place(self.key_at(&["components", name]));
            findings.push(Finding::error(message).at(place).hint(hint));
        }
    }

    /// The namespace is always named: that of the current context may be another tomorrow.
    fn judge_namespace(&self, name: &str, own: &KubernetesComponent, findings: &mut Vec<Finding>) {
        let path = ["components", name, "namespace"];
        if own.namespace.as_deref().is_none_or(str::is_empty) && !self.is_refused(&path) {
            let finding = Finding::error(format!("component `{name}` has no `namespace`"));
            let hint = format!("add `namespace: shop` to component `{name}`{}", self.files.whither());
            findings.push(finding.at(self.sources.place(self.key_at(&["components", name]))).hint(hint));
        }
    }

    fn judge_place(&self, name: &str, component: &Component, findings: &mut Vec<Finding>) {
        let server = match component {
            Component::Postgres(postgres) => Some((&postgres.url, "postgres://muster@db:5432/app")),
            Component::Redis(redis) => Some((&redis.url, "redis://muster@cache:6379/")),
            Component::Vault(vault) => Some((&vault.url, "https://vault:8200")),
            Component::Etcd(etcd) => Some((&etcd.url, "https://etcd:2379")),
            Component::Kubernetes(own) => {
                self.judge_namespace(name, own, findings);
                return;
            }
            Component::Command(own) => {
                self.judge_own_commands(name, own, findings);
                return;
            }
            Component::Sqlite(_) | Component::Files(_) => None,
        };
        if let Some((url, sample)) = server {
            self.judge_login(name, findings);
            if url.as_deref().is_none_or(str::is_empty) && !self.is_refused(&["components", name, "url"]) {
                let finding = Finding::error(format!("component `{name}` has no `url`"));
                let hint = format!("add `url: {sample}` to component `{name}`{}", self.files.whither());
                findings.push(finding.at(self.sources.place(self.key_at(&["components", name]))).hint(hint));
            }
            match component {
                Component::Postgres(postgres) => self.judge_members(name, postgres, findings),
                Component::Vault(vault) => self.judge_vault_login(name, vault, findings),
                Component::Redis(redis) => self.judge_cache(name, redis, findings),
                _ => {}
            }
            return;
        }
        let (key, sample, paths): (_, _, Vec<&Path>) = match component {
            Component::Sqlite(sqlite) => {
                ("path", "/var/lib/app/app.db", sqlite.path.iter().map(AsRef::as_ref).collect())
            }
            Component::Files(files) => {
                ("paths", "[/srv/uploads]", files.paths.iter().map(AsRef::as_ref).collect())
            }
            _ => return,
        };
        let is_refused = ["path", "paths"].iter().any(|key| self.is_refused(&["components", name, key]));
        if paths.is_empty() && !is_refused {
            let finding = Finding::error(format!("component `{name}` has no `{key}`"));
            let hint = format!("add `{key}: {sample}` to component `{name}`{}", self.files.whither());
            findings.push(finding.at(self.sources.place(self.key_at(&["components", name]))).hint(hint));
        }
        for (index, path) in paths.iter().enumerate() {
            let at = match component {
                Component::Sqlite(_) => self.node(&["components", name, key]),
                _ => self.node(&["components", name, key, &index.to_string()]),
            };
            let Some(at) = at.map(|node| node.at) else { continue };
            let finding = if path.as_os_str().is_empty() {
                // Relative to the folder of the file it would mean that whole folder.
                Finding::error(format!("component `{name}` has an empty path"))
                    .hint(format!("write `{key}: {sample}`"))
            } else if path.starts_with("~") {
                Finding::error(format!("`{}` is not a path for Muster", path.display()))
                    .because("only a shell replaces `~`, and it means another folder for every user")
                    .hint("write the path from `/`")
            } else {
                continue;
            };
            findings.push(finding.at(self.sources.place(at)));
        }
    }

    /// A target that nobody thought of is an error; one that nobody wants is written down as `not-applicable`.
    fn judge_objectives(&self, name: &str, component: &Component, findings: &mut Vec<Finding>) {
        let own = component.common().objectives.unwrap_or_default();
        if component.is_disposable() {
            return;
        }
        let whole = self.typed.platform.objectives;
        for (key, has_target) in
            [("rto", own.rto.or(whole.rto).is_some()), ("rpo", own.rpo.or(whole.rpo).is_some())]
        {
            let is_refused = self.is_refused(&["objectives", key])
                || self.is_refused(&["components", name, "objectives", key]);
            if has_target || is_refused {
                continue;
            }
            let finding =
                Finding::error(format!("component `{name}` has no `{key}`, and the platform gives none"));
            let hint = "add `objectives: {rto: 1h, rpo: 1d}` to it or at the top; a target that does not apply is `not-applicable`";
            findings.push(finding.at(self.sources.place(self.key_at(&["components", name]))).hint(hint));
        }
    }

    fn judge_backup(&self, name: &str, component: &Component, findings: &mut Vec<Finding>) {
        let path = ["components", name, "backup"];
        let common = component.common();
        if let Some(backup) = &common.backup {
            self.judge_times(name, backup, findings);
            if backup.keep.as_ref().is_some_and(keeps_nothing)
                && !self.is_refused(&[&path[..], &["keep"]].concat())
            {
                let place = self.sources.place(self.key_at(&["components", name, "backup", "keep"]));
                let finding = Finding::error(format!("`keep` of component `{name}` keeps nothing")).at(place);
                findings.push(finding.hint(
                    "write what `muster prune` keeps, like `keep: {daily: 7, weekly: 4, monthly: all}`",
                ));
            }
        }
        if component.is_disposable() {
            return;
        }
        let interval = common.backup.as_ref().and_then(schedules::interval);
        if interval.is_none() && !self.is_refused(&path) {
            let place = self.sources.place(self.key_at(&path));
            let finding =
                Finding::warning(format!("component `{name}` does not say when it is backed up")).at(place);
            findings.push(finding.hint("add `backup: {every: 1d}` and run `muster schedule --run`"));
        }
        self.judge_rpo(name, component, interval, findings);
    }

    fn judge_times(&self, name: &str, backup: &BackupPolicy, findings: &mut Vec<Finding>) {
        let mut wrong = |key: &str, message: String, hint: &str| {
            let node = self.node(&["components", name, "backup", key]);
            let place = node.map_or_else(
                || self.sources.place(self.key_at(&["components", name])),
                |node| self.sources.place(node.at),
            );
            findings.push(Finding::error(message).at(place).hint(hint));
        };
        if let Some(every) = backup.every.filter(|every| every.duration().is_zero()) {
            wrong(
                "every",
                format!("`every: {every}` is no distance between two backups"),
                "write `every: 1h`, or whatever the rpo asks for",
            );
        }
        self.judge_promise(name, backup, findings);
    }

    fn judge_classes(&self, name: &str, component: &Component, findings: &mut Vec<Finding>) {
        let classes = &component.common().classes;
        for (index, class) in classes.iter().enumerate() {
            let text = &class.name;
            let Some(node) = self.node(&["components", name, "classes", &index.to_string(), "name"]) else {
                continue;
            };
            let place = self.sources.place(node.at);
            if !super::is_name(text) {
                let finding = Finding::error(format!("`{text}` cannot name a data class")).at(place);
                findings.push(finding.hint("use letters, digits, `-` and `_`"));
            } else if let Some(first) = classes[..index].iter().position(|other| other.name == *text) {
                let first = self.node(&["components", name, "classes", &first.to_string(), "name"]);
                let line = first.map_or(0, |first| self.sources.place(first.at).line);
                let finding =
                    Finding::error(format!("component `{name}` has two data classes `{text}`")).at(place);
                findings.push(
                    finding
                        .because(format!("the first stands in line {line}"))
                        .hint("rename one of them, or remove it"),
                );
            }
        }
    }

    fn judge_assertion(
        &self,
        name: &str,
        component: &Component,
        index: usize,
        assertion: &Assertion,
        findings: &mut Vec<Finding>,
    ) {
        let index = index.to_string();
        let path = ["components", name, "prove", "assert", &index];
        if self.is_refused(&path) {
            return;
        }
        if matches!(
            component,
            Component::Vault(_) | Component::Etcd(_) | Component::Kubernetes(_) | Component::Command(_)
        ) {
            let at = self.node(&path).map_or_else(|| self.key_at(&path[..4]), |node| node.at);
            let finding = Finding::error(format!("`{}` has no assertions", component.kind()));
            let hint = if component.kind() == "vault" {
                "write `canary: secret/data/muster-canary`: a proof reads it"
            } else if component.kind() == "etcd" {
                "remove it: a proof compares all keys"
            } else if component.kind() == "command" {
                "write what must hold as `verify: {command: …}`: it ends with 0 when it does"
            } else {
                "remove it: a proof reads every object, and asks the server in a dry run"
            };
            findings.push(finding.at(self.sources.place(at)).hint(hint));
            return;
        }
        let given = [
            ("sql", assertion.sql.is_some()),
            ("path", assertion.path.is_some()),
            ("redis", assertion.redis.is_some()),
        ];
        let (wanted, sample) = match component {
            Component::Sqlite(_) | Component::Postgres(_) => {
                ("sql", "{sql: \"select count(*) from runs\", expect: \">= 1\"}")
            }
            Component::Files(_) => ("path", "{path: index.html, expect: \">= 1\"}"),
            Component::Redis(_) => ("redis", "{redis: \"EXISTS users\", expect: \"1\"}"),
            Component::Vault(_) | Component::Etcd(_) | Component::Kubernetes(_) | Component::Command(_) => {
                return;
            }
        };
        let is_given = given.contains(&(wanted, true));
        let foreign = given.iter().find(|(key, is_given)| *key != wanted && *is_given);
        let hint = format!("write `{sample}`");
        if let Some((foreign, _)) = foreign.copied() {
            let at = self.key_at(&[&path[..], &[foreign]].concat());
            let place = self.sources.place_of(
                self.node(&path).and_then(|node| node.entry(foreign)).map_or(at, |entry| entry.key_at),
                foreign,
            );
            findings.push(
                Finding::error(format!("an assertion about `{}` has no `{foreign}`", component.kind()))
                    .at(place)
                    .hint(hint),
            );
        } else if !is_given {
            let at = self.node(&path).map_or_else(|| self.key_at(&path[..4]), |node| node.at);
            findings.push(
                Finding::error(format!("this assertion has no `{wanted}`"))
                    .at(self.sources.place(at))
                    .hint(hint),
            );
        }
    }
}

/// Tells whether a URL has a password that is no reference.
fn has_password(url: &str) -> bool {
    let login = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let password =
        login.rsplit_once('@').and_then(|(login, _)| login.split_once(':')).map(|(_, password)| password);
    password.is_some_and(|password| !password.is_empty() && !secret::has_reference(password))
        || url.split(['?', '&']).any(|pair| {
            pair.strip_prefix("password=").is_some_and(|password| !secret::has_reference(password))
        })
}

fn keeps_nothing(keep: &Keep) -> bool {
    let counts = [keep.last, keep.hourly, keep.daily, keep.weekly, keep.monthly, keep.yearly];
    keep.within.is_none() && counts.into_iter().flatten().all(|count| count == KeepCount::Count(0))
}
