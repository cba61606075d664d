//! What is refused, by name and with what mends it.

use std::time::Duration;

use muster_drivers::component::{ComponentDriver, Verification};
use muster_repo::source::SourceError;
use muster_testkit::{Redis, free_port, wait_for};
use muster_types::{Explain, Kind, config::RedisComponent, event::Unwatched};

use crate::taken::{begin, component, driver, refusal, take, write};

fn as_user(server: &Redis, user: &str, password: &str) -> RedisComponent {
    RedisComponent {
        url: Some(format!("redis://{user}@127.0.0.1:{}/", server.port())),
        password: Some(password.into()),
        ..RedisComponent::default()
    }
}

#[test]
fn a_wrong_a_missing_and_a_needless_password_are_told_apart() {
    let server = Redis::builder().password("geheim").start();
    let mut wrong = component(&server);
    wrong.password = Some("falsch".into());
    let error = refusal(&wrong);
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("refuses the password of the user `default`"), "{error}");
    assert!(!format!("{error:?}").contains("falsch"), "{error:?}");
    let none = RedisComponent {
        url: Some(format!("redis://127.0.0.1:{}/", server.port())),
        ..RedisComponent::default()
    };
    let error = refusal(&none);
    assert!(error.to_string().contains("asks for a password"), "{error}");
    assert!(error.hint().unwrap().0.contains("password: ${file:"), "{error}");
    let open = Redis::start_new();
    let mut needless = component(&open);
    needless.password = Some("geheim".into());
    let error = refusal(&needless);
    assert!(error.to_string().contains("has no password for the user `default`"), "{error}");
}

#[test]
fn a_user_without_the_right_is_told_the_line_that_gives_it_and_no_more_is_needed() {
    let server = Redis::start_new();
    server.fill(10);
    server.cli(&["ACL", "SETUSER", "muster", "on", ">geheim", "+ping", "+info"]);
    let user = as_user(&server, "muster", "geheim");
    let error = refusal(&user);
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("the user `muster` may not run"), "{error}");
    let hint = error.hint().unwrap().0;
    let line = hint.split_once("ACL SETUSER").map(|(_, rest)| format!("ACL SETUSER{rest}")).unwrap();
    server.cli(&line.split(' ').collect::<Vec<_>>());
    let taken = take(&user);
    assert!(taken.summary.warnings.is_empty(), "{:?}", taken.summary.warnings);
    taken.prove(&[]).unwrap();
    // For a restore it needs more, and that is said before anything is stopped.
    let restored = driver(&user);
    let place = restored.targets()[0].clone();
    let error = restored.server().unwrap().check(&place, &Unwatched).unwrap_err();
    let hint = error.hint().unwrap().0;
    assert!(hint.contains("+replicaof"), "{error} {hint}");
    let line = hint.split_once("ACL SETUSER").map(|(_, rest)| format!("ACL SETUSER{rest}")).unwrap();
    server.cli(&line.split(' ').collect::<Vec<_>>());
    restored.server().unwrap().check(&place, &Unwatched).unwrap();
}

#[test]
fn what_may_not_be_read_besides_is_left_out_and_told() {
    let server = Redis::start_new();
    server.cli(&["ACL", "SETUSER", "muster", "on", ">geheim", "+ping", "+info", "+psync", "+replconf"]);
    let taken = take(&as_user(&server, "muster", "geheim"));
    let warnings = taken.summary.warnings.join("\n");
    assert!(
        warnings.contains("settings are not in this backup")
            && warnings.contains("users are not in this backup")
    );
    assert!(!taken.place().join("users.acl").exists());
}

#[test]
fn a_server_that_is_gone_or_is_something_else_is_named() {
    let port = free_port();
    let nobody =
        RedisComponent { url: Some(format!("redis://127.0.0.1:{port}/")), ..RedisComponent::default() };
    let error = refusal(&nobody);
    assert!(error.to_string().contains(&format!("cannot reach Redis at 127.0.0.1:{port}")), "{error}");
    let facts = driver(&nobody).survey().unwrap();
    assert!(!facts.is_present, "a server that does not answer is a fact");
}

#[test]
fn a_server_that_dies_in_the_middle_fails_the_backup() {
    for diskless in ["yes", "no"] {
        // More than the sockets between can hold, and not compressed.
        let mut server =
            Redis::builder().setting("repl-diskless-sync", diskless).setting("rdbcompression", "no").start();
        server.cli(&["DEBUG", "POPULATE", "200", "big", "200000"]);
        let source = begin(&component(&server)).unwrap();
        server.kill();
        let folder = tempfile::tempdir().unwrap();
        let error = write(source.as_ref(), folder.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(
            error.to_string().contains("Redis") || error.to_string().contains("in the middle"),
            "{error}"
        );
        assert!(source.finish().is_err(), "nothing of it counts");
    }
}

#[test]
fn a_person_can_stop_a_backup_that_waits() {
    // More than the sockets between can hold.
    let server = Redis::builder().setting("rdbcompression", "no").start();
    server.cli(&["DEBUG", "POPULATE", "200", "big", "200000"]);
    let source = begin(&component(&server)).unwrap();
    server.freeze();
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| write(source.as_ref(), folder.path()));
        std::thread::sleep(Duration::from_millis(200));
        source.interrupt();
        wait_for("the end of the backup", Duration::from_mins(1), || reading.is_finished().then_some(()));
        let result: Result<(), SourceError> = reading.join().unwrap();
        assert!(result.is_err());
    });
}

#[test]
fn a_restore_into_a_replica_or_a_node_of_a_cluster_is_refused_before_anything_happens() {
    let primary = Redis::start_new();
    let replica = Redis::builder().setting("replicaof", &format!("127.0.0.1 {}", primary.port())).start();
    let cluster = Redis::builder().setting("cluster-enabled", "yes").start();
    for (server, expected) in
        [(&replica, "is a replica of 127.0.0.1:"), (&cluster, "node of a Redis Cluster")]
    {
        let driver = driver(&component(server));
        let error = driver.server().unwrap().check(&driver.targets()[0], &Unwatched).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(replica.info("role"), "slave");
}

#[test]
fn a_sentinel_has_no_data_and_a_server_that_one_watches_is_not_restored_into() {
    let server = Redis::start_new();
    let sentinel = Redis::builder().sentinel_of(&server).start();
    let error = refusal(&component(&sentinel));
    assert!(error.to_string().contains("is a Sentinel: it has no data"), "{error}");
    wait_for("the Sentinel to come", Duration::from_mins(1), || {
        server.cli(&["CLIENT", "LIST"]).contains("name=sentinel-").then_some(())
    });
    let driver = driver(&component(&server));
    let error = driver.server().unwrap().check(&driver.targets()[0], &Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("is watched by a Sentinel"), "{error}");
    assert!(error.hint().unwrap().0.contains("SENTINEL REMOVE"), "{error}");
    take(&component(&server)).prove(&[]).unwrap();
}

#[test]
fn a_value_of_a_module_that_no_server_here_has_is_named_and_says_nothing_against_the_backup() {
    let server = Redis::start_new();
    server.cli(&["SET", "a", "b"]);
    let taken = take(&component(&server));
    // One key `d` of the module `ReJSON-RL`, without a checksum, as a server with that module writes it.
    let mut rdb = b"REDIS0010\xfe\x00\x07\x01d\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x00\xff".to_vec();
    rdb.extend_from_slice(&[0; 8]);
    std::fs::write(taken.place().join("dump.rdb"), rdb).unwrap();
    let places = [taken.place().to_owned()];
    let witness = [("keys:0".to_owned(), "1".to_owned())].into();
    let request = Verification { is_proof: true, ..Verification::new(&places, &witness, &[]) };
    let verified = driver(&component(&server)).verify(&request, &Unwatched).unwrap();
    let [doubt] = verified.doubts.as_slice() else { panic!("{verified:?}") };
    assert!(doubt.contains("ReJSON-RL"), "{doubt}");
}
