//! The main job: back up, prove, lose everything, come back, change one's mind.

use std::fs;

use muster_testkit::sqlite;

use crate::platform::{Platform, ruin};

// proves: C15
#[test]
fn a_destroyed_platform_comes_back_as_it_was() {
    let platform = Platform::new();
    let uploads = platform.copy_of_uploads();
    let ids = platform.back_up();
    ruin(&platform.sandbox.database());
    fs::remove_dir_all(platform.sandbox.uploads()).unwrap();
    let report = platform.well(&["restore", "--all", "--yes", "--json"]).json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    platform.assert_rows(100);
    platform.assert_uploads(&uploads);
    platform.assert_nothing_left();
    // What was ruined is in a safety copy and beside; the good backups are still there.
    let all = platform.list();
    assert!(ids.values().all(|id| all.contains(id)));
    assert_eq!(all.len(), 3, "two backups and one safety copy: the uploads were gone: {all:?}");
}

#[test]
fn undo_puts_back_what_the_restore_moved_aside_and_can_itself_be_undone() {
    let platform = Platform::new();
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    platform.well(&["restore", "database", "--yes"]);
    platform.assert_rows(100);
    platform.well(&["restore", "database", "--undo", "--yes"]);
    platform.assert_rows(150);
    platform.well(&["restore", "database", "--undo", "--yes"]);
    platform.assert_rows(100);
    platform.assert_nothing_left();
}

// proves: B16
#[test]
fn a_safety_copy_of_a_ruined_database_is_byte_for_byte_what_lay_there() {
    let platform = Platform::new();
    platform.back_up();
    ruin(&platform.sandbox.database());
    let ruined = fs::read(platform.sandbox.database()).unwrap();
    let report = platform.well(&["restore", "database", "--yes", "--json"]).json();
    let copy = report["backups"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(report["backups"][0]["method"], "raw");
    assert!(report["backups"][0]["label"].as_str().unwrap().starts_with("prerestore-"));
    platform.well(&["restore", "database", "--to", &copy, "--into", "copy", "--yes"]);
    let found = fs::read_dir(platform.sandbox.path().join("copy"));
    let file = match found {
        Ok(_) => platform.sandbox.path().join("copy").join(platform.sandbox.database().file_name().unwrap()),
        Err(_) => platform.sandbox.path().join("copy"),
    };
    assert!(fs::read(file).unwrap() == ruined);
}

#[test]
fn a_safety_copy_goes_back_in_place_with_the_log_that_lay_beside_the_database() {
    let platform = Platform::new();
    platform.back_up();
    let database = platform.sandbox.database();
    let log = platform.sandbox.path().join("app.db-wal");
    // As a killed application leaves it: a row that is only in the log.
    let connection = sqlite::open(&database);
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.execute("insert into entries (body, committed_at) values ('late', 0)", []).unwrap();
    let (file, beside) = (fs::read(&database).unwrap(), fs::read(&log).unwrap());
    drop(connection);
    fs::write(&database, file).unwrap();
    fs::write(&log, beside).unwrap();
    let report = platform.well(&["restore", "database", "--yes", "--json"]).json();
    platform.assert_rows(100);
    let copy = report["backups"][0]["id"].as_str().unwrap().to_owned();
    platform.well(&["restore", "database", "--to", &copy, "--yes"]);
    platform.assert_rows(101);
    platform.well(&["restore", "database", "--undo", "--yes"]);
    platform.assert_rows(100);
    platform.assert_nothing_left();
}

#[test]
fn a_dry_run_prints_the_plan_that_would_be_executed_and_changes_nothing() {
    let platform = Platform::new();
    platform.back_up();
    let before = platform.list();
    let modified = fs::metadata(platform.sandbox.database()).unwrap().modified().unwrap();
    let text = platform.well(&["restore", "database", "--dry-run"]);
    for expected in ["safety copy", "beside", "verify the restored database", "in place"] {
        assert!(text.stdout.contains(expected), "{expected} in {}", text.stdout);
    }
    let plan = platform.well(&["restore", "database", "--dry-run", "--json"]).json();
    assert_eq!(plan["plan"]["verb"], "restore");
    assert!(plan["plan"]["steps"].as_array().unwrap().len() >= 5, "{plan:#}");
    assert_eq!(platform.list(), before);
    assert_eq!(fs::metadata(platform.sandbox.database()).unwrap().modified().unwrap(), modified);
}

// proves: C1
#[test]
fn a_restore_asks_before_it_replaces_anything() {
    let platform = Platform::new();
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    let refused = platform.run(&["restore", "database"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let mistyped = platform.cli.run_with_input(&["restore", "database"], "databse\n");
    assert_ne!(mistyped.code, Some(0));
    platform.assert_rows(150);
    platform.well(&["restore", "database", "--yes"]);
    platform.assert_rows(100);
}

// proves: B27
#[test]
fn a_proof_opens_the_backup_in_a_sandbox_and_leaves_nothing_and_touches_nothing() {
    let platform = Platform::new();
    let ids = platform.back_up();
    let modified = fs::metadata(platform.sandbox.database()).unwrap().modified().unwrap();
    let report = platform.well(&["prove", "--json"]).json();
    let proofs = report["proofs"].as_array().unwrap();
    assert_eq!(proofs.len(), 2);
    for proof in proofs {
        assert_eq!(proof["outcome"], "proven", "{proof:#}");
        assert_eq!(proof["backup"], ids[proof["component"].as_str().unwrap()]);
        assert!(proof["seconds"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(fs::metadata(platform.sandbox.database()).unwrap().modified().unwrap(), modified);
    platform.assert_nothing_left();
    let status = platform.well(&["status", "--json"]).json();
    let rto = status["objectives"].as_array().unwrap().iter().find(|row| row["objective"] == "rto").unwrap();
    assert_eq!((&rto["verdict"], &rto["basis"]), (&"met".into(), &"proof".into()), "{status:#}");
}

#[test]
fn an_assertion_that_does_not_hold_fails_the_proof_and_the_backup_is_passed_over() {
    let platform = Platform::new();
    let first = platform.back_up();
    platform.well(&["prove", "database"]);
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 200);
    let second = platform.back_up();
    let config = platform.sandbox.config().replace(
        "  uploads:\n",
        "    prove: {assert: [{sql: \"select count(*) from entries\", expect: \"<= 100\"}]}\n  uploads:\n",
    );
    platform.sandbox.write_config(&config);
    let failed = platform.run(&["prove", "database", "--json"]);
    failed.assert_exit(20);
    assert_eq!(failed.json()["proofs"][0]["outcome"], "failed");
    platform.assert_nothing_left();
    let plan = platform.well(&["restore", "database", "--dry-run", "--json"]).json().to_string();
    assert!(plan.contains(&first["database"]) && !plan.contains(&second["database"]), "{plan}");
    let status = platform.run(&["status", "--check"]);
    assert!(!status.stdout.contains("met  "), "a failed proof takes the met away: {}", status.stdout);
}

// proves: B15, B17
#[test]
fn prune_keeps_what_the_rules_keep_and_the_kept_backups_still_restore() {
    let platform = Platform::new();
    platform.well(&["backup", "--label", "golden", "--pin"]);
    for rows in [110, 120, 130, 140] {
        sqlite::sqlite_with_rows(&platform.sandbox.database(), rows);
        platform.back_up();
    }
    assert_eq!(platform.list().len(), 10);
    let told = platform.well(&["prune", "--dry-run"]);
    assert!(told.stdout.contains("pinned") && told.stdout.contains("goes"), "{}", told.stdout);
    assert_eq!(platform.list().len(), 10);
    platform.well(&["prune", "--yes"]);
    assert_eq!(platform.list().len(), 8, "three of each, and the pinned two");
    platform.well(&["verify", "--read-data"]);
    platform.well(&["restore", "database", "--to", "golden", "--yes"]);
    platform.assert_rows(100);
    platform.well(&["pin", "golden", "--remove"]);
    platform.well(&["prune", "--yes"]);
    platform.run(&["restore", "database", "--to", "golden", "--yes"]).assert_exit(1);
}

#[test]
fn a_restore_to_another_place_leaves_the_platform_alone_and_refuses_a_place_that_is_taken() {
    let platform = Platform::new();
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    platform.well(&["restore", "database", "--into", "elsewhere.db"]);
    assert_eq!(sqlite::count_rows(&platform.sandbox.path().join("elsewhere.db")), 100);
    platform.assert_rows(150);
    let refused = platform.run(&["restore", "database", "--into", "elsewhere.db"]);
    refused.assert_exit(1);
    assert!(
        refused.stderr.contains("is not empty") && refused.stderr.contains("--replace"),
        "{}",
        refused.stderr
    );
    platform.well(&["restore", "database", "--into", "elsewhere.db", "--replace", "--yes"]);
}

#[test]
fn a_process_that_has_the_database_open_stops_the_swap_and_is_named() {
    let platform = Platform::new();
    platform.back_up();
    let connection = sqlite::open(&platform.sandbox.database());
    connection.execute_batch("begin immediate").unwrap();
    let refused = platform.run(&["restore", "database", "--yes"]);
    refused.assert_exit(1);
    let pid = std::process::id().to_string();
    assert!(refused.stderr.contains("in use") && refused.stderr.contains(&pid), "{}", refused.stderr);
    drop(connection);
    platform.assert_rows(100);
    platform.assert_nothing_left();
}

#[test]
fn the_journal_tells_every_run_and_an_altered_entry_is_found() {
    let platform = Platform::new();
    platform.back_up();
    let runs = platform.well(&["runs", "--json"]).json();
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let shown = platform.well(&["show", &run, "--json"]).json();
    assert_eq!(shown["outcome"], "done");
    assert_eq!(shown["steps"].as_array().unwrap().len(), 2);
    let journal = rusqlite::Connection::open(platform.sandbox.path().join(".muster/state.db")).unwrap();
    journal.execute("update journal set entry = entry || ' ' where sequence = 2", []).unwrap();
    drop(journal);
    let found = platform.run(&["runs"]);
    found.assert_exit(20);
    assert!(found.stderr.contains("altered"), "{}", found.stderr);
}

#[test]
fn a_restore_needs_nothing_but_the_repository_and_its_key() {
    let platform = Platform::new();
    let uploads = platform.copy_of_uploads();
    platform.back_up();
    // The host is gone: only the repository, the key and the configuration come to the new one.
    fs::remove_dir_all(platform.sandbox.path().join(".muster")).unwrap();
    fs::remove_file(platform.sandbox.database()).unwrap();
    fs::remove_dir_all(platform.sandbox.uploads()).unwrap();
    platform.well(&["restore", "--all", "--yes"]);
    platform.assert_rows(100);
    platform.assert_uploads(&uploads);
}

#[test]
fn a_place_of_the_platform_itself_is_never_a_place_to_restore_to() {
    let platform = Platform::new();
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    std::os::unix::fs::symlink(platform.sandbox.uploads(), platform.sandbox.path().join("link")).unwrap();
    for place in
        ["app.db", "uploads", "uploads/inside.db", "repository", "repository/config", ".muster/x", "link/x"]
    {
        let refused = platform.run(&["restore", "database", "--into", place, "--replace", "--yes"]);
        refused.assert_exit(2);
        assert!(refused.stderr.contains("hint:"), "{place}: {}", refused.stderr);
    }
    let unasked = platform.run(&["restore", "database", "--into", "muster.yaml", "--replace"]);
    unasked.assert_exit(2);
    platform.assert_rows(150);
    platform.well(&["verify"]);
}

#[test]
fn an_undo_of_data_that_somebody_has_removed_fails_and_changes_nothing() {
    let platform = Platform::new();
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    platform.well(&["restore", "database", "--yes"]);
    for entry in fs::read_dir(platform.sandbox.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with(".muster-") {
            fs::remove_file(path).unwrap();
        }
    }
    let failed = platform.run(&["restore", "database", "--undo", "--yes"]);
    failed.assert_exit(1);
    assert!(failed.stderr.contains("is gone"), "{}", failed.stderr);
    platform.assert_rows(100);
}

#[test]
fn a_run_whose_data_was_replaced_since_is_not_continued() {
    let platform = Platform::new();
    let port = muster_testkit::free_port();
    let text = format!(
        "{}checks:\n  up: {{tcp: \"127.0.0.1:{port}\", tags: [quick], timeout: 1s}}\n",
        platform.sandbox.config()
    );
    platform.sandbox.write_config(&text);
    platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    let mut running = platform.cli.spawn(&["restore", "database", "--yes"]);
    while !running.stderr_so_far().contains("done     put the restored database in place") {
        assert!(running.is_alive());
    }
    assert!(running.kill());
    let runs = platform.well(&["runs", "--json"]).json();
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    platform.well(&["restore", "database", "--undo", "--yes"]);
    let refused = platform.run(&["resume", &run, "--yes"]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("since"), "{}", refused.stderr);
    platform.assert_rows(150);
}

#[test]
fn a_restore_that_fails_before_it_changes_anything_starts_the_service_again() {
    let platform = Platform::new();
    let file = platform.sandbox.path().join("running");
    let text = format!(
        "{}services:\n  api:\n    uses: [database]\n    command:\n      start: [touch, {file}]\n      stop: [rm, {file}]\n      status: [test, -e, {file}]\n",
        platform.sandbox.config(),
        file = file.display(),
    );
    platform.sandbox.write_config(&text);
    platform.well(&["service", "start", "api"]);
    let ids = platform.back_up();
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    let packs = muster_testkit::damage::objects(
        &platform.sandbox.repository(),
        muster_testkit::damage::ObjectKind::Pack,
    );
    let damage: Vec<_> = packs
        .iter()
        .map(|pack| {
            muster_testkit::Damage::flip_in(
                &pack.path,
                0..muster_testkit::damage::pack_header(&pack.path).start,
                1,
            )
        })
        .collect();
    let failed = platform.run(&["restore", "database", "--yes"]);
    failed.assert_exit(20);
    assert!(file.exists(), "the service stays down although nothing was changed: {}", failed.stdout);
    platform.assert_rows(150);
    drop(damage);
    // Until a proof says better, a backup that failed to restore must be named.
    platform.well(&["restore", "database", "--to", &ids["database"], "--yes"]);
    assert!(file.exists());
    platform.assert_rows(100);
}

// proves: C18
#[test]
fn side_by_side_a_service_runs_on_until_the_restored_state_is_verified() {
    let platform = Platform::new();
    let log = platform.sandbox.path().join("service.log");
    let text = format!(
        "{}services:\n  api:\n    uses: [database]\n    command:\n      start: [sh, -c, 'echo start >> {log}']\n      stop: [sh, -c, 'echo stop >> {log}']\n      status: [sh, -c, 'test \"$(tail -1 {log})\" = start']\n",
        platform.sandbox.config(),
        log = log.display(),
    );
    platform.sandbox.write_config(&text);
    platform.well(&["service", "start", "api"]);
    let ids = platform.back_up();
    let args = ["restore", "database", "--to", &ids["database"], "--side-by-side", "--yes"];
    sqlite::sqlite_with_rows(&platform.sandbox.database(), 150);
    // What does not hold what it should stops nobody.
    let strict = text.replace(
        "  uploads:\n",
        "    prove: {assert: [{sql: \"select count(*) from entries\", expect: \"> 1000\"}]}\n  uploads:\n",
    );
    platform.sandbox.write_config(&strict);
    assert_ne!(platform.run(&args).code, Some(0));
    platform.assert_rows(150);
    assert_eq!(fs::read_to_string(&log).unwrap(), "start\n", "it was stopped for nothing");
    platform.sandbox.write_config(&text);
    let report = platform.well(&[&args[..], &["--json"]].concat()).json();
    let steps: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    let at = |step: &str| steps.iter().position(|one| *one == step).unwrap();
    assert!(
        at("verify:database") < at("stop:api") && at("stop:api") < at("safety-copy:database"),
        "{steps:?}"
    );
    assert_eq!(fs::read_to_string(&log).unwrap(), "start\nstop\nstart\n");
    platform.assert_rows(100);
    platform.well(&["restore", "database", "--undo", "--yes"]);
    platform.assert_rows(150);
}
