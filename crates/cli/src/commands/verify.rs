//! `muster verify`: the repository itself, or foreign backup files.

use muster_drivers::foreign;
use muster_engine::fold;
use muster_repo::{Expected, Repo, VerifyDepth};
use muster_types::Kind;
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
        return verify_files(args);
    }
    let loaded = app::load(global, Intent::Read)?;
    let repo = Repo::open_damaged(&app::location(&loaded)?, &loaded.repository_key(&SystemEnvironment)?)?;
    let world = app::world_with(loaded, repo)?;
    let progress = Progress::new(global.quiet || global.json);
    let depth = depth(args)?;
    let events = world.journal.events()?;
    let expected =
        Expected { backups: fold::expected_backups(&events).into_iter().collect(), keys: Vec::new() };
    let report = world.repo.verify(depth, &expected, &progress)?;
    let is_sound = report.findings.is_empty();
    let text = render::verification(&report);
    let outcome = if is_sound { "passed" } else { "failed" };
    let document = json!({"outcome": outcome, "verification": report});
    Ok(Answer::new(text, document).with_code(if is_sound { exit::DONE } else { exit::DAMAGED }))
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

fn verify_files(args: &VerifyArgs) -> Result<Answer, Failure> {
    let reports = args.files.iter().map(|file| foreign::verify_file(file)).collect::<Result<Vec<_>, _>>()?;
    let is = |verdict| reports.iter().any(|report| report.verdict == verdict);
    // What cannot be judged is not sound, but nothing is known to be damaged either.
    let code = match (is(foreign::Verdict::Damaged), is(foreign::Verdict::Suspicious)) {
        (true, _) => exit::DAMAGED,
        (false, true) => exit::FAILED,
        (false, false) => exit::DONE,
    };
    let text = reports.iter().map(render::foreign).collect::<String>();
    let outcome = if code == exit::DONE { "passed" } else { "failed" };
    let document = json!({"outcome": outcome, "files": reports});
    Ok(Answer::new(text, document).with_code(code))
}
