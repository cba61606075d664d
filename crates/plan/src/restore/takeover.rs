//! How a component comes back whose running server takes a backup in place of all that it holds.
//!
//! ```text
//! sealed, nothing else known ─► unseal                                                        (no backup is needed)
//! active, same cluster       ─► safety snapshot ─► write, verify ─► take over ─► verify
//! active, another cluster    ─► safety snapshot ─► write, verify ─► take over by force ─► unseal ─► verify
//! new, without keys          ─►                    write, verify ─► initialise, take over ─► unseal ─► verify
//! ```
//!
//! In: how the server stood at the survey, and the backup. Out: steps and what a person should know of them. The backup
//! is compared with its hashes before the server gets a byte of it. Nothing here asks a server. There is nothing to undo
//! by a rename: what stood there is in the safety snapshot.

use std::path::PathBuf;

use muster_types::{
    backup::{Method, Witness},
    facts::{Facts, SealFacts, SealState},
    plan::{Action, Step, StepClass, Takeover},
};

use super::{GROUP, Pair, commands::commands, safety_copy};
use crate::{
    PlanError, RecoveryTarget,
    origin::{is_applied, is_by_command, is_taken_over},
    scope::{Scope, step},
};

/// What promises that a server is the one that was backed up.
const CLUSTER: &str = "cluster";

/// The steps of one component.
pub(super) struct Takeovers {
    /// Before anything of the run is changed.
    pub(super) before: Vec<Step>,
    /// What changes the server, and the judgement on it.
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<String>,
}

/// Tells whether a component is only unsealed: it is sealed, and nobody has named a backup.
pub(super) fn is_only_unsealed(pair: &Pair<'_>, target: &RecoveryTarget) -> bool {
    let is_sealed = pair.component.seal.as_ref().is_some_and(|seal| seal.state == SealState::Sealed);
    is_sealed && is_taken_over(pair.backup) && *target == RecoveryTarget::Latest
}

/// Plans all components that come back so.
///
/// # Errors
/// `CannotTakeOver`: the server does not answer, or is a standby.
pub(super) fn takeovers(
    scope: Scope<'_>,
    facts: &Facts,
    pairs: &[Pair<'_>],
    target: &RecoveryTarget,
) -> Result<Vec<Takeovers>, PlanError> {
    let taken_over = pairs.iter().filter(|pair| is_taken_over(pair.backup));
    taken_over.map(|pair| takeover(scope, facts, pair, target)).collect()
}

fn takeover(
    scope: Scope<'_>,
    facts: &Facts,
    pair: &Pair<'_>,
    target: &RecoveryTarget,
) -> Result<Takeovers, PlanError> {
    let name = &pair.component.name;
    let refuse = |why: &str, hint: &str| {
        Err(PlanError::CannotTakeOver { component: name.clone(), why: why.into(), hint: hint.into() })
    };
    if is_applied(pair.backup) {
        return objects(scope, facts, pair);
    }
    if is_by_command(pair.backup) {
        return commands(scope, facts, pair);
    }
    let Some(seal) = &pair.component.seal else {
        return refuse("is of another kind now than its backup", "restore it beside: `--into FOLDER`");
    };
    let is_original = seal.cluster_id.as_ref() == pair.backup.record.witness.get(CLUSTER);
    match seal.state {
        SealState::Silent => refuse(
            "does not answer",
            "start the server; if its disk is lost, start a new one with an empty data folder, and do not initialise it",
        ),
        SealState::Standby => {
            refuse("answers as a standby", "name the active server, or an address that leads to it, in `url`")
        }
        SealState::Sealed if is_only_unsealed(pair, target) => Ok(unseal_only(pair, seal)),
        SealState::Sealed => Ok(replace(scope, facts, pair, seal, Takeover::Same)),
        SealState::Active if is_original || pair.backup.record.method == Method::Raw => {
            Ok(replace(scope, facts, pair, seal, Takeover::Same))
        }
        SealState::Active => Ok(replace(scope, facts, pair, seal, Takeover::Force)),
        SealState::Uninitialised => Ok(replace(scope, facts, pair, seal, Takeover::Initialise)),
    }
}

/// Objects go into their namespace one by one; what the backup does not know stays.
fn objects(scope: Scope<'_>, facts: &Facts, pair: &Pair<'_>) -> Result<Takeovers, PlanError> {
    let (component, at) = (pair.component, pair.backup.record.consistent_at);
    let name = &component.name;
    if !component.is_present {
        return Err(PlanError::CannotTakeOver {
            component: name.clone(),
            why: "does not answer".into(),
            hint: "see whether the cluster answers: `kubectl cluster-info`; to get the objects as files: `--into FOLDER`".into(),
        });
    }
    let (mut before, steps) = exchange(scope, pair, Takeover::Apply);
    let mut notes = vec![
        format!(
            "objects of {name} that were made after {at} are left alone; those that the backup knows say afterwards what they said then"
        ),
        format!("the workloads of {name} are brought to no replicas and then to as many as they had"),
    ];
    if component.has_data {
        before.insert(0, safety_copy(scope, facts, component));
        notes.push(format!(
            "the safety copy is the way back: `muster restore {name} --to prerestore-{}`",
            scope.run
        ));
    } else {
        notes.push(format!("the namespace of {name} holds no object: no safety copy is needed"));
    }
    Ok(Takeovers { before, steps, notes })
}

/// A server that is sealed and otherwise whole needs its keys, and no backup.
fn unseal_only(pair: &Pair<'_>, seal: &SealFacts) -> Takeovers {
    let name = &pair.component.name;
    let mut notes = vec![format!(
        "{name} is sealed, and nothing else is known to be wrong: it is unsealed and nothing is restored. To restore a backup all the same, name it: `--to BACKUP`"
    )];
    notes.extend(without_shares(name, seal));
    // Whatever was written since the backup is still there: only the cluster can be compared.
    let witness: Witness = pair
        .backup
        .record
        .witness
        .iter()
        .filter(|(promise, _)| *promise == CLUSTER)
        .map(|(promise, value)| (promise.clone(), value.clone()))
        .collect();
    let steps = vec![unseal(name), verify_server(pair, Vec::new(), witness)];
    Takeovers { before: Vec::new(), steps, notes }
}

fn replace(scope: Scope<'_>, facts: &Facts, pair: &Pair<'_>, seal: &SealFacts, how: Takeover) -> Takeovers {
    let name = &pair.component.name;
    let mut before = Vec::new();
    if seal.state == SealState::Sealed {
        before.push(unseal(name));
    }
    if how != Takeover::Initialise {
        before.push(safety_copy(scope, facts, pair.component));
    }
    let (filling, steps) = exchange(scope, pair, how);
    before.extend(filling);
    Takeovers { before, steps, notes: notes(scope, pair, seal, how) }
}

/// What writes and judges a backup, and what then puts it into the server.
pub(super) fn exchange(scope: Scope<'_>, pair: &Pair<'_>, how: Takeover) -> (Vec<Step>, Vec<Step>) {
    let (name, backup) = (&pair.component.name, pair.backup);
    let mut before = Vec::new();
    let folder = scope.scratch.join(format!("{name}-snapshot"));
    let places: Vec<PathBuf> =
        (0..backup.record.paths.len()).map(|index| folder.join(index.to_string())).collect();
    let restore = Action::RestoreBeside {
        component: name.clone(),
        backup: backup.id.clone(),
        places: places.clone(),
        absent: Vec::new(),
    };
    let title = format!("write backup {} into scratch", backup.id.short());
    before.push(step(format!("restore:{name}"), GROUP, StepClass::Idempotent, title, restore));
    if backup.record.method == Method::Consistent {
        let mut verify = verify_server(pair, places.clone(), backup.record.witness.clone());
        verify.id = format!("verify:{name}");
        verify.title = format!("compare the hashes of the backup of {name}");
        if let Action::VerifyRestored { loaded, .. } = &mut verify.action {
            *loaded = None;
        }
        before.push(verify);
    }
    let title = match how {
        Takeover::Apply => format!("apply the objects of {name} in the order in which they need each other"),
        Takeover::Command => format!("run the restore command of {name}"),
        Takeover::Same => format!("put the backup in place of all that {name} holds"),
        Takeover::Force => {
            format!("put the backup by force in place of all that {name} holds: it is another cluster")
        }
        Takeover::Initialise => {
            format!("initialise the new server of {name} with throwaway keys, and put the backup in it")
        }
    };
    let action =
        Action::TakeOver { component: name.clone(), backup: backup.id.clone(), places: places.clone(), how };
    let mut steps = vec![step(format!("take-over:{name}"), GROUP, StepClass::Idempotent, title, action)];
    if matches!(how, Takeover::Force | Takeover::Initialise) {
        steps.push(unseal(name));
    }
    // Where a command has put it, only checks can tell.
    if backup.record.method == Method::Consistent && how != Takeover::Command {
        steps.push(verify_server(pair, places, backup.record.witness.clone()));
    }
    (before, steps)
}

fn notes(scope: Scope<'_>, pair: &Pair<'_>, seal: &SealFacts, how: Takeover) -> Vec<String> {
    let (name, at) = (&pair.component.name, pair.backup.record.consistent_at);
    let mut notes = vec![
        format!("everything that was written to {name} after {at} is gone from it afterwards"),
        format!(
            "once open, {name} revokes the leases that are over, and knows none that it gave out after {at}: passwords for databases and clouds of that time stay valid there until a person removes them"
        ),
    ];
    match how {
        Takeover::Initialise => {
            notes.push(format!("{name} is a new server: it holds nothing, and no safety copy is needed"));
        }
        Takeover::Force | Takeover::Same | Takeover::Apply | Takeover::Command => notes.push(format!(
            "the safety copy is the way back: `muster restore {name} --to prerestore-{}`",
            scope.run
        )),
    }
    if how != Takeover::Same {
        notes.push(format!(
            "afterwards {name} is sealed with the ORIGINAL keys, and the original tokens work again; those of the new server do not"
        ));
    }
    if how != Takeover::Same || seal.state == SealState::Sealed {
        notes.extend(without_shares(name, seal));
    }
    notes
}

fn without_shares(name: &str, seal: &SealFacts) -> Option<String> {
    (!seal.has_shares).then(|| {
        format!(
            "no shares of the unseal key of {name} were given: the run stops at the step that unseals it, and goes on with `muster resume RUN --unseal-keys-file FILE`"
        )
    })
}

fn unseal(name: &str) -> Step {
    let action = Action::Unseal { component: name.to_owned() };
    let title = format!("unseal {name} with the keys that people give");
    step(format!("unseal:{name}"), GROUP, StepClass::Idempotent, title, action)
}

fn verify_server(pair: &Pair<'_>, places: Vec<PathBuf>, witness: Witness) -> Step {
    let name = &pair.component.name;
    let action = Action::VerifyRestored {
        component: name.clone(),
        backup: pair.backup.id.clone(),
        places,
        witness,
        assertions: Vec::new(),
        damage: Vec::new(),
        replay: None,
        loaded: pair.component.targets.first().cloned(),
    };
    let title = format!("verify the running {name}");
    step(format!("verify-server:{name}"), GROUP, StepClass::Observe, title, action)
}
