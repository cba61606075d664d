//! What a configuration needs on this host: only the tools of what it names, room where something is written, and the
//! registries of the images that its compose files name.
//!
//! A configuration comes in; checks leave, each with what is needed in words and what to do without it. Compose is asked
//! for what its files say; nothing else is run here.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_drivers::command::Invocation;
use muster_repo::Location;
use muster_types::{
    ByteSize,
    config::{Check, Component, ComposeService, PostgresMethod},
    event::Watcher,
};
use serde_json::Value;

use crate::config::Loaded;

/// Compose only reads files for this.
const COMPOSE_TIMEOUT: Duration = Duration::from_secs(20);
/// Where an image comes from that names no registry.
const USUAL_REGISTRY: &str = "registry-1.docker.io";
/// A recovery writes a second copy beside the first.
const FREE: ByteSize = ByteSize(10_000_000_000);

/// One thing that is needed.
pub(super) struct Need {
    pub(super) name: String,
    pub(super) needed: String,
    pub(super) hint: String,
    pub(super) check: Check,
}

/// Returns all of them.
pub(super) fn of(loaded: &Loaded, free: Option<ByteSize>, watcher: &dyn Watcher) -> Vec<Need> {
    let mut found = Vec::new();
    let platform = &loaded.platform;
    let composed: Vec<&ComposeService> =
        platform.services.values().filter_map(|service| service.compose.as_ref()).collect();
    if !composed.is_empty() {
        found.extend(docker());
    }
    if platform.services.values().any(|service| service.systemd.is_some()) {
        found.push(tool(
            "systemctl",
            "systemctl",
            None,
            "this host is not run by systemd: name the service otherwise",
        ));
    }
    found.extend(kubectl(loaded));
    for component in platform.components.values() {
        found.extend(of_component(component));
    }
    found.extend(room(loaded, free.unwrap_or(FREE)));
    for registry in registries(&composed, watcher) {
        found.push(reach(&registry));
    }
    let mut seen = BTreeSet::new();
    found.retain(|need| seen.insert(need.name.clone()));
    found
}

fn tool(name: &str, program: &str, version: Option<&str>, hint: &str) -> Need {
    Need {
        name: format!("tool {name}"),
        needed: version.map_or("is there".to_owned(), |version| format!("{version} or newer")),
        hint: hint.to_owned(),
        check: Check {
            tool: Some(program.to_owned()),
            conditions: version.map(|version| format!("[VERSION] >= {version}")).into_iter().collect(),
            ..Check::default()
        },
    }
}

fn command(name: &str, argv: &[&str], needed: &str, conditions: &[&str], hint: &str) -> Need {
    Need {
        name: name.to_owned(),
        needed: needed.to_owned(),
        hint: hint.to_owned(),
        check: Check {
            command: Some(argv.iter().map(|&word| word.to_owned()).collect()),
            conditions: conditions.iter().map(|&one| one.to_owned()).collect(),
            ..Check::default()
        },
    }
}

fn docker() -> Vec<Need> {
    let engine = ["docker", "info", "--format", "{{.ServerVersion}}"];
    let compose = ["docker", "compose", "version", "--short"];
    vec![
        tool("docker", "docker", Some("20.10"), "install Docker 20.10 or newer"),
        command(
            "tool docker compose",
            &compose,
            "2 or newer",
            &["[STATUS] == 0", "[BODY] != pat(1.*)", "len([BODY]) > 0"],
            "install the compose plugin: `apt-get install docker-compose-plugin`",
        ),
        command(
            "docker engine",
            &engine,
            "runs",
            &["[STATUS] == 0", "len([BODY]) > 0"],
            "start it: `systemctl start docker`; your user must be in the group `docker`",
        ),
    ]
}

/// The program, and whether the cluster lets it read.
fn kubectl(loaded: &Loaded) -> Vec<Need> {
    let mut found = Vec::new();
    let services = loaded.platform.services.values().filter_map(|service| {
        let own = service.kubernetes.as_ref()?;
        Some((&own.kubectl, &own.kubeconfig, &own.context, own.namespace.clone()))
    });
    let components = loaded.platform.components.values().filter_map(|component| match component {
        Component::Kubernetes(own) => {
            Some((&own.kubectl, &own.kubeconfig, &own.context, own.namespace.clone().unwrap_or_default()))
        }
        _ => None,
    });
    for (program, kubeconfig, context, namespace) in services.chain(components) {
        let program = program.as_ref().map_or("kubectl".to_owned(), |path| path.display().to_string());
        found.push(tool("kubectl", &program, None, "install `kubectl`, or name it with `kubectl:`"));
        let mut argv = vec![program];
        if let Some(path) = kubeconfig {
            argv.extend(["--kubeconfig".to_owned(), path.display().to_string()]);
        }
        if let Some(context) = context {
            argv.extend(["--context".to_owned(), context.clone()]);
        }
        argv.extend(["auth", "can-i", "list", "pods", "-n", &namespace].map(str::to_owned));
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        found.push(command(
            &format!("cluster {namespace}"),
            &argv,
            "pods may be listed",
            &["[STATUS] == 0"],
            "look at the kubeconfig and the rights of its user",
        ));
    }
    found
}

/// The servers that proofs and restores of a kind start, and the clients that it is read with.
fn of_component(component: &Component) -> Vec<Need> {
    let inside = |folder: &Option<PathBuf>, program: &str| {
        folder.as_ref().map_or(program.to_owned(), |folder| folder.join(program).display().to_string())
    };
    let install = "install the package of the server's version, or name its folder with `bin_dir`";
    match component {
        Component::Postgres(own) if own.method == PostgresMethod::Logical => vec![
            tool("pg_dump", &inside(&own.bin_dir, "pg_dump"), None, install),
            tool("psql", &inside(&own.bin_dir, "psql"), None, install),
        ],
        Component::Redis(own) => {
            vec![tool("redis-server", &inside(&own.bin_dir, "redis-server"), Some("7"), install)]
        }
        Component::Etcd(own) => vec![tool("etcd", &inside(&own.bin_dir, "etcd"), None, install)],
        _ => Vec::new(),
    }
}

/// Where Muster writes on this host.
fn room(loaded: &Loaded, free: ByteSize) -> Vec<Need> {
    let repository =
        loaded.platform.repository.as_ref().and_then(|one| one.location.parse::<Location>().ok());
    let local = match repository {
        Some(Location::Local(path)) => Some(path),
        _ => None,
    };
    let mut found = Vec::new();
    for (name, path) in
        [("room for the state", Some(loaded.state_dir.clone())), ("room for the repository", local)]
    {
        let Some(path) = path.as_deref().and_then(existing) else { continue };
        found.push(Need {
            name: name.to_owned(),
            needed: format!("{free} free on {}", path.display()),
            hint: "make room, or say what is enough with `--free`".into(),
            check: Check {
                disk: Some(path),
                conditions: vec![format!("[BODY].free_bytes >= {}", free.0)],
                ..Check::default()
            },
        });
    }
    found
}

/// The nearest folder above that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|one| one.is_dir()).map(Path::to_owned)
}

/// The registries of all images of the compose files that are not built here.
fn registries(composed: &[&ComposeService], watcher: &dyn Watcher) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut files = BTreeSet::new();
    for service in composed.iter().filter(|service| files.insert(&service.file)) {
        let file = service.file.display().to_string();
        let argv = ["docker", "compose", "-f", &file, "config", "--format", "json"];
        // Where Compose does not answer, its own row says so.
        let Ok(ended) = Invocation::new(argv, COMPOSE_TIMEOUT).run(watcher) else { continue };
        let read: Value = serde_json::from_str(&ended.stdout.text()).unwrap_or_default();
        let services = read.get("services").and_then(Value::as_object);
        for one in services.into_iter().flat_map(|services| services.values()) {
            if let (Some(image), None) = (one.get("image").and_then(Value::as_str), one.get("build")) {
                found.insert(registry(image));
            }
        }
    }
    found
}

/// The first part of an image's name is a host if it looks like one; else the image is of the usual registry.
fn registry(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host.to_owned(),
        _ => USUAL_REGISTRY.to_owned(),
    }
}

fn reach(registry: &str) -> Need {
    let host = registry.split(':').next().unwrap_or_default();
    // As Docker itself does it for a registry of this host.
    let scheme = if host == "localhost" || host.starts_with("127.") { "http" } else { "https" };
    Need {
        name: format!("registry {registry}"),
        needed: "answers".into(),
        hint: format!("look at the way to it: `muster network {scheme}://{registry}/v2/`"),
        check: Check {
            http: Some(format!("{scheme}://{registry}/v2/")),
            conditions: vec!["[STATUS] == any(200, 401)".into()],
            ..Check::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn an_image_names_its_registry_or_comes_from_the_usual_one() {
        for (image, host) in [
            ("redis:7", "registry-1.docker.io"),
            ("team/api:1", "registry-1.docker.io"),
            ("ghcr.io/team/api@sha256:0", "ghcr.io"),
            ("localhost:5000/api", "localhost:5000"),
            ("registry.example.com/a/b", "registry.example.com"),
        ] {
            assert_eq!(registry(image), host, "{image}");
        }
    }
}
