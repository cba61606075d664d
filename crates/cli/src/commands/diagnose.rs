//! `muster diagnose`: run all checks, and name the runbook that fits best, with why.
//!
//! Arguments come in; an answer leaves with what failed and a ranked list. It looks at the runbooks below `runbooks/` and
//! the documents beside the configuration, or at those that a person names. Nothing of them is executed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_drivers::checks;
use muster_plan::{
    diagnose::{self, Candidate, Observed, Ranked},
    import,
    runbook::{self, Runbook},
};
use muster_types::{Clock, Kind, Span, check::CheckResult, config::Check, text::counted};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{DiagnoseArgs, Global},
    clock::SystemClock,
    config::Loaded,
    exit::{self, Failure},
    progress::Progress,
};

/// At 3 a.m. nobody waits longer for a first picture.
const DEADLINE: Duration = Duration::from_mins(1);
/// More than this is a list and no answer.
const SHOWN: usize = 5;

/// Something to do, with where it stands.
struct Place {
    file: PathBuf,
    /// Its number in a document, or its title.
    section: Option<String>,
    severity: Option<String>,
}

pub(super) fn run(global: &Global, args: &DiagnoseArgs) -> Result<Answer, Failure> {
    let mut results = Vec::new();
    let mut sources = named(&args.documents)?;
    if !args.no_checks || sources.is_empty() {
        let loaded = app::load(global, Intent::Read)?;
        if !args.no_checks {
            results = look(global, &loaded, args.deadline);
        }
        if sources.is_empty() {
            sources = usual(&loaded.folder);
        }
    }
    let (mut found, mut warnings) = (Vec::new(), Vec::new());
    for source in &sources {
        match read(source) {
            Ok(more) => found.extend(more),
            // One broken file must not hide the others now.
            Err(failure) => {
                warnings.push(format!("{} is left out: {}", source.display(), failure.note.error));
            }
        }
    }
    let failed = results.iter().filter(|result| !result.passed).count();
    if failed == 0 && args.words.is_empty() {
        return Ok(nothing_wrong(&results, &warnings));
    }
    let candidates: Vec<Candidate> = found.iter().map(|(candidate, _)| candidate.clone()).collect();
    let ranked = diagnose::rank(&candidates, Observed { checks: &results, words: &args.words });
    Ok(show(&found, &ranked, &results, &warnings))
}

fn look(global: &Global, loaded: &Loaded, deadline: Option<Span>) -> Vec<CheckResult> {
    let all: Vec<(String, Check)> =
        loaded.platform.checks.iter().map(|(name, check)| (name.clone(), check.clone())).collect();
    let progress = Progress::new(global.quiet || global.json);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    checks::run_all(&all, Some(deadline.map_or(DEADLINE, Span::duration)), &clock, &progress)
}

fn show(
    found: &[(Candidate, Place)],
    ranked: &[Ranked],
    results: &[CheckResult],
    warnings: &[String],
) -> Answer {
    let mut text = seen(results);
    warn(&mut text, warnings);
    let is_empty = ranked.is_empty();
    text.push_str(if is_empty { "no runbook fits what is seen\n" } else { "what fits, best first:\n" });
    let mut documents = Vec::new();
    for (number, one) in ranked.iter().take(SHOWN).enumerate() {
        let Some((candidate, place)) = found.get(one.index) else { continue };
        let command = command(place);
        let severity = place.severity.as_ref().map(|severity| format!(" ({severity})")).unwrap_or_default();
        text.push_str(&format!("  {}. {}{severity}\n", number + 1, candidate.title));
        for why in &one.why {
            text.push_str(&format!("     {why}\n"));
        }
        text.push_str(&format!("     {command}\n"));
        documents.push(json!({
            "title": candidate.title, "file": place.file, "section": place.section, "severity": place.severity,
            "score": one.score, "why": one.why, "command": command,
        }));
    }
    if is_empty {
        let looked = counted(found.len(), "runbook");
        text.push_str(&format!(
            "hint:  {looked} looked at; say what you see in other words, or name documents with `--in`\n"
        ));
    }
    let document = json!({
        "outcome": if is_empty { "nothing fits" } else { "found" },
        "checks": results, "candidates": documents, "looked_at": found.len(), "warnings": warnings,
    });
    Answer::new(text, document).with_code(if is_empty { exit::FAILED } else { exit::DONE })
}

fn warn(text: &mut String, warnings: &[String]) {
    for warning in warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
}

fn nothing_wrong(results: &[CheckResult], warnings: &[String]) -> Answer {
    let what = if results.is_empty() {
        "no check is configured: say what you see, like `muster diagnose database slow`".to_owned()
    } else {
        format!("{} passed: nothing is wrong that a check can see\n", counted(results.len(), "check"))
    };
    let mut text = what.trim_end().to_owned();
    text.push('\n');
    warn(&mut text, warnings);
    let document = json!({
        "outcome": "nothing wrong", "checks": results, "candidates": [], "looked_at": 0, "warnings": warnings,
    });
    Answer::new(text, document)
}

/// Says which checks fail and why.
fn seen(results: &[CheckResult]) -> String {
    let mut text = String::new();
    let failed: Vec<&CheckResult> = results.iter().filter(|result| !result.passed).collect();
    if !results.is_empty() {
        text.push_str(&format!("{} of {} failed\n", failed.len(), counted(results.len(), "check")));
    }
    for result in failed {
        text.push_str(&format!("  {}: {}\n", result.name, result.reason().unwrap_or_default()));
    }
    text
}

fn command(place: &Place) -> String {
    let file = quoted(&place.file.display().to_string());
    match &place.section {
        Some(section) => format!("muster runbook show {file} {}", quoted(section)),
        None => format!("muster runbook show {file}"),
    }
}

/// Quotes a text for a shell where it needs to be.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Returns the titles of what a file offers, with the sections by which they are run; nothing of a file that is broken.
pub(super) fn offered(path: &Path) -> Vec<(String, Option<String>)> {
    let found = read(path).unwrap_or_default();
    found.into_iter().map(|(candidate, place)| (candidate.title, place.section)).collect()
}

/// Returns the runbooks below `runbooks/` and the documents beside the configuration.
pub(super) fn usual(folder: &Path) -> Vec<PathBuf> {
    let mut found = markdown(&folder.join("runbooks"));
    found.extend(markdown(folder));
    let here = std::env::current_dir().unwrap_or_default();
    // As a person would type them.
    found.iter().map(|path| path.strip_prefix(&here).unwrap_or(path).to_owned()).collect()
}

fn named(given: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in given {
        if path.is_dir() {
            let inside = markdown(path);
            if inside.is_empty() {
                let error = format!("there is no Markdown file in {}", path.display());
                return Err(Failure::new(Kind::NotFound, error, "name the documents themselves"));
            }
            found.extend(inside);
        } else if path.exists() {
            found.push(path.clone());
        } else {
            let error = format!("there is no file {}", path.display());
            return Err(Failure::new(Kind::NotFound, error, "look at the name with `ls`"));
        }
    }
    Ok(found)
}

/// Returns the Markdown files of a folder by name; none where there is no such folder.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md") && path.is_file())
        .collect();
    found.sort();
    found
}

/// Reads what a file offers: itself as a runbook of ours, or each scenario of a document.
fn read(path: &Path) -> Result<Vec<(Candidate, Place)>, Failure> {
    let bytes = super::runbook::bytes(path)?;
    let document = super::runbook::document(path, &bytes)?;
    if runbook::is_runbook(&document) {
        let loaded = runbook::load(&bytes).map_err(|error| super::runbook::failure(path, &bytes, &error))?;
        return Ok(vec![ours(path, &loaded)]);
    }
    let found = import::recognise(&document);
    let scenarios = found.scenarios.into_iter().chain(found.procedures).map(|scenario| {
        let about = scenario.phases.iter().map(|phase| phase.title.clone());
        let above = scenario.steps.iter().filter_map(|step| Some(step.under.as_ref()?.title.clone()));
        let candidate = Candidate {
            title: scenario.title.clone(),
            checks: Vec::new(),
            symptoms: scenario.symptoms.clone(),
            about: about.chain(above).chain(scenario.impact.iter().cloned()).collect(),
        };
        let section = scenario.number.clone().unwrap_or(scenario.title);
        (candidate, Place { file: path.to_owned(), section: Some(section), severity: scenario.priority })
    });
    Ok(scenarios.collect())
}

fn ours(path: &Path, loaded: &Runbook) -> (Candidate, Place) {
    let front = &loaded.front;
    let candidate = Candidate {
        title: front.title.clone(),
        checks: front.symptoms.clone(),
        symptoms: Vec::new(),
        about: front
            .tags
            .iter()
            .cloned()
            .chain(loaded.phases.iter().map(|phase| phase.title.clone()))
            .collect(),
    };
    (candidate, Place { file: path.to_owned(), section: None, severity: front.severity.clone() })
}
