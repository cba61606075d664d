//! The driver of kind `vault` beside a real server: what a backup leaves alone, and what is never a pass.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be"
)]

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification, open},
};
use muster_repo::source::{EntryKind, Source};
use muster_testkit::Bao;
use muster_types::{
    Clock, Explain, FixedClock, Kind,
    backup::{Method, Witness},
    config::{Component, TlsFiles, VaultComponent},
    event::{Unwatched, Watcher},
};
use tempfile::TempDir;

fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock("2026-05-01T10:00:00Z".parse().unwrap()))
}

fn driver(server: &Bao, canary: Option<&str>) -> Box<dyn ComponentDriver> {
    let component = VaultComponent {
        url: Some(server.url()),
        token: Some(server.token.clone()),
        canary: canary.map(ToOwned::to_owned),
        bin_dir: Some(Bao::bin_dir()),
        ..VaultComponent::default()
    };
    open("vault", &Component::Vault(component), clock()).unwrap()
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

fn verify(driver: &dyn ComponentDriver, place: &Path, witness: &Witness) -> Result<String, DriverError> {
    let places = [place.to_owned()];
    driver.verify(&Verification::new(&places, witness, &[]), &Unwatched).map(|verified| verified.summary)
}

struct Stopped;

impl Watcher for Stopped {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_backup_without_a_canary_changes_nothing_at_the_server_and_one_with_it_only_the_canary() {
    let server = Bao::new();
    let (scratch, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let names = || {
        let listed = server.well("LIST", "/v1/secret/metadata", &serde_json::Value::Null);
        listed["data"]["keys"].as_array().unwrap().len()
    };
    let before = names();
    let plain = driver(&server, None);
    let witness = take(plain.as_ref(), scratch.path(), place.path());
    assert_eq!(names(), before);
    assert!(!witness.contains_key("canary"));
    assert_eq!(witness["cluster"], server.cluster_id());
    assert_eq!(verify(plain.as_ref(), place.path(), &witness).unwrap(), "archive hashes good");
    let witness = take(driver(&server, Some("secret/data/canary")).as_ref(), scratch.path(), place.path());
    assert_eq!(names(), before + 1);
    let value = server.read("canary").unwrap();
    assert!(!witness.values().any(|promise| promise.contains(&value)), "the witness holds no secret");
}

#[test]
fn a_server_with_a_certificate_is_trusted_by_its_authority_alone() {
    let server = Bao::new();
    let (scratch, place, other) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let with = |authority: Option<PathBuf>| {
        let component = VaultComponent {
            url: Some(server.tls_url()),
            token: Some(server.token.clone()),
            tls: TlsFiles { ca_file: authority, ..TlsFiles::default() },
            ..VaultComponent::default()
        };
        open("vault", &Component::Vault(component), clock()).unwrap()
    };
    let driver = with(Some(server.authority()));
    let witness = take(driver.as_ref(), scratch.path(), place.path());
    verify(driver.as_ref(), place.path(), &witness).unwrap();
    muster_testkit::postgres::tls::authority(other.path());
    for authority in [None, Some(other.path().join("ca.crt"))] {
        let look = with(authority).look(&Unwatched).unwrap();
        assert!(look.hindrances[0].what.contains("certificate"), "{look:?}");
    }
}

#[test]
fn a_snapshot_that_is_cut_or_another_one_or_has_an_unknown_promise_is_never_a_pass() {
    let server = Bao::new();
    let (scratch, place) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let driver = driver(&server, None);
    let witness = take(driver.as_ref(), scratch.path(), place.path());
    let mut unknown = witness.clone();
    unknown.insert("of-the-future".into(), "1".into());
    let error = verify(driver.as_ref(), place.path(), &unknown).unwrap_err();
    assert!(error.kind() != Kind::Corrupt && error.to_string().contains("of-the-future"), "{error}");
    let mut other = witness.clone();
    other.insert("index".into(), "1".into());
    let error = verify(driver.as_ref(), place.path(), &other).unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains("the backup had 1"), "{error}");
    let snapshot = place.path().join("snapshot.snap");
    let whole = std::fs::read(&snapshot).unwrap();
    std::fs::write(&snapshot, &whole[..whole.len() - 9]).unwrap();
    assert_eq!(verify(driver.as_ref(), place.path(), &witness).unwrap_err().kind(), Kind::Corrupt);
    std::fs::remove_file(&snapshot).unwrap();
    assert_eq!(verify(driver.as_ref(), place.path(), &witness).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_person_can_stop_a_backup_and_a_silent_server_is_a_fact_and_not_an_error_of_the_survey() {
    let mut server = Bao::new();
    let scratch = TempDir::new().unwrap();
    let driver = driver(&server, None);
    let stopped = driver.open_source(Method::Consistent, scratch.path(), &Stopped).err().unwrap();
    assert_eq!(stopped.kind(), Kind::Interrupted);
    assert!(driver.survey().unwrap().has_data);
    server.stop();
    let facts = driver.survey().unwrap();
    assert!(!facts.is_present && facts.seal.is_some());
    let look = driver.look(&Unwatched).unwrap();
    assert!(!look.is_ready() && look.hindrances[0].what.contains("does not answer"));
    let error = driver.open_source(Method::Consistent, scratch.path(), &Unwatched).err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable);
    // A server that writes while it is backed up gives snapshots that are whole, each time.
    server.start();
    server.unseal();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                server.write(&format!("load-{}", number % 50), &"x".repeat(2_000));
            }
        });
        for _ in 0..5 {
            let place = TempDir::new().unwrap();
            let witness = take(driver.as_ref(), scratch.path(), place.path());
            verify(driver.as_ref(), place.path(), &witness).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}
