//! A script: steps that are decided one after the other, from what is known so far.
//!
//! A restore's plan is whole before it begins. A runbook's is not: what comes next depends on answers, on what earlier
//! steps printed and on checks. So [`Script::next`] is asked again after each step; it is a pure function of [`Known`],
//! which the journal gives back after a crash. The executor decides nothing: names, texts and classes stand in the
//! [`ScriptStep`] that it was given.
//!
//! This module never executes. Read next: [`crate::event::ScriptEvent`] for what is journaled of a step.
//!
//! It is long and one thing, because it is one list: all that a step may ask for.

mod approval;
mod block;
mod change;
mod child;
mod cluster;
mod dns;
mod investigate;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};

pub use self::{
    approval::Approval,
    block::BlockRequest,
    change::{ApplyPlan, ChangeCommand, PLAN, PLAN_FILE, PlanForm, PlannedChange},
    child::ChildRequest,
    cluster::{
        ClusterDeed, ClusterPlace, Doomed, LOOK, Sight, delete_options, drain_words, is_object_name, quoted,
    },
    dns::{DnsChange, DnsWay, record_word},
    investigate::{InvestigateRequest, Look, Question},
    source::{PhaseTarget, ScriptSource},
};
use crate::{Span, config::Check, event::ErrorNote, plan::StepClass};

/// Decides what comes next.
pub trait Script: Sync {
    /// Returns the next step that is not finished.
    ///
    /// Pure: the same knowledge gives the same step, in whatever process.
    fn next(&self, known: &Known) -> Next;

    /// Returns the step that undoes another one, by that one's id; nothing when it has none.
    ///
    /// Its id is the other one's with [`UNDO`] behind it. Pure, too.
    fn undo(&self, step: &str, known: &Known) -> Option<Next>;
}

/// What stands behind the id of a step in the id of the one that undoes it. No step has a full stop in its own id.
pub const UNDO: &str = ".undo";

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This step.
    Step(Box<ScriptStep>),
    /// A step that cannot be made: a template whose answer was skipped, for example.
    Impossible {
        /// The step as far as it is known.
        step: Box<ScriptStep>,
        /// Why.
        error: Box<ErrorNote>,
    },
    /// Steps that happen at the same time.
    Group(Box<Group>),
    /// Nothing: the script is at its end.
    Done,
}

/// Steps that happen at the same time.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The id of the step that holds them.
    pub id: String,
    /// How many at most.
    pub at_once: usize,
    /// What is next in each lane that is not at its end: [`Next::Step`] or [`Next::Impossible`]; never empty.
    pub lanes: Vec<Next>,
}

/// What is known while a script runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// The steps that are finished: done or skipped, by id.
    pub steps: BTreeMap<String, Finished>,
    /// Answers by the id of the step that asked. A secret one is never journaled.
    pub answers: BTreeMap<String, Answer>,
    /// The id of the run; empty where nothing runs.
    pub run: String,
    /// Only in a dry run: questions whose answer nobody knows yet. Whatever depends on them comes.
    pub open_answers: BTreeSet<String>,
}

/// A finished step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// `true`: skipped, not done.
    pub is_skipped: bool,
    /// What it printed, without the line end.
    pub output: String,
    /// Whether some of the output was left out: then nothing may be made of it.
    pub is_cut: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The words.
    pub text: String,
    /// Whether they must not be shown.
    pub is_secret: bool,
}

/// A text with its templates filled in. What is shown and journaled has `***` in place of secret answers.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Filled {
    text: String,
    shown: String,
}

impl Filled {
    /// Makes one of the real text and of the one that may be shown.
    pub fn new(text: impl Into<String>, shown: impl Into<String>) -> Self {
        Self { text: text.into(), shown: shown.into() }
    }

    /// Returns the real text. It may hold secrets: never show, journal or pass it as an argument.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns the text that may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl From<&str> for Filled {
    fn from(text: &str) -> Self {
        Self::new(text, text)
    }
}

impl std::fmt::Debug for Filled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.shown)
    }
}

impl Serialize for Filled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

/// One step, ready to be executed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScriptStep {
    /// Unique in the run, and the same on every resume. Steps of a runbook in a runbook have its step's id before theirs.
    pub id: String,
    /// What is shown for it.
    pub title: String,
    /// The heading it stands under.
    pub phase: String,
    /// The runbook in which it stands.
    pub file: String,
    /// The line.
    pub line: usize,
    /// What may happen when it is done twice.
    pub class: StepClass,
    /// What happens when nobody knows whether it ran.
    pub on_ambiguous: OnAmbiguous,
    /// After how long it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How often it is tried again.
    pub retry: u32,
    /// Who does or confirms it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A command whose exit 0 says that the effect has already happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Filled>,
    /// The conditions under which it comes, for people: `reason is crash`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<String>,
    /// A person must decide on it, whatever was agreed to for the whole run.
    pub needs_decision: bool,
    /// What a person must name before it is done, whatever was agreed to for the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The step in which it happens beside others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// What undoes it after a failure, one line each, for people; empty: nothing does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<String>,
    /// What undoes it comes at the end of the run in any case: it is meant for its time only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_temporary: bool,
    /// It exports evidence: the files that it writes are hashed and kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_evidence: bool,
    /// Prose that stands before it in its phase.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prose: Vec<String>,
    /// What is done.
    pub deed: Deed,
}

/// What happens when nobody knows whether a step ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnAmbiguous {
    /// Its probe decides.
    Probe,
    /// A person decides.
    Ask,
    /// The run fails.
    Fail,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Deed {
    /// Runs a command.
    Command {
        /// The program that reads it: `bash`, `sh`, `zsh`.
        shell: String,
        /// The command.
        text: Filled,
        /// The folder in which it runs; relative ones begin where Muster was called.
        #[serde(skip_serializing_if = "Option::is_none")]
        cwd: Option<String>,
        /// Variables that it gets.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        env: Vec<(String, Filled)>,
    },
    /// Runs checks once: all must pass.
    Check {
        /// Their names.
        checks: Vec<String>,
    },
    /// Runs a check, and both results are good: what follows depends on it.
    Test {
        /// Its name.
        check: String,
    },
    /// Waits until checks pass.
    WaitFor {
        /// Their names.
        checks: Vec<String>,
        /// How long at most.
        within: Span,
    },
    /// Lets time go by.
    Pause {
        /// How much.
        span: Span,
    },
    /// Runs checks again and again for a time: all must pass every time.
    Watch {
        /// Their names.
        checks: Vec<String>,
        /// How long.
        span: Span,
    },
    /// Starts, stops or restarts services, one after the other.
    Services {
        /// What.
        verb: ServiceVerb,
        /// Their names.
        services: Vec<String>,
    },
    /// Stores everything that services have logged.
    Logs {
        /// Their names.
        services: Vec<String>,
        /// Only what is not older.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Span>,
        /// The folder; without it, one beside the journal.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Goes back to an earlier version of a service, and waits until it is ready.
    Rollback {
        /// Its name.
        service: String,
        /// Which version; without it, the one before this.
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Runs a line for a shell inside a service; what it prints is the output.
    Exec {
        /// The service.
        service: String,
        /// The line.
        command: Filled,
    },
    /// Gives a service so many replicas.
    Scale {
        /// Its name.
        service: String,
        /// How many.
        replicas: u32,
    },
    /// Looks at or changes objects of a Kubernetes cluster.
    Cluster {
        /// Which cluster and namespace.
        place: ClusterPlace,
        /// What.
        deed: ClusterDeed,
    },
    /// Runs the command that replaces the instance of a drained node.
    Replace {
        /// The cluster.
        place: ClusterPlace,
        /// The node.
        node: String,
        /// The id of its instance, as it was looked at: `$MUSTER_INSTANCE_ID` of the command.
        instance: String,
        /// The command.
        command: Filled,
    },
    /// Makes the plan of a change; changes nothing.
    Plan {
        /// The command.
        command: ChangeCommand,
        /// How it is read.
        form: PlanForm,
    },
    /// Applies exactly the plan that was made.
    Apply(Box<ApplyPlan>),
    /// An HTTP request, judged like a check.
    Http {
        /// The request with what must hold. Its texts may hold secrets.
        #[serde(skip)]
        request: Box<Check>,
        /// `POST https://…`, as it may be shown.
        shown: String,
    },
    /// Changes a record of the domain name system, and waits until everybody gets the new answer.
    Dns(Box<DnsChange>),
    /// Looks at every part of the way to servers; what was found is the output.
    Network {
        /// The servers; empty: all that the configuration names.
        targets: Vec<String>,
        /// From within this service, process or namespace.
        #[serde(skip_serializing_if = "Option::is_none")]
        inside: Option<String>,
        /// How long all of it may take.
        #[serde(skip_serializing_if = "Option::is_none")]
        within: Option<Span>,
    },
    /// A query on a component; its answer is the output.
    Sql {
        /// The component.
        component: String,
        /// The query.
        query: Filled,
        /// What the answer must be.
        #[serde(skip_serializing_if = "Option::is_none")]
        expect: Option<String>,
    },
    /// A command on a component; its reply is the output.
    Query {
        /// The component.
        component: String,
        /// The command, in words.
        words: Vec<Filled>,
        /// What the reply must be.
        #[serde(skip_serializing_if = "Option::is_none")]
        expect: Option<String>,
    },
    /// Keeps somebody out by a table of the packet filter.
    Block(Box<BlockRequest>),
    /// Lets a server log more.
    LogLevel {
        /// The component.
        component: String,
        /// Whether it is set by SQL; else by commands.
        is_sql: bool,
        /// What is set.
        settings: Vec<LogSetting>,
    },
    /// What a server logs is as it was before a step.
    LogLevelBack {
        /// The step's id.
        step: String,
    },
    /// Looks after a break-in, whose answers are kept as evidence.
    Investigate(Box<InvestigateRequest>),
    /// What a step has blocked is not taken back by itself.
    KeepBlock {
        /// The step's id.
        step: String,
    },
    /// What a step has blocked is open again.
    Unblock {
        /// The step's id.
        step: String,
        /// Its run; without it, this one.
        #[serde(skip_serializing_if = "Option::is_none")]
        run: Option<String>,
    },
    /// Sees that the runbook was changed since the run began, or that somebody has said why it need not be.
    Revise {
        /// The path of the runbook, as the run's source has it.
        file: String,
        /// What was answered: `changed`, or why it stays.
        answer: String,
    },
    /// A message to people: through the first of these channels that takes it.
    Notify {
        /// The channels, in order.
        to: Vec<String>,
        /// The message.
        message: Filled,
    },
    /// A run of its own.
    Child(ChildRequest),
    /// A person answers.
    Ask {
        /// The question.
        question: String,
        /// The answer when nothing is typed.
        #[serde(skip_serializing_if = "Option::is_none")]
        default: Option<String>,
        /// Only these answers; empty: any.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        options: Vec<String>,
        /// The answer must not be shown or kept.
        is_secret: bool,
    },
    /// A person confirms.
    Confirm {
        /// What.
        text: String,
    },
}

/// A setting of what is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogSetting {
    /// Its name.
    pub name: String,
    /// Its value while it is raised.
    pub value: String,
}

/// What is done to services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceVerb {
    /// Start and wait until ready.
    Start,
    /// Stop and wait until ended.
    Stop,
    /// Both.
    Restart,
    /// Build its image anew, put it in place and wait until ready.
    Rebuild,
    /// Make the networks of its project anew and wait until ready.
    Reconnect,
    /// Remove the sandboxes that it has left.
    Clean,
}

impl ServiceVerb {
    /// Returns the word of the runbook.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Rebuild => "rebuild",
            Self::Reconnect => "reconnect",
            Self::Clean => "clean",
        }
    }
}

impl Deed {
    /// Whether a person does it, with Muster only waiting.
    pub fn is_personal(&self) -> bool {
        matches!(self, Self::Ask { .. } | Self::Confirm { .. })
    }

    /// Whether it is a command that is kept: its effect begins only when its gate is opened.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Command { .. } | Self::Replace { .. } | Self::Plan { .. } | Self::Apply { .. })
    }

    /// Whether it looks for another step that rests on it, and is made by Muster.
    pub fn is_first(&self) -> bool {
        matches!(self, Self::Plan { .. }) || matches!(self, Self::Cluster { deed, .. } if deed.is_first())
    }

    /// Returns the end of the id of the step that looked before it.
    pub fn rests_on(&self) -> Option<&'static str> {
        match self {
            Self::Apply(_) => Some(PLAN),
            Self::Replace { .. } | Self::Cluster { deed: ClusterDeed::Delete { .. }, .. } => Some(LOOK),
            _ => None,
        }
    }

    /// Returns its own probe: a command whose exit 0 says that it has happened, and 1 that it has not.
    pub fn probe(&self) -> Option<String> {
        match self {
            Self::Cluster { place, deed } => deed.probe(place),
            Self::Apply(plan) => plan.probe.clone(),
            _ => None,
        }
    }

    /// Returns the very commands or words, one line each, as they may be shown.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Command { text, .. } => text.shown().lines().map(str::to_owned).collect(),
            Self::Check { checks } => vec![format!("muster check {}", checks.join(" "))],
            Self::Test { check } => vec![format!("muster check {check}, and either result is good")],
            Self::WaitFor { checks, within } => {
                vec![format!("muster check {}, until it passes, at most {within}", checks.join(" "))]
            }
            Self::Pause { span } => vec![format!("sleep {}", span.seconds())],
            Self::Watch { checks, span } => {
                vec![format!("muster check {}, again and again for {span}", checks.join(" "))]
            }
            Self::Services { verb, services } => {
                services.iter().map(|service| format!("muster service {} {service}", verb.word())).collect()
            }
            Self::Logs { services, since, .. } => {
                let since = since.map(|since| format!(" --since {since}")).unwrap_or_default();
                services.iter().map(|service| format!("muster service logs {service}{since}")).collect()
            }
            Self::Rollback { service, to } => {
                let to = to.as_ref().map(|to| format!(" --to {to}")).unwrap_or_default();
                vec![format!("muster service rollback {service}{to}")]
            }
            Self::Exec { service, command } => {
                command.shown().lines().map(|line| format!("in {service}: {line}")).collect()
            }
            Self::Scale { service, replicas } => vec![format!("muster service scale {service} {replicas}")],
            Self::Cluster { place, deed } => deed.lines(place),
            Self::Replace { command, .. } => command.shown().lines().map(str::to_owned).collect(),
            Self::Plan { command, .. } => command.text.shown().lines().map(str::to_owned).collect(),
            Self::Apply(plan) => plan.command.text.shown().lines().map(str::to_owned).collect(),
            Self::Http { shown, .. } => vec![shown.clone()],
            Self::Dns(change) => change.lines(),
            Self::Network { targets, inside, .. } => {
                let inside = inside.as_ref().map(|inside| format!(" --inside {inside}")).unwrap_or_default();
                vec![format!("muster network {}{inside}", targets.join(" ")).trim_end().to_owned()]
            }
            Self::Sql { query, .. } => query.shown().lines().map(str::to_owned).collect(),
            Self::Query { component, words, .. } => {
                let words: Vec<&str> = words.iter().map(Filled::shown).collect();
                vec![format!("{component}: {}", words.join(" "))]
            }
            Self::Block(request) => request.lines(),
            Self::LogLevel { component, settings, .. } => settings
                .iter()
                .map(|one| format!("{component}: {} = {}, until the run ends", one.name, one.value))
                .collect(),
            Self::LogLevelBack { step } => vec![format!("what is logged is as it was before {step}")],
            Self::Investigate(request) => request.looks.iter().map(Look::line).collect(),
            Self::KeepBlock { step } => vec![format!("nft: the block of {step} stays")],
            Self::Unblock { step, run } => {
                let run = run.as_ref().map(|run| format!(" of run {run}")).unwrap_or_default();
                vec![format!("nft: remove the block of {step}{run}")]
            }
            Self::Revise { file, .. } => {
                vec![format!("{file} is not as it was when the run began, or somebody says why it stays")]
            }
            Self::Notify { to, message } => vec![format!("{}: {}", to.join(", else "), message.shown())],
            Self::Child(request) => vec![request.line()],
            Self::Ask { question, .. } => vec![question.clone()],
            Self::Confirm { text } => vec![text.clone()],
        }
    }
}
