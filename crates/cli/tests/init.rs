//! `muster init`, `muster config` and `muster key` as a person runs them: in a folder, with the real binary.
//!
//! Each test makes its own folder. What was written is judged by running Muster on it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failure here must stop the test at once, and nothing written here must survive a crash"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_testkit::{Cli, Outcome, Sandbox, sqlite_with_rows};

const COMPOSE: &str = "\
services:
  api:
    image: team/api:1
    volumes: ['./data:/data']
  db:
    image: postgres:17
    volumes: ['pgdata:/var/lib/postgresql/data']
volumes: {pgdata: {}}
";

fn cli(sandbox: &Sandbox) -> Cli {
    // The clusters of this host, and of tests beside this one, are no part of the project.
    Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path())
        .env("PG_CLUSTER_CONF_ROOT", sandbox.path().join("etc"))
}

/// A folder as a project has it: a database among other files, uploads, a compose file.
fn project() -> Sandbox {
    let sandbox = Sandbox::empty();
    let file = |name: &str, content: &str| {
        let path = sandbox.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    file("data/readme.txt", "not a database");
    file("public/uploads/picture.png", "png");
    file("node_modules/x/cache.db", "SQLite format 3\0");
    file("docker-compose.yml", COMPOSE);
    sqlite_with_rows(&sandbox.path().join("data/app.db"), 10);
    sandbox
}

fn init(sandbox: &Sandbox) -> Outcome {
    cli(sandbox).run(&["init", "--yes", "--platform", "shop"])
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Every file below a folder with its content.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn init_writes_a_configuration_that_muster_itself_accepts() {
    let sandbox = project();
    let outcome = init(&sandbox);
    outcome.assert_exit(0);
    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    for part in [
        "path: data/app.db",
        "paths: [data/readme.txt]",
        "paths: [public/uploads]",
        "Not protected: PostgreSQL, service `db` of docker-compose.yml",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("node_modules"), "{text}");
    assert!(!outcome.stdout.contains("MUSTER-"), "the key was shown");
    let checked = cli(&sandbox).run(&["config", "check"]);
    checked.assert_exit(0);
    assert!(checked.stdout.starts_with("muster.yaml is sound: 3 components, "), "{}", checked.stdout);
    assert!(!checked.stdout.contains("warning"), "{}", checked.stdout);
    assert_eq!(mode(sandbox.path().join("muster.key")), 0o600);
}

#[test]
fn what_init_has_made_can_be_backed_up_at_once() {
    let sandbox = project();
    init(&sandbox).assert_exit(0);
    cli(&sandbox).run(&["backup"]).assert_exit(0);
    let listed = cli(&sandbox).run(&["list", "--json"]);
    listed.assert_exit(0);
    let backups = listed.json()["backups"].as_array().unwrap().len();
    assert_eq!(backups, 3, "{}", listed.stdout);
}

#[test]
fn a_second_init_is_refused_and_changes_nothing() {
    let sandbox = project();
    init(&sandbox).assert_exit(0);
    let before = content(sandbox.path());
    let outcome = cli(&sandbox).run(&["init", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("nothing is to be done"), "{}", outcome.stderr);
    cli(&sandbox).run(&["init", "--yes", "--repository", "elsewhere"]).assert_exit(2);
    assert_eq!(content(sandbox.path()), before);
}

#[test]
fn without_a_terminal_and_without_yes_nothing_is_made() {
    let sandbox = project();
    let before = content(sandbox.path());
    let outcome = cli(&sandbox).run(&["init"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("data/app.db"), "what was found is not shown: {}", outcome.stderr);
    assert!(outcome.stderr.contains("--yes"), "{}", outcome.stderr);
    assert_eq!(content(sandbox.path()), before);
}

#[test]
fn a_checked_out_configuration_is_put_to_work_on_a_new_host() {
    let sandbox = Sandbox::new();
    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    fs::remove_file(sandbox.key()).unwrap();
    cli(&sandbox).run(&["init", "--yes"]).assert_exit(0);
    assert_eq!(fs::read_to_string(sandbox.config_file()).unwrap(), text, "muster.yaml was changed");
    assert_eq!(mode(sandbox.key()), 0o600);
    cli(&sandbox).run(&["list"]).assert_exit(0);
}

#[test]
fn a_key_that_is_there_is_used_and_kept() {
    let sandbox = Sandbox::new();
    let key = fs::read(sandbox.key()).unwrap();
    cli(&sandbox).run(&["init", "--yes"]).assert_exit(0);
    assert_eq!(fs::read(sandbox.key()).unwrap(), key);
    cli(&sandbox).run(&["key", "list"]).assert_exit(0);
}

#[test]
fn no_new_key_is_made_for_a_repository_that_is_there() {
    let sandbox = Sandbox::new();
    cli(&sandbox).run(&["init", "--yes"]).assert_exit(0);
    fs::remove_file(sandbox.key()).unwrap();
    let outcome = cli(&sandbox).run(&["init", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("is missing"), "{}", outcome.stderr);
    assert!(!sandbox.key().exists());
    fs::remove_file(sandbox.config_file()).unwrap();
    let repository = sandbox.repository();
    let outcome = cli(&sandbox).run(&["init", "--yes", "--repository", repository.to_str().unwrap()]);
    outcome.assert_exit(1);
    assert!(!sandbox.config_file().exists() && !sandbox.path().join("muster.key").exists());
}

#[test]
fn an_init_that_stopped_half_way_is_finished_by_the_next() {
    let sandbox = project();
    init(&sandbox).assert_exit(0);
    let key = fs::read(sandbox.path().join("muster.key")).unwrap();
    // As after a kill before the last step, and then before the last file of the repository.
    fs::remove_file(sandbox.config_file()).unwrap();
    init(&sandbox).assert_exit(0);
    fs::remove_file(sandbox.config_file()).unwrap();
    fs::remove_file(sandbox.path().join("muster-repository/config")).unwrap();
    init(&sandbox).assert_exit(0);
    assert_eq!(fs::read(sandbox.path().join("muster.key")).unwrap(), key);
    cli(&sandbox).run(&["list"]).assert_exit(0);
}

#[test]
fn an_init_that_is_killed_at_any_moment_is_finished_by_the_next() {
    for moment in [0, 5, 10, 20, 40, 80, 120, 160, 240, 320, 480, 640].map(Duration::from_millis) {
        let sandbox = project();
        let mut first = cli(&sandbox).spawn(&["init", "--yes"]);
        let was_alive = first.kill_after(moment);
        let has_file = sandbox.config_file().exists();
        let outcome = cli(&sandbox).run(&["init", "--yes"]);
        // The file comes last: with it nothing is left to do.
        outcome.assert_exit(i32::from(has_file));
        assert!(was_alive || has_file, "{moment:?}: it ended without its file");
        cli(&sandbox).run(&["config", "check"]).assert_exit(0);
        cli(&sandbox).run(&["key", "list"]).assert_exit(0);
        if has_file {
            break;
        }
    }
}

#[test]
fn a_folder_that_is_no_repository_is_refused_before_anything_is_made() {
    let sandbox = project();
    let outcome = cli(&sandbox).run(&["init", "--yes", "--repository", "data"]);
    outcome.assert_exit(1);
    assert!(!sandbox.path().join("muster.key").exists() && !sandbox.config_file().exists());
    cli(&sandbox).run(&["init", "--yes", "--platform", "no name"]).assert_exit(2);
    assert!(!sandbox.path().join("muster.key").exists());
}

#[test]
fn a_key_file_that_is_named_is_used_and_a_wrong_one_is_refused() {
    let sandbox = project();
    let run = |file: &str| cli(&sandbox).run(&["init", "--yes", "--key-file", file]);
    run("keys/none.key").assert_exit(2);
    fs::write(sandbox.path().join("two-lines.key"), "one\ntwo\n").unwrap();
    run("two-lines.key").assert_exit(2);
    assert!(!sandbox.path().join("muster-repository").exists() && !sandbox.config_file().exists());

    let elsewhere = Sandbox::empty();
    elsewhere.write_key("my own words");
    run(elsewhere.key().to_str().unwrap()).assert_exit(0);
    assert!(!sandbox.path().join("muster.key").exists());
    let printed = cli(&sandbox).run(&["key", "print"]);
    assert!(printed.stdout.contains("\n    my own words\n"), "{}", printed.stdout);

    // Braces cannot stand in a reference to a file: said before anything is made.
    let odd = Sandbox::empty();
    fs::copy(elsewhere.key(), odd.path().join("a}b.key")).unwrap();
    let outcome = cli(&odd).run(&["init", "--yes", "--key-file", "a}b.key"]);
    outcome.assert_exit(2);
    assert!(!odd.config_file().exists() && !odd.path().join("muster-repository").exists());

    // A repository that is there is only taken over with its own key.
    fs::remove_file(sandbox.config_file()).unwrap();
    elsewhere.write_key("other words");
    run(elsewhere.key().to_str().unwrap()).assert_exit(12);
    assert!(!sandbox.config_file().exists());
}

#[test]
fn a_folder_with_nothing_in_it_gets_a_file_with_examples() {
    let sandbox = Sandbox::empty();
    init(&sandbox).assert_exit(0);
    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    assert!(text.contains("components: {}") && text.contains("#    kind: sqlite"), "{text}");
    let checked = cli(&sandbox).run(&["config", "check"]);
    checked.assert_exit(0);
    assert!(checked.stdout.contains("0 components"), "{}", checked.stdout);
}

#[test]
fn odd_names_come_into_the_file_as_they_are() {
    let sandbox = Sandbox::empty();
    for name in ["a b.db", "it's \"odd\": #1.db", "größe.db", "-x.db", "true.db", "${env:HOME}.db"] {
        sqlite_with_rows(&sandbox.path().join(name), 1);
    }
    init(&sandbox).assert_exit(0);
    cli(&sandbox).run(&["config", "check"]).assert_exit(0);
    cli(&sandbox).run(&["backup"]).assert_exit(0);
}

#[test]
fn under_git_init_names_what_must_not_be_committed() {
    let sandbox = project();
    fs::create_dir(sandbox.path().join(".git")).unwrap();
    fs::write(sandbox.path().join(".gitignore"), "/muster-repository/\n").unwrap();
    let outcome = init(&sandbox);
    outcome.assert_exit(0);
    assert!(outcome.stdout.contains("\n  /muster.key\n  /.muster/\n"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("  /muster-repository/\n"), "{}", outcome.stdout);
    assert_eq!(fs::read_to_string(sandbox.path().join(".gitignore")).unwrap(), "/muster-repository/\n");
}

#[test]
fn the_answer_of_init_as_json_names_what_is_new() {
    let sandbox = project();
    let outcome = cli(&sandbox).run(&["init", "--yes", "--json"]);
    outcome.assert_exit(0);
    let document = outcome.json();
    assert_eq!(document["made"]["file"], sandbox.config_file().to_str().unwrap());
    assert_eq!(document["found"]["databases"][0], "data/app.db");
    assert!(!outcome.stdout.contains("MUSTER-"));
}

#[test]
fn a_wrong_configuration_is_shown_with_its_lines() {
    let sandbox = Sandbox::new();
    sandbox.write_config(&sandbox.config().replace("kind: files", "kind: file"));
    let outcome = cli(&sandbox).run(&["config", "check"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("--> muster.yaml:12:11"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("hint:"), "{}", outcome.stderr);
    let outcome = cli(&sandbox).run(&["list", "--json"]);
    outcome.assert_exit(2);
    let details = outcome.json()["details"]["errors"][0].clone();
    assert_eq!((details["line"].as_u64(), details["column"].as_u64()), (Some(12), Some(11)), "{details}");
}

#[test]
fn a_path_that_is_not_there_is_a_warning() {
    let sandbox = Sandbox::new();
    let clean = cli(&sandbox).run(&["config", "check", "--json"]);
    clean.assert_exit(0);
    assert_eq!(clean.json()["findings"].as_array().unwrap().len(), 0, "{}", clean.stdout);
    fs::remove_file(sandbox.database()).unwrap();
    let outcome = cli(&sandbox).run(&["config", "check"]);
    outcome.assert_exit(0);
    assert!(outcome.stdout.contains("app.db of component `database` is not there"), "{}", outcome.stdout);
}

#[test]
fn without_a_choice_every_environment_is_checked() {
    let sandbox = Sandbox::new();
    let own = |name: &str| {
        format!(
            "environment: {name}\nrepository: {{location: {0}/{name}, password: \"${{file:{0}/repository.key}}\"}}\ncomponents: {{database: {{path: {0}/app.db}}}}\n",
            sandbox.path().display()
        )
    };
    sandbox.write_config(
        "platform: sandbox\nobjectives: {rto: 1h, rpo: 1d}\ncomponents: {database: {kind: sqlite}}\n",
    );
    fs::write(sandbox.path().join("muster.one.yaml"), own("one")).unwrap();
    fs::write(sandbox.path().join("muster.two.yaml"), own("two")).unwrap();
    let outcome = cli(&sandbox).run(&["config", "check"]);
    outcome.assert_exit(0);
    assert!(
        outcome.stdout.contains("muster.one.yaml") && outcome.stdout.contains("muster.two.yaml"),
        "{}",
        outcome.stdout
    );
    let environments =
        cli(&sandbox).run(&["config", "check", "--json"]).json()["environments"].as_array().unwrap().len();
    assert_eq!(environments, 2);
    fs::write(sandbox.path().join("muster.two.yaml"), own("two").replace("path:", "pth:")).unwrap();
    let outcome = cli(&sandbox).run(&["config", "check"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("muster.two.yaml:3"), "{}", outcome.stderr);
    cli(&sandbox).run(&["config", "check", "--env", "one"]).assert_exit(0);
}

#[test]
fn the_schema_is_json_and_knows_the_components() {
    let sandbox = Sandbox::empty();
    let outcome = cli(&sandbox).run(&["config", "schema"]);
    outcome.assert_exit(0);
    assert!(outcome.json()["properties"]["components"].is_object(), "{}", outcome.stdout);
}

fn ready() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::remove_file(sandbox.key()).unwrap();
    cli(&sandbox).run(&["init", "--yes"]).assert_exit(0);
    sandbox
}

#[test]
fn the_key_on_paper_opens_the_repository_again() {
    let sandbox = ready();
    let outcome = cli(&sandbox).run(&["key", "print"]);
    outcome.assert_exit(0);
    let repository = sandbox.repository().display().to_string();
    for part in ["sandbox", repository.as_str(), "restic -r"] {
        assert!(outcome.stdout.contains(part), "{part} is not in\n{}", outcome.stdout);
    }
    let line = outcome.stdout.lines().map(str::trim).find(|line| line.starts_with("MUSTER-")).unwrap();
    // As a person types it: small letters, no dashes.
    sandbox.write_key(&line.to_lowercase().replace('-', " "));
    cli(&sandbox).run(&["list"]).assert_exit(0);
    let slip = if line.ends_with('7') { "8" } else { "7" };
    sandbox.write_key(&format!("{}{slip}", &line[..line.len() - 1]));
    let outcome = cli(&sandbox).run(&["list"]);
    outcome.assert_exit(12);
    assert!(outcome.stderr.contains("group 13"), "{}", outcome.stderr);
}

#[test]
fn a_second_key_opens_the_repository_until_it_is_removed() {
    let sandbox = ready();
    let second = sandbox.path().join("second.key");
    let outcome = cli(&sandbox).run(&["key", "add", "second.key", "--json"]);
    outcome.assert_exit(0);
    let id = outcome.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(mode(second.clone()), 0o600);
    cli(&sandbox).run(&["key", "add", "second.key"]).assert_exit(1);
    let listed = cli(&sandbox).run(&["key", "list", "--json"]).json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2, "{listed}");

    let first = fs::read(sandbox.key()).unwrap();
    fs::copy(&second, sandbox.key()).unwrap();
    cli(&sandbox).run(&["list"]).assert_exit(0);
    let outcome = cli(&sandbox).run(&["key", "remove", &id[..8]]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("in use"), "{}", outcome.stderr);

    fs::write(sandbox.key(), first).unwrap();
    cli(&sandbox).run(&["key", "remove", &id[..8]]).assert_exit(0);
    fs::copy(&second, sandbox.key()).unwrap();
    cli(&sandbox).run(&["key", "list"]).assert_exit(12);
    cli(&sandbox).run(&["key", "print"]).assert_exit(12);
}
