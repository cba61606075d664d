//! Kubernetes from outside, with the real `kubectl` on a double of the API server: one runbook for two kinds of
//! installation, replicas, a rollout that never ends, and a namespace that is lost and comes back.

use std::{fs, time::Duration};

use muster_testkit::{Cli, Kube, Sandbox, kube::workload, wait_for};
use serde_json::{Value, json};

use crate::platform::Platform;

const PATIENCE: Duration = Duration::from_mins(2);

/// The keys that lead to the cluster, of a service or a component.
fn cluster(kube: &Kube) -> String {
    format!(
        "namespace: shop, context: double, kubeconfig: {}, kubectl: {}",
        kube.kubeconfig().display(),
        Kube::program().display()
    )
}

fn api(kube: &Kube) -> String {
    format!("{{workload: deployment/api, {}}}", cluster(kube))
}

fn replicas(kube: &Kube) -> Value {
    kube.get("Deployment", "shop", "api").unwrap()["spec"]["replicas"].clone()
}

fn await_ready(kube: &Kube, name: &str) {
    kube.kubectl(&["-n", "shop", "rollout", "status", name, "--timeout=120s"]).assert_exit(0);
}

/// A runbook of an outage: it names services and nothing of how they run.
const RUNBOOK: &str = "---\ntitle: Api down\n---\n# Api down\n\n## Mend\n\n```muster\nstop: api\n```\n\
    ```bash {name=between, class=idempotent}\necho between >> witness\n```\n```muster\nstart: api\n```\n```muster\nrestart: api\n```\n";

// proves: A10
#[test]
fn one_runbook_serves_a_small_and_a_large_installation_and_touches_only_the_one_that_is_meant() {
    let kube = Kube::new();
    kube.deploy("api", 3, "shop/api:1");
    await_ready(&kube, "deployment/api");
    let sandbox = Sandbox::empty();
    let folder = sandbox.path().display().to_string();
    sandbox.write_config("platform: shop\nobjectives: {rto: 1h, rpo: 1h}\n");
    let environment = |name: &str, service: &str| {
        let text = format!(
            "environment: {name}\nplatform: shop\nrepository: {{location: {folder}/{name}-repository, password: \"${{file:{folder}/key}}\"}}\nservices:\n  api: {service}\n"
        );
        fs::write(sandbox.path().join(format!("muster.{name}.yaml")), text).unwrap();
    };
    sandbox.write_key("a key for tests only");
    fs::copy(sandbox.key(), sandbox.path().join("key")).unwrap();
    let log = format!("{folder}/small");
    environment(
        "small",
        &format!(
            "{{command: {{start: [sh, -c, 'echo start >> {log}; touch {log}.up'], stop: [sh, -c, 'echo stop >> {log}; rm -f {log}.up'], status: [test, -e, {log}.up]}}}}"
        ),
    );
    environment("large", &format!("{{kubernetes: {}, ready_within: 90s}}", api(&kube)));
    fs::write(sandbox.path().join("api.md"), RUNBOOK).unwrap();
    fs::write(sandbox.path().join("small.up"), "").unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());

    let before = kube.writes();
    cli.run(&["--env", "small", "run", "api.md", "--yes"]).assert_exit(0);
    assert_eq!(fs::read_to_string(&log).unwrap(), "stop\nstart\nstop\nstart\n");
    assert_eq!(kube.writes(), before, "nothing of the other installation was changed");

    let pods = kube.list("Pod", "shop");
    let large = cli.run(&["--env", "large", "run", "api.md", "--yes", "--json"]);
    let report = large.assert_exit(0).json();
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 4, "nothing of the other one was called");
    assert_eq!(replicas(&kube), 3);
    assert!(kube.list("Pod", "shop").iter().all(|pod| !pods.contains(pod)), "all pods are new ones");
    assert_eq!(fs::read_to_string(sandbox.path().join("witness")).unwrap(), "between\nbetween\n");
    let shown = cli.run(&["--env", "large", "service", "stop", "api", "--dry-run"]);
    let shown = shown.assert_exit(0).stdout.clone();
    assert!(shown.contains("--namespace=shop scale deployment/api --replicas=0"), "{shown}");
}

#[test]
fn replicas_are_set_by_a_step_and_a_rollout_that_never_ends_is_told_with_its_last_event() {
    let kube = Kube::new();
    kube.deploy("api", 2, "shop/api:1");
    await_ready(&kube, "deployment/api");
    let sandbox = Sandbox::new();
    let services = format!(
        "services:\n  api: {{kubernetes: {}, ready_within: 3s}}\n  web: {{command: {{start: [\"true\"], stop: [\"true\"], status: [\"true\"]}}}}\n",
        api(&kube)
    );
    sandbox.write_config(&format!("{}{services}", sandbox.config()));
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
    let book = |name: &str, step: &str| {
        let text = format!("---\ntitle: x\n---\n# x\n\n## y\n\n```muster\n{step}\n```\n");
        fs::write(sandbox.path().join(name), text).unwrap();
    };
    book("scale.md", "scale: {service: api, replicas: 4}");
    let report = cli.run(&["run", "scale.md", "--yes", "--json"]).assert_exit(0).json();
    assert!(report.to_string().contains("api: 4 replicas, 2 before"), "{report:#}");
    assert_eq!((replicas(&kube), kube.list("Pod", "shop").len()), (json!(4), 4));
    let said = cli.run(&["service", "scale", "api", "1"]);
    assert_eq!(said.assert_exit(0).stdout, "api: running, 1 replicas, 4 before\n");
    assert_eq!(replicas(&kube), 1);
    cli.run(&["service", "scale", "api"]).assert_exit(2);
    cli.run(&["service", "stop", "api", "1"]).assert_exit(2);
    cli.run(&["service", "scale", "web", "2"]).assert_exit(2);
    book("wrong.md", "scale: {service: web, replicas: 4}");
    let refused = cli.run(&["run", "wrong.md", "--yes"]);
    assert!(
        refused.assert_exit(2).stderr.contains("no replicas that Muster could set"),
        "{}",
        refused.stderr
    );

    kube.kubectl(&["-n", "shop", "set", "image", "deployment/api", "main=shop/never:2"]).assert_exit(0);
    wait_for("the probe to fail", PATIENCE, || {
        kube.list("Event", "shop").iter().any(|event| event["reason"] == "Unhealthy").then_some(())
    });
    book("restart.md", "restart: api");
    let failed = cli.run(&["run", "restart.md", "--yes"]);
    failed.assert_exit(1);
    let told = format!("{}{}", failed.stdout, failed.stderr);
    for part in ["deployment/api is not ready after 3s", "last event: api-", "Readiness probe failed"] {
        assert!(told.contains(part), "{part}: {told}");
    }

    let text = fs::read_to_string(sandbox.config_file()).unwrap();
    sandbox.write_config(&text.replace("namespace: shop, ", ""));
    let refused = cli.run(&["config", "check"]);
    assert!(
        refused.assert_exit(2).stderr.contains("namespace") || refused.stdout.contains("namespace"),
        "{refused:?}"
    );
}

/// Everything of a namespace that a person has made, without what a server makes: by the test's own rules.
fn objects(kube: &Kube) -> Vec<Value> {
    const KINDS: [&str; 11] = [
        "ServiceAccount",
        "PersistentVolumeClaim",
        "Secret",
        "ConfigMap",
        "Service",
        "NetworkPolicy",
        "Deployment",
        "StatefulSet",
        "CronJob",
        "HorizontalPodAutoscaler",
        "Role",
    ];
    let mut all = Vec::new();
    for kind in KINDS {
        for mut object in kube.list(kind, "shop") {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
            if let Some(notes) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                notes.retain(|key, _| key.starts_with("shop/"));
            }
            metadata.retain(|key, value| key != "annotations" || value != &json!({}));
            object.as_object_mut().unwrap().remove("status");
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.retain(|key, _| !["clusterIP", "clusterIPs", "volumeName"].contains(&key.as_str()));
            }
            all.push(object);
        }
    }
    all
}

fn fill(kube: &Kube) {
    for object in [
        json!({"kind": "ServiceAccount", "metadata": {"name": "api"}}),
        json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        json!({"kind": "Secret", "metadata": {"name": "keys", "annotations": {"shop/owner": "ada"}}, "data": {"TOKEN": Kube::base64("tok-8841"), "OTHER": Kube::base64("x")}}),
        json!({"kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"app.conf": "workers = 4\nname = \"ü\"\n"}}),
        json!({"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "of the server"}}),
        json!({"kind": "Service", "metadata": {"name": "api"}, "spec": {"ports": [{"port": 80}], "selector": {"app": "api"}}}),
        json!({"kind": "Service", "metadata": {"name": "db"}, "spec": {"clusterIP": "None", "ports": [{"port": 5432}]}}),
        json!({"kind": "NetworkPolicy", "metadata": {"name": "deny"}, "spec": {"podSelector": {}}}),
        json!({"kind": "Role", "metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        workload("Deployment", "api", 3, "shop/api:1"),
        workload("Deployment", "idle", 0, "shop/idle:1"),
        workload("StatefulSet", "db", 2, "postgres:17"),
        json!({"kind": "CronJob", "metadata": {"name": "nightly"}, "spec": {"schedule": "0 2 * * *", "suspend": true, "jobTemplate": {"spec": {}}}}),
        json!({"kind": "CronJob", "metadata": {"name": "hourly"}, "spec": {"schedule": "0 * * * *", "suspend": false, "jobTemplate": {"spec": {}}}}),
        json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"}, "spec": {"minReplicas": 2, "maxReplicas": 8, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}}}),
    ] {
        kube.put(&object);
    }
    await_ready(kube, "deployment/api");
    await_ready(kube, "statefulset/db");
}

fn platform(kube: &Kube) -> Platform {
    let sandbox = Sandbox::new();
    sandbox.write_config(&format!(
        "platform: sandbox\nobjectives: {{rto: 1h, rpo: 1d}}\nrepository:\n  location: {}\n  password: ${{file:{}}}\n\
         components:\n  shop: {{kind: kubernetes, {}, backup: {{every: 1h}}}}\n",
        sandbox.repository().display(),
        sandbox.key().display(),
        cluster(kube)
    ));
    Platform::with(sandbox)
}

#[test]
fn a_namespace_that_is_lost_comes_back_with_every_object_and_every_number_as_it_was() {
    let kube = Kube::new();
    fill(&kube);
    let platform = platform(&kube);
    let survey = platform.well(&["survey"]).stdout;
    assert!(survey.contains("Secret") && survey.contains("volumes"), "{survey}");
    let writes = kube.writes();
    let before = objects(&kube);
    platform.back_up();
    assert_eq!(kube.writes(), writes, "a backup changes nothing");
    let proven = platform.well(&["prove", "--json"]).json();
    assert!(proven.to_string().contains("taken by the server in a dry run"), "{proven:#}");
    assert_eq!(objects(&kube), before, "nor does a proof");

    // The whole namespace, with all that is in it.
    kube.remove("Namespace", "", "shop");
    assert_eq!(objects(&kube), Vec::<Value>::new());
    let plan = platform.well(&["restore", "shop", "--dry-run"]).stdout;
    assert!(plan.contains("apply the objects of shop in the order"), "{plan}");
    let begun = kube.writes().len();
    let report = platform.well(&["restore", "shop", "--yes"]);
    assert!(
        report.stdout.contains("made anew, and their volumes are empty: data")
            || report.stderr.contains("volumes are empty: data"),
        "{report:?}"
    );
    let mut after = objects(&kube);
    after.retain(|object| object["metadata"]["name"] != "kube-root-ca.crt");
    let mut wanted = before.clone();
    wanted.retain(|object| object["metadata"]["name"] != "kube-root-ca.crt");
    assert_eq!(after, wanted);
    // Stores before secrets before workloads; and these at zero first, then as they were.
    let order: Vec<String> = kube.writes().split_off(begun);
    let first = |part: &str| order.iter().position(|one| one.contains(part)).unwrap_or(usize::MAX);
    let turns = [
        "/namespaces/shop",
        "/persistentvolumeclaims/",
        "/secrets/",
        "/services/",
        "/deployments/",
        "/horizontalpodautoscalers/",
    ];
    let places: Vec<usize> = turns.iter().map(|part| first(part)).collect();
    assert!(places.is_sorted() && places.iter().all(|place| *place < order.len()), "{places:?} {order:#?}");
    assert_eq!(order.iter().filter(|one| one.ends_with("/deployments/api")).count(), 2, "{order:#?}");
    await_ready(&kube, "deployment/api");
    platform.assert_nothing_left();
    let journal =
        fs::read_to_string(platform.sandbox.path().join(".muster/journal.jsonl")).unwrap_or_default();
    assert!(!journal.contains("tok-8841") && !journal.contains(&Kube::base64("tok-8841")));
}

#[test]
fn what_was_changed_goes_back_what_is_new_stays_and_the_safety_copy_leads_back_again() {
    let kube = Kube::new();
    fill(&kube);
    let platform = platform(&kube);
    let before = objects(&kube);
    platform.back_up();
    kube.kubectl(&[
        "-n",
        "shop",
        "patch",
        "secret",
        "keys",
        "--type=merge",
        "-p",
        "{\"data\": {\"TOKEN\": \"eA==\", \"EXTRA\": \"eA==\"}}",
    ])
    .assert_exit(0);
    kube.kubectl(&["-n", "shop", "delete", "configmap", "settings"]).assert_exit(0);
    kube.kubectl(&["-n", "shop", "scale", "deployment/api", "--replicas=5"]).assert_exit(0);
    kube.put(&json!({"kind": "ConfigMap", "metadata": {"name": "stranger"}, "data": {"a": "b"}}));
    let changed = kube.get("Secret", "shop", "keys").unwrap()["data"].clone();
    let report = platform.well(&["restore", "shop", "--yes"]);
    let told = format!("{}{}", report.stdout, report.stderr);
    assert!(told.contains("left alone: ConfigMap/stranger"), "{told}");
    let mut after = objects(&kube);
    after.retain(|object| object["metadata"]["name"] != "stranger");
    assert_eq!(after, before);
    // The safety copy holds what stood there.
    let label = platform.well(&["list", "--json"]).json()["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find_map(|one| {
            one["label"].as_str().filter(|label| label.starts_with("prerestore-")).map(str::to_owned)
        })
        .unwrap();
    platform.well(&["restore", "shop", "--to", &label, "--yes"]);
    assert_eq!(kube.get("Secret", "shop", "keys").unwrap()["data"], changed);

    // Without the right to read Secrets there is no backup that lacks them.
    kube.forbid("secrets");
    let refused = platform.run(&["backup"]);
    refused.assert_exit(1);
    assert!(
        refused.stderr.contains("forbidden") && refused.stderr.contains("kubectl auth can-i"),
        "{}",
        refused.stderr
    );
    kube.allow("secrets");
    // A cluster that is gone is said to be so, and a proof there is none.
    drop(kube);
    let refused = platform.run(&["restore", "shop", "--yes"]);
    assert!(refused.stderr.contains("does not answer"), "{refused:?}");
    let unproven = platform.run(&["prove"]);
    let told = format!("{}{}", unproven.stdout, unproven.stderr);
    assert!(told.contains("unproven"), "{told}");
    let folder = platform.sandbox.path().join("files");
    platform.well(&["restore", "shop", "--into", folder.to_str().unwrap(), "--yes"]);
    assert!(folder.join("objects/Secret.core/keys.json").is_file());
}
