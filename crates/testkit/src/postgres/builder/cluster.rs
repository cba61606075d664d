//! What is made of a [`Builder`]'s options: a new cluster with its configuration, or a command line.
//!
//! In: the options and the server's folder. Out: a [`Cluster`] that can be started. The settings of a new one stand in its
//! `postgresql.conf`; those of one that exists are on the command line, which is stronger than any file.
//!
//! Nothing is ever written into a data directory that exists.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Builder, Layout};
use crate::postgres::{SUPERUSER, SUPERUSER_PASSWORD, Version, debian, home, home::Home, process};

/// Before the lines of a test: whatever they say, [`Postgres::psql`] gets in.
const HBA_OWN: &str = "local all postgres peer\nlocal replication postgres peer\n";
/// The socket lies in a folder of one test: who reaches it may do all. TCP wants a password, as in production.
const HBA_USUAL: &str = "local all all trust\nlocal replication all trust\n\
                         host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n";

/// A cluster that can be started.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) data: PathBuf,
    /// The folder of its configuration, if that is not the data directory.
    pub(super) config: Option<PathBuf>,
    /// What the command line says beside the data directory.
    pub(super) arguments: Vec<String>,
    is_new: bool,
}

impl Cluster {
    /// Sets another port: the last one counts, in the file as on the command line.
    pub(super) fn change_port(&mut self, port: u16) {
        if self.is_new {
            let folder = self.config.as_ref().unwrap_or(&self.data);
            append(&folder.join("postgresql.conf"), &format!("port = {port}\n"));
        } else {
            self.arguments.extend(["-c".to_owned(), format!("port={port}")]);
        }
    }
}

impl Builder {
    /// Makes the cluster, or the command line for the one that exists.
    pub(super) fn make(&self, home: &Home, port: u16) -> Cluster {
        let settings = self.all_settings(home, port);
        match &self.existing {
            Some(data) => self.use_cluster(data, home, &settings),
            None => self.make_cluster(home, port, &settings),
        }
    }

    fn make_cluster(&self, home: &Home, port: u16, settings: &[(String, String)]) -> Cluster {
        let data = home.data();
        let password = home.scratch().join("password");
        home::write(&password, SUPERUSER_PASSWORD);
        let arguments = self.initdb_arguments(&password);
        let config = if self.layout == Layout::Debian {
            Some(debian::create(home, port, &arguments))
        } else {
            let mut initdb = process::as_postgres(&self.version.tool("initdb"), &home.scratch());
            initdb.args(["-U", SUPERUSER, "-D"]).arg(&data).args(&arguments);
            process::run_well(initdb);
            (self.layout == Layout::Separate).then(|| debian::separate(&data, &home.config()))
        };
        fs::remove_file(password).expect("an own file");
        let folder = config.as_ref().unwrap_or(&data);
        fs::write(folder.join("pg_hba.conf"), self.hba_text()).expect("an access file");
        append(&folder.join("postgresql.conf"), &conf_text(settings));
        let arguments = config.iter().flat_map(|folder| debian::arguments(folder)).collect();
        Cluster { data, config, arguments, is_new: true }
    }

    fn initdb_arguments(&self, password: &Path) -> Vec<String> {
        let mut arguments = vec![format!("--pwfile={}", password.display())];
        let usual = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"];
        arguments.extend(usual.map(str::to_owned));
        match (self.version, self.checksums) {
            (Version::Fifteen, true) => arguments.push("--data-checksums".to_owned()),
            (Version::Eighteen, false) => arguments.push("--no-data-checksums".to_owned()),
            (Version::Fifteen, false) | (Version::Eighteen, true) => {}
        }
        arguments.extend(self.initdb.iter().cloned());
        arguments
    }

    /// Leaves the data directory as it is: all is said on the command line.
    fn use_cluster(&self, data: &Path, home: &Home, settings: &[(String, String)]) -> Cluster {
        assert_reachable(data);
        let folder = home.config();
        home::make(&folder);
        let mut arguments: Vec<String> =
            settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]).collect();
        let mut point = |name: &str, file: &str, text: &str| {
            let own = folder.join(file);
            home::write(&own, text);
            arguments.extend(["-c".to_owned(), format!("{name}={}", own.display())]);
        };
        if !data.join("postgresql.conf").exists() {
            point("config_file", "postgresql.conf", "");
        }
        // Never the restored one: it may let nobody in.
        point("hba_file", "pg_hba.conf", &self.hba_text());
        point("ident_file", "pg_ident.conf", "");
        Cluster { data: data.to_owned(), config: None, arguments, is_new: false }
    }

    fn all_settings(&self, home: &Home, port: u16) -> Vec<(String, String)> {
        let on = |is_on: bool| if is_on { "on" } else { "off" }.to_owned();
        let mut settings = vec![
            ("listen_addresses", if self.is_on_tcp { "127.0.0.1" } else { "" }.to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", home.sockets().display().to_string()),
            ("fsync", on(false)),
            ("logging_collector", on(false)),
            ("shared_buffers", "32MB".to_owned()),
            // Debian's lies under /run, and would stay behind too.
            ("external_pid_file", String::new()),
            // Under /dev/shm it would stay behind when the server is killed.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
            ("ssl", on(self.has_tls)),
        ];
        if self.has_tls {
            settings.push(("ssl_cert_file", home.tls().join("server.crt").display().to_string()));
            settings.push(("ssl_key_file", home.tls().join("server.key").display().to_string()));
        }
        let own = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.settings.iter().cloned()).collect()
    }

    fn hba_text(&self) -> String {
        if self.hba.is_empty() {
            return HBA_USUAL.to_owned();
        }
        format!("{HBA_OWN}{}\n", self.hba.join("\n"))
    }
}

fn conf_text(settings: &[(String, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''"))).collect()
}

/// Appends, so that the file keeps the owner that `initdb` gave it.
fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("a configuration file");
    file.write_all(text.as_bytes()).expect("its lines");
}

/// The server says only that it may not enter; this says where.
fn assert_reachable(data: &Path) {
    for parent in data.ancestors().skip(1) {
        let mode = fs::metadata(parent).map_or(0, |metadata| metadata.permissions().mode());
        assert!(mode & 0o001 != 0, "user postgres cannot enter {}: give it mode 0755", parent.display());
    }
}
