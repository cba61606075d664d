//! The check `container` where no engine answers; with one: `compose.rs`.

use std::{fs, net::TcpListener};

use muster_testkit::Cli;

use crate::runbooks::Place;

#[test]
fn an_engine_that_never_answers_one_that_is_away_and_a_name_that_is_none_fail_the_check_of_a_container() {
    let place = Place::new();
    let config = fs::read_to_string(place.sandbox.config_file()).unwrap();
    let (before, after) = config.split_once("checks:\n").unwrap();
    let with = |service: &str| {
        let check = format!("  steady: {{container: {{project: shop, service: {service}}}, timeout: 1s}}\n");
        place.sandbox.write_config(&format!("{before}checks:\n{check}{after}"));
    };
    let verdict = |engine: &str| {
        let cli =
            Cli::with_binary(env!("CARGO_BIN_EXE_muster"), place.sandbox.path()).env("DOCKER_HOST", engine);
        let said = cli.run(&["check", "steady", "--json"]).assert_exit(1).json();
        said["checks"][0]["error"].as_str().unwrap_or_default().to_owned()
    };
    with("api");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(verdict(&format!("tcp://{address}")), "no answer within 1s");
    drop(silent);
    let away = verdict(&format!("tcp://{address}"));
    assert!(away.to_lowercase().contains("connect"), "{away}");
    // As many spaces as in a mistyped list.
    with("\"api web\"");
    let said = place.run(&["check", "steady"]);
    assert!(said.assert_exit(2).stderr.contains("`service` is no name"), "{}", said.stderr);
}
