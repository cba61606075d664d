//! `muster schedule`: what is done when, what was missed; or does it, until it is stopped.
//!
//! The list is made of the configuration, the journal and what the scheduler has noted; it asks no server and opens no
//! repository, so it answers when nothing else does.

use muster_engine::{
    fold::{self, RunRecord},
    journal::Journal,
    process,
};
use muster_plan::schedule::{Due, Missed, due, times};
use muster_types::{Clock, Kind, Timestamp};
use serde_json::{Value, json};

use crate::{
    answer::{self, Answer},
    app::{self, Intent},
    args::{Global, ScheduleArgs},
    clock::SystemClock,
    config::Loaded,
    exit::Failure,
    progress::Progress,
    render,
    scheduler::{self, Job, JobState, Said, State},
    signals,
};

/// More times than these fit on no screen.
const NEXT_MAX: usize = 1000;

pub(super) fn run(global: &Global, args: &ScheduleArgs) -> Result<Answer, Failure> {
    let loaded = app::load(global, if args.run { Intent::Change } else { Intent::Read })?;
    if args.unit {
        return unit(global, &loaded);
    }
    if args.run {
        keep(global, loaded, &signals::is_cancelled)?;
        return Ok(Answer::new("", json!({"outcome": "done"})));
    }
    if args.next > NEXT_MAX {
        let error = format!("`--next {}` is more than anybody reads", args.next);
        return Err(Failure::new(Kind::Input, error, format!("at most {NEXT_MAX}")));
    }
    list(&loaded, args.next, SystemClock.now())
}

/// Does what is scheduled until `is_stopped` says so; each line of it is said as it happens.
pub(super) fn keep(global: &Global, loaded: Loaded, is_stopped: &dyn Fn() -> bool) -> Result<(), Failure> {
    let progress = Progress::new(global.quiet || global.json);
    let mask = app::mask();
    let say = |said: &Said| {
        if global.json {
            let mut line = json!({"at": said.at, "event": said.event, "text": mask.apply(&said.text)});
            if !said.job.is_empty() {
                line["job"] = json!(said.job);
            }
            for (key, value) in said.more.as_object().into_iter().flatten() {
                line[key.as_str()] = value.clone();
            }
            // Who does not read any more wants the work to go on all the same.
            drop(answer::print(&line.to_string()));
        } else {
            let job = if said.job.is_empty() { "scheduler" } else { &said.job };
            progress.say(&format!("{} {job}: {}", second(said.at), mask.apply(&said.text)));
        }
    };
    scheduler::run(global, loaded, is_stopped, &say)
}

fn list(loaded: &Loaded, next: usize, now: Timestamp) -> Result<Answer, Failure> {
    let jobs = scheduler::jobs(&loaded.platform)?;
    let receivers = scheduler::receivers(&loaded.platform);
    let (state, warning) = State::read(&loaded.state_dir);
    let runs = fold::runs(&Journal::open(&loaded.state_dir)?.events()?);
    let (mut rows, mut documents) = (Vec::new(), Vec::new());
    for job in &jobs {
        let (row, document) = row(job, state.jobs.get(&job.name), &runs, next, now);
        rows.push(row);
        documents.push(document);
    }
    let runner = state.scheduler.filter(|mark| process::is_alive(*mark));
    let mut text = if rows.is_empty() {
        "nothing is scheduled: add `backup: {every: 1d}` to a component\n".to_owned()
    } else {
        render::table(&["job", "rule", "last run", "next", "missed"], &rows)
    };
    for component in &receivers {
        text.push_str(&format!("the log of `{component}` is received all the time\n"));
    }
    text.push_str(&match runner {
        Some(mark) => format!("a scheduler runs (pid {})\n", mark.pid),
        None => "no scheduler runs here: `muster schedule --run`, or a unit from `muster schedule --unit`\n"
            .into(),
    });
    let zone = loaded.platform.timezone.as_deref().unwrap_or("UTC");
    let document = json!({"at": now, "timezone": zone, "scheduler": runner.map(|mark| mark.pid), "jobs": documents,
        "receivers": receivers});
    let mut answer = Answer::new(text, document);
    answer.errors = warning.map_or(String::new(), |warning| format!("warning: {warning}\n"));
    Ok(answer)
}

/// One job, for people and for programs.
fn row(
    job: &Job,
    known: Option<&JobState>,
    runs: &[RunRecord],
    next: usize,
    now: Timestamp,
) -> (Vec<String>, Value) {
    let state = known.cloned().unwrap_or_else(|| JobState::new(now));
    let past = state.past(&job.task, runs, now);
    let zone = &job.calendar.zone;
    let shown = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string();
    let coming: Vec<Timestamp> = times(&job.calendar, now).take(next).collect();
    let is_running = past.begun.is_some() && past.ended.is_none();
    let pending = match due(&job.calendar, &past, job.retries(), now) {
        Due::Now { missed, .. } if !is_running => missed,
        _ => None,
    };
    let end = match (is_running, past.ended) {
        (true, _) => "running".to_owned(),
        (_, Some((_, end))) => json!(end).as_str().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let last = past.begun.map_or("never".to_owned(), |begun| format!("{} {end}", shown(begun)));
    let missed = match (pending, &state.missed) {
        (Some(missed), _) => said(missed),
        (None, Some(caught)) => format!("{}, caught up {}", said(caught.missed), second(caught.caught_up_at)),
        (None, None) => "-".to_owned(),
    };
    let next_shown = coming.iter().map(|time| shown(*time)).collect::<Vec<_>>().join(", ");
    let document = json!({"name": job.name, "rule": job.calendar.rule, "last_begun": past.begun,
        "last_end": if end.is_empty() { None } else { Some(&end) }, "last_done": past.done, "next": coming,
        "missed": pending, "caught_up": state.missed, "alert": scheduler::word(state.alert.standing)});
    (vec![job.name.clone(), job.calendar.rule.to_string(), last, next_shown, missed], document)
}

fn said(missed: Missed) -> String {
    match missed.count {
        1 => second(missed.first),
        count => format!("{count} since {}", second(missed.first)),
    }
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A unit of systemd that runs the scheduler as it would run from here.
fn unit(global: &Global, loaded: &Loaded) -> Result<Answer, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(
            Kind::Unavailable,
            format!("where this program is cannot be told: {error}"),
            "report this",
        )
    })?;
    let mut global = global.clone();
    // A unit starts nowhere in particular.
    let file = global.config.take().or_else(|| loaded.files.first().cloned());
    global.config = file.map(|file| std::path::absolute(&file).unwrap_or(file));
    let args = scheduler::global_args(&global);
    let words =
        [&[program.display().to_string()], args.as_slice(), &["schedule".into(), "--run".into()]].concat();
    let command = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let text = format!(
        "[Unit]\nDescription=Muster: backups, proofs and alerts of {platform}\nWants=network-online.target\n\
         After=network-online.target time-sync.target\n\n[Service]\nExecStart={command}\nWorkingDirectory={folder}\n\
         User={user}\nRestart=always\nRestartSec=10\n# Jobs end at a safe place within a minute. What does not is ended, and begins again with the next start.\n\
         KillMode=mixed\nTimeoutStopSec=90\n\n[Install]\nWantedBy=multi-user.target\n",
        platform = loaded.platform.platform,
        folder = loaded.folder.display(),
        user = app::operator(),
    );
    Ok(Answer::new(text.clone(), json!({"unit": text})))
}

/// A word of `ExecStart`: `%` and `$` mean something there.
fn quoted(word: &str) -> String {
    let word = word.replace('%', "%%").replace('$', "$$");
    if word.chars().any(|c| c.is_whitespace() || "\"'\\".contains(c)) {
        format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        word
    }
}
