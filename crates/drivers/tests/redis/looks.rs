//! What `muster survey` says of a Redis server.

use std::{
    fs,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
};

use muster_drivers::{component::ComponentDriver, look::Look};
use muster_testkit::Redis;
use muster_types::{Explain, Kind, config::RedisComponent, event::Unwatched, plan::SwapMove};

use crate::{
    placed::copy,
    taken::{component, driver, refusal, take},
};

fn fact(look: &Look, name: &str) -> String {
    look.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.clone()).unwrap_or_default()
}

fn expecting(server: &Redis, settings: &[(&str, &str)]) -> RedisComponent {
    let expect = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    RedisComponent { expect, ..component(server) }
}

// proves: B7
#[test]
fn settings_that_drifted_from_the_declared_ones_are_named_with_what_mends_them() {
    let server = Redis::builder().append_only().start();
    let declared = [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("auto-aof-rewrite-percentage", "100"),
        ("auto-aof-rewrite-min-size", "64mb"),
        ("maxmemory-policy", "noeviction"),
    ];
    let driver = driver(&expecting(&server, &declared));
    let look = driver.look(&Unwatched).unwrap();
    assert!(look.warnings.is_empty() && look.hindrances.is_empty(), "{look:?}");
    server.cli(&["CONFIG", "SET", "appendfsync", "no"]);
    server.cli(&["CONFIG", "SET", "auto-aof-rewrite-min-size", "1gb"]);
    let look = driver.look(&Unwatched).unwrap();
    let told: Vec<&str> = look.warnings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        told,
        [
            "appendfsync is `no`, and the configuration expects `everysec`",
            "auto-aof-rewrite-min-size is `1073741824`, and the configuration expects `64mb`",
        ]
    );
    let mend = look.warnings[0].mend.clone().unwrap();
    assert!(mend.starts_with("CONFIG SET appendfsync everysec"), "{mend}");
}

/// Sends each connection to the next of two servers, as a balancer does.
fn balancer(ports: [u16; 2]) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (client, port) in listener.incoming().map_while(Result::ok).zip(ports.into_iter().cycle()) {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let pairs = [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)];
            for (mut from, mut to) in pairs {
                thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop(to.shutdown(Shutdown::Both));
                });
            }
        }
    });
    port
}

// proves: D17
#[test]
fn a_wrong_host_cannot_answer_for_the_one_that_is_backed_up_or_restored() {
    let (one, other) = (Redis::start_new(), Redis::start_new());
    one.run("SET a 1\n");
    other.run("SET b 2\n");
    let taken = take(&component(&one));
    let recorded = fs::read_to_string(taken.place().join("server.json")).unwrap();
    assert!(recorded.contains(&one.info("run_id")), "{recorded}");
    let through = RedisComponent {
        url: Some(format!("redis://127.0.0.1:{}/", balancer([one.port(), other.port()]))),
        ..RedisComponent::default()
    };
    let error = refusal(&through);
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("another server answers"), "{error}");
    // Into whichever it is: what answers at the end must be what answered at the beginning.
    let folder = tempfile::tempdir().unwrap();
    let driver = driver(&through);
    let one_move = SwapMove {
        from: folder.path().join("r1.new"),
        target: driver.targets()[0].clone(),
        kept: folder.path().join("r1.old"),
    };
    copy(taken.place(), &one_move.from);
    let error = driver.server().unwrap().swap(&[one_move], &Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    for (server, key) in [(&one, "a"), (&other, "b")] {
        assert_eq!((server.info("role").as_str(), server.cli(&["EXISTS", key]).as_str()), ("master", "1"));
    }
}

// proves: D17
#[test]
fn a_server_in_trouble_is_told_and_another_server_at_its_address_is_another_run_id() {
    let mut server =
        Redis::builder().setting("maxmemory", "20mb").setting("enable-protected-configs", "local").start();
    let driver = driver(&component(&server));
    let look = driver.look(&Unwatched).unwrap();
    assert!(look.warnings.is_empty() && look.is_ready(), "{look:?}");
    assert_eq!(fact(&look, "run id"), server.info("run_id"));
    assert_eq!(fact(&look, "role"), "primary, 0 replicas");
    // Full of keys that nobody evicts.
    for n in 0..300 {
        server.try_cli(&["SETRANGE", &format!("big:{n}"), "100000", "x"]);
    }
    server.cli(&["CONFIG", "SET", "dir", "/proc"]);
    server.try_cli(&["BGSAVE"]);
    muster_testkit::wait_for("the failure of the snapshot", std::time::Duration::from_mins(1), || {
        (server.info("rdb_last_bgsave_status") == "err").then_some(())
    });
    let look = driver.look(&Unwatched).unwrap();
    let told = look.warnings.iter().map(|finding| finding.what.clone()).collect::<Vec<_>>().join("\n");
    for expected in [
        "memory is full to",
        "writes were refused because memory was full",
        "the last snapshot (BGSAVE) failed",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let first = fact(&look, "run id");
    server.kill();
    let look = driver.look(&Unwatched).unwrap();
    assert!(!look.is_ready() && look.hindrances[0].what.contains("cannot reach Redis"), "{look:?}");
    server.start();
    assert_ne!(fact(&driver.look(&Unwatched).unwrap(), "run id"), first, "not the server of before");
}

#[test]
fn a_missing_right_stands_in_the_way_and_is_told_before_a_backup() {
    let server = Redis::start_new();
    server.cli(&["ACL", "SETUSER", "muster", "on", ">geheim", "+ping", "+info"]);
    let user = RedisComponent {
        url: Some(format!("redis://muster@127.0.0.1:{}/", server.port())),
        password: Some("geheim".into()),
        ..RedisComponent::default()
    };
    let look = driver(&user).look(&Unwatched).unwrap();
    assert!(!look.is_ready());
    assert_eq!(look.hindrances.len(), 1, "{look:?}");
    let mend = look.hindrances[0].mend.clone().unwrap();
    assert!(mend.starts_with("ACL SETUSER muster +ping"), "{mend}");
    server.cli(&mend.split(' ').collect::<Vec<_>>());
    let look = driver(&user).look(&Unwatched).unwrap();
    assert!(look.is_ready() && look.warnings.is_empty(), "{look:?}");
    // Who may look at rights and not replicate is told that.
    server.cli(&["ACL", "SETUSER", "muster", "-psync", "+acl"]);
    let look = driver(&user).look(&Unwatched).unwrap();
    assert!(look.hindrances[0].what.contains("'psync'"), "{look:?}");
}
