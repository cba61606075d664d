//! What a backup must know of a server besides its data directory.
//!
//! In: an SQL connection. Out: the server's identity, and the settings that it keeps elsewhere (Debian keeps them in
//! `/etc/postgresql`). With the right to read files they are taken as they are; without it they are written anew from
//! what the server tells of them.
//!
//! ```text
//! muster-settings/server.json      what the server is: version, identity, positions, extensions, collations
//! muster-settings/outside/…        the files that lie elsewhere, below their absolute paths
//! ```
//!
//! It never changes a setting. Read next: `ready.rs`.

use std::path::{Path, PathBuf};

use muster_types::{Explain, Kind, event::Watcher};
use serde::{Deserialize, Serialize};

use super::{
    base_backup::{Begun, Ended},
    wire::Connection,
};
use crate::{DriverError, sql::literal};

/// The folder in the data directory of a backup.
pub(super) const FOLDER: &str = "muster-settings";
/// The file in it that says what the server is.
pub(super) const SERVER: &str = "server.json";

/// Name and version of each extension of the database of the connection.
pub(super) const EXTENSIONS: &str = "SELECT extname || ' ' || extversion FROM pg_extension ORDER BY 1";

/// What the server is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Server {
    /// Like `150004`.
    pub(super) version: u32,
    pub(super) system_identifier: String,
    pub(super) data_directory: PathBuf,
    pub(super) config_file: PathBuf,
    pub(super) hba_file: PathBuf,
    pub(super) ident_file: PathBuf,
    /// Those of them, and of the files that they include, that lie outside the data directory.
    pub(super) outside: Vec<PathBuf>,
    /// The name of the role that `initdb` made.
    pub(super) superuser: String,
    pub(super) has_checksums: bool,
    /// The settings that a standby must not have smaller than its primary.
    #[serde(default)]
    pub(super) limits: std::collections::BTreeMap<String, String>,
    /// `name version`, of the database of the URL.
    pub(super) extensions: Vec<String>,
    /// `database provider version`, for each database.
    pub(super) collations: Vec<String>,
    /// Where the files were read: `replication`, or `local`, by Muster on the server's host.
    #[serde(default)]
    pub(super) transport: String,
    /// The member that gave the backup, where it was not the server of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) member: Option<String>,
    #[serde(default)]
    pub(super) timeline: u32,
    #[serde(default)]
    pub(super) start_lsn: String,
    #[serde(default)]
    pub(super) stop_lsn: String,
}

/// What goes into the backup besides the stream.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) server: Server,
    /// Names in the folder and contents.
    texts: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
    /// Whether files outside the data directory had to be written anew from what the server tells of them.
    pub(super) is_told: bool,
    /// Bytes of a file of log.
    pub(super) segment_bytes: u64,
}

impl Settings {
    /// Asks the server.
    ///
    /// # Errors
    /// `Unavailable` when it does not tell what it must; a lost connection; `Interrupted`.
    pub(super) fn read(connection: &mut Connection, watcher: &dyn Watcher) -> Result<Self, DriverError> {
        let mut ask = |sql: &str| connection.value(sql, watcher);
        let text = |value: Option<String>| value.unwrap_or_default();
        let setting = |name: &str| format!("SELECT current_setting('{name}', true)");
        let mut server = Server {
            version: text(ask("SHOW server_version_num")?).parse().unwrap_or_default(),
            system_identifier: text(ask("SELECT system_identifier FROM pg_control_system()")?),
            data_directory: text(
                ask("SELECT setting FROM pg_settings WHERE name = 'data_directory'").ok().flatten(),
            )
            .into(),
            superuser: text(ask("SELECT rolname FROM pg_roles WHERE oid = 10")?),
            has_checksums: ask("SHOW data_checksums")?.as_deref() == Some("on"),
            ..Server::default()
        };
        if server.data_directory.as_os_str().is_empty() {
            return Err(DriverError::new(
                Kind::Unavailable,
                "the server does not tell where its data directory is",
            )
            .with_hint("let the role read settings: GRANT pg_monitor TO muster;"));
        }
        for name in [
            "max_connections",
            "max_worker_processes",
            "max_wal_senders",
            "max_prepared_transactions",
            "max_locks_per_transaction",
        ] {
            server.limits.insert(name.into(), text(ask(&setting(name))?));
        }
        server.config_file = text(ask(&setting("config_file"))?).into();
        server.hba_file = text(ask(&setting("hba_file"))?).into();
        server.ident_file = text(ask(&setting("ident_file"))?).into();
        for path in [&server.config_file, &server.hba_file, &server.ident_file] {
            if !path.as_os_str().is_empty() && !path.starts_with(&server.data_directory) {
                server.outside.push(path.clone());
            }
        }
        server.extensions = connection.column(EXTENSIONS, watcher)?;
        let collations = "SELECT datname || ' ' || datlocprovider::text || ' ' || coalesce(datcollversion, '-') FROM pg_database ORDER BY 1";
        server.collations = connection.column(collations, watcher)?;
        let sql = "SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'";
        let segment = connection.value(sql, watcher)?.and_then(|text| text.parse().ok());
        let segment_bytes = segment.filter(|bytes: &u64| bytes.is_power_of_two()).ok_or_else(|| {
            DriverError::new(Kind::Unavailable, "the server does not tell how large a file of its log is")
        })?;
        let (texts, warnings) = (Vec::new(), Vec::new());
        let mut settings = Self { server, texts, warnings, is_told: false, segment_bytes };
        if !settings.server.outside.is_empty() {
            settings.read_outside(connection, watcher)?;
        }
        Ok(settings)
    }

    /// Takes the files outside the data directory, or what the server tells of them.
    fn read_outside(
        &mut self,
        connection: &mut Connection,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        // Files that the main file includes are settings too.
        let included = "SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL ORDER BY 1";
        for path in connection.column(included, watcher)?.into_iter().map(PathBuf::from) {
            if !path.starts_with(&self.server.data_directory) && !self.server.outside.contains(&path) {
                self.server.outside.push(path);
            }
        }
        for path in self.server.outside.clone() {
            let sql = format!("SELECT pg_read_file({})", literal(&path.display().to_string()));
            match connection.value(&sql, watcher) {
                Ok(content) => self.texts.push((stored_name(&path), content.unwrap_or_default())),
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(_) => {
                    self.texts.clear();
                    self.is_told = true;
                    return self.read_told(connection, watcher);
                }
            }
        }
        Ok(())
    }

    /// Writes the settings anew: every value is there, comments and order are not.
    fn read_told(&mut self, connection: &mut Connection, watcher: &dyn Watcher) -> Result<(), DriverError> {
        // A number without a unit counts in the setting's own unit, as `setting` does.
        let sql = "SELECT name || ' = ' || quote_literal(setting) FROM pg_settings \
                   WHERE source = 'configuration file' AND name NOT IN \
                   ('data_directory', 'config_file', 'hba_file', 'ident_file', 'external_pid_file') ORDER BY 1";
        let mut text =
            String::from("# Written by Muster from pg_settings: the file itself could not be read.\n");
        for line in connection.column(sql, watcher)? {
            text.push_str(&line);
            text.push('\n');
        }
        self.texts.push((stored_name(&self.server.config_file), text));
        let hba = "SELECT type, array_to_string(database, ','), array_to_string(user_name, ','), address, netmask, auth_method, \
                   array_to_string(options, ' ') FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number";
        match connection.query(hba, watcher) {
            Ok(rows) => {
                let mut text = String::from("# Written by Muster from pg_hba_file_rules.\n");
                for row in rows {
                    let fields: Vec<String> = row.into_iter().flatten().filter(|field| !field.is_empty()).collect();
                    text.push_str(&fields.join("  "));
                    text.push('\n');
                }
                self.texts.push((stored_name(&self.server.hba_file), text));
            }
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(_) => self.warnings.push(
                "pg_hba.conf lies outside the data directory and could not be read: it is not in this backup (GRANT EXECUTE ON FUNCTION pg_hba_file_rules() and SELECT on the view, or pg_read_server_files)".into(),
            ),
        }
        Ok(())
    }

    /// Returns the files that go into the backup, when it has ended.
    pub(super) fn files(&self, begun: &Begun, ended: &Ended) -> Result<Vec<(String, Vec<u8>)>, DriverError> {
        let server = Server {
            timeline: begun.timeline,
            start_lsn: begun.start.to_string(),
            stop_lsn: ended.stop.to_string(),
            ..self.server.clone()
        };
        let json = serde_json::to_vec_pretty(&server).map_err(|error| {
            DriverError::new(Kind::Bug, format!("the facts about the server cannot be written: {error}"))
        })?;
        let texts = self.texts.iter().map(|(name, text)| (name.clone(), text.clone().into_bytes()));
        Ok(texts.chain([(SERVER.to_owned(), json)]).collect())
    }
}

/// The name under which a file is kept: its own name below its path without the first slash.
pub(super) fn stored_name(path: &Path) -> String {
    format!("outside{}", path.display())
}
