//! The driver of kind `etcd` beside a real server: a backup under writing load, and what is never a pass.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be"
)]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification, open},
};
use muster_repo::source::{EntryKind, Source};
use muster_testkit::Etcd;
use muster_types::{
    Clock, Explain, FixedClock, Kind,
    backup::{Method, Witness},
    config::{Component, EtcdComponent, EtcdMember},
    event::{Unwatched, Watcher},
};
use tempfile::TempDir;

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock("2026-05-01T10:00:00Z".parse().unwrap()))
}

fn component(server: &Etcd) -> EtcdComponent {
    EtcdComponent { url: Some(server.url(0)), ..EtcdComponent::default() }
}

fn driver(server: &Etcd) -> Box<dyn ComponentDriver> {
    open("store", &Component::Etcd(component(server)), clock()).unwrap()
}

/// Takes a backup and writes its files to `place`; returns the witness.
fn take(driver: &dyn ComponentDriver, scratch: &Path, place: &Path) -> Witness {
    let source = driver.open_source(Method::Consistent, scratch, &Unwatched).unwrap();
    write(source.as_ref(), place);
    source.finish().unwrap().witness
}

fn write(source: &dyn Source, place: &Path) {
    for entry in source.entries() {
        let entry = entry.unwrap();
        let to = place.join(entry.path.strip_prefix("0").unwrap());
        match entry.kind {
            EntryKind::Directory => std::fs::create_dir_all(&to).unwrap(),
            EntryKind::File { open, .. } => {
                let mut file = std::fs::File::create(&to).unwrap();
                std::io::copy(&mut open().unwrap(), &mut file).unwrap();
            }
            _ => panic!("neither links nor pipes are in a snapshot"),
        }
    }
}

fn prove(driver: &dyn ComponentDriver, place: &Path, witness: &Witness) -> Result<String, DriverError> {
    let places = [place.to_owned()];
    let request = Verification { is_proof: true, ..Verification::new(&places, witness, &[]) };
    let verified = driver.verify(&request, &Unwatched)?;
    assert_eq!(verified.doubts, [""; 0]);
    Ok(verified.summary)
}

struct Stopped;

impl Watcher for Stopped {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

// proves: B9
#[test]
fn a_backup_under_writing_load_holds_every_key_that_was_there_before_and_changes_no_revision() {
    let server = Etcd::new(1);
    // More keys than one page, one of them large, and a history.
    for number in 0..250 {
        server.put(&format!("/k/{number:04}"), &"v".repeat(number));
    }
    server.put("/large", &"x".repeat(1_000_000));
    let (driver, scratch) = (driver(&server), TempDir::new().unwrap());
    let quiet = server.revision();
    let place = TempDir::new().unwrap();
    let witness = take(driver.as_ref(), scratch.path(), place.path());
    assert_eq!(server.revision(), quiet, "a backup only reads");
    assert_eq!(witness["keys"], "251");
    // etcd's own tool takes it for a good snapshot.
    let status = std::process::Command::new("etcdctl")
        .args(["snapshot", "status", "--write-out=json"])
        .arg(place.path().join("snapshot.db"))
        .env("ETCDCTL_API", "3")
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["revision"], quiet);
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                acknowledged.store(server.put(&format!("/load/{}", number % 300), "w"), Ordering::Relaxed);
            }
        });
        for _ in 0..3 {
            let before = acknowledged.load(Ordering::Relaxed);
            let place = TempDir::new().unwrap();
            let witness = take(driver.as_ref(), scratch.path(), place.path());
            assert!(witness["revision"].parse::<u64>().unwrap() >= before);
            assert!(prove(driver.as_ref(), place.path(), &witness).unwrap().contains("with the same hash"));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_snapshot_that_is_cut_or_lacks_a_key_or_has_an_unknown_promise_is_never_a_pass() {
    let server = Etcd::new(1);
    server.put("a", "1");
    server.put("b", "2");
    let (driver, scratch, place) = (driver(&server), TempDir::new().unwrap(), TempDir::new().unwrap());
    let witness = take(driver.as_ref(), scratch.path(), place.path());
    let with = |name: &str, value: &str| {
        let mut other = witness.clone();
        other.insert(name.into(), value.into());
        other
    };
    let error = prove(driver.as_ref(), place.path(), &with("of-the-future", "1")).unwrap_err();
    assert!(error.kind() != Kind::Corrupt && error.to_string().contains("of-the-future"), "{error}");
    for (name, value, said) in [
        ("keys", "3", "keys is 2, the backup had 3"),
        ("hash:keys", "0", "hash:keys is"),
        ("revision", "99", "revision is 3"),
    ] {
        let error = prove(driver.as_ref(), place.path(), &with(name, value)).unwrap_err();
        assert!(error.kind() == Kind::Corrupt && error.to_string().contains(said), "{error}");
    }
    let snapshot = place.path().join("snapshot.db");
    let whole = std::fs::read(&snapshot).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for bad in [&whole[..whole.len() - 32], &changed] {
        std::fs::write(&snapshot, bad).unwrap();
        assert_eq!(prove(driver.as_ref(), place.path(), &witness).unwrap_err().kind(), Kind::Corrupt);
    }
}

#[test]
fn a_person_can_stop_a_backup_and_what_cannot_be_meant_is_refused_before_anybody_is_asked() {
    let mut server = Etcd::new(1);
    server.put("a", "1");
    let (driver, scratch) = (driver(&server), TempDir::new().unwrap());
    let stopped = driver.open_source(Method::Consistent, scratch.path(), &Stopped).err().unwrap();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    server.stop_all();
    assert!(!driver.survey().unwrap().is_present);
    assert!(driver.look(&Unwatched).unwrap().hindrances[0].what.contains("does not answer"));
    let member = |name: &str, place: &str| EtcdMember {
        name: name.into(),
        peer_url: format!("http://{name}:2380"),
        data_dir: place.into(),
    };
    for (members, said) in [
        (vec![member("a", "/srv/a"), member("b", "/srv/a")], "share"),
        (vec![member("a", "srv/a")], "not absolute"),
        (vec![member("a=b", "/srv/a")], "no name"),
    ] {
        let wrong = EtcdComponent { members, ..component(&server) };
        let error = open("store", &Component::Etcd(wrong), clock()).err().unwrap();
        assert!(error.kind() == Kind::Config && error.to_string().contains(said), "{error}");
    }
    let wrong = EtcdComponent { url: Some("http://root:geheim@etcd:2379".into()), ..component(&server) };
    let error = open("store", &Component::Etcd(wrong), clock()).err().unwrap();
    assert!(!error.to_string().contains("geheim"), "{error}");
}
