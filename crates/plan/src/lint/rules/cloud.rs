//! Object storage and infrastructure as code.
//!
//! In: commands of `aws`, `gsutil`, `gcloud`, `terraform` and their relatives. Out: findings.

use super::{Report, Rule, is_after};
use crate::lint::{finding::Severity, reading::Reading, shell::Call};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "aws-s3-cp-glob",
        severity: Severity::LosesData,
        message: "the shell expands the pattern and `aws s3 cp` takes one source: from the second file on it ends with an error, and nothing is copied any more",
        instead: "`aws s3 sync FOLDER s3://… --exclude '*' --include '*.dump'`",
        check: glob,
    },
    Rule {
        id: "gsutil-cp-nests",
        severity: Severity::Fails,
        message: "into a folder that exists, this copies the source's last folder too: the files lie one level deeper than the next commands look",
        instead: "`gsutil rsync -r SOURCE TARGET`, or a source that ends with `/*`",
        check: nests,
    },
    Rule {
        id: "terraform-auto-approve",
        severity: Severity::LosesData,
        message: "a new plan is made and applied unseen: it may destroy what survived, and is not the one that was reviewed",
        instead: "`terraform plan -out=FILE`, read it, `terraform apply FILE`; forbid deletes",
        check: auto_approve,
    },
    Rule {
        id: "rotate-secret-unawaited",
        severity: Severity::Fails,
        message: "this only begins a rotation, and fails where no rotation function is set; nothing here waits for it or gives the new value to the application",
        instead: "rotate key by key, wait until the new version is `AWSCURRENT`, restart what uses it, prove that the old key is refused",
        check: rotate,
    },
];

fn glob(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls().filter(|(_, call)| call.program() == "aws" && call.has_word("s3")) {
        let plain = call.plain(&[
            "--profile",
            "--region",
            "--endpoint-url",
            "--exclude",
            "--include",
            "--storage-class",
            "--sse",
            "--acl",
        ]);
        let copies = plain.iter().any(|word| matches!(word.text.as_str(), "cp" | "mv"));
        let Some(source) = plain.iter().find(|word| word.is_glob) else { continue };
        if copies {
            let finding = report.call(call);
            if source.text.starts_with("s3://") {
                "`aws s3 cp` knows no patterns: it looks for an object with a star in its name and ends with 404".clone_into(&mut finding.message);
                finding.severity = Severity::Fails;
            }
        }
    }
}

fn nests(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            let copies = (call.program() == "gsutil"
                || (call.program() == "gcloud" && call.has_word("storage")))
                && call.has_word("cp");
            if !copies || !call.has(&["-r", "-R", "--recursive"]) {
                continue;
            }
            let plain = call.plain(&["-o", "-h"]);
            let [.., source, target] = plain.as_slice() else { continue };
            let source = source.text.trim_end_matches('/');
            let name = source.rsplit('/').next().unwrap_or_default();
            let is_download = source.starts_with("gs://") && !target.text.starts_with("gs://");
            let depth = source.trim_start_matches("gs://").split('/').count();
            if !is_download || depth < 2 || name.contains('*') {
                continue;
            }
            let folder = target.text.trim_end_matches('/');
            let uses = |path: &str| {
                shell.script.calls.iter().any(|other| {
                    other.line() > call.line() && other.words.iter().any(|word| word.text.starts_with(path))
                })
            };
            if folder != "." && uses(&format!("{folder}/")) && !uses(&format!("{folder}/{name}")) {
                report.call(call);
            }
        }
    }
}

fn auto_approve(reading: &Reading, report: &mut Report) {
    for (_, call) in reading.calls() {
        let is_applied = match call.program() {
            "terraform" | "tofu" | "terragrunt" => {
                let plain: Vec<&str> = call
                    .plain(&["-var", "-var-file", "-target"])
                    .iter()
                    .map(|word| word.text.as_str())
                    .collect();
                let approved = is_approved(call);
                match plain.as_slice() {
                    ["apply" | "destroy"] | ["run-all", "apply" | "destroy", ..] => approved,
                    _ => false,
                }
            }
            "pulumi" => {
                let verb =
                    call.plain(&["-s", "--stack", "-C", "--cwd"]).first().map(|word| word.text.clone());
                verb.is_some_and(|verb| matches!(verb.as_str(), "up" | "update" | "destroy"))
                    && call.has(&["-y", "--yes", "--skip-preview", "-f"])
            }
            _ => false,
        };
        if is_applied {
            report.call(call);
        }
    }
}

fn rotate(reading: &Reading, report: &mut Report) {
    for shell in &reading.shells {
        for call in &shell.script.calls {
            if call.program() != "aws" || !call.has_word("rotate-secret") {
                continue;
            }
            let awaited = shell.script.calls.iter().any(|other| {
                let asks = ["describe-secret", "list-secret-version-ids", "get-secret-value"]
                    .iter()
                    .any(|verb| other.has_word(verb));
                other.program() == "aws" && asks && is_after(other, call)
            });
            if !awaited {
                report.call(call);
            }
        }
    }
}

fn is_approved(call: &Call) -> bool {
    call.arguments()
        .iter()
        .any(|word| matches!(word.text.as_str(), "-auto-approve" | "--auto-approve" | "-auto-approve=true"))
}
