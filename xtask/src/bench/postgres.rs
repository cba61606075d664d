//! A PostgreSQL 15 cluster for the bench, and what Muster is measured against: pgBackRest and PostgreSQL's own programs.
//!
//! In: a folder and a size. Out: a running server with a third each of pgbench's tables, JSON and vectors of floats, and
//! the cases. Muster reads once over the network and once on this host. The server listens on a socket and a free port of 127.0.0.1 only, and ends with its guard.
//!
//! pgBackRest reads the files itself with two processes, at zstd 3 and with its cipher; it copies no WAL here
//! (`archive-copy=n`), which Muster and `pg_basebackup` do.
#![expect(clippy::disallowed_methods, reason = "made for one bench and removed after it")]

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::ensure;

use super::{Case, Subject, measure::run};

pub(super) const BIN: &str = "/usr/lib/postgresql/15/bin";
/// PostgreSQL refuses root.
pub(super) const AS: &str = "setpriv --reuid=postgres --regid=postgres --init-groups --";
/// Bytes of one unit of pgbench's scale on disk, about.
const SCALE_BYTES: u64 = 15 << 20;

/// A running server, stopped when it is dropped.
pub(super) struct Server {
    pub(super) folder: String,
    port: u16,
}

impl Server {
    /// Makes a cluster of about `size` bytes below `folder`, and starts it.
    pub(super) fn start(folder: &Path, size: u64) -> anyhow::Result<Self> {
        Self::start_with(folder, size, "archive_mode = off")
    }

    /// As [`Self::start`], with more lines of settings, divided by `\n`.
    pub(super) fn start_with(folder: &Path, size: u64, more: &str) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let place = folder.join("pg");
        fs::create_dir_all(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        let server = Self { folder: folder.display().to_string(), port };
        let own =
            format!("chown postgres: pg && {AS} {BIN}/initdb -k --no-sync -A trust -U postgres -D pg/data");
        let settings = format!(
            "printf \"port = {port}\\nlisten_addresses = '127.0.0.1'\\nunix_socket_directories = '{}/pg'\\nmax_wal_size = 4GB\\n{more}\\n\" >> pg/data/postgresql.conf",
            server.folder
        );
        run(folder, &format!("{own} && {settings}"))?;
        run(folder, &format!("{AS} {BIN}/pg_ctl -w -D pg/data -l pg/log start"))?;
        let scale = (size / 3 / SCALE_BYTES).max(1);
        let rows = size / 3 / 1_650;
        run(folder, &format!("{BIN}/pgbench {} -q -i -s {scale} postgres", server.options()))?;
        let runs = size / 3 / 700;
        let sql = format!(
            "create table runs as select n as id, now() - n * interval '1 second' as at, jsonb_build_object('agent', 'agent-' || n % 97, 'state', (array['done','failed','running'])[n % 3 + 1], 'prompt', repeat(md5((n % 1000)::text) || ' ', 8), 'answer', md5(n::text) || md5((n * 7)::text) || md5((n * 31)::text)) as body from generate_series(1, {runs}) as n; \
             create index on runs (id); \
             create table vectors as select n as id, array(select random()::real + n * 0 from generate_series(1, 384)) as embedding from generate_series(1, {rows}) as n; \
             checkpoint"
        );
        run(folder, &format!("{BIN}/psql {} -qX -d postgres -c \"{sql}\"", server.options()))?;
        server.configure(folder)?;
        Ok(server)
    }

    pub(super) fn options(&self) -> String {
        format!("-h {}/pg -p {} -U postgres", self.folder, self.port)
    }

    fn configure(&self, folder: &Path) -> anyhow::Result<()> {
        let place = &self.folder;
        let rest = format!(
            "[global]\nrepo1-path={place}/pgbackrest\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=bench\nrepo1-retention-full=1\nprocess-max=2\ncompress-type=zst\ncompress-level=3\nlog-level-console=error\nlog-path={place}/pgbackrest-log\nlock-path={place}/pgbackrest-log\nspool-path={place}/pgbackrest-log\nstart-fast=y\narchive-check=n\narchive-copy=n\n[bench]\npg1-path={place}/pg/data\npg1-port={port}\npg1-socket-path={place}/pg\npg1-user=postgres\n",
            port = self.port
        );
        fs::write(folder.join("pgbackrest.conf"), rest)?;
        let muster = fs::read_to_string(folder.join("muster.yaml"))?;
        let component = format!(
            "  cluster: {{kind: postgres, url: \"{url}\", bin_dir: {BIN}, transport: replication}}\n  \
             direct: {{kind: postgres, url: \"{url}\", bin_dir: {BIN}, transport: local}}\n  \
             log: {{kind: postgres, url: \"{url}\", bin_dir: {BIN}, wal: stream, unbounded_slot: true}}\n",
            url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
        );
        fs::write(folder.join("muster.yaml"), muster + &component)?;
        Ok(())
    }

    /// Returns the backups and then the restores.
    pub(super) fn cases(&self, muster: &str) -> Vec<Case> {
        self.backups(muster).into_iter().chain(self.seconds(muster)).chain(self.restores(muster)).collect()
    }

    fn subject<'a>(&'a self, muster: &'a str) -> Subject<'a> {
        Subject { data: "postgres", component: "cluster", muster, folder: Path::new(&self.folder) }
    }

    pub(super) fn backrest(&self) -> String {
        format!("{AS} pgbackrest --config={}/pgbackrest.conf --stanza=bench", self.folder)
    }

    fn backups(&self, muster: &str) -> Vec<Case> {
        let (options, backrest) = (self.options(), self.backrest());
        let subject = self.subject(muster);
        let case = |tool, line, output, prepare| subject.case("backup", tool, line, output, prepare);
        vec![
            case(
                "muster",
                format!("{muster} --quiet backup cluster"),
                "muster-repository/data",
                fresh(muster),
            ),
            case(
                "muster, direct",
                format!("{muster} --quiet backup direct"),
                "muster-repository/data",
                fresh(muster),
            ),
            case(
                "pgbackrest",
                format!("{backrest} --type=full backup && sync -f pgbackrest"),
                "pgbackrest/backup",
                self.fresh_backrest(),
            ),
            case(
                "basebackup | zstd",
                format!(
                    "{BIN}/pg_basebackup {options} -c fast -X fetch -Ft -D - | zstd -q -3 -T2 -o base.zst && sync -f base.zst"
                ),
                "base.zst",
                "rm -f base.zst".into(),
            ),
            case(
                "pg_dump -Fc",
                format!("{BIN}/pg_dump {options} -Fc -f dump.fc postgres && sync -f dump.fc"),
                "dump.fc",
                "rm -f dump.fc".into(),
            ),
            case(
                "pg_dump | gzip",
                format!("{BIN}/pg_dump {options} postgres | gzip > dump.gz && sync -f dump.gz"),
                "dump.gz",
                "rm -f dump.gz".into(),
            ),
        ]
    }

    /// An empty repository of pgBackRest.
    pub(super) fn fresh_backrest(&self) -> String {
        let (folders, backrest) = ("pgbackrest pgbackrest-log", self.backrest());
        format!(
            "rm -rf {folders} && mkdir {folders} && chown postgres: {folders} && {backrest} stanza-create"
        )
    }

    /// A second backup, after one row on each hundredth page has changed.
    fn seconds(&self, muster: &str) -> Vec<Case> {
        let (options, backrest) = (self.options(), self.backrest());
        let subject = self.subject(muster);
        let update = |table: &str, set: &str| {
            format!(
                "-c \"update {table} set {set} where (ctid::text::point)[1] = 1 and (ctid::text::point)[0]::bigint % 100 = 0\""
            )
        };
        let change = format!(
            "{BIN}/psql {options} -qX -d postgres {} {} {} -c checkpoint",
            update("pgbench_accounts", "abalance = abalance + 1"),
            update("runs", "at = at + interval '1 second'"),
            update("vectors", "id = id + 1"),
        );
        let case = |tool, line, output, prepare| {
            subject.case("second", tool, line, output, format!("{prepare} && {change}"))
        };
        let second = |component: &str| format!("{muster} --quiet backup {component}");
        let after = |component: &str| format!("{} && {}", fresh(muster), second(component));
        vec![
            case("muster", second("cluster"), "muster-repository/data", after("cluster")),
            case("muster, direct", second("direct"), "muster-repository/data", after("direct")),
            case(
                "pgbackrest",
                format!("{backrest} --type=incr backup && sync -f pgbackrest"),
                "pgbackrest/backup",
                format!("{} && {backrest} --type=full backup", self.fresh_backrest()),
            ),
        ]
    }

    fn restores(&self, muster: &str) -> Vec<Case> {
        let (options, backrest) = (self.options(), self.backrest());
        let subject = self.subject(muster);
        let case = |tool, line, output, prepare| subject.case("restore", tool, line, output, prepare);
        let fresh = format!(
            "{BIN}/psql {options} -qX -d postgres -c 'drop database if exists back' -c 'create database back'"
        );
        vec![
            case(
                "muster",
                format!("{muster} --quiet restore direct --into pg/back"),
                "pg/back",
                "rm -rf pg/back pg/.muster*".into(),
            ),
            case(
                "pgbackrest",
                format!("{backrest} --pg1-path={}/pg/back restore && sync -f pg/back", self.folder),
                "pg/back",
                "rm -rf pg/back && mkdir -m 0700 pg/back && chown postgres: pg/back".into(),
            ),
            case(
                "zstd | tar",
                "zstd -q -d -c base.zst | tar -x -C pg/back && sync -f pg/back".into(),
                "pg/back",
                "rm -rf pg/back && mkdir pg/back".into(),
            ),
            case(
                "pg_restore -j 2",
                format!("{BIN}/pg_restore {options} -j 2 -d back dump.fc"),
                "dump.fc",
                fresh.clone(),
            ),
            case(
                "gunzip | psql",
                format!("gunzip -c dump.gz | {BIN}/psql {options} -qX -v ON_ERROR_STOP=1 -d back"),
                "dump.gz",
                fresh,
            ),
        ]
    }
}

/// An empty repository of Muster.
pub(super) fn fresh(muster: &str) -> String {
    format!("rm -rf muster-repository .muster && {muster} --quiet init --yes")
}

impl Drop for Server {
    fn drop(&mut self) {
        let line = format!("{AS} {BIN}/pg_ctl -w -m fast -D pg/data stop");
        drop(run(Path::new(&self.folder), &line));
    }
}

/// Tells what is missing, before minutes go by.
pub(super) fn check() -> anyhow::Result<()> {
    let found =
        Command::new("pgbackrest").arg("version").output().is_ok_and(|output| output.status.success());
    ensure!(found, "the bench of PostgreSQL needs pgBackRest: run `cargo xtask servers`");
    Ok(())
}
