//! A runbook for paper: Markdown or HTML with the times of earlier runs beside the expected ones.
//!
//! A runbook, its text and measured times come in; a text leaves. The HTML stands by itself: no script, nothing that is
//! loaded from elsewhere, every word of the runbook escaped, so that it prints from any machine that is still alive.
//!
//! It never executes and never reads a journal. Read next: `html` for prose.

mod html;

use muster_types::measured::{Measured, median};

use super::{Action, Front, Item, Native, Phase, Runbook, Step};
use crate::import;
use html::escaped;

/// More rows of a table than this are no overview.
const TIMES_MAX: usize = 3;

/// Returns the runbook's text with a table of times at its beginning, behind the front matter.
pub fn markdown(book: &Runbook, text: &str, measured: &Measured) -> String {
    let mut table = String::from("| what | expected | measured (median) | last runs |\n|---|---|---|---|\n");
    for row in rows(book, measured) {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        table.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    let lines: Vec<&str> = text.lines().collect();
    let is_front = lines.first().is_some_and(|line| line.trim_end() == "---");
    let end = lines.iter().skip(1).position(|line| line.trim_end() == "---").filter(|_| is_front);
    let (front, rest) = lines.split_at(end.map_or(0, |at| at + 2).min(lines.len()));
    let join = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    format!("{}\n{table}\n{}", join(front), join(rest).trim_start_matches('\n'))
}

/// Returns the runbook as one HTML page for the printer. `sha256` is that of the file.
pub fn html(book: &Runbook, file: &str, sha256: &str, measured: &Measured) -> String {
    let front = &book.front;
    let mut body = format!("<h1>{}</h1>\n<p class=\"facts\">", escaped(&front.title));
    body.push_str(&facts(front).iter().map(|fact| escaped(fact)).collect::<Vec<_>>().join(" · "));
    body.push_str(&format!("<br/>{}, sha256 {}</p>\n", escaped(file), escaped(sha256)));
    body.push_str(
        "<table>\n<tr><th>what</th><th>expected</th><th>measured (median)</th><th>last runs</th></tr>\n",
    );
    for row in rows(book, measured) {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        body.push_str(&format!("<tr>{cells}</tr>\n"));
    }
    body.push_str("</table>\n");
    for phase in &book.phases {
        if !phase.title.is_empty() && phase.title != front.title {
            let level = phase.level.clamp(2, 6);
            body.push_str(&format!("<h{level}>{}</h{level}>\n", escaped(&phase.title)));
        }
        body.push_str(&items(phase, measured));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&front.title)
    )
}

const STYLE: &str = "\
@page{margin:18mm 15mm}\
body{font:11pt/1.4 serif;max-width:48em;margin:1em auto;padding:0 1em;color:#000;background:#fff}\
h1,h2,h3{font-family:sans-serif;break-after:avoid;line-height:1.2}\
.facts{font-size:9pt;color:#333;word-break:break-all}\
table{border-collapse:collapse;margin:.6em 0;font-size:9.5pt}\
td,th{border:1px solid #888;padding:.15em .5em;text-align:left;vertical-align:top}\
.step{border:1px solid #444;margin:.6em 0;padding:.4em .7em;break-inside:avoid}\
.destructive{border-left:5px solid #000}\
.step p{margin:.2em 0}\
.how{font-size:9pt;color:#333}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:9.5pt/1.35 monospace;background:#f4f4f4;padding:.4em;margin:.3em 0}\
.sign{font-size:9pt;text-align:right}";

fn facts(front: &Front) -> Vec<String> {
    let named = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    [
        named("severity", &front.severity),
        front.rto.map(|rto| format!("RTO {rto}")),
        front.expected.map(|span| format!("usually {span}")),
        named("owner", &front.owner),
        named("version", &front.version),
        named("to be reviewed by", &front.review),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The whole and each phase with steps: what, expected, median, the last runs.
fn rows(book: &Runbook, measured: &Measured) -> Vec<[String; 4]> {
    let front = &book.front;
    let expected = front.expected.or(front.rto).map_or("-".to_owned(), |span| span.to_string());
    let mut rows = vec![row("the whole", expected, Some(&measured.whole))];
    // Times are told by the headings of the first and second level.
    let mut seen: Vec<&str> = Vec::new();
    for phase in book.phases.iter().filter(|phase| phase.level <= 2 && !phase.title.is_empty()) {
        let times = measured.phases.get(&phase.title);
        if seen.contains(&phase.title.as_str()) || (times.is_none() && steps(phase).next().is_none()) {
            continue;
        }
        seen.push(&phase.title);
        let expected = import::longest(&phase.title).map_or("-".to_owned(), |longest| words(longest as f64));
        rows.push(row(&phase.title, expected, times));
    }
    rows
}

fn row(what: &str, expected: String, times: Option<&Vec<f64>>) -> [String; 4] {
    let times = times.map(Vec::as_slice).unwrap_or_default();
    let median = median(times).map_or("no run yet".to_owned(), words);
    let last: Vec<String> = times.iter().take(TIMES_MAX).map(|seconds| words(*seconds)).collect();
    [what.to_owned(), expected, median, if last.is_empty() { "-".to_owned() } else { last.join(", ") }]
}

fn steps(phase: &Phase) -> impl Iterator<Item = &Step> {
    phase.items.iter().filter_map(|item| if let Item::Step(step) = item { Some(step.as_ref()) } else { None })
}

fn items(phase: &Phase, measured: &Measured) -> String {
    let (mut text, mut prose) = (String::new(), String::new());
    for item in &phase.items {
        match item {
            Item::Prose { text: more, .. } => {
                prose.push_str(more);
                prose.push_str("\n\n");
            }
            Item::Step(step) => {
                text.push_str(&html::prose(&std::mem::take(&mut prose)));
                text.push_str(&boxed(step, measured));
            }
        }
    }
    text.push_str(&html::prose(&prose));
    text
}

/// One step with room to write down when it was done and by whom.
fn boxed(step: &Step, measured: &Measured) -> String {
    let class = step.class.name();
    let mut how = vec![step.id.clone(), class.to_owned()];
    how.extend(step.role.as_ref().map(|role| format!("by {role}")));
    how.extend(step.timeout.map(|span| format!("at most {span}")));
    how.extend(step.when.iter().map(|when| format!("only if {} is {}", when.name, when.answer)));
    how.extend(
        measured
            .steps
            .get(&step.id)
            .and_then(|times| median(times))
            .map(|seconds| format!("took {}", words(seconds))),
    );
    let mut text = format!(
        "<div class=\"step {class}\">\n<p>☐ <strong>{}</strong></p>\n<p class=\"how\">{}</p>\n",
        escaped(&step.title),
        escaped(&how.join(", "))
    );
    for line in commands(step).into_iter().filter(|line| *line != step.title) {
        text.push_str(&format!("<pre>{}</pre>\n", escaped(&line)));
    }
    if let Some(probe) = &step.probe {
        text.push_str(&format!(
            "<p class=\"how\">it has happened when this ends with 0:</p>\n<pre>{}</pre>\n",
            escaped(probe)
        ));
    }
    if let Some(undo) = &step.undo {
        let lines = commands(undo).join("\n");
        text.push_str(&format!("<p class=\"how\">to undo it:</p>\n<pre>{}</pre>\n", escaped(&lines)));
    }
    if let Action::Native(native) = &step.action {
        for inner in native.inner() {
            text.push_str(&boxed(inner, measured));
        }
    }
    text.push_str("<p class=\"sign\">done at ________ by ________</p>\n</div>\n");
    text
}

/// What is typed by hand where Muster is not there.
fn commands(step: &Step) -> Vec<String> {
    match &step.action {
        Action::Command { text, .. } | Action::Confirm { text } => vec![text.clone()],
        Action::Native(native) => match native {
            Native::Stop { services }
            | Native::Start { services }
            | Native::Restart { services }
            | Native::Rebuild { services }
            | Native::Reconnect { services }
            | Native::Clean { services } => {
                services.iter().map(|service| format!("muster service {} {service}", native.name())).collect()
            }
            Native::Check { checks, .. } if !checks.is_empty() => {
                vec![format!("muster check {}", checks.join(" "))]
            }
            Native::Restore { component, to, .. } => {
                let to = to.as_ref().map(|to| format!(" --to '{to}'")).unwrap_or_default();
                vec![format!("muster restore {component}{to}")]
            }
            Native::Backup { components, .. } => vec![format!("muster backup {}", components.join(" "))],
            native => native.texts().into_iter().map(str::to_owned).collect(),
        },
    }
}

/// `12m 3s`, with tenths below a minute.
fn words(seconds: f64) -> String {
    let exact = std::time::Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
    if exact.as_secs() < 60 {
        return format!("{:.1}s", exact.as_secs_f64());
    }
    muster_types::Span::from_secs(exact.as_secs()).to_string()
}
