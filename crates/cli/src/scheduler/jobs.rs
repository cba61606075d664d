//! What there is to do by the configuration: jobs with their rules, and receivers that stay alive.
//!
//! [`Platform`] comes in; [`Job`]s leave, each with the words of the command that does it. It starts nothing.

use jiff::tz::TimeZone;
use muster_plan::schedule::{Calendar, Retries};
use muster_types::{
    Kind,
    config::{BackupPolicy, Component, Platform, PostgresWal, ProofPolicy, Schedule},
    schedule::Rule,
};

use crate::exit::Failure;

/// What a job does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// Backs a component up.
    Backup(String),
    /// Proves the newest backup of a component, or of all.
    Prove(Option<String>),
    /// Verifies the repository.
    Verify,
    /// Brings the copies up to date.
    Copy,
    /// Forgets what no rule keeps.
    Prune,
    /// Observes the platform.
    Check,
}

/// Something that is done again and again.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Its name, and what a person would type: `backup database`.
    pub name: String,
    /// What it does.
    pub task: Task,
    /// The words of its command.
    pub args: Vec<String>,
    /// When.
    pub calendar: Calendar,
}

impl Job {
    /// A proof or a verification that failed finds the same again, and reads everything for it.
    pub(crate) fn retries(&self) -> Retries {
        match self.task {
            Task::Backup(_) | Task::Copy => Retries::Few,
            _ => Retries::None,
        }
    }

    /// Whether it holds the repository alone, so that all others would be refused beside it.
    pub(crate) fn is_alone(&self) -> bool {
        self.task == Task::Prune
    }

    /// Whether it touches the repository at all.
    pub(crate) fn is_light(&self) -> bool {
        self.task == Task::Check
    }
}

/// Returns the time zone of this name; `None` when this host does not know it. Without a name it is UTC.
pub(crate) fn zone(name: Option<&str>) -> Option<TimeZone> {
    match name {
        None | Some("UTC" | "Z") => Some(TimeZone::UTC),
        Some(name) => TimeZone::get(name).ok(),
    }
}

/// Returns all jobs, in the order in which they are begun when several are due.
///
/// # Errors
/// `Config`: this host does not know the time zone.
pub(crate) fn jobs(platform: &Platform) -> Result<Vec<Job>, Failure> {
    let Some(zone) = zone(platform.timezone.as_deref()) else {
        let name = platform.timezone.clone().unwrap_or_default();
        return Err(Failure::new(
            Kind::Config,
            format!("the time zone `{name}` is not known on this host"),
            "install the package `tzdata`, or write `timezone: UTC`",
        ));
    };
    let mut jobs = Vec::new();
    let mut add = |task: Task, rule: Option<Rule>, args: Vec<String>| {
        let Some(rule) = rule else { return };
        let name = match &task {
            Task::Backup(_) | Task::Prove(_) => args.join(" "),
            _ => args[0].clone(),
        };
        jobs.push(Job { name, task, args, calendar: Calendar { rule, zone: zone.clone() } });
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (name, component) in platform.components.iter().filter(|(_, one)| !one.is_disposable()) {
        let rule = component.common().backup.as_ref().and_then(BackupPolicy::rule);
        add(Task::Backup(name.clone()), rule, words(&["backup", name]));
    }
    for (name, component) in platform.components.iter().filter(|(_, one)| !one.is_disposable()) {
        let rule = component.common().prove.as_ref().and_then(ProofPolicy::rule);
        add(Task::Prove(Some(name.clone())), rule, words(&["prove", name]));
    }
    let all = &platform.schedules;
    add(Task::Copy, all.copy.as_ref().and_then(Schedule::rule), words(&["copy"]));
    add(Task::Prove(None), all.prove.as_ref().and_then(Schedule::rule), words(&["prove"]));
    if let Some(verify) = &all.verify {
        let part = verify.read_data.as_ref().map(|part| format!("--read-data={part}"));
        let args = words(&["verify"]).into_iter().chain(part).collect();
        add(Task::Verify, verify.rule(), args);
    }
    add(Task::Prune, all.prune.as_ref().and_then(Schedule::rule), words(&["prune", "--yes"]));
    if let Some(check) = &all.check {
        let tag = check.tag.as_ref().map(|tag| format!("--tag={tag}"));
        let args = words(&["check"]).into_iter().chain(tag).collect();
        add(Task::Check, check.rule(), args);
    }
    Ok(jobs)
}

/// Returns the components whose log is received.
pub(crate) fn receivers(platform: &Platform) -> Vec<String> {
    let is_received = |component: &Component| match component {
        Component::Postgres(postgres) => postgres.wal != PostgresWal::None,
        _ => false,
    };
    platform.components.iter().filter(|(_, one)| is_received(one)).map(|(name, _)| name.clone()).collect()
}
