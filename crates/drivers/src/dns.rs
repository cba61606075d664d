//! A record of the domain name system as its authoritative servers answer it, and the lines that change it by RFC 2136.
//!
//! A change comes in; what each server answers leaves, and a script for the operator's own `nsupdate`, which knows the zones
//! and the keys (TSIG). The servers are asked directly: a resolver would answer with what it remembers.
//!
//! It never runs the script: the engine keeps it like any command. Nothing but names, addresses and quoted texts gets into
//! it.

use std::{
    fs,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use muster_types::{
    Kind,
    config::DnsRecord,
    script::{DnsChange, DnsWay, record_word},
};
use serde::{Deserialize, Serialize};

use crate::{DriverError, checks::dns, network::names};

/// How long one server may take for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const PORT: u16 = 53;
/// What a record is remembered for where nobody says and there was none before.
const TTL_SECONDS: u32 = 60;

/// One server that the name belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// As it is named.
    pub name: String,
    address: SocketAddr,
}

/// A record as a server answers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// In the order of their texts; empty: there is none.
    pub values: Vec<String>,
    /// For how long it may be remembered; 0 where there is none.
    pub ttl_seconds: u32,
}

/// Returns the servers that must answer with the change: those that it names, else those of the zone.
///
/// # Errors
/// `Unavailable`: no server is known, with what was asked.
pub fn servers(change: &DnsChange) -> Result<Vec<Server>, DriverError> {
    if !change.servers.is_empty() {
        let found = change.servers.iter().map(|name| {
            address(name).map(|address| Server { name: name.clone(), address }).ok_or_else(|| {
                DriverError::new(Kind::Unavailable, format!("the name server `{name}` has no address"))
            })
        });
        return found.collect();
    }
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let ours = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    let ours: Vec<SocketAddr> = ours.map(|ip| SocketAddr::new(ip, PORT)).collect();
    let found = names::authoritative(change.name.expose(), &ours, ANSWER_WITHIN).map_err(|why| {
        let message = format!("the servers of {} are not known: {why}", change.name.shown());
        DriverError::new(Kind::Unavailable, message).with_hint("name them with `servers: [ns1.example.com]`")
    })?;
    Ok(found.into_iter().map(|(name, address)| Server { name, address }).collect())
}

/// Asks one server; the error is a reason for people.
pub fn ask(server: &Server, name: &str, record: DnsRecord) -> Result<Record, String> {
    let reply = dns::query(server.address, name, record, ANSWER_WITHIN)?;
    match reply.rcode.as_str() {
        "NOERROR" | "NXDOMAIN" if reply.is_authoritative => {}
        "NOERROR" | "NXDOMAIN" => return Err("it answers for others: the name does not belong to it".into()),
        rcode => return Err(format!("it answers {rcode}")),
    }
    let values = reply.records.iter().map(|value| plain(value, record)).collect();
    Ok(Record { values, ttl_seconds: reply.ttl_seconds.unwrap_or_default() })
}

/// Returns the values as servers answer them: sorted, names without the full stop at their end.
pub fn wanted(values: &[String], record: DnsRecord) -> Vec<String> {
    let mut found: Vec<String> = values.iter().map(|value| plain(value.trim(), record)).collect();
    found.sort();
    found.dedup();
    found
}

/// Says why a change cannot be meant; nothing when it can.
///
/// # Errors
/// `Input`, with the value.
pub fn validate(name: &str, values: &[String], record: DnsRecord) -> Result<(), DriverError> {
    let is_name = |text: &str| {
        let text = text.trim_end_matches('.');
        !text.is_empty()
            && text.split('.').all(|label| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b))
            })
    };
    let wrong = |value: &str, hint: &str| {
        let message = format!("`{value}` is no value of a record of type {}", record_word(record));
        Err(DriverError::new(Kind::Input, message).with_hint(hint))
    };
    if !is_name(name) {
        let message = format!("`{name}` is no name of the domain name system");
        return Err(DriverError::new(Kind::Input, message).with_hint("write `api.example.com`"));
    }
    for value in values.iter().map(|value| value.trim()) {
        match record {
            DnsRecord::A if !value.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4()) => {
                return wrong(value, "write an address: `198.51.100.7`");
            }
            DnsRecord::Aaaa if !value.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => {
                return wrong(value, "write an address: `2001:db8::7`");
            }
            DnsRecord::Cname | DnsRecord::Ns if !is_name(value) => return wrong(value, "write a name"),
            DnsRecord::Mx => {
                let is_mx = value
                    .split_once(' ')
                    .is_some_and(|(rank, host)| rank.parse::<u16>().is_ok() && is_name(host));
                if !is_mx {
                    return wrong(value, "write a number and a name: `10 mail.example.com`");
                }
            }
            DnsRecord::Txt
                if value.bytes().any(|b| b == b'"' || b == b'\\' || b < 0x20) || value.len() > 255 =>
            {
                return wrong(value, "write at most 255 characters without quotes and backslashes");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns a script for a shell that changes the record with `nsupdate`: only if it still is what was found.
///
/// `values` empty removes the record.
pub fn script(change: &DnsChange, found: &Record, values: &[String], ttl_seconds: u32) -> Option<String> {
    let DnsWay::Update { server, zone, key } = &change.way else { return None };
    let (name, record) = (absolute(change.name.expose()), record_word(change.record));
    let data = |value: &String| match change.record {
        DnsRecord::Txt => format!("\"{value}\""),
        DnsRecord::Cname | DnsRecord::Ns | DnsRecord::Mx => absolute(value),
        _ => value.clone(),
    };
    let mut lines = Vec::new();
    if let Some(server) = server {
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, port),
            _ => (server.as_str(), "53"),
        };
        lines.push(format!("server {host} {port}"));
    }
    lines.extend(zone.as_ref().map(|zone| format!("zone {}", absolute(zone))));
    if found.values.is_empty() {
        lines.push(format!("prereq nxrrset {name} {record}"));
    }
    lines.extend(
        found.values.iter().map(|value| format!("prereq yxrrset {name} IN {record} {}", data(value))),
    );
    lines.push(format!("update delete {name} {record}"));
    lines.extend(
        values.iter().map(|value| format!("update add {name} {ttl_seconds} {record} {}", data(value))),
    );
    lines.push("send".into());
    // Not one of these lines is the end of the text: names and values have no line breaks.
    Some(format!("nsupdate -k {} <<'END_OF_UPDATE'\n{}\nEND_OF_UPDATE\n", quoted(key), lines.join("\n")))
}

/// For how long the new answer may be remembered.
pub fn ttl_seconds(change: &DnsChange, found: &Record) -> u32 {
    let told = change.ttl.map(|ttl| u32::try_from(ttl.duration().as_secs()).unwrap_or(u32::MAX));
    told.unwrap_or(if found.values.is_empty() { TTL_SECONDS } else { found.ttl_seconds })
}

fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, PORT));
    }
    let found = text.to_socket_addrs().or_else(|_| (text, PORT).to_socket_addrs());
    found.ok()?.next()
}

fn plain(value: &str, record: DnsRecord) -> String {
    match record {
        DnsRecord::Cname | DnsRecord::Ns | DnsRecord::Mx => value.trim_end_matches('.').to_lowercase(),
        DnsRecord::Aaaa => value.parse::<IpAddr>().map_or_else(|_| value.to_owned(), |ip| ip.to_string()),
        DnsRecord::A | DnsRecord::Txt => value.to_owned(),
    }
}

fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
