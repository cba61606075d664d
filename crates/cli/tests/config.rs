//! What a configuration may say, and how its faults are shown: file, line, column, text, hint.
//!
//! Every test loads from surroundings in memory that note each file and variable that was asked for.

#![allow(clippy::panic, clippy::disallowed_methods, reason = "a test may fail loudly and write plainly")]

#[path = "config/environments.rs"]
mod environments;
#[path = "config/rules.rs"]
mod rules;
#[path = "config/secrets.rs"]
mod secrets;
#[path = "config/servers.rs"]
mod servers;
#[path = "config/surroundings.rs"]
mod surroundings;

use std::path::{Path, PathBuf};

use muster_cli::config::{self, ConfigError, Finding, LoadOptions, Severity, SystemEnvironment};
use muster_types::{Explain, Kind, config::Component};
use surroundings::Surroundings;

/// What stands above the components in most tests.
const HEAD: &str = "\
platform: agents
objectives: {rto: 1h, rpo: 1d}
repository: {location: /var/backups/agents, password: \"${file:/etc/muster/key}\"}
";

/// A sound component, in lines 4 to 7.
const DATABASE: &str = "\
components:
  database:
    kind: sqlite
    path: data/app.db
    backup: {every: 1h}
";

fn whole(rest: &str) -> Surroundings {
    Surroundings::one(&format!("{HEAD}{DATABASE}{rest}"))
}

/// Finds the one finding at a place and checks what it says.
#[track_caller]
fn shows(error: &ConfigError, place: &str, text: &str, message: &str, hint: &str) {
    let found = error.findings.iter().find(|finding| at(finding) == place);
    let all = error.render(Path::new(surroundings::FOLDER));
    let found = found.unwrap_or_else(|| panic!("nothing is found at {place}:\n{all}"));
    assert_eq!(found.place.as_ref().map(|place| place.text.as_str()), Some(text), "{all}");
    assert!(found.message.contains(message), "the message lacks {message:?}:\n{all}");
    assert!(found.hint.as_deref().unwrap_or_default().contains(hint), "the hint lacks {hint:?}:\n{all}");
    assert_eq!(found.severity, Severity::Error);
}

/// Checks the only finding.
#[track_caller]
fn shows_only(error: &ConfigError, place: &str, text: &str, message: &str, hint: &str) {
    shows(error, place, text, message, hint);
    assert_eq!(error.findings.len(), 1, "{}", error.render(Path::new(surroundings::FOLDER)));
}

fn at(finding: &Finding) -> String {
    finding.place.as_ref().map_or_else(String::new, |place| {
        let name = place.file.strip_prefix(surroundings::FOLDER).unwrap_or(&place.file).display();
        format!("{name}:{}:{}", place.line, place.column)
    })
}

#[test]
fn a_whole_configuration_is_loaded_and_its_paths_are_absolute() {
    let rest = "  uploads:
    kind: files
    paths: [./uploads, /srv/shared]
    backup: {at: \"02:00Z\", keep: {daily: 7, monthly: all}}
services:
  api:
    command: {start: [./start.sh, now], stop: [stop-it], status: [/usr/bin/status]}
    uses: [database]
    ready: answers
  web: {compose: {file: deploy/compose.yml, service: web}}
checks:
  answers: {http: \"http://localhost:8080/health\", conditions: [\"[STATUS] == 200\"]}
  rows: {sqlite: {path: data/app.db}}
";
    let loaded = whole(rest).load().unwrap();
    assert_eq!(loaded.environment, "default");
    assert_eq!(loaded.environments, Vec::<String>::new());
    assert_eq!(loaded.folder, Path::new("/srv/app"));
    assert_eq!(loaded.state_dir, Path::new("/srv/app/.muster"));
    assert_eq!(loaded.files, [PathBuf::from("/srv/app/muster.yaml")]);
    assert_eq!(loaded.warnings, []);
    let platform = loaded.platform;
    assert_eq!(platform.repository.unwrap().location, "/var/backups/agents");
    let Component::Sqlite(database) = &platform.components["database"] else { panic!("it is a database") };
    assert_eq!(database.path.as_deref(), Some(Path::new("/srv/app/data/app.db")));
    let Component::Files(uploads) = &platform.components["uploads"] else { panic!("these are files") };
    assert_eq!(uploads.paths, [PathBuf::from("/srv/app/uploads"), PathBuf::from("/srv/shared")]);
    let command = platform.services["api"].command.clone().unwrap();
    assert_eq!(command.start, ["/srv/app/start.sh", "now"]);
    assert_eq!(
        (command.stop, command.status),
        (vec!["stop-it".to_owned()], vec!["/usr/bin/status".to_owned()])
    );
    assert_eq!(
        platform.services["web"].compose.as_ref().unwrap().file,
        Path::new("/srv/app/deploy/compose.yml")
    );
    assert_eq!(platform.checks["rows"].sqlite.as_ref().unwrap().path, Path::new("/srv/app/data/app.db"));
}

#[test]
fn state_and_repository_may_be_relative_too() {
    let text = format!("{HEAD}state: var\n{DATABASE}").replace("/var/backups/agents", "../backups");
    let loaded = Surroundings::one(&text).load().unwrap();
    assert_eq!(loaded.state_dir, Path::new("/srv/app/var"));
    assert_eq!(loaded.platform.repository.unwrap().location, "/srv/app/../backups");
}

// The bad inputs that the configuration must name.

#[test]
fn an_unknown_key_is_shown_with_its_place_and_the_nearest_known_one() {
    let error = whole("  uploads: {kind: files, paths: [/srv/u], bakcup: {every: 1h}}\n").refused();
    shows_only(
        &error,
        "muster.yaml:9:43",
        "bakcup",
        "`uploads` has no key `bakcup`",
        "did you mean `backup`?",
    );
}

#[test]
fn an_unknown_key_at_the_top_is_shown() {
    shows_only(
        &whole("servces: {}\n").refused(),
        "muster.yaml:9:1",
        "servces",
        "has no key `servces`",
        "did you mean `services`?",
    );
}

#[test]
fn a_wrong_type_is_shown_with_how_to_write_it() {
    let error = whole("  uploads: {kind: files, paths: /srv/u, backup: {every: 1h}}\n").refused();
    shows_only(&error, "muster.yaml:9:33", "/srv/u", "one value, not a list", "write `paths: [/srv/u]`");
}

#[test]
fn an_unknown_kind_is_shown_with_the_known_ones() {
    let error = whole("  cache: {kind: sqlit, path: /srv/u}\n").refused();
    shows_only(
        &error,
        "muster.yaml:9:17",
        "sqlit",
        "`kind: sqlit` is not one of `sqlite`, `files`, `postgres`",
        "did you mean `sqlite`?",
    );
}

#[test]
fn a_key_of_another_kind_is_shown() {
    let error = whole("  cache: {kind: sqlite, path: /srv/u, include: [a], backup: {every: 1h}}\n").refused();
    shows_only(
        &error,
        "muster.yaml:9:39",
        "include",
        "`include` does not belong to kind `sqlite`",
        "whole database",
    );
}

#[test]
fn a_duration_without_unit_is_shown() {
    let text = format!("{HEAD}{DATABASE}").replace("every: 1h", "every: 15");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:8:21",
        "15",
        "`every: 15` has no unit",
        "`15s`, `15m` or `15h`",
    );
}

#[test]
fn an_objective_without_unit_is_shown() {
    let text = format!("{HEAD}{DATABASE}").replace("rto: 1h", "rto: 90");
    shows_only(&Surroundings::one(&text).refused(), "muster.yaml:2:19", "90", "has no unit", "`90m`");
}

#[test]
fn a_missing_variable_is_shown_where_it_is_used() {
    let error = whole("checks:\n  api: {http: \"http://localhost/${env:API_TOKEN}\"}\n").refused();
    shows_only(&error, "muster.yaml:10:33", "${env:API_TOKEN}", "`API_TOKEN` is not set", "set `API_TOKEN`");
}

#[test]
fn a_duplicate_name_is_shown_with_the_line_of_the_first() {
    let error = whole("  database: {kind: files, paths: [/srv/u]}\n").refused();
    shows_only(&error, "muster.yaml:9:3", "database", "`database` is given twice", "rename one of them");
    assert_eq!(error.findings[0].cause.as_deref(), Some("the first stands in line 5"));
}

#[test]
fn a_duplicate_data_class_is_shown() {
    let error =
        whole("    classes:\n      - {name: audit, rpo: 1d}\n      - {name: audit, rpo: 2d}\n").refused();
    shows_only(&error, "muster.yaml:11:16", "audit", "two data classes `audit`", "rename one of them");
}

#[test]
fn a_missing_target_path_is_shown() {
    let text = format!("{HEAD}{DATABASE}").replace("    path: data/app.db\n", "");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:5:3",
        "database",
        "component `database` has no `path`",
        "add `path: ",
    );
    let error = whole("  uploads: {kind: files, backup: {every: 1h}}\n").refused();
    shows_only(&error, "muster.yaml:9:3", "uploads", "component `uploads` has no `paths`", "add `paths: [");
}

#[test]
fn a_missing_objective_is_shown_with_the_component_and_the_target() {
    let text = format!("{HEAD}{DATABASE}").replace("{rto: 1h, rpo: 1d}", "{rto: 1h}");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:5:3",
        "database",
        "`database` has no `rpo`",
        "objectives: {rto: 1h, rpo: 1d}",
    );
    let text = format!("{HEAD}{DATABASE}").replace("objectives: {rto: 1h, rpo: 1d}\n", "");
    let error = Surroundings::one(&text).refused();
    shows(&error, "muster.yaml:4:3", "database", "`database` has no `rto`", "not-applicable");
    assert_eq!(error.findings.len(), 2);
}

#[test]
fn an_objective_that_does_not_apply_is_a_decision_and_no_fault() {
    let text = format!("{HEAD}{DATABASE}    objectives: {{rto: not-applicable, rpo: not-applicable}}\n");
    let text = text.replace("objectives: {rto: 1h, rpo: 1d}\n", "");
    assert_eq!(Surroundings::one(&text).load().unwrap().warnings, []);
}

#[test]
fn all_faults_are_shown_in_one_go_in_the_order_of_the_file() {
    let text = "\
platform: my agents
objectives: {rto: 90}
components:
  database: {kind: sqlite, bakup: {}}
services:
  api: {uses: [databse]}
checks:
  up: {tcp: localhost}
";
    let error = Surroundings::one(text).refused();
    let places: Vec<String> = error.findings.iter().map(at).collect();
    let expected = ["1:1", "1:11", "2:19", "4:3", "4:3", "4:28", "6:3", "6:16", "8:13"];
    assert_eq!(
        places,
        expected.map(|place| format!("muster.yaml:{place}")),
        "{}",
        error.render(Path::new("/srv/app"))
    );
}

// What is no configuration at all.

#[test]
fn what_is_no_yaml_is_shown_with_its_place() {
    let error = Surroundings::one("platform: agents\ncomponents: {a: [\n").refused();
    assert_eq!(error.findings.len(), 1);
    assert_eq!(error.findings[0].message, "`muster.yaml` is not YAML");
    assert!(error.findings[0].cause.is_some());
    assert!(at(&error.findings[0]).starts_with("muster.yaml:"));
}

#[test]
fn a_tab_an_empty_file_a_list_and_bytes_are_told_apart() {
    let error = Surroundings::one("platform: agents\ncomponents:\n\ta: 1\n").refused();
    assert!(error.findings[0].message.contains("indented with a tab"), "{error}");
    assert!(Surroundings::one("# nothing\n").refused().to_string().ends_with("`muster.yaml` is empty"));
    assert!(Surroundings::one("- a\n").refused().to_string().contains("is not made of `key: value` lines"));
    let error = Surroundings::default().bytes("muster.yaml", b"platform: \xff\n").refused();
    assert_eq!(
        (at(&error.findings[0]), error.findings[0].message.as_str()),
        ("muster.yaml:1:11".into(), "`muster.yaml` is not UTF-8 text")
    );
    let error = Surroundings::one("platform: a\n---\nplatform: b\n").refused();
    assert!(error.to_string().contains("a second document begins here"), "{error}");
}

#[test]
fn aliases_that_unfold_without_end_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let error = Surroundings::one(&text).refused();
    assert!(error.to_string().contains("unfolds to more than 100000 values"), "{error}");
}

#[test]
fn no_file_is_an_error_that_names_the_next_command() {
    let error = Surroundings::default().refused();
    assert_eq!(error.to_string(), "there is no `muster.yaml` in /srv/app or a folder above");
    assert!(error.findings[0].hint.as_deref().unwrap().contains("muster init"));
    let options = LoadOptions { file: Some("other.yaml".into()), ..LoadOptions::default() };
    let error = config::load(&options, &Surroundings::default()).unwrap_err();
    assert_eq!(error.to_string(), "there is no file `/srv/app/other.yaml`");
}

// How it is shown.

#[test]
fn an_error_is_rendered_with_its_line_and_marks() {
    let error = whole("  uploads: {kind: files, paths: [/srv/u], bakcup: {every: 1h}}\n").refused();
    let expected = "\
error: `uploads` has no key `bakcup`
  --> muster.yaml:9:43
   |
 9 |   uploads: {kind: files, paths: [/srv/u], bakcup: {every: 1h}}
   |                                           ^^^^^^
hint:  did you mean `backup`?
";
    assert_eq!(error.render(Path::new("/srv/app")), expected);
    assert_eq!(error.to_string(), "/srv/app/muster.yaml:9:43: `uploads` has no key `bakcup`");
    assert_eq!(error.kind(), Kind::Config);
    assert_eq!(Explain::hint(&error).map(|hint| hint.0).as_deref(), Some("did you mean `backup`?"));
}

#[test]
fn an_error_counts_the_others_and_has_a_json_form() {
    let error = whole("servces: {}\nsirvices: {}\n").refused();
    assert_eq!(
        error.to_string(),
        "/srv/app/muster.yaml:9:1: the configuration has no key `servces` (and 1 more)"
    );
    let first = &error.document()["errors"][0];
    assert_eq!(first["line"], 9);
    assert_eq!(first["column"], 1);
    assert_eq!(first["text"], "servces");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["file"], "/srv/app/muster.yaml");
}

#[test]
fn the_schema_knows_the_keys_and_refuses_others() {
    let schema = config::schema();
    assert_eq!(schema["additionalProperties"], false);
    for key in ["platform", "objectives", "repository", "state", "components", "services", "checks"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn a_file_on_disk_is_loaded_and_everything_is_relative_to_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("muster.yaml"), format!("{HEAD}{DATABASE}")).unwrap();
    let options = LoadOptions { file: Some(folder.path().join("muster.yaml")), ..LoadOptions::default() };
    let loaded = config::load(&options, &SystemEnvironment).unwrap();
    assert_eq!(loaded.folder, folder.path());
    assert_eq!(loaded.state_dir, folder.path().join(".muster"));
}
