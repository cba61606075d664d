//! Commands that are there to tell whether all is well.
//!
//! In: commands with what they are there for. Out: findings where the answer would be "yes" anyway.

use super::{Report, Rule, mentions};
use crate::lint::{
    finding::Severity,
    reading::{Place, Reading, Shell},
    shell::Call,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "curl-without-fail",
        severity: Severity::FalseConfidence,
        message: "curl exits with 0 when the server answers 500",
        instead: "`curl --fail --silent --show-error --max-time 5 URL`, and look at the body",
        check: curl,
    },
    Rule {
        id: "curl-insecure",
        severity: Severity::FalseConfidence,
        message: "any certificate passes: an expired one, and that of another host",
        instead: "verify it; name the authority with `--cacert FILE` where it is your own",
        check: insecure,
    },
    Rule {
        id: "unit-tests-as-smoke-test",
        severity: Severity::LosesData,
        message: "unit tests try the source and not what runs; where they use the configured database they may empty it",
        instead: "a read-only smoke suite against the running platform: `muster check`",
        check: unit_tests,
    },
];

/// Whether a command stands where something is verified.
fn verifies(reading: &Reading, shell: &Shell, call: &Call) -> bool {
    let titles = reading.titles(shell.section);
    shell.place == Place::Checklist
        || mentions(&titles, &["verif", "validat", "smoke", "health"])
        || mentions(
            &shell.task(call.line()),
            &["verif", "validat", "smoke", "health", "confirm", "ready", "check"],
        )
}

fn curl(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls().filter(|(_, call)| call.program() == "curl") {
        let url = call
            .arguments()
            .iter()
            .map(|word| word.text.as_str())
            .find(|text| text.contains("://") || text.starts_with("localhost") || text.starts_with('$'));
        let Some(url) = url else { continue };
        let path = url.split("://").nth(1).unwrap_or(url).split_once('/').map_or("", |(_, path)| path);
        let is_health = ["health", "ready", "alive", "livez", "status", "ping", "heartbeat"]
            .iter()
            .any(|word| path.to_ascii_lowercase().contains(word));
        let fails = call.has(&["-f", "--fail", "--fail-with-body", "-w", "--write-out"]);
        let shows = call.has(&["-I", "-i", "-v", "--head", "--include", "--verbose", "-D"]);
        let sends = call.has(&["-d", "--data", "--data-raw", "--data-binary", "--json", "-F", "-T"])
            || call.option(&["-X", "--request"]).is_some_and(|verb| !verb.eq_ignore_ascii_case("GET"));
        let downloads = call.has(&["-o", "--output", "-O", "--remote-name"])
            && !mentions(call.option(&["-o", "--output"]).unwrap_or_default(), &["/dev/null"]);
        let asserted = call.context.is_substituted
            || shell.script.readers(call).any(|one| match one.program() {
                "jq" => one.has(&["-e", "--exit-status"]),
                "grep" | "egrep" | "rg" | "test" | "awk" | "python3" | "python" | "sh" | "bash" => true,
                _ => false,
            });
        // The same request is made once with its status asked for.
        if !fails
            && !shows
            && !sends
            && !downloads
            && !asserted
            && (is_health || verifies(reading, shell, call))
            && !is_third_party_status(url)
        {
            report.call(call);
        }
    }
}

/// The status page of somebody else: whether it answers is not the question.
fn is_third_party_status(url: &str) -> bool {
    url.split("://").nth(1).unwrap_or(url).starts_with("status.")
}

fn insecure(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls() {
        let is_open = match call.program() {
            "curl" => call.has(&["-k", "--insecure", "--proxy-insecure"]),
            "wget" => call.has(&["--no-check-certificate"]),
            "aws" => call.has(&["--no-verify-ssl"]),
            "http" | "https" => call.option(&["--verify"]) == Some("no"),
            _ => false,
        };
        if is_open {
            report.call(call);
        }
    }
}

fn unit_tests(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let plain: Vec<&str> =
            call.plain(&["-m", "-k", "-n", "-c", "-p"]).iter().map(|word| word.text.as_str()).collect();
        let verb = plain.first().copied().unwrap_or_default();
        let is_suite = match call.program() {
            "pytest" | "py.test" | "phpunit" | "rspec" | "jest" | "mocha" | "vitest" => true,
            "python" | "python3" => {
                call.option(&["-m"]).is_some_and(|module| matches!(module, "pytest" | "unittest"))
                    || plain.get(1) == Some(&"test")
            }
            "npm" | "yarn" | "pnpm" => matches!(verb, "test" | "t"),
            "go" | "cargo" | "mvn" | "gradle" | "gradlew" | "rake" | "mix" | "dotnet" | "make" => {
                verb == "test"
            }
            _ => false,
        };
        let chosen = call.words.iter().any(|word| {
            mentions(
                &word.text,
                &[
                    "smoke",
                    "e2e",
                    "acceptance",
                    "readonly",
                    "read_only",
                    "read-only",
                    "live",
                    "synthetic",
                    "health",
                ],
            )
        });
        if is_suite && !chosen && verifies(reading, shell, call) {
            report.call(call);
        }
    }
}
