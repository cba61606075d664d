//! The double of a Kubernetes API server behaves as the server does where Muster relies on it: `kubectl` is the witness.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends where something is not as it should be, and what it writes need not survive a power cut"
)]

use std::time::Duration;

use muster_testkit::{Kube, kube::workload, wait_for};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(2);

fn text(kube: &Kube, args: &[&str]) -> String {
    let outcome = kube.kubectl(args);
    outcome.assert_exit(0);
    outcome.stdout
}

fn refusal(kube: &Kube, args: &[&str]) -> String {
    let outcome = kube.kubectl(args);
    assert_ne!(outcome.code, Some(0), "{outcome:?}");
    outcome.stderr
}

#[test]
fn kubectl_creates_reads_patches_and_deletes_objects() {
    let kube = Kube::new();
    let file = kube.folder().join("keys.json");
    let keys = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"a": "one", "b": "two"}});
    std::fs::write(&file, keys.to_string()).unwrap();
    text(&kube, &["-n", "shop", "create", "-f", file.to_str().unwrap()]);
    let read = |key: &str| {
        text(&kube, &["-n", "shop", "get", "secret", "keys", "-o", &format!("jsonpath={{.data.{key}}}")])
    };
    assert_eq!((read("a"), read("b")), (Kube::base64("one"), Kube::base64("two")));
    let patch = json!({"data": {"a": Kube::base64("three")}}).to_string();
    text(&kube, &["-n", "shop", "patch", "secret", "keys", "--type=merge", "-p", &patch]);
    assert_eq!((read("a"), read("b")), (Kube::base64("three"), Kube::base64("two")));
    // A version that is over is refused.
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "eA=="}}).to_string();
    assert!(
        refusal(&kube, &["-n", "shop", "patch", "secret", "keys", "--type=merge", "-p", &stale])
            .contains("modified")
    );
    assert!(text(&kube, &["-n", "shop", "get", "secrets"]).contains("keys"));
    assert!(refusal(&kube, &["-n", "shop", "get", "secret", "others"]).contains("NotFound"));
    assert!(
        refusal(&kube, &["-n", "nowhere", "create", "-f", file.to_str().unwrap()])
            .contains("namespaces \"nowhere\" not found")
    );
    kube.forbid("secrets");
    assert!(refusal(&kube, &["-n", "shop", "get", "secrets"]).contains("Forbidden"));
    kube.allow("secrets");
    text(&kube, &["-n", "shop", "delete", "secret", "keys"]);
    assert!(kube.get("Secret", "shop", "keys").is_none());
}

#[test]
fn a_server_side_apply_keeps_the_fields_of_others_and_needs_force_to_take_them() {
    let kube = Kube::new();
    let file = kube.folder().join("one.json");
    let apply = |manager: &str, data: Value, more: &[&str]| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "shop"}, "data": data});
        std::fs::write(&file, object.to_string()).unwrap();
        let manager = format!("--field-manager={manager}");
        let mut args = vec!["apply", "--server-side", "-n", "shop", "-f", file.to_str().unwrap(), &manager];
        args.extend(more);
        kube.kubectl(&args)
    };
    let data = || kube.get("ConfigMap", "shop", "one").unwrap()["data"].clone();
    apply("ada", json!({"a": "1", "b": "1"}), &[]).assert_exit(0);
    apply("bob", json!({"c": "1"}), &[]).assert_exit(0);
    assert_eq!(data(), json!({"a": "1", "b": "1", "c": "1"}));
    let refused = apply("bob", json!({"a": "2", "c": "1"}), &[]);
    assert!(refused.stderr.contains("conflict"), "{refused:?}");
    apply("bob", json!({"a": "3", "c": "1"}), &["--dry-run=server", "--force-conflicts"]).assert_exit(0);
    assert_eq!(data()["a"], "1", "a dry run changes nothing");
    apply("bob", json!({"a": "2", "c": "1"}), &["--force-conflicts"]).assert_exit(0);
    apply("ada", json!({"a": "2"}), &["--force-conflicts"]).assert_exit(0);
    assert_eq!(data(), json!({"a": "2", "c": "1"}), "what ada no longer names is gone");
}

#[test]
fn a_deployment_gets_pods_revisions_and_a_rollout_that_ends_or_does_not() {
    let kube = Kube::new();
    kube.deploy("api", 3, "shop/api:1");
    let status = ["-n", "shop", "rollout", "status", "deployment/api", "--timeout=60s"];
    assert!(text(&kube, &status).contains("successfully rolled out"));
    assert_eq!(kube.list("Pod", "shop").len(), 3);
    text(&kube, &["-n", "shop", "set", "image", "deployment/api", "main=shop/api:2"]);
    text(&kube, &status);
    text(&kube, &["-n", "shop", "rollout", "undo", "deployment/api"]);
    text(&kube, &status);
    let image = || {
        kube.get("Deployment", "shop", "api").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone()
    };
    assert_eq!(image(), "shop/api:1");
    let before = kube.list("Pod", "shop")[0]["metadata"]["name"].clone();
    text(&kube, &["-n", "shop", "rollout", "restart", "deployment/api"]);
    text(&kube, &status);
    wait_for("other pods", PATIENCE, || {
        (kube.list("Pod", "shop")[0]["metadata"]["name"] != before).then_some(())
    });
    text(&kube, &["-n", "shop", "scale", "deployment/api", "--replicas=1"]);
    wait_for("one pod", PATIENCE, || (kube.list("Pod", "shop").len() == 1).then_some(()));

    text(&kube, &["-n", "shop", "set", "image", "deployment/api", "main=shop/crash:3"]);
    let late = ["-n", "shop", "rollout", "status", "deployment/api", "--timeout=2s"];
    assert!(refusal(&kube, &late).contains("timed out"));
    assert!(text(&kube, &["-n", "shop", "get", "events", "-o", "json"]).contains("Back-off restarting"));
    // The former pod still works.
    assert_eq!(kube.list("Pod", "shop").len(), 2);
    let crashed = kube
        .list("Pod", "shop")
        .into_iter()
        .find(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 3);
    let name = crashed.unwrap()["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(text(&kube, &["-n", "shop", "logs", &name, "-c", "main", "--previous"]).contains("giving up"));
}

#[test]
fn an_autoscaler_holds_its_bounds_and_rests_at_zero() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    kube.put(&json!({
        "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api", "annotations": {"double/wants": "4"}},
        "spec": {"minReplicas": 2, "maxReplicas": 6, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}},
    }));
    let replicas = || kube.get("Deployment", "shop", "api").unwrap()["spec"]["replicas"].clone();
    wait_for("four", PATIENCE, || (replicas() == 4).then_some(()));
    text(&kube, &["-n", "shop", "scale", "deployment/api", "--replicas=0"]);
    wait_for("no pods", PATIENCE, || kube.list("Pod", "shop").is_empty().then_some(()));
    assert_eq!(replicas(), 0);
}

#[test]
fn a_stateful_set_is_restarted_one_pod_at_a_time_and_keeps_their_names() {
    let kube = Kube::new();
    kube.put(&workload("StatefulSet", "db", 2, "postgres:17"));
    let status = ["-n", "shop", "rollout", "status", "statefulset/db", "--timeout=60s"];
    text(&kube, &status);
    let uids = || -> Vec<Value> {
        kube.list("Pod", "shop").iter().map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    let before = uids();
    text(&kube, &["-n", "shop", "rollout", "restart", "statefulset/db"]);
    text(&kube, &status);
    let names: Vec<Value> =
        kube.list("Pod", "shop").iter().map(|pod| pod["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["db-0", "db-1"]);
    assert!(uids().iter().all(|uid| !before.contains(uid)));
}

#[test]
fn a_node_is_drained_unless_a_budget_forbids_it() {
    let kube = Kube::new();
    kube.put(&json!({"kind": "Node", "metadata": {"name": "node-1"}, "spec": {}}));
    kube.deploy("api", 2, "shop/api:1");
    text(&kube, &["-n", "shop", "rollout", "status", "deployment/api", "--timeout=60s"]);
    text(&kube, &["drain", "node-0", "--timeout=60s", "--ignore-daemonsets"]);
    let nodes = || -> Vec<Value> {
        kube.list("Pod", "shop").iter().map(|pod| pod["spec"]["nodeName"].clone()).collect()
    };
    wait_for("two pods elsewhere", PATIENCE, || (nodes() == ["node-1", "node-1"]).then_some(()));
    text(&kube, &["uncordon", "node-0"]);
    kube.put(&json!({"kind": "PodDisruptionBudget", "metadata": {"name": "api"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "api"}}}}));
    assert!(refusal(&kube, &["drain", "node-1", "--timeout=1s"]).contains("disruption budget"));
}

#[test]
fn a_pod_whose_node_is_silent_ends_only_by_force_and_a_claim_only_with_its_last_user() {
    let kube = Kube::new();
    kube.add_node("node-1", "aws:///eu-1a/i-0b1");
    kube.put(&json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-0"}, "spec": {}}));
    let mut set = workload("StatefulSet", "db", 1, "postgres:17");
    set["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]);
    kube.put(&set);
    text(&kube, &["-n", "shop", "rollout", "status", "statefulset/db", "--timeout=60s"]);
    text(&kube, &["-n", "shop", "delete", "pvc", "data-db-0", "--wait=false"]);
    assert!(kube.get("PersistentVolumeClaim", "shop", "data-db-0").is_some(), "a pod uses it");

    let first = kube.get("Pod", "shop", "db-0").unwrap();
    kube.silence_node("node-0");
    wait_for("the pod to be taken for lost", PATIENCE, || {
        let pod = kube.get("Pod", "shop", "db-0")?;
        (pod["status"]["conditions"][0]["status"] == "False").then_some(())
    });
    text(&kube, &["-n", "shop", "delete", "pod", "db-0", "--wait=false"]);
    let ending = kube.get("Pod", "shop", "db-0").unwrap();
    assert!(ending["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(ending["metadata"]["uid"], first["metadata"]["uid"], "no second one beside it");
    text(&kube, &["-n", "shop", "delete", "pod", "db-0", "--force", "--grace-period=0", "--wait=false"]);
    wait_for("a new one elsewhere", PATIENCE, || {
        (kube.get("Pod", "shop", "db-0")?["spec"]["nodeName"] == "node-1").then_some(())
    });
    let body = kube.folder().join("options.json");
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": first["metadata"]["uid"]}});
    std::fs::write(&body, options.to_string()).unwrap();
    let raw = "--raw=/api/v1/namespaces/shop/pods/db-0";
    assert!(refusal(&kube, &["delete", raw, "-f", body.to_str().unwrap()]).contains("does not match"));
    text(&kube, &["-n", "shop", "scale", "statefulset/db", "--replicas=0"]);
    wait_for("the claim to go with its user", PATIENCE, || {
        kube.get("PersistentVolumeClaim", "shop", "data-db-0").is_none().then_some(())
    });
}

#[test]
fn a_budget_says_how_many_may_go_and_a_removed_node_takes_its_pods_along() {
    let kube = Kube::new();
    kube.add_node("node-1", "aws:///eu-1a/i-0b1");
    kube.deploy("api", 4, "shop/api:1");
    text(&kube, &["-n", "shop", "rollout", "status", "deployment/api", "--timeout=60s"]);
    kube.put(&json!({"kind": "PodDisruptionBudget", "metadata": {"name": "api"}, "spec": {"maxUnavailable": "50%", "selector": {"matchLabels": {"app": "api"}}}}));
    wait_for("the budget to be counted", PATIENCE, || {
        (kube.get("PodDisruptionBudget", "shop", "api")?["status"]["disruptionsAllowed"] == 2).then_some(())
    });
    text(&kube, &["delete", "node", "node-0"]);
    wait_for("four pods on the other node", PATIENCE, || {
        let pods = kube.list("Pod", "shop");
        (pods.len() == 4 && pods.iter().all(|pod| pod["spec"]["nodeName"] == "node-1")).then_some(())
    });
}
