//! Schedules: lines of a crontab, in fences and in files.
//!
//! In: cron lines. Out: findings on what cron does to them that a shell would not.

use super::{Report, Rule};
use crate::lint::{
    finding::Severity,
    reading::{Place, Reading},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "crontab-in-shell-fence",
        severity: Severity::Fails,
        message: "this is a line of a crontab and not a command; cron runs it in its own time zone and environment, and tells nobody when it fails",
        instead: "put it into a ```cron block, with `CRON_TZ`, a lock and an alert; or a systemd timer",
        check: in_shell,
    },
    Rule {
        id: "cron-percent",
        severity: Severity::Fails,
        message: "cron ends the command at the first `%` and gives the rest to its standard input",
        instead: "write `\\%`, or move the command into a script",
        check: percent,
    },
    Rule {
        id: "cron-day-or-weekday",
        severity: Severity::Fails,
        message: "with a day of the month and a weekday cron runs when either fits, and not only when both do",
        instead: "name the days only and test the weekday in the command: `[ \"$(date +\\%u)\" = 1 ] && …`",
        check: day_or_weekday,
    },
];

fn in_shell(reading: &Reading, report: &mut Report) {
    for shell in reading.shells.iter().filter(|shell| matches!(shell.place, Place::Fence | Place::File)) {
        for cron in &shell.script.crons {
            report.at(cron.line, cron.column);
        }
    }
}

fn percent(reading: &Reading, report: &mut Report) {
    for shell in reading.shells.iter().filter(|shell| shell.place == Place::Cron) {
        for cron in &shell.script.crons {
            let bare = cron.command.replace("\\%", "");
            if bare.contains('%') {
                report.at(cron.line, cron.column);
            }
        }
    }
}

fn day_or_weekday(reading: &Reading, report: &mut Report) {
    for shell in reading.shells.iter().filter(|shell| shell.place == Place::Cron) {
        for cron in &shell.script.crons {
            let fields: Vec<&str> = cron.schedule.split(' ').collect();
            let [_, _, day, _, weekday] = fields.as_slice() else { continue };
            if !day.starts_with('*') && !weekday.starts_with('*') {
                report.at(cron.line, cron.column);
            }
        }
    }
}
