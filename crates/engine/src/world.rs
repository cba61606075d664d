//! Everything that a run touches, opened once by `cli` and handed to the engine.
//!
//! It holds no request and no decision. Drivers stand behind their traits: the engine never asks for a kind.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use muster_drivers::{component::ComponentDriver, services::ServiceDriver};
use muster_repo::{Location, Repo};
use muster_types::{
    Clock,
    config::{MissingSecret, Platform},
    event::{Event, Watcher},
};

use crate::{EngineError, journal::Journal};

/// Everything that a run touches.
pub struct World {
    /// The merged configuration.
    pub platform: Platform,
    /// The environment; `default` where there is only one.
    pub environment: String,
    /// This host's name.
    pub host: String,
    /// Who asks.
    pub operator: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The folder of the journal, the locks and the scratch folders.
    pub state: PathBuf,
    /// The journal.
    pub journal: Journal,
    /// The repository, or the copy of it that a person has named.
    pub repo: Repo,
    /// The name of the copy that `repo` is; `None`: the repository itself.
    pub from: Option<String>,
    /// Where the repository's copies are, or why one cannot be used.
    pub copies: BTreeMap<String, Result<Location, MissingSecret>>,
    /// What travels with the journal into the repository.
    pub papers: Papers,
    /// The components' drivers.
    pub components: BTreeMap<String, Box<dyn ComponentDriver>>,
    /// The services' drivers.
    pub services: BTreeMap<String, Box<dyn ServiceDriver>>,
    /// The version of Muster, written into backups.
    pub version: &'static str,
}

/// The files that a person has written for Muster: configuration and runbooks.
#[derive(Debug, Clone, Default)]
pub struct Papers {
    /// The folder of the configuration.
    pub folder: PathBuf,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// Watches a run: lasting events, and the progress inside a step.
pub trait Observer: Watcher {
    /// A lasting event, after it was journaled.
    fn on_event(&self, event: &Event);
}

impl Observer for muster_types::event::Unwatched {
    fn on_event(&self, _event: &Event) {}
}

impl World {
    /// Returns the folder that holds the scratch folders of runs.
    pub fn scratch_root(&self) -> PathBuf {
        self.state.join("scratch")
    }

    /// Returns the folder of the locks.
    pub fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// Returns a component's driver.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn component(&self, name: &str) -> Result<&dyn ComponentDriver, EngineError> {
        self.components
            .get(name)
            .map(AsRef::as_ref)
            .ok_or_else(|| EngineError::Unknown { what: "component", name: name.to_owned() })
    }

    /// Returns where a copy of the repository is.
    ///
    /// # Errors
    /// `Unknown`; `CopyUnusable` when a secret of it is missing.
    pub fn copy(&self, name: &str) -> Result<&Location, EngineError> {
        match self.copies.get(name) {
            Some(Ok(location)) => Ok(location),
            Some(Err(missing)) => Err(EngineError::CopyUnusable {
                message: missing.message.clone(),
                hint: missing.hint.clone(),
            }),
            None => Err(EngineError::Unknown { what: "copy", name: name.to_owned() }),
        }
    }

    /// Returns a service's driver.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn service(&self, name: &str) -> Result<&dyn ServiceDriver, EngineError> {
        self.services
            .get(name)
            .map(AsRef::as_ref)
            .ok_or_else(|| EngineError::Unknown { what: "service", name: name.to_owned() })
    }

    /// Returns a check's definition.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn check(&self, name: &str) -> Result<&muster_types::config::Check, EngineError> {
        self.platform
            .checks
            .get(name)
            .ok_or_else(|| EngineError::Unknown { what: "check", name: name.to_owned() })
    }
}
