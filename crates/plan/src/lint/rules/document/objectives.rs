//! Objectives against what the document itself says of schedules and durations.
//!
//! In: tables, headings and lines with durations. Out: findings where the figures of one document contradict each other.

use crate::lint::{
    finding::Severity,
    reading::{Prose, Reading, Table, clock_time, duration_in, every},
    rules::{Report, Rule, mentions},
};

pub(in crate::lint::rules) const RULES: &[Rule] = &[
    Rule {
        id: "rpo-equals-interval",
        severity: Severity::FalseConfidence,
        message: "the worst loss is the interval between two backups, plus the time that one takes, plus its upload",
        instead: "back up more often than the RPO, or state the real figure",
        check: interval,
    },
    Rule {
        id: "offsite-slower-than-rpo",
        severity: Severity::FalseConfidence,
        message: "the copy elsewhere is made less often than the RPO allows: the loss of the host costs the longer time",
        instead: "copy off-site as often as the RPO says, or state a second RPO for the loss of the host",
        check: offsite,
    },
    Rule {
        id: "phases-exceed-rto",
        severity: Severity::FalseConfidence,
        message: "the phases together take longer than the RTO",
        instead: "shorten the procedure, or state the real figure",
        check: phases,
    },
    Rule {
        id: "expected-exceeds-rto",
        severity: Severity::FalseConfidence,
        message: "a scenario is expected to take longer than the RTO",
        instead: "shorten the procedure, or state the real figure",
        check: expected,
    },
    Rule {
        id: "schedules-collide",
        severity: Severity::FalseConfidence,
        message: "backups are due at the same time: they slow each other down, and the last one is late",
        instead: "give each its own time, or take the weekly one from the daily",
        check: collide,
    },
    Rule {
        id: "procedure-does-not-use-wal",
        severity: Severity::FalseConfidence,
        message: "the objective rests on WAL, and no procedure of this document replays it: what is restored is the last dump",
        instead: "write the recovery from base backup and WAL down, and drill it; or state the RPO of the dumps",
        check: wal_unused,
    },
    Rule {
        id: "cron-first-monday",
        severity: Severity::Fails,
        message: "a crontab cannot say this: with a day of the month and a weekday it runs when either fits",
        instead: "a scheduler with such rules, or a line for days 1-7 that tests the weekday itself",
        check: first_monday,
    },
];

/// How many sections below a heading are looked at for phases.
const PHASES_MAX: usize = 200;

/// A target that the document states.
struct Objective {
    is_rto: bool,
    /// What it is for; empty for everything.
    name: String,
    minutes: f64,
    line: usize,
    /// How often the same row says that a backup is made.
    interval: Option<f64>,
    row: String,
}

fn objectives(reading: &Reading) -> Vec<Objective> {
    let mut found = Vec::new();
    for table in &reading.tables {
        for (is_rto, word) in [(true, "rto"), (false, "rpo")] {
            let column = table.head.iter().position(|head| has_word(head, word));
            let frequency = table
                .head
                .iter()
                .position(|head| mentions(head, &["frequency", "schedule", "interval", "how often"]));
            for row in &table.rows {
                let first = row.cells.first().map(String::as_str).unwrap_or_default();
                let (name, cell) = match column {
                    Some(column) => (first.to_owned(), row.cells.get(column)),
                    None if has_word(first, word) => (String::new(), row.cells.get(1)),
                    None => continue,
                };
                let text = cell.map(String::as_str).unwrap_or_default();
                let zero = text.starts_with('0') && duration_in(text).is_none();
                let Some(minutes) = duration_in(text).map(|span| span.most).or(zero.then_some(0.0)) else {
                    continue;
                };
                let interval =
                    column.and(frequency).and_then(|at| row.cells.get(at)).and_then(|text| every(text));
                found.push(Objective {
                    is_rto,
                    name,
                    minutes,
                    line: row.line,
                    interval,
                    row: row.cells.join(" "),
                });
            }
        }
    }
    // What a scenario says of itself is how long it takes, and no target of the whole.
    let is_general = |line: &&Prose| reading.scenarios.binary_search(&reading.scope(line.section)).is_err();
    for line in reading.prose.iter().filter(is_general) {
        let title = reading.sections.get(line.section).map(|one| one.title.as_str()).unwrap_or_default();
        let lower = line.text.to_ascii_lowercase();
        for (is_rto, word) in [(true, "rto"), (false, "rpo")] {
            let other = if is_rto { "rpo" } else { "rto" };
            let stated = lower.starts_with(word) && has_word(&lower, word) && lower.contains(':');
            let below = has_word(title, word)
                && !has_word(title, other)
                && (lower.starts_with("target") || lower.starts_with("objective"));
            if let Some(span) = (stated || below).then(|| duration_in(&line.text)).flatten() {
                found.push(Objective {
                    is_rto,
                    name: String::new(),
                    minutes: span.most,
                    line: line.line,
                    interval: None,
                    row: line.text.clone(),
                });
            }
        }
    }
    found
}

fn has_word(text: &str, word: &str) -> bool {
    text.to_ascii_lowercase().split(|one: char| !one.is_alphanumeric()).any(|one| one == word)
}

/// A backup of which the document says how often it is made.
struct Schedule {
    text: String,
    minutes: f64,
    is_offsite: bool,
}

fn is_schedule(table: &Table) -> Option<usize> {
    let column = table.head.iter().position(|head| mentions(head, &["frequency", "schedule"]))?;
    let is_objective = table.head.iter().any(|head| has_word(head, "rpo") || has_word(head, "rto"));
    let is_drill = table.head.iter().any(|head| mentions(head, &["drill", "test", "scope", "exercise"]));
    (!is_objective && !is_drill).then_some(column)
}

fn schedules(reading: &Reading) -> Vec<Schedule> {
    let mut found = Vec::new();
    for table in &reading.tables {
        let title = reading.chain(table.section).map(|one| one.title.as_str()).collect::<Vec<_>>().join(" ");
        let column = is_schedule(table);
        for row in &table.rows {
            let text = row.cells.join(" ");
            let own = mentions(
                row.cells.first().map(String::as_str).unwrap_or_default(),
                &["backup frequency", "backup schedule", "backups"],
            );
            let cell = match column {
                Some(column) if mentions(&title, &["backup"]) => row.cells.get(column),
                _ if own => row.cells.get(1),
                _ => continue,
            };
            let Some(minutes) = cell.and_then(|cell| every(cell)) else { continue };
            let is_offsite = mentions(&text, &["off-site", "offsite", "remote", "another region"]);
            found.push(Schedule { text, minutes, is_offsite });
        }
    }
    for shell in &reading.shells {
        for cron in &shell.script.crons {
            if mentions(&cron.command, &["backup", "pg_dump", "mysqldump", "basebackup"])
                && !mentions(&cron.command, &["verify", "check", "test", "list"])
                && let Some(minutes) = cron_interval(&cron.schedule)
            {
                found.push(Schedule {
                    text: cron.command.clone(),
                    minutes,
                    is_offsite: mentions(&cron.command, &["s3://", "gs://", "offsite"]),
                });
            }
        }
    }
    found
}

/// The interval of a cron schedule that runs at regular times.
fn cron_interval(schedule: &str) -> Option<f64> {
    let fields: Vec<&str> = schedule.split(' ').collect();
    let step = |field: &str| field.strip_prefix("*/").and_then(|text| text.parse::<f64>().ok());
    match fields.as_slice() {
        ["@hourly"] => Some(60.0),
        ["@daily" | "@midnight"] => Some(1440.0),
        ["@weekly"] => Some(10080.0),
        [minute, "*", "*", "*", "*"] => step(minute).or(Some(60.0)),
        [_, hour, "*", "*", "*"] => {
            step(hour).map(|hours| hours * 60.0).or(Some(1440.0 / (hour.matches(',').count() + 1) as f64))
        }
        [_, _, "*", "*", days] => Some(if days.contains([',', '-', '*']) { 1440.0 } else { 10080.0 }),
        _ => None,
    }
}

fn interval(reading: &Reading, report: &mut Report) {
    let all = objectives(reading);
    let schedules = schedules(reading);
    // The best schedule of the databases is what the whole can rest on; a log that only a cache writes is no help.
    let is_database = |one: &&Schedule| {
        mentions(&one.text, &["postgres", "mysql", "database", "mongo", "sqlite", "mariadb"])
    };
    let of_databases: Vec<&Schedule> = schedules.iter().filter(is_database).collect();
    let basis = if of_databases.is_empty() { schedules.iter().collect() } else { of_databases };
    let best = basis.iter().filter(|one| !one.is_offsite).map(|one| one.minutes).reduce(f64::min);
    let has_rows = all.iter().any(|one| !one.is_rto && one.interval.is_some());
    for one in all.iter().filter(|one| !one.is_rto) {
        let is_whole = one.name.is_empty() && !has_rows;
        let Some(interval) = one.interval.or(if is_whole { best } else { None }) else { continue };
        if interval > 0.0 && interval >= one.minutes {
            let finding = report.line(one.line);
            finding.message = format!(
                "a backup every {} cannot keep an RPO of {}: the worst loss is the interval plus the time of the backup and its upload",
                shown(interval),
                shown(one.minutes)
            );
        }
    }
}

fn shown(minutes: f64) -> String {
    if minutes < 1.0 {
        format!("{:.0} s", minutes * 60.0)
    } else if minutes < 120.0 && minutes % 60.0 != 0.0 {
        format!("{minutes:.0} min")
    } else if minutes < 2880.0 {
        format!("{} h", (minutes / 6.0).round() / 10.0)
    } else {
        format!("{} days", (minutes / 144.0).round() / 10.0)
    }
}

fn offsite(reading: &Reading, report: &mut Report) {
    let slowest = schedules(reading)
        .into_iter()
        .filter(|one| one.is_offsite)
        .max_by(|one, other| one.minutes.total_cmp(&other.minutes));
    let Some(slowest) = slowest else { return };
    for one in objectives(reading)
        .iter()
        .filter(|one| !one.is_rto && one.name.is_empty() && slowest.minutes > one.minutes)
    {
        let finding = report.line(one.line);
        finding.message = format!(
            "off-site copies are made every {} and the RPO is {}: the loss of the host costs the longer time ({})",
            shown(slowest.minutes),
            shown(one.minutes),
            slowest.text.trim()
        );
    }
}

/// The RTO of the whole document.
fn rto(reading: &Reading) -> Option<Objective> {
    objectives(reading).into_iter().find(|one| one.is_rto && one.name.is_empty())
}

// A8: the targets of the phases of one procedure, summed up.
fn phases(reading: &Reading, report: &mut Report) {
    let Some(rto) = rto(reading) else { return };
    for parent in 0..reading.sections.len() {
        let below = reading
            .sections
            .get(parent + 1..reading.sections.get(parent).map_or(0, |one| one.end))
            .unwrap_or_default();
        let phases: Vec<_> = below
            .iter()
            .take(PHASES_MAX)
            .filter(|one| one.parent == Some(parent) && mentions(&one.title, &["phase", "stage"]))
            .collect();
        let spans: Vec<f64> =
            phases.iter().filter_map(|one| duration_in(&one.title)).map(|span| span.most).collect();
        let sum: f64 = spans.iter().sum();
        if let (Some(first), true) = (phases.first(), spans.len() > 1 && sum > rto.minutes) {
            let finding = report.line(first.line);
            finding.message = format!(
                "the {} phases take {} together, and the RTO is {}",
                spans.len(),
                shown(sum),
                shown(rto.minutes)
            );
        }
    }
}

/// A line that says how long a scenario takes.
fn expected_of(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let starts = [
        "expected recovery time",
        "estimated recovery time",
        "expected duration",
        "estimated duration",
        "estimated time",
        "expected time",
        "duration:",
        "recovery time:",
    ];
    if !starts.iter().any(|start| lower.starts_with(start)) {
        return None;
    }
    duration_in(&lower).map(|span| span.most)
}

/// The time that a scenario promises for itself: `RTO: 30-60 minutes`.
fn scenario_rto(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.strip_prefix("rto:").or_else(|| lower.strip_prefix("rto (recovery time objective):"))?;
    duration_in(rest.split('|').next().unwrap_or(rest)).map(|span| span.most)
}

fn expected(reading: &Reading, report: &mut Report) {
    let whole = rto(reading);
    let rows: Vec<Objective> =
        objectives(reading).into_iter().filter(|one| one.is_rto && !one.name.is_empty()).collect();
    for line in &reading.prose {
        let scope = reading.scope(line.section);
        let stated =
            reading.scenarios.binary_search(&scope).is_ok().then(|| scenario_rto(&line.text)).flatten();
        let Some(minutes) = expected_of(&line.text).or(stated) else { continue };
        let title = reading.sections.get(scope).map(|one| one.title.clone()).unwrap_or_default();
        if let Some(rto) = whole.as_ref().filter(|rto| minutes > rto.minutes) {
            report.line(line.line).message = format!(
                "`{title}` is expected to take up to {}, and the RTO is {}",
                shown(minutes),
                shown(rto.minutes)
            );
        }
        for row in
            rows.iter().filter(|row| minutes > row.minutes && concerns(reading, scope, &title, &row.name))
        {
            report.line(row.line).message = format!(
                "`{}` has an RTO of {}, and line {} expects up to {} for `{title}`",
                row.name,
                shown(row.minutes),
                line.line,
                shown(minutes)
            );
        }
    }
}

/// Whether a scenario is about a service: by its title, or because its commands name it.
fn concerns(reading: &Reading, scope: usize, title: &str, name: &str) -> bool {
    let words = name.to_ascii_lowercase();
    let mut words = words.split(|one: char| !one.is_alphanumeric()).filter(|word| {
        word.len() > 2
            && !["service", "services", "server", "system", "failure", "layer", "cache", "data"]
                .contains(word)
    });
    words.any(|word| {
        has_word(title, word)
            || reading.calls_in(scope).any(|(_, call)| {
                matches!(call.program(), "kubectl" | "docker" | "systemctl" | "docker-compose")
                    && call.arguments().iter().any(|one| has_word(&one.text, word))
            })
    })
}

fn collide(reading: &Reading, report: &mut Report) {
    for table in &reading.tables {
        let Some(column) = is_schedule(table) else { continue };
        let times: Vec<u32> = table
            .rows
            .iter()
            .filter_map(|row| row.cells.get(column))
            .filter_map(|cell| clock_time(cell))
            .collect();
        let is_twice =
            times.iter().enumerate().any(|(at, time)| times.iter().skip(at + 1).any(|other| other == time));
        if is_twice {
            report.line(table.line);
        }
    }
    let crons: Vec<_> = reading
        .shells
        .iter()
        .flat_map(|shell| {
            let is_own = shell.place == crate::lint::reading::Place::Cron;
            shell.script.crons.iter().filter(move |_| is_own)
        })
        .filter(|cron| mentions(&cron.command, &["backup", "dump"]))
        .collect();
    for (at, cron) in crons.iter().enumerate() {
        let time = |schedule: &str| schedule.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        let same = |other: &&&crate::lint::shell::CronLine| {
            time(&other.schedule) == time(&cron.schedule) && cron.schedule.split(' ').count() == 5
        };
        if crons.iter().take(at).any(|other| same(&other)) {
            report.at(cron.line, cron.column);
        }
    }
}

fn wal_unused(reading: &Reading, report: &mut Report) {
    let is_wal = |text: &str| {
        let lower = text.to_ascii_lowercase();
        has_word(&lower, "wal") || lower.contains("point-in-time") || lower.contains("pitr")
    };
    let replays = reading.lines.iter().any(|line| {
        let lower = line.to_ascii_lowercase();
        [
            "restore_command",
            "recovery_target",
            "recovery.signal",
            "wal-g",
            "pgbackrest",
            "barman",
            "muster restore",
            "wal-fetch",
            "point-in-time restore",
            "--target-time",
            "restore-time",
        ]
        .iter()
        .any(|word| lower.contains(word))
    });
    let has_procedures = reading.calls().any(|(_, call)| {
        matches!(call.program(), "psql" | "pg_restore") || call.program().contains("restore")
    });
    if replays || !has_procedures {
        return;
    }
    if let Some(one) = objectives(reading).iter().find(|one| !one.is_rto && is_wal(&one.row)) {
        report.line(one.line);
    }
}

fn first_monday(reading: &Reading, report: &mut Report) {
    let is_rule = |text: &str| {
        let lower = text.to_ascii_lowercase();
        let day = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        ["first", "second", "third", "fourth", "last", "1st", "2nd", "3rd"]
            .iter()
            .any(|count| day.iter().any(|day| lower.contains(&format!("{count} {day}"))))
            && mentions(&lower, &["month", "quarter", "year"])
    };
    for line in reading.prose.iter().filter(|line| is_rule(&line.text)) {
        if mentions(&line.text, &["schedule", "when", "frequency", "cron", "runs"]) {
            report.line(line.line);
        }
    }
    for table in &reading.tables {
        let Some(column) =
            table.head.iter().position(|head| mentions(head, &["frequency", "schedule", "when"]))
        else {
            continue;
        };
        for row in table.rows.iter().filter(|row| row.cells.get(column).is_some_and(|cell| is_rule(cell))) {
            report.line(row.line);
        }
    }
}
