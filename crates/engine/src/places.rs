//! The places of a swap, whoever holds them: paths on this host's disks, or names inside a running server.
//!
//! In: what a plan names. Out: whether it is there, how far a swap has come, and what is removed. For folders it looks at
//! the disk; for a server it asks the component's driver, and a server that does not answer is an error, never "not there".
//!
//! It never decides what is swapped or removed. Read next: `execute/actions.rs`, `sweep.rs`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_drivers::{
    server::{ServerPlaces, Told},
    swap,
};
use muster_types::{
    event::Watcher,
    plan::{Holder, KeptData, SwapMove},
};

use crate::{EngineError, world::World};

/// Who is asked about the places of one component.
pub(crate) enum Places<'a> {
    Folder,
    Server(&'a dyn ServerPlaces),
}

impl<'a> Places<'a> {
    /// Finds who is asked.
    ///
    /// # Errors
    /// `Unknown`: the configuration has no such component, or none with a server, any more.
    pub(crate) fn of(world: &'a World, component: &str, holder: Holder) -> Result<Self, EngineError> {
        if holder == Holder::Folder {
            return Ok(Self::Folder);
        }
        let server = world.component(component)?.server();
        let name = || component.to_owned();
        server
            .map(Self::Server)
            .ok_or_else(|| EngineError::Unknown { what: "server of component", name: name() })
    }

    /// Tells whether a place is there.
    pub(crate) fn is_there(&self, place: &Path) -> Result<bool, EngineError> {
        match self {
            Self::Folder => Ok(place.symlink_metadata().is_ok()),
            Self::Server(server) => Ok(server.is_there(place)?),
        }
    }

    /// Tells whether a move stopped between two effects.
    pub(crate) fn is_half_done(&self, one: &SwapMove) -> Result<bool, EngineError> {
        match self {
            Self::Folder => Ok(swap::is_half_done(one)),
            Self::Server(server) => Ok(server.is_half_done(one)?),
        }
    }

    /// Tells whether one of them did.
    pub(crate) fn is_any_half_done(&self, moves: &[SwapMove]) -> Result<bool, EngineError> {
        for one in moves {
            if self.is_half_done(one)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells whether the first effect of a row of moves has happened.
    pub(crate) fn has_begun(&self, moves: &[SwapMove]) -> Result<bool, EngineError> {
        match self {
            Self::Folder => Ok(swap::has_begun(moves)),
            Self::Server(_) => {
                for one in moves {
                    if self.is_half_done(one)? || !self.is_there(&one.from)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// Removes a place of a run, in a folder with what a database keeps beside it; absent is fine.
    ///
    /// # Errors
    /// `State`; what the server refuses.
    pub(crate) fn remove(&self, place: &Path) -> Result<(), EngineError> {
        match self {
            Self::Folder => remove_all_of(place).map_err(|(path, source)| EngineError::State {
                operation: "remove",
                path,
                source,
            }),
            Self::Server(server) => Ok(server.remove(place)?),
        }
    }
}

/// Swaps, as whoever holds the places does it.
pub(crate) fn swap(
    world: &World,
    component: &str,
    holder: Holder,
    moves: &[SwapMove],
    watcher: &dyn Watcher,
) -> Result<Told, EngineError> {
    match Places::of(world, component, holder)? {
        Places::Folder => {
            world.component(component)?.swap(moves)?;
            Ok(Told::default())
        }
        Places::Server(server) => Ok(server.swap(moves, watcher)?),
    }
}

/// Removes what a restore has moved aside.
pub(crate) fn remove_kept(world: &World, kept: &KeptData) -> Result<(), EngineError> {
    let places = Places::of(world, &kept.component, kept.holder)?;
    kept.moves.iter().try_for_each(|one| places.remove(&one.kept))
}

/// Says in one line what was not removed and why.
pub(crate) fn leftover(error: &EngineError) -> String {
    let why = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{why}; it only takes up room")
}

/// Removes what stands at `path`, with what a database keeps beside it (`…-wal`).
///
/// The names are a run's own, so whatever begins with one of them belongs to it.
fn remove_all_of(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err((folder.to_owned(), error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| (folder.to_owned(), error))?;
        if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            remove_tree(&entry.path()).map_err(|error| (entry.path(), error))?;
        }
    }
    Ok(())
}

/// Removes a file or a folder with all that is in it; absent is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
