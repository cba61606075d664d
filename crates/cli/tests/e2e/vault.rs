//! Vault (OpenBao) from outside: back up, prove with and without keys, lose the disk, come back with the original keys.

mod anew;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use muster_testkit::{Bao, Outcome, Sandbox, wait_for};
use serde_json::Value;

use crate::platform::{PATIENCE, Platform, ruin};

/// What a backup needs, and what a restore needs besides.
const POLICY: &str = "path \"sys/storage/raft/snapshot\" { capabilities = [\"read\", \"update\"] }\n\
     path \"secret/data/muster-canary\" { capabilities = [\"create\", \"update\", \"read\"] }";

/// A platform whose only component is a real server.
struct Safe {
    server: Bao,
    platform: Platform,
}

impl Safe {
    fn new() -> Self {
        let server = Bao::new();
        let token = server.token_with(POLICY);
        Self::with(server, &token, "    canary: secret/data/muster-canary\n")
    }

    fn with(server: Bao, token: &str, more: &str) -> Self {
        let sandbox = Sandbox::new();
        let file = secret_file(&sandbox, "vault.token", token);
        let login = format!("    token: ${{file:{}}}\n{more}", file.display());
        Self::with_login(server, sandbox, &login)
    }

    fn with_login(server: Bao, sandbox: Sandbox, login: &str) -> Self {
        sandbox.write_config(&format!(
            "platform: sandbox\n\
             objectives: {{rto: 1h, rpo: 1d}}\n\
             repository:\n  location: {repository}\n  password: ${{file:{key}}}\n\
             components:\n  vault:\n    kind: vault\n    url: {url}\n{login}\
             \x20   bin_dir: {bin}\n    backup: {{every: 1h}}\n",
            repository = sandbox.repository().display(),
            key = sandbox.key().display(),
            url = server.url(),
            bin = Bao::bin_dir().display(),
        ));
        Self { server, platform: Platform::with(sandbox) }
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.platform.run(args)
    }

    fn well(&self, args: &[&str]) -> Outcome {
        self.platform.well(args)
    }

    /// A file with shares of an unseal key.
    fn keys(&self, keys: &[String]) -> String {
        secret_file(&self.platform.sandbox, "shares", &keys.join("\n")).display().to_string()
    }

    /// No share is anywhere that Muster writes to.
    fn assert_no_share_is_stored(&self) {
        let shares = self.platform.sandbox.path().join("shares");
        drop(fs::remove_file(shares));
        let mut folders = vec![self.platform.sandbox.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.is_file() {
                    let content = fs::read(&path).unwrap();
                    let holds = |text: &str| content.windows(text.len()).any(|part| part == text.as_bytes());
                    for key in &self.server.keys {
                        assert!(!holds(key), "a share is in {}", path.display());
                    }
                }
            }
        }
    }
}

fn secret_file(sandbox: &Sandbox, name: &str, content: &str) -> PathBuf {
    let file = sandbox.path().join(name);
    fs::write(&file, format!("{content}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn outcome_of_proof(outcome: &Outcome) -> (String, String) {
    let report = outcome.json();
    let proof = report["proofs"][0]["outcome"].as_str().unwrap().to_owned();
    let step = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["name"].as_str().unwrap().starts_with("verify:"));
    let step = step.unwrap();
    let said = step["summary"].as_str().map_or_else(|| step["error"].to_string(), ToOwned::to_owned);
    (proof, said)
}

fn step<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["steps"].as_array().unwrap().iter().find(|step| step["name"] == id).unwrap()
}

// proves: B8, C12
#[test]
fn a_vault_whose_disk_is_lost_comes_back_into_a_new_server_with_the_original_keys_and_tokens() {
    let mut safe = Safe::new();
    safe.server.write("database", "geheim");
    let cluster = safe.server.cluster_id();
    let id = safe.platform.back_up()["vault"].clone();
    // Without the keys that people hold nobody can say more than this.
    let unproven = safe.run(&["prove", "vault", "--json"]);
    let (outcome, said) = outcome_of_proof(&unproven);
    assert_eq!(outcome, "unproven", "{said}");
    assert!(said.contains("sealed, archive hashes good"), "{said}");
    assert_ne!(unproven.code, Some(0));
    let keys = safe.keys(&safe.server.keys);
    let proven = safe.well(&["prove", "vault", "--unseal-keys-file", &keys, "--json"]);
    let (outcome, said) = outcome_of_proof(&proven);
    assert_eq!(outcome, "proven", "{said}");
    assert!(said.contains(&cluster) && said.contains("canary secret/data/muster-canary read"), "{said}");

    safe.server.lose_disk();
    assert_eq!(safe.server.health(), 501);
    let plan = safe.well(&["restore", "vault", "--dry-run", "--json"]).json();
    let notes = plan.to_string();
    assert!(notes.contains("revokes the leases") && notes.contains("ORIGINAL keys"), "{notes}");
    assert_eq!(safe.server.health(), 501, "a plan changes nothing");
    let restored = safe.well(&["restore", "vault", "--yes", "--unseal-keys-file", &keys, "--json"]).json();
    let said = step(&restored, "verify-server:vault")["summary"].as_str().unwrap().to_owned();
    assert!(said.contains("canary secret/data/muster-canary read"), "{said}");
    assert_eq!(safe.server.health(), 200);
    assert_eq!(safe.server.cluster_id(), cluster);
    assert_eq!(safe.server.read("database").as_deref(), Some("geheim"), "with the old root token");
    // What was open is open again for the next backup, with the old token of the configuration.
    assert_ne!(safe.platform.back_up()["vault"], id);
    safe.platform.assert_nothing_left();
    safe.assert_no_share_is_stored();
}

// proves: B8
#[test]
fn a_new_server_that_was_initialised_by_hand_is_taken_by_force_and_opens_with_the_original_keys() {
    let mut safe = Safe::new();
    safe.server.write("database", "geheim");
    let cluster = safe.server.cluster_id();
    safe.platform.back_up();
    let (original, root) = (safe.server.keys.clone(), safe.server.token.clone());
    safe.server.lose_disk();
    safe.server.initialise(3, 2);
    safe.server.unseal();
    let throwaway = safe.server.keys.clone();
    assert_ne!(safe.server.cluster_id(), cluster);
    let keys = safe.keys(&original);
    // The token of the configuration is the old server's: the new one does not know it.
    let refused = safe.run(&["restore", "vault", "--yes", "--unseal-keys-file", &keys]);
    refused.assert_exit(1);
    assert!(refused.stderr.contains("--server-token-file"), "{}{}", refused.stdout, refused.stderr);
    assert_eq!(safe.server.health(), 200, "nothing was changed");

    let token = secret_file(&safe.platform.sandbox, "new.token", &safe.server.token);
    let with_token = ["--server-token-file", token.to_str().unwrap()];
    let wrong = safe.keys(&throwaway);
    let args =
        [&["restore", "vault", "--yes", "--json", "--unseal-keys-file", &wrong][..], &with_token].concat();
    let sealed = safe.run(&args);
    sealed.assert_exit(12);
    let report = sealed.json();
    let said = step(&report, "unseal:vault")["error"].to_string();
    assert!(said.contains("the unseal keys do not fit") && said.contains("wrong-key"), "{said}");
    assert_eq!(safe.server.health(), 503, "it is sealed with the original keys now");
    let keys = safe.keys(&original);
    let run = report["run"].as_str().unwrap();
    safe.well(&["resume", run, "--yes", "--unseal-keys-file", &keys]);
    assert_eq!(safe.server.cluster_id(), cluster);
    assert_eq!(safe.server.read_with("database", &root).as_deref(), Some("geheim"));
    assert_eq!(safe.server.read("database"), None, "the new server's token is gone");
    safe.platform.assert_nothing_left();
}

// proves: C12
#[test]
fn a_vault_that_is_only_sealed_is_unsealed_and_keeps_what_was_written_after_its_backup() {
    let safe = Safe::new();
    safe.platform.back_up();
    safe.server.write("later", "after the backup");
    safe.server.seal();
    let refused = safe.run(&["backup", "vault", "--json"]);
    refused.assert_exit(1);
    assert!(refused.stdout.contains("is sealed: it gives no snapshot"), "{}", refused.stdout);

    let few = safe.keys(&safe.server.keys[..1]);
    let outcome = safe.run(&["restore", "vault", "--yes", "--unseal-keys-file", &few, "--json"]);
    let said = step(&outcome.json(), "unseal:vault")["error"].to_string();
    assert!(said.contains("2 of 3 shares of its unseal key are needed, 1 given"), "{said}");
    let mut wrong = safe.server.keys.clone();
    for key in &mut wrong {
        let swapped: String =
            key.chars().map(|letter| if letter == 'A' { 'B' } else { letter }).rev().collect();
        *key = swapped.trim_start_matches('=').to_owned();
    }
    let wrong = safe.keys(&wrong);
    let outcome = safe.run(&["restore", "vault", "--yes", "--unseal-keys-file", &wrong, "--json"]);
    let said = step(&outcome.json(), "unseal:vault")["error"].to_string();
    assert!(said.contains("the unseal keys do not fit"), "{said}");
    assert_eq!(safe.server.health(), 503);

    let keys = safe.keys(&safe.server.keys);
    let report = safe.well(&["restore", "vault", "--yes", "--unseal-keys-file", &keys, "--json"]).json();
    let ids: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(ids, ["unseal:vault", "verify-server:vault"], "nothing is restored");
    assert_eq!(safe.server.health(), 200);
    assert_eq!(safe.server.read("later").as_deref(), Some("after the backup"));
    safe.platform.assert_nothing_left();
}

#[test]
fn a_vault_whose_secrets_were_destroyed_goes_back_to_its_backup_and_the_safety_copy_leads_forward_again() {
    let safe = Safe::new();
    safe.server.write("database", "geheim");
    safe.platform.back_up();
    safe.server.write("database", "overwritten");
    safe.server.well("DELETE", "/v1/secret/metadata/database", &Value::Null);
    safe.server.write("later", "after the backup");
    let report = safe.well(&["restore", "vault", "--yes", "--json"]).json();
    assert_eq!(safe.server.read("database").as_deref(), Some("geheim"));
    assert_eq!(safe.server.read("later"), None);
    assert_eq!(safe.server.health(), 200, "it has the same keys: it stays open");
    let label = format!("prerestore-{}", report["run"].as_str().unwrap());
    // An older one of two: what the server remembers of the newer one must not be taken for it.
    let older = safe.platform.back_up()["vault"].clone();
    safe.server.write("database", "newer");
    safe.platform.back_up();
    let report = safe.well(&["restore", "vault", "--to", &older, "--yes", "--json"]).json();
    let said = step(&report, "verify-server:vault")["summary"].as_str().unwrap();
    assert!(said.contains("canary secret/data/muster-canary read"), "{said}");
    assert_eq!(safe.server.read("database").as_deref(), Some("geheim"));
    safe.well(&["restore", "vault", "--to", &label, "--yes"]);
    assert_eq!(safe.server.read("database"), None);
    assert_eq!(safe.server.read("later").as_deref(), Some("after the backup"));
    safe.platform.assert_nothing_left();
}

#[test]
fn a_restore_that_is_killed_at_any_moment_is_followed_by_one_that_brings_the_backup_back() {
    let mut safe = Safe::new();
    safe.server.write("database", "geheim");
    safe.platform.back_up();
    let whole = std::time::Instant::now();
    safe.well(&["restore", "vault", "--yes"]);
    let whole = whole.elapsed();
    for part in 1..=3 {
        safe.server.write("database", "overwritten");
        let mut running = safe.platform.cli.spawn(&["restore", "vault", "--yes"]);
        running.kill_after(whole * part / 4);
        drop(running);
        safe.well(&["restore", "vault", "--yes", "--to", "latest"]);
        assert_eq!(safe.server.read("database").as_deref(), Some("geheim"), "part {part}");
    }
    // A new server that a killed restore has initialised has keys that nobody knows: it is told, and holds nothing.
    safe.server.lose_disk();
    let keys = safe.keys(&safe.server.keys);
    let args = ["restore", "vault", "--yes", "--unseal-keys-file", &keys];
    let mut running = safe.platform.cli.spawn(&args);
    wait_for("a server that is initialised", PATIENCE, || (safe.server.health() != 501).then_some(()));
    running.kill();
    drop(running);
    let next = safe.run(&args);
    if next.code != Some(0) {
        assert!(next.stderr.contains("empty its data folder"), "{}", next.stderr);
        safe.server.lose_disk();
        safe.well(&args);
    }
    assert_eq!(safe.server.read("database").as_deref(), Some("geheim"));
    safe.platform.assert_nothing_left();
}

#[test]
fn a_snapshot_goes_beside_as_a_file_and_damage_in_it_is_found_before_a_server_gets_a_byte() {
    let safe = Safe::new();
    safe.platform.back_up();
    let into = safe.platform.sandbox.path().join("beside");
    safe.well(&["restore", "vault", "--into", into.to_str().unwrap()]);
    assert!(into.join("snapshot.snap").is_file() && into.join("server.json").is_file());
    let described = fs::read_to_string(into.join("server.json")).unwrap();
    assert!(described.contains("\"threshold\": 2"), "{described}");
    for pack in packs(&safe.platform.sandbox.repository()) {
        ruin(&pack);
    }
    safe.server.write("later", "after the backup");
    let outcome = safe.run(&["restore", "vault", "--yes", "--json"]);
    assert_eq!(outcome.code, Some(20));
    assert_eq!(step(&outcome.json(), "restore:vault")["error"]["kind"], "corrupt");
    assert_eq!(safe.server.read("later").as_deref(), Some("after the backup"));
}

fn packs(repository: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(repository.join("data")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn what_a_vault_refuses_is_named_with_what_mends_it() {
    let server = Bao::new();
    let token = server.token_with("path \"secret/data/other\" { capabilities = [\"read\"] }");
    let safe = Safe::with(server, &token, "");
    let outcome = safe.run(&["backup", "vault", "--json"]);
    outcome.assert_exit(1);
    assert!(
        outcome.stdout.contains("permission denied") && outcome.stdout.contains("sys/storage/raft/snapshot"),
        "{}",
        outcome.stdout
    );
    safe.server.token_with("path \"sys/storage/raft/snapshot\" { capabilities = [\"read\"] }");
    safe.platform.back_up();
    let config = fs::read_to_string(safe.platform.sandbox.config_file()).unwrap();
    safe.platform
        .sandbox
        .write_config(&config.replace("    bin_dir", "    canary: secret/data/muster-canary\n    bin_dir"));
    let outcome = safe.run(&["backup", "vault", "--json"]);
    outcome.assert_exit(1);
    let wanted = "does not write the canary secret/data/muster-canary";
    assert!(outcome.stdout.contains(wanted) && outcome.stdout.contains("capabilities"), "{}", outcome.stdout);
    safe.server.seal();
    let survey = safe.run(&["survey"]);
    assert!(survey.stdout.contains("sealed"), "{}", survey.stdout);

    let mut server = Bao::uninitialised("inmem");
    server.initialise(1, 1);
    server.unseal();
    let token = server.token.clone();
    let safe = Safe::with(server, &token, "");
    let outcome = safe.run(&["backup", "vault", "--json"]);
    assert!(outcome.stdout.contains("only Raft storage has snapshots"), "{}", outcome.stdout);
}

#[test]
fn an_app_role_is_enough_for_backup_proof_and_restore_and_its_tokens_end_with_the_run() {
    let server = Bao::new();
    server.token_with(POLICY);
    let (role, secret) = server.app_role();
    let sandbox = Sandbox::new();
    let (role, secret) = (secret_file(&sandbox, "role", &role), secret_file(&sandbox, "secret", &secret));
    let login = format!(
        "    role_id: ${{file:{}}}\n    secret_id: ${{file:{}}}\n    canary: secret/data/muster-canary\n",
        role.display(),
        secret.display()
    );
    let safe = Safe::with_login(server, sandbox, &login);
    let accessors = || {
        let list = safe.server.well("LIST", "/v1/auth/token/accessors", &Value::Null);
        list["data"]["keys"].as_array().unwrap().len()
    };
    let before = accessors();
    safe.platform.back_up();
    let keys = safe.keys(&safe.server.keys);
    safe.well(&["prove", "vault", "--unseal-keys-file", &keys]);
    safe.well(&["restore", "vault", "--yes"]);
    // The token of the backup itself is in the backup, and came back with it; it ends by its time.
    assert!(accessors() <= before + 1);
}
