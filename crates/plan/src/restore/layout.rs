//! Where a backup is written, and what then goes in whose place: of a folder, of a cluster, inside a running server.
//!
//! In: a component, its backup and the configuration. Out: places and moves, as values. What differs by the kind of a
//! component stands here and nowhere else in the planner. It never looks at a disk or a server.

use std::path::{Path, PathBuf};

use muster_types::{
    backup::Backup,
    config::Component,
    place,
    plan::{Holder, SwapMove},
};

use super::Pair;
use crate::{PlanError, origin::is_dump, scope::Scope};

/// Servers that have room for one content only: what stands beside it lies on this host.
const ONE_CONTENT: &str = "/redis";
/// The folder for that, in the folder of the state.
const KEPT: &str = "kept";

/// Where a backup is written, and what then goes where.
pub(super) struct Layout {
    pub(super) holder: Holder,
    /// One for each path of the backup.
    pub(super) places: Vec<PathBuf>,
    pub(super) moves: Vec<SwapMove>,
}

impl Pair<'_> {
    /// Lays out where the backup goes in place.
    pub(super) fn layout_in_place(&self, scope: Scope<'_>) -> Result<Layout, PlanError> {
        if !is_dump(self.backup) {
            return self.layout(scope, &self.targets(scope)?);
        }
        let holder = Holder::Server;
        let paths = &self.backup.record.paths;
        let folder = scope.scratch.join(format!("{}-dump", self.component.name));
        let places = (0..paths.len()).map(|index| folder.join(index.to_string())).collect();
        Ok(Layout {
            holder,
            places,
            moves: paths.iter().map(|path| swap_move(scope, holder, path)).collect(),
        })
    }

    /// Where the backup goes in place, in the order of its paths.
    fn targets(&self, scope: Scope<'_>) -> Result<Vec<PathBuf>, PlanError> {
        let name = &self.component.name;
        let mut targets = targets_of(scope, name);
        if matches!(scope.platform.components.get(name), Some(Component::Postgres(_))) {
            if targets.is_empty() {
                return Err(PlanError::NoPlace { component: name.clone() });
            }
            // Tablespaces belong to a cluster and not to the configuration: they go where they were.
            targets.extend(self.backup.record.paths.iter().skip(1).cloned());
        }
        if targets.is_empty() && matches!(scope.platform.components.get(name), Some(Component::Etcd(_))) {
            return Err(PlanError::NoPlace { component: name.clone() });
        }
        Ok(targets)
    }

    /// Lays out where the backup goes, for `targets` in the order of its paths.
    ///
    /// What a running server takes in goes through a folder of the run's own.
    ///
    /// A raw backup of a database may hold its log as a file of its own (`app.db-wal`): it is written beside the
    /// restored database under the database's name, and goes in place in the same move.
    pub(super) fn layout(&self, scope: Scope<'_>, targets: &[PathBuf]) -> Result<Layout, PlanError> {
        let paths = &self.backup.record.paths;
        let holder = Holder::Folder;
        let moves: Vec<SwapMove> = targets.iter().map(|target| swap_move(scope, holder, target)).collect();
        if paths.len() == targets.len() {
            return Ok(Layout { holder, places: moves.iter().map(|one| one.from.clone()).collect(), moves });
        }
        // One snapshot becomes the data directories of all members; it is written beside the first one.
        if self.backup.record.identity.kind == "etcd"
            && let ([_], Some(first)) = (paths.as_slice(), moves.first())
        {
            return Ok(Layout { holder, places: vec![first.from.clone()], moves });
        }
        let place = |path: &PathBuf| {
            moves.iter().find_map(|one| {
                let rest = path
                    .as_os_str()
                    .as_encoded_bytes()
                    .strip_prefix(one.target.as_os_str().as_encoded_bytes())?;
                let mut place = one.from.clone().into_os_string();
                place.push(
                    std::str::from_utf8(rest).ok().filter(|rest| rest.is_empty() || rest.starts_with('-'))?,
                );
                Some(PathBuf::from(place))
            })
        };
        let places: Option<Vec<PathBuf>> = paths.iter().map(place).collect();
        match places {
            Some(places) if targets.iter().all(|target| paths.contains(target)) => {
                Ok(Layout { holder, places, moves })
            }
            _ => Err(PlanError::OtherShape {
                backup: self.backup.id.short().to_owned(),
                component: self.component.name.clone(),
                found: paths.len(),
                expected: targets.len(),
            }),
        }
    }
}

fn swap_move(scope: Scope<'_>, holder: Holder, target: &Path) -> SwapMove {
    SwapMove {
        from: beside(scope, holder, target, Beside::New),
        target: target.to_owned(),
        kept: beside(scope, holder, target, Beside::Old),
    }
}

/// What stands beside a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    /// The restored state, until the swap.
    New,
    /// The former state, from then on.
    Old,
}

/// A name beside the target that tells the run, so that moving there is one rename; in a folder it is hidden.
pub(crate) fn beside(scope: Scope<'_>, holder: Holder, target: &Path, what: Beside) -> PathBuf {
    let run = scope.run;
    if holder == Holder::Server && target.starts_with(ONE_CONTENT) {
        // It outlives the run, so it lies beside the folder of all scratch.
        let state = scope.scratch.ancestors().nth(2).unwrap_or(Path::new("/"));
        let ending = if what == Beside::New { "new" } else { "old" };
        return state.join(KEPT).join(format!("{run}.{}.{ending}", place::name_in_server(target)));
    }
    if holder == Holder::Server {
        let word = if what == Beside::New { "muster" } else { "before" };
        // A name that SQL reads without quotes: a person will type it.
        let run = run.0.to_lowercase().replace('-', "_");
        return place::beside_in_server(target, &format!("_{word}_{run}"));
    }
    let mut name = std::ffi::OsString::from(format!(".muster-{run}."));
    name.push(target.file_name().unwrap_or_default());
    name.push(if what == Beside::New { ".new" } else { ".old" });
    target.with_file_name(name)
}

/// Returns the component's own paths, as the configuration gives them; of a cluster the data directory.
fn targets_of(scope: Scope<'_>, component: &str) -> Vec<PathBuf> {
    match scope.platform.components.get(component) {
        Some(Component::Sqlite(sqlite)) => sqlite.path.iter().cloned().collect(),
        Some(Component::Files(files)) => files.paths.clone(),
        Some(Component::Postgres(postgres)) => postgres.data_dir.iter().cloned().collect(),
        Some(Component::Etcd(etcd)) => etcd.data_dirs(),
        // They have a place in their server only.
        Some(
            Component::Redis(_) | Component::Vault(_) | Component::Kubernetes(_) | Component::Command(_),
        )
        | None => Vec::new(),
    }
}

/// Returns where a backup goes when a person names a place for it; `is_folder` says whether a folder stands there now.
///
/// **Shape**: one absolute path for each path of the backup, in its order.
pub fn targets_into(scope: Scope<'_>, backup: &Backup, into: &Path, is_folder: bool) -> Vec<PathBuf> {
    let name = &backup.record.identity.component;
    let component = scope.platform.components.get(name);
    let own = targets_of(scope, name);
    let paths = if backup.record.paths.is_empty() { &own } else { &backup.record.paths };
    match (component, paths.as_slice()) {
        // The data directory is what was asked for; its tablespaces lie beside it, by their numbers.
        (Some(Component::Postgres(_)), [_, others @ ..]) => {
            let mut name = into.file_name().unwrap_or_default().to_owned();
            name.push("-tablespaces");
            let beside = into.with_file_name(name);
            let tablespaces = (1..=others.len()).map(|index| beside.join(index.to_string()));
            std::iter::once(into.to_owned()).chain(tablespaces).collect()
        }
        // A folder for each member, under its name: they are brought to their hosts from there.
        (Some(Component::Etcd(etcd)), [_]) if etcd.members.len() > 1 => {
            etcd.members.iter().map(|member| into.join(&member.name)).collect()
        }
        // A file goes into a folder, a folder takes the place of an empty one.
        (Some(Component::Sqlite(_)), [one]) if is_folder => {
            vec![into.join(one.file_name().unwrap_or_default())]
        }
        (_, [_]) => vec![into.to_owned()],
        (_, several) => several.iter().map(|path| into.join(path.file_name().unwrap_or_default())).collect(),
    }
}
