//! Where a PostgreSQL server is and who asks, as a connection URL says it.
//!
//! In: `postgres://user:password@host:port/database?sslmode=…`, as libpq writes it. Out: its parts, checked, with
//! libpq's defaults. It never connects and never shows a password. Read next: `wire.rs`.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use muster_types::{Secret, config::MissingSecret};

use crate::{
    DriverError,
    address::{decode, read_port, split_port, wrong},
};

/// The port when the URL names none.
const PORT: u16 = 5432;

/// How much a connection trusts the network, as libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// A server, a database and a user.
#[derive(Clone)]
pub(super) struct Address {
    /// A host name or address; for a Unix socket the folder of it.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password: Option<Secret>,
    /// Why there is none although the configuration names one.
    pub(super) password_missing: Option<MissingSecret>,
    pub(super) tls: TlsMode,
    /// The certificates to trust; `system` stands for those of the host.
    pub(super) root_certificate: Option<PathBuf>,
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    /// Settings of the session, as `-c name=value`.
    pub(super) options: Option<&'static str>,
}

impl Address {
    /// Reads a URL. `password` wins over the one of the URL.
    ///
    /// # Errors
    /// `Config`: what is wrong, without the password.
    pub(super) fn parse(url: &str, password: Option<&str>) -> Result<Self, DriverError> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| {
                wrong(
                    "a PostgreSQL URL begins with `postgres://`".into(),
                    "write `url: postgres://muster@db:5432/app`",
                )
            })?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, own_password) = login.split_once(':').unwrap_or((login, ""));
        if place.contains(',') {
            return Err(wrong(
                "the URL names several hosts".into(),
                "name the one server that backups are taken from",
            ));
        }
        let (host, port) = split_port(place, PORT)?;
        let user = decode(user)?;
        let user = if user.is_empty() { "postgres".into() } else { user };
        let database = decode(database)?;
        let own = decode(own_password)?;
        let secret = password.map(ToOwned::to_owned).or((!own.is_empty()).then_some(own));
        let mut address = Self {
            host: decode(host)?,
            port,
            database: if database.is_empty() { user.clone() } else { database },
            user,
            password: secret.map(Secret::new),
            password_missing: None,
            tls: TlsMode::Prefer,
            root_certificate: None,
            client_certificate: None,
            options: None,
        };
        address.read_options(query)?;
        if address.host.is_empty() {
            return Err(wrong(
                "the URL names no host".into(),
                "write `postgres://muster@db:5432/app`, or `?host=/var/run/postgresql` for a socket",
            ));
        }
        if matches!(address.tls, TlsMode::VerifyCa | TlsMode::VerifyFull)
            && address.root_certificate.is_none()
        {
            return Err(wrong(
                "`sslmode` asks for a check of the server's certificate, but no `sslrootcert` says whom to trust".into(),
                "add `&sslrootcert=/etc/ssl/db-ca.pem`, or `&sslrootcert=system`",
            ));
        }
        Ok(address)
    }

    fn read_options(&mut self, query: &str) -> Result<(), DriverError> {
        let (mut certificate, mut key) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            match name {
                "host" => self.host = value,
                "port" => self.port = read_port(&value, PORT)?,
                "user" => self.user = value,
                "dbname" => self.database = value,
                "password" => {
                    self.password.get_or_insert(Secret::new(value));
                }
                "sslmode" => self.tls = tls_mode(&value)?,
                "sslrootcert" => self.root_certificate = Some(value.into()),
                "sslcert" => certificate = Some(PathBuf::from(value)),
                "sslkey" => key = Some(PathBuf::from(value)),
                // They change nothing here that a backup depends on.
                "application_name"
                | "connect_timeout"
                | "target_session_attrs"
                | "channel_binding"
                | "options" => {}
                other => {
                    return Err(wrong(
                        format!("the URL has an option `{other}` that is not known"),
                        "known are host, port, user, dbname, sslmode, sslrootcert, sslcert and sslkey",
                    ));
                }
            }
        }
        self.client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(wrong("`sslcert` and `sslkey` belong together".into(), "give both")),
        };
        Ok(())
    }

    /// Returns the folder of the Unix socket, when it is one.
    pub(super) fn socket_folder(&self) -> Option<&Path> {
        self.host.starts_with('/').then(|| Path::new(&self.host))
    }

    /// Returns the password of the URL or the configuration, else the one of the password file.
    pub(super) fn password(&self) -> Option<Secret> {
        let is_missing = self.password_missing.is_some();
        // Another password than the one that the configuration means would only hide that it is gone.
        self.password.clone().or_else(|| if is_missing { None } else { self.look_up_password() })
    }

    /// Looks into `PGPASSFILE` or `~/.pgpass`: `host:port:database:user:password`, `*` fits all.
    fn look_up_password(&self) -> Option<Secret> {
        let file = std::env::var_os("PGPASSFILE")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pgpass")))?;
        let text = fs::read_to_string(file).ok()?;
        let host = if self.socket_folder().is_some() { "localhost" } else { &self.host };
        let wanted = [host, &self.port.to_string(), &self.database, &self.user].map(ToOwned::to_owned);
        text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let fields = password_fields(line);
            let (password, place) = fields.split_last().filter(|(_, place)| place.len() == 4)?;
            let fits = place.iter().zip(&wanted).all(|(field, wanted)| field == "*" || field == wanted);
            fits.then(|| Secret::new(password.clone()))
        })
    }
}

impl fmt::Display for Address {
    /// For people: `db:5432`, or the socket's path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket_folder() {
            Some(folder) => write!(f, "{}/.s.PGSQL.{}", folder.display(), self.port),
            None if self.host.contains(':') => write!(f, "[{}]:{}", self.host, self.port),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{self}/{}", self.user, self.database)
    }
}

/// Splits a line of a password file at its colons; a backslash takes a colon or backslash as it is.
fn password_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let taken = if character == '\\' { characters.next() } else { Some(character) };
        if character == ':' && fields.len() < 5 {
            fields.push(String::new());
        } else if let Some(last) = fields.last_mut() {
            last.extend(taken);
        }
    }
    fields
}

fn tls_mode(text: &str) -> Result<TlsMode, DriverError> {
    match text {
        "disable" => Ok(TlsMode::Disable),
        "allow" | "prefer" => Ok(TlsMode::Prefer),
        "require" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        other => Err(wrong(
            format!("`sslmode={other}` is not known"),
            "write disable, prefer, require, verify-ca or verify-full",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_its_parts_with_the_usual_defaults() {
        let address = Address::parse("postgres://muster:p%40ss@db/app?sslmode=require", None).unwrap();
        assert_eq!((address.host.as_str(), address.port), ("db", 5432));
        assert_eq!((address.user.as_str(), address.database.as_str()), ("muster", "app"));
        assert_eq!(address.password.as_ref().unwrap().expose(), "p@ss");
        assert_eq!(address.tls, TlsMode::Require);
        let own = Address::parse("postgresql://muster:old@[::1]:6000", Some("new")).unwrap();
        assert_eq!((own.host.as_str(), own.port, own.database.as_str()), ("::1", 6000, "muster"));
        assert_eq!(own.password.as_ref().unwrap().expose(), "new");
        assert_eq!(own.to_string(), "[::1]:6000");
        let socket = Address::parse("postgres:///app?host=%2Frun%2Fpostgresql&port=5433", None).unwrap();
        assert_eq!(socket.to_string(), "/run/postgresql/.s.PGSQL.5433");
        assert_eq!(format!("{socket:?}"), "postgres@/run/postgresql/.s.PGSQL.5433/app");
    }

    #[test]
    fn what_is_wrong_in_a_url_is_named_without_the_password() {
        for (url, expected) in [
            ("mysql://x", "begins with `postgres://`"),
            ("postgres://u:geheim@/app", "no host"),
            ("postgres://u:geheim@a,b/app", "several hosts"),
            ("postgres://u:geheim@a:99999/app", "not a port"),
            ("postgres://u:geheim%zz@a/app", "two hex digits"),
            ("postgres://u:geheim@a/app?sslmode=maybe", "`sslmode=maybe`"),
            ("postgres://u:geheim@a/app?sslmode=verify-full", "no `sslrootcert`"),
            ("postgres://u:geheim@a/app?sslcert=/x", "belong together"),
            ("postgres://u:geheim@a/app?passfile=/x", "`passfile`"),
        ] {
            let error = Address::parse(url, None).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("geheim"), "{url}: {error}");
        }
    }

    #[test]
    fn a_line_of_a_password_file_is_split_at_its_colons() {
        assert_eq!(password_fields(r"db:*:app:muster:a\:b:c"), ["db", "*", "app", "muster", "a:b:c"]);
    }
}
