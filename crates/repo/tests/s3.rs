//! A repository in object storage, against a real server: its whole life, servers that go away, damage, a slow line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a test may panic, and what it writes need not survive a power cut"
)]

#[path = "support/place.rs"]
mod place;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use muster_repo::{
    Credentials, Expected, Location, Provider, Repo, RepoError, S3Location, Stop, StoreError, VerifyDepth,
    VerifyReport,
};
use muster_testkit::{
    Proxy, Seaweed, assert_trees_equal,
    seaweed::{ACCESS_KEY, BUCKET, READER_KEY, SECRET_KEY},
    wait_for,
};
use muster_types::{Explain, Kind, Secret, backup::BackupId, event::Unwatched};
use place::{Folders, KEY, header, random_files};

const PREFIX: &str = "backups/of us";
const WHOLE: VerifyDepth = VerifyDepth::ReadData { percent: 100.0 };

fn location(endpoint: &str) -> S3Location {
    S3Location {
        provider: Provider::S3,
        bucket: BUCKET.into(),
        prefix: PREFIX.into(),
        endpoint: Some(endpoint.into()),
        region: "us-east-1".into(),
        path_style: true,
        credentials: Some(Credentials {
            access_key: ACCESS_KEY.into(),
            secret_key: Secret::new(SECRET_KEY),
            session_token: None,
        }),
        patience: Duration::from_mins(1),
        stop: Stop::default(),
        upload_rate_max: None,
        storage_class: None,
    }
}

fn init(server: &Seaweed) -> Repo {
    Repo::init(&Location::S3(location(&server.endpoint())), &Secret::new(KEY)).unwrap()
}

fn open(location: S3Location) -> Result<Repo, RepoError> {
    Repo::open(&Location::S3(location), &Secret::new(KEY))
}

fn back_up(repo: &Repo, paths: &[&Path]) -> Result<BackupId, RepoError> {
    let source = Folders(paths.iter().map(|path| path.to_path_buf()).collect());
    repo.back_up(Box::new(source), header("files", false), &Unwatched).map(|backup| backup.id)
}

fn verify(repo: &Repo, expected: &Expected) -> VerifyReport {
    repo.verify(WHOLE, expected, &Unwatched).unwrap()
}

fn restic(server: &Seaweed, arguments: &[&str]) {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "-r", &format!("s3:{}/{BUCKET}/{PREFIX}", server.endpoint())]);
    command.args(arguments).env("RESTIC_PASSWORD", KEY);
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the repository has in a folder; names are whole, without the prefix.
fn names(server: &Seaweed, folder: &str) -> Vec<String> {
    let names = server.names(&format!("{PREFIX}/{folder}"));
    names.iter().map(|name| name.strip_prefix(&format!("{PREFIX}/")).unwrap().to_owned()).collect()
}

fn restore(repo: &Repo, id: &BackupId, to: &Path) -> Duration {
    let begun = Instant::now();
    repo.restore(id, &[to.to_owned()], &Unwatched).unwrap();
    begun.elapsed()
}

// proves: B18
#[test]
fn a_repository_lives_in_object_storage_as_in_a_folder() {
    let server = Seaweed::new();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    random_files(&first, 1, 300, 20_000);
    random_files(&second, 2, 3, 3_000_000);
    let repo = init(&server);
    let again = Repo::init(&Location::S3(location(&server.endpoint())), &Secret::new(KEY));
    assert!(matches!(again, Err(RepoError::NotEmpty(_))));

    let one = back_up(&repo, &[&first]).unwrap();
    let two = back_up(&repo, &[&second]).unwrap();
    let repo = open(location(&server.endpoint())).unwrap();
    let listed: Vec<BackupId> = repo.backups().unwrap().into_iter().map(|backup| backup.id).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&one) && listed.contains(&two));
    assert_eq!(repo.ls(&one).unwrap().len(), 301);
    restore(&repo, &one, &folder.path().join("r1"));
    assert_trees_equal(&first, &folder.path().join("r1"));
    assert!(repo.verify(VerifyDepth::Structure, &Expected::default(), &Unwatched).unwrap().is_sound());
    let report = verify(&repo, &Expected { backups: listed, keys: Vec::new() });
    assert!(report.is_sound() && report.packs_read >= 4, "{report}");
    restic(&server, &["check", "--read-data"]);

    // Who may only read can do all that reads, and nothing else.
    let mut reading = location(&server.endpoint());
    reading.credentials.as_mut().unwrap().access_key = READER_KEY.into();
    let reader = open(reading).unwrap();
    restore(&reader, &one, &folder.path().join("r3"));
    assert!(verify(&reader, &Expected::default()).is_sound());
    let refused = [back_up(&reader, &[&second]).err(), reader.set_pin(&one, true).err()];
    for error in refused {
        let error = error.unwrap();
        assert!(matches!(error, RepoError::Store { source: StoreError::Refused { .. }, .. }), "{error}");
    }
    assert!(reader.free_space(false).is_err());

    repo.set_pin(&two, true).unwrap();
    assert!(matches!(repo.forget(std::slice::from_ref(&two)), Err(RepoError::Pinned(_))));
    repo.set_pin(&two, false).unwrap();
    let other = Secret::new("another key");
    let id = repo.add_key(&other).unwrap();
    Repo::open(&Location::S3(location(&server.endpoint())), &other).unwrap();
    assert_eq!(repo.keys().unwrap().len(), 2);
    repo.remove_key(&id[..8]).unwrap();
    let wrong = Repo::open(&Location::S3(location(&server.endpoint())), &other).err().unwrap();
    assert_eq!(wrong.kind(), Kind::WrongKey);

    repo.forget(std::slice::from_ref(&two)).unwrap();
    let estimate = repo.free_space(true).unwrap();
    let stats = repo.free_space(false).unwrap();
    assert!(stats.freed_bytes > 8_000_000 && stats.marked_bytes == 0, "{stats}");
    assert!(estimate.freed_bytes > 8_000_000, "{estimate}");
    assert_eq!(names(&server, "muster"), [""; 0], "locks or pins were left");
    assert!(verify(&repo, &Expected::default()).is_sound());
    restore(&repo, &one, &folder.path().join("r2"));
    assert_trees_equal(&first, &folder.path().join("r2"));
    restic(&server, &["check", "--read-data"]);
}

#[test]
fn who_cannot_come_in_is_told_why() {
    let server = Seaweed::new();
    let fails = |location: S3Location, kind: Kind| {
        let error = open(location).err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        match error {
            RepoError::Store { source, .. } => Some(source),
            _ => None,
        }
    };
    let right = location(&server.endpoint());
    assert_eq!(fails(right.clone(), Kind::NoRepository), None);
    let missing = S3Location { bucket: "elsewhere".into(), ..right.clone() };
    assert_eq!(fails(missing, Kind::Config), Some(StoreError::NoBucket("elsewhere".into())));
    let mut refused = right.clone();
    refused.credentials.as_mut().unwrap().secret_key = Secret::new("wrong");
    assert!(matches!(fails(refused, Kind::Config), Some(StoreError::Refused { .. })));
    let gone = S3Location { endpoint: Some("http://127.0.0.1:9".into()), patience: Duration::ZERO, ..right };
    assert!(matches!(fails(gone, Kind::Unavailable), Some(StoreError::Unreachable { .. })));
}

/// Begins a backup, and does something when the first packs have arrived.
fn back_up_while(
    server: &mut Seaweed,
    repo: &Repo,
    data: &Path,
    then: impl FnOnce(&mut Seaweed),
) -> Result<BackupId, RepoError> {
    thread::scope(|scope| {
        let running = scope.spawn(|| back_up(repo, &[data]));
        wait_for("the first pack", Duration::from_mins(1), || {
            (!names(server, "data").is_empty() || running.is_finished()).then_some(())
        });
        assert!(!running.is_finished(), "the backup was too quick for this test");
        then(server);
        running.join().unwrap()
    })
}

#[test]
fn a_server_that_is_started_again_does_not_fail_a_backup() {
    let mut server = Seaweed::new();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    random_files(&data, 3, 20, 10_000_000);
    let repo = init(&server);
    let id = back_up_while(&mut server, &repo, &data, |server| {
        server.stop();
        thread::sleep(Duration::from_secs(3));
        server.start();
    });
    let id = id.unwrap();
    let report = verify(&repo, &Expected { backups: vec![id.clone()], keys: Vec::new() });
    assert!(report.is_sound(), "{report}");
    restore(&repo, &id, &folder.path().join("r"));
    assert_trees_equal(&data, &folder.path().join("r"));
}

// proves: B18
#[test]
fn a_server_that_stays_away_is_named_and_no_snapshot_is_left() {
    let mut server = Seaweed::new();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    random_files(&data, 4, 20, 10_000_000);
    init(&server);
    let hasty = S3Location { patience: Duration::from_secs(2), ..location(&server.endpoint()) };
    let repo = open(hasty).unwrap();
    let error = back_up_while(&mut server, &repo, &data, Seaweed::stop).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(matches!(error, RepoError::Store { source: StoreError::Unreachable { .. }, .. }), "{error}");
    assert!(repo.verify(WHOLE, &Expected::default(), &Unwatched).is_err(), "an absent server was verified");
    server.start();
    assert_eq!(names(&server, "snapshots"), [""; 0]);
    let id = back_up(&repo, &[&data]).unwrap();
    // What the failed one had stored is used or left over, and no damage.
    let report = verify(&repo, &Expected { backups: vec![id], keys: Vec::new() });
    assert!(report.is_sound(), "{report}");
}

#[test]
fn every_kind_of_damage_is_named() {
    let server = Seaweed::new();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    random_files(&data, 5, 30, 100_000);
    let repo = init(&server);
    repo.add_key(&Secret::new("another key")).unwrap();
    let id = back_up(&repo, &[&data]).unwrap();
    let keys = repo.keys().unwrap().into_iter().map(|key| key.id).collect();
    let expected = Expected { backups: vec![id], keys };
    assert!(verify(&repo, &expected).is_sound());
    let mut seen = 0;
    for kind in ["data", "index", "snapshots", "keys", "config"] {
        let objects = if kind == "config" { vec!["config".to_owned()] } else { names(&server, kind) };
        for object in objects {
            let name = format!("{PREFIX}/{object}");
            let whole = server.get(&name);
            let id = object.rsplit('/').next().unwrap();
            for flipped in [true, false] {
                if flipped {
                    let mut content = whole.clone();
                    content[whole.len() / 2] ^= 1;
                    server.put(&name, &content);
                } else {
                    server.remove(&name);
                }
                let report = verify(&repo, &expected);
                let is_named = report.findings.iter().any(|finding| finding.to_string().contains(id))
                    // Of a lost index file nothing tells the name: the packs that it named are.
                    || !flipped && kind == "index" && report.findings.iter().any(|f| f.object == "index");
                assert!(is_named, "{object}, flipped {flipped}: {report}");
                server.put(&name, &whole);
                seen += 1;
            }
        }
    }
    assert!(seen >= 14, "{seen}");
    assert!(verify(&repo, &expected).is_sound());
}

#[test]
fn no_more_is_sent_in_a_second_than_is_allowed() {
    let server = Seaweed::new();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    random_files(&data, 5, 8, 1_000_000);
    init(&server);
    let rate = std::num::NonZeroU64::new(2_000_000);
    let repo = open(S3Location { upload_rate_max: rate, ..location(&server.endpoint()) }).unwrap();
    let begun = std::time::Instant::now();
    let id = back_up(&repo, &[&data]).unwrap();
    let took = begun.elapsed().as_secs_f64();
    let sent: usize =
        names(&server, "data").iter().map(|name| server.get(&format!("{PREFIX}/{name}")).len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let measured = sent as f64 / took;
    println!("{sent} bytes in {took:.1} s: {measured:.0} in a second");
    assert!(sent > 8_000_000 && measured < 2_100_000.0, "{measured} bytes in a second");
    assert!(measured > 800_000.0, "{measured} bytes in a second: much slower than allowed");
    restore(&repo, &id, &folder.path().join("r"));
    assert_trees_equal(&data, &folder.path().join("r"));
}

#[test]
fn latency_costs_less_than_two_fifths_of_the_throughput() {
    let server = Seaweed::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    // Both go through a line of the same kind: what carrying costs on this machine is not latency.
    let line = Proxy::new(server.port(), Duration::from_millis(50));
    let short = Proxy::new(server.port(), Duration::ZERO);
    drop(init(&server));
    let near = open(location(&short.endpoint())).unwrap();
    let far = open(location(&line.endpoint())).unwrap();
    // The first one warms the server up.
    random_files(&path("warm"), 8, 3, 10_000_000);
    back_up(&near, &[&path("warm")]).unwrap();
    // Seconds of a backup and of a restore, without what every run costs however little it carries.
    let took = |repo: &Repo, seed: u64, name: &str| {
        for name in [name.to_owned(), format!("{name}-restored"), format!("{name}-tiny-restored")] {
            drop(fs::remove_dir_all(path(&name)));
        }
        random_files(&path(name).join("large"), seed, 8, 16_000_000);
        random_files(&path(name).join("small"), seed + 1_000, 2_000, 8_000);
        let tiny = path(&format!("{name}-tiny"));
        random_files(&tiny, seed + 2_000, 1, 100);
        let begun = Instant::now();
        let id = back_up(repo, &[&path(name)]).unwrap();
        let backup = begun.elapsed();
        let begun = Instant::now();
        let tiny_id = back_up(repo, &[&tiny]).unwrap();
        let backup_tiny = begun.elapsed();
        let restored = restore(repo, &id, &path(&format!("{name}-restored")));
        let restored_tiny = restore(repo, &tiny_id, &path(&format!("{name}-tiny-restored")));
        println!("{name}: backup {backup:?} ({backup_tiny:?}), restore {restored:?} ({restored_tiny:?})");
        [backup.saturating_sub(backup_tiny), restored.saturating_sub(restored_tiny)]
    };
    // Other work on the machine only makes things slower: the shortest times count, near and far taken in turn.
    let (mut without, mut with) = ([Duration::MAX; 2], [Duration::MAX; 2]);
    let mut shares = [0.0; 2];
    for seed in (10..).step_by(10).take(5) {
        let (near, far) = (took(&near, seed, "near"), took(&far, seed + 5, "far"));
        for what in 0..2 {
            without[what] = without[what].min(near[what]);
            with[what] = with[what].min(far[what]);
            shares[what] = without[what].as_secs_f64() / with[what].as_secs_f64();
        }
        println!("left at 100 ms: {:.2} of the backup, {:.2} of the restore", shares[0], shares[1]);
        if shares.iter().all(|share| *share > 0.6) {
            break;
        }
    }
    assert!(shares.iter().all(|share| *share > 0.6), "{shares:?}");
    assert_trees_equal(&path("far"), &path("far-restored"));
}
