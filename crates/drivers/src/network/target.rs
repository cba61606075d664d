//! What a person or the configuration names becomes a host, a port and what is spoken there.
//!
//! `https://api.example.com/health`, `db:5432` or a name alone come in; a [`Target`] leaves. A login in a URL stays out of its
//! name.

use std::collections::BTreeSet;

use muster_types::config::{Check, Component, Platform};
use ureq::http::Uri;

/// What stands behind a scheme.
const SCHEMES: &[(&str, u16, Speech)] = &[
    ("http", 80, Speech::Http),
    ("https", 443, Speech::Https),
    ("postgres", 5432, Speech::Tcp),
    ("postgresql", 5432, Speech::Tcp),
    ("redis", 6379, Speech::Tcp),
    ("rediss", 6379, Speech::Tls),
    ("tcp", 0, Speech::Tcp),
    ("tls", 443, Speech::Tls),
    ("sftp", 22, Speech::Tcp),
];

/// A server that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is named in answers, without a login.
    pub name: String,
    /// A name or an address.
    pub host: String,
    /// Without one only the name and the route are looked at.
    pub port: Option<u16>,
    /// What is spoken there.
    pub(crate) speech: Speech,
    /// The path of an HTTP request.
    pub(crate) path: String,
}

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Tcp,
    Tls,
    Http,
    Https,
}

impl Speech {
    pub(crate) fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }

    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

impl Target {
    /// Reads a URL, `host:port` or a host.
    ///
    /// # Errors
    /// Why it is none of these, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("`{}` is neither a host, nor `host:port`, nor a URL", without_login(text));
        if let Some((scheme, _)) = text.split_once("://") {
            let known = SCHEMES.iter().find(|(name, ..)| *name == scheme);
            let (_, usual, speech) = *known.ok_or_else(|| {
                let names: Vec<&str> = SCHEMES.iter().map(|(name, ..)| *name).collect();
                format!("`{scheme}` is not spoken here: there is {}", names.join(", "))
            })?;
            let uri: Uri = text.parse().map_err(|_| wrong())?;
            let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = uri.port_u16().unwrap_or(usual);
            let path = if speech.is_http() { uri.path() } else { "" };
            let name = format!("{scheme}://{}{path}", joined(&host, uri.port_u16()));
            return Ok(Self { name, host, port: (port > 0).then_some(port), speech, path: path.to_owned() });
        }
        let (host, port) = match text.rsplit_once(':') {
            // An address of version 6 has more than one colon, and no brackets where there is no port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong)?))
            }
            _ => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_host =
            !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@?#'\"".contains(c));
        if !is_host {
            return Err(wrong());
        }
        let speech = if port == Some(443) { Speech::Tls } else { Speech::Tcp };
        Ok(Self { name: joined(&host, port), host, port, speech, path: String::new() })
    }
}

/// Returns what a configuration names, each once: URLs of components, checks, the repository.
pub fn of_platform(platform: &Platform) -> Vec<Target> {
    let mut texts: Vec<String> = Vec::new();
    for component in platform.components.values() {
        match component {
            Component::Postgres(one) => {
                texts.extend(one.url.iter().cloned());
                texts.extend(one.members.values().map(|member| member.url.clone()));
            }
            Component::Redis(one) => texts.extend(one.url.iter().cloned()),
            Component::Vault(one) => texts.extend(one.url.iter().cloned()),
            Component::Etcd(one) => {
                texts
                    .extend(one.url.iter().flat_map(|urls| urls.split(',')).map(|url| url.trim().to_owned()));
            }
            Component::Sqlite(_) | Component::Files(_) | Component::Kubernetes(_) | Component::Command(_) => {
            }
        }
    }
    for check in platform.checks.values() {
        texts.extend(of_check(check));
    }
    if let Some(repository) = &platform.repository {
        let copies = repository.copies.iter().map(|copy| (&copy.location, &copy.endpoint, &copy.region));
        let own = (&repository.location, &repository.endpoint, &repository.region);
        texts.extend(std::iter::once(own).chain(copies).filter_map(|(location, endpoint, region)| {
            of_location(location, endpoint.as_deref(), region.as_deref())
        }));
    }
    let mut seen = BTreeSet::new();
    // What is no address, a socket for example, has no way through a network.
    let found = texts.iter().flat_map(|text| each_host(text)).filter_map(|text| Target::parse(&text).ok());
    found.filter(|target| seen.insert(target.name.clone())).collect()
}

/// Returns where a repository or a copy is reached; nothing for a folder.
fn of_location(location: &str, endpoint: Option<&str>, region: Option<&str>) -> Option<String> {
    let usual = match location.split_once("://")?.0 {
        "s3" => format!("https://s3.{}.amazonaws.com", region.unwrap_or("us-east-1")),
        "gs" => "https://storage.googleapis.com".to_owned(),
        "sftp" => return Some(location.to_owned()),
        _ => return endpoint.map(str::to_owned),
    };
    Some(endpoint.map_or(usual, str::to_owned))
}

/// A URL of PostgreSQL may name several hosts, each with its port.
fn each_host(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if !hosts.contains(',') {
        return vec![url.to_owned()];
    }
    hosts.split(',').map(|host| format!("{scheme}://{host}")).collect()
}

fn of_check(check: &Check) -> Vec<String> {
    let url = |text: &String| text.split_whitespace().last().unwrap_or_default().to_owned();
    let chain = check.chain.iter().flat_map(|chain| chain.requests.iter().take(1));
    let urls = check.http.iter().chain(&check.statuspage).map(url).chain(chain.map(|one| url(&one.http)));
    let tls = check.tls.iter().map(|address| format!("tls://{address}"));
    let tcp = check.tcp.iter().cloned();
    let prometheus = check.prometheus.iter().map(|asked| asked.url.clone());
    urls.chain(tls).chain(tcp).chain(prometheus).collect()
}

fn joined(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn without_login(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, after)) => format!("…@{after}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_a_place_and_a_name_are_targets_and_a_login_is_not_in_their_names() {
        for (text, name, host, port, speech) in [
            (
                "https://u:p@api.test/health?k=1",
                "https://api.test/health",
                "api.test",
                Some(443),
                Speech::Https,
            ),
            ("http://api.test:8080", "http://api.test:8080/", "api.test", Some(8080), Speech::Http),
            ("postgres://u:p@db/agents", "postgres://db", "db", Some(5432), Speech::Tcp),
            ("db:5433", "db:5433", "db", Some(5433), Speech::Tcp),
            ("[fd00::1]:443", "[fd00::1]:443", "fd00::1", Some(443), Speech::Tls),
            ("fd00::1", "fd00::1", "fd00::1", None, Speech::Tcp),
            ("api.test", "api.test", "api.test", None, Speech::Tcp),
        ] {
            let found = Target::parse(text).unwrap();
            assert_eq!(
                (found.name.as_str(), found.host.as_str(), found.port, found.speech),
                (name, host, port, speech)
            );
        }
        for text in ["", "a b", "db:", "db:0", "db:99999", "ftp://x", "http://", "/run/socket"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
        let told = Target::parse("us er:secret@h").unwrap_err();
        assert!(!told.contains("secret"), "{told}");
    }

    #[test]
    fn a_repository_elsewhere_is_looked_at_where_it_is_reached() {
        for (location, endpoint, told) in [
            ("s3://bucket/muster", None, Some("https://s3.us-east-1.amazonaws.com")),
            ("s3://bucket/muster", Some("http://store:8333"), Some("http://store:8333")),
            ("gs://bucket/muster", None, Some("https://storage.googleapis.com")),
            ("sftp://muster@vault:2222/srv", None, Some("sftp://muster@vault:2222/srv")),
            ("/var/backups/agents", None, None),
        ] {
            assert_eq!(of_location(location, endpoint, None).as_deref(), told, "{location}");
        }
        let target = Target::parse("sftp://muster@vault/srv").unwrap();
        assert_eq!((target.name.as_str(), target.port), ("sftp://vault", Some(22)));
    }
}
