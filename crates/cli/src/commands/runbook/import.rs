//! `muster runbook import`: what a document promises, and drafts of the files that keep it.
//!
//! Reads and recognises first, then looks whether anything stands in the way, then writes: each file whole under its name
//! or not at all, `muster.yaml` last. It never overwrites, and with `--json` it writes only where `--into` says so.

use std::path::{Path, PathBuf};

use muster_plan::import::{self, DraftFile, Recognised};
use muster_types::{Kind, text::counted};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    args::Global,
    exit::Failure,
    init::{document::name_of, make},
};

/// Everybody may read a draft: there is no secret in it that was not in the document.
const FILE_MODE: u32 = 0o644;

pub(super) fn run(
    global: &Global,
    file: &Path,
    into: Option<&Path>,
    dry_run: bool,
) -> Result<Answer, Failure> {
    let bytes = super::bytes(file)?;
    let found = import::recognise(&super::document(file, &bytes)?);
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let drafts = import::draft(&found, &name, &platform(&found, file));
    let writes = !dry_run && (into.is_some() || !global.json);
    let folder = into.unwrap_or(Path::new(".")).to_owned();
    let paths: Vec<PathBuf> = drafts.iter().map(|draft| folder.join(&draft.path)).collect();
    if writes {
        refuse_what_stands(&paths, &drafts)?;
        write(&folder, &drafts)?;
    }
    let text = said(&found, &name) + &files(&paths, writes);
    Ok(Answer::new(text, document(&found, &name, &paths, writes)?))
}

/// The words of the title that are not about recovery, else the file's name.
fn platform(found: &Recognised, file: &Path) -> String {
    const GENERAL: &[&str] = &[
        "disaster",
        "recovery",
        "runbook",
        "runbooks",
        "playbook",
        "plan",
        "dr",
        "document",
        "procedure",
        "procedures",
        "handbook",
        "guide",
        "emergency",
        "manual",
        "for",
        "the",
        "of",
        "and",
        "our",
        "how",
        "we",
        "to",
        "a",
    ];
    let title = found.title.as_deref().unwrap_or_default();
    let own: Vec<&str> = title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !GENERAL.contains(&word.to_lowercase().as_str()))
        .collect();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let candidates =
        [if own.len() <= 3 { own.join(" ") } else { String::new() }, stem, "platform".to_owned()];
    candidates.iter().map(|name| name_of(name)).find(|name| !name.is_empty()).unwrap_or_default()
}

/// Nothing is written when one of the files is there already.
///
/// `muster.yaml` comes last: where it is missing, drafts that stand there word for word are those of an import that was
/// killed or had no space left, and it goes on from there.
fn refuse_what_stands(paths: &[PathBuf], drafts: &[DraftFile]) -> Result<(), Failure> {
    let is_same = |path: &Path, draft: &DraftFile| {
        std::fs::read(path).is_ok_and(|content| content == draft.content.as_bytes())
    };
    let was_finished = paths.last().is_some_and(|path| path.symlink_metadata().is_ok());
    let standing: Vec<String> = paths
        .iter()
        .zip(drafts)
        .filter(|(path, _)| path.symlink_metadata().is_ok())
        .filter(|(path, draft)| was_finished || !is_same(path, draft))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if standing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Conflict,
        format!(
            "{} {} there already: {}",
            counted(standing.len(), "file"),
            if standing.len() == 1 { "is" } else { "are" },
            standing.join(", ")
        ),
        "write into another folder with `--into DIR`; Muster overwrites none",
    ))
}

fn write(folder: &Path, drafts: &[DraftFile]) -> Result<(), Failure> {
    for draft in drafts {
        let path = folder.join(&draft.path);
        // Only what stands there word for word has come through.
        if path.exists() {
            continue;
        }
        let above = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(above).map_err(|error| {
            let mut failure = Failure::new(
                Kind::Unavailable,
                format!("cannot make the folder {}", above.display()),
                "choose another with `--into DIR`",
            );
            failure.note.causes.push(error.to_string());
            failure
        })?;
        make::create(&path, draft.content.as_bytes(), FILE_MODE)?;
    }
    Ok(())
}

fn said(found: &Recognised, name: &str) -> String {
    let mut text = format!("{name}: {}\n", found.title.as_deref().unwrap_or("no title"));
    for one in &found.objectives {
        let target = |name: &str, seconds: Option<u64>| {
            seconds
                .map(|seconds| format!("  {name} {}", muster_types::Span::from_secs(seconds)))
                .unwrap_or_default()
        };
        text.push_str(&format!(
            "  line {:>4}  objective  {}{}{}\n",
            one.line,
            one.scope,
            target("RTO", one.rto_seconds),
            target("RPO", one.rpo_seconds)
        ));
    }
    for one in &found.scenarios {
        let number = one.number.as_deref().map(|number| format!("{number} ")).unwrap_or_default();
        text.push_str(&format!(
            "  line {:>4}  scenario   {number}{} ({})\n",
            one.line,
            one.title,
            counted(one.steps.len(), "step")
        ));
    }
    let empty = found.contacts.iter().filter(|one| !one.is_reachable).count();
    let counts = [
        counted(found.procedures.len(), "other procedure"),
        format!("{} ({empty} cannot be reached)", counted(found.contacts.len(), "contact")),
        counted(found.escalation.len(), "level") + " of escalation",
        counted(found.drills.len(), "drill"),
        counted(found.backups.len(), "line") + " about backups",
        counted(found.checklists.len(), "checklist"),
        counted(found.questions.len(), "placeholder"),
    ];
    text.push_str(&format!("also: {}\n", counts.join(", ")));
    if !found.unrecognised.is_empty() {
        text.push_str("not understood:\n");
    }
    for one in &found.unrecognised {
        let shown: String = one.text.chars().take(70).collect();
        text.push_str(&format!("  line {:>4}  {}: {shown}\n", one.line, one.what));
    }
    text
}

fn files(paths: &[PathBuf], has_written: bool) -> String {
    let mut text = String::from(if has_written { "written:\n" } else { "would be written:\n" });
    for path in paths {
        text.push_str(&format!("  {}\n", path.display()));
    }
    text
}

fn document(found: &Recognised, name: &str, paths: &[PathBuf], has_written: bool) -> Result<Value, Failure> {
    let mut document = serde_json::to_value(found).map_err(|error| {
        Failure::new(Kind::Bug, format!("the answer cannot be written: {error}"), "report this")
    })?;
    document["document"] = json!(name);
    document["files"] = json!(paths);
    document["written"] = json!(has_written);
    Ok(document)
}
