//! Steps that mend, prove and copy data: `repair`, `quarantine`, `prove`, `copy`.
//!
//! The keys of a step come in; a [`DataStep`] leaves, which becomes a run of its own, planned like the command of that
//! name. It never says what is damaged or which rows are meant: that is asked of the server when the run is planned.

use serde::Serialize;

use super::{Class, Fault, Keys, Node};

/// A step that mends, proves or copies data.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the key of the step; docs/runbooks.md explains them")]
#[non_exhaustive]
pub enum DataStep {
    Repair {
        component: String,
        reindex: Vec<String>,
        vacuum: Vec<String>,
        analyze: Vec<String>,
    },
    Quarantine {
        component: String,
        table: Option<String>,
        filter: Option<String>,
        /// What SQL has after SET; without it the rows are taken out.
        set: Option<String>,
        disable: Vec<String>,
        expect: Option<u32>,
        reason: Option<String>,
        /// The run whose rows are put back.
        undo: Option<String>,
    },
    Prove {
        components: Vec<String>,
        backup: Option<String>,
    },
    Copy {
        copies: Vec<String>,
        verify: bool,
    },
}

impl DataStep {
    pub(super) const fn class(&self) -> Class {
        match self {
            Self::Quarantine { .. } => Class::Destructive,
            // A proof restores in a scratch folder; it says nothing of what runs, so it is no look at that.
            Self::Repair { .. } | Self::Prove { .. } | Self::Copy { .. } => Class::Idempotent,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Repair { .. } => "repair",
            Self::Quarantine { .. } => "quarantine",
            Self::Prove { .. } => "prove",
            Self::Copy { .. } => "copy",
        }
    }

    /// Returns what is shown for it.
    pub(in crate::runbook) fn title(&self) -> String {
        match self {
            Self::Repair { component, .. } => format!("repair {component}"),
            Self::Quarantine { component, undo: Some(_), .. } => {
                format!("put rows of {component} back from quarantine")
            }
            Self::Quarantine { component, table, .. } => {
                format!("set rows of {} in {component} aside", table.as_deref().unwrap_or_default())
            }
            Self::Prove { components, .. } => format!("prove {}", components.join(", ")),
            Self::Copy { copies, .. } => format!("bring the copy {} up to date", copies.join(", ")),
        }
    }

    /// Returns its texts that may hold templates.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Repair { reindex, vacuum, analyze, .. } => {
                [reindex, vacuum, analyze].into_iter().flatten().map(String::as_str).collect()
            }
            Self::Quarantine { table, filter, set, disable, reason, undo, .. } => {
                let one = [table, filter, set, reason, undo].into_iter().flatten();
                one.chain(disable).map(String::as_str).collect()
            }
            Self::Prove { backup, .. } => backup.iter().map(String::as_str).collect(),
            Self::Copy { .. } => Vec::new(),
        }
    }

    /// Returns the components that it names.
    pub(in crate::runbook) fn components(&self) -> Vec<&str> {
        match self {
            Self::Repair { component, .. } | Self::Quarantine { component, .. } => vec![component],
            Self::Prove { components, .. } => components.iter().map(String::as_str).collect(),
            Self::Copy { .. } => Vec::new(),
        }
    }

    /// Returns whether it changes data in such a way that traces of an attack may be lost.
    pub(in crate::runbook) const fn removes_traces(&self) -> bool {
        matches!(self, Self::Repair { .. } | Self::Quarantine { .. })
    }
}

/// `prove: [database]`, `copy: offsite`.
pub(super) fn short(name: &str, names: &[String]) -> Option<DataStep> {
    match name {
        "prove" => Some(DataStep::Prove { components: names.to_vec(), backup: None }),
        "copy" => Some(DataStep::Copy { copies: names.to_vec(), verify: false }),
        _ => None,
    }
}

pub(super) fn long(name: &str, value: &Node, keys: &mut Keys<'_, '_>) -> Option<DataStep> {
    Some(match name {
        "repair" => repair(value, keys),
        "quarantine" => quarantine(value, keys),
        "prove" => DataStep::Prove { components: keys.names("components"), backup: keys.text("backup") },
        "copy" => DataStep::Copy { copies: keys.names("copies"), verify: keys.is_set("verify") },
        _ => return None,
    })
}

fn repair(value: &Node, keys: &mut Keys<'_, '_>) -> DataStep {
    let component = keys.needed("component");
    let (reindex, vacuum) = (keys.names("reindex"), keys.names("vacuum"));
    // `analyze: true` is the whole database, which the command line says by a name that is empty.
    let analyze =
        keys.names("analyze").into_iter().map(|name| if name == "true" { String::new() } else { name });
    let analyze: Vec<String> = analyze.collect();
    if reindex.is_empty() && vacuum.is_empty() && analyze.is_empty() {
        let hint = "add `reindex: [INDEX]`, `vacuum: [TABLE]` or `analyze: true`";
        refuse(keys, value, "a `repair` step does not say what is mended", hint);
    }
    DataStep::Repair { component, reindex, vacuum, analyze }
}

fn quarantine(value: &Node, keys: &mut Keys<'_, '_>) -> DataStep {
    let component = keys.needed("component");
    let (table, filter, set) = (keys.text("table"), keys.text("where"), keys.text("set"));
    let is_move = keys.is_set("move");
    let (disable, expect, reason) = (keys.names("disable"), keys.count("expect"), keys.text("reason"));
    let undo = keys.text("undo");
    let is_marked = table.is_some() || filter.is_some() || set.is_some() || is_move || !disable.is_empty();
    if undo.is_some() && (is_marked || expect.is_some() || reason.is_some()) {
        let hint = "leave everything but `component` and `undo` out";
        refuse(keys, value, "a `quarantine` step sets rows aside and puts them back", hint);
    } else if undo.is_none() && (table.is_none() || filter.is_none()) {
        let hint = "add `table: …` and `where: …`, or `undo: RUN`";
        refuse(keys, value, "a `quarantine` step does not say which rows", hint);
    } else if undo.is_none() && set.is_some() == is_move {
        let hint = "add one of `set: \"status = 'quarantined'\"` and `move: true`";
        refuse(keys, value, "a `quarantine` step does not say in which way the rows are set aside", hint);
    }
    DataStep::Quarantine { component, table, filter, set, disable, expect, reason, undo }
}

fn refuse(keys: &mut Keys<'_, '_>, value: &Node, message: &str, hint: &str) {
    keys.faults.push(Fault::new((value.line, value.column), "", message, hint));
}
