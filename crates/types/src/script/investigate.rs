//! What an investigation looks at: each look has a name, a question, and what has to be there for an answer.
//!
//! In: the step of a runbook. Out: the very questions, for people before and for the executor after. It asks nobody.

use serde::Serialize;

use crate::Span;

/// Looks whose answers are kept as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InvestigateRequest {
    /// In the order in which they are done; each name is a file.
    pub looks: Vec<Look>,
    /// How long one command may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// Its name: the file's, without `.txt`.
    pub name: String,
    /// What is asked.
    pub question: Question,
    /// What has to be there: `the extension pg_stat_statements`.
    pub needs: String,
    /// Whether no answer is one: nobody is connected.
    pub may_be_empty: bool,
}

/// What is asked of whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// SQL of a component.
    Sql {
        /// The component.
        component: String,
        /// The query.
        query: String,
    },
    /// A command of a component.
    Command {
        /// The component.
        component: String,
        /// The command, in words.
        words: Vec<String>,
    },
    /// A program and its arguments.
    Program {
        /// They.
        argv: Vec<String>,
    },
    /// The content of a file of this host.
    File {
        /// Its path.
        path: String,
    },
}

impl Look {
    /// Returns it in words.
    pub fn line(&self) -> String {
        let what = match &self.question {
            Question::Sql { component, query } => format!("{component}: {query}"),
            Question::Command { component, words } => format!("{component}: {}", words.join(" ")),
            Question::Program { argv } => argv.join(" "),
            Question::File { path } => format!("copy {path}"),
        };
        format!("{}.txt: {what}", self.name)
    }
}
