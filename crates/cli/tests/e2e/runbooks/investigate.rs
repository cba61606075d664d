//! An investigation: what a server, a repository and a log know of an intruder is kept, and what nobody can know is said.

use std::{fs, path::Path, process::Command, time::Duration};

use muster_testkit::{Postgres, Redis, postgres::Version, wait_for};
use serde_json::Value;

use super::step;
use crate::postgres::Cluster;

fn git(folder: &Path, words: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=Mallory", "-c", "user.email=m@example.com"]);
    assert!(command.args(words).output().unwrap().status.success(), "{words:?}");
}

fn kept(state: &Path, report: &Value) -> Vec<(String, String)> {
    let evidence = report["runbook"]["evidence"].as_array().unwrap();
    let files = evidence.iter().flat_map(|one| one["files"].as_array().unwrap());
    files
        .map(|file| {
            let path = state.join(file["path"].as_str().unwrap());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// What no source tells is kept, too.
fn assert_missing(files: &[(String, String)]) {
    let missing: Vec<&String> =
        files.iter().filter(|(name, _)| name == "missing.txt").map(|(_, text)| text).collect();
    for told in [
        "database-statements: needs the extension pg_stat_statements: ",
        "database-logins: needs a log that the server itself writes",
        "needs the file /nowhere/audit.log, and the right to read it: No such file",
    ] {
        assert!(missing.iter().any(|text| text.contains(told)), "{told}: {missing:?}");
    }
}

// proves: D27
#[test]
fn an_intruder_is_looked_for_where_something_is_known_and_what_no_source_tells_is_said() {
    let cluster = Cluster::new(Postgres::builder(Version::ALL[0]));
    let cache = Redis::builder().start();
    cluster.server.psql("postgres", "grant pg_read_all_stats to muster; create table customers (id int); create role mallory login superuser; grant select on customers to public");
    let mut hold = cluster.server.client("psql");
    let session = "set application_name = 'mallory-tool'; select pg_sleep(600)";
    let mut session = hold.args(["-d", "postgres", "-c", session]).spawn().unwrap();
    let seen = "select count(*) from pg_stat_activity where application_name = 'mallory-tool' and query like '%pg_sleep%'";
    wait_for("the session", Duration::from_mins(1), || {
        (cluster.server.psql("postgres", seen) == "1").then_some(())
    });

    let folder = cluster.platform.sandbox.path();
    let config = cluster.platform.sandbox.config_file();
    let text = fs::read_to_string(&config).unwrap()
        + &format!("  cache:\n    kind: redis\n    url: {}\n", cache.url());
    fs::write(&config, text).unwrap();
    let app = folder.join("app");
    fs::create_dir(&app).unwrap();
    git(&app, &["init", "-q"]);
    git(&app, &["commit", "-q", "--allow-empty", "-m", "a back door"]);
    fs::write(folder.join("auth.log"), "Accepted password for mallory\n").unwrap();
    let steps = format!(
        "---\ntitle: Break-in\nincident: security\nevidence: [database, elsewhere]\n---\n## Look\n\n```muster\n- id: database\n  investigate: database\n- id: elsewhere\n  investigate: {{component: cache, git: {}, since: 1 week ago, files: [{}, /nowhere/audit.log]}}\n```\n## Mend\n\n\
         ```bash {{name=mend, class=idempotent}}\ntrue docker compose restart api\n```\n",
        app.display(),
        folder.join("auth.log").display()
    );
    fs::write(folder.join("breach.md"), steps).unwrap();
    let dry = cluster.well(&["run", "breach.md", "--dry-run"]);
    for line in [
        "evidence)",
        "database-sessions.txt: database: select pid, usename",
        "cache-clients.txt: cache: CLIENT LIST",
        "git --no-pager -C",
    ] {
        assert!(dry.stdout.contains(line), "{line}: {}", dry.stdout);
    }
    let report = cluster.well(&["run", "breach.md", "--yes", "--json"]).json();
    session.kill().unwrap();
    session.wait().unwrap();

    let files = kept(&folder.join(".muster"), &report);
    let of = |name: &str| &files.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("{name}")).1;
    assert!(of("database-sessions.txt").contains("mallory-tool"));
    assert!(of("database-roles.txt").contains("mallory|t|"));
    assert!(of("database-grants.txt").contains("PUBLIC|public|customers|SELECT"));
    assert!(of("cache-clients.txt").contains("addr="));
    assert!(
        of("app-commits.txt").contains("Mallory <m@example.com>")
            && of("app-commits.txt").contains("a back door")
    );
    assert!(files.iter().any(|(name, text)| name.starts_with("file") && text.contains("Accepted password")));
    assert_missing(&files);
    let summary = step(&report, "database")["summary"].as_str().unwrap();
    assert!(summary.contains("database-statements: needs the extension pg_stat_statements"), "{summary}");

    // Where nothing can be looked at, nothing was exported: the restart stays refused.
    let nothing = "---\ntitle: x\nincident: security\n---\n```muster\n- id: look\n  investigate: {git: /nowhere}\n- id: again\n  exec: true docker restart api\n  class: idempotent\n```\n";
    fs::write(folder.join("x.md"), nothing).unwrap();
    let failed = cluster.run(&["run", "x.md", "--yes"]);
    failed.assert_exit(1);
    assert!(
        failed
            .stderr
            .contains("nothing could be looked at: nowhere-commits: needs a git repository at /nowhere"),
        "{}",
        failed.stderr
    );
}
