//! Components of kind `vault`: a Vault or OpenBao server with Raft storage, over HTTP alone.
//!
//! In: an address, a token or an AppRole, and for some runs the shares of the unseal key that people give. Out: facts, a
//! Raft snapshot as a source, the judgement on it by a scratch server, and a running server with the state of a backup.
//!
//! ```text
//! server ─► snapshot, hashes compared ─► source ─► repository
//! repository ─► snapshot ─► scratch server, sealed ─► opened with people's shares ─► canary ─► proven
//!                       └─► running server (take over) ─► opened with the ORIGINAL shares ─► canary
//! ```
//!
//! What is in a snapshot can be read only with the keys that people hold: Muster never keeps one. It never takes a lease
//! and never lets a scratch server reach a network. Read next: `backup.rs`, `over.rs`, `proof.rs`.

mod anew;
mod archive;
mod backup;
mod known;
mod look;
mod over;
mod proof;
mod seal;
mod server;
pub(crate) mod stored;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::source::Source;
use muster_types::{
    Clock, Kind,
    anew::Anew,
    backup::Method,
    config::VaultComponent,
    event::Watcher,
    facts::{ComponentFacts, SealFacts, SealState},
    place::in_server,
    plan::{SwapMove, Takeover},
};

use self::server::Server;
use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    look::Look,
    server::Told,
    swap,
};

/// Names of the witness that this version knows.
const KNOWN: [&str; 5] = ["cluster", "index", "term", "state", "canary"];

/// The driver of one `vault` component.
pub struct VaultDriver {
    name: String,
    component: VaultComponent,
    clock: Arc<dyn Clock>,
}

impl VaultDriver {
    /// Makes the driver of the component `name`; asks nobody.
    ///
    /// # Errors
    /// `Config`: no URL, one that cannot be read, a certificate that cannot be read.
    pub fn new(name: &str, component: &VaultComponent, clock: Arc<dyn Clock>) -> Result<Self, DriverError> {
        if component.url.is_none() {
            return Err(DriverError::new(Kind::Config, format!("component `{name}` has no url"))
                .with_hint("write `url: https://vault:8200`"));
        }
        Server::new(component)?;
        Ok(Self { name: name.to_owned(), component: component.clone(), clock })
    }

    fn url(&self) -> String {
        self.component.url.clone().unwrap_or_default().trim_end_matches('/').to_owned()
    }

    fn refuse_unknown(&self, asked: &Verification<'_>) -> Result<(), DriverError> {
        let Some(unknown) = asked.witness.keys().find(|name| !KNOWN.contains(&name.as_str())) else {
            return Ok(());
        };
        let message =
            format!("the backup of `{}` promises `{unknown}`, which this version cannot compute", self.name);
        Err(DriverError::new(Kind::Unavailable, message)
            .with_hint("use the version of Muster that took the backup, or a newer one"))
    }
}

impl ComponentDriver for VaultDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        let has_shares = !self.component.unseal_keys.is_empty();
        let status = Server::new(&self.component)?.status().ok();
        let silent = SealFacts { state: SealState::Silent, cluster_id: None, has_shares };
        let seal = status.as_ref().map_or(silent, |status| status.facts(has_shares));
        Ok(ComponentFacts {
            name: self.name.clone(),
            source: self.url(),
            is_present: status.is_some(),
            has_data: status.is_some_and(|status| status.is_initialised),
            size_bytes: 0,
            fingerprint: None,
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: self.targets(),
            seal: Some(seal),
        })
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        look::look(&self.component, watcher)
    }

    fn standing(&self, _watcher: &dyn Watcher) -> Result<serde_json::Value, DriverError> {
        let status = Server::new(&self.component)?.status()?;
        Ok(serde_json::json!({
            "initialized": status.is_initialised,
            "sealed": status.is_sealed,
            "standby": status.is_standby,
            "version": status.version,
            "storage": status.storage,
            "cluster_id": status.cluster_id,
        }))
    }

    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        backup::take(&self.component, method, &self.clock, scratch, watcher)
    }

    fn targets(&self) -> Vec<PathBuf> {
        vec![in_server("vault", &self.url())]
    }

    fn verify(&self, asked: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        self.refuse_unknown(asked)?;
        if asked.loaded.is_some() {
            return over::verify_live(self, asked, watcher);
        }
        let Some(place) = asked.places.first() else {
            return Err(DriverError::new(Kind::Bug, "a backup without a place is to be verified"));
        };
        watcher.begin("compare the archive's hashes", None);
        let description = over::check_archive(self, place, Some(asked))?;
        if asked.is_proof {
            return proof::prove(self, place, &description, asked, watcher);
        }
        Ok("archive hashes good".to_owned().into())
    }

    fn unseal(&self, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        let server = Server::new(&self.component)?;
        let status = seal::open(&server, &self.component.unseal_keys, None, watcher)?;
        let cluster = status.cluster_id.unwrap_or_default();
        Ok(Told { summary: format!("{} is open, cluster {cluster}", server.url()), warnings: Vec::new() })
    }

    fn take_over(&self, place: &Path, how: Takeover, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        over::take_over(self, place, how, watcher)
    }

    fn start_anew(
        &self,
        places: &[PathBuf],
        request: &Anew,
        watcher: &dyn Watcher,
    ) -> Result<Told, DriverError> {
        anew::start_anew(self, places, request, watcher)
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        // Its files are the server's own: a restore goes through the server, or beside.
        Ok(())
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        swap::swap(moves, &[])
    }
}
