//! Failover in a Redis Cluster from outside: by agreement, by votes, and without votes only on a person's word.

use muster_testkit::{Redis, Sandbox, redis::RedisCluster, wait_for};

use crate::platform::{PATIENCE, Platform};

/// A platform whose component is the primary with the first third of the slots.
fn platform(cluster: &RedisCluster) -> Platform {
    let sandbox = Sandbox::new();
    sandbox.write_config(&format!(
        "platform: sandbox\nobjectives: {{rto: 1h, rpo: 1d}}\n\
         repository:\n  location: {}\n  password: ${{file:{}}}\n\
         components:\n  cache:\n    kind: redis\n    url: redis://127.0.0.1:{}/\n    backup: {{every: 1h}}\n",
        sandbox.repository().display(),
        sandbox.key().display(),
        cluster.primaries[0].port(),
    ));
    Platform::with(sandbox)
}

fn address(server: &Redis) -> String {
    format!("127.0.0.1:{}", server.port())
}

// proves: C21
#[test]
fn a_replica_is_promoted_by_agreement_then_by_votes_and_without_votes_only_on_a_word() {
    let mut cluster = RedisCluster::start();
    let platform = platform(&cluster);
    let failover = |replica: &str, more: &[&str]| {
        platform.run(&[&["failover", "cache", "--to", replica, "--yes", "--json"], more].concat())
    };
    let [first, second, third] = [0, 1, 2].map(|n| address(&cluster.replicas[n]));
    let (key, other) = (cluster.key(0), cluster.key(1));

    let unknown = failover("127.0.0.1:1", &[]);
    unknown.assert_exit(2);
    assert!(unknown.stderr.contains("has no node `127.0.0.1:1`") && unknown.stderr.contains(&first));
    let primary = failover(&address(&cluster.primaries[1]), &[]);
    primary.assert_exit(1);
    assert!(primary.stderr.contains("it is a primary already"), "{}", primary.stderr);
    let planned = platform.well(&["failover", "cache", "--to", &first, "--dry-run"]).stdout;
    assert!(planned.contains("CLUSTER FAILOVER, then CLUSTER FAILOVER FORCE"), "{planned}");
    assert!(planned.contains("3 of 3 primaries can vote"), "{planned}");

    // By agreement, under a writer: what was acknowledged is there.
    let writer = cluster.primaries[0].counter(&key);
    wait_for("some writes", PATIENCE, || (writer.acknowledged() > 500).then_some(()));
    let report = failover(&first, &[]).assert_exit(0).json();
    let acknowledged = writer.end();
    assert_eq!(report["failover"]["replica"]["way"], "plain", "{report:#}");
    assert_eq!(cluster.replicas[0].info("role"), "master");
    let kept: u64 = cluster.replicas[0].cli(&["GET", &key]).parse().unwrap();
    assert!(kept >= acknowledged, "{kept} of {acknowledged}");

    // Without the old primary, by the votes of the others. The server that the component names has gone, too.
    cluster.primaries[1].run(&format!("SET {other} kept\n"));
    cluster.primaries[1].cli(&["WAIT", "1", "10000"]);
    cluster.primaries[1].kill();
    wait_for("the loss to be seen", PATIENCE, || {
        cluster.replicas[1].cli(&["CLUSTER", "NODES"]).contains("master,fail").then_some(())
    });
    let report = failover(&second, &[]).assert_exit(0).json();
    assert_eq!(report["failover"]["replica"]["way"], "force", "{report:#}");
    assert_eq!(cluster.replicas[1].cli(&["GET", &other]), "kept");

    // Of three primaries two are gone: nobody can vote.
    cluster.primaries[2].kill();
    cluster.replicas[1].kill();
    wait_for("the loss to be seen", PATIENCE, || {
        let nodes = cluster.replicas[2].cli(&["CLUSTER", "NODES"]);
        // The one that was lost before, which has no slots any more, and these two.
        (nodes.lines().filter(|line| line.contains("master,fail")).count() >= 3).then_some(())
    });
    let refused = failover(&third, &[]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("only 1 of 3 primaries of `cache` can vote"), "{}", refused.stderr);
    assert_eq!(cluster.replicas[2].info("role"), "slave");
    let done = failover(&third, &["--fenced-by", "ada: its host is off"]).assert_exit(0).json();
    let replica = &done["failover"]["replica"];
    assert_eq!(
        (&replica["way"], &replica["fenced_by"]),
        (&"takeover".into(), &"ada: its host is off".into())
    );
    assert_eq!(cluster.replicas[2].info("role"), "master");
    let told = platform.well(&["runs", "--limit", "1"]).stdout;
    let run = told.lines().nth(1).unwrap().split_whitespace().next().unwrap();
    let shown = platform.well(&["show", run]).stdout;
    assert!(shown.contains("no majority has voted; the old primary is off, says ada"), "{shown}");
}

#[test]
fn a_server_that_is_no_cluster_is_named_with_what_fails_it_over() {
    let server = Redis::start_new();
    let sandbox = Sandbox::new();
    sandbox.write_config(&format!(
        "platform: sandbox\nobjectives: {{rto: 1h, rpo: 1d}}\nrepository:\n  location: {}\n  password: ${{file:{}}}\n\
         components:\n  cache:\n    kind: redis\n    url: {}\n",
        sandbox.repository().display(),
        sandbox.key().display(),
        server.url(),
    ));
    let platform = Platform::with(sandbox);
    let refused = platform.run(&["failover", "cache", "--to", "x:1", "--yes"]);
    refused.assert_exit(2);
    let told = &refused.stderr;
    assert!(told.contains("no node of a Redis Cluster") && told.contains("SENTINEL"), "{told}");
}
