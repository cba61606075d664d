//! Steps of an incident: `block`, `isolate`, `keep_block`, `unblock` keep an attacker out, `investigate` asks what was done,
//! `revise` lets nobody forget what was learnt.
//!
//! The keys of a step come in; an [`IncidentStep`] leaves. Addresses that are written out are read here, so that a slip is
//! found with its line; those in templates where they are known.

use muster_types::{Network, Span};
use serde::Serialize;

use super::{Class, Fault, Keys, Node};

/// A step that keeps somebody out, or lets them in again.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each field is the key of the step; docs/runbooks.md explains them")]
#[non_exhaustive]
pub enum IncidentStep {
    /// Keeps these out.
    Block(Barrier),
    /// Keeps everybody out but those that are named.
    Isolate(Barrier),
    /// What an earlier step blocks stays, and is not taken back by itself.
    KeepBlock { step: String },
    /// What an earlier step has blocked is open again.
    Unblock { step: String, run: Option<String> },
    /// Lets a server log more until the run ends.
    LogLevel { component: String, level: Option<String> },
    /// What it logs is as it was before a step; nobody writes it: it undoes that step.
    LogLevelBack,
    /// Asks who was there and what was read; the answers are evidence.
    Investigate { component: Option<String>, git: Option<String>, since: Option<String>, files: Vec<String> },
    /// The runbook was changed after what has happened, or somebody says why it stays.
    Revise { question: Option<String> },
}

/// Who is kept out of what, and what proves it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "each field is the key of the step; docs/runbooks.md explains them")]
pub struct Barrier {
    pub addresses: Vec<String>,
    pub except: Vec<String>,
    pub ports: Vec<u16>,
    pub revert_after: Option<Span>,
    pub passes: Vec<String>,
    pub fails: Vec<String>,
}

impl IncidentStep {
    pub(super) const fn class(&self) -> Class {
        match self {
            Self::Investigate { .. } | Self::Revise { .. } => Class::Observe,
            // One table is replaced as a whole: twice is once.
            _ => Class::Idempotent,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Block(_) => "block",
            Self::Isolate(_) => "isolate",
            Self::KeepBlock { .. } => "keep_block",
            Self::Unblock { .. } => "unblock",
            Self::LogLevel { .. } | Self::LogLevelBack => "log_level",
            Self::Investigate { .. } => "investigate",
            Self::Revise { .. } => "revise",
        }
    }

    /// Returns what is shown for it.
    pub(in crate::runbook) fn title(&self) -> String {
        match self {
            Self::Block(barrier) => format!("block {}", barrier.addresses.join(", ")),
            Self::Isolate(barrier) if barrier.except.is_empty() => "isolate this host".into(),
            Self::Isolate(barrier) => format!("isolate this host but for {}", barrier.except.join(", ")),
            Self::KeepBlock { step } => format!("let the block of {step} stay"),
            Self::Unblock { step, .. } => format!("unblock what {step} has blocked"),
            Self::LogLevel { component, .. } => format!("let {component} log more"),
            Self::LogLevelBack => "log as before".into(),
            Self::Revise { .. } => "revise this runbook".into(),
            Self::Investigate { component, git, files, .. } => {
                let of = component.iter().chain(git).chain(files).map(String::as_str).collect::<Vec<_>>();
                format!("investigate {}", of.join(", "))
            }
        }
    }

    /// Returns its texts that may hold templates.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Block(barrier) | Self::Isolate(barrier) => {
                barrier.addresses.iter().chain(&barrier.except).map(String::as_str).collect()
            }
            Self::Unblock { run, .. } => run.iter().map(String::as_str).collect(),
            Self::Investigate { git, since, files, .. } => {
                git.iter().chain(since).chain(files).map(String::as_str).collect()
            }
            Self::KeepBlock { .. } | Self::LogLevel { .. } | Self::LogLevelBack | Self::Revise { .. } => {
                Vec::new()
            }
        }
    }

    /// Returns what undoes it at the end of the run.
    pub(in crate::runbook) fn undo(&self) -> Option<Self> {
        matches!(self, Self::LogLevel { .. }).then_some(Self::LogLevelBack)
    }

    /// Whether what it finds is evidence.
    pub(in crate::runbook) const fn is_evidence(&self) -> bool {
        matches!(self, Self::Investigate { .. })
    }

    /// Returns the checks that it names.
    pub(in crate::runbook) fn checks(&self) -> Vec<&str> {
        match self {
            Self::Block(barrier) | Self::Isolate(barrier) => {
                barrier.passes.iter().chain(&barrier.fails).map(String::as_str).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns the step of the same runbook whose block it means.
    pub(in crate::runbook) fn of_step(&self) -> Option<&str> {
        match self {
            Self::KeepBlock { step } | Self::Unblock { step, run: None } => Some(step),
            _ => None,
        }
    }

    /// Whether a later step can mean its block.
    pub(in crate::runbook) const fn is_block(&self) -> bool {
        matches!(self, Self::Block(_) | Self::Isolate(_))
    }
}

/// `block: 203.0.113.7`, `unblock: cut`.
pub(super) fn short(
    name: &str,
    names: &[String],
    value: &Node,
    faults: &mut Vec<Fault>,
) -> Option<IncidentStep> {
    let step = || names.join(" ");
    match name {
        "block" => {
            for address in names {
                read_address(address, value, faults);
            }
            Some(IncidentStep::Block(Barrier { addresses: names.to_vec(), ..Barrier::default() }))
        }
        "revise" => Some(IncidentStep::Revise { question: Some(step()) }),
        "keep_block" => Some(IncidentStep::KeepBlock { step: step() }),
        "unblock" => Some(IncidentStep::Unblock { step: step(), run: None }),
        "log_level" => Some(IncidentStep::LogLevel { component: step(), level: None }),
        "investigate" => Some(IncidentStep::Investigate {
            component: Some(step()),
            git: None,
            since: None,
            files: Vec::new(),
        }),
        _ => None,
    }
}

pub(super) fn long(name: &str, value: &Node, keys: &mut Keys<'_, '_>) -> Option<IncidentStep> {
    Some(match name {
        "block" => {
            let barrier = barrier(value, keys, true);
            if barrier.addresses.is_empty() {
                let hint = "add `addresses: [203.0.113.7]`, or write `isolate` to keep everybody out";
                refuse(keys.faults, value, "", "a `block` step names nobody", hint);
            }
            IncidentStep::Block(barrier)
        }
        "isolate" => {
            let barrier = barrier(value, keys, false);
            if barrier.except.is_empty() {
                let hint = "add `except: [192.0.2.10]`: the address from which you work";
                refuse(keys.faults, value, "", "an `isolate` step lets nobody in", hint);
            }
            IncidentStep::Isolate(barrier)
        }
        "revise" => IncidentStep::Revise { question: keys.text("question") },
        "keep_block" => IncidentStep::KeepBlock { step: keys.needed("step") },
        "unblock" => IncidentStep::Unblock { step: keys.needed("step"), run: keys.text("run") },
        "log_level" => {
            IncidentStep::LogLevel { component: keys.needed("component"), level: keys.text("level") }
        }
        "investigate" => investigate(value, keys),
        _ => return None,
    })
}

fn investigate(value: &Node, keys: &mut Keys<'_, '_>) -> IncidentStep {
    let (component, git, since) = (keys.text("component"), keys.text("git"), keys.text("since"));
    let files = keys.names("files");
    if component.is_none() && git.is_none() && files.is_empty() {
        let hint = "add `component: database`, `git: /srv/app`, or `files: [/var/log/auth.log]`";
        refuse(keys.faults, value, "", "an `investigate` step looks at nothing", hint);
    }
    IncidentStep::Investigate { component, git, since, files }
}

fn barrier(value: &Node, keys: &mut Keys<'_, '_>, has_addresses: bool) -> Barrier {
    let addresses = if has_addresses { keys.names("addresses") } else { Vec::new() };
    let except = keys.names("except");
    let mut ports = Vec::new();
    for text in keys.names("ports") {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => ports.push(port),
            _ => refuse(keys.faults, value, &text, &format!("`{text}` is no port"), "ports are 1 to 65535"),
        }
    }
    for address in addresses.iter().chain(&except) {
        read_address(address, value, keys.faults);
    }
    let revert_after = keys.span("revert_after");
    Barrier {
        addresses,
        except,
        ports,
        revert_after,
        passes: keys.names("passes"),
        fails: keys.names("fails"),
    }
}

fn read_address(text: &str, value: &Node, faults: &mut Vec<Fault>) {
    if !text.contains("{{")
        && let Err(error) = text.parse::<Network>()
    {
        let hint = "write an address or a network: `203.0.113.7`, `198.51.100.0/24`; a name can mean another host tomorrow";
        refuse(faults, value, text, &error.to_string(), hint);
    }
}

fn refuse(faults: &mut Vec<Fault>, value: &Node, text: &str, message: &str, hint: &str) {
    faults.push(Fault::new((value.line, value.column), text, message, hint));
}
