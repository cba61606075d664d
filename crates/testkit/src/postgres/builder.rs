//! What a throwaway server should be like.
//!
//! In: options. Out: a running [`Postgres`].
//!
//! No option takes a fixed port, but [`Builder::port`], and none writes into a data directory that exists.
//!
//! Read next: `cluster.rs` for what is made of the options.

use std::path::{Path, PathBuf};

use super::{Postgres, Version, home, home::Home, tls};
use crate::free_port;

mod cluster;

/// How often another free port is tried, when somebody took the one that was free a moment ago.
const PORTS: usize = 5;

/// The options of a server; [`Builder::start`] makes it.
#[derive(Debug)]
pub struct Builder {
    version: Version,
    existing: Option<PathBuf>,
    checksums: bool,
    is_on_tcp: bool,
    has_tls: bool,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    initdb: Vec<String>,
    tablespaces: Vec<String>,
    port: Option<u16>,
    layout: Layout,
}

/// Where the configuration lies, and who makes the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// In the data directory, as `initdb` makes it.
    Plain,
    /// In another folder, as Debian keeps it.
    Separate,
    /// In `/etc/postgresql`: the cluster is made by `pg_createcluster`.
    Debian,
}

impl Builder {
    pub(crate) fn new(version: Version, existing: Option<&Path>) -> Self {
        Self {
            version,
            existing: existing.map(|data| data.canonicalize().expect("a data directory that exists")),
            checksums: true,
            is_on_tcp: existing.is_none(),
            has_tls: false,
            settings: Vec::new(),
            hba: Vec::new(),
            initdb: Vec::new(),
            tablespaces: Vec::new(),
            port: None,
            layout: Layout::Plain,
        }
    }

    /// Sets whether pages have checksums; they do unless said otherwise.
    #[must_use]
    pub fn checksums(mut self, checksums: bool) -> Self {
        self.checksums = checksums;
        self
    }

    /// Lets the server fsync; it does not unless asked to.
    #[must_use]
    pub fn fsync(self) -> Self {
        self.setting("fsync", "on")
    }

    /// Sets whether the server listens on 127.0.0.1; a new one does, one on an existing data directory does not.
    #[must_use]
    pub fn tcp(mut self, is_on_tcp: bool) -> Self {
        self.is_on_tcp = is_on_tcp;
        self
    }

    /// Takes this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Encrypts TCP for those who ask, with a certificate of the server's own authority ([`Postgres::ca_file`]).
    ///
    /// # Panics
    /// For a version that was built without TLS.
    #[must_use]
    pub fn tls(mut self) -> Self {
        assert!(self.version.has_tls(), "PostgreSQL {} was built without TLS", self.version.number());
        self.has_tls = true;
        self
    }

    /// Sets a configuration parameter; the last one of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a line to `pg_hba.conf`; with the first one, the usual lines go
    /// (trust through the socket, SCRAM over TCP).
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Adds an argument to `initdb`, such as `--wal-segsize=1`.
    #[must_use]
    pub fn initdb(mut self, argument: &str) -> Self {
        self.initdb.push(argument.to_owned());
        self
    }

    /// Makes a tablespace in a folder beside the data directory.
    #[must_use]
    pub fn tablespace(mut self, name: &str) -> Self {
        self.tablespaces.push(name.to_owned());
        self
    }

    /// Keeps the WAL of the whole run, as [`super::Workload`] needs it.
    #[must_use]
    pub fn keep_wal(self) -> Self {
        self.setting("wal_keep_size", "16GB")
    }

    /// Keeps `postgresql.conf`, `pg_hba.conf` and `pg_ident.conf` in a folder of their own ([`Postgres::config_dir`]), as
    /// Debian does: they are in no base backup then.
    #[must_use]
    pub fn separate_config(mut self) -> Self {
        self.layout = Layout::Separate;
        self
    }

    /// Makes a cluster of Debian's with `pg_createcluster`: `pg_lsclusters` knows it and its configuration lies under
    /// `/etc/postgresql`. The data directory is private, the name free, and all of it is dropped with the handle.
    ///
    /// # Panics
    /// For another version than Debian's.
    #[must_use]
    pub fn debian_cluster(mut self) -> Self {
        assert_eq!(self.version, Version::Fifteen, "Debian makes clusters of its own version only");
        self.layout = Layout::Debian;
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up; the end of its log tells why.
    pub fn start(self) -> Postgres {
        let port = self.port.unwrap_or_else(free_port);
        self.start_at(port)
    }

    fn start_at(self, port: u16) -> Postgres {
        let home = Home::new(self.existing.as_deref());
        if self.has_tls {
            tls::authority(&home.tls());
            tls::server(&home.tls());
        }
        let mut cluster = self.make(&home, port);
        let mut server = Postgres {
            version: self.version,
            data: cluster.data.clone(),
            config: cluster.config.clone(),
            port,
            is_on_tcp: self.is_on_tcp,
            has_tls: self.has_tls,
            arguments: cluster.arguments.clone(),
            passwords: Vec::new(),
            server: None,
            home,
        };
        for attempt in 1.. {
            let Err(error) = server.try_start() else { break };
            let is_taken = self.port.is_none() && error.contains("could not bind");
            assert!(is_taken && attempt < PORTS, "{error}");
            server.port = free_port();
            cluster.change_port(server.port);
            server.arguments.clone_from(&cluster.arguments);
        }
        for name in &self.tablespaces {
            let folder = server.tablespace_dir(name);
            home::make(&folder);
            server.psql("postgres", &format!("create tablespace {name} location '{}'", folder.display()));
        }
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_is_taken_when_the_first_one_is_in_use() {
        for version in Version::ALL {
            let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
            let taken = taken.local_addr().map(|address| (taken, address.port())).unwrap();
            let mut server = Postgres::builder(version).start_at(taken.1);
            assert_ne!(server.port(), taken.1);
            server.stop();
            server.start();
            assert_eq!(server.psql("postgres", "show port"), server.port().to_string());
        }
    }

    #[test]
    #[should_panic(expected = "could not bind")]
    fn a_port_that_was_asked_for_is_not_changed() {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Postgres::builder(Version::Fifteen).port(taken.local_addr().unwrap().port()).start();
    }
}
