//! People and dates: whom to call, and until when the document was good.
//!
//! In: tables and lines about contacts and reviews. Out: findings on what nobody filled in or looked at again.

use jiff::{ToSpan, civil::Date};

use crate::lint::{
    finding::Severity,
    reading::{BlockKind, Reading, date_in},
    rules::{Report, Rule, mentions},
};

pub(in crate::lint::rules) const RULES: &[Rule] = &[
    Rule {
        id: "contact-missing",
        severity: Severity::Fails,
        message: "nobody can be reached by this line",
        instead: "fill in a name and a number that answers at night, and try it in a drill",
        check: contacts,
    },
    Rule {
        id: "review-date-past",
        severity: Severity::Weak,
        message: "the review of this document is overdue: its commands were last looked at for another state of the platform",
        instead: "go through it, run a drill, and set the next date",
        check: review,
    },
];

/// Whether a field was left to be filled in.
fn is_blank(text: &str) -> bool {
    let text = text.trim().trim_matches('`');
    let lower = text.to_ascii_lowercase();
    (text.len() > 2 && text.chars().all(|one| one == '_' || one == '.' || one == '-' || one == ' '))
        || matches!(lower.as_str(), "tbd" | "todo" | "tba" | "xxx" | "n/a yet" | "fill in" | "???" | "?")
        || (lower.contains("xxx-xxx") || lower.contains("555-0") || lower.contains("xxx.xxx"))
        || (text.starts_with('<') && text.ends_with('>') && text.len() > 2)
        || (text.starts_with('[') && text.ends_with(']') && text.len() > 2 && !text.contains("]("))
}

fn contacts(reading: &Reading, report: &mut Report) {
    let about = |section: usize| {
        let titles = reading
            .chain(section)
            .filter(|one| one.level > 0)
            .map(|one| one.title.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        mentions(&titles, &["contact", "on-call", "oncall", "escalation", "call tree", "phone"])
    };
    for table in &reading.tables {
        let words = ["phone", "email", "e-mail", "contact", "name", "support", "pager", "primary"];
        let is_list = table.head.iter().any(|head| mentions(head, &words));
        if !is_list || !about(table.section) {
            continue;
        }
        for row in &table.rows {
            let fields = row.cells.get(1..).unwrap_or_default();
            if fields.iter().any(|cell| is_blank(cell)) {
                report.line(row.line);
            }
        }
    }
    for block in reading.blocks.iter().filter(|block| block.kind == BlockKind::Text && about(block.section)) {
        for (number, line) in block.text.lines().enumerate() {
            let value = line.split_once(':').map_or("", |(_, value)| value.trim());
            let value = value.split(" (").next().unwrap_or_default();
            if !value.is_empty() && is_blank(value) {
                report.line(block.line + number);
            }
        }
    }
    for line in reading.prose.iter().filter(|line| about(line.section)) {
        let value = line.text.split_once(':').map_or("", |(_, value)| value.trim());
        if !value.is_empty() && is_blank(value) {
            report.line(line.line);
        }
    }
}

/// The lines between the marks at the beginning of a file.
fn front_matter(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    let is_there = lines.first().is_some_and(|line| line.trim_end() == "---");
    let inside = lines.iter().enumerate().skip(1).take_while(|(_, line)| line.trim_end() != "---");
    inside.filter(move |_| is_there).map(|(index, line)| (index + 1, line.trim()))
}

fn review(reading: &Reading, report: &mut Report) {
    let Some(today) = reading.today else { return };
    let mut cycle = None;
    let mut updated: Option<(usize, Date)> = None;
    let mut is_due = false;
    let prose = reading.prose.iter().map(|one| (one.line, one.text.as_str()));
    for (line, text) in front_matter(&reading.lines).chain(prose) {
        let lower = text.to_ascii_lowercase();
        let date = date_in(text);
        if let Some(date) = date.filter(|_| {
            lower.starts_with("next review")
                || lower.starts_with("review date")
                || lower.starts_with("review by")
                || lower.starts_with("review due")
                // In the front matter of a runbook.
                || lower.starts_with("review:")
        }) {
            is_due = true;
            if date < today {
                report.line(line).message = format!(
                    "the review was due on {date}: these commands were last looked at for another state of the platform"
                );
            }
        }
        if lower.starts_with("review cycle")
            || lower.starts_with("review frequency")
            || lower.starts_with("reviewed ")
        {
            cycle = [("month", 1), ("quarter", 3), ("half", 6), ("year", 12), ("annual", 12)]
                .iter()
                .find(|(word, _)| lower.contains(word))
                .map(|(_, months)| *months);
        }
        if let Some(date) = date.filter(|_| {
            lower.starts_with("last updated")
                || lower.starts_with("last reviewed")
                || lower.starts_with("last review")
        }) {
            updated = Some((line, date));
        }
    }
    if let (false, Some(months), Some((line, date))) = (is_due, cycle, updated)
        && date.checked_add(months.months()).is_ok_and(|due| due < today)
    {
        report.line(line).message = format!(
            "the document says that it is reviewed every {months} months, and was last touched on {date}"
        );
    }
}
