//! A backup that a standby gives: what the primary had committed is in it, and what is no standby to trust is refused.

use std::{collections::BTreeMap, fs, path::PathBuf, thread, time::Duration};

use muster_drivers::postgres::PostgresDriver;
use muster_testkit::{
    Postgres,
    postgres::{
        Builder, Version, Workload,
        workload::{Lsn, assert_prefix, assert_sums, present},
    },
    wait_for,
};
use muster_types::{
    ByteSize, Explain, Kind, Span,
    config::{ComponentCommon, Member, PostgresComponent, PostgresMethod, PostgresTransport},
    objective::{Objectives, Target},
};

use crate::{
    refusals::told,
    taken::{Now, assertion, component, refusal, take, try_take},
};

/// A primary and a standby that follows it.
fn pair(builder: Builder) -> (Postgres, Postgres) {
    let mut primary = builder.start();
    primary.replication_role("muster", "geheim");
    let copy = primary.scratch_dir().join("standby");
    let mut copied = primary.client("pg_basebackup");
    copied.arg("-D").arg(&copy).args(["-R", "-X", "stream", "-c", "fast"]);
    assert!(copied.status().unwrap().success());
    let standby = Postgres::on(primary.version(), &copy).tcp(true).start();
    (primary, standby)
}

fn from_standby(primary: &Postgres, standby: &Postgres) -> PostgresComponent {
    let url = format!("postgres://muster:geheim@127.0.0.1:{}/postgres", standby.port());
    let member = Member { url, service: None, data_dir: None };
    PostgresComponent {
        members: BTreeMap::from([("replica".into(), member)]),
        backup_from: Some("replica".into()),
        ..component(primary)
    }
}

#[test]
fn a_backup_of_a_standby_under_load_holds_what_the_primary_had_committed_and_the_primary_sends_none() {
    for version in Version::ALL {
        let (primary, standby) =
            pair(Postgres::builder(version).keep_wal().setting("log_replication_commands", "on"));
        let mut load = Workload::begin(&primary, 0.4);
        load.wait_for_commits(&primary, 200);
        let before = present(&primary).len();
        let taken = take(&from_standby(&primary, &standby));
        load.wait_for_commits(&primary, before + 200);
        assert!(load.is_alive());
        let commits = load.end(&primary);
        for (server, sends) in [(&primary, false), (&standby, true)] {
            assert_eq!(server.log().contains("BASE_BACKUP (LABEL 'muster'"), sends, "{version:?}");
        }
        let json = fs::read_to_string(taken.data().join("muster-settings/server.json")).unwrap();
        assert!(json.contains("\"member\": \"replica\""), "{json}");
        let stop: Lsn = taken.summary.witness["stop_lsn"].parse().unwrap();
        let held = taken.prove(&[assertion("select count(*) from pgbench_accounts", "== 500000")]).unwrap();
        assert!(held.doubts.is_empty(), "{:?}", held.doubts);
        assert!(held.summary.contains("pages and indexes ok, 1 assertion held"), "{}", held.summary);
        let restored = Postgres::on(version, taken.data()).start();
        assert_eq!(restored.psql("postgres", "select pg_is_in_recovery()"), "f");
        let prefix = assert_prefix(&commits, &present(&restored), stop);
        assert!(before <= prefix && prefix < commits.len(), "{before} {prefix} {}", commits.len());
        assert_sums(&restored);
    }
}

fn expect(component: &PostgresComponent, kind: Kind, words: &[&str]) {
    let error = refusal(component);
    let text = told(&error);
    assert!(words.iter().all(|word| text.contains(word)) && error.kind() == kind, "{words:?}: {text}");
}

/// Makes the old primary a standby of the new one.
fn rebuild(primary: &mut Postgres, standby: &Postgres) {
    let data: PathBuf = primary.data_dir().to_owned();
    standby.psql("postgres", "checkpoint");
    primary.stop();
    let rewound = std::process::Command::new("setpriv")
        .args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"])
        .arg(Version::Fifteen.tool("pg_rewind"))
        .args([
            "-R",
            "-D",
            data.to_str().unwrap(),
            "--source-server",
            &standby.socket_url("postgres", "postgres"),
        ])
        .current_dir(standby.scratch_dir())
        .output()
        .unwrap();
    assert!(rewound.status.success(), "{rewound:?}");
    primary.start();
    assert_eq!(primary.psql("postgres", "select pg_is_in_recovery()"), "t");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anybody_is_asked() {
    let member = Member { url: "postgres://muster@db2/app".into(), service: None, data_dir: None };
    let from = PostgresComponent {
        url: Some("postgres://muster@db1/app".into()),
        members: BTreeMap::from([("replica".into(), member)]),
        backup_from: Some("replica".into()),
        ..PostgresComponent::default()
    };
    PostgresDriver::new("database", &from, std::sync::Arc::new(Now)).unwrap();
    for (wrong, words) in [
        (
            PostgresComponent { backup_from: Some("db9".into()), ..from.clone() },
            "`backup_from: db9` of component `database` is no member",
        ),
        (
            PostgresComponent { transport: PostgresTransport::Local, ..from.clone() },
            "does not go with `transport: local`",
        ),
        (
            PostgresComponent {
                backup_from: None,
                method: PostgresMethod::Logical,
                transport: PostgresTransport::Replication,
                ..from.clone()
            },
            "`transport` of component `database` does not go with `method: logical`",
        ),
    ] {
        let error = PostgresDriver::new("database", &wrong, std::sync::Arc::new(Now)).err().unwrap();
        assert!(error.kind() == Kind::Config && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_standby_that_lags_is_promoted_or_belongs_elsewhere_is_refused_by_name() {
    let (mut primary, standby) = pair(Postgres::builder(Version::Fifteen).keep_wal());
    let from = from_standby(&primary, &standby);
    let mut other = Postgres::start_new(Version::Fifteen);
    other.replication_role("muster", "geheim");
    let elsewhere = PostgresComponent { url: component(&other).url, ..from.clone() };
    expect(&elsewhere, Kind::Config, &["member `replica`", "it is of another cluster"]);
    // It lags: what it has replayed is older than the RPO allows.
    primary.psql("postgres", "create table t as select 1 as n");
    wait_for("the standby", Duration::from_mins(1), || {
        standby.try_psql("postgres", "select n from t").ok().map(drop)
    });
    standby.psql("postgres", "select pg_wal_replay_pause()");
    primary.psql("postgres", "insert into t select generate_series(1, 1000)");
    let objectives = Objectives { rpo: Some(Target::Within(Span::from_secs(1))), ..Objectives::default() };
    let strict = PostgresComponent {
        common: ComponentCommon { objectives: Some(objectives), ..ComponentCommon::default() },
        ..from.clone()
    };
    expect(&strict, Kind::Unavailable, &["member `replica`", "it lags", "the RPO is 1 s", "`backup_from`"]);
    standby.psql("postgres", "select pg_wal_replay_resume()");
    let held = take(&strict).prove(&[assertion("select count(*) from t", "== 1001")]).unwrap();
    assert!(held.summary.contains("1 assertion held"), "{}", held.summary);
    // Promoted in the middle.
    let slow = PostgresComponent { max_rate: Some(ByteSize(4 << 20)), ..from.clone() };
    let error = thread::scope(|scope| {
        let taking = scope.spawn(|| try_take(&slow).err());
        wait_for("the stream", Duration::from_mins(1), || {
            let sending = "select count(*) from pg_stat_progress_basebackup where backup_streamed > 1000000";
            (standby.psql("postgres", sending) == "1").then_some(())
        });
        standby.psql("postgres", "select pg_promote()");
        taking.join().unwrap().expect("a backup of a server that became another one")
    });
    let said = error.to_string();
    assert!(
        said.contains("member `replica`") && said.contains("was promoted while its backup ran"),
        "{said}"
    );
    expect(&from, Kind::Unavailable, &["it is a primary, and `backup_from` names it as a standby"]);
    // On the new timeline, with the roles changed.
    rebuild(&mut primary, &standby);
    let turned = PostgresComponent {
        url: from.members["replica"].url.clone().into(),
        members: BTreeMap::from([(
            "replica".into(),
            Member { url: primary.url("muster", "postgres"), service: None, data_dir: None },
        )]),
        ..from
    };
    standby.psql("postgres", "insert into t select generate_series(1, 9)");
    let taken = take(&turned);
    assert_eq!(taken.summary.witness["timeline"], "2");
    assert!(taken.data().join("pg_wal/00000002.history").exists());
    let held = taken.prove(&[assertion("select count(*) from t", "== 1010")]).unwrap();
    assert!(held.doubts.is_empty() && held.summary.contains("1 assertion held"), "{held:?}");
}
