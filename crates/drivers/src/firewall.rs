//! Keeps addresses out by a table of nftables that is Muster's own, and lets them in again by removing it.
//!
//! A [`Barrier`] comes in; the kernel has it, whole or not at all: a table is replaced by one `nft -f`. Its name is made of
//! run and step, so that doing it twice is doing it once. What it drops is dropped before everything else (priority -300),
//! also for containers; it accepts nothing that another table refuses.
//!
//! ```text
//! table inet muster_<run and step>
//!   prerouting: lo, neighbours, allowed ──► on;  blocked (ports) ──► dropped
//!   postrouting (without ports): the same towards them
//! ```
//!
//! With a limit its elements have a timeout: the kernel takes it back, also when Muster or the host's network is gone.
//! It never touches another table. Read next: `crates/engine/src/script/block.rs`.

use std::time::Duration;

use muster_types::{Kind, Network, event::Watcher, text};
use sha2::{Digest, Sha256};

use crate::{DriverError, command::Invocation};

/// A change of a table takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Who is kept out of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// Who is kept out.
    pub blocked: Vec<Network>,
    /// Who is not, whatever stands in `blocked`.
    pub allowed: Vec<Network>,
    /// Only from these ports of this host; empty: from all, and nothing is sent there.
    pub ports: Vec<u16>,
}

/// Returns the name of the table of a step.
pub fn table(run: &str, step: &str) -> String {
    let hash = text::hex(Sha256::digest(format!("{run} {step}")));
    format!("muster_{}", hash.get(..12).unwrap_or_default())
}

/// Puts a barrier into the kernel, in the place of an earlier one of that name; with `limit` it ends by itself.
///
/// # Errors
/// `NotFound` without `nft`; `Unavailable` when the kernel refuses it. Nothing has changed then.
pub fn put(
    table: &str,
    barrier: &Barrier,
    limit: Option<Duration>,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    nft(&["-f", "-"], Some(rules(table, barrier, limit)), watcher).map(|_| ())
}

/// Removes a barrier; one that is not there is no error.
///
/// # Errors
/// As [`put`].
pub fn remove(table: &str, watcher: &dyn Watcher) -> Result<(), DriverError> {
    nft(&["-f", "-"], Some(format!("{}\n", anew(table))), watcher).map(|_| ())
}

/// Whether a table of this name is there.
///
/// # Errors
/// As [`put`].
pub fn is_there(table: &str, watcher: &dyn Watcher) -> Result<bool, DriverError> {
    let listed = nft(&["list", "tables", "inet"], None, watcher)?;
    Ok(listed.lines().any(|line| line.split_whitespace().last() == Some(table)))
}

/// Removes a table, there or not.
fn anew(table: &str) -> String {
    format!("table inet {table}\ndelete table inet {table}")
}

/// The whole table, as `nft -f` reads it.
fn rules(table: &str, barrier: &Barrier, limit: Option<Duration>) -> String {
    let mut text = format!("{}\ntable inet {table} {{\n", anew(table));
    let (mut inward, mut outward) = (String::new(), String::new());
    for (name, all, limit, verdict) in
        [("allowed", &barrier.allowed, None, "accept"), ("blocked", &barrier.blocked, limit, "counter drop")]
    {
        for (family, word, is_v4) in [("ipv4_addr", "ip", true), ("ipv6_addr", "ip6", false)] {
            let elements = elements(all, is_v4);
            if elements.is_empty() {
                continue;
            }
            let (flag, timeout) = limit.map_or((String::new(), String::new()), |limit| {
                (", timeout".to_owned(), format!(" timeout {}s;", limit.as_secs().max(1)))
            });
            let set = format!("{name}_{word}");
            text.push_str(&format!(
                "  set {set} {{ type {family}; flags interval{flag};{timeout} elements = {{ {} }}; }}\n",
                elements.join(", ")
            ));
            let ports: Vec<String> = barrier.ports.iter().map(u16::to_string).collect();
            let ports = if ports.is_empty() || name == "allowed" {
                String::new()
            } else {
                format!(" meta l4proto {{ tcp, udp }} th dport {{ {} }}", ports.join(", "))
            };
            inward.push_str(&format!("    {word} saddr @{set}{ports} {verdict}\n"));
            outward.push_str(&format!("    {word} daddr @{set} {verdict}\n"));
        }
    }
    // Without its neighbours a host of version 6 has no network at all.
    let own = |side: &str| {
        format!(
            "    {side} \"lo\" accept\n    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert }} accept\n"
        )
    };
    let chain = |name: &str, hook: &str, side: &str, rules: &str| {
        format!(
            "  chain {name} {{\n    type filter hook {hook} priority -300; policy accept;\n{}{rules}  }}\n",
            own(side)
        )
    };
    text.push_str(&chain("inward", "prerouting", "iifname", &inward));
    if barrier.ports.is_empty() {
        text.push_str(&chain("outward", "postrouting", "oifname", &outward));
    }
    text.push_str("}\n");
    text
}

/// The networks of one family that no other one covers: what overlaps is refused by the kernel.
fn elements(all: &[Network], is_v4: bool) -> Vec<String> {
    let mut found: Vec<&Network> = Vec::new();
    for network in all.iter().filter(|network| network.is_v4() == is_v4) {
        if !found.iter().any(|other| other.covers(network)) {
            found.retain(|other| !network.covers(other));
            found.push(network);
        }
    }
    found.iter().flat_map(|network| halves(network)).collect()
}

/// A set takes no network without a prefix: it is said in two halves.
fn halves(network: &Network) -> Vec<String> {
    match (network.prefix(), network.is_v4()) {
        (0, true) => vec!["0.0.0.0/1".into(), "128.0.0.0/1".into()],
        (0, false) => vec!["::/1".into(), "8000::/1".into()],
        _ => vec![network.to_string()],
    }
}

fn nft(words: &[&str], input: Option<String>, watcher: &dyn Watcher) -> Result<String, DriverError> {
    let mut invocation = Invocation::new([&["nft"], words].concat(), ANSWER_WITHIN);
    invocation.input = input.map(String::into_bytes);
    let ended = invocation.run(watcher).map_err(|error| {
        DriverError::of(&error).with_hint("install nftables, or block by a command: `docs/runbooks.md`")
    })?;
    if ended.is_success() {
        return Ok(ended.stdout.text());
    }
    let said = ended.last_lines(3);
    let hint = if said.contains("not permitted") {
        "only root may change the packet filter: run it with `sudo -E`"
    } else {
        "look at the packet filter: `nft list ruleset`"
    };
    Err(DriverError::new(Kind::Unavailable, format!("`nft` refuses: {said}")).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_table_has_each_address_once_and_ends_by_itself_only_with_a_limit() {
        let barrier = Barrier {
            blocked: networks(&["203.0.113.7", "203.0.113.0/24", "2001:db8::/32"]),
            allowed: networks(&["192.0.2.10"]),
            ports: Vec::new(),
        };
        let text = rules("muster_x", &barrier, Some(Duration::from_mins(5)));
        assert!(text.starts_with("table inet muster_x\ndelete table inet muster_x\ntable inet muster_x {\n"));
        assert!(text.contains("set blocked_ip { type ipv4_addr; flags interval, timeout; timeout 300s; elements = { 203.0.113.0/24 }; }"), "{text}");
        assert!(
            text.contains("set allowed_ip { type ipv4_addr; flags interval; elements = { 192.0.2.10 }; }"),
            "{text}"
        );
        let place = |rule: &str| text.find(rule).unwrap_or_else(|| panic!("{rule}: {text}"));
        assert!(place("ip saddr @allowed_ip accept") < place("ip saddr @blocked_ip counter drop"));
        assert!(place("ip6 daddr @blocked_ip6 counter drop") > place("hook postrouting"));
        assert!(!rules("muster_x", &barrier, None).contains("timeout"));
        let some = Barrier { blocked: Network::ALL.to_vec(), ports: vec![80, 443], ..barrier };
        let text = rules("muster_x", &some, None);
        assert!(text.contains("elements = { 0.0.0.0/1, 128.0.0.0/1 }"), "{text}");
        assert!(
            text.contains("ip saddr @blocked_ip meta l4proto { tcp, udp } th dport { 80, 443 } counter drop"),
            "{text}"
        );
        assert!(!text.contains("postrouting"), "what is sent elsewhere is not meant: {text}");
        assert_ne!(table("r", "a"), table("r", "b"));
    }
}
