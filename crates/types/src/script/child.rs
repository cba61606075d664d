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
            Self::Rescue { component, table, filter, from } => format!(
                "muster rescue {component} --table '{table}'{} --from '{from}'",
                option("where", filter)
            ),
        }
    }
}
