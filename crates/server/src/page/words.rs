//! Verdicts, states, times and errors as people read them: a sign and a word, and a colour besides.
//!
//! Values come in, markup goes out. A colour alone says nothing here.

use muster_types::{Span, Timestamp, event::ErrorNote, facts::ProofOutcome, objective::Verdict};

use crate::html::Html;

/// A time, UTC, without fractions.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// How long before `now` something was.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    format!("{} ago", Span::told(now.duration_since(then).as_secs_f64().max(0.0)))
}

/// A duration, or that there is none.
pub(super) fn seconds(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), Span::told)
}

/// Writes a verdict.
pub(super) fn verdict(html: &mut Html, verdict: Verdict) {
    html.raw(match verdict {
        Verdict::Met => "<span class=\"word good\">✓ met</span>",
        Verdict::Breached => "<span class=\"word bad\">✗ breached</span>",
        Verdict::Unproven => "<span class=\"word doubt\">? unproven</span>",
        Verdict::NotApplicable => "<span class=\"word still\">– not applicable</span>",
    });
}

/// Writes what came of a proof.
pub(super) fn proof(html: &mut Html, outcome: ProofOutcome) {
    html.raw(match outcome {
        ProofOutcome::Proven => "<span class=\"word good\">✓ proven</span>",
        ProofOutcome::Failed => "<span class=\"word bad\">✗ failed</span>",
        ProofOutcome::Unproven => "<span class=\"word doubt\">? unproven</span>",
    });
}

/// Writes whether a check has passed.
pub(super) fn passed(html: &mut Html, passed: bool) {
    html.raw(if passed {
        "<span class=\"word good\">✓ passed</span>"
    } else {
        "<span class=\"word bad\">✗ failed</span>"
    });
}

/// Writes the state of a run or a step.
pub(super) fn state(html: &mut Html, state: &str) {
    let (begin, sign) = match state_class(state) {
        "good" => ("<span class=\"word good\">", "✓ "),
        "bad" => ("<span class=\"word bad\">", "✗ "),
        "doubt" => ("<span class=\"word doubt\">", "? "),
        "live" => ("<span class=\"word live\">", "▸ "),
        _ => ("<span class=\"word still\">", "– "),
    };
    html.raw(begin).raw(sign).text(state).raw("</span>");
}

/// The colour of a state.
pub(super) fn state_class(state: &str) -> &'static str {
    match state {
        "done" => "good",
        "failed" => "bad",
        "running" => "live",
        "partly done" | "partly" | "interrupted" | "waiting" | "ambiguous" => "doubt",
        _ => "still",
    }
}

/// Writes an error: what, why, what next.
pub(super) fn error(html: &mut Html, note: &ErrorNote) {
    html.element("<div class=\"error\"><p>", &note.error, "</p>");
    for cause in &note.causes {
        html.element("<p>cause: ", cause, "</p>");
    }
    if let Some(hint) = &note.hint {
        html.element("<p>hint: ", hint, "</p>");
    }
    html.raw("</div>");
}
