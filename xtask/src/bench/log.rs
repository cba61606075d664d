//! The write-ahead log in the bench: received as fast as it comes, received under load, replayed to a time.
//!
//! In: a cluster of its own below `log/`, whose log goes to Muster by `wal: stream` and to pgBackRest by its
//! `archive_command`. Out: the cases. What counts is a replay that has ended: pgBackRest only lays the files out, so its
//! line starts a server on them and waits until that one takes writes, as Muster does.
//!
//! `pg_receivewal` is the limit: it writes what comes to a folder, without encryption, checks and pieces.

use std::{fs, path::Path};

use super::{
    Case, data,
    postgres::{AS, BIN, Server, fresh},
};

/// How long pgbench writes as fast as it can while the log is received.
const LOAD_SECONDS: u64 = 20;

/// A cluster whose log is received.
pub(super) struct Log {
    server: Server,
    /// How much is written for the cases that catch up and replay.
    log_bytes: u64,
}

impl Log {
    /// Makes the cluster.
    pub(super) fn start(folder: &Path, size: u64, log_mib: u64) -> anyhow::Result<Self> {
        let folder = folder.join("log");
        fs::create_dir_all(&folder)?;
        data::configuration(&folder)?;
        fs::create_dir_all(folder.join("files"))?;
        let archive = format!(
            "pgbackrest --config={}/pgbackrest.conf --stanza=bench archive-push %p",
            folder.display()
        );
        let settings =
            format!("archive_mode = on\\narchive_command = '{archive}'\\nsynchronous_commit = off");
        // pgBackRest has to be there before the server archives anything; its configuration is written at the end.
        let server = Server::start_with(&folder, size, &settings.replace('%', "%%"))?;
        Ok(Self { server, log_bytes: log_mib << 20 })
    }

    /// Returns the cases, in the order in which they need each other.
    pub(super) fn cases(&self, muster: &str) -> Vec<Case> {
        let folder = Path::new(&self.server.folder);
        let case = |verb, tool, line: String, output: &str, work: Option<&str>, prepare: String| Case {
            data: "log",
            verb,
            tool,
            line: format!("cd {} && {{ {line}; }}", self.server.folder),
            output: folder.join(output),
            work: work.map(|name| folder.join(name)),
            prepare: format!("cd {} && {{ {prepare}; }}", self.server.folder),
        };
        let back = format!("rm -rf pg/back pg/.muster* && {}", self.archived());
        vec![
            case(
                "receive",
                "pg_receivewal",
                self.receivewal(),
                "received",
                Some("bytes"),
                self.prepare_receivewal(),
            ),
            case(
                "receive",
                "muster",
                self.catch_up(muster),
                "muster-repository/muster",
                Some("bytes"),
                self.prepare(muster),
            ),
            case(
                "to time",
                "muster",
                format!("{muster} --quiet restore log --to \"$(cat time)\" --into pg/back"),
                "pg/back",
                Some("bytes"),
                back.clone(),
            ),
            case(
                "to time",
                "pgbackrest",
                self.replay_of_backrest(),
                "pg/back",
                Some("bytes"),
                format!("{back} && mkdir -m 0700 pg/back && chown postgres: pg/back"),
            ),
            case(
                "load",
                "muster",
                self.under_load(muster),
                "muster-repository/muster",
                Some("bytes"),
                self.prepare_load(muster),
            ),
        ]
    }

    fn psql(&self, sql: &str) -> String {
        format!("{BIN}/psql {} -qAtX -d postgres -c \"{sql}\"", self.server.options())
    }

    /// Waits until a query gives `t`.
    fn until(&self, sql: &str) -> String {
        format!("until [ \"$({})\" = t ]; do sleep 0.02; done", self.psql(sql))
    }

    /// Writes log with pgbench until there is enough of it; notes the bytes, and the time of its end.
    fn write(&self) -> String {
        let pgbench =
            format!("{BIN}/pgbench {} -n -c 4 -j 2 -T 2 postgres > pgbench.log 2>&1", self.server.options());
        let enough = self.psql(&format!("select pg_current_wal_lsn() - '$from' >= {}", self.log_bytes));
        format!(
            "from=$({now}) && while [ \"$({enough})\" != t ]; do {pgbench} || exit 1; done && \
             {bytes} > bytes && sleep 0.1 && {time} > time && sleep 0.1 && {more}",
            now = self.psql("select pg_current_wal_lsn()"),
            bytes = self.psql("select (pg_current_wal_lsn() - '$from')::bigint"),
            time = self
                .psql("select to_char(clock_timestamp() at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.USZ')"),
            more = self.psql("create table if not exists later (n int); insert into later values (1)"),
        )
    }

    /// Starts a receiver in the background, waits until everything is durable, and ends it.
    fn catch_up(&self, muster: &str) -> String {
        format!("{} && {}", receive(muster), self.caught_up())
    }

    fn caught_up(&self) -> String {
        format!(
            "target=$({}) && {} && kill -TERM $receiver && wait $receiver",
            self.psql("select pg_current_wal_flush_lsn()"),
            self.until("select coalesce(bool_and(restart_lsn >= '$target'), false) from pg_replication_slots where slot_name like 'muster%'"),
        )
    }

    /// Backups of both tools, then the log that is to be received.
    fn prepare(&self, muster: &str) -> String {
        format!(
            "{drop}; {fresh} && {backrest} && {full} --type=full backup && {muster} --quiet backup log && {slot} && {write}",
            drop = self.drop_slots(),
            fresh = fresh(muster),
            backrest = self.server.fresh_backrest(),
            full = self.server.backrest(),
            slot = self.catch_up(muster),
            write = self.write(),
        )
    }

    fn drop_slots(&self) -> String {
        self.psql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
            + " > dropped"
    }

    /// Waits until pgBackRest has all of the log.
    fn archived(&self) -> String {
        format!(
            "wanted=$({}) && {}",
            self.psql("select pg_walfile_name(pg_switch_wal())"),
            self.until("select coalesce(last_archived_wal >= '$wanted', false) from pg_stat_archiver"),
        )
    }

    fn replay_of_backrest(&self) -> String {
        let place = format!("{}/pg", self.server.folder);
        let listen = format!(
            "-c listen_addresses='' -c port=1 -c unix_socket_directories={place} -c archive_mode=off"
        );
        format!(
            "{restore} --pg1-path={place}/back --type=time \"--target=$(sed s/Z/+00/ time)\" --target-action=promote restore && \
             {AS} {BIN}/pg_ctl -w -t 3600 -D {place}/back -l {place}/back.log -o \"{listen}\" start && \
             until [ \"$({BIN}/psql -h {place} -p 1 -U postgres -qAtX -d postgres -c 'select not pg_is_in_recovery()')\" = t ]; do sleep 0.02; done && \
             {AS} {BIN}/pg_ctl -w -D {place}/back -m fast stop && sync -f {place}/back",
            restore = self.server.backrest(),
        )
    }

    fn prepare_receivewal(&self) -> String {
        let receivewal = format!("{BIN}/pg_receivewal {}", self.server.options());
        format!(
            "{drop}; rm -rf received && mkdir received && {receivewal} --slot bench --create-slot && {reserve} > dropped && {backrest} && {write}",
            drop = self.drop_slots(),
            reserve = self.psql(
                "select pg_drop_replication_slot('bench'), pg_create_physical_replication_slot('bench', true)"
            ),
            backrest = self.server.fresh_backrest(),
            write = self.write(),
        )
    }

    fn receivewal(&self) -> String {
        format!(
            "{BIN}/pg_receivewal {} -D received --slot bench --no-loop --endpos \"$({})\" && sync -f received",
            self.server.options(),
            self.psql("select pg_current_wal_flush_lsn()"),
        )
    }

    fn prepare_load(&self, muster: &str) -> String {
        format!(
            "{drop}; {fresh} && {slot}",
            drop = self.drop_slots(),
            fresh = fresh(muster),
            slot = self.catch_up(muster)
        )
    }

    /// pgbench at full speed beside the receiver; it is not this shell's child, so its processor time is not counted.
    fn under_load(&self, muster: &str) -> String {
        let busy = "select count(*) = 0 from pg_stat_activity where application_name = 'pgbench'";
        format!(
            "{receive} && from=$({now}) && \
             setsid -f {BIN}/pgbench {options} -n -c 4 -j 2 -T {LOAD_SECONDS} postgres > pgbench.log 2>&1 && sleep 2 && {ended} && \
             {bytes} > bytes && {caught_up}",
            receive = receive(muster),
            now = self.psql("select pg_current_wal_lsn()"),
            options = self.server.options(),
            ended = self.until(busy),
            bytes = self.psql("select (pg_current_wal_lsn() - '$from')::bigint"),
            caught_up = self.caught_up(),
        )
    }
}

/// Starts a receiver in the background.
fn receive(muster: &str) -> String {
    format!("{{ {muster} --quiet wal receive log > receiver.log 2>&1 & }} && receiver=$!")
}
