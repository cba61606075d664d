//! What can be said to the commands that mend a running server: repair, quarantine.
//!
//! Words only: what they mean is decided in the commands' own files.

use clap::Args;
use muster_types::Span;

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The component. Without another word it is only looked at, and nothing is changed
    pub component: String,
    /// Build this index anew, all of a table, or all of the database, by its name; can be said several times. What earlier
    /// builds have left is removed first
    #[arg(long, value_name = "INDEX|TABLE|DATABASE")]
    pub reindex: Vec<String>,
    /// Vacuum this table, after a backup of the component; can be said several times
    #[arg(long, value_name = "TABLE")]
    pub vacuum: Vec<String>,
    /// Collect statistics of this table. Without a name: of the whole database
    #[arg(long, value_name = "TABLE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub analyze: Vec<String>,
    /// How long a look without repair may take; what is left out then is named. Default: 5m
    #[arg(long, value_name = "SPAN", conflicts_with_all = ["reindex", "vacuum", "analyze"])]
    pub within: Option<Span>,
    /// Print the plan with its SQL and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QuarantineArgs {
    /// The component
    pub component: String,
    /// The table, as SQL names it: `runs`, `app.runs`, `"Runs"`
    #[arg(long, value_name = "TABLE", required_unless_present = "undo", requires = "condition")]
    pub table: Option<String>,
    /// The rows that this SQL condition holds for
    #[arg(long = "where", id = "condition", value_name = "SQL")]
    pub condition: Option<String>,
    /// Mark the rows: what SQL has after SET, such as `status = 'quarantined'`
    #[arg(long = "set", value_name = "SQL", conflicts_with = "move_out", required_unless_present_any = ["move_out", "undo"])]
    pub assignments: Option<String>,
    /// Take the rows out of the table
    #[arg(long = "move", id = "move_out")]
    pub move_out: bool,
    /// An UPDATE of another table that disables what depends on these rows, which it can name `quarantined`; can be said
    /// several times: `UPDATE agents SET enabled = false WHERE id IN (SELECT agent_id FROM quarantined)`
    #[arg(long, value_name = "SQL")]
    pub disable: Vec<String>,
    /// How many rows of the table are meant: with another number nothing is changed
    #[arg(long, value_name = "N")]
    pub expect: Option<u64>,
    /// Why. Kept in the journal and with the rows
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Put the rows back that this run has set aside; those that were changed since are named and left
    #[arg(long, value_name = "RUN", conflicts_with_all = ["table", "condition", "assignments", "move_out", "disable", "expect", "reason"])]
    pub undo: Option<String>,
    /// Show the rows and do nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}
