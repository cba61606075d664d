//! Workloads on Kubernetes, driven by the real `kubectl` against a double of the API server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use muster_drivers::services::{ServiceDriver, ServiceStatus, open, start_and_wait};
use muster_testkit::{Kube, kube::workload, wait_for};
use muster_types::{
    Explain, FixedClock, Kind, Span, Timestamp,
    config::{KubernetesService, Service},
    event::Unwatched,
};
use serde_json::{Value, json};

const CLOCK: FixedClock = FixedClock(Timestamp::UNIX_EPOCH);
const PATIENCE: Duration = Duration::from_mins(2);

fn definition(kube: &Kube, workload: &str) -> Service {
    let own = KubernetesService {
        workload: workload.into(),
        namespace: "shop".into(),
        context: Some("double".into()),
        kubeconfig: Some(kube.kubeconfig()),
        kubectl: Some(Kube::program()),
    };
    Service { kubernetes: Some(own), ready_within: Some(Span::from_secs(90)), ..Service::default() }
}

fn service(kube: &Kube, workload: &str) -> Box<dyn ServiceDriver> {
    open("api", &definition(kube, workload)).unwrap()
}

fn hurried(kube: &Kube, workload: &str) -> Box<dyn ServiceDriver> {
    open("api", &Service { ready_within: Some(Span::from_secs(2)), ..definition(kube, workload) }).unwrap()
}

fn is_running(api: &dyn ServiceDriver) -> bool {
    api.status(&Unwatched).unwrap() == ServiceStatus::Running
}

fn replicas(kube: &Kube) -> Value {
    kube.get("Deployment", "shop", "api").unwrap()["spec"]["replicas"].clone()
}

fn image(kube: &Kube) -> Value {
    kube.get("Deployment", "shop", "api").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
        .clone()
}

fn set_image(kube: &Kube, image: &str) {
    kube.kubectl(&["-n", "shop", "set", "image", "deployment/api", &format!("main={image}")]).assert_exit(0);
}

fn autoscaler(kube: &Kube, wants: &str) {
    kube.put(&json!({
        "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api", "annotations": {"double/wants": wants}},
        "spec": {
            "minReplicas": 2, "maxReplicas": 8, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
        },
    }));
}

// proves: C18
#[test]
fn a_stopped_workload_comes_back_with_the_replicas_that_it_had_and_its_autoscaler_as_it_was() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    autoscaler(&kube, "5");
    wait_for("five replicas", PATIENCE, || (replicas(&kube) == 5).then_some(()));
    let api = service(&kube, "deployment/api");
    wait_for("all to be ready", PATIENCE, || is_running(api.as_ref()).then_some(()));
    let before = kube.get("HorizontalPodAutoscaler", "shop", "api").unwrap();

    api.stop(&Unwatched).unwrap();
    assert_eq!(api.status(&Unwatched).unwrap(), ServiceStatus::Stopped);
    assert!(kube.list("Pod", "shop").is_empty(), "a stop returns when nobody can write any more");
    let paused = kube.get("HorizontalPodAutoscaler", "shop", "api").unwrap();
    for way in ["scaleUp", "scaleDown"] {
        assert_eq!(paused["spec"]["behavior"][way]["selectPolicy"], "Disabled");
    }
    // The metric has fallen meanwhile; a second stop and another process's start change nothing of the number.
    autoscaler_wants(&kube, "2");
    api.stop(&Unwatched).unwrap();
    let other = service(&kube, "deploy/api");
    let said = start_and_wait("api", other.as_ref(), None, PATIENCE, &CLOCK, &Unwatched).unwrap();
    assert!(said.starts_with("runs after "), "{said}");
    let after = kube.get("HorizontalPodAutoscaler", "shop", "api").unwrap();
    assert_eq!(after["spec"], before["spec"], "the autoscaler has its own behaviour again");
    assert_eq!(
        kube.list("ReplicaSet", "shop")[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let noted = kube.get("Deployment", "shop", "api").unwrap()["metadata"]["annotations"].clone();
    assert!(noted.get("muster.recovery/replicas").is_none(), "{noted}");
    // It works again, and from five, not from a constant.
    wait_for("the autoscaler's own number", PATIENCE, || (replicas(&kube) == 2).then_some(()));
    let scaled = kube.writes().iter().filter(|one| one.ends_with("/deployments/api")).count();
    assert_eq!(scaled, 2, "one patch to stop, one to start: {:?}", kube.writes());
}

fn autoscaler_wants(kube: &Kube, wants: &str) {
    let patch = json!({"metadata": {"annotations": {"double/wants": wants}}}).to_string();
    kube.kubectl(&["-n", "shop", "patch", "hpa", "api", "--type=merge", "-p", &patch]).assert_exit(0);
}

#[test]
fn replicas_are_set_and_held_within_the_bounds_of_an_autoscaler() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    autoscaler(&kube, "2");
    let api = service(&kube, "deployment/api");
    let said = api.scale(4, &Unwatched).unwrap();
    assert_eq!(said, "4 replicas, 2 before; autoscaler api is paused until `muster service start api`");
    assert!(is_running(api.as_ref()));
    assert_eq!(replicas(&kube), 4, "the autoscaler wants two, and rests");
    let error = api.scale(9, &Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "cannot scale service `api` to 9: autoscaler api keeps 2 to 8 replicas");
    assert_eq!(replicas(&kube), 4);
    assert_eq!(api.scale(0, &Unwatched).unwrap(), "0 replicas, 4 before");
    api.start(&Unwatched).unwrap();
    // Another hand has stopped it: nobody has noted a number.
    kube.deploy("other", 0, "shop/api:1");
    let error = service(&kube, "deployment/other").start(&Unwatched).unwrap_err();
    assert!(error.to_string().contains("nobody has noted how many"), "{error}");
    assert_eq!(error.hint().unwrap().0, "say how many: `muster service scale api N`");
}

#[test]
fn a_restart_that_never_becomes_ready_ends_at_its_deadline_with_the_last_event_and_a_rollback_mends_it() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    let api = service(&kube, "deployment/api");
    wait_for("all to be ready", PATIENCE, || is_running(api.as_ref()).then_some(()));
    let before = kube.list("Pod", "shop");
    api.restart(&Unwatched).unwrap();
    assert!(kube.list("Pod", "shop").iter().all(|pod| !before.contains(pod)));
    assert!(is_running(api.as_ref()));
    let error = service(&kube, "deployment/nothing").rollback(&Unwatched).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);

    set_image(&kube, "shop/never:2");
    wait_for("the readiness probe to fail", PATIENCE, || {
        kube.list("Event", "shop").iter().any(|event| event["reason"] == "Unhealthy").then_some(())
    });
    let error = hurried(&kube, "deployment/api").restart(&Unwatched).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with(
            "cannot restart service `api`: deployment/api is not ready after 2s: 2 of 2 ready, "
        ),
        "{said}"
    );
    assert!(said.contains("last event: api-") && said.contains("Readiness probe failed"), "{said}");

    set_image(&kube, "shop/crash:3");
    let crashed = wait_for("the crash loop", PATIENCE, || match api.status(&Unwatched).unwrap() {
        ServiceStatus::NotReady(why) if why.contains("CrashLoopBackOff") => Some(why),
        _ => None,
    });
    assert!(crashed.contains("last exit code 1, 3 restarts"), "{crashed}");
    // A revision that never worked is what stands before: one step back is one step, and it is said.
    let error = hurried(&kube, "deployment/api").rollback(&Unwatched).unwrap_err();
    assert!(error.to_string().contains("cannot roll back service `api`"), "{error}");
    assert_eq!(image(&kube), "shop/never:2");
}

#[test]
fn a_rollback_goes_to_the_revision_before_and_says_which() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    let api = service(&kube, "deployment/api");
    wait_for("all to be ready", PATIENCE, || is_running(api.as_ref()).then_some(()));
    let error = api.rollback(&Unwatched).unwrap_err();
    assert_eq!(error.to_string(), "service `api` has no revision before the present one");
    set_image(&kube, "shop/crash:2");
    wait_for("the new revision", PATIENCE, || (kube.list("ReplicaSet", "shop").len() == 2).then_some(()));
    assert_eq!(api.rollback(&Unwatched).unwrap(), "from revision 2 back to 1: shop/api:1");
    assert_eq!(image(&kube), "shop/api:1");
    assert!(is_running(api.as_ref()));
}

#[test]
fn the_log_holds_every_line_of_all_containers_and_of_those_that_crashed() {
    let kube = Kube::new();
    let mut api = workload("Deployment", "api", 2, "shop/api:1");
    api["spec"]["template"]["spec"]["containers"] = json!([
        {"name": "main", "image": "shop/api:1", "env": [{"name": "LINES", "value": "40000"}]},
        {"name": "side", "image": "shop/crash:1"},
    ]);
    kube.put(&api);
    let api = service(&kube, "deployment/api");
    wait_for("a restart in both pods", PATIENCE, || {
        let pods = kube.list("Pod", "shop");
        let crashed = pods.iter().filter(|pod| pod["status"]["containerStatuses"][1]["restartCount"] == 3);
        (crashed.count() == 2).then_some(())
    });
    let mut log = Vec::new();
    api.logs(None, &mut log, &Unwatched).unwrap();
    let log = String::from_utf8(log).unwrap();
    let of = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!((of(" main line "), of(" side line "), of("giving up")), (80_000, 6, 2));
    assert_eq!((of("/main <=="), of("/side <=="), of("/side, before its last restart <==")), (2, 2, 2));
}

#[test]
fn a_stateful_set_is_stopped_started_and_restarted() {
    let kube = Kube::new();
    kube.put(&workload("StatefulSet", "db", 3, "postgres:17"));
    let db = service(&kube, "sts/db");
    wait_for("all to be ready", PATIENCE, || is_running(db.as_ref()).then_some(()));
    db.stop(&Unwatched).unwrap();
    assert!(kube.list("Pod", "shop").is_empty());
    db.start(&Unwatched).unwrap();
    wait_for("all to be ready", PATIENCE, || is_running(db.as_ref()).then_some(()));
    assert_eq!(kube.list("Pod", "shop").len(), 3);
    db.restart(&Unwatched).unwrap();
    assert!(is_running(db.as_ref()));
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let kube = Kube::new();
    kube.deploy("api", 1, "shop/api:1");
    let with = |change: &dyn Fn(&mut KubernetesService)| {
        let mut service = definition(&kube, "deployment/api");
        change(service.kubernetes.as_mut().unwrap());
        open("api", &service).and_then(|api| api.stop(&Unwatched)).unwrap_err()
    };
    let said = |error: &dyn Explain| {
        (error.kind(), error.to_string(), error.hint().map(|hint| hint.0).unwrap_or_default())
    };
    let (kind, message, _) = said(&with(&|own| own.namespace = String::new()));
    assert_eq!(
        (kind, message.as_str()),
        (Kind::Config, "service `api` has no namespace: `` is no name of one")
    );
    let (kind, message, _) = said(&with(&|own| own.workload = "daemonset/agent".into()));
    assert_eq!(
        (kind, message.as_str()),
        (Kind::Config, "`api` names no workload that has replicas: `daemonset/agent`")
    );
    let (kind, message, hint) = said(&with(&|own| own.workload = "deployment/none".into()));
    assert_eq!(
        (kind, message.as_str()),
        (Kind::NotFound, "service `api`: there is no deployment/none in namespace shop")
    );
    assert!(hint.contains("get deployment"), "{hint}");
    let (kind, message, hint) = said(&with(&|own| own.context = Some("other".into())));
    assert_eq!(kind, Kind::Config, "{message}");
    assert!(hint.contains("get-contexts"), "{hint}");
    let (kind, _, hint) = said(&with(&|own| own.kubectl = Some("/nowhere/kubectl".into())));
    assert_eq!(kind, Kind::NotFound);
    assert!(hint.contains("install kubectl"), "{hint}");
    // Without the right to see autoscalers nothing is stopped: one of them would undo it.
    kube.forbid("horizontalpodautoscalers");
    let (kind, message, hint) = said(&with(&|_| ()));
    assert_eq!(kind, Kind::Unavailable);
    assert!(message.contains("forbidden") || message.contains("Forbidden"), "{message}");
    assert!(hint.contains("kubectl auth can-i"), "{hint}");
    assert_eq!(replicas(&kube), 1);
    let gone = {
        let other = Kube::new();
        definition(&other, "deployment/api")
    };
    let error = open("api", &gone).unwrap().status(&Unwatched).unwrap_err();
    assert!(matches!(error.kind(), Kind::Config | Kind::Unavailable), "{error}");
}
