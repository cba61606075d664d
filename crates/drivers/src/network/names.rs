//! From a name to addresses, by every way there is: the resolver of the place, each of its name servers asked by itself, and
//! the servers that the name belongs to.
//!
//! A broken one among several is hidden from programs, which wait and ask the next one: here each has its own verdict. What
//! the resolver says is compared with what the authoritative servers say: a difference is an old answer that somebody still
//! remembers, or an address of an inside that outsiders do not get.
//!
//! It never asks a name server that the place does not name, but for the authoritative ones.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::mpsc::channel,
    thread,
    time::Duration,
};

use muster_types::{Span, config::DnsRecord, network::ProbeKind};

use super::{Found, Teller};
use crate::checks::dns;

/// The port of name servers.
const PORT: u16 = 53;
/// The usual end of a list of search domains.
const SEARCH_MAX: usize = 6;
/// A zone with more servers than this answers alike everywhere.
const AUTHORITATIVE_MAX: usize = 8;

/// How names are found in a place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// The file with names of its own.
    pub(super) hosts: PathBuf,
    /// Whether programs of this process ask as those of the place do.
    pub(super) is_ours: bool,
}

/// Reads a `resolv.conf`; the error is a reason for people.
pub(super) fn read(path: &Path, hosts: &Path, is_ours: bool) -> Result<Names, String> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut names = Names { hosts: hosts.to_owned(), is_ours, ..Names::default() };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let ip = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                names.servers.extend(ip.map(|ip| SocketAddr::new(ip, PORT)));
            }
            Some("search" | "domain") => {
                names.search =
                    words.take(SEARCH_MAX).map(|word| word.trim_end_matches('.').to_owned()).collect();
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Looks a name up in every way, and returns the addresses that were found.
pub(super) fn look(teller: &Teller, host: &str, names: &Names, timeout: Duration) -> Vec<IpAddr> {
    let mut found: BTreeSet<IpAddr> = BTreeSet::new();
    let mut resolved = BTreeSet::new();
    let listed = listed(&names.hosts, host);
    teller.probe(ProbeKind::Resolver, None, || {
        let (told, addresses) = resolve(host, names, &listed, timeout);
        resolved = addresses;
        told
    });
    found.extend(&resolved);
    // A file comes before every server, and for names like `localhost` no server needs to know more.
    if !listed.is_empty() || host == "localhost" || host.ends_with(".localhost") {
        return found.into_iter().collect();
    }
    let mut answered = BTreeSet::new();
    for server in &names.servers {
        if teller.is_stopped() {
            return found.into_iter().collect();
        }
        teller.probe(ProbeKind::NameServer, Some(server.ip().to_string()), || {
            let (told, addresses) = ask(*server, host, names, timeout);
            answered.extend(&addresses);
            told
        });
    }
    found.extend(&answered);
    if host.trim_end_matches('.').contains('.') && !teller.is_stopped() {
        let known = if resolved.is_empty() { answered } else { resolved };
        teller.probe(ProbeKind::Authoritative, None, || {
            let (told, addresses) = authoritative_answer(host, names, &known, timeout);
            found.extend(addresses);
            told
        });
    }
    found.into_iter().collect()
}

/// What a program of the place gets.
fn resolve(host: &str, names: &Names, listed: &[IpAddr], timeout: Duration) -> (Found, BTreeSet<IpAddr>) {
    if !listed.is_empty() {
        return (
            Found::ok(format!("{} ({})", shown(listed), names.hosts.display())),
            listed.iter().copied().collect(),
        );
    }
    if names.is_ours {
        let (sender, receiver) = channel();
        let host = host.to_owned();
        // The C library waits as long as its settings say; nobody waits for it here.
        thread::spawn(move || {
            sender.send((host.as_str(), 0).to_socket_addrs().map(|all| all.map(|one| one.ip()).collect()))
        });
        return match receiver.recv_timeout(timeout) {
            Ok(Ok(found)) => {
                let found: BTreeSet<IpAddr> = found;
                (Found::ok(shown(found.iter())), found)
            }
            Ok(Err(error)) => {
                (Found::failed("no-such-name", format!("the name is not known: {error}")), BTreeSet::new())
            }
            Err(_) => (
                Found::failed("no-answer", format!("no answer within {}", Span::from(timeout))),
                BTreeSet::new(),
            ),
        };
    }
    let mut last = Found::failed("no-name-server", "no name server is named, and no file has the name");
    for server in &names.servers {
        let (told, addresses) = ask(*server, host, names, timeout);
        let is_final = told.reason != Some("no-answer") && told.reason != Some("refused");
        last = Found { text: format!("{} (by {})", told.text, server.ip()), ..told };
        if is_final {
            return (last, addresses);
        }
    }
    (last, BTreeSet::new())
}

/// Asks one server, with the search domains of the place.
fn ask(server: SocketAddr, host: &str, names: &Names, timeout: Duration) -> (Found, BTreeSet<IpAddr>) {
    let mut candidates = vec![host.to_owned()];
    if !host.contains('.') {
        candidates.splice(0..0, names.search.iter().map(|domain| format!("{host}.{domain}")));
    }
    let mut last = Found::failed("no-such-name", "the name is not known");
    for candidate in candidates {
        match addresses(server, &candidate, timeout) {
            Ok((found, ttl, _)) if !found.is_empty() => {
                let ttl = ttl.map(|seconds| format!(", for {seconds} s")).unwrap_or_default();
                return (Found::ok(format!("{}{ttl}", shown(found.iter()))), found);
            }
            Ok((.., rcode)) => {
                last = match rcode.as_str() {
                    "NOERROR" => {
                        Found::failed("no-address", format!("{candidate} is there, and has no address"))
                    }
                    "NXDOMAIN" => {
                        Found::failed("no-such-name", format!("NXDOMAIN: {candidate} is not known"))
                    }
                    _ => Found::failed("server-failed", format!("{rcode} for {candidate}")),
                };
            }
            Err(why) => return (unanswered(&why), BTreeSet::new()),
        }
    }
    (last, BTreeSet::new())
}

fn unanswered(why: &str) -> Found {
    let reason = if why.contains("refused") {
        "refused"
    } else if why.contains("unreachable") {
        "no-route"
    } else {
        "no-answer"
    };
    Found::failed(reason, why)
}

type Addresses = (BTreeSet<IpAddr>, Option<u32>, String);

/// Both kinds of addresses that a server knows for a name, for how long, and its code.
fn addresses(server: SocketAddr, name: &str, timeout: Duration) -> Result<Addresses, String> {
    let four = dns::query(server, name, DnsRecord::A, timeout)?;
    let mut found: BTreeSet<IpAddr> = four.records.iter().filter_map(|one| one.parse().ok()).collect();
    let mut ttl = four.ttl_seconds;
    // A server that has answered once and is silent now has no address of the other kind for us.
    if let Ok(six) = dns::query(server, name, DnsRecord::Aaaa, timeout) {
        found.extend(six.records.iter().filter_map(|one| one.parse::<IpAddr>().ok()));
        ttl = ttl.max(six.ttl_seconds);
    }
    Ok((found, ttl, four.rcode))
}

/// Asks all servers that the name belongs to, and compares them with what the place gets.
fn authoritative_answer(
    host: &str,
    names: &Names,
    resolved: &BTreeSet<IpAddr>,
    timeout: Duration,
) -> (Found, BTreeSet<IpAddr>) {
    let servers = match authoritative(host, &names.servers, timeout) {
        Ok(servers) => servers,
        Err(why) => return (Found::unknown("no-zone", why), BTreeSet::new()),
    };
    let (mut found, mut said, mut silent) = (BTreeSet::new(), Vec::new(), Vec::new());
    for (name, server) in &servers {
        match addresses(*server, host, timeout) {
            Ok((own, ttl, rcode)) => {
                let ttl = ttl.map(|seconds| format!(", for {seconds} s")).unwrap_or_default();
                let what = if own.is_empty() { rcode } else { format!("{}{ttl}", shown(own.iter())) };
                said.push(format!("{name}: {what}"));
                found.extend(own);
            }
            Err(why) => silent.push(format!("{name} ({}): {why}", server.ip())),
        }
    }
    let all = said.iter().chain(&silent).cloned().collect::<Vec<_>>().join("; ");
    let told = if said.is_empty() {
        Found::failed("no-answer", all)
    } else if found.is_empty() {
        Found::failed("no-such-name", all)
    } else if !resolved.is_empty() && found.is_disjoint(resolved) {
        Found::failed("differs", format!("{all}; this place gets {}", shown(resolved.iter()))).with_hint(
            "an old answer is remembered until its time is over, or this place is meant to see another one",
        )
    } else if !silent.is_empty() {
        Found::failed("partly-silent", all)
    } else {
        Found::ok(all)
    };
    (told, found)
}

/// Finds the servers of the zone that a name is in; the error is a reason for people.
pub(crate) fn authoritative(
    name: &str,
    ask: &[SocketAddr],
    timeout: Duration,
) -> Result<Vec<(String, SocketAddr)>, String> {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    let mut why = "no name server was asked".to_owned();
    for server in ask {
        // The last label alone is no zone of ours.
        for from in 0..labels.len().saturating_sub(1) {
            let zone = labels.get(from..).unwrap_or_default().join(".");
            let reply = match dns::query(*server, &zone, DnsRecord::Ns, timeout) {
                Ok(reply) => reply,
                Err(error) => {
                    why = format!("{}: {error}", server.ip());
                    break;
                }
            };
            if reply.records.is_empty() {
                why = format!("{} knows no zone of {name}", server.ip());
                continue;
            }
            let mut found = Vec::new();
            for one in reply.records.iter().take(AUTHORITATIVE_MAX) {
                let ips = addresses(*server, one, timeout).map(|(ips, ..)| ips).unwrap_or_default();
                found.extend(ips.into_iter().next().map(|ip| (one.clone(), SocketAddr::new(ip, PORT))));
            }
            if !found.is_empty() {
                return Ok(found);
            }
            why = format!(
                "{} names {} for {zone}, and no address of them",
                server.ip(),
                reply.records.join(", ")
            );
        }
    }
    Err(why)
}

/// The addresses that a file of hosts has for a name.
fn listed(hosts: &Path, host: &str) -> Vec<IpAddr> {
    let text = fs::read_to_string(hosts).unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let found = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let ip = words.next()?.parse::<IpAddr>().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(ip)
    });
    found.collect()
}

fn shown<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses.into_iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
