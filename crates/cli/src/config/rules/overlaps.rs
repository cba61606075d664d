//! No place may lie inside another component's place.
//!
//! A restore swaps whole paths: what lies inside one is moved aside with it, be it a database with its own backup, the
//! journal or the repository. Absolute paths come in; findings leave.
//!
//! It never follows a symbolic link: it compares what is written.

use std::path::{Component as Part, Path, PathBuf};

use muster_types::config::{Component, Platform};

use super::Rules;
use crate::config::{finding::Finding, tree::At};

/// A path with what it is for.
struct Occupied {
    what: String,
    path: PathBuf,
    at: Option<At>,
    is_component: bool,
}

impl Rules<'_> {
    /// Judges the platform with absolute paths.
    pub(in crate::config) fn judge_overlaps(
        &self,
        platform: &Platform,
        state: &Path,
        findings: &mut Vec<Finding>,
    ) {
        let places = self.occupied(platform, state);
        for (index, outer) in places.iter().enumerate().filter(|(_, place)| place.is_component) {
            for (other, inner) in places.iter().enumerate() {
                // Of two equal paths only the second is at fault.
                let is_equal = inner.path == outer.path;
                if other == index
                    || !inner.path.starts_with(&outer.path)
                    || is_equal && inner.is_component && other > index
                {
                    continue;
                }
                let Some(at) = outer.at else { continue };
                let relation = if is_equal { "is also" } else { "lies inside" };
                let message =
                    format!("{} {relation} `{}` of {}", inner.what, outer.path.display(), outer.what);
                let finding = Finding::error(message)
                    .at(self.sources.place(at))
                    .because("a restore puts a whole path aside and another in its place");
                findings.push(finding.hint("name what lies beside it one by one, or move it out"));
            }
        }
    }

    fn occupied(&self, platform: &Platform, state: &Path) -> Vec<Occupied> {
        let place = |what: &str, path: &Path| Occupied {
            what: what.to_owned(),
            path: normal(path),
            at: None,
            is_component: false,
        };
        let mut places = vec![place("the state of Muster", state)];
        if let Some(repository) = platform.repository.as_ref().filter(|one| !one.location.contains("://")) {
            places.push(place("the repository", Path::new(&repository.location)));
        }
        let copies = platform.repository.iter().flat_map(|repository| &repository.copies);
        for copy in copies.filter(|copy| !copy.location.contains("://")) {
            places.push(place(&format!("the copy `{}`", copy.name), Path::new(&copy.location)));
        }
        for (name, component) in &platform.components {
            let own: Vec<PathBuf> = match component {
                Component::Sqlite(sqlite) => sqlite.path.iter().cloned().collect(),
                Component::Files(files) => files.paths.clone(),
                Component::Postgres(postgres) => postgres.data_dir.iter().cloned().collect(),
                Component::Etcd(etcd) => etcd.data_dirs(),
                // It is behind its server.
                Component::Redis(_)
                | Component::Vault(_)
                | Component::Kubernetes(_)
                | Component::Command(_) => Vec::new(),
            };
            places.extend(own.iter().enumerate().map(|(index, path)| {
                let node = match component {
                    Component::Sqlite(_) => self.node(&["components", name, "path"]),
                    Component::Files(_) => self.node(&["components", name, "paths", &index.to_string()]),
                    Component::Etcd(etcd) if !etcd.members.is_empty() => {
                        let member = etcd.members.get(index).map(|member| member.name.as_str());
                        self.node(&["components", name, "members", member.unwrap_or_default(), "data_dir"])
                    }
                    Component::Postgres(_) | Component::Vault(_) | Component::Etcd(_) => {
                        self.node(&["components", name, "data_dir"])
                    }
                    Component::Redis(_) | Component::Kubernetes(_) | Component::Command(_) => None,
                };
                let at = node.map(|node| node.at);
                Occupied { what: format!("component `{name}`"), path: normal(path), at, is_component: true }
            }));
        }
        places
    }
}

/// Takes `..` out as it is written, which is enough to compare paths of one configuration.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Part::CurDir => {}
            Part::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}
