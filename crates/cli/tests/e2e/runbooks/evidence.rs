//! Evidence first: in a security incident nothing is ended before what it knows was exported, hashed and recorded.

use std::fs;

use sha2::{Digest, Sha256};

use super::{Place, step};

const BREACH: &str = "\
---
title: Break-in
incident: security
evidence: [logs, sessions]
---
## Keep

```bash {name=logs, class=evidence}
echo attack >> witness
mkdir \"$MUSTER_EVIDENCE/api\"
printf 'GET /admin\\n' > \"$MUSTER_EVIDENCE/api/access.log\"
printf 'one line\\n' > \"$MUSTER_EVIDENCE/auth.log\"
```
```bash {name=sessions, class=evidence}
test -e list && cp list \"$MUSTER_EVIDENCE/sessions.txt\" || true
```

## Mend

```muster
restart: api
```
";

// proves: D26
#[test]
fn a_restart_in_a_security_incident_is_refused_until_all_evidence_was_exported_hashed_and_recorded() {
    let place = Place::new();
    place.write("breach.md", BREACH);
    // An export without a file is none, whatever its command says.
    let outcome = place.run(&["run", "breach.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("it has exported nothing into"), "{}", outcome.stderr);
    let up = place.sandbox.path().join("up");
    assert!(!up.exists(), "nothing was restarted");
    // A person who skips it does not get past it either.
    place.write("skip.yaml", "sessions: skip no time\n");
    let id = place.id();
    let outcome = place.run(&["resume", &id, "--yes", "--answers", "skip.yaml"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("before this evidence was exported: sessions"), "{}", outcome.stderr);
    assert!(!up.exists());
    // With it: what is restarted is restarted after the export, and the files are what the journal says.
    place.write("list", "mallory\n");
    let report = place.run(&["run", "breach.md", "--yes", "--json"]).assert_exit(0).json();
    assert!(up.exists());
    let evidence = report["runbook"]["evidence"].as_array().unwrap();
    let files: Vec<_> = evidence.iter().flat_map(|one| one["files"].as_array().unwrap()).collect();
    assert_eq!(files.len(), 3, "{report:#}");
    for file in &files {
        let path = place.sandbox.path().join(".muster").join(file["path"].as_str().unwrap());
        let content = fs::read(&path).unwrap();
        let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(file["sha256"], hash.as_str());
        assert_eq!(file["size_bytes"], content.len());
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o400);
    }
    let restarted = step(&report, "mend-1")["begun_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    for one in evidence {
        assert!(one["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() < restarted);
        assert!(!one["operator"].as_str().unwrap().is_empty());
    }
    let shown = place.run(&["show", report["run"].as_str().unwrap()]);
    let hash = files[0]["sha256"].as_str().unwrap();
    assert!(shown.assert_exit(0).stdout.contains(&format!("sha256 {hash}")), "{}", shown.stdout);
}

// proves: D26
#[test]
fn a_runbook_of_a_security_incident_that_ends_something_first_does_not_load() {
    let place = Place::new();
    let refused = |text: &str, words: &str| {
        place.write("x.md", text);
        for verb in [&["run", "x.md", "--yes"][..], &["runbook", "show", "x.md"][..]] {
            let outcome = place.run(verb);
            outcome.assert_exit(2);
            assert!(outcome.stderr.contains(words), "{words}: {}", outcome.stderr);
        }
    };
    let (front, rest) = BREACH.split_once("## Keep").unwrap();
    let (keep, mend) = rest.split_once("## Mend").unwrap();
    refused(&format!("{front}{mend}## Keep{keep}"), "before this evidence was exported: logs, sessions");
    for command in
        ["docker compose restart api", "sudo systemctl stop nginx", "kubectl -n shop rollout undo deploy/api"]
    {
        let first = format!("```bash {{class=idempotent}}\n{command}\n```\n");
        refused(&format!("{front}{first}## Keep{keep}"), "this ends something in a security incident before");
    }
    refused(&BREACH.replace("[logs, sessions]", "[logs, volumes]"), "no step exports the evidence `volumes`");
    refused(
        "---\ntitle: x\nincident: security\n---\n```muster\nstop: api\n```\n",
        "this ends something in a security incident, and no step exports evidence",
    );
    // A phase by itself leaves the exports out.
    place.write("x.md", BREACH);
    let outcome = place.run(&["run", "x.md", "mend", "--yes"]);
    outcome.assert_exit(2);
    // Cutting an attacker off comes before everything else, and ends nothing.
    let block = "```bash {class=idempotent}\ntrue iptables -I INPUT -s 192.0.2.7 -j DROP\n```\n";
    place.write("x.md", &format!("{front}{block}## Keep{keep}"));
    place.run(&["run", "x.md", "--dry-run"]).assert_exit(0);
}

#[test]
fn lint_finds_steps_that_end_something_before_anything_was_exported_also_where_nobody_asked_for_it() {
    let place = Place::new();
    let found = |text: &str| {
        place.write("x.md", text);
        let document = place.run(&["lint", "x.md", "--json"]).json();
        let findings = document["findings"].as_array().unwrap().clone();
        let rule = |one: &&serde_json::Value| one["rule"] == "evidence-after-rollout";
        findings.iter().filter(rule).map(|one| one["line"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let (front, rest) = BREACH.split_once("## Keep").unwrap();
    let (keep, mend) = rest.split_once("## Mend").unwrap();
    assert_eq!(found(BREACH), [] as [u64; 0]);
    // In the wrong order: the restart stands in line 9.
    assert_eq!(found(&format!("{front}## Mend{mend}## Keep{keep}")), [9]);
    let steps = |title: &str, first: &str| {
        format!(
            "---\ntitle: {title}\nrto: 1h\n---\n## Mend\n\n```muster\n{first}- stop: api\n- restore: database\n```\n"
        )
    };
    assert_eq!(found(&steps("Intrusion", "")), [8, 9]);
    assert_eq!(found(&steps("Intrusion", "- logs: api\n")), [] as [u64; 0]);
    assert_eq!(found(&steps("Disk full", "")), [] as [u64; 0]);
}
