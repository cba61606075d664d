//! Command services with a real small server, started, asked and stopped through its own scripts.
#![allow(clippy::disallowed_methods, reason = "what a test writes need not survive a power cut")]

use std::{fs, time::Duration};

use muster_drivers::services::{ServiceChange, ServiceStatus, open, start_and_wait};
use muster_types::{
    FixedClock, Timestamp,
    config::{Check, CommandService, Service},
    event::Unwatched,
};

const CLOCK: FixedClock = FixedClock(Timestamp::UNIX_EPOCH);

fn service(start: &str, stop: &str, status: &str) -> Service {
    let script = |text: &str| ["sh", "-c", text].map(str::to_owned).to_vec();
    let command =
        CommandService { start: script(start), stop: script(stop), status: script(status), log: None };
    Service { command: Some(command), ..Service::default() }
}

#[test]
fn a_service_starts_becomes_ready_restarts_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let (file, place) = (pid_file.display(), folder.path().display());
    let port = muster_testkit::free_port();
    // Its output is deliberately not redirected: that must neither hold the start nor kill the server.
    let web = service(
        &format!("timeout 60 python3 -m http.server --bind 127.0.0.1 -d {place} {port} & echo $! > {file}"),
        &format!("kill $(cat {file})"),
        &format!("test -e {file} && kill -0 $(cat {file}) 2>/dev/null"),
    );
    let web = open("web", &web).unwrap();
    assert_eq!(web.status(&Unwatched).unwrap(), ServiceStatus::Stopped);
    web.stop(&Unwatched).unwrap();
    let ready = Check { http: Some(format!("http://127.0.0.1:{port}/")), ..Check::default() };
    let within = Duration::from_secs(20);
    let start = || start_and_wait("web", &*web, Some(("ready", &ready)), within, &CLOCK, &Unwatched).unwrap();
    assert!(start().starts_with("ready after "));
    let first = fs::read_to_string(&pid_file).unwrap();
    start();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), first, "a service that runs is left alone");
    web.restart(&Unwatched).unwrap();
    assert_ne!(fs::read_to_string(&pid_file).unwrap(), first);
    web.stop(&Unwatched).unwrap();
    assert_eq!(web.status(&Unwatched).unwrap(), ServiceStatus::Stopped);
}

#[test]
fn failures_are_told_with_the_output_and_an_unclear_status_is_unknown() {
    let web = open("web", &service("echo 'port is taken' >&2; exit 4", "true", "exit 1")).unwrap();
    let error = web.start(&Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "cannot start service `web`: exit code 4: port is taken");
    let web = open("web", &service("true", "true", "echo what >&2; exit 9")).unwrap();
    let unknown = ServiceStatus::Unknown("the status command ended with exit code 9: what".into());
    assert_eq!(web.status(&Unwatched).unwrap(), unknown);
    assert!(open("web", &Service::default()).is_err());
}

#[test]
fn a_service_that_does_not_become_ready_fails_with_the_last_reason() {
    let web = open("web", &service("true", "true", "true")).unwrap();
    let port = muster_testkit::free_port();
    let ready = Check { tcp: Some(format!("127.0.0.1:{port}")), ..Check::default() };
    let within = Duration::from_millis(500);
    let error =
        start_and_wait("web", &*web, Some(("ready", &ready)), within, &CLOCK, &Unwatched).unwrap_err();
    assert!(error.to_string().ends_with("the connection was refused: nothing listens there"), "{error}");
}

// proves: D6
#[test]
fn a_restart_gives_a_new_start_time_and_the_environment_that_is_configured_now() {
    let folder = tempfile::tempdir().unwrap();
    let (pid_file, env_file) = (folder.path().join("pid"), folder.path().join("app.env"));
    let (file, env) = (pid_file.display(), env_file.display());
    fs::write(&env_file, "TOKEN=old\n").unwrap();
    let app = service(
        &format!("set -a; . {env}; set +a; timeout 60 sleep 50 & echo $! > {file}"),
        &format!("kill $(cat {file}); while kill -0 $(cat {file}) 2>/dev/null; do sleep 0.01; done"),
        &format!("test -e {file} && kill -0 $(cat {file}) 2>/dev/null"),
    );
    let app = open("app", &app).unwrap();
    let process = |name: &str| {
        let pid = fs::read_to_string(&pid_file).unwrap();
        fs::read_to_string(format!("/proc/{}/{name}", pid.trim())).unwrap()
    };
    // Field 22, counted after the name in brackets: clock ticks after boot.
    let started = || {
        process("stat")
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .nth(19)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    app.start(&Unwatched).unwrap();
    let first = started();
    // Until the shell has become the program, it shows its own environment.
    let token_is = |token: &str| {
        let begun = std::time::Instant::now();
        while !process("environ").contains("TOKEN=") && begun.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
        }
        process("environ").contains(&format!("TOKEN={token}"))
    };
    assert!(token_is("old"));
    fs::write(&env_file, "TOKEN=new\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    app.restart(&Unwatched).unwrap();
    assert!(started() > first, "it is another process");
    assert!(token_is("new"));
    app.stop(&Unwatched).unwrap();
}

#[test]
fn a_log_is_read_whole_where_it_is_named_and_kinds_say_what_they_do_not_have() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("api.log");
    let text: String = (0..50_000).map(|number| format!("line {number}\n")).collect();
    fs::write(&log, &text).unwrap();
    let mut with_log = service("true", "true", "exit 1");
    with_log.command.as_mut().unwrap().log = Some(log);
    let mut found = Vec::new();
    open("api", &with_log).unwrap().logs(None, &mut found, &Unwatched).unwrap();
    assert!(found == text.as_bytes(), "{} bytes of {}", found.len(), text.len());
    let without = open("api", &service("true", "true", "exit 1")).unwrap();
    let error = without.logs(None, &mut Vec::new(), &Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the log of service `api`: it does not say where that is");
    assert_eq!(
        without.rollback(&Unwatched).unwrap_err().to_string(),
        "cannot roll back a service of this kind"
    );
    let inside = without.exec(&["ls".to_owned()], &Unwatched).unwrap_err();
    assert_eq!(inside.to_string(), "cannot run a command inside a service of this kind");
    let error = without.change(ServiceChange::Clean, &Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "cannot remove the sandboxes of a service of this kind");
}
