//! What a sound configuration still makes somebody look at: paths that are not there.
//!
//! In: what was loaded. Out: warnings. On a new host nothing is there before the first restore, so none is an error.
//!
//! It only asks whether a path exists, and never opens one.

use std::path::PathBuf;

use muster_types::config::Component;

use crate::config::{Finding, Loaded};

/// Looks at what a configuration names.
pub(super) fn look(loaded: &Loaded) -> Vec<Finding> {
    let platform = &loaded.platform;
    let of_components = platform.components.iter().flat_map(|(name, component)| {
        paths(component).into_iter().map(move |path| (format!("component `{name}`"), path))
    });
    let of_services = platform.services.iter().filter_map(|(name, service)| {
        Some((format!("service `{name}`"), service.compose.as_ref()?.file.clone()))
    });
    of_components
        .chain(of_services)
        .filter(|(_, path)| !path.exists())
        .map(|(what, path)| {
            Finding::warning(format!("{} of {what} is not there", path.display()))
                .hint("correct the path; on a new host that is yet to be restored, nothing is wrong")
        })
        .collect()
}

fn paths(component: &Component) -> Vec<PathBuf> {
    match component {
        Component::Sqlite(sqlite) => sqlite.path.iter().cloned().collect(),
        Component::Files(files) => files.paths.clone(),
    }
}
