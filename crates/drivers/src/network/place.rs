//! From where is looked: this host, or the network of a container, a process or a namespace.
//!
//! A thread of this process moves into the other network (`setns`), and everything that it begins is there too: sockets,
//! and the host's own `ip` and `nft`. Files stay those of the host, so an image without any tool is looked into like any
//! other; its `resolv.conf` and `hosts` are read through `/proc`.
//!
//! It never moves the process itself, and changes nothing in the place. It needs root; without it the place is `unknown`.

use std::{
    fs::File,
    net::IpAddr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_types::{
    Kind,
    config::{Platform, Service},
    event::{Unwatched, Watcher},
    network::ProbeKind,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::{Found, Teller, firewall, names};
use crate::{
    DriverError,
    command::{CommandError, Invocation},
    services::{self, containers::Container},
};

/// Where `ip netns` keeps what a namespace has of its own below `/etc`.
const NETNS_ETC: &str = "/etc/netns";

/// From where is looked.
#[derive(Debug, Clone)]
pub struct Place {
    /// How it is named in answers.
    pub name: String,
    netns: Option<PathBuf>,
    resolv_conf: PathBuf,
    hosts: PathBuf,
    /// Services whose Docker networks are told.
    services: Vec<(String, Service)>,
    /// What is known of the container's networks.
    networks: Option<String>,
}

/// What is known of a place before a target is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) names: names::Names,
    /// The rules of its firewall that let something not through.
    pub(super) drops: Vec<String>,
}

/// This host; the Docker networks of the platform's Compose services are told.
pub fn host(platform: Option<&Platform>) -> Place {
    let services = platform.iter().flat_map(|platform| &platform.services);
    Place {
        name: "this host".into(),
        netns: None,
        resolv_conf: "/etc/resolv.conf".into(),
        hosts: "/etc/hosts".into(),
        services: services
            .filter(|(_, service)| service.compose.is_some())
            .map(|(name, service)| (name.clone(), service.clone()))
            .collect(),
        networks: None,
    }
}

/// The network of a service's containers, of a process by its id, or of a namespace by its path.
///
/// # Errors
/// `Input`: there is no such thing. `Config`: the service does not run in containers of this host. `Unavailable`: none of its
/// containers runs, or the engine does not tell.
pub fn inside(
    text: &str,
    platform: Option<&Platform>,
    watcher: &dyn Watcher,
) -> Result<Vec<Place>, DriverError> {
    if let Some(service) = platform.and_then(|platform| platform.services.get(text)) {
        let found = services::containers_of(text, service, watcher)?;
        let places: Vec<Place> = found.iter().filter(|one| one.is_running()).map(of_container).collect();
        if places.is_empty() {
            let message = format!("no container of service `{text}` runs: there is no network to look from");
            let hint =
                format!("look why with `muster service status {text}` and `muster service logs {text}`");
            return Err(DriverError::new(Kind::Unavailable, message).with_hint(hint));
        }
        return Ok(places);
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return Ok(vec![of_process(&format!("process {text}"), text)]);
    }
    let path = Path::new(text);
    if text.contains('/') && path.exists() {
        let etc = Path::new(NETNS_ETC).join(path.file_name().unwrap_or_default());
        let file = |name: &str| {
            Some(etc.join(name)).filter(|path| path.exists()).unwrap_or_else(|| Path::new("/etc").join(name))
        };
        return Ok(vec![Place {
            name: text.to_owned(),
            netns: Some(path.to_owned()),
            resolv_conf: file("resolv.conf"),
            hosts: file("hosts"),
            services: Vec::new(),
            networks: None,
        }]);
    }
    let message = format!(
        "`{text}` is neither a service of muster.yaml, nor the id of a process, nor the path of a network namespace"
    );
    let hint = "name a Compose service, or give a path like `/run/netns/NAME`";
    Err(DriverError::new(Kind::Input, message).with_hint(hint))
}

fn of_container(container: &Container) -> Place {
    let networks = networks(container);
    Place { networks: Some(networks), ..of_process(container.name(), &container.state.pid.to_string()) }
}

fn of_process(name: &str, pid: &str) -> Place {
    let process = Path::new("/proc").join(pid);
    Place {
        name: name.to_owned(),
        netns: Some(process.join("ns/net")),
        resolv_conf: process.join("root/etc/resolv.conf"),
        hosts: process.join("root/etc/hosts"),
        services: Vec::new(),
        networks: None,
    }
}

fn networks(container: &Container) -> String {
    let found = container.networks().map(|(name, address, gateway)| {
        let gateway = if gateway.is_empty() { String::new() } else { format!(" (gateway {gateway})") };
        format!("{name} {address}{gateway}")
    });
    let found: Vec<String> = found.collect();
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

impl Place {
    /// Moves the calling thread into it.
    pub(super) fn enter(&self) -> Result<(), Found> {
        let Some(path) = &self.netns else { return Ok(()) };
        let cannot = |why: String| {
            Found::unknown("no-place", format!("cannot look from {}: {why}", self.name))
                .with_hint("run it as root, on the host of the container")
        };
        let file = File::open(path).map_err(|error| cannot(format!("{}: {error}", path.display())))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| cannot(error.to_string()))
    }

    /// Tells what the place is like, from within it.
    pub(super) fn describe(&self, teller: &Teller, timeout: Duration) -> Known {
        let mut known = Known::default();
        teller.probe(ProbeKind::ResolvConf, None, || {
            match names::read(&self.resolv_conf, &self.hosts, self.netns.is_none()) {
                Err(why) => Found::unknown("not-readable", why),
                Ok(names) => {
                    let servers: Vec<String> = names.servers.iter().map(|one| one.ip().to_string()).collect();
                    let search = Some(names.search.join(" ")).filter(|text| !text.is_empty());
                    let search = search.map(|text| format!(", search {text}")).unwrap_or_default();
                    let path = self.resolv_conf.display();
                    known.names = names;
                    if servers.is_empty() {
                        Found::failed("no-name-server", format!("{path} names no name server{search}"))
                    } else {
                        Found::ok(format!("{}{search} ({path})", servers.join(", ")))
                    }
                }
            }
        });
        // Without a file of its own a place still has its names.
        known.names.hosts.clone_from(&self.hosts);
        known.names.is_ours = self.netns.is_none();
        teller.probe(ProbeKind::Interfaces, None, || interfaces(timeout));
        teller.probe(ProbeKind::Firewall, None, || {
            let (found, drops) = firewall::look(timeout);
            known.drops = drops;
            found
        });
        if let Some(networks) = &self.networks {
            teller.probe(ProbeKind::Docker, None, || match networks.as_str() {
                "none" => Found::failed("no-network", "the container is on no network"),
                networks => Found::ok(networks),
            });
        }
        for (name, service) in &self.services {
            teller.probe(ProbeKind::Docker, Some(name.clone()), || of_service(name, service));
        }
        known
    }
}

fn of_service(name: &str, service: &Service) -> Found {
    match services::containers_of(name, service, &Unwatched) {
        Err(error) => Found::unknown("not-readable", error.to_string()),
        Ok(found) => {
            let running: Vec<&Container> = found.iter().filter(|one| one.is_running()).collect();
            let told: Vec<String> =
                running.iter().map(|one| format!("{}: {}", one.name(), networks(one))).collect();
            if running.is_empty() {
                Found::failed("not-running", "no container of it runs")
            } else if running.iter().any(|one| one.networks().next().is_none()) {
                Found::failed("no-network", told.join("; "))
            } else {
                Found::ok(told.join("; "))
            }
        }
    }
}

/// Asks the host's `ip`, which looks at the network of the thread that has begun it.
fn ip(words: &[&str], timeout: Duration) -> Result<Value, Found> {
    let argv = ["ip", "-j"].iter().chain(words).copied();
    let ended = Invocation::new(argv, timeout).run(&Unwatched).map_err(|error| {
        let hint = match &error {
            CommandError::NotFound { .. } => "install `iproute2` on this host",
            _ => "try it by hand: `ip address`, `ip route`",
        };
        Found::unknown("not-readable", error.to_string()).with_hint(hint)
    })?;
    if !ended.is_success() {
        let said = ended.last_lines(1).replace("RTNETLINK answers: ", "");
        return Err(Found::failed("no-route", said.trim().to_owned()));
    }
    serde_json::from_str(&ended.stdout.text())
        .map_err(|error| Found::unknown("not-readable", format!("what `ip` says cannot be read: {error}")))
}

fn interfaces(timeout: Duration) -> Found {
    let told = match ip(&["address", "show"], timeout) {
        Ok(told) => told,
        Err(found) => return found,
    };
    let text = |one: &Value, key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut shown = Vec::new();
    let mut is_joined = false;
    for one in told.as_array().into_iter().flatten() {
        let flags: Vec<&str> = one
            .get("flags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let is_up = flags.contains(&"UP");
        let addresses: Vec<String> = one
            .get("addr_info")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|address| {
                format!("{}/{}", text(address, "local"), address.get("prefixlen").unwrap_or(&Value::Null))
            })
            .collect();
        is_joined |= is_up && !flags.contains(&"LOOPBACK") && !addresses.is_empty();
        let state = if is_up && flags.contains(&"LOWER_UP") { "up" } else { "down" };
        let mtu = one.get("mtu").and_then(Value::as_u64).unwrap_or_default();
        if !addresses.is_empty() || state == "down" {
            shown.push(
                format!("{} {state} mtu {mtu} {}", text(one, "ifname"), addresses.join(" "))
                    .trim()
                    .to_owned(),
            );
        }
    }
    if is_joined {
        Found::ok(shown.join("; "))
    } else {
        let message = format!("no interface but the loopback is up with an address: {}", shown.join("; "));
        Found::failed("no-interface", message)
    }
}

/// Says which way packets to an address go.
pub(super) fn route(address: IpAddr, timeout: Duration) -> Found {
    let address = address.to_string();
    let told = match ip(&["route", "get", &address], timeout) {
        Ok(told) => told,
        Err(found) => return found,
    };
    let text = |key: &str| told.get(0).and_then(|route| route.get(key)).and_then(Value::as_str);
    let device = text("dev").unwrap_or_default().to_owned();
    let via = text("gateway").map(|gateway| format!("via {gateway} ")).unwrap_or_default();
    let from = text("prefsrc").map(|from| format!(" from {from}")).unwrap_or_default();
    let link = ip(&["link", "show", "dev", &device], timeout).ok();
    let mtu = link.as_ref().and_then(|link| link.get(0)?.get("mtu")?.as_u64());
    let mtu = mtu.map(|mtu| format!(", mtu {mtu}")).unwrap_or_default();
    Found::ok(format!("{via}on {device}{from}{mtu}"))
}
