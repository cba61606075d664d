//! `muster lint` from outside: what it prints, with which exit code, and what it refuses.

use std::{fs, path::Path};

use muster_testkit::cli::Cli;
use tempfile::TempDir;

const DOCUMENT: &str = "# Recovery\n\n## Scenario 1: database lost\n\n**Symptoms:** errors\n\n```bash\ngunzip -c /backups/shop.sql.gz | psql -d shop_restored\n```\n\nVerify that orders are there.\n";

fn sandbox() -> (TempDir, Cli) {
    let folder = TempDir::new().unwrap();
    let cli = Cli::with_binary(env!("CARGO_BIN_EXE_muster"), folder.path());
    (folder, cli)
}

fn put(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("/"))).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn lint_shows_the_line_the_reason_and_what_to_do_instead() {
    let (folder, cli) = sandbox();
    put(&folder, "recovery.md", DOCUMENT);
    let outcome = cli.run(&["lint", "recovery.md"]);
    outcome.assert_exit(1);
    let expected = "\
false-confidence: without `ON_ERROR_STOP` psql goes on after an error in the file and exits with 0
  --> recovery.md:8:1
   |
 8 | gunzip -c /backups/shop.sql.gz | psql -d shop_restored
   | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
instead: `set -o pipefail`, and `psql -v ON_ERROR_STOP=1 --single-transaction`
rule:    psql-without-on-error-stop (docs/lint/psql-without-on-error-stop.md)

1 finding in 1 file: 1 false-confidence
";
    assert_eq!(outcome.stdout, expected);
}

#[test]
fn lint_json_has_a_finding_with_every_documented_field() {
    let (folder, cli) = sandbox();
    put(&folder, "recovery.md", DOCUMENT);
    let outcome = cli.run(&["lint", "--json", "recovery.md"]);
    outcome.assert_exit(1);
    let document = outcome.json();
    assert_eq!(document["outcome"], "failed");
    assert_eq!(document["counts"]["false-confidence"], 1);
    let finding = &document["findings"][0];
    assert_eq!((finding["file"].as_str(), finding["line"].as_u64()), (Some("recovery.md"), Some(8)));
    assert_eq!(
        (finding["rule"].as_str(), finding["column"].as_u64()),
        (Some("psql-without-on-error-stop"), Some(1))
    );
    assert_eq!(finding["severity"], "false-confidence");
    assert_eq!(finding["quote"], "gunzip -c /backups/shop.sql.gz | psql -d shop_restored");
    for field in ["message", "instead", "page"] {
        assert!(finding[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {finding}");
    }
}

#[test]
fn lint_sarif_names_rule_level_and_region() {
    let (folder, cli) = sandbox();
    put(&folder, "run book.md", DOCUMENT);
    let outcome = cli.run(&["lint", "--sarif", "run book.md"]);
    outcome.assert_exit(1);
    let document = outcome.json();
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    let result = &run["results"][0];
    let at = result["ruleIndex"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][at]["id"], result["ruleId"]);
    assert_eq!(
        (result["level"].as_str(), result["ruleId"].as_str()),
        (Some("warning"), Some("psql-without-on-error-stop"))
    );
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "run%20book.md");
    assert_eq!(
        (place["region"]["startLine"].as_u64(), place["region"]["startColumn"].as_u64()),
        (Some(8), Some(1))
    );
}

#[test]
fn lint_passes_what_is_right_and_what_is_only_weak() {
    let (folder, cli) = sandbox();
    put(&folder, "good.md", "# Recovery\n\n```bash\nkubectl get pods -n shop\n```\n");
    put(&folder, "weak.sh", "redis-cli -a \"$1\" ping\n");
    put(&folder, "empty.md", "");
    let good = cli.run(&["lint", "good.md", "empty.md"]);
    good.assert_exit(0);
    assert_eq!(good.stdout, "no findings in 2 files\n");
    let weak = cli.run(&["lint", "weak.sh"]);
    weak.assert_exit(0);
    assert!(weak.stdout.contains("1 finding in 1 file: 1 weak"), "{}", weak.stdout);
}

#[test]
fn lint_looks_at_muster_yaml_with_the_findings_of_the_configuration() {
    let (folder, cli) = sandbox();
    put(&folder, "muster.yaml", "platform: shop\nobjectives: {rto: 1h, rpo: 5}\ncomponent: {}\n");
    let outcome = cli.run(&["lint", "--json", "muster.yaml"]);
    outcome.assert_exit(1);
    let document = outcome.json();
    let lines: Vec<_> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["rule"].as_str(), one["severity"].as_str(), one["line"].as_u64()))
        .collect();
    assert!(lines.contains(&(Some("configuration"), Some("fails"), Some(2))), "{document:#}");
}

#[test]
fn lint_says_nothing_of_a_script_that_lies_there() {
    let (folder, cli) = sandbox();
    put(&folder, "docs/recovery.md", "# Recovery\n\n```bash\n./ops/start.sh now\n./ops/gone.sh now\n```\n");
    put(&folder, "ops/start.sh", "true\n");
    let outcome = cli.run(&["lint", "--json", "docs/recovery.md"]);
    let document = outcome.json();
    let lines: Vec<_> = document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["rule"] == "undefined-script")
        .map(|one| one["line"].as_u64())
        .collect();
    assert_eq!(lines, [Some(5)], "{document:#}");
}

#[test]
fn lint_refuses_what_it_cannot_look_at_before_it_says_anything() {
    let (folder, cli) = sandbox();
    put(&folder, "good.md", DOCUMENT);
    put(&folder, "image.md", b"\x89PNG\r\n\x1a\n\0\0");
    put(&folder, "large.md", vec![b'a'; 5 << 20]);
    fs::create_dir(folder.path().join("folder")).unwrap();
    for (name, says) in [
        ("gone.md", "cannot be read"),
        ("folder", "is a folder"),
        ("image.md", "cannot be looked at"),
        ("large.md", "cannot be looked at"),
    ] {
        let outcome = cli.run(&["lint", "good.md", name]);
        outcome.assert_exit(2);
        assert!(
            outcome.stderr.contains(&format!("`{name}` {says}")) && outcome.stderr.contains("hint:"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stdout, "");
    }
}

#[test]
fn lint_lists_its_rules() {
    let (_folder, cli) = sandbox();
    let outcome = cli.run(&["lint", "--rules", "--json"]);
    outcome.assert_exit(0);
    let document = outcome.json();
    let rules = document["rules"].as_array().unwrap();
    assert!(rules.len() > 60, "{} rules", rules.len());
    assert!(
        rules.iter().all(|rule| rule["page"].as_str().is_some_and(|page| page.starts_with("docs/lint/")))
    );
    cli.run(&["lint"]).assert_exit(2);
}
