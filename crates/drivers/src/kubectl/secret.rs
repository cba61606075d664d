//! Leads clients to another server by one key of a Secret, and restarts the workloads that read it.
//!
//! In: the key, and the server's host and port. Out: the Secret with that key changed and no other, and workloads whose
//! rollout has ended. Only the address in the value is replaced: user, password, database and options stay. No value is
//! ever shown, or an argument of a program. Read next: `postgres/failover.rs`, `services/kubernetes.rs`.

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_types::{
    Kind,
    config::{KubernetesService, SecretSwitch},
    event::Watcher,
    script::is_object_name,
};
use serde_json::{Value, json};

use super::{Kubectl, text};
use crate::{
    DriverError,
    services::{ServiceDriver, ServiceStatus, kubernetes::Kubernetes},
};

/// Refuses a switch that could never work; asks nobody.
///
/// # Errors
/// `Config`: no namespace, no name of a Secret, a workload without replicas.
pub(crate) fn check(switch: &SecretSwitch) -> Result<Kubectl, DriverError> {
    let SecretSwitch { secret, namespace, context, kubeconfig, kubectl, .. } = switch;
    let owner = format!("the Secret `{secret}`");
    if !is_object_name(secret) || switch.key.is_empty() {
        return Err(DriverError::new(Kind::Config, format!("`{secret}` is no Secret with a key"))
            .with_hint("write `{secret: api-database, namespace: shop, key: DATABASE_URL}`"));
    }
    for workload in &switch.restart {
        consumer(switch, workload)?;
    }
    Kubectl::new(&owner, namespace, context.as_ref(), kubeconfig.as_ref(), kubectl.as_ref())
}

fn consumer(switch: &SecretSwitch, workload: &str) -> Result<Kubernetes, DriverError> {
    let own = KubernetesService {
        workload: workload.to_owned(),
        namespace: switch.namespace.clone(),
        context: switch.context.clone(),
        kubeconfig: switch.kubeconfig.clone(),
        kubectl: switch.kubectl.clone(),
    };
    Kubernetes::new(workload, &own, Some(muster_types::Span::from_secs(300)))
}

/// Lets a key lead to a server, and restarts its readers. May be repeated. Returns one line for people.
///
/// # Errors
/// `NotFound`: no such Secret or key. `Config`: the value holds no address. `Unavailable`: a rollout does not end.
pub(crate) fn lead(
    switch: &SecretSwitch,
    host: &str,
    port: u16,
    watcher: &dyn Watcher,
) -> Result<String, DriverError> {
    let kubectl = check(switch)?;
    let object = format!("secret/{}", switch.secret);
    let place = format!("{object} in namespace {}", switch.namespace);
    let before = read(&kubectl, &object, &place, watcher)?;
    let value = value(&before, switch, &place)?;
    let Some(wanted) = with_address(&value, host, port) else {
        let message = format!("the key {} of {place} holds no address that can be replaced", switch.key);
        return Err(DriverError::new(Kind::Config, message).with_hint(
            "keep a URL there, or `host=… port=…`, or `host:port`; or lead clients by a command, `on_failover`",
        ));
    };
    if wanted != value {
        let patch = json!({
            "metadata": {"resourceVersion": before.pointer("/metadata/resourceVersion")},
            "data": {&switch.key: STANDARD.encode(&wanted)},
        });
        kubectl.patch_secretly(&object, "merge", &patch, watcher)?;
        let after = read(&kubectl, &object, &place, watcher)?;
        let others = |object: &Value| {
            let mut data = object.get("data").cloned().unwrap_or_default();
            if let Some(data) = data.as_object_mut() {
                data.remove(&switch.key);
            }
            data
        };
        if self::value(&after, switch, &place)? != wanted || others(&after) != others(&before) {
            let message =
                format!("{place} holds something else after it was changed: somebody else changes it too");
            return Err(DriverError::new(Kind::Conflict, message).with_hint(
                "see who writes it (a controller of secrets?), and let that lead to the new server",
            ));
        }
    }
    let mut said = format!("{} of {object} leads to {host}:{port}", switch.key);
    for workload in &switch.restart {
        let service = consumer(switch, workload)?;
        if service.status(watcher)? == ServiceStatus::Stopped {
            said.push_str(&format!(", {workload} has no replicas and reads it when it starts"));
            continue;
        }
        // Also when the value was there already: a run that was killed may have come just so far.
        service.restart(watcher)?;
        said.push_str(&format!(", {workload} is rolled out"));
    }
    Ok(said)
}

fn read(kubectl: &Kubectl, object: &str, place: &str, watcher: &dyn Watcher) -> Result<Value, DriverError> {
    kubectl.get(object, watcher)?.ok_or_else(|| {
        DriverError::new(Kind::NotFound, format!("there is no {place}"))
            .with_hint(format!("list them: `{}`", kubectl.line(&["get", "secrets"])))
    })
}

fn value(object: &Value, switch: &SecretSwitch, place: &str) -> Result<String, DriverError> {
    let data = object.get("data").and_then(Value::as_object);
    let found = data.and_then(|data| data.get(&switch.key)).and_then(Value::as_str);
    let Some(found) = found else {
        let keys: Vec<&str> = data.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        return Err(DriverError::new(Kind::NotFound, format!("there is no key {} in {place}", switch.key))
            .with_hint(format!("it has: {}", keys.join(", "))));
    };
    STANDARD.decode(found).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        DriverError::new(Kind::Config, format!("the key {} of {place} is no text", switch.key))
            .with_hint(format!("see its form, not its value: `{}`", text(object, "/type")))
    })
}

/// Replaces the address in a URL, in `host=… port=…`, in `host:port`, or a host alone; `None`: there is none.
fn with_address(value: &str, host: &str, port: u16) -> Option<String> {
    let in_url = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    if let Some((scheme, rest)) = value.split_once("://") {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let user = authority.rfind('@').map_or("", |at| authority.get(..=at).unwrap_or_default());
        // An address among the options would win over the one that is replaced here.
        let is_elsewhere =
            ["?host=", "&host=", "hostaddr=", "&port=", "?port="].iter().any(|one| tail.contains(one));
        return (!is_elsewhere).then(|| format!("{scheme}://{user}{in_url}{tail}"));
    }
    if value.split_whitespace().any(|word| word.starts_with("host=")) {
        if value.contains("hostaddr=") || value.contains('\'') {
            return None;
        }
        let mut words: Vec<String> =
            value.split_whitespace().filter(|word| !word.starts_with("port=")).map(str::to_owned).collect();
        let at = words.iter().position(|word| word.starts_with("host="))?;
        if let Some(word) = words.get_mut(at) {
            *word = format!("host={host} port={port}");
        }
        return Some(words.join(" "));
    }
    let (name, had_port) = match value.rsplit_once(':') {
        Some((name, number)) if number.parse::<u16>().is_ok() => (name, true),
        Some(_) => return None,
        None => (value, false),
    };
    let is_host = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    match (is_host, had_port) {
        (true, true) => Some(in_url),
        // The port stands somewhere else: only the usual one can be meant.
        (true, false) if port == 5432 => Some(host.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_is_replaced_in_every_form_that_clients_read() {
        let with = |value: &str| with_address(value, "db-2", 5433);
        for (value, wanted) in [
            (
                "postgres://app:p%40ss@db-1:5432/shop?sslmode=require",
                Some("postgres://app:p%40ss@db-2:5433/shop?sslmode=require"),
            ),
            ("postgres://a@b@db-1,db-0:1/shop", Some("postgres://a@b@db-2:5433/shop")),
            ("jdbc:postgresql://db-1/shop", Some("jdbc:postgresql://db-2:5433/shop")),
            ("host=db-1 port=5432 user=app password=x", Some("host=db-2 port=5433 user=app password=x")),
            ("user=app host=db-1", Some("user=app host=db-2 port=5433")),
            ("db-1:5432", Some("db-2:5433")),
            ("postgres:///shop?host=/run/postgresql", None),
            ("host=db-1 hostaddr=10.0.0.1", None),
            ("db-1", None),
            ("not an address", None),
            ("", None),
        ] {
            assert_eq!(with(value).as_deref(), wanted, "{value}");
        }
        assert_eq!(with_address("db-1", "db-2", 5432).as_deref(), Some("db-2"));
        assert_eq!(with_address("x://h/d", "::1", 1).as_deref(), Some("x://[::1]:1/d"));
    }
}
