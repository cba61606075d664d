//! Infrastructure as code: what was planned and shown is what is applied, and nothing is lost that nobody has named.
//! Terraform itself where it is on the host (its built-in resource needs no provider), the real `kubectl` with the double
//! of the API server, and commands of one's own.

use std::{fs, path::PathBuf, process::Command};

use muster_testkit::{Cli, Kube, Outcome, Sandbox};

struct Place {
    sandbox: Sandbox,
    cli: Cli,
}

impl Place {
    fn new(services: &str) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write_config(&format!("{}{services}", sandbox.config()));
        let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), sandbox.path());
        Self { sandbox, cli }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn book(&self, name: &str, step: &str) {
        self.write(
            name,
            &format!("---\ntitle: x\n---\n# x\n\n## y\n\n```muster\nid: rebuild\n{step}\n```\n"),
        );
    }

    fn begin(&self, name: &str) -> (Outcome, String) {
        let outcome = self.cli.run(&["run", name, "--yes"]);
        let runs = self.cli.run(&["runs", "--json"]).assert_exit(0).json();
        (outcome, runs["runs"][0]["id"].as_str().unwrap().to_owned())
    }

    fn resume(&self, run: &str, answers: &str) -> Outcome {
        self.write("answers.yaml", answers);
        self.cli.run(&["resume", run, "--yes", "--answers", "answers.yaml"])
    }

    /// The plan's file of a run that waits.
    fn plan(&self, run: &str) -> PathBuf {
        let folder = self.path(".muster/steps").join(run);
        let plans: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().join("plan"))
            .filter(|path| path.exists())
            .collect();
        assert_eq!(plans.len(), 1, "{plans:?}");
        plans[0].clone()
    }
}

// proves: C23
#[test]
fn what_was_planned_and_shown_is_what_is_applied_and_what_is_lost_must_be_named() {
    let place = Place::new("");
    // A tool of one's own: its world is the folder `world`; its plan is a list of what it wants there.
    place.write("world/db", "");
    place.write("world/disk", "");
    place.write("wanted", "db\nweb\n");
    place.write(
        "tool",
        "set -eu\ncase $1 in\nplan)\n  cp wanted \"$MUSTER_PLAN\"\n  while read -r one; do [ -e world/$one ] || echo \"create $one\"; done < wanted\n\
         \x20 for one in $(ls world); do grep -qx $one wanted || echo \"delete $one\"; done ;;\n\
         apply)\n  echo applied >> log\n  for one in $(ls world); do grep -qx $one \"$MUSTER_PLAN\" || rm world/$one; done\n\
         \x20 while read -r one; do : > world/$one; done < \"$MUSTER_PLAN\" ;;\nesac\n",
    );
    place.book(
        "own.md",
        "infrastructure: {tool: command, plan: sh tool plan, apply: sh tool apply}\non_ambiguous: ask",
    );
    let dry = place.cli.run(&["run", "own.md", "--dry-run"]);
    assert!(dry.assert_exit(0).stdout.contains("sh tool plan"), "{}", dry.stdout);
    assert!(dry.stdout.contains("sh tool apply"), "{}", dry.stdout);

    let (waits, run) = place.begin("own.md");
    waits.assert_exit(3);
    assert!(waits.stderr.contains("create 1: web; delete 1: disk; sha256 "), "{}", waits.stderr);
    assert!(waits.stderr.contains("disk will be gone"), "{}", waits.stderr);
    assert!(waits.stderr.contains("say `rebuild: approve disk`"), "{}", waits.stderr);
    // Neither agreeing nor another name is enough.
    place.resume(&run, "rebuild: do\n").assert_exit(3);
    place.resume(&run, "rebuild: approve db\n").assert_exit(3);
    assert_eq!(place.read("log"), "");

    // Somebody changes the plan after it was shown: refused; the next resume plans anew.
    let plan = place.plan(&run);
    fs::remove_file(&plan).unwrap();
    fs::write(&plan, "web\n").unwrap();
    let changed = place.resume(&run, "rebuild: approve disk\n");
    changed.assert_exit(1);
    assert!(changed.stderr.contains("is not the one that was shown"), "{}", changed.stderr);
    assert_eq!(place.read("log"), "");
    // What is wanted now would lose more: the old approval does not do.
    place.write("wanted", "web\n");
    let more = place.resume(&run, "rebuild: approve disk\n");
    more.assert_exit(3);
    assert!(more.stderr.contains("delete 2: db, disk"), "{}", more.stderr);
    // What is wanted after it was shown is not what is applied.
    place.write("wanted", "nothing-of-this\n");
    place.resume(&run, "rebuild: approve disk, db\n").assert_exit(0);
    let left: Vec<_> =
        fs::read_dir(place.path("world")).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, ["web"]);
    assert_eq!(place.read("log"), "applied\n");
    assert!(!place.path(".muster/steps").join(&run).exists(), "plans may hold secrets: they go with the run");

    place.book(
        "old.md",
        "infrastructure: {tool: command, plan: sh tool plan, apply: sh tool apply, max_age: 0s}\nclass: idempotent",
    );
    place.write("wanted", "web\nnew\n");
    let (old, _) = place.begin("old.md");
    old.assert_exit(1);
    assert!(old.stderr.contains("more than 0s is too old: nothing was applied"), "{}", old.stderr);
    // A plan that says what nobody understands is no plan without deletions.
    place.book(
        "odd.md",
        "infrastructure: {tool: command, plan: \"cp wanted $MUSTER_PLAN; echo destroy web\", apply: sh tool apply}\nclass: idempotent",
    );
    let (odd, _) = place.begin("odd.md");
    odd.assert_exit(1);
    assert!(odd.stderr.contains("printed `destroy web`, which says no change"), "{}", odd.stderr);
    assert_eq!(place.read("log"), "applied\n");
}

// proves: C23
#[test]
fn terraform_applies_the_saved_plan_and_a_replacement_needs_its_address() {
    if Command::new("terraform").arg("version").output().is_err() {
        println!("skipped: terraform is not on this host");
        return;
    }
    let place = Place::new("");
    let write = |value: &str, why: &str| {
        let text = format!(
            "resource \"terraform_data\" \"db\" {{\n  input = \"{value}\"\n  triggers_replace = \"{why}\"\n}}\n"
        );
        place.write("infra/main.tf", &text);
    };
    let state = || place.read("infra/terraform.tfstate");
    write("one", "a");
    place.write("init.md", "---\ntitle: x\n---\n# x\n\n## y\n\n```sh {class=idempotent, cwd=infra}\nterraform init -input=false -no-color\n```\n");
    place.cli.run(&["run", "init.md", "--yes"]).assert_exit(0);
    place.book("tf.md", "infrastructure: {tool: terraform, dir: infra}");
    let (made, _) = place.begin("tf.md");
    made.assert_exit(0);
    assert!(made.stderr.contains("create 1: terraform_data.db; sha256 "), "{}", made.stderr);
    assert!(state().contains("\"one\""), "{}", state());

    write("two", "b");
    let (waits, run) = place.begin("tf.md");
    waits.assert_exit(3);
    assert!(waits.stderr.contains("replace 1: terraform_data.db"), "{}", waits.stderr);
    assert!(waits.stderr.contains("say `rebuild: approve terraform_data.db`"), "{}", waits.stderr);
    assert!(!state().contains("\"two\""));
    // Written after the plan was shown: not applied.
    write("three", "c");
    place.resume(&run, "rebuild: approve terraform_data.db\n").assert_exit(0);
    assert!(state().contains("\"two\"") && !state().contains("\"three\""), "{}", state());
}

// proves: C23, D18
#[test]
fn manifests_are_taken_by_the_server_in_a_dry_run_shown_as_a_diff_and_then_applied_as_they_were() {
    let kube = Kube::new();
    let place = Place::new(&format!(
        "services:\n  api: {{kubernetes: {{workload: deployment/api, namespace: shop, context: double, kubeconfig: {}, kubectl: {}}}}}\n",
        kube.kubeconfig().display(),
        Kube::program().display()
    ));
    let settings = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{mode: {value}}}\n")
    };
    let mode = || kube.get("ConfigMap", "shop", "settings").map(|one| one["data"]["mode"].clone());
    place.write("deploy/settings.yaml", &settings("one"));
    place.write("deploy/kustomization.yaml", "resources: [settings.yaml]\n");
    place.book("kustomize.md", "apply: {in: api, kustomize: deploy}");
    let (made, _) = place.begin("kustomize.md");
    made.assert_exit(0);
    assert!(made.stderr.contains("create 1: v1.ConfigMap.shop.settings"), "{}", made.stderr);
    assert_eq!(mode().unwrap(), "one");

    fs::remove_file(place.path("deploy/kustomization.yaml")).unwrap();
    place.write("deploy/settings.yaml", &settings("two"));
    place.write("deploy/more.yml", &settings("x").replace("settings", "more"));
    place.book("files.md", "apply: {in: api, file: deploy}");
    let (made, run) = place.begin("files.md");
    made.assert_exit(0);
    assert!(
        made.stderr.contains("create 1: v1.ConfigMap.shop.more; change 1: v1.ConfigMap.shop.settings"),
        "{}",
        made.stderr
    );
    assert_eq!(mode().unwrap(), "two");
    let shown = place.cli.run(&["show", &run, "--json"]).assert_exit(0).json().to_string();
    assert!(shown.contains("sha256"), "{shown}");

    // What the server does not take is not applied, not even in part.
    place.write(
        "deploy/zz.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1}\n",
    );
    place.write("deploy/settings.yaml", &settings("three"));
    let (refused, _) = place.begin("files.md");
    refused.assert_exit(1);
    assert!(refused.stderr.contains("Required value"), "{}", refused.stderr);
    assert_eq!(mode().unwrap(), "two");
}
