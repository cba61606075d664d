//! Whether schedules can be kept: a time zone that is known, one rule for each, a promise that its rule keeps.
//!
//! Judges [`BackupPolicy`] and `schedules:` with their places in the tree; findings leave. That a rule can be read is
//! judged before, by its type. It asks this host's time zones and nothing else.

use muster_plan::schedule::{Calendar, longest_gap};
use muster_types::{Span, Timestamp, config::BackupPolicy, schedule::Rule};

use super::Rules;
use crate::{config::finding::Finding, scheduler::zone};

impl Rules<'_> {
    /// Judges the time zone and what is done for the platform as a whole.
    pub(super) fn judge_schedules(&self, findings: &mut Vec<Finding>) {
        let platform = &self.typed.platform;
        if let Some(name) = &platform.timezone
            && zone(Some(name)).is_none()
        {
            let place = self.sources.place(self.value_at(&["timezone"]));
            let hint = "write its name, like `Europe/Berlin` or `UTC`; a host without the package `tzdata` knows `UTC` only";
            findings.push(
                Finding::error(format!("`timezone: {name}` is not known on this host")).at(place).hint(hint),
            );
        }
        let all = &platform.schedules;
        for (key, found) in [
            ("prove", all.prove.as_ref().map(|one| (one.every, one.at.as_ref()))),
            ("verify", all.verify.as_ref().map(|one| (one.every, one.at.as_ref()))),
            ("copy", all.copy.as_ref().map(|one| (one.every, one.at.as_ref()))),
            ("prune", all.prune.as_ref().map(|one| (one.every, one.at.as_ref()))),
            ("check", all.check.as_ref().map(|one| (one.every, one.at.as_ref()))),
        ] {
            if let Some((every, at)) = found.filter(|_| !self.is_refused(&["schedules", key])) {
                self.judge_when(key, every, at, findings);
            }
        }
        let mut wrong = |key: &[&str], message: String, hint: &str| {
            let place = self.sources.place(self.value_at(key));
            findings.push(Finding::error(message).at(place).hint(hint));
        };
        if all.at_once == Some(0) {
            wrong(
                &["schedules", "at_once"],
                "`at_once: 0` lets nothing run".into(),
                "write `at_once: 2`, or leave it out",
            );
        }
        let copies = platform.repository.as_ref().is_some_and(|repository| !repository.copies.is_empty());
        if all.copy.is_some() && !copies && !self.is_refused(&["repository"]) {
            wrong(
                &["schedules", "copy"],
                "`copy` has nothing to do: the repository has no copies".into(),
                "add `repository: {copies: [{name: offsite, location: …}]}`, or remove it",
            );
        }
        let read_data = all.verify.as_ref().and_then(|verify| verify.read_data.as_deref());
        if let Some(part) = read_data.filter(|part| !is_part(part)) {
            wrong(
                &["schedules", "verify", "read_data"],
                format!("`read_data: {part}` is not a part of the data"),
                "write `100%`, or `10%`",
            );
        }
    }

    fn judge_when(&self, key: &str, every: Option<Span>, at: Option<&Rule>, findings: &mut Vec<Finding>) {
        let mut wrong = |path: &[&str], message: String, hint: &str| {
            let place = self.sources.place(self.value_at(path));
            findings.push(Finding::error(message).at(place).hint(hint));
        };
        match (every, at) {
            (Some(_), Some(_)) => wrong(
                &["schedules", key, "every"],
                format!("`{key}` has both `every` and `at`"),
                "keep one of them",
            ),
            (None, None) => wrong(
                &["schedules", key],
                format!("`{key}` does not say when"),
                "write `every: 6h`, or `at: sunday 03:00`",
            ),
            (Some(every), None) if every.duration().is_zero() => wrong(
                &["schedules", key, "every"],
                format!("`every: {every}` is no distance between two runs"),
                "write `every: 1d`",
            ),
            _ => {}
        }
    }

    /// Beside `at`, `every` is a promise, and the rule must keep it.
    pub(super) fn judge_promise(&self, name: &str, backup: &BackupPolicy, findings: &mut Vec<Finding>) {
        let Some((every, at)) = backup.every.zip(backup.at.as_ref()) else { return };
        if let Some(gap) = gap(at).filter(|gap| *gap > every && !every.duration().is_zero()) {
            let place = self.sources.place(self.value_at(&["components", name, "backup", "every"]));
            let message =
                format!("`at: {at}` lets {gap} lie between two backups, and `every` promises {every}");
            let hint =
                "leave `every` out, or write a rule that comes so often, like `at: daily 02:00, 14:00`";
            findings.push(Finding::error(message).at(place).hint(hint));
        }
    }
}

/// The longest distance between two planned backups.
pub(super) fn interval(backup: &BackupPolicy) -> Option<Span> {
    backup.every.or_else(|| backup.at.as_ref().and_then(gap))
}

fn gap(rule: &Rule) -> Option<Span> {
    let calendar = Calendar { rule: rule.clone(), zone: jiff::tz::TimeZone::UTC };
    longest_gap(&calendar, Timestamp::UNIX_EPOCH)
}

fn is_part(text: &str) -> bool {
    text.trim_end_matches('%').parse::<u8>().is_ok_and(|percent| (1..=100).contains(&percent))
}
