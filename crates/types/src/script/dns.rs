//! A change of a record of the domain name system, as a step of a runbook.
//!
//! What is to be answered afterwards, by whom, and how it is changed. This module never asks a name server.

use serde::Serialize;

use super::Filled;
use crate::{Span, config::DnsRecord};

/// A record that is changed, and awaited at every server that the name belongs to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DnsChange {
    /// The name.
    pub name: Filled,
    /// The kind of record.
    pub record: DnsRecord,
    /// What it becomes; several are one set. Empty where an earlier change is taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Filled>,
    /// For how long the new answer may be remembered; without it, as long as the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The servers that must answer with it; empty: those that the zone names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// How it is changed.
    pub way: DnsWay,
    /// How long the servers may take until all of them answer with it.
    pub within: Span,
    /// The step whose change is taken back: what it found before it becomes the value again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_of: Option<String>,
}

/// How a record is changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnsWay {
    /// By RFC 2136, with a key.
    Update {
        /// The server that takes changes, `host` or `host:port`; without it, the first of the zone.
        server: Option<String>,
        /// The zone; without it, the server's program finds it.
        zone: Option<String>,
        /// The file with the key. Only its name is ever told.
        key: String,
    },
    /// By a command of the provider; `DNS_NAME`, `DNS_TYPE`, `DNS_VALUE` and `DNS_TTL` are in its environment.
    Command {
        /// A line for a shell.
        text: Filled,
    },
}

impl DnsChange {
    /// Returns what would be done, one line each, as it may be shown.
    pub(super) fn lines(&self) -> Vec<String> {
        let shown: Vec<&str> = self.values.iter().map(Filled::shown).collect();
        let record = record_word(self.record);
        let what = match &self.back_of {
            Some(step) => format!("{} {record} becomes again what `{step}` has found", self.name.shown()),
            None => format!("{} {record} becomes {}", self.name.shown(), shown.join(", ")),
        };
        let how = match &self.way {
            DnsWay::Update { server, key, .. } => {
                let at = server.as_ref().map(|server| format!(" at {server}")).unwrap_or_default();
                format!("nsupdate -k {key}{at}")
            }
            DnsWay::Command { text } => text.shown().to_owned(),
        };
        let until = "wait until every authoritative server answers so, and the old answer is forgotten";
        let mut lines = vec![what];
        lines.extend(how.lines().map(str::to_owned));
        lines.push(until.to_owned());
        lines
    }
}

/// Returns the word that zones have for a kind of record.
pub fn record_word(record: DnsRecord) -> &'static str {
    match record {
        DnsRecord::A => "A",
        DnsRecord::Aaaa => "AAAA",
        DnsRecord::Cname => "CNAME",
        DnsRecord::Mx => "MX",
        DnsRecord::Ns => "NS",
        DnsRecord::Txt => "TXT",
    }
}
