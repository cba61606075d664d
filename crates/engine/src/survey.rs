//! Survey: everything that a plan rests on, read once.
//!
//! Facts come from the components' drivers, the repository and the journal. Nothing is changed and nothing is decided:
//! a damaged or absent component is a fact, not an error.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use muster_repo::{Location, Repo, RepoError, Standing};
use muster_types::{
    backup::Backup,
    config::MissingSecret,
    facts::{ComponentFacts, CopyContent, CopyFacts, Facts},
    wal::{ReceiverStatus, WalFacts},
};

use crate::{EngineError, fold, world::World};

/// Reads the facts about the named components, in that order, and all backups and proofs of the environment.
///
/// # Errors
/// `Unknown` for a name that the configuration does not have; errors of the repository and of the journal.
pub fn survey(world: &World, names: &[String]) -> Result<Facts, EngineError> {
    // What is wrong with the archive of logs is in `muster reach` and `muster verify`; what is not in the facts of it
    // is not used.
    let (wal, _) = world.repo.wal().facts()?;
    survey_with(world, names, wal)
}

/// As [`survey`], where the archive of logs was listed already.
///
/// # Errors
/// As [`survey`].
pub fn survey_with(world: &World, names: &[String], wal: Vec<WalFacts>) -> Result<Facts, EngineError> {
    let components: Vec<ComponentFacts> = names
        .iter()
        .map(|name| world.component(name).and_then(|driver| Ok(driver.survey()?)))
        .collect::<Result<_, _>>()?;
    let events = world.journal.events()?;
    let mut listing = world.repo.list()?;
    let elsewhere = elsewhere(world, &mut listing.backups);
    Ok(Facts {
        now: world.clock.now(),
        host: world.host.clone(),
        components,
        backups: listing.backups,
        proofs: fold::proofs(&events, world.from.as_deref()),
        unreadable: listing.unreadable.iter().map(ToString::to_string).collect(),
        wal,
        receivers: names.iter().filter_map(|name| receiver(&world.state, name)).collect(),
        elsewhere,
    })
}

/// Returns the backups of this platform and environment.
///
/// A backup of another environment in the same repository is left out, so that no target can mean it.
///
/// # Errors
/// Those of the repository.
pub fn backups(world: &World) -> Result<Vec<Backup>, EngineError> {
    Ok(ours(world, world.repo.backups()?))
}

/// Leaves out the backups of other platforms and environments.
pub fn ours(world: &World, mut backups: Vec<Backup>) -> Vec<Backup> {
    elsewhere(world, &mut backups);
    backups
}

/// Looks at every copy of the repository. One that cannot be looked at is a fact, not an error.
///
/// `locations` are those of the configuration, or with less patience.
pub fn copies(
    world: &World,
    locations: &BTreeMap<String, Result<Location, MissingSecret>>,
) -> Vec<CopyFacts> {
    let look = |location: &Location| -> Result<Option<CopyContent>, RepoError> {
        if Repo::standing(location)? == Standing::Nothing {
            return Ok(None);
        }
        let copy = world.repo.open_copy(location)?;
        let mut backups = copy.list()?.backups;
        elsewhere(world, &mut backups);
        Ok(Some(CopyContent { backups, wal: copy.wal().facts()?.0 }))
    };
    let one = |(name, location): (&String, &Result<Location, MissingSecret>)| {
        let (shown, holds) = match location {
            Ok(location) => (location.to_string(), look(location).map_err(|error| describe(&error))),
            Err(missing) => (String::new(), Err(missing.message.clone())),
        };
        let error = holds.as_ref().err().cloned();
        CopyFacts { name: name.clone(), location: shown, holds: holds.ok().flatten(), error }
    };
    locations.iter().map(one).collect()
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &RepoError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Takes out the backups of other platforms and environments.
fn elsewhere(world: &World, backups: &mut Vec<Backup>) -> Vec<Backup> {
    let is_ours = |backup: &mut Backup| {
        let identity = &backup.record.identity;
        identity.platform == world.platform.platform && identity.environment == world.environment
    };
    backups.extract_if(.., |backup| !is_ours(backup)).collect()
}

/// Returns where the receiver of a component's log says how far it is.
pub fn receiver_file(state: &Path, component: &str) -> PathBuf {
    state.join("wal").join(format!("{component}.json"))
}

/// Reads what the receiver of a component's log has said last; none when there is none on this host.
pub fn receiver(state: &Path, component: &str) -> Option<ReceiverStatus> {
    serde_json::from_slice(&std::fs::read(receiver_file(state, component)).ok()?).ok()
}
