//! What must hold for services and checks: one way to run, names that exist, conditions that can be meant.
//!
//! Judges by the tree and, for conditions, by the same code that evaluates them. It never starts or observes anything.

use muster_drivers::checks;
use muster_types::{
    Explain,
    config::{Check, Platform, Service},
};

use super::Rules;
use crate::config::{
    finding::Finding,
    resolve::Resolved,
    suggest::closest,
    tree::{At, Entry, Node},
};

impl Rules<'_> {
    pub(super) fn judge_services(&self, findings: &mut Vec<Finding>) {
        for (name, service) in &self.typed.platform.services {
            self.judge_way(name, findings);
            self.judge_commands(name, service, findings);
            self.judge_workload(name, service, findings);
            for (index, used) in service.uses.iter().enumerate() {
                let index = index.to_string();
                self.judge_reference("component", used, &["services", name, "uses", &index], findings);
            }
            for (index, needed) in service.depends_on.iter().enumerate() {
                let index = index.to_string();
                self.judge_reference("service", needed, &["services", name, "depends_on", &index], findings);
            }
            if let Some(ready) = &service.ready {
                self.judge_reference("check", ready, &["services", name, "ready"], findings);
            }
        }
        self.judge_order(findings);
    }

    /// A circle has no beginning: nobody could say which of them is started first.
    fn judge_order(&self, findings: &mut Vec<Finding>) {
        if let Some(name) = muster_plan::order::circle(self.typed.platform.services.iter()) {
            let place = self.sources.place(self.key_at(&["services", name, "depends_on"]));
            let finding =
                Finding::error(format!("service `{name}` depends on itself through its `depends_on`"));
            findings
                .push(finding.at(place).hint("take one of the names out, so that one service can be first"));
        }
    }

    /// Judges the checks with the values of their secrets: `http://localhost:${env:PORT}` is a URL only then.
    pub(in crate::config) fn judge_checks(
        &self,
        platform: &Platform,
        resolved: &Resolved,
        findings: &mut Vec<Finding>,
    ) {
        for (name, check) in &platform.checks {
            let path = ["checks", name.as_str()];
            if let Some((key, component)) = check.asks() {
                let is_inside = ["sql", "reach"].contains(&key);
                let at: &[&str] =
                    if is_inside { &["checks", name, key, "component"] } else { &["checks", name, key] };
                self.judge_reference("component", component, at, findings);
            }
            let asked = check.asks().and_then(|(_, component)| platform.components.get(component));
            let check = &Check { component: asked.cloned().map(Box::new), ..check.clone() };
            if self.is_refused(&path) || resolved.is_missing(&path) {
                continue;
            }
            let Err(wrong) = checks::validate(check) else { continue };
            let (message, mut hint) = (resolved.redact(&wrong.message), resolved.redact(&wrong.hint));
            if !checks::KINDS.iter().any(|key| self.node(&["checks", name, key]).is_some()) {
                hint.push_str(&self.files.whither());
            }
            let place = self.sources.place_of(self.offending(&path, &wrong.offending), &wrong.offending);
            findings.push(Finding::error(format!("check `{name}`: {message}")).at(place).hint(hint));
        }
    }

    /// A channel has one way to reach people.
    pub(super) fn judge_channels(&self, findings: &mut Vec<Finding>) {
        for (name, channel) in &self.typed.platform.notify {
            let path = ["notify", name.as_str()];
            if self.is_refused(&path) || channel.http.is_some() != channel.command.is_some() {
                continue;
            }
            let message = format!("channel `{name}` needs one of `http` and `command`");
            let hint = "write `http: \"${env:SLACK_WEBHOOK}\"` or `command: [sh, -c, …]`";
            findings.push(Finding::error(message).at(self.sources.place(self.key_at(&path))).hint(hint));
        }
    }

    fn judge_way(&self, name: &str, findings: &mut Vec<Finding>) {
        let path = ["services", name];
        let entries = self.node(&path).map(Node::entries).unwrap_or_default();
        let is_way =
            |entry: &&Entry| ["compose", "systemd", "kubernetes", "command"].contains(&entry.key.as_str());
        match entries.iter().filter(is_way).collect::<Vec<_>>().as_slice() {
            [] if !self.is_refused(&path) => {
                let hint = format!(
                    "give one of `compose`, `systemd`, `kubernetes`, `command`{}",
                    self.files.whither()
                );
                let finding = Finding::error(format!("service `{name}` does not say how it runs"));
                findings.push(finding.at(self.sources.place(self.key_at(&path))).hint(hint));
            }
            [first, second, ..] => {
                let finding = Finding::error(format!("service `{name}` runs in more than one way"))
                    .at(self.sources.place(second.key_at))
                    .because(format!("`{}` is given too", first.key));
                findings.push(finding.hint("keep one of them, or make a service of its own for each"));
            }
            _ => {}
        }
    }

    fn judge_commands(&self, name: &str, service: &Service, findings: &mut Vec<Finding>) {
        let Some(command) = &service.command else { return };
        for (key, argv) in [("start", &command.start), ("stop", &command.stop), ("status", &command.status)] {
            if argv.first().is_none_or(String::is_empty) {
                let place = self.sources.place(self.key_at(&["services", name, "command", key]));
                let finding = Finding::error(format!("`{key}` of service `{name}` is empty")).at(place);
                findings.push(
                    finding.hint(format!("give a program and its arguments: `{key}: [program, argument]`")),
                );
            }
        }
    }

    /// A workload that has replicas, in a namespace that is named.
    fn judge_workload(&self, name: &str, service: &Service, findings: &mut Vec<Finding>) {
        if service.kubernetes.is_none() || service.compose.is_some() || service.systemd.is_some() {
            return;
        }
        let Err(error) = muster_drivers::services::open(name, service) else { return };
        let key = if error.to_string().contains("namespace") { "namespace" } else { "workload" };
        let place = self.sources.place(self.value_at(&["services", name, "kubernetes", key]));
        let hint = error.hint().map(|hint| hint.0).unwrap_or_default();
        findings.push(Finding::error(error.to_string()).at(place).hint(hint));
    }

    /// A name in `uses` or `ready` must exist.
    pub(super) fn judge_reference(&self, what: &str, name: &str, path: &[&str], findings: &mut Vec<Finding>) {
        let known: Vec<&str> =
            self.entries(&format!("{what}s")).iter().map(|entry| entry.key.as_str()).collect();
        if known.contains(&name) {
            return;
        }
        let hint = match closest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("define it under `{what}s`"),
            None => format!("there is {}", known.join(", ")),
        };
        let place = self.sources.place(self.value_at(path));
        findings.push(Finding::error(format!("there is no {what} `{name}`")).at(place).hint(hint));
    }

    /// The key or the value below a path that has a text in it, else the key of the path.
    fn offending(&self, path: &[&str], text: &str) -> At {
        let Some(node) = self.node(path).filter(|_| !text.is_empty()) else { return self.key_at(path) };
        if let Some(entry) = node.entry(text) {
            return entry.key_at;
        }
        let mut found = None;
        node.scalars(&mut Vec::new(), &mut |_, node, value| {
            if found.is_none() && value.contains(text) {
                found = Some(node.at);
            }
        });
        found.unwrap_or_else(|| self.key_at(path))
    }
}
