//! etcd from outside: back up, prove, lose every member, come back with the same keys; quorum lost, damage, refusals.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use muster_testkit::{Etcd, Outcome, Sandbox, wait_for};
use serde_json::Value;

use crate::platform::{Platform, leftovers};

/// A platform whose only component is a real cluster.
struct Store {
    cluster: Etcd,
    platform: Platform,
}

impl Store {
    fn new(members: usize) -> Self {
        let cluster = Etcd::new(members);
        let place = if members == 1 {
            format!("    data_dir: {}\n", cluster.data_dir(0).display())
        } else {
            let one = |member| {
                format!(
                    "      {}: {{peer_url: \"{}\", data_dir: {}}}\n",
                    Etcd::name(member),
                    cluster.peer_url(member),
                    cluster.data_dir(member).display()
                )
            };
            format!("    members:\n{}", (0..members).map(one).collect::<String>())
        };
        Self::with(cluster, &place)
    }

    fn with(cluster: Etcd, more: &str) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write_config(&format!(
            "platform: sandbox\n\
             objectives: {{rto: 1h, rpo: 1d}}\n\
             repository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
             components:\n  store:\n    kind: etcd\n    url: {url}\n    raise_by: 300\n{more}    backup: {{every: 1h}}\n",
            repository = sandbox.repository().display(),
            key = sandbox.key().display(),
            url = cluster.url(0),
        ));
        Self { cluster, platform: Platform::with(sandbox) }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.platform.run(args)
    }

    fn well(&self, args: &[&str]) -> Outcome {
        self.platform.well(args)
    }

    fn put_many(&self, count: usize) -> BTreeMap<String, String> {
        for number in 0..count {
            self.cluster.put(&format!("/app/{number}"), &format!("value {number}"));
        }
        // A history besides: keys that changed and keys that are gone.
        self.cluster.put("/app/0", "another value");
        self.cluster.delete("/app/1");
        self.cluster.keys(0)
    }

    fn lose_everything(&mut self) {
        self.cluster.stop_all();
        for member in 0..self.cluster.len() {
            fs::remove_dir_all(self.cluster.data_dir(member)).unwrap();
        }
    }

    fn assert_nothing_left(&self) {
        self.platform.assert_nothing_left();
        let beside = leftovers(self.cluster.folder());
        assert!(beside.is_empty(), "left behind: {beside:#?}");
    }
}

fn step<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["name"].as_str().unwrap().starts_with(id))
        .unwrap()
}

// proves: B9
#[test]
fn a_lost_etcd_of_one_member_comes_back_with_the_same_keys_and_its_proof_has_the_same_hash() {
    let mut store = Store::new(1);
    let keys = store.put_many(200);
    let revision = store.cluster.revision();
    store.platform.back_up();
    let listed = store.well(&["list", "--json"]).json();
    let witness = &listed["backups"][0]["witness"];
    assert_eq!(witness["keys"], keys.len().to_string());
    assert_eq!(witness["revision"], revision.to_string());
    let proven = store.well(&["prove", "store", "--json"]).json();
    assert_eq!(proven["proofs"][0]["outcome"], "proven");
    let said = step(&proven, "verify:")["summary"].as_str().unwrap().to_owned();
    assert!(said.contains("with the same hash"), "{said}");

    store.cluster.put("/app/later", "after the backup");
    let busy = store.run(&["restore", "store", "--yes"]);
    busy.assert_exit(1);
    assert!(busy.stderr.contains("in use by etcd"), "{}", busy.stderr);
    store.lose_everything();
    store.well(&["restore", "store", "--yes"]);
    store.cluster.start();
    assert_eq!(store.cluster.keys(0), keys);
    assert!(store.cluster.revision() >= revision);
    assert_eq!(fs::metadata(store.cluster.data_dir(0)).unwrap().permissions().mode() & 0o777, 0o700);
    let names: Vec<_> =
        fs::read_dir(store.cluster.data_dir(0)).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(names, ["member"], "nothing but what etcd knows");
    // It goes on as a cluster of its own: backed up again, and proven again.
    store.cluster.put("/app/new", "after the restore");
    store.platform.back_up();
    store.well(&["prove", "store"]);
    store.assert_nothing_left();
}

/// Watches all keys from a revision on, and returns what the member says first, but for its greeting.
fn watch(url: &str, from: u64) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let body = format!(
        "{{\"create_request\": {{\"key\": \"AA==\", \"range_end\": \"AA==\", \"start_revision\": \"{from}\"}}}}"
    );
    let head =
        format!("POST /v3/watch HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut told = String::new();
    let mut lines = BufReader::new(stream).lines();
    while !told.contains("compact_revision") && !told.contains("\"events\"") {
        told.push_str(&lines.next().expect("the member goes on").expect("it says something within a minute"));
    }
    told
}

// proves: C13
#[test]
fn three_lost_members_come_back_as_one_cluster_in_which_each_has_the_keys() {
    let mut store = Store::new(3);
    let keys = store.put_many(100);
    let revision = store.cluster.revision();
    store.platform.back_up();
    store.well(&["prove", "store"]);
    let later = (0..100).map(|_| store.cluster.put("/app/later", "after the backup")).max().unwrap();
    store.lose_everything();
    let report = store.well(&["restore", "store", "--yes", "--json"]).json();
    store.cluster.start();
    for member in 0..3 {
        wait_for("the keys of each member", Duration::from_mins(1), || {
            (store.cluster.keys(member) == keys).then_some(())
        });
    }
    // Debian's tool, which is used here, cannot raise the revision; nothing is left that tells how far is far enough.
    assert!(report["warnings"].to_string().contains("nothing here tells which revision"), "{report}");
    let said = step(&report, "verify:")["summary"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("raised from {revision} to ")), "{said}");
    assert!(store.cluster.revision() > later, "{} {later}", store.cluster.revision());
    for member in 0..3 {
        // It was served up to here before the loss, and asks for what comes next: it must not wait in silence.
        for from in [later + 1, revision + 1] {
            let told = watch(&store.cluster.url(member), from);
            assert!(told.contains("compact_revision"), "{from}: {told}");
        }
    }
    let list =
        store.cluster.ask(1, "/v3/cluster/member/list", &Value::Object(serde_json::Map::new())).unwrap();
    assert_eq!(list["members"].as_array().unwrap().len(), 3);
    let written = store.cluster.put("/app/new", "after the restore");
    assert!(written > later);
    let told = watch(&store.cluster.url(1), written);
    assert!(
        told.contains("\"events\"") && told.contains(&format!("\"mod_revision\":\"{written}\"")),
        "{told}"
    );
    store.assert_nothing_left();
}

#[test]
fn members_of_a_running_cluster_are_replaced_when_stopped_and_the_former_ones_come_back_by_undo() {
    let mut store = Store::new(3);
    let keys = store.put_many(20);
    store.platform.back_up();
    // More than a restore raises it by: what the former members hold tells how far is far enough.
    let later = (0..400).map(|_| store.cluster.put("/app/later", "after the backup")).max().unwrap();
    let now = store.cluster.keys(0);
    store.cluster.stop_all();
    let report = store.well(&["restore", "store", "--yes", "--json"]).json();
    assert!(!report["warnings"].to_string().contains("restart whatever"), "{report}");
    store.cluster.start();
    assert!(store.cluster.revision() > later, "{} {later}", store.cluster.revision());
    assert_eq!(store.cluster.keys(2), keys);
    store.cluster.stop_all();
    store.well(&["restore", "store", "--undo", "--yes"]);
    store.cluster.start();
    wait_for("the former keys", Duration::from_mins(1), || (store.cluster.keys(1) == now).then_some(()));
}

#[test]
fn a_restore_that_is_killed_at_any_moment_leaves_the_old_or_the_new_members_and_the_next_one_finishes() {
    let mut store = Store::new(3);
    let keys = store.put_many(20);
    store.platform.back_up();
    store.cluster.put("/app/later", "after the backup");
    let old = store.cluster.keys(0);
    store.cluster.stop_all();
    let whole = std::time::Instant::now();
    store.well(&["restore", "store", "--yes"]);
    let whole = whole.elapsed();
    store.well(&["restore", "store", "--undo", "--yes"]);
    let mut seen = [0, 0];
    for part in 1..=6 {
        let mut running = store.platform.cli.spawn(&["restore", "store", "--yes"]);
        running.kill_after(whole * part / 6);
        drop(running);
        // Whatever runs next tidies up, and does not bring in what nobody has seen.
        store.platform.run(&["prove", "store"]).assert_exit(0);
        store.cluster.start();
        let found = store.cluster.keys(0);
        assert!(found == old || found == keys, "neither the old nor the new state after part {part}");
        seen[usize::from(found == keys)] += 1;
        for member in 1..3 {
            wait_for("the same keys on each member", Duration::from_mins(1), || {
                (store.cluster.keys(member) == found).then_some(())
            });
        }
        store.cluster.stop_all();
        if found == keys {
            store.well(&["restore", "store", "--undo", "--yes"]);
        }
    }
    println!("{} times the old state, {} times the new one", seen[0], seen[1]);
    store.well(&["restore", "store", "--yes"]);
    store.cluster.start();
    assert_eq!(store.cluster.keys(0), keys);
    store.assert_nothing_left();
}

#[test]
fn data_directories_of_all_members_are_made_beside_for_other_hosts() {
    let store = Store::new(3);
    store.put_many(20);
    store.platform.back_up();
    let into = store.platform.sandbox.path().join("members");
    let outcome = store.run(&["restore", "store", "--into", into.to_str().unwrap()]);
    outcome.assert_exit(0);
    for member in 0..3 {
        assert!(into.join(Etcd::name(member)).join("member/snap/db").is_file(), "{member}");
        assert!(into.join(Etcd::name(member)).join("member/wal").is_dir(), "{member}");
    }
    store.platform.assert_nothing_left();
}

#[test]
fn a_cluster_without_quorum_is_named_and_so_is_a_login_that_is_refused() {
    let mut store = Store::new(3);
    store.put_many(5);
    store.platform.back_up();
    store.cluster.stop(1);
    // When it was the leader, the others have none for a moment.
    wait_for("the survey to count two healthy members", Duration::from_mins(1), || {
        store.run(&["survey"]).stdout.contains("2 of 3 members are healthy").then_some(())
    });
    store.platform.back_up();
    store.cluster.stop(2);
    wait_for("the loss of the leader", Duration::from_mins(1), || {
        let status =
            store.cluster.ask(0, "/v3/maintenance/status", &Value::Object(serde_json::Map::new()))?;
        matches!(status["leader"].as_str(), None | Some("0")).then_some(())
    });
    let outcome = store.run(&["backup", "store", "--json"]);
    outcome.assert_exit(1);
    assert!(outcome.stdout.contains("its quorum is lost"), "{}", outcome.stdout);

    let cluster = Etcd::new(1);
    cluster.put("a", "b");
    cluster.require_login("geheim");
    let store = Store::with(cluster, "");
    let outcome = store.run(&["backup", "store", "--json"]);
    outcome.assert_exit(1);
    assert!(outcome.stdout.contains("`user` and `password`"), "{}", outcome.stdout);
    let password = store.platform.sandbox.path().join("etcd.password");
    fs::write(&password, "falsch-8841\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let config = fs::read_to_string(store.platform.sandbox.config_file()).unwrap();
    let login = format!("    user: root\n    password: ${{file:{}}}\n    backup:", password.display());
    store.platform.sandbox.write_config(&config.replace("    backup:", &login));
    let wrong = store.run(&["backup", "store"]);
    wrong.assert_exit(1);
    assert!(wrong.stderr.contains("does not log in the user `root`"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("correct `user` and `password`") && !wrong.stderr.contains("falsch-8841"));
    fs::write(&password, "geheim\n").unwrap();
    store.platform.back_up();
    store.well(&["prove", "store"]);
}
