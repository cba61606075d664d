//! Transactions whose commit LSN is known, and what must be true of a cluster that was restored from under them.
//!
//! In: a server and a share of what it can do. Out: each commit's transaction id, LSN and time in the order of the WAL,
//! and the ids that a restored cluster holds.
//!
//! Each transaction is pgbench's own (TPC-B) and one row of `muster_log`, which holds its transaction id. Recovery
//! replays the WAL in order, so a restored cluster holds a prefix of the commits: nothing may be missing in the middle,
//! and nothing that committed before the backup's end. Since accounts, tellers, branches and history change together,
//! their sums stay equal in each such prefix.
//!
//! The order is read from the WAL itself (`pg_waldump`), never from clocks or from what a client saw.
//!
//! Read next: [`check_prefix`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    str::FromStr,
    time::Duration,
};

use super::{Bench, Postgres, process};
use crate::wait_for;

/// Connections: enough for commits to overlap, few enough for two processors.
const CLIENTS: &str = "4";
/// Of pgbench's tables, when the server has none: 80 MB, and few collisions on branches.
const SCALE: u32 = 5;
/// How long the maximum is measured.
const MEASURED_SECONDS: &str = "3";
const DEADLINE: Duration = Duration::from_mins(1);

const TRANSACTION: &str = r"\set aid random(1, 100000 * :scale)
\set bid random(1, :scale)
\set tid random(1, 10 * :scale)
\set delta random(-5000, 5000)
begin;
update pgbench_accounts set abalance = abalance + :delta where aid = :aid;
select abalance from pgbench_accounts where aid = :aid;
update pgbench_tellers set tbalance = tbalance + :delta where tid = :tid;
update pgbench_branches set bbalance = bbalance + :delta where bid = :bid;
insert into pgbench_history (tid, bid, aid, delta, mtime) values (:tid, :bid, :aid, :delta, current_timestamp);
insert into muster_log (client) values (:client_id);
end;
";
const TABLE: &str = "create table if not exists muster_log \
     (client int not null, xid xid8 not null default pg_current_xact_id()); truncate muster_log";

/// A position in the write-ahead log, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// One transaction of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The transaction's id.
    pub xid: u64,
    /// Where its commit record begins. A backup's stop LSN lies between two records: this commit is in the backup
    /// exactly if `lsn` is less than that.
    pub lsn: Lsn,
    /// When it was committed by the server's clock, as `recovery_target_time` takes it (UTC).
    pub committed_at: String,
}

/// A load at a fixed rate that goes on until it is stopped.
#[derive(Debug)]
pub struct Workload {
    bench: Bench,
    begun_at: Lsn,
    maximum: f64,
    rate: f64,
}

impl Workload {
    /// Measures how many transactions per second `server` can do, and begins a load of `fraction` of that.
    ///
    /// Makes pgbench's tables if there are none. Returns after the first commits.
    ///
    /// # Panics
    /// When the server was made without [`super::Builder::keep_wal`]: the WAL is needed at the end.
    pub fn begin(server: &Postgres, fraction: f64) -> Self {
        let kept = server
            .psql("postgres", "select setting::int >= 1024 from pg_settings where name = 'wal_keep_size'");
        assert_eq!(kept, "t", "a workload needs the WAL of its whole run: make the server with `keep_wal()`");
        if server.psql("postgres", "select to_regclass('pgbench_accounts') is null") == "t" {
            server.pgbench_init(SCALE);
        }
        server.psql("postgres", TABLE);
        let script = server.scratch_dir().join("workload.sql");
        fs::write(&script, TRANSACTION).expect("a script for pgbench");
        let scale = server.psql("postgres", "select count(*) from pgbench_branches");
        let script = script.to_str().expect("a path under /tmp");
        let load = ["-n", "-f", script, "-s", &scale, "-c", CLIENTS, "-j", "2"];

        let measured = server.bench(&[&load[..], &["-T", MEASURED_SECONDS]].concat()).wait(DEADLINE);
        let maximum = tps(&measured.stdout);
        // Only the load counts: what was measured is no part of the log.
        server.psql("postgres", TABLE);
        let begun_at = server.lsn();
        let rate = maximum * fraction;
        let bench = server.bench(&[&load[..], &["-T", "86400", "-R", &format!("{rate:.1}")]].concat());
        let workload = Self { bench, begun_at, maximum, rate };
        workload.wait_for_commits(server, 1);
        workload
    }

    /// Returns the measured maximum, in transactions per second.
    pub fn maximum(&self) -> f64 {
        self.maximum
    }

    /// Returns the rate of the load, in transactions per second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns where the log begins: [`commits`] reads from here.
    pub fn begun_at(&self) -> Lsn {
        self.begun_at
    }

    /// Tells whether the load goes on: pgbench ends when the server does.
    pub fn is_alive(&mut self) -> bool {
        self.bench.is_alive()
    }

    /// Waits until there were at least `count` commits.
    pub fn wait_for_commits(&self, server: &Postgres, count: usize) {
        let question = format!("select count(*) >= {count} from muster_log");
        wait_for("the workload's commits", DEADLINE, || {
            (server.psql("postgres", &question) == "t").then_some(())
        });
    }

    /// Ends the load and returns all its commits, in the order of the WAL.
    ///
    /// # Panics
    /// When the load had ended before: it did not run beside whatever the test has done.
    pub fn end(mut self, server: &Postgres) -> Vec<Commit> {
        assert!(self.is_alive(), "pgbench ended before it was told to");
        self.bench.stop();
        // A commit may be under way although its client has gone.
        let question = "select count(*) = 0 from pg_stat_activity where application_name = 'pgbench'";
        wait_for("the workload's backends to end", DEADLINE, || {
            (server.psql("postgres", question) == "t").then_some(())
        });
        commits(server, self.begun_at)
    }
}

/// Reads the commits of the load since `begun_at` from the WAL of `server`, in its order.
///
/// The server is the one that had the load; it may have been stopped, killed or promoted meanwhile.
///
/// # Panics
/// When the WAL lacks a transaction that the table holds: then it was recycled, and nothing can be proven.
pub fn commits(server: &Postgres, begun_at: Lsn) -> Vec<Commit> {
    let logged = present(server);
    let end = server.lsn();
    // pg_waldump reads one record past the end before it stops: so there has to be one, and it has to be on disk.
    server.psql("postgres", "select pg_logical_emit_message(true, 'muster', 'end of the log')");
    let mut commits = Vec::new();
    let mut start = begun_at;
    for (timeline, end) in legs(server, end) {
        // Timelines that had ended before the load began.
        if end <= start {
            continue;
        }
        let mut command = process::as_postgres(&server.version().tool("pg_waldump"), &server.scratch_dir());
        command.arg("-p").arg(server.data_dir().join("pg_wal"));
        command.args(["-r", "Transaction", "-t", &timeline.to_string()]);
        command.args(["-s", &start.to_string(), "-e", &end.to_string()]);
        let found = process::run_well(command);
        commits.extend(found.lines().filter_map(parse).filter(|commit| logged.contains(&commit.xid)));
        start = end;
    }
    let found: BTreeSet<u64> = commits.iter().map(|commit| commit.xid).collect();
    let lost: Vec<&u64> = logged.difference(&found).collect();
    assert!(
        lost.is_empty(),
        "{} transactions have no commit record in the WAL, first {:?}",
        lost.len(),
        lost[0]
    );
    commits
}

/// Returns the timelines that led to the present one, with where each ended; the present one ends at `end`.
fn legs(server: &Postgres, end: Lsn) -> Vec<(u32, Lsn)> {
    let timeline: u32 = server
        .psql("postgres", "select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int")
        .parse()
        .expect("a timeline");
    let history = server.data_dir().join(format!("pg_wal/{timeline:08X}.history"));
    let history = fs::read_to_string(history).unwrap_or_default();
    let mut legs: Vec<(u32, Lsn)> = history
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect();
    legs.push((timeline, end));
    legs
}

/// Returns the ids of the load's transactions that a cluster holds.
pub fn present(server: &Postgres) -> BTreeSet<u64> {
    let rows = server.psql("postgres", "select xid from muster_log");
    let xids: BTreeSet<u64> = rows.lines().map(|line| line.parse().expect("a transaction id")).collect();
    assert_eq!(xids.len(), rows.lines().count(), "a transaction is in the log twice");
    xids
}

/// Checks that `present` is a prefix of `commits` and holds every commit before `stop`; returns the prefix's length.
///
/// `stop` is the backup's stop LSN, or whatever the restore had to reach: exclusive, between two records.
///
/// # Errors
/// What is missing or too much.
pub fn check_prefix(commits: &[Commit], present: &BTreeSet<u64>, stop: Lsn) -> Result<usize, String> {
    let known: BTreeMap<u64, Lsn> = commits.iter().map(|commit| (commit.xid, commit.lsn)).collect();
    if let Some(xid) = present.iter().find(|xid| !known.contains_key(xid)) {
        return Err(format!("transaction {xid} is present, but was never committed"));
    }
    if let Some(lost) = commits.iter().find(|commit| commit.lsn < stop && !present.contains(&commit.xid)) {
        return Err(format!("transaction {}, committed at {} before {stop}, is missing", lost.xid, lost.lsn));
    }
    let missing = commits.iter().position(|commit| !present.contains(&commit.xid)).unwrap_or(commits.len());
    if let Some(later) = commits[missing..].iter().find(|commit| present.contains(&commit.xid)) {
        let gap = &commits[missing];
        return Err(format!(
            "transaction {}, committed at {}, is missing, but {}, committed later at {}, is present",
            gap.xid, gap.lsn, later.xid, later.lsn
        ));
    }
    Ok(missing)
}

/// Asserts what [`check_prefix`] checks; returns the prefix's length.
pub fn assert_prefix(commits: &[Commit], present: &BTreeSet<u64>, stop: Lsn) -> usize {
    check_prefix(commits, present, stop)
        .unwrap_or_else(|finding| panic!("no prefix of the commits: {finding}"))
}

/// Asserts that the sums of pgbench's four tables agree, as they do after each of its transactions.
pub fn assert_sums(server: &Postgres) {
    let sums = server.psql(
        "postgres",
        "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), \
         (select sum(bbalance) from pgbench_branches), (select coalesce(sum(delta), 0) from pgbench_history)",
    );
    let each: BTreeSet<&str> = sums.split('|').collect();
    assert_eq!(each.len(), 1, "the sums of accounts, tellers, branches and history differ: {sums}");
}

impl Postgres {
    /// Returns where the next record of the WAL will begin.
    pub fn lsn(&self) -> Lsn {
        self.psql("postgres", "select pg_current_wal_insert_lsn()").parse().expect("an LSN")
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let halves = text.split_once('/').and_then(|(high, low)| {
            Some((u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?))
        });
        let (high, low) = halves.ok_or_else(|| format!("`{text}` is no LSN"))?;
        Ok(Self(u64::from(high) << 32 | u64::from(low)))
    }
}

/// `rmgr: Transaction len (rec/tot): 34/34, tx: 740, lsn: 0/0155D1B8, prev 0/0155D180, desc: COMMIT 2026-05-01 … UTC`
fn parse(line: &str) -> Option<Commit> {
    let after = |mark: &str| line.split_once(mark).map(|(_, rest)| rest.trim_start());
    let until = |text: &'static str, end: char| after(text)?.split(end).next().map(str::trim);
    Some(Commit {
        xid: until(", tx:", ',')?.parse().ok()?,
        lsn: until(", lsn:", ',')?.parse().ok()?,
        committed_at: until("desc: COMMIT ", ';')?.to_owned(),
    })
}

/// `tps = 1234.567890 (without initial connection time)`
fn tps(output: &str) -> f64 {
    let figure = output.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("pgbench told no rate:\n{output}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits_at(lsns: &[u64]) -> Vec<Commit> {
        // Ids are given at the begin, LSNs at the commit: their orders differ.
        let commit = |(xid, lsn): (u64, &u64)| Commit { xid, lsn: Lsn(*lsn), committed_at: String::new() };
        (10..10 + lsns.len() as u64).rev().zip(lsns).map(commit).collect()
    }

    fn present_of(commits: &[Commit]) -> BTreeSet<u64> {
        commits.iter().map(|commit| commit.xid).collect()
    }

    #[test]
    fn a_prefix_that_reaches_the_stop_is_accepted() {
        let all = commits_at(&[100, 200, 300]);
        assert_eq!(check_prefix(&all, &present_of(&all[..2]), Lsn(201)), Ok(2));
        assert_eq!(check_prefix(&all, &present_of(&all[..2]), Lsn(300)), Ok(2));
        assert_eq!(check_prefix(&all, &present_of(&all), Lsn(0)), Ok(3));
        assert_eq!(check_prefix(&all, &BTreeSet::new(), Lsn(100)), Ok(0));
    }

    #[test]
    fn every_kind_of_wrong_state_is_named() {
        let all = commits_at(&[100, 200, 300]);
        let error = check_prefix(&all, &present_of(&all[..2]), Lsn(301)).unwrap_err();
        assert_eq!(error, "transaction 10, committed at 0/12C before 0/12D, is missing");
        let error = check_prefix(&all, &[12, 10].into(), Lsn(200)).unwrap_err();
        assert!(error.starts_with("transaction 11, committed at 0/C8, is missing, but 10"), "{error}");
        let error = check_prefix(&all, &[12, 99].into(), Lsn(0)).unwrap_err();
        assert_eq!(error, "transaction 99 is present, but was never committed");
    }

    #[test]
    fn commit_records_are_read_and_others_passed_over() {
        let head = "rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 1/0155D1B8, prev 1/0155D180, ";
        let commit =
            parse(&format!("{head}desc: COMMIT 2026-05-01 10:00:00.123456 UTC; inval msgs: catcache 50"))
                .unwrap();
        assert_eq!((commit.xid, commit.lsn.to_string().as_str()), (740, "1/155D1B8"));
        assert_eq!(commit.committed_at, "2026-05-01 10:00:00.123456 UTC");
        assert_eq!(parse(&format!("{head}desc: ABORT 2026-05-01 10:00:00.123456 UTC")), None);
        assert_eq!(parse("pg_waldump: first record is after 0/1"), None);
    }
}
