//! Secrets on command lines and on screens.
//!
//! In: commands. Out: findings where a secret can be read by others, in the list of processes, a log or a recording.

use super::{Report, Rule, mentions};
use crate::lint::{finding::Severity, reading::Reading, shell::Call};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "password-in-argv",
        severity: Severity::Weak,
        message: "the secret stands in the list of processes and in the shell's history",
        instead: "hand it over by file or environment: `REDISCLI_AUTH`, `PGPASSFILE`, `--from-file`, standard input",
        check: argv,
    },
    Rule {
        id: "prints-secrets",
        severity: Severity::Weak,
        message: "this prints secrets onto the screen, into recordings and chat",
        instead: "print the names only: `env | cut -d= -f1`, or compare a hash",
        check: prints,
    },
];

fn argv(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls() {
        let given = |names: &[&str]| {
            call.option(names).is_some_and(|value| !value.is_empty() && !value.starts_with('-'))
        };
        let is_given = match call.program() {
            "redis-cli" | "valkey-cli" => given(&["-a", "--pass"]),
            "mysql" | "mysqldump" | "mysqladmin" | "mariadb" | "mariadb-dump" => {
                call.arguments().iter().any(|word| {
                    word.text
                        .strip_prefix("--password=")
                        .or_else(|| word.text.strip_prefix("-p"))
                        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with("ort"))
                })
            }
            "mongosh" | "mongo" | "mongodump" | "mongorestore" => given(&["-p", "--password"]),
            "sshpass" => given(&["-p"]),
            "docker" | "podman" => call.has_word("login") && given(&["-p", "--password"]),
            "curl" => {
                let header = |value: &&str| {
                    let value = value.to_ascii_lowercase();
                    ["authorization:", "x-api-key:", "x-vault-token:"]
                        .iter()
                        .any(|name| value.starts_with(name))
                };
                call.option(&["-u", "--user"])
                    .is_some_and(|value| value.contains(':') && !value.ends_with(':'))
                    || call.options(&["-H", "--header"]).iter().any(header)
            }
            "vault" | "bao" => {
                let plain = call.plain(&["-address", "-namespace", "-method", "-path"]);
                let words: Vec<&str> = plain.iter().map(|word| word.text.as_str()).collect();
                matches!(words.as_slice(), ["login", token] if !token.contains('=') && *token != "-")
                    || matches!(words.as_slice(), ["operator", "unseal", key] if *key != "-")
            }
            "openssl" => call.words.iter().any(|word| word.text.starts_with("pass:")),
            "kubectl" | "oc" => {
                call.options(&["--from-literal"]).iter().any(|value| value.contains('='))
                    && call.has_word("secret")
            }
            _ => false,
        };
        if is_given || call.arguments().iter().any(|word| has_password(&word.text)) {
            report.call(call);
        }
    }
}

/// Whether an address holds a password: `scheme://user:secret@host`.
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', ' ']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| {
        // Redis knows passwords without a name: `redis://:secret@host`.
        user.split_once(':').is_some_and(|(_, password)| !password.is_empty())
    })
}

const SECRETS: [&str; 8] = ["key", "secret", "token", "password", "passwd", "pwd", "credential", "_url"];

fn prints(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let shown = match call.program() {
            "env" | "printenv" => {
                let all = call.arguments().is_empty();
                let named = call.arguments().iter().any(|word| mentions(&word.text, &SECRETS));
                let hidden = shell.script.readers(call).any(|one| {
                    matches!(one.program(), "cut" | "sed" | "awk" | "wc" | "sha256sum")
                        || one.has(&["-c", "-q", "--count", "--quiet"])
                });
                (all || named) && !hidden && !goes_to_file(call)
            }
            "cat" | "less" | "more" => {
                !call.is_piped()
                    && !goes_to_file(call)
                    && call.arguments().iter().any(|word| {
                        let name = word.text.rsplit('/').next().unwrap_or_default();
                        name == ".env"
                            || name.starts_with(".env.")
                                && !name.ends_with("example")
                                && !name.ends_with("sample")
                            || name == ".pgpass"
                    })
            }
            "echo" => {
                call.arguments().iter().any(|word| {
                    word.is_dynamic
                        && mentions(
                            &word.text,
                            &["$password", "${password", "_password", "_secret", "_token", "api_key"],
                        )
                }) && !call.is_piped()
                    && !goes_to_file(call)
            }
            "kubectl" | "oc" => {
                call.has_word("get")
                    && call.arguments().iter().any(|word| {
                        matches!(word.text.as_str(), "secret" | "secrets") || word.text.starts_with("secret/")
                    })
                    && call
                        .option(&["-o", "--output"])
                        .is_some_and(|value| mentions(value, &["yaml", "json"]))
                    && !goes_to_file(call)
                    && !call.is_piped()
                    && !call.context.is_substituted
            }
            _ => false,
        };
        if shown {
            report.call(call);
        }
    }
}

fn goes_to_file(call: &Call) -> bool {
    call.redirects
        .iter()
        .any(|one| one.descriptor.unwrap_or(1) == 1 && one.kind != crate::lint::shell::RedirectKind::Read)
}
