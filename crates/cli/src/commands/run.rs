//! `muster run`: a runbook, or a scenario of any document, step by step; and how such a run is continued.
//!
//! ```text
//! file ──► source (its texts) ──► walk (pure) ──► faults? refused before anything begins
//!                                   └──► --dry-run: the very commands   |   script::begin ──► report
//! ```
//!
//! It never reads the file again once a run has begun: the journal holds the text.

mod answers;
mod children;
mod console;
mod dry;
mod prompt;
mod session;
mod source;

use std::{collections::BTreeMap, io::IsTerminal, path::Path};

use muster_drivers::{
    component::{self, ComponentDriver},
    services,
};
use muster_engine::{
    fold::{self, RunRecord},
    journal::Journal,
    script,
    script::GiveUp,
};
use muster_plan::runbook::{self, RunScope, Walk};
use muster_types::{
    Clock, Kind,
    measured::median,
    plan::{Mode, Plan},
    script::ScriptSource,
};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, ResumeArgs, RunArgs},
    clock::SystemClock,
    config::{ConfigError, Loaded},
    exit::Failure,
    render, signals,
};
use answers::Answers;
use console::Console;
pub(crate) use console::shown;

pub(super) fn run(global: &Global, args: &RunArgs) -> Result<Answer, Failure> {
    let mut source = source::read(&args.file, args.section.as_deref())?;
    let loaded = app::load(global, if args.dry_run { Intent::Read } else { Intent::Change })?;
    let walk = walk(&source, &loaded)?;
    let faults = walk.faults();
    if !faults.is_empty() {
        return Err(refused(&source, faults));
    }
    let answers = Answers::read(args.answers.as_deref(), &walk)?;
    let now = SystemClock.now();
    let failed_at =
        args.failed_at.as_deref().map(|text| super::restore::parse_past(text, now)).transpose()?;
    source.inputs = answers.lasting(&walk.secrets());
    let scope = RunScope {
        platform: &loaded.platform.platform,
        environment: &loaded.environment,
        mode: if args.drill { Mode::Drill } else { Mode::Live },
        now,
        failed_at,
    };
    let plan = runbook::plan(&walk, source, &scope);
    if args.dry_run {
        return Ok(dry::show(&plan, &walk, &answers));
    }
    if args.drill {
        refuse_in_production(&loaded)?;
    }
    refuse_without_anybody(args.yes, &args.file)?;
    perform(global, &loaded, &plan, &walk, answers, (args.yes, args.follow), None)
}

/// A drill does every step as it stands. What it may do it to is for a person to set up: an environment of its own.
fn refuse_in_production(loaded: &Loaded) -> Result<(), Failure> {
    let environment = &loaded.environment;
    let is_production = environment
        .split(['-', '_', '.'])
        .any(|part| ["prod", "production", "prd", "live"].iter().any(|name| part.eq_ignore_ascii_case(name)));
    if !is_production {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Input,
        format!(
            "`--drill` is not for the environment `{environment}`: a drill does every step of the runbook"
        ),
        "rehearse in an environment made for it, `--env NAME`; to look at the steps only, say `--dry-run`",
    ))
}

/// Continues the run of a runbook.
pub(super) fn resume(
    global: &Global,
    args: &ResumeArgs,
    loaded: &Loaded,
    record: &RunRecord,
) -> Result<Answer, Failure> {
    let Some(source) = record.plan.script.as_deref() else {
        return Err(Failure::new(Kind::Bug, "the run has no runbook", "report this"));
    };
    let walk = walk(source, loaded)?;
    let mut answers = Answers::read(args.answers.as_deref(), &walk)?;
    answers.remember(&source.inputs);
    refuse_without_anybody(args.yes, Path::new(&source.file))?;
    source::say_if_changed(source, global.quiet || global.json);
    let give_up = if args.undo { GiveUp::Yes } else { GiveUp::No };
    perform(global, loaded, &record.plan, &walk, answers, (args.yes, args.follow), Some((record, give_up)))
}

fn walk(source: &ScriptSource, loaded: &Loaded) -> Result<Walk, Failure> {
    Walk::new(source, &loaded.platform, &loaded.environment).map_err(|(file, error)| {
        let text = source.texts.get(&file).map_or("", String::as_str);
        super::runbook::failure(Path::new(&file), text.as_bytes(), &error)
    })
}

/// Shows everything that stands against it, with the lines.
fn refused(source: &ScriptSource, faults: Vec<(String, Vec<runbook::Fault>)>) -> Failure {
    let mut findings = Vec::new();
    for (file, faults) in faults {
        let text = source.texts.get(&file).map_or("", String::as_str);
        // Lines of a draft are not those of the document that it was made of.
        let path = if source.is_document { format!("{file} (as a runbook)") } else { file.clone() };
        let error = runbook::RunbookError { faults };
        findings.extend(super::runbook::findings(Path::new(&path), text.as_bytes(), &error));
    }
    Failure::of_config(ConfigError { findings }, &std::env::current_dir().unwrap_or_default())
}

fn refuse_without_anybody(yes: bool, file: &Path) -> Result<(), Failure> {
    if yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Input,
        format!("this runs {}: nobody is there to confirm its steps", file.display()),
        "look at them with `--dry-run`, then say `--yes`",
    ))
}

fn perform(
    global: &Global,
    loaded: &Loaded,
    plan: &Plan,
    walk: &Walk,
    answers: Answers,
    yes_and_follow: (bool, bool),
    record: Option<(&RunRecord, GiveUp)>,
) -> Result<Answer, Failure> {
    let journal = Journal::open(&loaded.state_dir)?.with_mask(loaded.mask.clone());
    let clock = SystemClock;
    let components = open_components(loaded)?;
    let mut services = BTreeMap::new();
    for (name, definition) in &loaded.platform.services {
        services.insert(name.clone(), services::open(name, definition)?);
    }
    let site = script::Site {
        platform: &loaded.platform,
        operator: app::operator(),
        clock: &clock,
        state: loaded.state_dir.clone(),
        journal: &journal,
        components: &components,
        services: &services,
        // This very program, also when its file was replaced meanwhile.
        keeper: vec!["/proc/self/exe".into(), "keep-step".into()],
        session: session::address(),
        mask: loaded.mask.clone(),
    };
    // A run that goes on has some of it behind it.
    let over = record.map_or(0.0, |(record, _)| record.report.elapsed_seconds);
    let left = usual(&journal, plan)?.map(|usual| usual - over);
    let console = Console::new(global, plan, answers, yes_and_follow).with_usual(left);
    signals::only_count();
    let report = match record {
        None => script::begin(&site, &app::new_run(clock.now()), plan, walk, &console)?,
        Some((record, give_up)) => script::resume(&site, &record.report.run.0, walk, &console, give_up)?,
    };
    Ok(render::run(&report))
}

/// How long the earlier runs of this runbook took, in the middle.
fn usual(journal: &Journal, plan: &Plan) -> Result<Option<f64>, Failure> {
    let Some(source) = plan.script.as_deref() else { return Ok(None) };
    let runs = fold::runs(&journal.events()?);
    Ok(median(&fold::measured(&runs, &source.path, source.section.as_deref()).whole))
}

fn open_components(loaded: &Loaded) -> Result<BTreeMap<String, Box<dyn ComponentDriver>>, Failure> {
    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(SystemClock);
    let mut components = BTreeMap::new();
    for (name, definition) in &loaded.platform.components {
        components.insert(name.clone(), component::open(name, definition, clock.clone())?);
    }
    Ok(components)
}
