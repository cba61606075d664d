//! Asks a name server for one name and tells its code (`[DNS_RCODE]`) and what it answered (`[BODY]`).
//!
//! One answer is a plain text, several are a JSON list in the order of their text, none is an empty text. It asks over UDP
//! and, where the answer does not fit, over TCP. It asks one server, and never the host's own resolver: what a client on
//! this host happens to remember says nothing about the server.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    time::{Duration, Instant},
};

use muster_types::{
    config::{DnsCheck, DnsRecord},
    event::Watcher,
};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::RData};

use super::{CheckConfigError, Look, Observation, Unseen, connection_failed, no_answer, wrong};

/// A datagram may be lost, so the question is sent again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const PORT: u16 = 53;

pub(super) fn validate(check: &DnsCheck) -> Result<(), CheckConfigError> {
    let is_name = Name::new(&check.name).is_ok()
        && check.name.strip_suffix('.').unwrap_or(&check.name).split('.').all(|label| !label.is_empty());
    if !is_name {
        let message = "this is no name of the domain name system";
        return Err(wrong(message, &check.name, "write `api.example.com`"));
    }
    match &check.server {
        Some(server) if server.trim().is_empty() || server.contains("://") => {
            Err(wrong("this is no name server", server, "write `192.0.2.53` or `ns1.example.com:53`"))
        }
        _ => Ok(()),
    }
}

pub(super) fn observe(
    check: &DnsCheck,
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    validate(check).map_err(|error| error.to_string())?;
    let (check, timeout) = (check.clone(), look.timeout);
    look.supervise(watcher, move |_stop| {
        let begun = Instant::now();
        let server = server(check.server.as_deref())?;
        let reply = ask(server, &check, begun, timeout)?;
        let packet = Packet::parse(&reply).map_err(|error| malformed(&error))?;
        Ok(Observation {
            body: Some(body(&packet, check.record)),
            rcode: Some(code(packet.rcode())),
            response_time: begun.elapsed(),
            is_connected: true,
            ip: Some(server.ip().to_string()),
            ..Observation::default()
        })
    })
}

/// What one server answers to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// `NOERROR`, `NXDOMAIN`.
    pub(crate) rcode: String,
    /// The records that were asked for, in the order of their texts.
    pub(crate) records: Vec<String>,
    /// For how long they may be remembered; nothing where there are none.
    pub(crate) ttl_seconds: Option<u32>,
    /// Whether the name belongs to the server that answers.
    pub(crate) is_authoritative: bool,
}

/// Asks one server, and waits for so long at most; the error is a reason for people.
pub(crate) fn query(
    server: SocketAddr,
    name: &str,
    record: DnsRecord,
    timeout: Duration,
) -> Result<Reply, String> {
    let check = DnsCheck { name: name.to_owned(), record, server: None };
    validate(&check).map_err(|error| error.to_string())?;
    let reply = ask(server, &check, Instant::now(), timeout).map_err(|unseen| unseen.reason)?;
    let packet = Packet::parse(&reply).map_err(|error| malformed(&error).reason)?;
    let ours = packet.answers.iter().filter(|answer| answer.rdata.type_code() == kind(record));
    Ok(Reply {
        rcode: code(packet.rcode()),
        records: records(&packet, record),
        ttl_seconds: ours.map(|answer| answer.ttl).max(),
        is_authoritative: packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER),
    })
}

fn server(given: Option<&str>) -> Result<SocketAddr, Unseen> {
    let given = match given {
        Some(given) => given.trim().to_owned(),
        None => fs::read_to_string("/etc/resolv.conf")
            .ok()
            .and_then(|text| {
                let found = text.lines().find_map(|line| line.strip_prefix("nameserver"));
                found.and_then(|rest| rest.split_whitespace().next().map(str::to_owned))
            })
            .ok_or_else(|| "/etc/resolv.conf names no server: give one with `server`".to_owned())?,
    };
    if let Ok(ip) = given.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, PORT));
    }
    let found = given.to_socket_addrs().or_else(|_| (given.as_str(), PORT).to_socket_addrs());
    let first = found.ok().and_then(|mut addresses| addresses.next());
    first.ok_or_else(|| Unseen {
        reason: format!("the name server `{given}` has no address"),
        is_unconnected: true,
    })
}

fn ask(server: SocketAddr, check: &DnsCheck, begun: Instant, timeout: Duration) -> Result<Vec<u8>, Unseen> {
    let id = fastrand::u16(..);
    let question = question(check, id)?;
    let io = |error: &std::io::Error| connection_failed(error, timeout);
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(server).map(|()| socket));
    let socket = socket.map_err(|error| io(&error))?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(no_answer(timeout).into());
        }
        socket.send(&question).map_err(|error| io(&error))?;
        let until = Instant::now() + left.min(ASK_AGAIN);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left)).map_err(|error| io(&error))?;
            let size = match socket.recv(&mut buffer) {
                Ok(size) => size,
                Err(error) if is_late(&error) => break,
                Err(error) => return Err(io(&error)),
            };
            let reply = buffer.get(..size).unwrap_or_default();
            match is_cut(reply, id, check) {
                // A stranger's datagram, or one to an earlier question.
                None => {}
                Some(false) => return Ok(reply.to_owned()),
                Some(true) => return ask_over_tcp(server, &question, begun, timeout),
            }
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn question(check: &DnsCheck, id: u16) -> Result<Vec<u8>, Unseen> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(&check.name).map_err(|error| malformed(&error))?;
    packet.questions.push(Question::new(name, kind(check.record).into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().map_err(|error| malformed(&error))
}

/// Tells whether a reply to our question was cut; `None` when it is no reply to it.
fn is_cut(reply: &[u8], id: u16, check: &DnsCheck) -> Option<bool> {
    let header = simple_dns::header_buffer::id(reply).ok()?;
    let is_cut = simple_dns::header_buffer::has_flags(reply, PacketFlag::TRUNCATION).ok()?;
    if header != id {
        return None;
    }
    match Packet::parse(reply) {
        // A server that understood nothing need not repeat the question.
        Ok(packet) => {
            let asked = packet.questions.first();
            let is_ours = asked.is_none_or(|question| {
                question.qname.to_string().eq_ignore_ascii_case(check.name.trim_end_matches('.'))
            });
            is_ours.then_some(is_cut)
        }
        Err(_) => is_cut.then_some(true),
    }
}

fn ask_over_tcp(
    server: SocketAddr,
    question: &[u8],
    begun: Instant,
    timeout: Duration,
) -> Result<Vec<u8>, Unseen> {
    let left = timeout.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&server, left)?;
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))?;
        let size = u16::try_from(question.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&size.to_be_bytes(), question].concat())?;
        let mut size = [0; 2];
        stream.read_exact(&mut size)?;
        let mut reply = vec![0; usize::from(u16::from_be_bytes(size))];
        stream.read_exact(&mut reply)?;
        Ok(reply)
    };
    exchange().map_err(|error| connection_failed(&error, timeout))
}

fn kind(record: DnsRecord) -> TYPE {
    match record {
        DnsRecord::A => TYPE::A,
        DnsRecord::Aaaa => TYPE::AAAA,
        DnsRecord::Cname => TYPE::CNAME,
        DnsRecord::Mx => TYPE::MX,
        DnsRecord::Ns => TYPE::NS,
        DnsRecord::Txt => TYPE::TXT,
    }
}

/// Says what was answered. A chain of other names before the address is not what was asked for.
fn body(packet: &Packet<'_>, record: DnsRecord) -> String {
    match records(packet, record).as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        many => serde_json::json!(many).to_string(),
    }
}

fn records(packet: &Packet<'_>, record: DnsRecord) -> Vec<String> {
    let mut found: Vec<String> = packet
        .answers
        .iter()
        .filter(|answer| answer.rdata.type_code() == kind(record))
        .filter_map(|answer| match &answer.rdata {
            RData::A(a) => Some(Ipv4Addr::from(a.address).to_string()),
            RData::AAAA(a) => Some(Ipv6Addr::from(a.address).to_string()),
            RData::CNAME(name) => Some(name.0.to_string()),
            RData::NS(name) => Some(name.0.to_string()),
            RData::MX(mx) => Some(format!("{} {}", mx.preference, mx.exchange)),
            RData::TXT(text) => String::try_from(text.clone()).ok(),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

/// The names that `dig` shows.
fn code(code: RCODE) -> String {
    match code {
        RCODE::NoError => "NOERROR",
        RCODE::FormatError => "FORMERR",
        RCODE::ServerFailure => "SERVFAIL",
        RCODE::NameError => "NXDOMAIN",
        RCODE::NotImplemented => "NOTIMP",
        RCODE::Refused => "REFUSED",
        RCODE::NOTAUTH => "NOTAUTH",
        RCODE::NOTZONE => "NOTZONE",
        other => return format!("{other:?}").to_uppercase(),
    }
    .to_owned()
}

fn malformed(error: &simple_dns::SimpleDnsError) -> Unseen {
    format!("the answer is not as the domain name system has it: {error}").into()
}
