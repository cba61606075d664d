//! `sql`, `redis`, `vault` and `etcd` against their real servers: passing, failing, silent, and asked for nonsense.

use std::net::TcpListener;

use muster_drivers::checks::validate;
use muster_testkit::{Bao, Etcd, Postgres, Redis, postgres::Version};
use muster_types::config::{
    Check, Component, ComponentCommon, EtcdComponent, PostgresComponent, RedisComponent, SqlCheck,
    SqliteComponent, VaultComponent,
};

use crate::{given, reason};

fn asking(component: Component, conditions: &[&str]) -> Check {
    let name = || Some("it".to_owned());
    let mut check = given(conditions);
    match component {
        Component::Redis(_) => check.redis = name(),
        Component::Vault(_) => check.vault = name(),
        Component::Etcd(_) => check.etcd = name(),
        _ => {}
    }
    // Servers of a loaded machine take their time; silence has tests of its own.
    Check { component: Some(Box::new(component)), timeout: Some("1m".parse().unwrap()), ..check }
}

fn sql(component: Component, query: &str, conditions: &[&str]) -> Check {
    let sql = SqlCheck { component: "it".into(), query: query.into() };
    Check { sql: Some(sql), ..asking(component, conditions) }
}

/// A place where somebody takes the call and never says a word.
fn silent() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn postgres(url: String) -> Component {
    Component::Postgres(PostgresComponent {
        url: Some(url),
        password: Some("geheim".into()),
        ..PostgresComponent::default()
    })
}

fn redis(url: String) -> Component {
    Component::Redis(RedisComponent { url: Some(url), ..RedisComponent::default() })
}

fn vault(url: String) -> Component {
    Component::Vault(VaultComponent { url: Some(url), ..VaultComponent::default() })
}

fn etcd(url: String) -> Component {
    Component::Etcd(EtcdComponent { url: Some(url), ..EtcdComponent::default() })
}

fn said(check: &Check) -> String {
    reason(check).unwrap()
}

#[test]
fn a_value_of_a_database_is_judged_and_nothing_is_ever_written() {
    let mut server = Postgres::start_new(Version::Eighteen);
    server.role("muster", "geheim", "superuser");
    server.psql("postgres", "create table runs (id int, at timestamptz); insert into runs select n, now() from generate_series(1, 7) n");
    let database = || postgres(server.url("muster", "postgres"));
    assert_eq!(reason(&sql(database(), "select count(*) from runs", &["[BODY] >= 7"])), None);
    let fresh = "select extract(epoch from now() - max(at))::int from runs";
    assert_eq!(reason(&sql(database(), fresh, &["[BODY] < 3600"])), None);
    let few = said(&sql(database(), "select count(*) from runs", &["[BODY] > 7"]));
    assert_eq!(few, "`[BODY] > 7` does not hold: found 7");
    for (query, told) in [
        ("delete from runs returning 1", "read-only transaction"),
        ("set default_transaction_read_only = off; delete from runs", "cannot insert multiple commands"),
        ("select id from runs", "7 rows instead of one value"),
        ("select 1, 2", "2 columns instead of one value"),
        ("selec", "syntax error"),
    ] {
        let why = said(&sql(database(), query, &["[BODY] == 1"]));
        assert!(why.contains(told), "{query}: {why}");
    }
    assert_eq!(server.psql("postgres", "select count(*) from runs"), "7");
    let late = Check {
        timeout: Some("1s".parse().unwrap()),
        ..sql(database(), "select pg_sleep(600)", &["[BODY] == 1"])
    };
    assert_eq!(said(&late), "no answer within 1s");
    assert_eq!(
        validate(&sql(database(), "select 1", &[])).unwrap_err().message,
        "a query of your own needs a condition"
    );

    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("agents.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("create table t (n); insert into t values (1)")
        .unwrap();
    let file = || {
        Component::Sqlite(SqliteComponent { path: Some(path.clone()), common: ComponentCommon::default() })
    };
    assert_eq!(reason(&sql(file(), "select count(*) from t", &["[BODY] == 1"])), None);
    assert!(said(&sql(file(), "delete from t", &["[BODY] == 1"])).contains("columns"));

    let wrong =
        Check { redis: Some("it".into()), ..Check { component: Some(Box::new(file())), ..given(&[]) } };
    assert_eq!(validate(&wrong).unwrap_err().message, "component `it` is of kind `sqlite`");
    let nobody = Check { redis: Some("it".into()), ..given(&[]) };
    assert_eq!(said(&nobody), "there is no component `it`");
}

// proves: D17
#[test]
fn a_redis_says_which_one_answers_and_fails_when_it_is_full_silent_or_its_cluster_is_broken() {
    let server = Redis::builder().start();
    let is_it = format!("[BODY].run_id == {}", server.info("run_id"));
    assert_eq!(reason(&asking(redis(server.url()), &[])), None);
    assert_eq!(reason(&asking(redis(server.url()), &[&is_it, "[BODY].ping == PONG"])), None);
    let other = Redis::builder().setting("cluster-enabled", "yes").start();
    assert!(
        said(&asking(redis(other.url()), &[&is_it])).contains("does not hold"),
        "another server cannot answer for it"
    );
    assert!(
        said(&asking(redis(other.url()), &[])).contains("`[BODY].cluster != fail` does not hold: found fail")
    );
    server.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert!(said(&asking(redis(server.url()), &[])).contains("`[BODY].memory_percent < 95` does not hold"));
    let (_listener, port) = silent();
    let late = Check {
        timeout: Some("1s".parse().unwrap()),
        ..asking(redis(format!("redis://127.0.0.1:{port}")), &[])
    };
    assert_eq!(said(&late), "no answer within 1s");
    let foreign = said(&asking(redis(server.url()), &["[BODY].nothing == 1"]));
    assert!(foreign.contains("does not hold"), "{foreign}");
    assert_eq!(
        validate(&asking(redis(server.url()), &["[STATUS] == 200"])).unwrap_err().message,
        "a redis check has no [STATUS]"
    );
}

#[test]
fn a_sealed_vault_and_an_etcd_without_a_quorum_fail_their_checks() {
    let server = Bao::new();
    assert_eq!(reason(&asking(vault(server.url()), &[])), None);
    server.seal();
    assert!(
        said(&asking(vault(server.url()), &[]))
            .contains("`[BODY].sealed == false` does not hold: found true")
    );

    let mut cluster = Etcd::new(3);
    assert_eq!(
        reason(&asking(etcd(cluster.url(0)), &["[BODY].quorum == true", "[BODY].healthy == 3"])),
        None
    );
    cluster.stop(1);
    assert_eq!(reason(&asking(etcd(cluster.url(0)), &[])), None, "two of three still agree");
    cluster.stop(2);
    // A member that is left alone may still name its leader for a moment; then nobody answers what all must agree on.
    let why = said(&asking(etcd(cluster.url(0)), &[]));
    assert!(!why.is_empty(), "{why}");

    for make in [vault, etcd] {
        let (_listener, port) = silent();
        let late = Check {
            timeout: Some("1s".parse().unwrap()),
            ..asking(make(format!("http://127.0.0.1:{port}")), &[])
        };
        assert_eq!(said(&late), "no answer within 1s");
    }
    // Another program answers in its place.
    let page = crate::answering("200 OK", b"<html></html>", std::time::Duration::ZERO);
    for make in [vault, etcd] {
        let why = said(&asking(make(page.replace("/health", "")), &[]));
        assert!(why.contains("does not answer like") || why.contains("does not tell how it stands"), "{why}");
    }
}
