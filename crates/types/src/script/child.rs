//! What a step wants of a run of its own: a backup, a restore, a failover and the like.
//!
//! In: what the runbook says. Out: the same words as the command line of that verb has. It never plans the run.

use serde::Serialize;

/// What a step wants of a run of its own: what the command line of that verb would say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum ChildRequest {
    /// `muster backup`.
    Backup {
        /// Which; empty: all.
        components: Vec<String>,
        /// Their name.
        label: Option<String>,
    },
    /// `muster restore`.
    Restore {
        /// The component.
        component: String,
        /// To which state.
        to: Option<String>,
        /// To which other place.
        into: Option<String>,
        /// Only these tables; empty: everything.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tables: Vec<String>,
    },
    /// `muster failover`.
    Failover {
        /// The component.
        component: String,
        /// The member that becomes the primary.
        to: String,
        /// Who has kept the old primary out, and how.
        fenced_by: Option<String>,
    },
    /// `muster rotate`.
    Rotate {
        /// The secrets, in their order.
        secrets: Vec<String>,
    },
    /// `muster rescue`.
    Rescue {
        /// The component.
        component: String,
        /// The table.
        table: String,
        /// Only the rows for which this SQL holds.
        filter: Option<String>,
        /// From which state.
        from: String,
    },
    /// `muster repair`.
    Repair {
        /// The component.
        component: String,
        /// Indexes, tables or databases whose indexes are built anew.
        reindex: Vec<String>,
        /// Tables.
        vacuum: Vec<String>,
        /// Tables; an empty name is the whole database.
        analyze: Vec<String>,
    },
    /// `muster quarantine`.
    Quarantine {
        /// The component.
        component: String,
        /// The table.
        table: Option<String>,
        /// The rows for which this SQL holds.
        filter: Option<String>,
        /// What SQL has after SET; without it the rows are taken out.
        set: Option<String>,
        /// Updates of other tables.
        disable: Vec<String>,
        /// How many rows are meant.
        expect: Option<u64>,
        /// Why.
        reason: Option<String>,
        /// The run whose rows are put back.
        undo: Option<String>,
    },
    /// `muster prove`.
    Prove {
        /// Which components.
        components: Vec<String>,
        /// Which backup; without it the newest.
        backup: Option<String>,
    },
    /// `muster copy`.
    Copy {
        /// Which copies.
        copies: Vec<String>,
        /// Whether everything there is read.
        is_verified: bool,
    },
}

impl ChildRequest {
    /// Returns the command line that does the same.
    pub fn line(&self) -> String {
        let option = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!(" --{name} '{value}'")).unwrap_or_default()
        };
        match self {
            Self::Backup { components, label } => {
                let all: String = components.iter().map(|name| format!(" {name}")).collect();
                format!("muster backup{all}{}", option("label", label))
            }
            Self::Restore { component, to, into, tables } => {
                let tables: String = tables.iter().map(|table| format!(" --table '{table}'")).collect();
                format!("muster restore {component}{tables}{}{}", option("to", to), option("into", into))
            }
            Self::Failover { component, to, fenced_by } => {
                format!("muster failover {component} --to '{to}'{}", option("fenced-by", fenced_by))
            }
            Self::Rotate { secrets } => format!("muster rotate {}", secrets.join(" ")),
            Self::Rescue { component, table, filter, from } => format!(
                "muster rescue {component} --table '{table}'{} --from '{from}'",
                option("where", filter)
            ),
            Self::Repair { component, reindex, vacuum, analyze } => {
                let analyze: String = analyze
                    .iter()
                    .map(|table| match table.as_str() {
                        "" => " --analyze".to_owned(),
                        table => format!(" --analyze={}", quoted(table)),
                    })
                    .collect();
                let (reindex, vacuum) = (repeated("reindex", reindex), repeated("vacuum", vacuum));
                format!("muster repair {component}{reindex}{vacuum}{analyze}")
            }
            Self::Quarantine { component, undo: Some(run), .. } => {
                format!("muster quarantine {component} --undo {run}")
            }
            Self::Quarantine { component, table, filter, set, disable, expect, reason, undo: None } => {
                let one = |name: &str, value: &Option<String>| repeated(name, value.as_slice());
                let way = if set.is_some() { one("set", set) } else { " --move".to_owned() };
                let expect = expect.map(|rows| format!(" --expect {rows}")).unwrap_or_default();
                format!(
                    "muster quarantine {component}{}{}{way}{}{expect}{}",
                    one("table", table),
                    one("where", filter),
                    repeated("disable", disable),
                    one("reason", reason)
                )
            }
            Self::Prove { components, backup } => {
                let all: String = components.iter().map(|name| format!(" {name}")).collect();
                format!("muster prove{all}{}", option("backup", backup))
            }
            Self::Copy { copies, is_verified } => {
                let all: String = copies.iter().map(|name| format!(" {name}")).collect();
                format!("muster copy{all}{}", if *is_verified { " --verify" } else { "" })
            }
        }
    }
}

fn repeated(name: &str, values: &[String]) -> String {
    values.iter().map(|value| format!(" --{name} {}", quoted(value))).collect()
}

/// Quotes for a shell: SQL has quotes of its own.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
