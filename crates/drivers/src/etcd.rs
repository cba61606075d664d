//! Components of kind `etcd`: a cluster of one or several members.
//!
//! In: a client URL; for a restore the data directories on this host, and names and peers of the members. Out: facts, a
//! snapshot as a source, the judgement on it by a scratch server, and data directories in place of the former ones.
//!
//! ```text
//! server ─► snapshot, hash compared ─► source ─► repository
//! repository ─► snapshot beside ─► one data directory per member ─► swap, the first member last
//! ```
//!
//! A restore makes a new cluster with the same keys: members of the old one do not join it. The server is only read, and
//! is never started or stopped here. Read next: `backup.rs`, `verify.rs`, `tool.rs`, `raise.rs`.

mod api;
mod backup;
mod look;
mod raise;
mod scratch;
mod tool;
mod verify;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::{durable, source::Source};
use muster_types::{
    Clock, Kind,
    backup::Method,
    config::{EtcdComponent, EtcdMember, FilesComponent},
    event::{Unwatched, Watcher},
    facts::ComponentFacts,
    plan::SwapMove,
    text::hex,
};
use sha2::{Digest, Sha256};

use self::{
    api::Api,
    backup::{Description, SNAPSHOT},
    tool::{Cluster, Tool},
};
use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    files::FilesDriver,
    http::Client,
    look::Look,
    snapshot::{SERVER, failed, read_server},
    swap,
};

/// The driver of one `etcd` component.
pub struct EtcdDriver {
    name: String,
    component: EtcdComponent,
    clock: Arc<dyn Clock>,
}

impl EtcdDriver {
    /// Makes the driver of the component `name`; asks nobody.
    ///
    /// # Errors
    /// `Config`: no URL, one that cannot be read, a relative path, a member without a name, two with the same one.
    pub fn new(name: &str, component: &EtcdComponent, clock: Arc<dyn Clock>) -> Result<Self, DriverError> {
        let Some(url) = &component.url else {
            return Err(DriverError::new(Kind::Config, format!("component `{name}` has no url"))
                .with_hint("write `url: https://etcd:2379`"));
        };
        Client::new(url, &component.tls, "https://etcd:2379")?;
        let refuse = |what: String, hint: &str| Err(DriverError::new(Kind::Config, what).with_hint(hint));
        for path in component.data_dirs() {
            if !path.is_absolute() || path.file_name().is_none() {
                return refuse(
                    format!("data_dir `{}` of component `{name}` is not absolute", path.display()),
                    "write it from `/` on",
                );
            }
        }
        for (index, member) in component.members.iter().enumerate() {
            let is_plain = !member.name.is_empty() && !member.name.contains(['=', ',', '/']);
            if !is_plain || !member.peer_url.contains("://") || member.peer_url.contains(',') {
                return refuse(
                    format!("member {} of component `{name}` has no name or no peer URL", index + 1),
                    "write `{name: etcd-1, peer_url: \"http://10.0.0.1:2380\", data_dir: /var/lib/etcd}`",
                );
            }
            let is_twice = |other: &EtcdMember| {
                other.name == member.name
                    || other.peer_url == member.peer_url
                    || other.data_dir == member.data_dir
            };
            if component.members.iter().skip(index + 1).any(is_twice) {
                return refuse(
                    format!("two members of component `{name}` share a name, a peer URL or a data directory"),
                    "give each member its own",
                );
            }
        }
        Ok(Self { name: name.to_owned(), component: component.clone(), clock })
    }

    /// Returns what reads and judges the data directories as files, when they are on this host.
    fn local(&self) -> Result<FilesDriver, DriverError> {
        let paths = self.component.data_dirs();
        if paths.is_empty() {
            return Err(DriverError::new(
                Kind::Config,
                format!("component `{}` does not say where its data directory is on this host", self.name),
            )
            .with_hint("add `data_dir: /var/lib/etcd/default`, or restore with `--into FOLDER`"));
        }
        let component = FilesComponent { paths, ..FilesComponent::default() };
        FilesDriver::new(&self.name, &component, self.clock.clone())
    }

    fn source(&self) -> String {
        self.component.url.clone().unwrap_or_default().trim_end_matches('/').to_owned()
    }

    /// The members that a restore of `description` makes.
    fn members(&self, description: &Description) -> Vec<EtcdMember> {
        if !self.component.members.is_empty() {
            return self.component.members.clone();
        }
        let data_dir = self.component.data_dir.clone().unwrap_or_default();
        // A cluster of one goes on under its own name.
        if let [only] = description.members.as_slice()
            && let Some(peer_url) = only.peer_urls.first()
        {
            let name = if only.name.is_empty() { "default".to_owned() } else { only.name.clone() };
            return vec![EtcdMember { name, peer_url: peer_url.clone(), data_dir }];
        }
        vec![EtcdMember { name: "default".into(), peer_url: "http://localhost:2380".into(), data_dir }]
    }

    /// Makes the data directory of every member, beside its place; nothing is in place yet.
    ///
    /// The snapshot goes last: while it is there, a call after a crash makes what is missing.
    fn make_data(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        let Some(first) = moves.first() else { return Ok(()) };
        let snapshot = first.from.join(SNAPSHOT);
        if !snapshot.exists() {
            return Ok(());
        }
        let members = self.members(&read_server(&self.name, &first.from)?);
        if members.len() != moves.len() {
            let message =
                format!("`{}` has {} members, and {} places", self.name, members.len(), moves.len());
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("was `members` changed meanwhile? plan the restore again"));
        }
        let tool = Tool::find(self.component.bin_dir.as_deref(), &Unwatched)?;
        // The same after a crash, and another for every restore.
        let token = hex(Sha256::digest(first.from.as_os_str().as_encoded_bytes()));
        let token = format!("muster-{}", token.get(..16).unwrap_or_default());
        let cluster = Cluster {
            component: &self.name,
            snapshot: &snapshot,
            members: &members,
            token: &token,
            may_bump: true,
        };
        for (number, one) in moves.iter().enumerate() {
            tool::make_member_folder(&one.from)?;
            tool.make(&cluster, number, &one.from, &Unwatched)?;
        }
        for one in moves {
            tool::give_to_owner_of(&one.target, &one.from)?;
            durable::sync_folder(&one.from).map_err(|error| failed("sync", &one.from, error))?;
        }
        remove(&snapshot)
    }
}

fn remove(path: &Path) -> Result<(), DriverError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, error)),
        _ => Ok(()),
    }
}

impl ComponentDriver for EtcdDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        let status = Api::open(&self.component).and_then(|api| api.status()).ok();
        let fingerprint =
            status.as_ref().map(|status| backup::fingerprint(&status.cluster_id, status.revision));
        if !self.component.data_dirs().is_empty() {
            let local = self.local()?.survey()?;
            return Ok(ComponentFacts {
                source: self.source(),
                fingerprint,
                targets: self.targets(),
                ..local
            });
        }
        Ok(ComponentFacts {
            name: self.name.clone(),
            source: self.source(),
            is_present: status.is_some(),
            has_data: status.is_some(),
            size_bytes: status.map_or(0, |status| status.db_bytes),
            fingerprint,
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: self.targets(),
            seal: None,
        })
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        Ok(look::look(&self.component, watcher))
    }

    fn standing(&self, _watcher: &dyn Watcher) -> Result<serde_json::Value, DriverError> {
        look::standing(&self.component)
    }

    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        match method {
            Method::Raw => self.local()?.open_source(method, scratch, watcher),
            Method::Consistent => backup::take(&self.component, &self.clock, scratch, watcher),
        }
    }

    fn targets(&self) -> Vec<PathBuf> {
        self.component.data_dirs()
    }

    fn verify(&self, asked: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        verify::verify(self, asked, watcher)
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        if self.component.data_dirs().is_empty() { Ok(()) } else { self.local()?.check_unused() }
    }

    fn has_begun(&self, moves: &[SwapMove]) -> bool {
        // While the snapshot is there, data directories are still being made: those that are missing were not moved.
        let is_being_made = moves.first().is_some_and(|first| first.from.join(SNAPSHOT).exists());
        !is_being_made && swap::has_begun(moves)
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        self.make_data(moves)?;
        // What etcd does not know in its folder it warns of.
        for place in moves.first().iter().flat_map(|first| [&first.from, &first.target]) {
            if place.join(tool::MEMBER).exists() {
                remove(&place.join(SERVER))?;
            }
        }
        // The first one holds what a repeated call needs: it goes last.
        let (first, others) = moves.split_at(moves.len().min(1));
        let last: Vec<SwapMove> = others.iter().chain(first).cloned().collect();
        swap::swap(&last, &[])
    }
}
