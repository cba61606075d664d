//! Joins the shared file and the file of one environment.
//!
//! Two trees come in, one leaves: the environment's value wins, maps are joined key by key, lists are replaced. Every
//! value keeps the place where it was written.
//!
//! A connection (where data, a service or the repository is, and every secret) is never inherited: one that stands in
//! the shared file is an error, and one that the environment does not give is missing (`rules` says so).

use super::{
    finding::Finding,
    tree::{Entry, Node, Sources, Value},
};

/// Where a component is, and every secret of it.
const CONNECTIONS: &[&str] = &[
    "path",
    "paths",
    "url",
    "password",
    "data_dir",
    "token",
    "role_id",
    "secret_id",
    "user",
    "members",
    "failover_secrets",
    "namespace",
    "context",
    "kubeconfig",
    "warm",
    "dump",
    "restore",
    "verify",
    "ca_file",
    "cert_file",
    "key_file",
];

/// Joins the two; the names of all environments are only for the hint.
pub(super) fn merge(
    shared: Node,
    own: Node,
    environment: &str,
    sources: &Sources,
    findings: &mut Vec<Finding>,
) -> Node {
    refuse_connections(&shared, environment, sources, findings);
    refuse_other_names(&shared, &own, environment, sources, findings);
    join(shared, own)
}

fn join(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Map(below), Value::Map(above)) => {
            let mut entries = below;
            for entry in above {
                match entries.iter_mut().find(|own| own.key == entry.key) {
                    None => entries.push(entry),
                    Some(own) => {
                        let old =
                            std::mem::replace(&mut own.node, Node { at: entry.key_at, value: Value::Null });
                        own.key_at = entry.key_at;
                        own.node = join(old, entry.node);
                    }
                }
            }
            Node { at: over.at, value: Value::Map(entries) }
        }
        // `components:` with nothing below it takes nothing away.
        (value, Value::Null) => Node { at: base.at, value },
        (_, value) => Node { at: over.at, value },
    }
}

fn refuse_connections(shared: &Node, environment: &str, sources: &Sources, findings: &mut Vec<Finding>) {
    let hint = format!("move it to `muster.{environment}.yaml` and to the file of every other environment");
    let mut refuse = |entry: &Entry, what: &str| {
        let message = format!("{what} is a connection, and all environments share this file");
        let finding = Finding::error(message).at(sources.place(entry.key_at)).hint(hint.clone());
        findings.push(finding);
    };
    for key in ["repository", "state"] {
        if let Some(entry) = shared.entry(key) {
            refuse(entry, &format!("`{key}`"));
        }
    }
    for (section, one, keys) in [
        ("components", "component", CONNECTIONS),
        ("services", "service", &["compose", "systemd", "kubernetes", "command"][..]),
        ("secrets", "secret", &["in", "new", "proof", "revoke"][..]),
        ("checks", "check", muster_drivers::checks::PLACES),
        ("notify", "channel", &["http", "command"][..]),
    ] {
        let named = shared.get(&[section]).map(Node::entries).unwrap_or_default();
        for owner in named {
            for entry in keys.iter().filter_map(|key| owner.node.entry(key)) {
                refuse(entry, &format!("`{}` of {one} `{}`", entry.key, owner.key));
            }
        }
    }
    shared.scalars(&mut Vec::new(), &mut |path, node, text| {
        let is_named_above = path.first().is_some_and(|first| first == "repository")
            || (path.first().is_some_and(|first| {
                ["components", "checks", "services", "notify"].contains(&first.as_str())
            }) && path.get(2).is_some_and(|key| {
                muster_drivers::checks::PLACES.contains(&key.as_str())
                    || ["compose", "systemd", "kubernetes", "headers"].contains(&key.as_str())
                    || CONNECTIONS.contains(&key.as_str())
            }));
        if text.contains("${") && !is_named_above {
            let message = "a secret is a connection, and all environments share this file";
            findings.push(Finding::error(message).at(sources.place(node.at)).hint(hint.clone()));
        }
    });
}

fn refuse_other_names(
    shared: &Node,
    own: &Node,
    environment: &str,
    sources: &Sources,
    findings: &mut Vec<Finding>,
) {
    if let Some(entry) = shared.entry("environment") {
        let finding = Finding::error("`environment` stands in the file that all environments share");
        findings.push(finding.at(sources.place(entry.key_at)).hint("remove it"));
    }
    if let Some(node) = own.get(&["environment"])
        && node.text() != Some(environment)
    {
        let text = node.text().unwrap_or_default();
        let finding = Finding::error(format!("`environment: {text}` stands in the file of `{environment}`"))
            .at(sources.place(node.at))
            .because("a file that is taken for another environment's destroys the wrong one")
            .hint(format!("write `environment: {environment}`, or rename the file to `muster.{text}.yaml`"));
        findings.push(finding);
    }
    for (section, key) in [("", "platform"), ("components", "kind")] {
        let pairs = if section.is_empty() {
            vec![("the platform".to_owned(), shared.get(&[key]), own.get(&[key]))]
        } else {
            let named = own.get(&[section]).map(Node::entries).unwrap_or_default();
            named
                .iter()
                .map(|entry| {
                    let name = format!("component `{}`", entry.key);
                    (name, shared.get(&[section, &entry.key, key]), entry.node.get(&[key]))
                })
                .collect()
        };
        for (name, first, second) in pairs {
            if let (Some(first), Some(second)) = (first, second)
                && let (Some(one), Some(other)) = (first.text(), second.text())
                && one != other
            {
                let finding = Finding::error(format!("`{key}: {other}` contradicts the shared file"))
                    .at(sources.place(second.at))
                    .because(format!("{name} has `{key}: {one}` at {}", sources.place(first.at)))
                    .hint("remove it here");
                findings.push(finding);
            }
        }
    }
}
