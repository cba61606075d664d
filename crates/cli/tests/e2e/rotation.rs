//! Secrets from outside: what is missing blocks a start; a rotation changes one value, is proven by the service itself, leads
//! back when the new value does not work, and leaves no value anywhere.
//!
//! The service is a real one: a small HTTP server that reads its env file when it starts, takes one API key, and signs tokens
//! with another. Read next: `kills/rotation.rs`.

mod given;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use muster_testkit::{Bao, Cli, Kube, Outcome, Sandbox, exchange::exchange, free_port, wait_for};
use serde_json::{Value, json};

use crate::platform::{PATIENCE, Platform};

const OLD_KEY: &str = "old-key-51c9a0d4";
const OLD_SIGNING: &str = "old-signing-77f1b2";
const NEW_KEY: &str = "new-key-e20417bb93";

/// The service. `also` holds keys that its provider has not revoked; keys that begin with `bad` never work.
const APP: &str = r#"
import hashlib, hmac, http.server, os, sys
folder, port = sys.argv[1], int(sys.argv[2])
token = hmac.new(os.environ["SIGNING_KEY"].encode(), b"user-1", hashlib.sha256).hexdigest()
class App(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        also = open(folder + "/also").read().split()
        is_known = (key == os.environ["API_KEY"] or key in also) and not key.startswith("bad")
        is_well = {"/health": True, "/api": is_known, "/token": is_known,
            "/me": self.headers.get("X-Token") == token}.get(self.path, False)
        body = (token if self.path == "/token" and is_well else "x").encode()
        self.send_response(200 if is_well else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), App)
open(folder + "/pid", "w").write(str(os.getpid()))
server.serve_forever()
"#;

/// Asks for `/me` with a token that it signs itself with the key of the look.
const PROBE: &str = r#"
import hashlib, hmac, os, sys, urllib.error, urllib.request
token = hmac.new(os.environ["MUSTER_SECRET"].encode(), b"user-1", hashlib.sha256).hexdigest()
asked = urllib.request.Request(sys.argv[1] + "/me", headers={"X-Token": token})
try: sys.exit(0 if urllib.request.urlopen(asked).status == 200 else 126)
except urllib.error.HTTPError as error: sys.exit(1 if error.code == 401 else 126)
except OSError: sys.exit(126)
"#;

/// A platform with the service; it ends with its handle.
pub(crate) struct Shop {
    pub(crate) platform: Platform,
    port: u16,
}

impl Shop {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::new();
        let (folder, port) = (sandbox.path().to_owned(), free_port());
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("app.py", APP);
        write("probe.py", PROBE);
        write("also", "");
        write(
            "app.env",
            &format!(
                "# keys of the shop\r\nexport API_KEY='{OLD_KEY}'  # of ada\n\nDATABASE_URL=postgres://app:p@db/shop\n\
                 SIGNING_KEY={OLD_SIGNING}\nGREETING=\"a b\"\nAPI_KEY_ID=17\n# the end"
            ),
        );
        fs::set_permissions(folder.join("app.env"), fs::Permissions::from_mode(0o640)).unwrap();
        let shown = folder.display();
        let text = format!(
            "{config}\
             services:\n  api:\n    command:\n      \
             start: [sh, -c, \"cd {shown}; rm -f pid; set -a; . ./app.env; set +a; timeout 600 python3 app.py {shown} {port} > app.log 2>&1 &\"]\n      \
             stop: [sh, -c, \"kill $(cat {shown}/pid)\"]\n      \
             status: [sh, -c, \"test -e {shown}/pid && kill -0 $(cat {shown}/pid) 2>/dev/null\"]\n    \
             uses: [database]\n    ready: health\n    ready_within: 2m\n\
             checks:\n  health: {{http: \"http://127.0.0.1:{port}/health\", tags: [quick]}}\n\
             secrets:\n  API_KEY:\n    needed_by: [api]\n    in: [{{env_file: {{path: app.env, key: API_KEY}}}}]\n    \
             new: {{generate: 32}}\n    proof: {{accepts: {{http: \"http://127.0.0.1:{port}/api\", headers: {{Authorization: \"Bearer {{{{ secret }}}}\"}}, within: 2s}}}}\n  \
             SIGNING_KEY:\n    needed_by: [api]\n    in: [{{env_file: {{path: app.env, key: SIGNING_KEY}}}}]\n    \
             new: {{generate: 40}}\n    proof: {{accepts: {{command: [python3, {shown}/probe.py, \"http://127.0.0.1:{port}\"], within: 5s}}}}\n",
            config = sandbox.config()
        );
        sandbox.write_config(&text);
        let shop = Self { platform: Platform::with(sandbox), port };
        shop.platform.well(&["service", "start", "api"]);
        shop
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.platform.sandbox.path().join(name)
    }

    pub(crate) fn env_file(&self) -> String {
        fs::read_to_string(self.file("app.env")).unwrap()
    }

    /// The present value of a key, read without Muster's help.
    pub(crate) fn value(&self, key: &str) -> String {
        let text = self.env_file();
        let line =
            text.lines().find_map(|line| line.trim_start_matches("export ").strip_prefix(&format!("{key}=")));
        line.unwrap().split("  #").next().unwrap().trim_matches('\'').to_owned()
    }

    fn ask(&self, path: &str, header: &str, value: &str) -> (u16, String) {
        let (status, body) = exchange(self.port, "GET", path, &[(header, value)], b"").unwrap();
        (status, String::from_utf8(body).unwrap())
    }

    /// Whether the service takes a key.
    pub(crate) fn takes(&self, key: &str) -> bool {
        self.ask("/api", "Authorization", &format!("Bearer {key}")).0 == 200
    }

    fn edit_config(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.platform.sandbox.config_file()).unwrap();
        assert!(text.contains(from), "{text}");
        self.platform.sandbox.write_config(&text.replace(from, to));
    }

    fn last_run(&self) -> Value {
        self.platform.well(&["runs", "--json"]).json()["runs"][0].clone()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let Ok(pid) = fs::read_to_string(self.file("pid")) else { return };
        std::process::Command::new("kill").arg(pid.trim()).status().ok();
    }
}

/// Fails when one of the values stands in a file below a folder: journal, reports, logs, locks, the repository.
pub(crate) fn assert_nowhere(folder: &Path, values: &[&str]) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(content) = fs::read(&path) {
                for value in values {
                    let is_there = content.windows(value.len()).any(|part| part == value.as_bytes());
                    assert!(!is_there, "a value stands in {}", path.display());
                }
            }
        }
    }
}

/// Looks at the arguments of every process of this host, again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<(u64, Vec<String>)>>,
}

impl Watch {
    fn begin(values: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopping, values) =
            (Arc::clone(&stop), values.iter().map(|&one| one.to_owned()).collect::<Vec<_>>());
        let thread = thread::spawn(move || {
            let (mut looked, mut found) = (0, Vec::new());
            while !stopping.load(Ordering::Acquire) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).into_owned();
                    looked += 1;
                    if values.iter().any(|value| line.contains(value)) {
                        found.push(line);
                    }
                }
                thread::sleep(Duration::from_millis(4));
            }
            (looked, found)
        });
        Self { stop, thread: Some(thread) }
    }

    fn assert_nothing_seen(mut self) {
        self.stop.store(true, Ordering::Release);
        let (looked, found) = self.thread.take().unwrap().join().unwrap();
        assert!(looked > 100, "only {looked} looks");
        assert_eq!(found, Vec::<String>::new());
    }
}

// proves: D22
#[test]
fn a_rotation_changes_one_value_is_proven_by_the_service_and_leaves_no_value_behind() {
    let shop = Shop::new();
    let before = (shop.env_file(), fs::metadata(shop.file("app.env")).unwrap());
    let plan = shop.platform.well(&["rotate", "API_KEY", "--dry-run"]).stdout;
    for part in
        ["put the new value into API_KEY in ", "restart api", "API_KEY is refused", "nothing was done"]
    {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(shop.env_file(), before.0);

    let watch = Watch::begin(&[OLD_KEY, NEW_KEY]);
    let args = ["rotate", "API_KEY", "--value-from-stdin", "--yes", "--json"];
    let told = shop.platform.cli.run_with_input(&args, &format!("{NEW_KEY}\n"));
    let report = told.assert_exit(0).json();
    watch.assert_nothing_seen();
    assert_eq!(report["outcome"], "done", "{report:#}");
    let rotated = &report["rotated"][0];
    assert_eq!(rotated["secret"], "API_KEY");
    assert_eq!(
        (&rotated["is_accepted"], &rotated["is_old_refused"]),
        (&json!(true), &json!(true)),
        "{rotated:#}"
    );
    assert_eq!(rotated["others"], 4, "{rotated:#}");
    assert!(shop.takes(NEW_KEY) && !shop.takes(OLD_KEY));
    // Every other byte, the mode and the owner are what they were.
    assert_eq!(shop.env_file(), before.0.replace(OLD_KEY, NEW_KEY));
    let after = fs::metadata(shop.file("app.env")).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.1.mode(), before.1.uid(), before.1.gid()));
    let own = shop.file(".muster");
    assert_nowhere(&own, &[OLD_KEY, NEW_KEY]);
    for said in [&told.stdout, &told.stderr] {
        assert!(!said.contains(OLD_KEY) && !said.contains(NEW_KEY), "{said}");
    }
    assert_eq!(fs::read_dir(own.join("secrets")).unwrap().count(), 0, "nothing is kept");
    let stranded = fs::read_dir(shop.platform.sandbox.path()).unwrap().flatten();
    assert!(stranded.into_iter().all(|one| !one.file_name().to_string_lossy().contains("muster-new")));
}

// proves: D23, D24
#[test]
fn all_secrets_are_rotated_in_turn_and_a_token_that_was_issued_before_is_refused() {
    let shop = Shop::new();
    let (status, token) = shop.ask("/token", "Authorization", &format!("Bearer {OLD_KEY}"));
    assert_eq!((status, shop.ask("/me", "X-Token", &token).0), (200, 200));
    let text = "---\ntitle: Keys leaked\n---\n# Keys leaked\n\n## Rotate\n\n```muster\nrotate: [API_KEY, SIGNING_KEY]\n```\n";
    fs::write(shop.file("leak.md"), text).unwrap();
    let report = shop.platform.well(&["run", "leak.md", "--yes", "--json"]).json();
    let child = report["steps"][0]["child"].as_str().unwrap_or_else(|| panic!("{report:#}")).to_owned();
    let done = shop.platform.well(&["show", &child, "--json"]).json();
    let first = (shop.value("API_KEY"), shop.value("SIGNING_KEY"));
    assert_eq!(done["rotated"].as_array().map(Vec::len), Some(2), "{done:#}");
    assert_eq!(shop.ask("/me", "X-Token", &token).0, 401, "a token of before is worth nothing");
    let (_, token) = shop.ask("/token", "Authorization", &format!("Bearer {}", first.0));
    assert_eq!(shop.ask("/me", "X-Token", &token).0, 200);

    let told = shop.platform.well(&["rotate", "--all", "--yes"]).stdout;
    let signed: Vec<&str> = told.lines().filter(|line| line.contains("new accepted, old refused")).collect();
    assert!(
        signed.len() == 2 && signed[0].contains("API_KEY") && signed[1].contains("SIGNING_KEY"),
        "{told}"
    );
    assert!(signed.iter().all(|line| line.contains("api") && line.contains("Z  ")), "who and when: {told}");
    let second = (shop.value("API_KEY"), shop.value("SIGNING_KEY"));
    assert!(first.0 != second.0 && first.1 != second.1 && second.1.len() == 40);
    assert_eq!(shop.ask("/me", "X-Token", &token).0, 401);
    assert!(shop.takes(&second.0) && !shop.takes(&first.0));
    let run = shop.last_run()["id"].as_str().unwrap().to_owned();
    let shown = shop.platform.well(&["show", &run, "--json"]).json();
    let checks = shown["checks"].as_array().unwrap();
    assert!(checks.iter().any(|one| one["name"] == "health" && one["passed"] == true), "{shown:#}");
    assert_nowhere(&shop.file(".muster"), &[OLD_KEY, OLD_SIGNING, &first.0, &first.1, &second.0, &second.1]);
}

#[test]
fn an_old_key_that_is_still_accepted_fails_the_rotation_and_a_new_one_that_is_not_leads_back() {
    let shop = Shop::new();
    let before = shop.env_file();
    // The new one does not work: everything is as it was.
    let rotate = |value: &str| {
        shop.platform.cli.run_with_input(&["rotate", "API_KEY", "--value-from-stdin", "--yes"], value)
    };
    let failed = rotate("bad-key-0815-x");
    failed.assert_exit(1);
    assert!(failed.stderr.contains("the new value of `API_KEY` is not accepted"), "{}", failed.stderr);
    assert_eq!(shop.env_file(), before);
    assert!(shop.takes(OLD_KEY));
    let report = shop.platform.run(&["show", shop.last_run()["id"].as_str().unwrap(), "--json"]).json();
    let back =
        report["steps"].as_array().unwrap().iter().find(|step| step["name"] == "back:API_KEY").unwrap();
    assert!(back["summary"].as_str().unwrap().contains("the old value is back in 1 place;"), "{back:#}");
    // What can be no value is refused before anything is kept.
    for (value, why) in
        [("short", "shorter than 8"), ("two\nlines-of-it", "line breaks"), (OLD_KEY, "the present one")]
    {
        let refused = rotate(value);
        assert!(refused.code == Some(2) && refused.stderr.contains(why), "{value}: {refused:?}");
    }
    let refused = rotate("it's-quoted-wrongly");
    assert!(refused.code == Some(2) && refused.stderr.contains("read differently"), "{refused:?}");
    assert_eq!(shop.env_file(), before);

    // The provider still takes the old one.
    fs::write(shop.file("also"), OLD_KEY).unwrap();
    let failed = rotate(NEW_KEY);
    failed.assert_exit(1);
    assert!(failed.stderr.contains("the old value of `API_KEY` is still accepted"), "{}", failed.stderr);
    assert!(shop.takes(NEW_KEY) && shop.takes(OLD_KEY), "the new one is in use");
    let run = shop.last_run()["id"].as_str().unwrap().to_owned();
    let listed = shop.platform.well(&["secrets"]).stdout;
    assert!(listed.contains(&format!("muster resume {run}")), "{listed}");
    // Another rotation would take the unproven value for the old one.
    let refused = rotate("another-key-11111");
    assert!(refused.code == Some(1) && refused.stderr.contains("is not over"), "{refused:?}");
    assert!(refused.stderr.contains(&run), "{refused:?}");
    // Revoked by the configured program, it goes on; readers are not restarted once more.
    let pid = fs::read_to_string(shop.file("pid")).unwrap();
    fs::write(shop.file("also"), "").unwrap();
    let report = shop.platform.well(&["resume", &run, "--yes", "--json"]).json();
    assert_eq!(
        (&report["outcome"], report["rotated"][0]["secret"].as_str()),
        (&json!("done"), Some("API_KEY"))
    );
    assert_eq!(fs::read_to_string(shop.file("pid")).unwrap(), pid);
    // With `revoke` it happens by itself.
    fs::write(shop.file("also"), NEW_KEY).unwrap();
    shop.edit_config(
        "    new: {generate: 32}\n",
        "    new: {command: [sh, -c, \"printf made-by-program-99\"]}\n    revoke: [sh, -c, \"test -n \\\"$MUSTER_SECRET_OLD\\\" && : > also\"]\n",
    );
    shop.platform.well(&["rotate", "API_KEY", "--yes"]);
    assert!(shop.takes("made-by-program-99") && !shop.takes(NEW_KEY));
    let all = [OLD_KEY, NEW_KEY, "bad-key-0815-x", "made-by-program-99"];
    assert_nowhere(&shop.file(".muster"), &all);
}

// proves: B28
#[test]
fn a_missing_secret_is_listed_and_blocks_every_start_of_what_needs_it() {
    let shop = Shop::new();
    shop.platform.back_up();
    let whole = shop.platform.well(&["secrets", "--json"]);
    assert_nowhere(&shop.file(".muster"), &[OLD_KEY]);
    assert!(!whole.stdout.contains(OLD_KEY), "{}", whole.stdout);
    let secrets = whole.json()["secrets"].clone();
    assert_eq!(
        (&secrets[0]["name"], &secrets[0]["state"]),
        (&json!("API_KEY"), &json!("present")),
        "{secrets:#}"
    );
    assert_eq!(secrets[0]["needed_by"], json!(["api"]));
    let env = shop.env_file();
    fs::write(shop.file("app.env"), env.replace(&format!("'{OLD_KEY}'"), "")).unwrap();
    let listed = shop.platform.run(&["secrets"]);
    listed.assert_exit(1);
    assert!(listed.stdout.contains("API_KEY: missing: it is not there, or empty"), "{}", listed.stdout);
    let seen = shop.last_run()["id"].clone();
    let refusal = "service `api` needs the secret `API_KEY`, which is missing (API_KEY in ";
    for args in [
        &["restore", "database", "--yes"][..],
        &["restore", "--all", "--yes"],
        &["service", "restart", "api"],
        &["rotate", "API_KEY", "--yes"],
    ] {
        let refused = shop.platform.run(args);
        refused.assert_exit(1);
        let is_told =
            refused.stderr.contains(refusal) || refused.stderr.contains("it is missing: API_KEY in ");
        assert!(is_told && refused.stderr.contains("hint:"), "{args:?}: {}", refused.stderr);
        assert_eq!(shop.last_run()["id"], seen, "{args:?}: nothing was begun");
    }
    let text = "---\ntitle: x\n---\n# x\n\n## y\n\n```muster\nrestart: api\n```\n";
    fs::write(shop.file("x.md"), text).unwrap();
    let refused = shop.platform.run(&["run", "x.md", "--yes"]);
    assert!(
        refused.code != Some(0) && format!("{refused:?}").contains("needs the secret `API_KEY`"),
        "{refused:?}"
    );
    assert!(shop.takes(OLD_KEY), "it was not even stopped");
    // What nobody can read is not taken for there.
    fs::remove_file(shop.file("app.env")).unwrap();
    let listed = shop.platform.run(&["secrets", "SIGNING_KEY", "--json"]).json();
    assert_eq!(listed["secrets"][0]["state"], "missing", "{listed:#}");
    fs::create_dir(shop.file("app.env")).unwrap();
    let listed = shop.platform.run(&["secrets", "SIGNING_KEY", "--json"]).json();
    assert_eq!(listed["secrets"][0]["state"], "unknown", "{listed:#}");
    let refused = shop.platform.run(&["service", "start", "api"]);
    assert!(refused.code == Some(2) || refused.code == Some(1), "{refused:?}");
    assert!(refused.stderr.contains("cannot be looked at"), "{}", refused.stderr);
}

fn well(outcome: &Outcome) -> &Outcome {
    outcome.assert_exit(0)
}

/// A secret that lives in a Secret, in an entry of a Vault, and in a file.
fn in_three_places(kube: &Kube, bao: &Bao, sandbox: &Sandbox) {
    kube.put(&json!({"kind": "Secret", "metadata": {"name": "keys"}, "data": {
        "TOKEN": Kube::base64(OLD_KEY), "OTHER": Kube::base64("untouched")}}));
    kube.deploy("api", 2, "shop/api:1");
    kube.kubectl(&["-n", "shop", "rollout", "status", "deployment/api", "--timeout=120s"]).assert_exit(0);
    let entry = json!({"data": {"TOKEN": OLD_KEY, "OTHER": "untouched", "number": 7}});
    bao.well("POST", "/v1/secret/data/api", &entry);
    let policy = "path \"secret/data/api\" { capabilities = [\"read\", \"update\"] }";
    let folder = sandbox.path();
    fs::write(folder.join("token"), bao.token_with(policy)).unwrap();
    fs::write(folder.join("value"), format!("{OLD_KEY}\n")).unwrap();
    let cluster = format!(
        "namespace: shop, context: double, kubeconfig: {}, kubectl: {}",
        kube.kubeconfig().display(),
        Kube::program().display()
    );
    sandbox.write_config(&format!(
        "platform: sandbox\nobjectives: {{rto: 1h, rpo: 1d}}\n\
         repository: {{location: {repository}, password: \"${{file:{key}}}\"}}\n\
         components:\n  vault: {{kind: vault, url: \"{url}\", token: \"${{file:{shown}/token}}\", backup: {{every: 1h}}}}\n\
         services:\n  api: {{kubernetes: {{workload: deployment/api, {cluster}}}, ready_within: 2m}}\n\
         secrets:\n  TOKEN:\n    needed_by: [api]\n    in:\n    - kubernetes: {{secret: keys, key: TOKEN, {cluster}}}\n    \
         - vault: {{component: vault, path: secret/data/api, key: TOKEN}}\n    - file: value\n    \
         proof: {{accepts: {{command: [sh, -c, \"test \\\"$MUSTER_SECRET\\\" = \\\"$(cat {shown}/value)\\\"\"], within: 2s}}}}\n",
        repository = sandbox.repository().display(),
        key = sandbox.key().display(),
        url = bao.url(),
        shown = folder.display(),
    ));
}

#[test]
fn a_secret_of_kubernetes_of_a_vault_and_of_a_file_is_rotated_in_all_of_them_at_once() {
    let (kube, mut bao, sandbox) = (Kube::new(), Bao::new(), Sandbox::new());
    in_three_places(&kube, &bao, &sandbox);
    let folder = sandbox.path().to_owned();
    let platform = Platform::with(sandbox);
    let cli: &Cli = &platform.cli;
    let seen = cli.run(&["secrets", "--json"]).assert_exit(0).json();
    let places = seen["secrets"][0]["places"].as_array().unwrap().clone();
    assert!(
        places.len() == 3 && places.iter().all(|one| one["fingerprint"] == places[0]["fingerprint"]),
        "{seen:#}"
    );
    assert_eq!(seen["secrets"][0]["agrees"], true);
    let pods = kube.list("Pod", "shop");

    let refused = cli.run(&["rotate", "TOKEN", "--yes"]);
    assert!(
        refused.code == Some(2) && refused.stderr.contains("where a new value comes from"),
        "{refused:?}"
    );
    let watch = Watch::begin(&[OLD_KEY, NEW_KEY, &Kube::base64(NEW_KEY)]);
    let args = ["rotate", "TOKEN", "--value-from-stdin", "--yes"];
    let told = cli.run_with_input(&args, NEW_KEY);
    well(&told);
    watch.assert_nothing_seen();
    let data = kube.get("Secret", "shop", "keys").unwrap()["data"].clone();
    assert_eq!(data, json!({"TOKEN": Kube::base64(NEW_KEY), "OTHER": Kube::base64("untouched")}));
    let stored = bao.well("GET", "/v1/secret/data/api", &Value::Null)["data"]["data"].clone();
    assert_eq!(stored, json!({"TOKEN": NEW_KEY, "OTHER": "untouched", "number": 7}));
    assert_eq!(fs::read_to_string(folder.join("value")).unwrap(), format!("{NEW_KEY}\n"));
    wait_for("new pods", PATIENCE, || {
        kube.list("Pod", "shop").iter().all(|pod| !pods.contains(pod)).then_some(())
    });
    assert!(told.stdout.contains("new accepted, old refused"), "{}", told.stdout);
    assert_nowhere(&folder.join(".muster"), &[OLD_KEY, NEW_KEY, &Kube::base64(NEW_KEY)]);

    // Places that have drifted apart are told, and one that does not answer is unknown.
    fs::write(folder.join("value"), "something-else\n").unwrap();
    let listed = cli.run(&["secrets"]);
    assert!(
        well(&listed).stdout.contains("TOKEN: its places do not hold the same value"),
        "{}",
        listed.stdout
    );
    bao.stop();
    kube.forbid("secrets");
    let seen = cli.run(&["secrets", "--json"]).assert_exit(1).json();
    let states: Vec<&str> = seen["secrets"][0]["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["unknown", "unknown", "present"], "{seen:#}");
    let refused = cli.run_with_input(&args, NEW_KEY);
    assert!(refused.code == Some(1) && refused.stderr.contains("a place cannot be looked at"), "{refused:?}");
}
