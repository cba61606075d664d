//! `kill -9` at any moment of a copy to object storage: it is never taken for whole, and the next one goes on.
//!
//! Each copy sends three megabytes at a bounded rate, so that a blow falls in the middle; `MUSTER_KILLS=50` is the long form.

use std::{fs, time::Duration};

use muster_testkit::Seaweed;

use super::number;
use crate::copies::{row, with_store};

/// Kills of the short form.
const KILLS: u64 = 20;

// proves: B18
#[test]
fn a_copy_to_object_storage_that_is_killed_is_never_taken_for_whole_and_goes_on() {
    let server = Seaweed::new();
    let platform = with_store(&server, ", rpo: 1d, max_upload_rate: 8MB, after_backup: false");
    let wanted = number("MUSTER_KILLS", KILLS);
    let seed = number("MUSTER_SEED", 5);
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut killed, mut partial) = (0, 0);
    for round in 0..wanted * 4 {
        if killed == wanted {
            break;
        }
        let mut content = vec![0; 3_000_000];
        random.fill(&mut content);
        fs::write(platform.sandbox.uploads().join("large"), content).unwrap();
        platform.well(&["backup"]);
        let mut running = platform.cli.spawn(&["copy"]);
        let moment = Duration::from_millis(random.u64(50..1_000));
        if !running.kill_after(moment) {
            continue;
        }
        killed += 1;
        let stands = row(&platform.well(&["status", "--json"]));
        println!(
            "kill {killed} in round {round}, after {moment:?}: {} there, {} missing",
            stands["backups"], stands["missing"]
        );
        let is_whole = stands["missing"] == 0;
        partial += u64::from(!is_whole);
        let is_there = !stands["backups"].is_null();
        if is_there {
            platform.well(&["verify", "--from", "offsite"]);
        }
        if !is_whole && is_there && stands["backups"] == 0 {
            assert_eq!(stands["verdict"], "breached", "{stands:#}");
        }
        if is_whole {
            // Killed after the last backup was there: then all of it can be read.
            platform.well(&["verify", "--from", "offsite", "--read-data"]);
        }
        // Every other one goes on, so that the next kill also hits what comes after the packs.
        if killed % 2 == 0 {
            platform.well(&["copy"]);
            assert_eq!(row(&platform.well(&["status", "--json"]))["missing"], 0);
        }
    }
    assert!(killed == wanted && partial > 0, "{killed} kills, {partial} of them in the middle");
    platform.well(&["copy"]);
    let stands = row(&platform.well(&["status", "--json"]));
    assert_eq!((&stands["missing"], &stands["verdict"]), (&0.into(), &"met".into()), "{stands:#}");
    platform.well(&["verify", "--from", "offsite", "--read-data"]);
    // The locks of the dead are in nobody's way.
    platform.well(&["prune", "--copy", "offsite", "--yes"]);
    assert_eq!(server.names("copy/muster/locks"), [""; 0]);

    // A byte flipped in the copy is found, and mended from the repository.
    let name = server.names("copy/data").remove(0);
    let mut content = server.get(&name);
    let middle = content.len() / 2;
    content[middle] ^= 1;
    server.put(&name, &content);
    let found = platform.run(&["verify", "--from", "offsite", "--read-data"]);
    found.assert_exit(20);
    platform.well(&["copy", "--verify"]);
    platform.well(&["verify", "--from", "offsite", "--read-data"]);
}
