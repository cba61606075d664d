//! What `muster network` saw: each probe with a verdict and a time of its own.
//!
//! This module never probes: `drivers` does.

use serde::{Deserialize, Serialize};

/// One look at one part of the way to a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Where it was made: `this host`, or the container or namespace.
    pub from: String,
    /// What it is about, as it was named; nothing where it is about the place itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What was looked at.
    pub probe: ProbeKind,
    /// Which one of several: the name server, the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What came of it.
    pub verdict: ProbeVerdict,
    /// Why it failed or is not known, as one word: `no-answer`, `refused`, `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was found, for people.
    pub found: String,
    /// What to do next, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What a probe looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeKind {
    /// The file that names the name servers.
    ResolvConf,
    /// The interfaces that are up, with addresses and MTU.
    Interfaces,
    /// The rules of the firewall.
    Firewall,
    /// The Docker networks of a service's container.
    Docker,
    /// What programs of this place get for the name.
    Resolver,
    /// What one name server answers.
    NameServer,
    /// What the servers answer that the name belongs to.
    Authoritative,
    /// The way to an address: interface, gateway, MTU.
    Route,
    /// A TCP connection to one address.
    Tcp,
    /// A TLS handshake: chain, name, end.
    Tls,
    /// The status of an HTTP request.
    Http,
    /// What a prober elsewhere sees.
    Outside,
    /// The looks at a target that had no time left.
    Deadline,
}

impl ProbeKind {
    /// Returns the word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::ResolvConf => "resolv.conf",
            Self::Interfaces => "interfaces",
            Self::Firewall => "firewall",
            Self::Docker => "docker",
            Self::Resolver => "resolver",
            Self::NameServer => "name server",
            Self::Authoritative => "authoritative",
            Self::Route => "route",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Outside => "outside",
            Self::Deadline => "deadline",
        }
    }
}

/// What came of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeVerdict {
    /// As it should be.
    Ok,
    /// Not as it should be.
    Failed,
    /// It could not be looked at.
    Unknown,
}

impl ProbeVerdict {
    /// Returns the word that is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}
