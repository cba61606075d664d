//! Failover in a Redis Cluster: how a replica and its cluster stand, and how it becomes the primary of its slots.
//!
//! In: an address of the cluster. Out: facts, or the way that has succeeded. The replica is asked itself: what another node
//! thinks of it may be old. `CLUSTER FAILOVER` answers before anything has happened, so the role is what counts.
//!
//! It never chooses a way. Read next: docs/recovering.md for how a person uses it.

use std::time::{Duration, Instant};

use muster_types::{
    Explain, Kind,
    event::Watcher,
    failover::{ReplicaFacts, Way},
};

use super::{
    address::Address,
    wire::{Connection, Value},
};
use crate::{DriverError, failover::ElectedReplica, pause::pause};

/// How long one way is tried. Who has voted votes again only after twice `cluster-node-timeout` (15 s).
const PROMOTED_WITHIN: Duration = Duration::from_secs(45);
/// The server gives up a failover after five seconds, when a vote was lost for example: then it is told again.
const AGAIN_AFTER: Duration = Duration::from_secs(6);
/// How long the others may take to hear of it.
const AGREED_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// The commands that a failover needs.
pub(super) const RIGHTS: &str = "+ping +info +cluster|nodes +cluster|info +cluster|failover";

/// One line of `CLUSTER NODES`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    id: String,
    host: String,
    port: u16,
    flags: Vec<String>,
    /// The id of its primary.
    primary: Option<String>,
    slots: u32,
}

impl Node {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|one| one == flag)
    }

    fn is_primary(&self) -> bool {
        self.has("master")
    }

    /// One that is only suspected (`fail?`) counts as gone too: without a majority nobody can agree that it has failed.
    fn is_alive(&self) -> bool {
        !self.has("fail") && !self.has("noaddr")
    }

    fn is(&self, wanted: &str) -> bool {
        self.id == wanted || format!("{}:{}", self.host, self.port) == wanted
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Reads `ID HOST:PORT@BUS,NAME FLAGS PRIMARY PING PONG EPOCH LINK SLOT…`.
fn parse(text: &str) -> Vec<Node> {
    let node = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let place = words.get(1)?.split(['@', ',']).next()?;
        let (host, port) = place.rsplit_once(':')?;
        let slots = words.iter().skip(8).filter(|word| !word.starts_with('['));
        let count = |word: &str| match word.split_once('-') {
            Some((first, last)) => {
                Some(last.parse::<u32>().ok()?.saturating_sub(first.parse::<u32>().ok()?) + 1)
            }
            None => word.parse::<u32>().ok().map(|_| 1),
        };
        Some(Node {
            id: (*words.first()?).to_owned(),
            host: host.to_owned(),
            port: port.parse().ok()?,
            flags: words.get(2)?.split(',').map(|flag| flag.trim_end_matches('?').to_owned()).collect(),
            primary: words.get(3).filter(|id| **id != "-").map(|id| (*id).to_owned()),
            slots: slots.filter_map(|word| count(word)).sum(),
        })
    };
    text.lines().filter_map(node).collect()
}

/// Asks a replica and its cluster.
///
/// # Errors
/// `Input`: the cluster has no such node. `Config`: it is no cluster. `Unavailable`: nobody answers. `Interrupted`.
pub(super) fn replica(
    component: &Address,
    wanted: &str,
    watcher: &dyn Watcher,
) -> Result<ReplicaFacts, DriverError> {
    let address = find(component, wanted, watcher)?;
    let mut connection = Connection::open(&address, watcher)?;
    let nodes = nodes(&mut connection, watcher)?;
    let own = nodes.iter().find(|node| node.has("myself")).ok_or_else(|| connection.confused())?;
    let info = connection.info("replication", watcher)?;
    let primary = own.primary.as_ref().and_then(|id| nodes.iter().find(|node| node.id == *id));
    let primary_answers = primary
        .map(|node| at(component, node))
        .is_some_and(|address| Connection::open(&address, watcher).is_ok());
    let voters = || nodes.iter().filter(|node| node.is_primary() && node.slots > 0);
    Ok(ReplicaFacts {
        address: address.to_string(),
        is_primary: own.is_primary(),
        primary: primary.map(Node::address).unwrap_or_default(),
        primary_answers,
        is_linked: info.text("master_link_status") == "up" && primary.is_some_and(Node::is_alive),
        silent_seconds: info
            .number("master_link_down_since_seconds")
            .or_else(|| info.number("master_last_io_seconds_ago")),
        primaries: count(voters().count()),
        alive: count(voters().filter(|node| node.is_alive()).count()),
        slots: primary.map_or(0, |node| node.slots),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Finds where a node is. The component's own server may be the one that has failed: then an address is taken as it is.
fn find(component: &Address, wanted: &str, watcher: &dyn Watcher) -> Result<Address, DriverError> {
    let found = Connection::open(component, watcher).and_then(|mut connection| {
        let nodes = nodes(&mut connection, watcher)?;
        let replicas: Vec<String> =
            nodes.iter().filter(|node| !node.is_primary()).map(Node::address).collect();
        nodes.iter().find(|node| node.is(wanted)).map(|node| at(component, node)).ok_or_else(|| {
            let message = format!("the cluster of {component} has no node `{wanted}`");
            DriverError::new(Kind::Input, message)
                .with_hint(format!("name a replica by its address or id; it has: {}", replicas.join(", ")))
        })
    });
    match (found, wanted.rsplit_once(':')) {
        (Err(error), Some((host, port))) if error.kind() == Kind::Unavailable => match port.parse() {
            Ok(port) => Ok(Address { host: host.to_owned(), port, ..component.clone() }),
            Err(_) => Err(error),
        },
        (found, _) => found,
    }
}

/// All nodes of a cluster have the same users and the same certificates.
fn at(component: &Address, node: &Node) -> Address {
    // A node that has not yet learned its own address says none: it is the one that was asked.
    let host = if node.host.is_empty() { component.host.clone() } else { node.host.clone() };
    Address { host, port: node.port, ..component.clone() }
}

fn nodes(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Vec<Node>, DriverError> {
    match connection.ask(&["CLUSTER", "NODES"], watcher)? {
        Value::Error(said) if said.contains("cluster support disabled") => {
            let message = format!("{} is no node of a Redis Cluster", connection.address());
            Err(DriverError::new(Kind::Config, message).with_hint(
                "a server with Sentinel is failed over by it: redis-cli -p 26379 SENTINEL FAILOVER NAME",
            ))
        }
        Value::Error(said) => Err(refused(connection.address(), "CLUSTER NODES", &said)),
        value => Ok(parse(&value.text().unwrap_or_default())),
    }
}

fn refused(address: &Address, command: &str, said: &str) -> DriverError {
    let error = DriverError::new(Kind::Conflict, format!("{address} refuses {command}: {said}"));
    if said.starts_with("NOPERM") {
        return error.with_hint(format!("give the right: {}", super::refusal::grant(address.user(), RIGHTS)));
    }
    error
}

/// Makes a replica the primary of its slots.
///
/// # Errors
/// `Conflict`: the cluster did not agree in any of these ways. `Unavailable`: it does not answer. `Interrupted`.
pub(super) fn promote(
    component: &Address,
    replica: &str,
    ways: &[Way],
    watcher: &dyn Watcher,
) -> Result<ElectedReplica, DriverError> {
    let (host, port) = replica.rsplit_once(':').unwrap_or((replica, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().map_err(|_| DriverError::new(Kind::Bug, format!("`{replica}` has no port")))?;
    let address = Address { host, port, ..component.clone() };
    let mut connection = Connection::open(&address, watcher)?;
    if is_primary(&mut connection, watcher)? {
        return settled(&mut connection, None, watcher);
    }
    let mut said = Vec::new();
    for way in ways {
        let command = way.command();
        watcher.begin(&command.join(" "), None);
        match connection.ask(command, watcher)? {
            Value::Error(error) => said.push(format!("{}: {error}", command.join(" "))),
            _ if became(&mut connection, command, watcher)? => {
                return settled(&mut connection, Some(*way), watcher);
            }
            _ => said.push(format!(
                "{}: nothing has happened in {} s",
                command.join(" "),
                PROMOTED_WITHIN.as_secs()
            )),
        }
    }
    let message = format!("{address} has not become a primary: {}", said.join("; "));
    Err(DriverError::new(Kind::Conflict, message).with_hint(
        "look into its log; ask the cluster with redis-cli CLUSTER NODES; `muster resume RUN` tries again",
    ))
}

fn is_primary(connection: &mut Connection, watcher: &dyn Watcher) -> Result<bool, DriverError> {
    Ok(nodes(connection, watcher)?.iter().any(|node| node.has("myself") && node.is_primary()))
}

/// Waits until it is a primary; tells it again as long as that may help.
fn became(connection: &mut Connection, command: &[&str], watcher: &dyn Watcher) -> Result<bool, DriverError> {
    let (begun, mut told) = (Instant::now(), Instant::now());
    while !is_primary(connection, watcher)? {
        if begun.elapsed() > PROMOTED_WITHIN {
            return Ok(false);
        }
        if told.elapsed() > AGAIN_AFTER {
            // Once it is a primary it refuses; the role says what has become of it.
            connection.ask(command, watcher)?;
            told = Instant::now();
        }
        pause(PAUSE, watcher)?;
    }
    Ok(true)
}

/// Waits until the new primary finds its cluster whole, and says where it does not.
fn settled(
    connection: &mut Connection,
    way: Option<Way>,
    watcher: &dyn Watcher,
) -> Result<ElectedReplica, DriverError> {
    let begun = Instant::now();
    let mut warnings = Vec::new();
    loop {
        let info = connection.call(&["CLUSTER", "INFO"], watcher)?.text().unwrap_or_default();
        let info = super::info::Info::parse(&info);
        if info.text("cluster_state") == "ok" {
            break;
        }
        // Slots of other primaries that are gone: this failover does not bring them back.
        if begun.elapsed() > AGREED_WITHIN || info.number("cluster_slots_fail").unwrap_or(0) > 0 {
            warnings.push(format!(
                "the cluster is not whole: {} of its 16384 slots are served",
                info.text("cluster_slots_ok")
            ));
            break;
        }
        pause(PAUSE, watcher)?;
    }
    let nodes = nodes(connection, watcher)?;
    let slots = nodes.iter().find(|node| node.has("myself")).map_or(0, |node| node.slots);
    Ok(ElectedReplica { way, slots, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_cluster_is_read_with_its_slots_and_without_those_that_move() {
        let nodes = parse(
            "07c 127.0.0.1:30004@31004,host4 myself,slave e7d 0 1426238317239 4 connected\n\
             e7d ::1:30001@31001 master,fail? - 0 0 1 connected 0-5460 7000 [93-<-292f]\n\
             broken line\n",
        );
        assert_eq!(nodes.len(), 2);
        assert!(nodes[0].has("myself") && !nodes[0].is_primary() && nodes[0].is("127.0.0.1:30004"));
        assert_eq!(nodes[0].primary.as_deref(), Some("e7d"));
        assert_eq!((nodes[1].host.as_str(), nodes[1].port, nodes[1].slots), ("::1", 30001, 5462));
    }

    #[test]
    fn a_node_that_is_only_suspected_is_not_counted_on_for_a_vote() {
        let nodes =
            parse("a h:1@2 master,fail? - 0 0 1 connected 0-1\nb h:2@3 master - 0 0 1 connected 2-3\n");
        assert!(!nodes[0].is_alive() && nodes[1].is_alive());
    }
}
