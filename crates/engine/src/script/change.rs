//! A change of infrastructure: its plan is made by one step, and exactly that plan is applied by the next.
//!
//! ```text
//!   plan command ──► $MUSTER_PLAN ──► read-only, fsync, SHA-256 ──► what it says, in the journal ──► a person
//!   apply: file there? same hash? young enough? ──► apply command ──► it failed? the plan is made anew before the next try
//! ```
//!
//! In: a step with its commands. Out: what the plan creates, changes, replaces and deletes; then what the tool has done.
//! Plans may hold secrets: their folder is the owner's alone, and goes with the run when it is done.
//!
//! It never applies a file that differs by one byte from what was shown, and never judges whether a change is wanted.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::PathBuf,
    time::Duration,
};

use muster_drivers::{changes, cluster};
use muster_repo::durable;
use muster_types::{
    ByteSize, Kind, Span, Timestamp,
    event::{ErrorNote, ScriptEvent},
    facts::ProofOutcome,
    plan::StepClass,
    script::{
        ApplyPlan, ChangeCommand, ClusterDeed, ClusterPlace, Deed, Filled, PLAN, PLAN_FILE, PlanForm,
        PlannedChange, ScriptStep,
    },
    text,
};
use sha2::{Digest, Sha256};

use super::{Effect, Failed, Runner, deeds::Acted};
use crate::{EngineError, fold};

/// What a plan says of a thousand resources has room in it.
const REPORT_BYTES_MAX: u64 = 256 << 20;
/// Names the node to the command that replaces its instance.
const NODE: &str = "MUSTER_NODE";
/// Names the instance to it.
const INSTANCE: &str = "MUSTER_INSTANCE_ID";

impl Runner<'_> {
    /// Looks at or changes objects of a cluster.
    pub(super) fn cluster(&self, step: &ScriptStep, place: &ClusterPlace, deed: &ClusterDeed) -> Acted {
        let events = self.site.journal.events()?;
        let proven_at = |component: &str| -> Option<Timestamp> {
            let newest =
                fold::proofs(&events, None).into_iter().rfind(|proof| proof.component == component)?;
            (newest.outcome == ProofOutcome::Proven).then_some(newest.at)
        };
        let told = cluster::act(place, deed, self.site.platform, &proven_at, self.operator);
        Ok(told
            .map(|told| {
                if matches!(deed, ClusterDeed::Look { .. }) {
                    self.operator.on_output(step, &told.output);
                }
                Effect { output: told.output, is_cut: false, summary: Some(told.summary) }
            })
            .map_err(|error| {
                let note = ErrorNote::of(&error);
                let is_uncertain = matches!(note.kind, Kind::Unavailable | Kind::Interrupted);
                Failed { note, is_uncertain }
            }))
    }

    /// Runs the command that replaces an instance, once more sure that the node is that one and is drained.
    pub(super) fn replace(
        &self,
        step: &ScriptStep,
        (place, node, instance): (&ClusterPlace, &str, &str),
        command: &Filled,
    ) -> Acted {
        let look = ClusterDeed::Instance { node: node.to_owned() };
        let effect = match self.cluster(step, place, &look)? {
            Ok(effect) => effect,
            Err(failed) => return Ok(Err(failed.note.into())),
        };
        let found = effect.output.lines().next().unwrap_or_default();
        if found != instance {
            let error =
                format!("node {node} is instance {found} now, and not {instance}: nothing was replaced");
            return Ok(Err(refused(error, "look at the nodes again: `muster resume` does").into()));
        }
        let mut job = self.job(step, "sh", command, None, &[]);
        job.env.push((NODE.into(), node.to_owned()));
        job.env.push((INSTANCE.into(), instance.to_owned()));
        self.command(step, &job)
    }

    /// Where the plan of a step lies, by the id of the step that makes it.
    fn plan_file(&self, id: &str) -> PathBuf {
        let name: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        // Two ids may look alike without their other signs.
        let hash: String = text::hex(Sha256::digest(id.as_bytes())).chars().take(8).collect();
        self.folder().join(format!("plan-{name}-{hash}")).join("plan")
    }

    /// The variable that the commands and the probe of a change get.
    pub(super) fn plan_variable(&self, step: &ScriptStep) -> Option<(String, String)> {
        let id = match &step.deed {
            Deed::Plan { .. } => step.id.clone(),
            Deed::Apply(_) => format!("{}{PLAN}", step.id),
            _ => return None,
        };
        Some((PLAN_FILE.into(), self.plan_file(&id).display().to_string()))
    }

    pub(super) fn make_plan(&self, step: &ScriptStep, command: &ChangeCommand) -> Acted {
        let file = self.plan_file(&step.id);
        let folder = file.parent().unwrap_or(&file);
        // What an earlier try has left is no part of this plan.
        let made = match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::DirBuilder::new().recursive(true).mode(0o700).create(folder),
        };
        if let Err(error) = made {
            let error = format!("cannot make {}: {error}", folder.display());
            return Ok(Err(unkept(error).into()));
        }
        let mut job = self.job(step, "sh", &command.text, command.cwd.as_deref(), &[]);
        job.env.extend(self.plan_variable(step));
        self.command(step, &job)
    }

    /// Reads the plan that a command has made, and makes it durable; its hash and what it says are the step's output.
    pub(super) fn read_plan(
        &self,
        step: &ScriptStep,
        form: PlanForm,
        effect: &Effect,
    ) -> Result<Effect, Failed> {
        let file = self.plan_file(&step.id);
        let sha256 = seal(&file).map_err(|error| {
            let error =
                format!("the command has made no plan in `${PLAN_FILE}` ({}): {error}", file.display());
            Failed::from(refused(error, "let it write the plan into the file that this variable names"))
        })?;
        let report = match form {
            PlanForm::Terraform => beside(&file, "json"),
            PlanForm::Diff => beside(&file, "diff"),
            PlanForm::Lines if effect.is_cut => Err(io::Error::other("the command has printed too much")),
            PlanForm::Lines => Ok(effect.output.clone()),
        };
        let report = report
            .map_err(|error| Failed::from(unkept(format!("what the plan says cannot be read: {error}"))))?;
        let plan = changes::read(form, &report).map_err(|error| Failed::from(ErrorNote::of(&error)))?;
        let summary = format!("{}; sha256 {sha256}", plan.told());
        let plan = PlannedChange { sha256, at: Some(self.site.clock.now()), ..plan };
        let output = serde_json::to_string(&plan)
            .map_err(|error| Failed::from(unkept(format!("the plan cannot be journaled: {error}"))))?;
        Ok(Effect { output, is_cut: false, summary: Some(summary) })
    }

    /// Applies a plan: that file, and none that is older or another.
    pub(super) fn apply_plan(&self, step: &ScriptStep, apply: &ApplyPlan) -> Acted {
        let file = self.plan_file(&format!("{}{PLAN}", step.id));
        let hint = format!("`muster resume {}` makes a new plan and shows it", self.run);
        let found = match hash(&file) {
            Ok(found) => found,
            Err(error) => {
                let error =
                    format!("the plan {} cannot be read: {error}; nothing was applied", file.display());
                return Ok(Err(refused(error, &hint).into()));
            }
        };
        if found != apply.plan.sha256 {
            let error = format!(
                "the plan {} is not the one that was shown: its sha256 is {found}, and was {}; nothing was applied",
                file.display(),
                apply.plan.sha256
            );
            return Ok(Err(refused(error, &hint).into()));
        }
        let age = apply.plan.at.map(|at| self.site.clock.now().duration_since(at).as_secs_f64());
        if age.is_none_or(|age| age < 0.0 || age > apply.max_age.seconds()) {
            let age = Duration::try_from_secs_f64(age.unwrap_or_default()).unwrap_or_default();
            let age = Span::from_secs(age.as_secs());
            let error = format!(
                "the plan is {age} old, and more than {} is too old: nothing was applied",
                apply.max_age
            );
            return Ok(Err(refused(error, &hint).into()));
        }
        let mut job = self.job(step, "sh", &apply.command.text, apply.command.cwd.as_deref(), &[]);
        job.env.extend(self.plan_variable(step));
        self.command(step, &job)
    }

    /// A step that has failed for certain does not rest on an old look: the one before it looks anew.
    pub(super) fn reopen(&self, step: &ScriptStep, failed: &Failed) -> Result<(), EngineError> {
        let Some(end) = step.deed.rests_on() else { return Ok(()) };
        if failed.is_uncertain && step.class == StepClass::Destructive {
            return Ok(());
        }
        let why = format!("`{}` did not succeed", step.id);
        self.tell_step(ScriptEvent::Reopened { step: format!("{}{end}", step.id), why })
    }
}

fn refused(error: String, hint: &str) -> ErrorNote {
    ErrorNote { error, causes: Vec::new(), hint: Some(hint.to_owned()), kind: Kind::Conflict }
}

fn unkept(error: String) -> ErrorNote {
    let hint = "is there room in the state folder? `muster resume` tries again".to_owned();
    ErrorNote { error, causes: Vec::new(), hint: Some(hint), kind: Kind::Unavailable }
}

/// Reads what stands beside the plan.
fn beside(file: &std::path::Path, end: &str) -> io::Result<String> {
    let path = file.with_extension(end);
    let mut text = String::new();
    File::open(&path)?.take(REPORT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > REPORT_BYTES_MAX {
        let message = format!("{} is longer than {}", path.display(), ByteSize(REPORT_BYTES_MAX));
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

/// Makes a plan read-only and durable; returns its SHA-256.
fn seal(path: &std::path::Path) -> io::Result<String> {
    let sha256 = hash(path)?;
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    file.set_permissions(Permissions::from_mode(0o400))?;
    file.sync_all()?;
    durable::sync_folder(path.parent().unwrap_or(path))?;
    Ok(sha256)
}

fn hash(path: &std::path::Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(text::hex(hash.finalize()));
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}
