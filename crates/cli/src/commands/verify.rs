//! `muster verify`: the repository itself, or foreign backup files.

mod journals;

use std::path::PathBuf;

use muster_drivers::foreign;
use muster_engine::carry;
use muster_repo::{Expected, Finding, Repo, VerifyDepth};
use muster_types::{Kind, backup::BackupId};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, VerifyArgs},
    config::SystemEnvironment,
    exit::{self, Failure},
    progress::Progress,
    render,
};

pub(super) fn run(global: &Global, args: &VerifyArgs) -> Result<Answer, Failure> {
    if !args.files.is_empty() {
        let (exports, foreign): (Vec<_>, Vec<_>) =
            args.files.iter().cloned().partition(|file| journals::is_export(file));
        return verify_files(global, &exports, &foreign);
    }
    let mut loaded = app::load(global, Intent::Read)?;
    let location = match &args.from {
        Some(name) => app::copy_location(&loaded, name)?,
        None => app::location(&loaded)?,
    };
    let repo = Repo::open_damaged(&location, &loaded.repository_key(&SystemEnvironment)?)?;
    if let Some(name) = &args.from {
        app::name_copy(&mut loaded, name);
    }
    let world = app::world_with(loaded, repo)?;
    let progress = Progress::new(global.quiet || global.json);
    let depth = depth(args)?;
    let events = world.journal.events()?;
    let taken = carry::expected_backups(&world, &events);
    // What a copy does not have yet is said by `status`; it is no damage.
    let backups = if args.from.is_some() { Vec::new() } else { taken.iter().cloned().collect() };
    let expected = Expected { backups, keys: Vec::new() };
    let mut report = world.repo.verify(depth, &expected, &progress)?;
    if let Some(name) = &args.from {
        report.notes.extend(missing_in(&world.repo, name, &taken)?);
    }
    let is_sound = report.findings.is_empty();
    let text = render::verification(&report);
    let outcome = if is_sound { "passed" } else { "failed" };
    let document = json!({"outcome": outcome, "verification": report});
    Ok(Answer::new(text, document).with_code(if is_sound { exit::DONE } else { exit::DAMAGED }))
}

/// Says how many backups a copy has not got yet.
fn missing_in(
    copy: &Repo,
    name: &str,
    taken: &std::collections::BTreeSet<BackupId>,
) -> Result<Option<Finding>, Failure> {
    let there: Vec<BackupId> = copy.list()?.backups.into_iter().map(|backup| backup.id).collect();
    let missing = taken.iter().filter(|id| !there.contains(id)).count();
    let message = format!("{missing} backups of the repository are not in it: run `muster copy {name}`");
    Ok((missing > 0).then(|| Finding::new(format!("copy {name}"), message)))
}

fn depth(args: &VerifyArgs) -> Result<VerifyDepth, Failure> {
    let Some(text) = &args.read_data else { return Ok(VerifyDepth::Structure) };
    match text.trim_end_matches('%').parse::<u8>() {
        Ok(percent @ 1..=100) => Ok(VerifyDepth::ReadData { percent: percent.into() }),
        _ => Err(Failure::new(
            Kind::Input,
            format!("`{text}` is not a part of the data"),
            "write `--read-data` for all of it, or `--read-data=10%`",
        )),
    }
}

fn verify_files(global: &Global, exports: &[PathBuf], files: &[PathBuf]) -> Result<Answer, Failure> {
    let journals = exports.iter().map(|file| journals::look(global, file)).collect::<Result<Vec<_>, _>>()?;
    let is_altered = journals.iter().any(|one| !one.is_sound);
    let reports = files.iter().map(|file| foreign::verify_file(file)).collect::<Result<Vec<_>, _>>()?;
    let is = |verdict| reports.iter().any(|report| report.verdict == verdict);
    // What cannot be judged is not sound, but nothing is known to be damaged either.
    let code = match (is_altered || is(foreign::Verdict::Damaged), is(foreign::Verdict::Suspicious)) {
        (true, _) => exit::DAMAGED,
        (false, true) => exit::FAILED,
        (false, false) => exit::DONE,
    };
    let text: String =
        journals.iter().map(|one| one.text.clone()).chain(reports.iter().map(render::foreign)).collect();
    let outcome = if code == exit::DONE { "passed" } else { "failed" };
    let mut document = json!({"outcome": outcome, "files": reports});
    if !journals.is_empty() {
        document["journals"] = journals.into_iter().map(|one| one.document).collect();
    }
    Ok(Answer::new(text, document).with_code(code))
}
