//! Compose platforms on a real Docker engine: what breaks, and runbooks that mend it with nobody there.
//!
//! Stories, not cases: an engine and its platform take seconds to start. Read next: `compose/shop.rs` for the platform.

mod shop;

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use muster_testkit::{Cli, wait_for};
use serde_json::Value;
use sha2::{Digest, Sha256};

use shop::{PASSWORD, PATIENCE, Shop};

/// The line that a step's result is told in.
fn told<'a>(report: &'a Value, step: &str) -> &'a str {
    let steps = report["steps"].as_array().unwrap();
    let step = steps.iter().find(|one| one["name"] == step).unwrap_or_else(|| panic!("{step}: {report:#}"));
    step["summary"].as_str().unwrap()
}

// proves: D5, D6, D7, D8, D20, E4
#[test]
fn a_service_is_led_out_of_a_bad_value_and_a_bad_release_and_its_sandboxes_and_exports_are_cleaned() {
    let shop = Shop::open();
    let begun = Instant::now();
    let sandbox = |label: &str| {
        shop.docker.run(&["run", "--detach", "--label", label, "local/python:3", "sleep", "900"])
    };
    let old = sandbox("shop.sandbox=true");
    crash_loop(&shop);
    builds(&shop);
    failed_release(&shop);
    commands_inside(&shop);
    full_disk(&shop);

    // Only what carries the label, is old, and belongs to no project.
    let spared = [sandbox("shop.sandbox=false"), sandbox("other.sandbox=true")];
    let of_compose = shop.docker.run(&[
        "run",
        "--detach",
        "--label",
        "shop.sandbox=true",
        "--label",
        "com.docker.compose.project=other",
        "local/python:3",
        "sleep",
        "900",
    ]);
    let age =
        wait_for("an old sandbox", PATIENCE, || Some(begun.elapsed().as_secs()).filter(|age| *age >= 20));
    let young = sandbox("shop.sandbox=true");
    shop.configure(&format!("{}s", age - 1));
    let report = shop.recover("stuck sandboxes", "## Mend\n\n```muster\nid: clean\nclean: api\n```\n");
    assert!(
        told(&report, "clean").contains("1 of 2 containers with label shop.sandbox=true removed"),
        "{report:#}"
    );
    let left = shop.docker.run(&["ps", "--quiet", "--no-trunc"]);
    assert!(!left.contains(&old) && left.contains(&young) && left.contains(&of_compose), "{left}");
    assert!(spared.iter().all(|one| left.contains(one)), "{left}");
    shop.configure("1h");
    let nothing = shop.well(&["service", "clean", "api"]);
    assert!(nothing.stdout.contains("0 of 1 containers"), "{}", nothing.stdout);
    rotated(&shop);
}

/// A password that two services get from their environment, and Muster from a file.
fn rotated(shop: &Shop) {
    let config = fs::read_to_string(shop.path("muster.yaml")).unwrap();
    let secrets = format!(
        "secrets:\n  cart:\n    needed_by: [redis, api]\n    in: [{{env_file: {{path: .env, key: REDIS_PASSWORD}}}}, {{file: redis.password}}]\n    \
         new: {{generate: 24}}\n    proof: {{accepts: {{command: [sh, -c, \"REDISCLI_AUTH=$MUSTER_SECRET redis-cli -e -h {} ping\"], within: 30s}}}}\n",
        shop.docker.address()
    );
    shop.write("muster.yaml", &format!("{config}{secrets}"));
    let ids = || ["redis", "api"].map(|service| shop.inspect(service, "{{.Id}}"));
    let (before, env) = (ids(), fs::read_to_string(shop.path(".env")).unwrap());
    let told = shop.well(&["rotate", "cart", "--yes"]).stdout;
    assert!(told.contains("new accepted, old refused"), "{told}");
    let new = fs::read_to_string(shop.path("redis.password")).unwrap();
    assert!(new.len() == 24 && !told.contains(&new), "{told}");
    assert_eq!(fs::read_to_string(shop.path(".env")).unwrap(), env.replace(PASSWORD, &new));
    let after = ids();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "both are new containers");
    let seen = shop.inspect("api", "{{.Config.Env}}");
    assert!(seen.contains(&new) && !seen.contains(PASSWORD), "the service sees it");
    // Muster's own login and the service's are the new one; the cart is what it was.
    shop.well(&["check", "api-orders"]);
}

/// The environment has a value that the service cannot read.
fn crash_loop(shop: &Shop) {
    let first = shop.inspect("api", "{{.Id}}");
    shop.workers("two");
    shop.deploy();
    wait_for("a loop", PATIENCE, || (shop.inspect("api", "{{.RestartCount}}") != "0").then_some(()));
    let steady = shop.run(&["check", "api-steady", "--json"]);
    steady.assert_exit(1);
    assert!(steady.stdout.contains("[BODY].restarts == 0"), "{}", steady.stdout);
    shop.run(&["check", "api-up"]).assert_exit(1);
    silent_engine(shop);
    let report = shop.recover(
        "crash loop",
        "## Look\n\n```muster\nid: evidence\nlogs: api\n```\n\
         ## Mend\n\n```bash {name=value, class=idempotent}\nsed -i 's/^API_WORKERS=.*/API_WORKERS=4/' .env\n```\n\
         ```muster\nid: anew\nrestart: api\n```\n",
    );
    assert_eq!(shop.api().unwrap()["workers"], 4);
    assert_ne!(shop.inspect("api", "{{.Id}}"), first);
    let anew = told(&report, "anew");
    assert!(anew.contains("environment changed: API_WORKERS") && anew.contains(", before 20"), "{anew}");
    // The loop's log, from before the container was replaced: whole, masked, and as its hash says.
    let line = told(&report, "evidence");
    let path = line.split(" (").next().unwrap();
    let log = fs::read(path).unwrap();
    assert!(line.ends_with(&format!("sha256 {})", muster_types::text::hex(Sha256::digest(&log)))), "{line}");
    let log = String::from_utf8(log).unwrap();
    assert!(
        log.contains("invalid literal for int() with base 10: 'two'") && log.contains("started again"),
        "{log}"
    );
    assert!(log.matches("shop 1 begins, password ***").count() >= 2 && !log.contains(PASSWORD), "{log}");
    let stored =
        shop.well(&["service", "logs", "api", "--since", "1h", "--output", "api.log", "--json"]).json();
    let log = fs::read_to_string(shop.path("api.log")).unwrap();
    assert!(stored["bytes"] == log.len() && log.contains("password ***"), "{stored} {log}");
    let whole = shop.docker.run(&["logs", &shop.inspect("api", "{{.Id}}")]);
    assert_eq!(
        log.lines().count(),
        whole.lines().count() + 1,
        "all of it, below one line about the container: {log}"
    );
    shop.run(&["service", "stop", "api", "--since", "1h"]).assert_exit(2);
}

/// An engine that is not there, and one that accepts and says nothing: a check that cannot look has not passed.
fn silent_engine(shop: &Shop) {
    let dumb = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = dumb.local_addr().unwrap().port();
    for (host, reason) in [
        ("unix:///nowhere/docker.sock".to_owned(), "annot connect to the Docker daemon"),
        (format!("tcp://127.0.0.1:{port}"), "no answer within 2s"),
    ] {
        let cli =
            Cli::with_binary(env!("CARGO_BIN_EXE_muster"), shop.sandbox.path()).env("DOCKER_HOST", host);
        let check = cli.run(&["check", "api-steady"]);
        check.assert_exit(1);
        assert!(check.stdout.contains(reason), "{}", check.stdout);
    }
}

/// A build that fails leaves the old container serving; one that succeeds puts the new one in its place.
fn builds(shop: &Shop) {
    let before = shop.inspect("api", "{{.Id}} {{.Image}}");
    shop.release("2", "COPY is-not-there /x\n");
    let failed = shop.run(&["service", "rebuild", "api"]);
    failed.assert_exit(1);
    assert!(failed.stderr.contains("cannot rebuild service `api`"), "{}", failed.stderr);
    assert_eq!(shop.inspect("api", "{{.Id}} {{.Image}}"), before);
    assert_eq!(shop.api().unwrap()["version"], "1");
    shop.release("2", "LABEL muster.schema=2\nRUN [\"/usr/bin/sleep\", \"2\"]\n");
    let image = || shop.docker.run(&["image", "inspect", "--format", "{{.Id}}", "shop/api:live"]);
    let old = image();
    let rebuild = shop.cli.spawn(&["service", "rebuild", "api"]);
    let mut served = 0;
    wait_for("the new image", PATIENCE, || {
        let answer = shop.api();
        if image() != old {
            return Some(());
        }
        // There was no new image yet when this answer came.
        assert_eq!(answer.unwrap()["version"], "1");
        served += 1;
        None
    });
    let rebuilt = rebuild.wait(PATIENCE);
    rebuilt.assert_exit(0);
    assert!(served > 0 && rebuilt.stdout.contains("image changed"), "{served} {}", rebuilt.stdout);
    let same = shop.recover("same image", "## Mend\n\n```muster\nid: build\nrebuild: api\n```\n");
    assert!(told(&same, "build").contains("is the same as before: nothing was recreated"), "{same:#}");
    assert_eq!(shop.api().unwrap()["version"], "2");
    assert_ne!(shop.inspect("api", "{{.Image}}"), before.split(' ').nth(1).unwrap());
}

/// A release that somebody else has rolled out does not start.
fn failed_release(shop: &Shop) {
    let good = shop.inspect("api", "{{.Image}}");
    shop.release("3", "LABEL muster.schema=3\n");
    shop.write("app/app.py", "raise SystemExit('release 3 cannot begin')\n");
    shop.deploy();
    wait_for("a loop", PATIENCE, || (shop.inspect("api", "{{.RestartCount}}") != "0").then_some(()));
    let bad = shop.inspect("api", "{{.Image}}");
    let report = shop.recover(
        "failed deployment",
        "## Look\n\n```muster\nif: {check: api-steady, then: [{check: api-up}], else: [{logs: api}]}\n```\n\
         ## Mend\n\n```muster\nid: back\nrollback: api\non_ambiguous: ask\n```\n",
    );
    assert_eq!(shop.inspect("api", "{{.Image}}"), good);
    assert_eq!(shop.api().unwrap()["version"], "2");
    let back = told(&report, "back");
    let short = |image: &str| image["sha256:".len()..][..12].to_owned();
    assert!(back.contains(&format!("image {} -> {}", short(&bad), short(&good))), "{back}");
    assert!(
        back.contains("warning: the image that is left expects schema 3 of the database, the earlier one 2"),
        "{back}"
    );
    // One step further back by name, and never forward to what has failed.
    let first = shop.docker.run(&["image", "inspect", "--format", "{{.Id}}", "muster-kept/shop/api:1"]);
    shop.well(&["service", "rollback", "api", "--to", &short(&first)]);
    assert_eq!(shop.api().unwrap()["version"], "1");
    let refused = shop.run(&["service", "rollback", "api"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("no earlier image was kept"),
        "{}",
        refused.stderr
    );
    assert_eq!(shop.inspect("api", "{{.Image}}"), first);
}

/// What runs inside is waited for, told by its exit code, and never left behind.
fn commands_inside(shop: &Shop) {
    let runs = |words: &str| {
        shop.docker.run(&["top", &shop.inspect("api", "{{.Id}}"), "-eo", "pid,args"]).contains(words)
    };
    let exec = |name: &str, command: &str, rest: &str| {
        let step = format!(
            "```muster\nid: inside\nexec: {{service: api, command: \"{command}\"}}\nclass: idempotent\n{rest}```\n"
        );
        shop.write(name, &format!("---\ntitle: inside\n---\n## Do\n\n{step}"));
        name.to_owned()
    };
    let good = shop.well(&[
        "run",
        &exec("good.md", "echo $API_WORKERS workers; echo $REDIS_PASSWORD", ""),
        "--yes",
        "--json",
    ]);
    let report = good.json();
    let output = report["steps"][0]["output"].as_str().unwrap_or_default();
    assert!(output.contains("4 workers") && !good.stdout.contains(PASSWORD), "{report:#}");
    let bad = shop.run(&["run", &exec("bad.md", "echo no such order >&2; exit 7", ""), "--yes"]);
    bad.assert_exit(1);
    let said = format!("{}{}", bad.stdout, bad.stderr);
    assert!(said.contains("the command in service `api` ended with exit code 7: no such order"), "{said}");
    let late = shop.run(&["run", &exec("late.md", "sleep 331", "timeout: 3s\n"), "--yes"]);
    late.assert_exit(1);
    let said = format!("{}{}", late.stdout, late.stderr);
    assert!(said.contains("did not end within 3s") && !runs("sleep 331"), "{said}");
    // A Muster that is killed leaves it; the next one ends it before it does anything inside.
    let mut killed = shop.cli.spawn(&["run", &exec("killed.md", "sleep 332", ""), "--yes"]);
    wait_for("the command inside", PATIENCE, || runs("sleep 332").then_some(()));
    killed.kill();
    drop(killed);
    assert!(runs("sleep 332"), "docker exec leaves its command behind");
    shop.well(&["run", "good.md", "--yes"]);
    assert!(!runs("sleep 332"));
}

/// Old exports fill the disk that the service writes to.
fn full_disk(shop: &Shop) {
    fs::write(shop.disk.path().join("old-export.csv"), vec![b'x'; 6 * 1024 * 1024]).unwrap();
    shop.disk.fill_to(128 * 1024);
    wait_for("trouble", PATIENCE, || (shop.api().ok()?["room"] == false).then_some(()));
    shop.run(&["check", "room"]).assert_exit(1);
    let report = shop.recover(
        "disk nearly full",
        "## Mend\n\n```muster\nif:\n  check: room\n  then: [{check: api-up}]\n  else:\n    - id: exports\n      \
         exec: {service: api, command: \"python3.11 -c 'import os; os.remove(\\\"/exports/old-export.csv\\\")' && echo removed\"}\n      \
         class: idempotent\n```\n```muster\ncheck: room\n```\n",
    );
    assert_eq!(told(&report, "exports"), "removed");
    shop.well(&["check", "room"]);
}

// proves: C24, D2, D11
#[test]
fn a_platform_comes_back_from_a_lost_database_volume_a_lost_cache_and_a_broken_network() {
    let shop = Shop::open();
    shop.well(&["backup"]);

    // One runbook, two ways: a restart is enough, or the data is lost.
    let mend = "## Mend\n\n```muster\nid: anew\nrestart: db\n```\n\
        ```muster\nid: data\nif:\n  check: api-orders\n  then: [{id: fine, check: api-up}]\n  else:\n    - id: restore\n      \
        restore: database\n      on_ambiguous: ask\n```\n";
    let steps = |report: &Value| -> Vec<String> {
        let steps = report["steps"].as_array().unwrap().iter();
        steps.map(|step| step["name"].as_str().unwrap().to_owned()).collect()
    };
    shop.docker.run(&["kill", &shop.inspect("db", "{{.Id}}")]);
    shop.run(&["check", "api-up"]).assert_exit(1);
    let report = shop.recover("database down", mend);
    assert_eq!(steps(&report), ["anew", "data", "fine", "verify-1"]);

    // The volume is gone with its container, and the server makes itself an empty one.
    shop.compose(&["rm", "--stop", "--force", "db"]);
    shop.docker.run(&["volume", "rm", "shop_pgdata"]);
    let report = shop.recover("database lost", mend);
    assert_eq!(steps(&report), ["anew", "data", "restore", "verify-1"]);
    assert_eq!(shop.sql("select string_agg(what, '' order by id) from orders"), "abc");
    assert_eq!(shop.sql("show data_directory"), "/var/lib/postgresql/data/pgdata");
    data_first(&shop, &report);

    // The cache is empty after somebody has removed its volume.
    shop.compose(&["rm", "--stop", "--force", "redis"]);
    shop.docker.run(&["volume", "rm", "shop_cart"]);
    shop.recover(
        "cache lost",
        "## Mend\n\n```muster\nstart: redis\n```\n```muster\nrestore: cache\non_ambiguous: ask\n```\n",
    );
    assert_eq!(shop.redis(&["GET", "cart"]), "full");

    network(&shop);
}

/// The database was verified and started before the service that needs it.
fn data_first(shop: &Shop, report: &Value) {
    let restore = report["steps"].as_array().unwrap().iter().find(|one| one["name"] == "restore").unwrap();
    let child = shop.well(&["show", restore["child"].as_str().unwrap(), "--json"]).json();
    let step = |name: &str| {
        child["steps"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    let verify = step("verify:database");
    let begun: Timestamp = verify["begun_at"].as_str().unwrap().parse().unwrap();
    let verified = begun + Duration::from_secs_f64(verify["seconds"].as_f64().unwrap());
    let started =
        |service: &str| -> Timestamp { shop.inspect(service, "{{.State.StartedAt}}").parse().unwrap() };
    assert!(verified < started("db") && started("db") < started("api"), "{child:#}");
}

/// The service is off its network; other projects' networks are nobody's business.
fn network(shop: &Shop) {
    let id = |name: &str| shop.docker.run(&["network", "inspect", "--format", "{{.Id}}", name]);
    shop.docker.run(&["network", "create", "--label", "com.docker.compose.project=other", "other_default"]);
    let stranger =
        shop.docker.run(&["run", "--detach", "--network", "other_default", "local/python:3", "sleep", "900"]);
    let (ours, others) = (id("shop_default"), id("other_default"));
    let api = shop.inspect("api", "{{.Id}}");
    shop.docker.run(&["network", "disconnect", "--force", "shop_default", &api]);
    shop.run(&["check", "api-up"]).assert_exit(1);

    shop.docker.run(&["network", "connect", "shop_default", &stranger]);
    let refused = shop.run(&["service", "reconnect", "api"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("of somebody else is on shop_default"),
        "{}",
        refused.stderr
    );
    assert_eq!((id("shop_default"), shop.inspect("api", "{{.Id}}")), (ours.clone(), api.clone()));
    shop.docker.run(&["network", "disconnect", "shop_default", &stranger]);

    let report = shop.recover("network broken", "## Mend\n\n```muster\nid: net\nreconnect: api\n```\n");
    assert!(told(&report, "net").contains("networks made anew: shop_default"), "{report:#}");
    assert_ne!(id("shop_default"), ours);
    assert_eq!(id("other_default"), others);
    assert_eq!(shop.docker.run(&["inspect", "--format", "{{.State.Status}}", &stranger]), "running");
}
