//! What is refused before anything begins: steps that cannot be executed yet, and names that `muster.yaml` does not have.
//!
//! A walk comes in; faults leave, by file and line. What is found here would otherwise be found in the middle of a
//! recovery.

use muster_types::config::Component;

use super::{Walk, fill, key_of, with_phase};
use crate::runbook::{
    Action, ClusterWork, DataStep, Fault, IncidentStep, Item, Native, Step, evidence, section, template,
};
use muster_types::script::ClusterPlace;

impl Walk {
    /// Returns what stands against running it, by file: nothing was begun, and nothing may be.
    pub fn faults(&self) -> Vec<(String, Vec<Fault>)> {
        let mut found: Vec<(String, Vec<Fault>)> = Vec::new();
        let mut open: Vec<(String, Option<String>)> = vec![(self.root.clone(), self.section.clone())];
        let mut seen: Vec<(String, Option<String>)> = Vec::new();
        while let Some(one) = open.pop() {
            if seen.contains(&one) {
                continue;
            }
            let (file, section) = one.clone();
            seen.push(one);
            let Some(book) = self.books.get(&file) else { continue };
            let mut faults = Vec::new();
            let phases = with_phase(book, section.as_deref());
            let items: Vec<&[Item]> = phases.iter().map(|(_, items)| *items).collect();
            evidence::check_section(book, &items, &mut faults);
            for (_, items) in phases {
                for item in items {
                    if let Item::Step(step) = item {
                        self.look_at(&file, step, &mut faults, &mut open);
                    }
                }
            }
            if !faults.is_empty() {
                found.push((file, faults));
            }
        }
        found
    }

    fn look_at(
        &self,
        file: &str,
        step: &Step,
        faults: &mut Vec<Fault>,
        open: &mut Vec<(String, Option<String>)>,
    ) {
        if let Some(undo) = &step.undo {
            self.look_at(file, undo, faults, open);
        }
        if let Action::Native(native) = &step.action {
            self.names(file, step, native, faults);
            self.replicas(file, step, native, faults);
            self.cluster(file, step, native, faults);
            self.loggers(file, step, native, faults);
            if let Some((message, hint)) = cannot(native) {
                faults.push(self.fault(file, step.line, native.name(), message, hint));
            }
            if let Native::Run { runbook, section, .. } = native {
                let path = key_of(file, runbook);
                self.inner_section(file, step, (&path, section.as_deref()), faults);
                open.push((path, section.clone()));
            }
            for inner in native.inner() {
                self.look_at(file, inner, faults, open);
            }
        }
        for text in step.texts() {
            for expression in template::expressions(text) {
                if let Some((message, hint)) = self.template(&expression) {
                    faults.push(self.fault(file, step.line, expression.trim(), message, &hint));
                }
            }
        }
    }

    fn inner_section(
        &self,
        file: &str,
        step: &Step,
        (path, wanted): (&str, Option<&str>),
        faults: &mut Vec<Fault>,
    ) {
        let (Some(book), Some(wanted)) = (self.books.get(path), wanted) else { return };
        if !book.phases.iter().any(|phase| section::fits(wanted, None, &phase.title)) {
            let message = format!("`{path}` has no section `{wanted}`");
            faults.push(self.fault(file, step.line, wanted, message, "look with `muster runbook show`"));
        }
    }

    fn names(&self, file: &str, step: &Step, native: &Native, faults: &mut Vec<Fault>) {
        let Some((what, names, known)) = self.meant(native) else { return };
        let platform = &self.platform;
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            let message =
                format!("there is no {what} `{name}` in muster.yaml (environment {})", self.environment);
            let hint = if known.is_empty() {
                let section = match what {
                    "channel" => "notify:".to_owned(),
                    "copy" => "repository: {copies: […]}".to_owned(),
                    _ => format!("{what}s:"),
                };
                format!("it has no {what} at all: add `{section}`")
            } else {
                format!("it has: {}", known.join(", "))
            };
            faults.push(self.fault(file, step.line, name, message, &hint));
        }
        if let Native::Check { checks, tag: Some(tag) } = native
            && checks.is_empty()
            && !platform.checks.values().any(|check| check.tags.contains(tag))
        {
            let message = format!("no check of muster.yaml has the tag `{tag}`");
            faults.push(self.fault(file, step.line, tag, message, "give it to a check: `tags: [smoke]`"));
        }
    }

    /// What kind of thing a step names, the names, and those that `muster.yaml` has.
    fn meant<'a>(&'a self, native: &'a Native) -> Option<(&'static str, Vec<&'a str>, Vec<&'a str>)> {
        let platform = &self.platform;
        Some(match native {
            Native::Check { checks, .. } | Native::Wait { checks, .. } | Native::Watch { checks, .. } => {
                ("check", list(checks), platform.checks.keys().map(String::as_str).collect())
            }
            Native::If { check: Some(check), .. } => {
                ("check", vec![check], platform.checks.keys().map(String::as_str).collect())
            }
            Native::Stop { services }
            | Native::Start { services }
            | Native::Restart { services }
            | Native::Rebuild { services }
            | Native::Reconnect { services }
            | Native::Clean { services }
            | Native::Logs { services, .. } => {
                ("service", list(services), platform.services.keys().map(String::as_str).collect())
            }
            Native::Rollback { service, .. }
            | Native::Exec { service: Some(service), .. }
            | Native::Scale { service, .. } => {
                ("service", vec![service], platform.services.keys().map(String::as_str).collect())
            }
            Native::Notify { to, .. } => {
                ("channel", list(to), platform.notify.keys().map(String::as_str).collect())
            }
            Native::Rotate { secrets } => {
                ("secret", list(secrets), platform.secrets.keys().map(String::as_str).collect())
            }
            Native::Backup { components, .. } => {
                ("component", list(components), platform.components.keys().map(String::as_str).collect())
            }
            Native::Incident(IncidentStep::Investigate { component, .. }) => (
                "component",
                component.iter().map(String::as_str).collect(),
                platform.components.keys().map(String::as_str).collect(),
            ),
            Native::Data(DataStep::Copy { copies, .. }) => {
                let all = platform.repository.iter().flat_map(|repository| &repository.copies);
                ("copy", list(copies), all.map(|copy| copy.name.as_str()).collect())
            }
            Native::Data(step) => {
                ("component", step.components(), platform.components.keys().map(String::as_str).collect())
            }
            Native::Incident(IncidentStep::LogLevel { component, .. })
            | Native::Restore { component, .. }
            | Native::Rescue { component, .. }
            | Native::Failover { component, .. }
            | Native::Redis { component, .. }
            | Native::Sql { component, .. } => {
                ("component", vec![component], platform.components.keys().map(String::as_str).collect())
            }
            Native::Incident(step) => {
                ("check", step.checks(), platform.checks.keys().map(String::as_str).collect())
            }
            _ => return None,
        })
    }

    /// A step on a cluster names it by what has a namespace.
    fn cluster(&self, file: &str, step: &Step, native: &Native, faults: &mut Vec<Fault>) {
        let (place, may_stop, component) = match native {
            Native::Cluster(own) => match &own.work {
                ClusterWork::Drain { may_stop, .. } => (Some(own.place.as_str()), may_stop.as_slice(), None),
                ClusterWork::DeleteClaim { component, .. } => {
                    (Some(own.place.as_str()), [].as_slice(), component.as_deref())
                }
                _ => (Some(own.place.as_str()), [].as_slice(), None),
            },
            Native::Change(own) => (own.place(), [].as_slice(), None),
            _ => return,
        };
        let environment = &self.environment;
        let known = |name: &str| ClusterPlace::of(&self.platform, name).is_some();
        if let Some(name) = place.filter(|name| !known(name)) {
            let message = format!(
                "`{name}` is no service on Kubernetes and no component of kind `kubernetes` (environment {environment})"
            );
            let names = self.platform.services.keys().chain(self.platform.components.keys());
            let names: Vec<&str> = names.map(String::as_str).filter(|name| known(name)).collect();
            let hint = if names.is_empty() {
                "give one to muster.yaml: `kubernetes: {workload: deployment/NAME, namespace: NAME}`"
                    .to_owned()
            } else {
                format!("it may be: {}", names.join(", "))
            };
            faults.push(self.fault(file, step.line, name, message, &hint));
        }
        for name in may_stop.iter().filter(|name| !self.platform.services.contains_key(*name)) {
            let message = format!("there is no service `{name}` in muster.yaml (environment {environment})");
            faults.push(self.fault(file, step.line, name, message, "`may_stop` names services"));
        }
        if let Some(name) = component.filter(|name| !self.platform.components.contains_key(*name)) {
            let message =
                format!("there is no component `{name}` in muster.yaml (environment {environment})");
            let hint = "name the one whose data lies on the claim";
            faults.push(self.fault(file, step.line, name, message, hint));
        }
    }

    /// Only a workload on Kubernetes has replicas that Muster sets.
    fn replicas(&self, file: &str, step: &Step, native: &Native, faults: &mut Vec<Fault>) {
        if let Native::Scale { service, .. } = native
            && self.platform.services.get(service).is_some_and(|one| one.kubernetes.is_none())
        {
            let message = format!(
                "service `{service}` has no replicas that Muster could set (environment {})",
                self.environment
            );
            faults.push(self.fault(
                file,
                step.line,
                service,
                message,
                "use `stop` and `start`, or write a command",
            ));
        }
    }

    /// Only servers that can be told while they run.
    fn loggers(&self, file: &str, step: &Step, native: &Native, faults: &mut Vec<Fault>) {
        if let Native::Incident(IncidentStep::LogLevel { component, .. }) = native
            && let Some(kind) = self.platform.components.get(component).map(Component::kind)
            && !["postgres", "redis"].contains(&kind)
        {
            let message = format!(
                "component `{component}` is of kind `{kind}`, whose log has no level that Muster knows"
            );
            let hint = "write a command with `undo=\"…\", undo_at=end`";
            faults.push(self.fault(file, step.line, component, message, hint));
        }
    }

    fn template(&self, expression: &str) -> Option<(String, String)> {
        let trimmed = expression.trim();
        if template::is_foreign(trimmed) {
            return None;
        }
        let mut parts = trimmed.split('|').map(str::trim);
        let subject = parts.next().unwrap_or_default();
        if let Some(filter) = parts.find(|filter| *filter != "quote") {
            let message = format!("there is no filter `{filter}`");
            let hint = "the only filter is `quote`: it quotes for a shell".to_owned();
            return Some((message, hint));
        }
        let path: Vec<&str> = subject.split('.').map(str::trim).collect();
        match path.as_slice() {
            ["steps", _, "output" | "outcome"] | ["answers", _] | ["run"] | ["run", "id"] => None,
            ["steps", ..] => Some((
                format!("`{subject}` is nothing that a step has"),
                "write `steps.NAME.output` or `steps.NAME.outcome`".into(),
            )),
            [root, ..] if template::INVENTORY.contains(root) => {
                fill::fact(&self.facts, &path).is_none().then(|| {
                    (
                        format!("`{subject}` is not in muster.yaml (environment {})", self.environment),
                        "write a key that has a value: `components.NAME.path`".into(),
                    )
                })
            }
            _ => None,
        }
    }

    /// A fault at the first place from the step's line on where the words stand.
    fn fault(&self, file: &str, line: usize, words: &str, message: String, hint: &str) -> Fault {
        let text = self.texts.get(file).map_or("", String::as_str);
        let first = words.lines().next().unwrap_or_default();
        let place = text.lines().enumerate().skip(line.saturating_sub(1)).take(200).find_map(|(at, text)| {
            let column = text.find(first)?;
            Some((at + 1, text.get(..column).unwrap_or_default().chars().count() + 1))
        });
        Fault::new(place.unwrap_or((line, 1)), first, message, hint)
    }
}

fn list(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// Says why a step cannot be executed, and what to do instead; nothing when it can.
fn cannot(native: &Native) -> Option<(String, &'static str)> {
    Some(match native {
        Native::Failover { to: None, .. } => (
            "`failover` does not say which member takes over".into(),
            "write `failover: {component: database, to: standby}`",
        ),
        Native::Restore { tables, into: Some(_), .. } if !tables.is_empty() => (
            "tables go into their own database, and not into another place".into(),
            "leave `tables` or `into` out",
        ),
        _ => return None,
    })
}
