//! What a Docker engine says of containers: the one place that reads `docker inspect`.
//!
//! Ids or labels come in; [`Container`]s leave, as the engine knows them at that moment. Containers are found by id and
//! label only: names can be chosen by anybody.
//!
//! It changes nothing. Read next: [`super::compose`] for who changes them, [`crate::checks`] for the check `container`.

use std::{collections::BTreeMap, time::Duration};

use muster_types::{Timestamp, event::Watcher};
use serde::Deserialize;

use crate::command::{CommandError, Ended, Invocation};

/// The labels by which Compose knows its containers, networks and volumes.
pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";

/// An engine with hundreds of containers tells more than programs usually do.
const OUTPUT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why an engine did not tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineSilent {
    /// `docker` could not be run.
    #[error(transparent)]
    NotRun(#[from] CommandError),
    /// It refused.
    #[error("`{}` ended with {}: {}", argv.join(" "), ended.exit, ended.last_lines(2))]
    Refused {
        /// What was asked.
        argv: Vec<String>,
        /// What it said.
        ended: Box<Ended>,
    },
    /// It said something else.
    #[error("what `{0}` says cannot be read: {1}")]
    Unreadable(String, String),
}

/// One container, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    /// The whole id, 64 digits.
    pub(crate) id: String,
    name: String,
    /// The id of its image: `sha256:…`.
    pub(crate) image: String,
    /// When it was made.
    pub(crate) created: Timestamp,
    #[serde(default)]
    restart_count: u64,
    pub(crate) state: State,
    config: Config,
    #[serde(default)]
    network_settings: Networks,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) exit_code: i64,
    /// Its first process on this host; 0 where there is none.
    #[serde(default)]
    pub(crate) pid: u32,
    /// When it last started; the year 1 when it never has.
    started_at: Timestamp,
    #[serde(default)]
    health: Option<Health>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    /// What the image was called when the container was made.
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    env: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Networks {
    networks: Option<BTreeMap<String, Network>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Network {
    #[serde(rename = "NetworkID")]
    id: String,
    #[serde(rename = "IPAddress")]
    address: String,
    #[serde(rename = "Gateway")]
    gateway: String,
}

impl Container {
    /// Returns its name.
    pub(crate) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// Returns the beginning of its id, as `docker ps` shows it.
    pub(crate) fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.status == "running"
    }

    /// Returns when it last started; nothing when it never has.
    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        (self.state.started_at > Timestamp::UNIX_EPOCH).then_some(self.state.started_at)
    }

    /// Returns `healthy`, `unhealthy` or `starting`; nothing where its image has no health check.
    pub(crate) fn health(&self) -> Option<&str> {
        self.state.health.as_ref().map(|health| health.status.as_str()).filter(|status| *status != "none")
    }

    /// Returns how often the engine has started it again by itself.
    pub(crate) fn restarts(&self) -> u64 {
        self.restart_count
    }

    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// Returns its environment by name.
    pub(crate) fn env(&self) -> BTreeMap<&str, &str> {
        self.config.env.iter().flatten().filter_map(|pair| pair.split_once('=')).collect()
    }

    /// Returns what its image was called when it was made.
    pub(crate) fn image_name(&self) -> &str {
        &self.config.image
    }

    /// Returns the networks that it is attached to, each with its address and its gateway there.
    pub(crate) fn networks(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let networks = self.network_settings.networks.iter().flatten();
        networks.map(|(name, one)| (name.as_str(), one.address.as_str(), one.gateway.as_str()))
    }

    /// Whether it is attached to a network.
    pub(crate) fn is_on(&self, network: &str) -> bool {
        let networks = self.network_settings.networks.iter().flatten();
        networks.into_iter().any(|(name, one)| one.id == network || name == network)
    }
}

/// Asks `docker`.
pub(crate) fn ask(words: &[&str], timeout: Duration, watcher: &dyn Watcher) -> Result<String, EngineSilent> {
    let argv: Vec<String> =
        std::iter::once("docker").chain(words.iter().copied()).map(str::to_owned).collect();
    let mut invocation = Invocation::new(&argv, timeout);
    invocation.output_bytes_max = OUTPUT_BYTES_MAX;
    let ended = invocation.run(watcher)?;
    if !ended.is_success() {
        return Err(EngineSilent::Refused { argv, ended: Box::new(ended) });
    }
    match ended.stdout.complete_text() {
        Some(text) => Ok(text.trim().to_owned()),
        None => Err(EngineSilent::Unreadable(argv.join(" "), "it is too long, or not UTF-8".into())),
    }
}

/// Returns what carries all of these labels, also what has ended; the newest first.
pub(crate) fn with_labels(
    labels: &[String],
    timeout: Duration,
    watcher: &dyn Watcher,
) -> Result<Vec<Container>, EngineSilent> {
    let filters: Vec<String> = labels.iter().map(|label| format!("label={label}")).collect();
    let mut words = vec!["ps", "--all", "--quiet", "--no-trunc"];
    words.extend(filters.iter().flat_map(|filter| ["--filter", filter.as_str()]));
    let ids = ask(&words, timeout, watcher)?;
    inspect(&ids.lines().collect::<Vec<_>>(), timeout, watcher)
}

/// Returns the containers of these ids; the newest first. One that was removed meanwhile is left out.
pub(crate) fn inspect(
    ids: &[&str],
    timeout: Duration,
    watcher: &dyn Watcher,
) -> Result<Vec<Container>, EngineSilent> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let argv: Vec<String> =
        ["docker", "container", "inspect"].iter().chain(ids).map(|&word| word.to_owned()).collect();
    let mut invocation = Invocation::new(&argv, timeout);
    invocation.output_bytes_max = OUTPUT_BYTES_MAX;
    let ended = invocation.run(watcher)?;
    // What is there is told even when something is not.
    let is_only_gone = ended.stderr.text().lines().all(|line| line.contains("No such container"));
    if !ended.is_success() && !is_only_gone {
        return Err(EngineSilent::Refused { argv, ended: Box::new(ended) });
    }
    let mut found = parse(&ended.stdout.text())
        .map_err(|error| EngineSilent::Unreadable("docker container inspect".into(), error.to_string()))?;
    found.sort_by_key(|container| std::cmp::Reverse(container.created));
    Ok(found)
}

fn parse(text: &str) -> Result<Vec<Container>, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_as_docker_writes_it() {
        let text = r#"[{"Id":"b1b2c3d4e5f60708","Name":"/shop-api-1","Image":"sha256:aa","Created":"2026-11-21T22:00:00.1Z",
            "RestartCount":3,"State":{"Status":"restarting","ExitCode":1,"StartedAt":"2026-11-21T22:01:00Z",
            "Health":{"Status":"starting"}},"Config":{"Image":"shop/api:2","Labels":{"a":"b"},"Env":["A=1=2","B"]},
            "NetworkSettings":{"Networks":{"shop_default":{"NetworkID":"n1"}}}}]"#;
        let [one] = parse(text).unwrap().try_into().unwrap();
        assert_eq!((one.name(), one.short_id(), one.restarts()), ("shop-api-1", "b1b2c3d4e5f6", 3));
        assert_eq!(
            (one.health(), one.label("a"), one.image_name()),
            (Some("starting"), Some("b"), "shop/api:2")
        );
        assert_eq!(one.env(), BTreeMap::from([("A", "1=2")]));
        assert!(one.is_on("n1") && one.is_on("shop_default") && !one.is_on("other") && !one.is_running());
        let never =
            text.replace("2026-11-21T22:01:00Z", "0001-01-01T00:00:00Z").replace(r#"["A=1=2","B"]"#, "null");
        assert_eq!(
            (parse(&never).unwrap()[0].started_at(), parse(&never).unwrap()[0].env().len()),
            (None, 0)
        );
    }
}
