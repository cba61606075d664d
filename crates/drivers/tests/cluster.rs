//! Steps on the objects of a cluster, with the real `kubectl` against a double of the API server: each has its effect, and
//! each guard refuses before anything is changed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use muster_drivers::cluster::{self, Told};
use muster_testkit::{Kube, kube::workload, wait_for};
use muster_types::{
    Explain, Kind, Span, Timestamp,
    config::Platform,
    event::Unwatched,
    script::{ClusterDeed, ClusterPlace, Doomed, Sight},
};
use serde_json::json;

const PATIENCE: Duration = Duration::from_mins(2);

fn place(kube: &Kube) -> ClusterPlace {
    ClusterPlace {
        name: "api".into(),
        namespace: "shop".into(),
        context: Some("double".into()),
        kubeconfig: Some(kube.kubeconfig()),
        kubectl: Some(Kube::program()),
    }
}

fn platform(kube: &Kube) -> Platform {
    let own = json!({"workload": "deployment/api", "namespace": "shop", "context": "double",
        "kubeconfig": kube.kubeconfig(), "kubectl": Kube::program()});
    serde_json::from_value(json!({"platform": "shop", "services": {"api": {"kubernetes": own}}})).unwrap()
}

fn proven(component: &str) -> Option<Timestamp> {
    (component == "database").then_some(Timestamp::UNIX_EPOCH)
}

fn act(kube: &Kube, deed: &ClusterDeed) -> Result<Told, (Kind, String)> {
    cluster::act(&place(kube), deed, &platform(kube), &proven, &Unwatched)
        .map_err(|error| (error.kind(), error.to_string()))
}

/// Refused with these words, and nothing was written.
fn refused(kube: &Kube, deed: &ClusterDeed, words: &str) {
    let before = kube.writes();
    let (kind, said) = act(kube, deed).unwrap_err();
    assert_eq!(kind, Kind::Conflict, "{said}");
    assert!(said.contains(words), "{words}: {said}");
    assert_eq!(kube.writes(), before, "a refusal changes nothing");
}

fn drain(node: &str, seconds: u64) -> ClusterDeed {
    ClusterDeed::Drain {
        node: node.into(),
        within: Span::from_secs(seconds),
        may_stop: Vec::new(),
        delete_emptydir: false,
    }
}

fn nodes_of_pods(kube: &Kube) -> Vec<String> {
    let of = |pod: &serde_json::Value| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    kube.list("Pod", "shop").iter().map(of).collect()
}

fn await_ready(kube: &Kube, name: &str) {
    kube.kubectl(&["-n", "shop", "rollout", "status", name, "--timeout=120s"]).assert_exit(0);
}

/// Looks, and deletes what was found, as the two steps of a run do.
fn delete(kube: &Kube, what: &Doomed) -> Result<Told, (Kind, String)> {
    let looked = act(kube, &ClusterDeed::Judge { what: what.clone() })?;
    let uid = looked.output.lines().next().unwrap().to_owned();
    act(kube, &ClusterDeed::Delete { what: what.clone(), uid })
}

// proves: D18
#[test]
fn a_node_is_drained_only_when_its_pods_have_a_place_to_go_and_every_service_stays_up() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    await_ready(&kube, "deployment/api");
    refused(&kube, &drain("node-0", 60), "no other node takes the pods of node-0");
    kube.add_node("node-1", "aws:///eu-1a/i-0b1");
    refused(&kube, &drain("node-0", 60), "all 2 ready replicas are of service `api` on node node-0");
    let (kind, said) = act(&kube, &drain("node-7", 60)).unwrap_err();
    assert!(kind == Kind::NotFound && said.contains("no node `node-7`"), "{said}");

    // One replica elsewhere: now it may go.
    kube.kubectl(&["cordon", "node-0"]).assert_exit(0);
    kube.kubectl(&["-n", "shop", "scale", "deployment/api", "--replicas=3"]).assert_exit(0);
    await_ready(&kube, "deployment/api");
    let others = ClusterDeed::Uncordon { node: "node-0".into(), only_own: true };
    assert!(act(&kube, &others).unwrap().summary.contains("somebody else has cordoned it"));
    let anyhow = ClusterDeed::Uncordon { node: "node-0".into(), only_own: false };
    assert_eq!(act(&kube, &anyhow).unwrap().summary, "node node-0 takes pods again");

    let mut bare = json!({"kind": "Pod", "metadata": {"name": "by-hand"}, "spec": {"nodeName": "node-0", "containers": [{"name": "main", "image": "x"}]}});
    kube.put(&bare);
    refused(&kube, &drain("node-0", 60), "nothing makes these pods anew when they go: shop/by-hand");
    bare["metadata"]["ownerReferences"] =
        json!([{"kind": "Job", "name": "nightly", "uid": "x", "controller": true}]);
    bare["spec"]["volumes"] = json!([{"name": "cache", "emptyDir": {}}]);
    kube.put(&bare);
    refused(&kube, &drain("node-0", 60), "emptyDir volumes would be lost: shop/by-hand");
    kube.remove("Pod", "shop", "by-hand");

    // A budget that allows nothing: the deadline comes, and the pods that stay are named.
    kube.put(&json!({"kind": "PodDisruptionBudget", "metadata": {"name": "api"}, "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "api"}}}}));
    let (kind, said) = act(&kube, &drain("node-0", 1)).unwrap_err();
    assert_eq!(kind, Kind::Unavailable);
    for part in ["2 pods stay on it after 1s", "shop/api-", "(disruption budget `api` allows no eviction)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    kube.remove("PodDisruptionBudget", "shop", "api");
    let told = act(&kube, &drain("node-0", 60)).unwrap();
    assert_eq!(told.summary, "node node-0 takes no pods; 2 pods evicted");
    let node = kube.get("Node", "", "node-0").unwrap();
    assert_eq!(node["metadata"]["annotations"]["muster.recovery/cordoned"], "yes");
    wait_for("three pods elsewhere", PATIENCE, || {
        let nodes = nodes_of_pods(&kube);
        (nodes.len() == 3 && nodes.iter().all(|node| node == "node-1")).then_some(())
    });
    // As after a crash: what has happened is seen, and not done again.
    let before = kube.writes();
    assert!(act(&kube, &drain("node-0", 60)).unwrap().summary.contains("it was so already"));
    assert_eq!(kube.writes(), before);

    let instance = |node: &str| ClusterDeed::Instance { node: node.into() };
    refused(&kube, &instance("node-1"), "it is not drained");
    let (kind, said) = act(&kube, &instance("node-0")).unwrap_err();
    assert!(kind == Kind::NotFound && said.contains("no providerID"), "{said}");
    assert_eq!(act(&kube, &others).unwrap().summary, "node node-0 takes pods again");
    kube.silence_node("node-1");
    refused(&kube, &drain("node-0", 60), "while others are not ready: node-1");
    refused(&kube, &drain("node-1", 60), "its pods cannot end: a drain would hang");
}

// proves: D18
#[test]
fn only_what_was_looked_at_is_deleted_and_a_second_writer_is_never_let_in() {
    let kube = Kube::new();
    kube.add_node("node-1", "aws:///eu-1a/i-0b1");
    kube.put(&json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-0"}, "spec": {}}));
    let mut set = workload("StatefulSet", "db", 1, "postgres:17");
    set["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}]);
    kube.put(&set);
    kube.put(&json!({"kind": "Pod", "metadata": {"name": "by-hand"}, "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "x"}]}}));
    await_ready(&kube, "statefulset/db");
    let pod = |name: &str, force: bool| Doomed::Pod { name: name.into(), force };
    let judge = |what: Doomed| ClusterDeed::Judge { what };
    let uid = || kube.get("Pod", "shop", "db-0").map(|pod| pod["metadata"]["uid"].clone());

    refused(&kube, &judge(pod("by-hand", false)), "nothing makes pod by-hand anew");
    refused(&kube, &judge(pod("db-0", true)), "may still write while a second one starts");
    let before = uid();
    delete(&kube, &pod("db-0", false)).unwrap();
    wait_for("its successor", PATIENCE, || uid().filter(|now| Some(now) != before.as_ref()));
    let successor = uid();
    let old = before.unwrap().as_str().unwrap().to_owned();
    // As after a crash between the deletion and its result: the successor is left alone.
    act(&kube, &ClusterDeed::Delete { what: pod("db-0", false), uid: old }).unwrap();
    assert_eq!(uid(), successor);

    let claim = |component: Option<&str>, unproven: bool| Doomed::Claim {
        name: "data-db-0".into(),
        component: component.map(str::to_owned),
        unproven,
    };
    refused(&kube, &judge(claim(Some("database"), false)), "claim data-db-0 is used by shop/db-0");
    let node = |name: &str| Doomed::Node { name: name.into() };
    refused(&kube, &judge(node("node-0")), "still takes pods");

    // The node falls silent. Its pod comes back elsewhere only when the node is gone, or by force.
    kube.silence_node("node-0");
    kube.kubectl(&["cordon", "node-0"]).assert_exit(0);
    let told = act(&kube, &judge(pod("db-0", true))).unwrap();
    assert!(told.output.contains("its node node-0 is not ready"), "{}", told.output);
    assert!(told.output.contains("nobody can tell whether db-0 still writes"), "{}", told.output);
    delete(&kube, &pod("db-0", true)).unwrap();
    wait_for("the pod on the other node", PATIENCE, || {
        nodes_of_pods(&kube).iter().all(|node| node == "node-1").then_some(())
    });
    let looked = act(&kube, &judge(node("node-0"))).unwrap();
    assert!(looked.output.contains("node node-0, drained"), "{}", looked.output);
    delete(&kube, &node("node-0")).unwrap();
    assert!(kube.get("Node", "", "node-0").is_none());

    kube.kubectl(&["-n", "shop", "scale", "statefulset/db", "--replicas=0"]).assert_exit(0);
    wait_for("the pod to end", PATIENCE, || uid().is_none().then_some(()));
    refused(&kube, &judge(claim(Some("cache"), false)), "no backup of `cache` is proven");
    let told = act(&kube, &judge(claim(Some("database"), false))).unwrap();
    assert!(
        told.output.contains("the newest proof of `database` succeeded at 1970-01-01"),
        "{}",
        told.output
    );
    delete(&kube, &claim(Some("cache"), true)).unwrap();
    assert!(kube.get("PersistentVolumeClaim", "shop", "data-db-0").is_none());
    let (kind, said) = delete(&kube, &claim(Some("database"), false)).unwrap_err();
    assert!(kind == Kind::NotFound && said.contains("no persistentvolumeclaim/data-db-0"), "{said}");
}

// proves: D18
#[test]
fn a_look_names_what_is_not_as_it_should_be_and_why() {
    let kube = Kube::new();
    kube.add_node("node-1", "aws:///eu-1a/i-0b1");
    kube.deploy("api", 2, "shop/api:1");
    kube.deploy("web", 1, "shop/crash:1");
    kube.put(&workload("StatefulSet", "db", 1, "postgres:17"));
    kube.put(&json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {}}));
    await_ready(&kube, "deployment/api");
    await_ready(&kube, "statefulset/db");
    wait_for("the crash to be told", PATIENCE, || (!kube.list("Event", "shop").is_empty()).then_some(()));
    kube.silence_node("node-1");
    kube.kubectl(&["cordon", "node-0"]).assert_exit(0);
    kube.kubectl(&["-n", "shop", "scale", "deployment/api", "--replicas=3"]).assert_exit(0);
    let all = Sight::ALL.iter().map(|(_, sight)| *sight).collect();
    let look = ClusterDeed::Look { at: all };
    let before = kube.writes();
    let told = wait_for("the third pod to be seen waiting", PATIENCE, || {
        Some(act(&kube, &look).unwrap()).filter(|told| told.summary.contains("not placed"))
    });
    assert_eq!(kube.writes(), before, "a look changes nothing");
    for part in [
        "node-1 NotReady (NodeStatusUnknown: Kubelet stopped posting node status.), aws:///eu-1a/i-0b1",
        "node-0 Ready, takes no pods",
        "CrashLoopBackOff, last exit code 1, 3 restarts on node-0",
        "0/1 nodes are available: 1 node(s) were unschedulable.",
        "Warning BackOff pod/web-",
        "data Bound pvc-",
        "db: 1 of 1 ready",
    ] {
        assert!(told.output.contains(part), "{part}: {}", told.output);
    }
    assert!(told.summary.contains("1 of 2 nodes not ready"), "{}", told.summary);
    assert!(told.summary.contains("1 pod not placed"), "{}", told.summary);
}
