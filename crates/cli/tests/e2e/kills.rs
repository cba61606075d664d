//! `kill -9` at every phase of every run.
//!
//! Short by default: ten kills per verb. `MUSTER_KILLS=50 cargo xtask test kills` is the long form, `MUSTER_SEED` another
//! order.
//!
//! Here: how a run is killed in a phase, and a database and a folder. Read next: `kills/cluster.rs`, `kills/remote.rs`,
//! `kills/copies.rs`.

mod cluster;
mod copies;
mod database;
mod remote;
mod rotation;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use muster_testkit::{sqlite, trees_equal};
use rusqlite::{Connection, OpenFlags};

use crate::platform::{PATIENCE, Platform, ruin};

const KILLS: u64 = 10;

fn number(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable);
    given.ok().map_or(default, |text| text.parse().unwrap())
}

/// One verb, and what it takes to kill it in each of its phases.
struct Victim {
    args: &'static [&'static str],
    /// Beginnings of step ids: each must have been hit.
    phases: &'static [&'static str],
}

/// Kills runs of a verb until there were enough and each phase was hit; `after` looks at what each has left.
fn kill_many(
    platform: &Platform,
    victim: &Victim,
    mut prepare: impl FnMut(&Platform),
    mut after: impl FnMut(&Platform, &str),
) {
    let wanted = number("MUSTER_KILLS", KILLS);
    let mut random = fastrand::Rng::with_seed(number("MUSTER_SEED", 1));
    let mut hits: BTreeMap<String, u64> = BTreeMap::new();
    let mut tried: BTreeMap<&str, u64> = BTreeMap::new();
    let mut killed = 0;
    for attempt in 0.. {
        assert!(attempt < wanted * 6, "too many runs ended before they could be killed: {hits:?}");
        let missing: Vec<&str> = victim
            .phases
            .iter()
            .copied()
            .filter(|phase| !hits.keys().any(|hit| hit.starts_with(phase)))
            .collect();
        if killed >= wanted && missing.is_empty() {
            break;
        }
        prepare(platform);
        let phase =
            missing.first().copied().unwrap_or_else(|| victim.phases[random.usize(..victim.phases.len())]);
        let seen = last_sequence(platform.sandbox.path());
        let mut running = platform.cli.spawn(victim.args);
        let begun = Instant::now();
        let mut open = None;
        while running.is_alive() && !has_begun(platform.sandbox.path(), &mut open, seen, phase) {
            assert!(begun.elapsed() < PATIENCE, "{phase} never begins");
        }
        // The more often a short phase was missed, the sooner the next blow falls.
        let tries = tried.entry(phase).or_insert(0_u64);
        *tries += 1;
        std::thread::sleep(Duration::from_micros(random.u64(0..4_000 / *tries)));
        // A process that was only tidying up its memory has done its work.
        if !running.kill() || has_ended(platform.sandbox.path(), seen) {
            continue;
        }
        // The kernel takes a moment to end it; until then it counts as one that runs.
        while running.is_alive() {
            std::thread::sleep(Duration::from_millis(1));
        }
        killed += 1;
        let hit = open_step(platform.sandbox.path(), seen);
        // The test log says which phase each kill has hit.
        {
            println!("kill {killed}: aimed at {phase}, hit {hit}");
        }
        *hits.entry(hit.clone()).or_default() += 1;
        after(platform, &hit);
    }
}

/// Returns the newest run, which must have been cut short.
fn interrupted(platform: &Platform, hit: &str) -> String {
    let runs = platform.well(&["runs", "--json"]).json();
    assert_eq!(runs["runs"][0]["state"], "interrupted", "{hit}: {runs:#}");
    runs["runs"][0]["id"].as_str().unwrap().to_owned()
}

fn journal(folder: &Path) -> Option<Connection> {
    let path = folder.join(".muster/state.db");
    path.exists().then(|| {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    })
}

fn last_sequence(folder: &Path) -> i64 {
    journal(folder).map_or(0, |journal| {
        journal.query_row("select coalesce(max(sequence), 0) from journal", [], |row| row.get(0)).unwrap_or(0)
    })
}

fn entries(folder: &Path, after: i64) -> Vec<serde_json::Value> {
    let Some(journal) = journal(folder) else { return Vec::new() };
    let Ok(mut statement) =
        journal.prepare("select entry from journal where sequence > ?1 order by sequence")
    else {
        return Vec::new();
    };
    let rows = statement.query_map([after], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
}

/// Looks as fast as it can: some phases are over in a millisecond.
fn has_begun(folder: &Path, open: &mut Option<Connection>, after: i64, phase: &str) -> bool {
    if open.is_none() {
        *open = journal(folder);
    }
    let Some(journal) = open else { return false };
    let intent = format!("%\"step-intent\",\"step\":\"{phase}%");
    journal
        .query_row(
            "select 1 from journal where sequence > ?1 and entry like ?2 limit 1",
            (after, intent),
            |_| Ok(()),
        )
        .is_ok()
}

fn has_ended(folder: &Path, after: i64) -> bool {
    entries(folder, after).last().is_some_and(|entry| entry["event"] == "run-ended")
}

/// The step that had begun and not ended, or what else the run was at.
fn open_step(folder: &Path, after: i64) -> String {
    let entries = entries(folder, after);
    match entries.last() {
        None => "before the run".into(),
        Some(last) if last["event"] == "step-intent" => last["step"].as_str().unwrap().to_owned(),
        Some(_) => {
            let ended: BTreeSet<&str> = entries
                .iter()
                .filter(|e| e["event"] == "step-result")
                .filter_map(|e| e["step"].as_str())
                .collect();
            let open = entries
                .iter()
                .filter(|entry| entry["event"] == "step-intent")
                .filter_map(|entry| entry["step"].as_str())
                .find(|step| !ended.contains(step));
            open.map_or_else(|| "between two steps".into(), str::to_owned)
        }
    }
}

/// Enough data for each phase to take a moment.
fn platform() -> Platform {
    let platform = Platform::new();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 20_000);
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(6 << 20).collect();
    fs::write(platform.sandbox.uploads().join("large"), noise).unwrap();
    platform
}

fn is_repository_whole(platform: &Platform, read_data: bool) {
    let args: &[&str] = if read_data { &["verify", "--read-data"] } else { &["verify"] };
    platform.well(args);
}

#[test]
fn a_backup_that_is_killed_leaves_no_snapshot_no_damage_and_nothing_behind() {
    let platform = platform();
    platform.back_up();
    let victim = Victim { args: &["backup"], phases: &["backup:database", "backup:uploads"] };
    let mut known = platform.list();
    let mut rows = 20_000;
    let mut count = 0;
    kill_many(
        &platform,
        &victim,
        |platform| {
            rows += 50;
            sqlite::sqlite_with_rows(&platform.sandbox.database(), rows);
            let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(4 << 20).collect();
            fs::write(platform.sandbox.uploads().join("changing"), noise).unwrap();
        },
        |platform, hit| {
            count += 1;
            is_repository_whole(platform, count % 5 == 0);
            // A component that was done before the kill has its backup; each of them must be a whole one.
            let now = platform.list();
            assert!(known.iter().all(|id| now.contains(id)), "{hit}: a backup is gone");
            let ids = platform.back_up();
            platform.assert_nothing_left();
            known = platform.list();
            assert!(ids.values().all(|id| known.contains(id)));
        },
    );
    platform.well(&["prove"]);
    platform.well(&["restore", "database", "--yes"]);
}

#[test]
fn a_restore_that_is_killed_leaves_either_the_old_or_the_new_state_and_resume_ends_it() {
    let platform = platform();
    let uploads = platform.copy_of_uploads();
    platform.back_up();
    let victim = Victim {
        args: &["restore", "--all", "--yes"],
        phases: &[
            "safety-copy:database",
            "safety-copy:uploads",
            "restore:database",
            "verify:database",
            "restore:uploads",
            "verify:uploads",
            "swap:database",
            "swap:uploads",
        ],
    };
    kill_many(
        &platform,
        &victim,
        |platform| {
            sqlite::sqlite_with_rows(&platform.sandbox.database(), 20_100);
            fs::write(platform.sandbox.uploads().join("later"), "written after the backup").unwrap();
        },
        |platform, hit| {
            let database = platform.sandbox.database();
            if database.exists() {
                assert_eq!(sqlite::integrity(&database), "ok", "{hit}");
                let rows = sqlite::count_rows(&database);
                assert!(rows == 20_000 || rows == 20_100, "{hit}: {rows} rows");
            }
            let folder = platform.sandbox.uploads();
            if folder.exists() && !folder.join("later").exists() {
                trees_equal(&folder, &uploads.path().join("uploads"))
                    .unwrap_or_else(|e| panic!("{hit}: {e}"));
            }
            let run = interrupted(platform, hit);
            platform.well(&["resume", &run, "--yes"]);
            platform.assert_rows(20_000);
            platform.assert_uploads(&uploads);
            platform.assert_nothing_left();
        },
    );
    is_repository_whole(&platform, true);
}

// proves: C4
#[test]
fn a_proof_that_is_killed_leaves_nothing_behind_and_proves_nothing() {
    let platform = platform();
    platform.back_up();
    let victim = Victim {
        args: &["prove"],
        phases: &["restore:database@", "verify:database@", "restore:uploads@", "verify:uploads@"],
    };
    kill_many(
        &platform,
        &victim,
        |_| {},
        |platform, hit| {
            if hit.contains("database@") && hit.starts_with("restore") {
                let list = platform.well(&["list", "database", "--json"]).json();
                assert_ne!(
                    list["backups"][0]["proof"]["outcome"], "failed",
                    "{hit}: a kill says nothing of the backup"
                );
            }
            let run = interrupted(platform, hit);
            let report = platform.well(&["resume", &run, "--json"]).json();
            for proof in report["proofs"].as_array().unwrap() {
                assert_eq!(proof["outcome"], "proven", "{hit}: what was lost with the sandbox is no damage");
            }
            platform.assert_nothing_left();
        },
    );
    is_repository_whole(&platform, true);
}

#[test]
fn a_prune_that_is_killed_loses_no_kept_backup_and_the_next_one_ends_it() {
    let platform = platform();
    let mut rows = 20_000;
    let victim = Victim { args: &["prune", "--yes"], phases: &["forget", "free-space"] };
    kill_many(
        &platform,
        &victim,
        |platform| {
            for _ in 0..4 {
                rows += 50;
                sqlite::sqlite_with_rows(&platform.sandbox.database(), rows);
                platform.well(&["backup", "database"]);
            }
        },
        |platform, _| {
            is_repository_whole(platform, false);
            platform.well(&["prune", "--yes"]);
            is_repository_whole(platform, true);
            platform.assert_nothing_left();
            let left = platform.list().len();
            assert!((3..=4).contains(&left), "the last three, and the newest proven one: {left}");
            platform.well(&["prove", "database"]);
        },
    );
    platform.well(&["restore", "database", "--yes"]);
    platform.assert_rows(rows);
}

#[test]
fn a_ruined_database_survives_a_kill_of_its_own_recovery() {
    let platform = platform();
    platform.back_up();
    let victim = Victim {
        args: &["restore", "database", "--yes"],
        phases: &["safety-copy:database", "swap:database"],
    };
    kill_many(
        &platform,
        &victim,
        |platform| ruin(&platform.sandbox.database()),
        |platform, _| {
            platform.well(&["restore", "database", "--yes"]);
            platform.assert_rows(20_000);
            platform.assert_nothing_left();
        },
    );
}
