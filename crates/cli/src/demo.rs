//! `muster demo`: destroy and recover a small agent platform, to see how it works before it is needed.
//!
//! Everything happens in one temporary folder and on loopback: a platform of its own (SQLite, uploads, configuration)
//! served by a second process of this binary, a repository, a `muster.yaml`. The demo goes through the same survey,
//! plan, execute and report as any other command; it only plays the accident.
//!
//! It never touches anything outside its folder and leaves nothing running; the report stays.

mod platform;
mod report;
mod sandbox;
mod story;

use std::time::Instant;

use muster_types::Kind;

use crate::{
    answer::Answer,
    args::{DemoArgs, Global},
    exit::{self, Failure},
    progress::Progress,
};

/// Runs the demo, or one of the internal verbs of its platform.
pub(crate) fn run(global: &Global, args: &DemoArgs) -> Result<Answer, Failure> {
    if let (Some(verb), Some(folder)) = (&args.platform, &args.sandbox) {
        return platform::run(verb, folder);
    }
    let progress = Progress::new(global.quiet || global.json);
    let begun = Instant::now();
    let sandbox = sandbox::Sandbox::create()?;
    progress.say(&format!("sandbox: {}", sandbox.folder().display()));
    let mut story = story::Story::new(&sandbox, &progress);
    let told = story.tell();
    let stopped = sandbox.stop_platform();
    if let Err(failure) = told {
        story.fail(&failure);
    }
    if let Err(failure) = stopped {
        story.fail(&failure);
    }
    let report = story.into_report(begun.elapsed().as_secs_f64());
    let paths = report::write(&sandbox, &report).map_err(|error| {
        Failure::new(
            Kind::Unavailable,
            format!("cannot write the report: {error}"),
            "make room in the temporary folder",
        )
    })?;
    if !args.keep {
        sandbox.remove_all_but_the_report();
    }
    let text = report::text(&report, &paths, args.keep.then(|| sandbox.folder()));
    let code = if report.outcome == report::Outcome::Passed { exit::DONE } else { exit::FAILED };
    Ok(Answer::new(text, report::document(&report, &paths)).with_code(code))
}
