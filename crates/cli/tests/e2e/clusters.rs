//! Steps of a runbook on a cluster: a node that is drained, replaced and deleted, with the names that a person must give;
//! and a deletion that a `kill -9` has cut off. The real `kubectl`, the double of the API server.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use muster_testkit::{Cli, Kube, Sandbox, kube::workload, wait_for};

const PATIENCE: Duration = Duration::from_mins(2);

/// A folder with a platform whose service `api` lies on the double; `kubectl` is the program that leads there.
fn place(kube: &Kube, kubectl: &str) -> (Sandbox, Cli) {
    let sandbox = Sandbox::new();
    let kubeconfig = kube.kubeconfig().display().to_string();
    sandbox.write_config(&format!(
        "{}services:\n  api: {{kubernetes: {{workload: deployment/api, namespace: shop, context: double, kubeconfig: {kubeconfig}, kubectl: {kubectl}}}}}\n",
        sandbox.config()
    ));
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
    (sandbox, cli)
}

fn await_ready(kube: &Kube, name: &str) {
    kube.kubectl(&["-n", "shop", "rollout", "status", name, "--timeout=120s"]).assert_exit(0);
}

const NODE: &str = r#"---
title: A node is sick
---
# A node is sick

## Look

```muster
id: which
ask: which instance is it, as the provider's page says?
```
```muster
look: {in: api, at: [nodes, pods]}
```

## Replace

```muster
id: empty
drain: {node: node-1, in: api, within: 60s}
undo: {uncordon: {node: node-1, in: api}}
```
```muster
id: swap
replace: {node: node-1, in: api, instance: "{{ answers.which }}", command: "echo $MUSTER_NODE $MUSTER_INSTANCE_ID >> replaced"}
on_ambiguous: ask
```
```muster
id: gone
delete: {node: node-1, in: api}
```
"#;

// proves: D19
#[test]
fn a_sick_node_is_drained_replaced_by_its_own_instance_and_deleted_only_by_its_name() {
    let kube = Kube::new();
    kube.add_node("node-1", "aws:///eu-1a/i-0b1");
    kube.deploy("api", 2, "shop/api:1");
    await_ready(&kube, "deployment/api");
    kube.kubectl(&["cordon", "node-0"]).assert_exit(0);
    kube.kubectl(&["-n", "shop", "scale", "deployment/api", "--replicas=3"]).assert_exit(0);
    await_ready(&kube, "deployment/api");
    kube.kubectl(&["uncordon", "node-0"]).assert_exit(0);
    let (sandbox, cli) = place(&kube, &Kube::program().display().to_string());
    let write = |name: &str, text: &str| fs::write(sandbox.path().join(name), text).unwrap();
    let replaced = || fs::read_to_string(sandbox.path().join("replaced")).unwrap_or_default();
    write("node.md", NODE);

    let before = kube.writes();
    let dry = cli.run(&["run", "node.md", "--dry-run"]);
    dry.assert_exit(0);
    for part in [
        "--namespace=shop get nodes",
        "--namespace=shop drain node-1 --ignore-daemonsets --timeout=60s",
        "undo: ",
        "--namespace=shop uncordon node-1",
        "delete --raw=/api/v1/nodes/node-1 --filename=-",
        "look at node/node-1 (gone-look)",
        "(swap, needs an approval by name)",
        "(gone, needs an approval by name)",
    ] {
        assert!(dry.stdout.contains(part), "{part}: {}", dry.stdout);
    }
    assert_eq!(kube.writes(), before, "a dry run changes nothing");

    // An id that is another node's: refused, and the drain is undone.
    write("answers.yaml", "which: i-0b2\nswap: approve i-0b2\ngone: approve node-1\n");
    let wrong = cli.run(&["run", "node.md", "--yes", "--answers", "answers.yaml"]);
    wrong.assert_exit(1);
    assert!(
        wrong.stderr.contains("node node-1 is instance i-0b1, and not i-0b2: nothing was replaced"),
        "{}",
        wrong.stderr
    );
    assert!(wrong.stderr.contains("node node-1 takes pods again"), "{}", wrong.stderr);
    assert_eq!(replaced(), "");

    // Agreeing to the run is not enough: the names must be given.
    write("answers.yaml", "which: i-0b1\nswap: do\n");
    let waits = cli.run(&["run", "node.md", "--yes", "--answers", "answers.yaml"]);
    waits.assert_exit(3);
    assert!(waits.stderr.contains("node node-1, ready, and drained"), "{}", waits.stderr);
    assert!(waits.stderr.contains("instance i-0b1 (aws:///eu-1a/i-0b1)"), "{}", waits.stderr);
    assert!(waits.stderr.contains("`do` does not approve what this step would do"), "{}", waits.stderr);
    let runs = cli.run(&["runs", "--json"]).assert_exit(0).json();
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    write("answers.yaml", "swap: approve i-0b1\n");
    let waits = cli.run(&["resume", &run, "--yes", "--answers", "answers.yaml"]);
    waits.assert_exit(3);
    assert_eq!(replaced(), "node-1 i-0b1\n");
    assert!(waits.stderr.contains("say `gone: approve node-1`"), "{}", waits.stderr);
    assert!(kube.get("Node", "", "node-1").is_some());
    write("answers.yaml", "gone: approve node-1\n");
    cli.run(&["resume", &run, "--yes", "--answers", "answers.yaml"]).assert_exit(0);
    assert!(kube.get("Node", "", "node-1").is_none());
    let shown = cli.run(&["show", &run]);
    assert!(shown.assert_exit(0).stdout.contains("node/node-1 is gone"), "{}", shown.stdout);
    assert_eq!(replaced(), "node-1 i-0b1\n", "once");
    await_ready(&kube, "deployment/api");
}

// proves: D18
#[test]
fn a_deletion_that_a_kill_has_cut_off_is_found_to_have_happened_and_its_successor_is_left_alone() {
    let kube = Kube::new();
    kube.deploy("api", 1, "shop/api:1");
    kube.put(&workload("StatefulSet", "db", 1, "postgres:17"));
    await_ready(&kube, "statefulset/db");
    let wrapper = kube.folder().join("kubectl");
    let text = format!(
        "#!/bin/sh\n{} \"$@\"\ncode=$?\ncase \"$*\" in *--raw=*pods/db-0*) kill -9 $PPID ;; esac\nexit $code\n",
        Kube::program().display()
    );
    fs::write(&wrapper, text).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let (sandbox, cli) = place(&kube, &wrapper.display().to_string());
    let write = |name: &str, text: &str| fs::write(sandbox.path().join(name), text).unwrap();
    write(
        "pod.md",
        "---\ntitle: x\n---\n# x\n\n## y\n\n```muster\nid: again\ndelete: {pod: db-0, in: api}\n```\n",
    );
    let uid = || kube.get("Pod", "shop", "db-0").map(|pod| pod["metadata"]["uid"].clone());
    let before = uid();
    let killed = cli.run(&["run", "pod.md", "--yes"]);
    assert_eq!(killed.signal, Some(9), "{killed:?}");
    let successor = wait_for("a successor", PATIENCE, || uid().filter(|now| Some(now) != before.as_ref()));
    let runs = cli.run(&["runs", "--json"]).assert_exit(0).json();
    let run = runs["runs"][0]["id"].as_str().unwrap().to_owned();
    let resumed = cli.run(&["resume", &run, "--yes"]);
    resumed.assert_exit(0);
    assert!(resumed.stderr.contains("its probe says that it has happened"), "{}", resumed.stderr);
    assert_eq!(uid(), Some(successor));
    let deletions = kube.writes().iter().filter(|one| one.starts_with("DELETE ")).count();
    assert_eq!(deletions, 1, "{:?}", kube.writes());

    // What names no cluster, or no one thing, does not begin.
    for (step, said) in [
        ("drain: {node: node-0}", "a `drain` step needs `in`"),
        ("drain: {node: node-0, in: shop}", "`shop` is no service on Kubernetes"),
        ("delete: {in: api, pod: db-0, node: node-0}", "deletes exactly one thing"),
        ("delete: {in: api, claim: data}", "does not say which component's"),
        ("delete: {in: api, node: node-0, force: true}", "`force` is for a pod"),
        ("look: {in: api, at: [nods]}", "`look` cannot look at `nods`"),
        ("replace: {in: api, node: node-0, command: \"true\"}", "does not say `on_ambiguous`"),
        ("apply: {in: api}", "applies exactly one thing"),
        ("infrastructure: {tool: pulumi, plan: x, apply: y}", "no tool `pulumi`"),
        ("infrastructure: {tool: command, plan: x}", "`infrastructure` step needs `apply`"),
    ] {
        write("wrong.md", &format!("---\ntitle: x\n---\n# x\n\n## y\n\n```muster\n{step}\n```\n"));
        let refused = cli.run(&["run", "wrong.md", "--yes"]);
        refused.assert_exit(2);
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
}
