//! Survey: everything that a plan rests on, read once.
//!
//! Facts come from the components' drivers, the repository and the journal. Nothing is changed and nothing is decided:
//! a damaged or absent component is a fact, not an error.

use muster_types::{
    backup::Backup,
    facts::{ComponentFacts, Facts},
};

use crate::{EngineError, fold, world::World};

/// Reads the facts about the named components, in that order, and all backups and proofs of the environment.
///
/// # Errors
/// `Unknown` for a name that the configuration does not have; errors of the repository and of the journal.
pub fn survey(world: &World, names: &[String]) -> Result<Facts, EngineError> {
    let components: Vec<ComponentFacts> = names
        .iter()
        .map(|name| world.component(name).and_then(|driver| Ok(driver.survey()?)))
        .collect::<Result<_, _>>()?;
    let events = world.journal.events()?;
    let listing = world.repo.list()?;
    Ok(Facts {
        now: world.clock.now(),
        host: world.host.clone(),
        components,
        backups: ours(world, listing.backups),
        proofs: fold::proofs(&events),
        unreadable: listing.unreadable.iter().map(ToString::to_string).collect(),
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
    backups.retain(|backup| {
        let identity = &backup.record.identity;
        identity.platform == world.platform.platform && identity.environment == world.environment
    });
    backups
}
