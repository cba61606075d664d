//! What people meet before the first backup of a server, and after the last: `init`, `survey`, `detach`.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use muster_testkit::{Cli, Outcome, Postgres, Sandbox, postgres::Version};

use crate::{platform::Platform, postgres::Cluster};

/// A server that lets only its own superuser in, through the socket.
fn closed(version: Version) -> Postgres {
    Postgres::builder(version).hba("host all nobody 127.0.0.1/32 reject").start()
}

/// Does what a person does with the printed text: run it with a password, and write the lines where it says.
fn prepare(server: &Postgres, text: &str, password: &str) {
    let file = server.config_dir().join("pg_hba.conf");
    let lines: String =
        text.lines().filter_map(|line| line.strip_prefix("--   ")).map(|line| format!("{line}\n")).collect();
    assert!(lines.contains("replication") && lines.contains("::1/128"), "{text}");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{lines}{before}")).unwrap();
    server.psql("postgres", &text.replace('…', password));
    assert_eq!(
        server.psql("postgres", "select count(*) from pg_hba_file_rules where error is not null"),
        "0"
    );
}

fn write_password(file: &Path, password: &str) {
    fs::write(file, format!("{password}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn cli(sandbox: &Sandbox) -> Cli {
    // The clusters of this host, and of tests beside this one, are no part of the project.
    Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("PG_CLUSTER_CONF_ROOT", sandbox.path().join("etc"))
}

fn well(outcome: Outcome) -> Outcome {
    outcome.assert_exit(0);
    outcome
}

#[test]
fn init_finds_a_server_of_a_compose_file_and_what_it_prints_makes_a_backup_possible() {
    for version in Version::ALL {
        let server = closed(version);
        let sandbox = Sandbox::empty();
        let compose = format!(
            "services:\n  db:\n    image: postgres:{}\n    ports: ['127.0.0.1:{}:5432']\n  cache: {{image: 'redis:7'}}\n",
            version.number(),
            server.port()
        );
        fs::write(sandbox.path().join("compose.yaml"), compose).unwrap();
        fs::create_dir(sandbox.path().join(".git")).unwrap();
        let init = well(cli(&sandbox).run(&["init", "--yes", "--platform", "shop", "--json"])).json();
        assert_eq!(init["found"]["postgres"][0]["name"], "db", "{init:#}");
        assert!(init["gitignore"].to_string().contains("/db.password"), "{init:#}");
        let text = fs::read_to_string(sandbox.config_file()).unwrap();
        assert!(
            text.contains(&format!("url: \"postgres://muster@127.0.0.1:{}/postgres\"", server.port())),
            "{text}"
        );
        assert!(text.contains("password: ${file:db.password}") && text.contains("# data_dir:"), "{text}");
        // The password is a person's to choose, so it is asked for by its file.
        let missing = cli(&sandbox).run(&["survey"]);
        missing.assert_exit(2);
        assert!(missing.stderr.contains("db.password"), "{}", missing.stderr);
        write_password(&sandbox.path().join("db.password"), "only for tests");
        well(cli(&sandbox).run(&["config", "check"]));
        let refused = cli(&sandbox).run(&["survey"]);
        refused.assert_exit(1);
        assert!(refused.stdout.contains("db (postgres): no backup is possible"), "{}", refused.stdout);
        let printed = well(cli(&sandbox).run(&["survey", "db", "--sql"])).stdout;
        prepare(&server, &printed, "only for tests");
        let seen = well(cli(&sandbox).run(&["survey", "db", "--json"])).json();
        let component = &seen["components"][0];
        assert_eq!(
            (&component["component"], &component["is_ready"]),
            (&"db".into(), &true.into()),
            "{seen:#}"
        );
        assert!(component["hindrances"].as_array().unwrap().is_empty(), "{seen:#}");
        well(cli(&sandbox).run(&["backup"]));
        assert!(!sandbox.path().join(".muster/survey").exists());
    }
}

#[test]
fn init_finds_a_debian_cluster_with_its_data_directory() {
    let server = Postgres::builder(Version::Fifteen).separate_config().start();
    let sandbox = Sandbox::empty();
    let cluster = sandbox.path().join("etc/15/main");
    fs::create_dir_all(&cluster).unwrap();
    fs::copy(server.config_dir().join("postgresql.conf"), cluster.join("postgresql.conf")).unwrap();
    let init = well(cli(&sandbox).run(&["init", "--yes"])).stdout;
    assert!(init.contains("put its password into postgres.password"), "{init}");
    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(text.contains(&format!("data_dir: {}", server.data_dir().display())), "{text}");
    assert!(text.contains(&format!("postgres://muster@127.0.0.1:{}/postgres", server.port())), "{text}");
}

#[test]
fn init_prints_the_same_text_as_survey_and_never_a_password() {
    let server = closed(Version::Fifteen);
    let sandbox = Sandbox::empty();
    let compose = format!("services: {{db: {{image: postgres, ports: ['{}:5432']}}}}\n", server.port());
    fs::write(sandbox.path().join("compose.yaml"), compose).unwrap();
    let init = well(cli(&sandbox).run(&["init", "--yes"])).stdout;
    write_password(&sandbox.path().join("db.password"), "geheimes Wort");
    let survey = well(cli(&sandbox).run(&["survey", "--sql"])).stdout;
    let text = survey.split_once('\n').unwrap().1;
    assert!(init.contains(text), "{init}\n---\n{survey}");
    assert!(init.contains("put its password into db.password (mode 0600)"), "{init}");
    assert!(!survey.contains("geheim"));
}

#[test]
fn a_server_that_does_not_answer_is_a_comment_and_backups_of_the_rest_work() {
    let sandbox = Sandbox::empty();
    let compose =
        "services:\n  db:\n    image: postgis/postgis:16\n    volumes: ['./pg:/var/lib/postgresql/data']\n";
    fs::write(sandbox.path().join("compose.yaml"), compose).unwrap();
    muster_testkit::sqlite_with_rows(&sandbox.path().join("app.db"), 3);
    well(cli(&sandbox).run(&["init", "--yes"]));
    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(text.contains("# Not protected: PostgreSQL, service `db`"), "{text}");
    assert!(text.contains("#    url: \"postgres://muster@db:5432/postgres\""), "{text}");
    well(cli(&sandbox).run(&["backup"]));
}

#[test]
fn a_survey_needs_no_key_no_repository_and_no_lock_and_leaves_nothing() {
    let platform = Platform::new();
    fs::remove_file(platform.sandbox.key()).unwrap();
    fs::remove_dir_all(platform.sandbox.repository()).unwrap();
    let seen = platform.well(&["survey"]);
    assert!(seen.stdout.contains("database (sqlite): a backup is possible"), "{}", seen.stdout);
    assert!(seen.stdout.contains("uploads (files): a backup is possible"), "{}", seen.stdout);
    assert!(!platform.sandbox.path().join(".muster").exists());
    fs::remove_file(platform.sandbox.database()).unwrap();
    let seen = platform.run(&["survey"]);
    seen.assert_exit(1);
    assert!(seen.stdout.contains("missing: nothing is at "), "{}", seen.stdout);
    assert!(seen.stdout.contains("uploads (files): a backup is possible"), "{}", seen.stdout);
    platform.run(&["survey", "databse"]).assert_exit(2);
    platform.run(&["survey", "--sql"]).assert_exit(2);
}

#[test]
fn a_server_that_is_down_is_told_and_the_other_components_too() {
    let mut cluster = Cluster::new(Postgres::builder(Version::Fifteen));
    let config = fs::read_to_string(cluster.platform.sandbox.config_file()).unwrap();
    assert!(!config.contains("geheim"));
    let bin = cluster.server.version().bin().display().to_string();
    cluster.platform.sandbox.write_config(&config.replace(&bin, "/usr"));
    let checked = cluster.well(&["config", "check"]).stdout;
    assert!(
        checked.contains("`bin_dir` /usr of component `database` has no program `postgres`"),
        "{checked}"
    );
    cluster.platform.sandbox.write_config(&config);
    cluster.server.stop();
    let seen = cluster.run(&["survey"]);
    seen.assert_exit(1);
    assert!(seen.stdout.contains("cannot reach PostgreSQL at 127.0.0.1:"), "{}", seen.stdout);
    assert!(seen.stdout.contains("is the server running"), "{}", seen.stdout);
    assert!(!seen.stdout.contains("geheim") && !seen.stderr.contains("geheim"));
}

#[test]
fn detach_asks_first_removes_only_musters_slots_and_prints_what_is_left_to_a_person() {
    let cluster = Cluster::new(Postgres::builder(Version::Eighteen));
    cluster.platform.back_up();
    let none = cluster.well(&["detach", "database"]).stdout;
    assert!(none.contains("has made nothing") && none.contains("DROP ROLE muster;"), "{none}");
    cluster.server.psql(
        "postgres",
        "select pg_create_physical_replication_slot('muster_old', true), pg_create_physical_replication_slot('standby')",
    );
    let slots =
        || cluster.server.psql("postgres", "select string_agg(slot_name, ' ') from pg_replication_slots");
    let listed = cluster.well(&["detach", "database", "--dry-run"]).stdout;
    assert!(listed.contains("muster_old") && listed.contains("nothing was done"), "{listed}");
    let unasked = cluster.run(&["detach", "database"]);
    unasked.assert_exit(2);
    assert!(unasked.stderr.contains("muster_old") && unasked.stderr.contains("--yes"), "{}", unasked.stderr);
    assert_eq!(slots(), "muster_old standby");
    let done = cluster.well(&["detach", "database", "--yes", "--json"]).json();
    assert_eq!(done["found"][0]["name"], "muster_old", "{done:#}");
    assert_eq!(done["outcome"], "done");
    assert_eq!(slots(), "standby");
    // Backups stay, and new ones can be taken.
    cluster.platform.back_up();
    let other = Platform::new();
    let none = other.well(&["detach", "uploads"]).stdout;
    assert!(none.contains("has made nothing") && !none.contains("ROLE"), "{none}");
}
