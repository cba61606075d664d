//! Two environments beside one shared file: nothing of one is ever a part of the other.

use std::path::{Path, PathBuf};

use muster_cli::config::{self, LoadOptions};
use muster_types::config::Component;

use super::{at, shows, shows_only, surroundings::Surroundings};

const SHARED: &str = "\
platform: agents
objectives: {rto: 1h, rpo: 1d}
components:
  database: {kind: sqlite, backup: {every: 1h}}
services:
  api: {uses: [database]}
checks:
  up: {conditions: [\"[STATUS] == 200\"]}
";

fn own(name: &str) -> String {
    format!(
        "environment: {name}
repository: {{location: /var/backups/{name}, password: \"${{file:/etc/muster/{name}.key}}\"}}
components:
  database: {{path: /srv/{name}/app.db}}
services:
  api: {{systemd: {{unit: api-{name}.service}}}}
checks:
  up: {{http: \"http://localhost/{name}\", headers: {{Authorization: \"${{file:/etc/muster/{name}.token}}\"}}}}
"
    )
}

fn both() -> Surroundings {
    let (staging, production) = (own("staging"), own("production"));
    Surroundings::with(&[
        ("muster.yaml", SHARED),
        ("muster.staging.yaml", &staging),
        ("muster.production.yaml", &production),
        ("/etc/muster/staging.token", "letmein\n"),
    ])
}

/// Loads with one line of the shared file or staging's file changed.
fn changed(shared: &str, staging: &str) -> Surroundings {
    Surroundings::with(&[
        ("muster.yaml", shared),
        ("muster.staging.yaml", staging),
        ("/etc/muster/staging.token", "letmein"),
    ])
}

#[test]
fn the_two_files_are_joined() {
    let loaded = both().load_environment("staging").unwrap();
    assert_eq!(loaded.environment, "staging");
    assert_eq!(loaded.environments, ["production", "staging"]);
    assert_eq!(
        loaded.files,
        ["muster.yaml", "muster.staging.yaml"].map(|name| Path::new("/srv/app").join(name))
    );
    let Component::Sqlite(database) = &loaded.platform.components["database"] else {
        panic!("it is a database")
    };
    assert_eq!(database.path.as_deref(), Some(Path::new("/srv/staging/app.db")));
    assert!(database.common.backup.is_some(), "the shared part is there too");
    assert_eq!(loaded.platform.checks["up"].headers["Authorization"], "letmein");
    assert_eq!(loaded.platform.checks["up"].conditions, ["[STATUS] == 200"]);
}

#[test]
fn staging_never_opens_a_file_or_a_secret_of_production() {
    // The token and the key of production do not exist here, and neither does staging's key: it is not asked for yet.
    let surroundings = both();
    surroundings.load_environment("staging").unwrap();
    let mut opened = surroundings.opened.borrow().clone();
    opened.sort();
    opened.dedup();
    let allowed = ["/etc/muster/staging.token", "/srv/app/muster.staging.yaml", "/srv/app/muster.yaml"];
    assert_eq!(opened, allowed.map(PathBuf::from));
    let error = surroundings.refused_environment("production");
    assert!(error.to_string().contains("/etc/muster/production.token"), "{error}");
}

#[test]
fn staging_asks_for_no_variable_and_no_command_of_production() {
    let production = own("production")
        .replace("${file:/etc/muster/production.token}", "${env:PRODUCTION} ${command:production}");
    let surroundings = both().bytes("muster.production.yaml", production.as_bytes());
    surroundings.load_environment("staging").unwrap();
    assert_eq!((surroundings.asked.borrow().len(), surroundings.ran.borrow().len()), (0, 0));
    surroundings.refused_environment("production");
    assert_eq!(*surroundings.asked.borrow(), ["PRODUCTION"], "the test can tell the difference");
}

#[test]
fn a_broken_file_of_production_does_not_matter_to_staging() {
    let surroundings = both().bytes("muster.production.yaml", b"\xff: [");
    assert_eq!(surroundings.load_environment("staging").unwrap().environment, "staging");
}

#[test]
fn a_connection_in_the_shared_file_is_refused() {
    let shared = SHARED.replace("kind: sqlite,", "kind: sqlite, path: /srv/production/app.db,");
    let error = changed(&shared, &own("staging")).refused_environment("staging");
    shows_only(
        &error,
        "muster.yaml:4:28",
        "path",
        "`path` of component `database` is a connection",
        "move it to `muster.staging.yaml`",
    );
}

#[test]
fn a_repository_a_state_a_target_and_a_secret_in_the_shared_file_are_refused() {
    let shared = SHARED.replace(
        "[\"[STATUS] == 200\"]",
        "[\"[STATUS] == 200\"], body: \"${env:SHARED}\", http: \"http://h/\"",
    );
    let shared = format!("{shared}repository: {{location: /b, password: \"${{env:KEY}}\"}}\nstate: /var/s\n");
    let surroundings = changed(&shared, &own("staging"));
    let error = surroundings.refused_environment("staging");
    shows(&error, "muster.yaml:9:1", "repository", "`repository` is a connection", "muster.staging.yaml");
    shows(&error, "muster.yaml:10:1", "state", "`state` is a connection", "muster.staging.yaml");
    shows(&error, "muster.yaml:8:64", "http", "`http` of check `up` is a connection", "muster.staging.yaml");
    shows(&error, "muster.yaml:8:47", "\"${env:SHARED}\"", "a secret is a connection", "muster.staging.yaml");
    assert_eq!(error.findings.len(), 4, "{}", error.render(Path::new("/srv/app")));
    assert!(!surroundings.asked.borrow().contains(&"SHARED".to_owned()), "a refused secret is not read");
}

#[test]
fn a_connection_that_the_environment_does_not_give_is_refused() {
    let staging = own("staging").replace("{path: /srv/staging/app.db}", "{}");
    let error = changed(SHARED, &staging).refused_environment("staging");
    shows_only(
        &error,
        "muster.staging.yaml:4:3",
        "database",
        "component `database` has no `path`",
        "in `muster.staging.yaml`: environments share `muster.yaml`",
    );
}

#[test]
fn every_kind_of_missing_connection_names_both_files() {
    let error = changed(SHARED, "environment: staging\n").refused_environment("staging");
    let named: Vec<String> = error.findings.iter().map(|finding| finding.message.clone()).collect();
    let expected = [
        "there is no `repository`",
        "component `database` has no `path`",
        "service `api` does not say how it runs",
        "check `up`: nothing is looked at",
    ];
    assert!(expected.iter().all(|message| named.iter().any(|found| found == message)), "{named:?}");
    assert_eq!(named.len(), expected.len(), "{named:?}");
    for finding in &error.findings {
        let hint = finding.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("`muster.staging.yaml`") && hint.contains("`muster.yaml`"), "{hint}");
    }
}

#[test]
fn a_fault_in_either_file_names_that_file() {
    let error = changed(&SHARED.replace("rto: 1h", "rto: 1"), &own("staging").replace("path:", "pth:"))
        .refused_environment("staging");
    shows(&error, "muster.yaml:2:19", "1", "has no unit", "`1h`");
    shows(&error, "muster.staging.yaml:4:14", "pth", "has no key `pth`", "did you mean `path`?");
}

#[test]
fn a_file_that_says_another_environment_is_refused() {
    let error = changed(SHARED, &own("staging").replace("environment: staging", "environment: production"))
        .refused_environment("staging");
    shows_only(
        &error,
        "muster.staging.yaml:1:14",
        "production",
        "stands in the file of `staging`",
        "write `environment: staging`",
    );
}

#[test]
fn the_files_agree_on_platform_and_kind() {
    let staging = format!("platform: other\n{}", own("staging"))
        .replace("{path: /srv/staging/app.db}", "{kind: files, paths: [/a]}");
    let error = changed(SHARED, &staging).refused_environment("staging");
    shows(
        &error,
        "muster.staging.yaml:1:11",
        "other",
        "`platform: other` contradicts the shared file",
        "remove it here",
    );
    shows(
        &error,
        "muster.staging.yaml:5:20",
        "files",
        "`kind: files` contradicts the shared file",
        "remove it here",
    );
}

#[test]
fn what_changes_something_has_no_default_among_several_environments() {
    let options = LoadOptions { is_destructive: true, ..LoadOptions::default() };
    let surroundings = both().variable("MUSTER_ENV", "staging");
    let error = config::load(&options, &surroundings).unwrap_err();
    assert_eq!(error.to_string(), "there are several environments, and none was chosen");
    let hint = error.findings[0].hint.as_deref().unwrap();
    assert!(
        hint.contains("`--env`: production, staging") && hint.contains("`MUSTER_ENV` is not read"),
        "{hint}"
    );
    assert_eq!(surroundings.opened.borrow().len(), 0, "nothing is opened before an environment is chosen");
}

#[test]
fn what_only_looks_may_take_its_environment_from_a_variable() {
    let surroundings = both().variable("MUSTER_ENV", "staging");
    assert_eq!(surroundings.load().unwrap().environment, "staging");
    assert_eq!(both().refused().to_string(), "there are several environments, and none was chosen");
}

#[test]
fn a_single_environment_needs_no_choice() {
    let options = LoadOptions { is_destructive: true, ..LoadOptions::default() };
    let loaded = config::load(&options, &changed(SHARED, &own("staging"))).unwrap();
    assert_eq!(loaded.environment, "staging");
}

#[test]
fn the_file_of_an_environment_chooses_it() {
    let options = |environment: Option<&str>| LoadOptions {
        file: Some("muster.staging.yaml".into()),
        environment: environment.map(str::to_owned),
        is_destructive: true,
    };
    assert_eq!(config::load(&options(None), &both()).unwrap().environment, "staging");
    let error = config::load(&options(Some("production")), &both()).unwrap_err();
    assert_eq!(error.to_string(), "`--env production` and the file of `staging` contradict each other");
}

#[test]
fn an_unknown_environment_is_refused() {
    let error = both().refused_environment("prod");
    assert_eq!(error.to_string(), "there is no environment `prod`");
    assert_eq!(error.findings[0].hint.as_deref(), Some("there is production, staging"));
    let error = super::whole("").refused_environment("prod");
    assert_eq!(error.to_string(), "there is no environment `prod`");
    assert!(error.findings[0].hint.as_deref().unwrap().contains("muster.prod.yaml"));
}

#[test]
fn the_environments_that_are_to_be_chosen_from_are_told() {
    let unchosen =
        |options: &LoadOptions, surroundings: &Surroundings| config::unchosen(options, surroundings).unwrap();
    let chosen = LoadOptions { environment: Some("staging".into()), ..LoadOptions::default() };
    assert_eq!(unchosen(&LoadOptions::default(), &both()), ["production", "staging"]);
    assert_eq!(unchosen(&chosen, &both()), Vec::<String>::new());
    assert_eq!(
        unchosen(&LoadOptions::default(), &both().variable("MUSTER_ENV", "staging")),
        Vec::<String>::new()
    );
    assert_eq!(unchosen(&LoadOptions::default(), &super::whole("")), Vec::<String>::new());
}

#[test]
fn the_password_of_an_environment_is_missing_in_its_own_file() {
    let loaded = both().load_environment("staging").unwrap();
    let error = loaded.repository_key(&both()).unwrap_err();
    assert_eq!(at(&error.findings[0]), "muster.staging.yaml:2:57");
}
