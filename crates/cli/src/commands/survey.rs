//! `muster survey`: what Muster sees of each component, and what a backup still needs.
//!
//! It opens neither the repository nor the journal and takes no lock: it also answers while a backup runs, on a host
//! that has no key, and before `muster init`. Of a bucket it asks what the configuration declares, and nothing else.

use muster_drivers::look::{Finding, Look};
use muster_types::Kind;
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, SurveyArgs},
    exit::{self, Failure},
    progress::Progress,
};

pub(super) fn run(global: &Global, args: &SurveyArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let names = app::names(&loaded.platform.components, &args.components)?;
    if args.sql {
        return preparations(&loaded, &names);
    }
    app::refuse_missing_secrets(&loaded.platform, &names, &args.components)?;
    let progress = Progress::new(global.quiet || global.json);
    let (mut text, mut documents, mut is_ready) = (String::new(), Vec::new(), true);
    for name in &names {
        let kind = loaded.platform.components[name].kind();
        let look = app::open_component(&loaded, name)?.look(&progress)?;
        is_ready &= look.is_ready();
        text.push_str(&block(name, kind, &look));
        let mut document = json!(look);
        document["component"] = json!(name);
        document["kind"] = json!(kind);
        document["is_ready"] = json!(look.is_ready());
        documents.push(document);
    }
    if names.is_empty() {
        text.push_str("the configuration has no components\n");
    }
    let buckets = super::buckets::look(&loaded, &|_| args.components.is_empty());
    text.push_str(&super::buckets::text(&buckets));
    is_ready &= super::buckets::are_sound(&buckets);
    let outcome = if is_ready { "passed" } else { "failed" };
    let mut document = json!({"outcome": outcome, "components": documents});
    if !buckets.is_empty() {
        document["buckets"] = json!(buckets);
    }
    Ok(Answer::new(text, document).with_code(if is_ready { exit::DONE } else { exit::FAILED }))
}

fn block(name: &str, kind: &str, look: &Look) -> String {
    let verdict = if look.is_ready() { "a backup is possible" } else { "no backup is possible" };
    let mut text = format!("{name} ({kind}): {verdict}\n");
    let width = look.facts.iter().map(|fact| fact.name.chars().count()).max().unwrap_or_default();
    for fact in &look.facts {
        text.push_str(&format!("  {:width$}  {}\n", fact.name, fact.value));
    }
    let mut findings = |word: &str, findings: &[Finding]| {
        for finding in findings {
            text.push_str(&format!("  {word}: {}\n", finding.what));
            for line in finding.mend.iter().flat_map(|mend| mend.lines()) {
                text.push_str(&format!("      {line}\n"));
            }
        }
    };
    findings("missing", &look.hindrances);
    findings("warning", &look.warnings);
    text
}

/// Prints what a person does once at the source; asks nobody.
fn preparations(loaded: &crate::config::Loaded, names: &[String]) -> Result<Answer, Failure> {
    let (mut text, mut documents) = (String::new(), Vec::new());
    for name in names {
        let Some(preparation) = app::open_component(loaded, name)?.preparation() else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("-- for component `{name}`\n{preparation}"));
        let mut document = json!(preparation);
        document["component"] = json!(name);
        documents.push(document);
    }
    if documents.is_empty() {
        return Err(Failure::new(
            Kind::Input,
            "none of these components has a server that needs a role",
            "leave `--sql` out to see what Muster sees of them",
        ));
    }
    Ok(Answer::new(text, json!({"outcome": "done", "components": documents})))
}
