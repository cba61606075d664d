//! What can be said to `muster runbook` and `muster lint`.
//!
//! Words only: what they mean is decided in the commands' own files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum RunbookCommand {
    /// Recognise what a recovery document promises and describes, and draft `muster.yaml` and runbooks
    Import {
        /// The document: any Markdown file
        file: PathBuf,
        /// The folder that the files are written into. Default: this one; with `--json` nothing is written without it
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Say what would be written, and write nothing
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Print a runbook for paper, with the times of earlier runs beside the expected ones
    Render {
        /// The runbook
        file: PathBuf,
        #[command(flatten)]
        form: RenderForm,
    },
    /// Show the steps of a runbook or of any Markdown document. Nothing is executed: that is `muster run`
    Show {
        /// The file
        file: PathBuf,
        /// A scenario or phase: its number (`3.2`) or words of its title
        section: Option<String>,
    },
}

/// As what a runbook is printed.
#[derive(Debug, Clone, Copy, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RenderForm {
    /// One page that stands by itself, for the printer
    #[arg(long)]
    pub html: bool,
    /// The text with a table of times
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Markdown documents, shell scripts, SQL, crontabs, configuration
    #[arg(required_unless_present = "rules", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print SARIF 2.1.0 instead, for code hosts
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// List the rules
    #[arg(long, conflicts_with_all = ["files", "sarif"])]
    pub rules: bool,
}
