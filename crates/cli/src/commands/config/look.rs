//! What a well-formed configuration still makes somebody look at: paths that are not there, links, globs that are none.
//!
//! In: what was loaded. Out: findings. On a new host nothing is there before the first restore, so an absent path is a
//! warning; what no backup could be taken of is an error.
//!
//! It only asks whether a path exists, and never opens one.

use std::{path::PathBuf, sync::Arc};

use muster_drivers::component;
use muster_types::{Explain, config::Component};

use crate::{
    clock::SystemClock,
    config::{Finding, Loaded},
};

/// Looks at what a configuration names.
pub(super) fn look(loaded: &Loaded) -> Vec<Finding> {
    let platform = &loaded.platform;
    let of_components = platform.components.iter().flat_map(|(name, component)| {
        paths(component).into_iter().map(move |path| (format!("component `{name}`"), path))
    });
    let of_services = platform.services.iter().filter_map(|(name, service)| {
        Some((format!("service `{name}`"), service.compose.as_ref()?.file.clone()))
    });
    let absent = of_components.chain(of_services).filter(|(_, path)| !path.exists()).map(|(what, path)| {
        Finding::warning(format!("{} of {what} is not there", path.display()))
            .hint("correct the path; on a new host that is yet to be restored, nothing is wrong")
    });
    absent.chain(programs(loaded)).chain(links(loaded)).chain(refused(loaded)).collect()
}

/// A proof would find it out only after the whole backup was restored.
fn programs(loaded: &Loaded) -> impl Iterator<Item = Finding> {
    loaded.platform.components.iter().filter_map(|(name, component)| {
        let (folder, program, sample) = match component {
            Component::Postgres(postgres) => (&postgres.bin_dir, "postgres", "/usr/lib/postgresql/15/bin"),
            Component::Redis(redis) => (&redis.bin_dir, "redis-server", "/usr/bin"),
            Component::Etcd(etcd) => (&etcd.bin_dir, "etcd", "/usr/bin"),
            // The program of a Vault is called `vault` or `bao`.
            Component::Vault(_)
            | Component::Sqlite(_)
            | Component::Files(_)
            | Component::Kubernetes(_)
            | Component::Command(_) => {
                return None;
            }
        };
        let folder = folder.as_ref().filter(|folder| !folder.join(program).is_file())?;
        let message =
            format!("`bin_dir` {} of component `{name}` has no program `{program}`", folder.display());
        Some(
            Finding::warning(message)
                .hint(format!("name the folder of the server's programs, such as {sample}")),
        )
    })
}

/// A restore would replace a link and leave what it points to, so no backup is taken through one.
fn links(loaded: &Loaded) -> impl Iterator<Item = Finding> {
    let named = loaded
        .platform
        .components
        .iter()
        .flat_map(|(name, one)| paths(one).into_iter().map(move |path| (name, path)));
    named.filter(|(_, path)| path.is_symlink()).map(|(name, path)| {
        Finding::error(format!("{} of component `{name}` is a symbolic link", path.display()))
            .hint("name the folder or file that it points to")
    })
}

/// What a driver would refuse at the first backup: globs that are none.
fn refused(loaded: &Loaded) -> impl Iterator<Item = Finding> {
    loaded.platform.components.iter().filter_map(|(name, definition)| {
        let error = component::open(name, definition, Arc::new(SystemClock)).err()?;
        let finding = Finding::error(format!("component `{name}`: {error}"));
        Some(match error.hint() {
            Some(hint) => finding.hint(hint.0),
            None => finding,
        })
    })
}

fn paths(component: &Component) -> Vec<PathBuf> {
    match component {
        Component::Sqlite(sqlite) => sqlite.path.iter().cloned().collect(),
        Component::Files(files) => files.paths.clone(),
        Component::Postgres(postgres) => postgres.data_dir.iter().cloned().collect(),
        Component::Etcd(etcd) => etcd.data_dirs(),
        Component::Redis(_) | Component::Vault(_) | Component::Kubernetes(_) | Component::Command(_) => {
            Vec::new()
        }
    }
}
