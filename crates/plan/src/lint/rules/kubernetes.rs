//! Kubernetes: namespaces, logs, replicas, rollouts, secrets.
//!
//! In: `kubectl` and `oc` commands, also those inside scripts. Out: findings on what fails or goes to the wrong place.

use super::{Report, Rule, is_after, mentions};
use crate::lint::{
    finding::Severity,
    reading::{Reading, Shell},
    shell::{Call, RedirectKind},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "kubectl-without-namespace",
        severity: Severity::Fails,
        message: "without a namespace this asks or changes the one that happens to be current, `default` on a new machine",
        instead: "name it in every command: `-n NAMESPACE`",
        check: namespace,
    },
    Rule {
        id: "kubectl-logs-tail-ten",
        severity: Severity::LosesData,
        message: "with a selector only the last 10 lines of each container are shown, of one container, and none of the instance that crashed",
        instead: "`kubectl logs -l … --all-containers --prefix --tail=-1`, and once more with `--previous`",
        check: logs,
    },
    Rule {
        id: "replicas-constant",
        severity: Severity::Fails,
        message: "a fixed number is not what ran before, and works against an autoscaler",
        instead: "note the number before scaling to 0 (`-o jsonpath='{.spec.replicas}'`) and put that back",
        check: replicas,
    },
    Rule {
        id: "wait-after-rollout-restart",
        severity: Severity::FalseConfidence,
        message: "the old pod is still ready when this begins to wait, so it returns at once",
        instead: "`kubectl rollout status` of the same workload",
        check: wait,
    },
    Rule {
        id: "secret-deleted-and-recreated",
        severity: Severity::LosesData,
        message: "all keys of the secret go and only those written here come back; in between a pod that starts finds none",
        instead: "`kubectl patch secret`, or `kubectl create secret … --dry-run=client -o yaml | kubectl apply -f -` with every key",
        check: secret,
    },
    Rule {
        id: "drill-without-undo",
        severity: Severity::LosesData,
        message: "when a step in between fails, nothing takes this fault away again",
        instead: "`trap 'undo' EXIT` before it, in an environment made for drills, with an end time of its own",
        check: drill,
    },
];

const VALUED: [&str; 22] = [
    "-n",
    "--namespace",
    "--context",
    "--kubeconfig",
    "-l",
    "--selector",
    "-o",
    "--output",
    "-c",
    "--container",
    "-f",
    "--filename",
    "--field-selector",
    "--cluster",
    "--replicas",
    "--current-replicas",
    "--timeout",
    "--for",
    "-p",
    "--patch",
    "--type",
    "--grace-period",
];

/// The words of a kubectl command that are no options.
fn words(call: &Call) -> Vec<&str> {
    if !matches!(call.program(), "kubectl" | "oc") {
        return Vec::new();
    }
    call.plain(&VALUED).iter().map(|word| word.text.as_str()).collect()
}

/// What belongs to no namespace.
const CLUSTER: [&str; 24] = [
    "node",
    "nodes",
    "no",
    "namespace",
    "namespaces",
    "ns",
    "pv",
    "persistentvolume",
    "persistentvolumes",
    "storageclass",
    "storageclasses",
    "sc",
    "crd",
    "crds",
    "customresourcedefinition",
    "customresourcedefinitions",
    "clusterrole",
    "clusterroles",
    "clusterrolebinding",
    "clusterrolebindings",
    "componentstatuses",
    "componentstatus",
    "cs",
    "csr",
];
/// Verbs that belong to a namespace.
const VERBS: [&str; 19] = [
    "get",
    "describe",
    "logs",
    "delete",
    "rollout",
    "scale",
    "exec",
    "set",
    "patch",
    "edit",
    "create",
    "wait",
    "port-forward",
    "annotate",
    "label",
    "run",
    "expose",
    "autoscale",
    "attach",
];

fn namespace(reading: &Reading, report: &mut Report) {
    let is_chosen = reading.calls().find(|(_, call)| {
        matches!(call.program(), "kubens" | "kubectx")
            || (call.program() == "oc" && call.has_word("project"))
            || (call.program() == "kubectl"
                && call.has_word("set-context")
                && call.has(&["--namespace", "-n"]))
    });
    for (shell, call) in reading.calls() {
        if is_chosen.is_some_and(|(_, chosen)| is_after(call, chosen)) {
            continue;
        }
        let words = words(call);
        let (Some(verb), object) = (words.first(), words.get(1).copied().unwrap_or_default()) else {
            continue;
        };
        let kind = if *verb == "rollout" || *verb == "set" {
            words.get(2).copied().unwrap_or_default()
        } else {
            object
        };
        let kinds: Vec<&str> = kind.split(',').map(|kind| kind.split('/').next().unwrap_or(kind)).collect();
        let is_cluster = kinds.iter().all(|kind| CLUSTER.contains(kind) || kind.starts_with("cluster"))
            || (*verb == "get" && (object.is_empty() || object.starts_with("--")))
            || call.has(&["--raw"]);
        let top = *verb == "top" && matches!(object, "pod" | "pods" | "po");
        if !(VERBS.contains(verb) || top) || is_cluster {
            continue;
        }
        let named = call.has(&[
            "-n",
            "--namespace",
            "-A",
            "--all-namespaces",
            "--context",
            "-f",
            "--filename",
            "-k",
            "--local",
            "--help",
        ]) || call.option(&["-n"]).is_some();
        let hidden = call.arguments().iter().any(|word| {
            !word.is_quoted
                && word.raw.starts_with('$')
                && mentions(&word.text, &["ns", "namespace", "args", "opts", "flags"])
        });
        let generates = call.has(&["--dry-run"]) && *verb == "create";
        if !named && !hidden && !generates && !is_function_argument(shell, call) {
            report.call(call);
        }
    }
}

/// `kubectl "$@"` in a function says nothing by itself.
fn is_function_argument(_: &Shell, call: &Call) -> bool {
    call.arguments().iter().any(|word| word.text.contains("$@") || word.text.contains("$*"))
}

fn logs(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls() {
        let is_logs = words(call).first() == Some(&"logs");
        if is_logs
            && (call.has(&["-l", "--selector"]) || call.option(&["-l"]).is_some())
            && !call.has(&["--tail"])
        {
            report.call(call);
        }
    }
}

/// The workload that is scaled, and to how many.
fn scaled(call: &Call) -> Option<(String, &str)> {
    let words = words(call);
    if words.first() != Some(&"scale") {
        return None;
    }
    let name = words.get(1..)?.iter().flat_map(|word| word.split('/')).next_back().unwrap_or("--all");
    let name = if call.has(&["--all"]) { "--all" } else { name };
    Some((name.to_owned(), call.option(&["--replicas"])?))
}

fn replicas(reading: &Reading, report: &mut Report) {
    for (shell, call) in reading.calls() {
        let Some((name, count)) = scaled(call) else { continue };
        let is_constant = count.parse::<u32>().is_ok_and(|count| count > 0);
        let was_zero = reading.calls_in(reading.scope(shell.section)).any(|(_, other)| {
            is_after(call, other) && scaled(other).is_some_and(|(one, count)| one == name && count == "0")
        });
        if is_constant && was_zero {
            report.call(call);
        }
    }
}

fn wait(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            let is_wait = words(call).first() == Some(&"wait")
                && call
                    .option(&["--for"])
                    .is_some_and(|value| mentions(value, &["condition=ready", "condition=available"]))
                && (call.has(&["-l", "--selector"])
                    || words(call).iter().any(|word| word.starts_with("pod")));
            if !is_wait {
                continue;
            }
            let restart =
                shell.script.calls.iter().rfind(|other| {
                    is_after(call, other) && words(other).starts_with(&["rollout", "restart"])
                });
            let Some(restart) = restart else { continue };
            let awaited = shell.script.calls.iter().any(|other| {
                let words = words(other);
                is_after(other, restart)
                    && is_after(call, other)
                    && (words.starts_with(&["rollout", "status"]) || call_waits_for_delete(other))
            });
            if !awaited {
                report.call(call);
            }
        }
    }
}

fn call_waits_for_delete(call: &Call) -> bool {
    words(call).first() == Some(&"wait") && call.option(&["--for"]) == Some("delete")
}

fn secret(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            let words = words(call);
            let [verb, kind, rest @ ..] = words.as_slice() else { continue };
            let (kind, name) =
                kind.split_once('/').unwrap_or((kind, rest.first().copied().unwrap_or_default()));
            if *verb != "delete"
                || !matches!(kind, "secret" | "secrets" | "configmap" | "cm")
                || name.is_empty()
            {
                continue;
            }
            let again = shell.script.calls.iter().find(|other| {
                is_after(other, call)
                    && self::words(other).first() == Some(&"create")
                    && other.words.iter().any(|word| word.text == name)
            });
            // With every key from one place, nothing is forgotten.
            let whole = again.is_some_and(|other| other.has(&["--from-env-file", "--from-file", "-f"]));
            if again.is_some() && !whole {
                report.call(call);
            }
        }
    }
}

/// A fault that is made on purpose, and the words by which it is taken away.
fn fault(call: &Call) -> Option<&'static [&'static str]> {
    let has = |names: &[&str]| call.arguments().iter().any(|word| names.contains(&word.text.as_str()));
    let text = |text: &str| {
        call.redirects.iter().any(|one| one.kind == RedirectKind::Text && one.target.text.contains(text))
    };
    match call.program() {
        "kubectl" | "oc"
            if has(&["apply", "create"])
                && (text("kind: NetworkPolicy")
                    || call.says("networkpolicy")
                    || call.says("network-policy")) =>
        {
            Some(&["delete", "networkpolicy", "netpol"])
        }
        "kubectl" | "oc" if has(&["apply"]) && text("chaos-mesh.org") => Some(&["delete"]),
        "iptables" | "ip6tables"
            if has(&["-A", "-I", "--append", "--insert"]) && has(&["DROP", "REJECT"]) =>
        {
            Some(&["-D", "--delete", "-F"])
        }
        "tc" if has(&["add"]) => Some(&["del"]),
        "docker" | "podman" if has(&["pause"]) => Some(&["unpause"]),
        "docker" | "podman" if has(&["disconnect"]) => Some(&["connect"]),
        _ => None,
    }
}

fn drill(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        let titles = reading.titles(shell.section);
        let is_drill = mentions(
            &titles,
            &["drill", "game day", "gameday", "chaos", "dr test", "simulat", "exercise", "test "],
        );
        let has_trap = shell.script.calls.iter().any(|call| call.program() == "trap");
        for call in &shell.script.calls {
            let Some(undo) = fault(call) else { continue };
            let is_undone = shell.script.calls.iter().any(|other| {
                is_after(other, call)
                    && other.program() == call.program()
                    && other.arguments().iter().any(|word| undo.contains(&word.text.as_str()))
            });
            if !has_trap && (is_undone || is_drill) {
                report.call(call);
            }
        }
    }
}
