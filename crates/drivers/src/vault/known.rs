//! What a Vault holds, by name: for the day on which nobody can open its backups any more.
//!
//! In: a session. Out: paths of secrets where the token may list them, else the mounts that it can see. Only names:
//! no value is read. It never fails a backup: a token that may not list gives fewer names.

use serde_json::Value;

use super::server::Session;

/// How many requests are spent on it.
const REQUESTS_MAX: usize = 500;
/// How many names are kept.
const NAMES_MAX: usize = 10_000;
/// Engines that the server makes by itself; what is in them is of no use to a person.
const SERVERS_OWN: [&str; 6] =
    ["system", "identity", "cubbyhole", "ns_system", "ns_identity", "ns_cubbyhole"];

/// Returns the names, sorted; `None` when not even the mounts can be seen.
pub(super) fn known(session: &Session<'_>) -> Option<Vec<String>> {
    let mounts = session.look("/v1/sys/internal/ui/mounts")?;
    let mut names = Vec::new();
    let mut requests = 0;
    for (mount, definition) in mounts.pointer("/data/secret")?.as_object()? {
        let kind = definition["type"].as_str().unwrap_or_default();
        if SERVERS_OWN.contains(&kind) {
            continue;
        }
        let before = names.len();
        if kind == "kv" {
            let has_versions = definition.pointer("/options/version").and_then(Value::as_str) == Some("2");
            let at = if has_versions { format!("{mount}metadata/") } else { mount.clone() };
            list(session, mount, &at, &mut requests, &mut names);
        }
        // Of what cannot be listed at least the name of the engine.
        if names.len() == before {
            names.push(format!("{mount} ({kind})"));
        }
    }
    names.sort();
    Some(names)
}

/// Lists the secrets below one mount.
fn list(session: &Session<'_>, mount: &str, at: &str, requests: &mut usize, names: &mut Vec<String>) {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        if *requests >= REQUESTS_MAX || names.len() >= NAMES_MAX {
            return;
        }
        *requests += 1;
        let Some(answer) = session.look(&format!("/v1/{at}{folder}?list=true")) else { continue };
        let keys = answer.pointer("/data/keys").and_then(Value::as_array);
        for key in keys.into_iter().flatten().filter_map(Value::as_str) {
            let below = format!("{folder}{key}");
            if key.ends_with('/') {
                folders.push(below);
            } else {
                names.push(format!("{mount}{below}"));
            }
        }
    }
}
