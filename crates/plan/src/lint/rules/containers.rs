//! Docker and Compose: restarts, removals, images.
//!
//! In: commands. Out: findings on what fails at the moment when it is needed, or does not do what it is there for.

use super::{Report, Rule, is_after, mentions};
use crate::lint::{
    finding::Severity,
    reading::{Reading, Shell},
    shell::{Call, RedirectKind},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "compose-restart-ignores-env",
        severity: Severity::Fails,
        message: "`restart` starts the same container again: a change of the environment or of the Compose file is not applied",
        instead: "`docker compose up -d SERVICE` makes a new container",
        check: restart,
    },
    Rule {
        id: "rollback-by-rebuild",
        severity: Severity::Fails,
        message: "building the old source gives another image than the one that ran: base images have moved, it takes time, and it may fail",
        instead: "deploy the digest of the image that ran before",
        check: rebuild,
    },
    Rule {
        id: "docker-rm-empty-substitution",
        severity: Severity::Fails,
        message: "when nothing matches, the list is empty and the command ends with `requires at least 1 argument`",
        instead: "`… -q | xargs -r docker rm`, with a filter by age or health",
        check: empty_list,
    },
    Rule {
        id: "image-removed-before-pull",
        severity: Severity::Fails,
        message: "the image is removed before the new one is here: a container that uses it forbids it, or no image is left",
        instead: "pull the digest first, and remove old images afterwards",
        check: image_removed,
    },
    Rule {
        id: "docker-compose-v1",
        severity: Severity::Fails,
        message: "`docker-compose` is the program of Compose V1, which ended in 2023 and is not installed with Docker",
        instead: "`docker compose`",
        check: v1,
    },
    Rule {
        id: "compose-file-not-named",
        severity: Severity::Fails,
        message: "elsewhere this document names the Compose file; without it this finds none in the current folder, or another project",
        instead: "`docker compose -f FILE …` in every command, or `cd` to its folder first",
        check: file_not_named,
    },
    Rule {
        id: "sleep-instead-of-readiness",
        severity: Severity::Weak,
        message: "a fixed wait is too short on the bad day and too long on all others",
        instead: "`docker compose up -d --wait SERVICE`, `kubectl rollout status`, or a loop with a deadline",
        check: sleep,
    },
];

/// Options of Compose that take a value and stand before its verb.
const VALUED: [&str; 9] = [
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--profile",
    "--env-file",
    "--project-directory",
    "--ansi",
    "--progress",
];

/// The verb of a Compose command with what stands behind it.
pub(super) fn compose(call: &Call) -> Option<(String, Vec<String>)> {
    let plain: Vec<String> = call.plain(&VALUED).iter().map(|word| word.text.clone()).collect();
    let skip = match call.program() {
        "docker" | "podman" if plain.first().is_some_and(|word| word == "compose") => 1,
        "docker-compose" | "podman-compose" => 0,
        _ => return None,
    };
    let verb = plain.get(skip)?.clone();
    Some((verb, plain.get(skip + 1..).unwrap_or_default().to_vec()))
}

/// The verb of a Docker command, `rm` of `docker rm` and of `docker container rm`.
pub(super) fn docker(call: &Call) -> Option<(String, Vec<String>)> {
    if !matches!(call.program(), "docker" | "podman" | "nerdctl") {
        return None;
    }
    let plain: Vec<String> = call
        .plain(&["-H", "--host", "-c", "--context", "--config"])
        .iter()
        .map(|word| word.text.clone())
        .collect();
    let first = plain.first()?;
    let is_group = matches!(first.as_str(), "container" | "image" | "volume" | "network" | "system");
    let verb = if is_group { format!("{first} {}", plain.get(1)?) } else { first.clone() };
    Some((verb, plain.get(if is_group { 2 } else { 1 }..).unwrap_or_default().to_vec()))
}

fn is_settings(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or(text);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    name.starts_with(".env")
        || ending == "env"
        || (name.contains("compose") && matches!(ending, "yml" | "yaml"))
}

fn restart(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            if compose(call).is_none_or(|(verb, _)| verb != "restart") {
                continue;
            }
            let applied = |line: usize| {
                shell.script.calls.iter().any(|other| {
                    other.line() > line
                        && is_after(call, other)
                        && compose(other)
                            .is_some_and(|(verb, _)| matches!(verb.as_str(), "up" | "down" | "create"))
                })
            };
            let edits = shell
                .script
                .calls
                .iter()
                .any(|other| is_after(call, other) && edits(other) && !applied(other.line()));
            let told = shell.comments.iter().any(|(line, text)| {
                *line < call.line()
                    && mentions(text, &["edit ", "update ", "change ", "add to ", "set "])
                    && mentions(text, &[".env", "compose.y", "environment variable"])
                    && !applied(*line)
            });
            if edits || told {
                report.call(call);
            }
        }
    }
}

fn edits(call: &Call) -> bool {
    let touches = call.arguments().iter().any(|word| is_settings(&word.text));
    let edits = matches!(call.program(), "nano" | "vi" | "vim" | "nvim" | "emacs" | "tee" | "patch")
        || (call.program() == "sed" && call.has(&["-i", "--in-place"]))
        || (matches!(call.program(), "cp" | "mv")
            && call.arguments().last().is_some_and(|word| is_settings(&word.text)));
    let writes = call.redirects.iter().any(|one| {
        matches!(one.kind, RedirectKind::Append | RedirectKind::Truncate) && is_settings(&one.target.text)
    });
    (edits && touches) || writes
}

fn rebuild(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        let back = shell.script.calls.iter().find(|call| {
            call.program() == "git"
                && call.plain(&["-C"]).first().is_some_and(|verb| {
                    matches!(verb.text.as_str(), "checkout" | "reset" | "revert" | "switch")
                })
                && !goes_to_a_branch(call)
        });
        let Some(back) = back else { continue };
        let build = shell.script.calls.iter().find(|call| {
            let builds = compose(call)
                .is_some_and(|(verb, _)| verb == "build" || (verb == "up" && call.has(&["--build"])))
                || docker(call).is_some_and(|(verb, names)| {
                    matches!(verb.as_str(), "build" | "image build")
                        || (verb == "buildx" && names.first().is_some_and(|name| name == "build"))
                });
            builds && is_after(call, back)
        });
        if let Some(build) = build {
            report.call(build);
        }
    }
}

/// Whether `git` only changes to the line of development: what is built then is new, and no way back.
fn goes_to_a_branch(call: &Call) -> bool {
    const BRANCHES: [&str; 6] = ["main", "master", "develop", "trunk", "production", "release"];
    let plain = call.plain(&["-C"]);
    let target = plain.get(1).map(|word| word.text.as_str());
    plain.first().is_some_and(|verb| matches!(verb.text.as_str(), "checkout" | "switch"))
        && (target.is_some_and(|name| BRANCHES.contains(&name.trim_start_matches("origin/")))
            || call.has(&["-b", "-c"]))
}

fn empty_list(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let acts = docker(call).is_some_and(|(verb, _)| {
            [
                "rm",
                "stop",
                "kill",
                "rmi",
                "restart",
                "start",
                "pause",
                "container rm",
                "container stop",
                "image rm",
                "volume rm",
                "network rm",
            ]
            .contains(&verb.as_str())
        }) || call.program() == "kill";
        if !acts || call.context.is_excused {
            continue;
        }
        let words = call.plain(&["-s", "-n", "-t", "--time", "--signal"]);
        let words: Vec<_> = if call.program() == "kill" {
            words
        } else {
            words.into_iter().filter(|word| word.is_dynamic).collect()
        };
        let lists = |word: &&crate::lint::shell::Word| {
            !word.substitutions.is_empty()
                && shell.script.inside(word).any(|inner| match inner.program() {
                    "docker" | "podman" => inner.has(&["-q", "--quiet"]),
                    "pgrep" | "lsof" | "pidof" => true,
                    _ => false,
                })
        };
        let names = docker(call).map(|(_, names)| names.len()).unwrap_or_default();
        let is_only = words.len() == 1 && (call.program() == "kill" || names == 1);
        let guarded = call.joint != crate::lint::shell::Joint::First;
        if is_only && words.iter().any(lists) && !guarded {
            report.call(call);
        }
    }
}

fn image_removed(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            let Some((verb, names)) = docker(call) else { continue };
            if !matches!(verb.as_str(), "rmi" | "image rm") {
                continue;
            }
            let fetched = shell.script.calls.iter().any(|other| {
                let pulls = docker(other).is_some_and(|(verb, more)| {
                    matches!(verb.as_str(), "pull" | "image pull" | "build")
                        && (names.iter().any(|name| more.contains(name))
                            || other.words.iter().any(|word| names.contains(&word.text)))
                }) || compose(other).is_some_and(|(verb, _)| verb == "pull");
                pulls && is_after(other, call)
            });
            if fetched {
                report.call(call);
            }
        }
    }
}

fn v1(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls().filter(|(_, call)| call.program() == "docker-compose") {
        let asks =
            call.arguments().iter().all(|word| matches!(word.text.as_str(), "version" | "--version" | "-v"));
        if !asks {
            report.call(call);
        }
    }
}

fn names_file(call: &Call) -> bool {
    let words = call.arguments().iter();
    let verb = compose(call).map(|(verb, _)| verb).unwrap_or_default();
    let before = words.take_while(|word| word.text != verb);
    before.into_iter().any(|word| {
        let text = word.text.as_str();
        ["-f", "--file", "-p", "--project-name", "--project-directory"]
            .iter()
            .any(|name| text == *name || (name.len() > 2 && text.starts_with(&format!("{name}="))))
    })
}

fn file_not_named(reading: &Reading, report: &mut Report) {
    let all: Vec<(&Shell, &Call)> = reading.calls().filter(|(_, call)| compose(call).is_some()).collect();
    if !all.iter().any(|(_, call)| names_file(call)) {
        return;
    }
    let is_set = reading.shells.iter().any(|shell| {
        shell
            .script
            .assignments
            .iter()
            .any(|one| one.name == "COMPOSE_FILE" || one.name == "COMPOSE_PROJECT_NAME")
    });
    if is_set {
        return;
    }
    for (shell, call) in all {
        let moved = reading
            .calls_in(reading.scope(shell.section))
            .any(|(_, other)| matches!(other.program(), "cd" | "pushd") && is_after(call, other));
        let version =
            compose(call).is_some_and(|(verb, _)| matches!(verb.as_str(), "version" | "ls" | "help"));
        if !names_file(call)
            && !moved
            && !version
            && call.variables.iter().all(|(name, _)| name != "COMPOSE_FILE")
        {
            report.call(call);
        }
    }
}

fn sleep(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        let calls: Vec<&Call> =
            shell.script.calls.iter().filter(|call| !call.context.is_substituted).collect();
        for pair in calls.windows(3) {
            let [before, sleep, after] = pair else { continue };
            let starts = compose(before)
                .is_some_and(|(verb, _)| matches!(verb.as_str(), "up" | "restart" | "start"))
                || docker(before)
                    .is_some_and(|(verb, _)| matches!(verb.as_str(), "start" | "restart" | "run"))
                || (before.program() == "systemctl"
                    && (before.has_word("start") || before.has_word("restart")));
            if starts
                && sleep.program() == "sleep"
                && !sleep.context.is_in_loop
                && after.line() > sleep.line()
            {
                report.call(sleep);
            }
        }
    }
}
