//! Where a Redis server is and who asks, as a URL says it.
//!
//! In: `redis://user:password@host:port/`, with `rediss://` for TLS and its files as `?cacert=…&cert=…&key=…`. Out: its
//! parts, checked. It never connects and never shows a password. Read next: `wire.rs`.

use std::{fmt, path::PathBuf};

use muster_types::{Secret, config::MissingSecret};

use crate::{
    DriverError,
    address::{decode, split_port, wrong},
};

/// The port when the URL names none.
const PORT: u16 = 6379;
/// A sample for hints.
const SAMPLE: &str = "write `url: redis://muster@cache:6379/`";

/// A server and a user.
#[derive(Clone)]
pub(super) struct Address {
    /// A host name or address; for a Unix socket its path.
    pub(super) host: String,
    pub(super) port: u16,
    /// Without one the server means `default`.
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    /// Why there is none although the configuration names one.
    pub(super) password_missing: Option<MissingSecret>,
    pub(super) tls: Option<Tls>,
}

/// The files of a TLS connection; without `roots` those of the host.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    pub(super) roots: Option<PathBuf>,
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// Reads a URL. `password` wins over the one of the URL.
    ///
    /// # Errors
    /// `Config`: what is wrong, without the password.
    pub(super) fn parse(url: &str, password: Option<&str>) -> Result<Self, DriverError> {
        let (rest, has_tls) = if let Some(rest) = url.strip_prefix("redis://") {
            (rest, false)
        } else if let Some(rest) = url.strip_prefix("rediss://") {
            (rest, true)
        } else {
            return Err(wrong("a Redis URL begins with `redis://` or `rediss://`".into(), SAMPLE));
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(database, "" | "0") {
            return Err(wrong(
                format!("the URL names the database `{database}`"),
                "leave it out: a backup holds all databases of the server",
            ));
        }
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, own) = login.split_once(':').unwrap_or((login, ""));
        if place.contains(',') {
            return Err(wrong("the URL names several hosts".into(), "name the one server that is meant"));
        }
        let (host, port) = split_port(place, PORT)?;
        if host.is_empty() {
            return Err(wrong("the URL names no host".into(), SAMPLE));
        }
        let (user, own) = (decode(user)?, decode(own)?);
        let secret = password.map(ToOwned::to_owned).or((!own.is_empty()).then_some(own));
        Ok(Self {
            host: host.to_owned(),
            port,
            user: Some(user).filter(|user| !user.is_empty()),
            password: secret.map(Secret::new),
            password_missing: None,
            tls: read_options(query, has_tls)?,
        })
    }

    /// The user's name for people and for rights.
    pub(super) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("default")
    }
}

impl fmt::Display for Address {
    /// For people, and as the name of the source: `cache:6379`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.starts_with('/') {
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn read_options(query: &str, has_tls: bool) -> Result<Option<Tls>, DriverError> {
    let (mut roots, mut certificate, mut key) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = PathBuf::from(decode(value)?);
        match name {
            "cacert" => roots = Some(value),
            "cert" => certificate = Some(value),
            "key" => key = Some(value),
            other => {
                return Err(wrong(
                    format!("the URL has an option `{other}` that is not known"),
                    "known are cacert, cert and key, each with a file in PEM form",
                ));
            }
        }
    }
    if !has_tls && !query.is_empty() {
        return Err(wrong(
            "the URL names files for TLS and does not ask for TLS".into(),
            "write `rediss://`",
        ));
    }
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(wrong("`cert` and `key` belong together".into(), "give both")),
    };
    Ok(has_tls.then_some(Tls { roots, client }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_its_parts_with_the_usual_defaults() {
        let address = Address::parse("redis://muster:p%40ss@cache", None).unwrap();
        assert_eq!((address.host.as_str(), address.port, address.user()), ("cache", 6379, "muster"));
        assert_eq!(address.password.as_ref().unwrap().expose(), "p@ss");
        assert!(address.tls.is_none());
        let own = Address::parse("rediss://:old@[::1]:7000/0?cacert=%2Fca", Some("new")).unwrap();
        assert_eq!((own.to_string().as_str(), own.user()), ("[::1]:7000", "default"));
        assert_eq!(own.password.as_ref().unwrap().expose(), "new");
        assert_eq!(own.tls.unwrap().roots.unwrap(), PathBuf::from("/ca"));
    }

    #[test]
    fn what_is_wrong_in_a_url_is_named_without_the_password() {
        for (url, expected) in [
            ("http://x", "begins with `redis://`"),
            ("redis://u:geheim@", "no host"),
            ("redis://u:geheim@a,b", "several hosts"),
            ("redis://u:geheim@a:99999", "not a port"),
            ("redis://u:geheim%zz@a", "two hex digits"),
            ("redis://u:geheim@a/3", "the database `3`"),
            ("redis://u:geheim@a?cacert=/x", "does not ask for TLS"),
            ("rediss://u:geheim@a?cert=/x", "belong together"),
            ("rediss://u:geheim@a?insecure", "`insecure`"),
        ] {
            let error = Address::parse(url, None).err().unwrap().to_string();
            assert!(error.contains(expected) && !error.contains("geheim"), "{url}: {error}");
        }
    }
}
