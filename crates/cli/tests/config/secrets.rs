//! Secrets are references: resolved when they are needed, shown never.

use std::path::Path;

use muster_cli::config::Severity;

use super::{DATABASE, HEAD, shows, shows_only, surroundings::Surroundings, whole};

#[test]
fn secrets_of_services_and_checks_are_resolved_at_load() {
    let rest = "services:
  api: {command: {start: [run, \"${env:NAME}\"], stop: [stop], status: [status]}}
checks:
  api:
    http: \"http://localhost:${env:PORT}/health\"
    headers: {Authorization: \"Bearer ${file:token}\", X-Key: \"${command:echo a {b}}\", X-Plain: \"$${env:NO}\"}
";
    let surroundings =
        whole(rest).variable("NAME", "api").variable("PORT", "8080").bytes("token", b"letmein\r\n");
    let platform = surroundings.load().unwrap().platform;
    let check = &platform.checks["api"];
    assert_eq!(check.http.as_deref(), Some("http://localhost:8080/health"));
    assert_eq!(check.headers["Authorization"], "Bearer letmein");
    assert_eq!(check.headers["X-Key"], "a {b}");
    assert_eq!(check.headers["X-Plain"], "${env:NO}");
    assert_eq!(platform.services["api"].command.as_ref().unwrap().start, ["run", "api"]);
}

#[test]
fn the_repository_key_is_read_only_when_it_is_asked_for() {
    let surroundings = whole("").bytes("/etc/muster/key", b"correct horse\n");
    let loaded = surroundings.load().unwrap();
    assert!(!surroundings.opened.borrow().iter().any(|path| path == Path::new("/etc/muster/key")));
    assert_eq!(loaded.platform.repository.as_ref().unwrap().password, "${file:/etc/muster/key}");
    assert_eq!(loaded.repository_key(&surroundings).unwrap().expose(), "correct horse");
}

#[test]
fn a_missing_repository_key_is_shown_where_it_is_named() {
    let loaded = whole("").load().unwrap();
    let error = loaded.repository_key(&whole("")).unwrap_err();
    shows_only(
        &error,
        "muster.yaml:3:56",
        "${file:/etc/muster/key}",
        "the secret in `/etc/muster/key` cannot be read",
        "mode 0600",
    );
    assert_eq!(loaded.look_at_repository_key(&whole("")), error.findings);
}

#[test]
fn a_key_file_that_everybody_may_read_is_a_warning() {
    let surroundings = whole("").bytes("/etc/muster/key", b"secret").mode(0o644);
    let looked = surroundings.load().unwrap().look_at_repository_key(&surroundings);
    assert_eq!(looked.len(), 1);
    assert_eq!(looked[0].severity, Severity::Warning);
    assert_eq!(looked[0].message, "every user of this host can read `/etc/muster/key`");
    assert_eq!(looked[0].hint.as_deref(), Some("run `chmod 600 /etc/muster/key`"));
}

#[test]
fn a_password_in_clear_text_is_refused_and_not_shown() {
    let text = format!("{HEAD}{DATABASE}").replace("\"${file:/etc/muster/key}\"", "hunter2");
    let error = Surroundings::one(&text).refused();
    shows_only(
        &error,
        "muster.yaml:3:55",
        "***",
        "stands here in clear text",
        "${file:/etc/muster/repository.key}",
    );
    assert!(!error.render(Path::new("/srv/app")).contains("hunter2"));
    assert!(!error.document().to_string().contains("hunter2"));
}

#[test]
fn every_missing_secret_is_shown_at_once() {
    let rest = "checks:
  one: {http: \"http://h/\", headers: {A: \"${env:A}\", B: \"${file:/no}\", C: \"${command:vault read}\"}}
  two: {http: \"http://h/\", body: \"${env:EMPTY}\"}
";
    let error = whole(rest).variable("EMPTY", "").refused();
    shows(&error, "muster.yaml:10:42", "${env:A}", "`A` is not set", "set `A`");
    shows(&error, "muster.yaml:10:57", "${file:/no}", "`/no` cannot be read", "mode 0600");
    shows(
        &error,
        "muster.yaml:10:75",
        "${command:vault read}",
        "the command that gives a secret failed",
        "run it by hand",
    );
    shows(&error, "muster.yaml:11:35", "${env:EMPTY}", "`EMPTY` is empty", "give `EMPTY` a value");
    assert_eq!(error.findings.len(), 4, "{}", error.render(Path::new("/srv/app")));
}

#[test]
fn a_reference_that_cannot_be_meant_is_shown_with_the_known_forms() {
    let rest = "checks:
  one: {http: \"http://h/\", headers: {A: \"${vault:a}\", B: \"${env:}\", C: \"${env:X\"}}
";
    let error = whole(rest).refused();
    shows(&error, "muster.yaml:10:42", "${vault:a}", "is no known reference", "${command:program argument}");
    shows(&error, "muster.yaml:10:59", "${env:}", "names nothing", "${env:NAME}");
    shows(&error, "muster.yaml:10:73", "${env:X", "the closing `}` is missing", "${env:NAME}");
}

#[test]
fn no_secret_is_shown_when_its_value_does_not_fit() {
    let rest = "checks:\n  one: {http: \"${env:URL}\"}\n  two: {http: \"http://h/\", conditions: [\"[BODY] ${env:URL} 1\"]}\n";
    let surroundings = whole(rest).variable("URL", "hunter2 and more");
    let error = surroundings.refused();
    let shown = format!("{}{}{error:?}", error.render(Path::new("/srv/app")), error.document());
    assert_eq!(error.findings.len(), 2, "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_reference_is_no_duration_and_is_not_resolved_for_one() {
    let surroundings =
        whole("checks:\n  one: {tcp: \"h:1\", timeout: \"${env:TIMEOUT}\"}\n").variable("TIMEOUT", "hunter2");
    let error = surroundings.refused();
    assert!(!error.render(Path::new("/")).contains("hunter2"));
    assert_eq!(error.findings.len(), 1, "{}", error.render(Path::new("/")));
}

#[test]
fn a_member_with_a_password_in_clear_text_or_a_service_that_is_not_there_is_refused() {
    let member = |rest: &str| {
        format!(
            "{HEAD}components:\n  database:\n    kind: postgres\n    url: postgres://m@one/app\n    backup: {{every: 1h}}\n    members:\n      one: {{{rest}}}\n"
        )
    };
    let error = Surroundings::one(&member("url: \"postgres://m:hunter2@one/app\"")).refused();
    let text = error.render(Path::new("/srv/app"));
    assert!(
        text.contains("the password of member `one` of component `database` stands here in clear text"),
        "{text}"
    );
    assert!(!text.contains("hunter2") && !error.document().to_string().contains("hunter2"), "{text}");
    let error = Surroundings::one(&member("url: \"postgres://m@one/app\", service: gone")).refused();
    let text = error.render(Path::new("/srv/app"));
    assert!(text.contains("names the service `gone`, which is not there"), "{text}");
}
