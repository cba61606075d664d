//! The keys of a Vault are lost: it begins anew for named people, and nothing secret is ever in clear.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use muster_testkit::Bao;

use super::Safe;

/// A person with an `OpenPGP` key, in a home that goes with it.
struct Person {
    home: tempfile::TempDir,
    public: PathBuf,
}

impl Person {
    fn new(name: &str) -> Self {
        let home = tempfile::Builder::new().prefix("muster-gpg-").tempdir().unwrap();
        let person = Self { public: home.path().join("public.asc"), home };
        person.gpg(&["--quick-generate-key", &format!("{name}@example.org"), "rsa2048", "encr", "never"]);
        fs::write(&person.public, person.gpg(&["--armor", "--export"])).unwrap();
        person
    }

    fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn read(&self, file: &Path) -> String {
        String::from_utf8(self.gpg(&["--decrypt", file.to_str().unwrap()])).unwrap().trim().to_owned()
    }

    fn option(&self, name: &str) -> String {
        format!("{name}={}", self.public.display())
    }
}

impl Drop for Person {
    /// Its agent would stay.
    fn drop(&mut self) {
        let ended =
            Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
        drop(ended);
    }
}

fn assert_nowhere(folder: &Path, secrets: &[String]) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, secrets);
        } else if path.is_file() {
            let content = fs::read(&path).unwrap();
            let holds = |text: &String| content.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!secrets.iter().any(holds), "a share or token is in {}", path.display());
        }
    }
}

// proves: C12
#[test]
fn a_vault_whose_keys_are_lost_begins_anew_for_named_people_and_says_which_secrets_are_gone() {
    let server = Bao::new();
    let token = server.token_with(
        "path \"sys/storage/raft/snapshot\" { capabilities = [\"read\", \"update\"] }\n\
         path \"secret/metadata/*\" { capabilities = [\"list\"] }",
    );
    let mut safe = Safe::with(server, &token, "");
    safe.server.write("database", "geheim");
    safe.server.write("team/mail", "geheim");
    safe.platform.back_up();
    let (ada, ben) = (Person::new("ada"), Person::new("ben"));
    let (first, second) = (ada.option("ada"), ben.option("ben"));
    let into = safe.platform.sandbox.path().join("new-keys");
    let folder = into.to_str().unwrap();
    let anew = ["restore", "vault", "--start-anew", "--keys-into", folder, "--holder", &first];
    let args = [&anew[..], &["--holder", &second, "--needed", "2", "--json"]].concat();
    // While it holds data it is left alone, sealed or not.
    let refused = safe.run(&[&args[..], &["--yes"]].concat());
    refused.assert_exit(1);
    assert!(refused.stderr.contains("holds data, which only its own keys open"), "{}", refused.stderr);
    safe.server.seal();
    safe.run(&[&args[..], &["--yes"]].concat()).assert_exit(1);
    // The keys are lost: the server gets an empty folder.
    safe.server.lose_disk();
    let original = safe.server.keys.clone();
    let planned = safe.well(&[&args[..], &["--dry-run"]].concat()).stdout;
    assert!(planned.contains("every secret of vault is gone"), "{planned}");
    let private = safe.platform.sandbox.path().join("private.asc");
    fs::write(&private, ada.gpg(&["--armor", "--export-secret-keys"])).unwrap();
    let wrong = format!("ada={}", private.display());
    let refused =
        safe.run(&["restore", "vault", "--start-anew", "--keys-into", folder, "--holder", &wrong, "--yes"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("no OpenPGP public key"), "{}", refused.stderr);
    fs::remove_file(private).unwrap();
    safe.run(&[&anew[..], &["--needed", "2", "--yes"]].concat()).assert_exit(2);
    assert_eq!(safe.server.health(), 501, "nothing was changed");
    assert!(!into.exists());

    let report = safe.well(&[&args[..], &["--yes"]].concat()).json();
    let said = report["warnings"].to_string();
    assert!(
        said.contains("secret/database, ") && said.contains("secret/team/mail; the list is in"),
        "{said}"
    );
    let gone = fs::read_to_string(into.join("secrets-that-are-gone.txt")).unwrap();
    assert!(gone.contains("secret/database\n") && gone.contains("secret/team/mail\n"), "{gone}");
    assert_eq!(safe.server.health(), 503, "it is sealed for its holders");
    // Only each person opens what is theirs; the two together open the server.
    let shares = vec![ada.read(&into.join("ada.share.gpg")), ben.read(&into.join("ben.share.gpg"))];
    let root = ada.read(&into.join("ada.root-token.gpg"));
    let secrets = [shares.clone(), vec![root.clone()]].concat();
    assert_nowhere(safe.platform.sandbox.path(), &secrets);
    assert!(!secrets.iter().any(|secret| report.to_string().contains(secret)));
    assert_ne!(shares, original);
    safe.server.unseal_with(&shares);
    assert_eq!(safe.server.health(), 200);
    safe.server.token = root;
    safe.server.well(
        "POST",
        "/v1/sys/mounts/secret",
        &serde_json::json!({"type": "kv", "options": {"version": "2"}}),
    );
    safe.server.write("database", "new value");
    assert_eq!(safe.server.read("database").as_deref(), Some("new value"));
    // What was handed out is never overwritten, and a server that is in use is left alone.
    safe.run(&[&args[..], &["--yes"]].concat()).assert_exit(1);
    safe.platform.assert_nothing_left();
}
