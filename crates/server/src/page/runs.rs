//! What was run: a strip of the last runs, and a line for each.
//!
//! The document of `muster runs` comes in, a section goes out. In the strip each run is a column, oldest at the left; its
//! height says how long it took, on a scale of tens, and one that was not done has a mark above it besides its colour.

use muster_types::Span;

use super::{
    view::{Run, Runs},
    words,
};
use crate::html::Html;

/// Width of a column and its gap, in the units of the drawing.
const COLUMN: usize = 14;
/// The highest column: a day and more.
const HEIGHT: f64 = 36.0;
/// What the highest column stands for, in seconds.
const LONGEST_SECONDS: f64 = 86_400.0;

/// Shows the last runs.
pub(super) fn section(html: &mut Html, runs: Runs) {
    html.raw("<section><h2>Last runs</h2>");
    if runs.runs.is_empty() {
        html.raw("<p>Nothing was run yet.</p></section>\n");
        return;
    }
    strip(html, &runs.runs);
    html.raw(
        "<div class=\"wide\"><table><thead><tr><th>run</th><th>verb</th><th>state</th><th>begun</th>\
         <th class=\"n\">took</th></tr></thead><tbody>\n",
    );
    for run in &runs.runs {
        html.element("<tr><th scope=\"row\"><a href=\"/runs/", &run.id, "\">");
        html.element("<code>", &run.id, "</code></a></th><td>").text(&run.verb);
        if let Some(runbook) = &run.runbook {
            html.element(" <small>", runbook, "</small>");
        }
        html.raw("</td><td>");
        words::state(html, &run.state);
        html.element("</td><td>", words::time(run.begun_at), "</td>");
        html.element("<td class=\"n\">", Span::told(run.elapsed_seconds), "</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn strip(html: &mut Html, runs: &[Run]) {
    html.element("<svg class=\"strip\" viewBox=\"0 0 ", runs.len() * COLUMN, " 50\" width=\"");
    html.element("", runs.len() * COLUMN, "\" height=\"50\" role=\"img\" aria-label=\"");
    html.text(runs.len()).raw(" runs, oldest first\">");
    for (index, run) in runs.iter().rev().enumerate() {
        let x = index * COLUMN + 2;
        let height = (run.elapsed_seconds.max(0.0) + 1.0).ln() / (LONGEST_SECONDS + 1.0).ln() * HEIGHT;
        let height = height.clamp(3.0, HEIGHT);
        html.element("<a href=\"/runs/", &run.id, "\"><title>");
        html.text(format_args!(
            "{} {}: {}, {} in {}",
            run.verb,
            run.id,
            run.state,
            words::time(run.begun_at),
            Span::told(run.elapsed_seconds)
        ));
        html.raw("</title>");
        let class = words::state_class(&run.state);
        if class != "good" {
            html.element("<text class=\"", class, "\" text-anchor=\"middle\" y=\"9\" x=\"");
            html.text(x + 5).raw("\">").raw(sign(class)).raw("</text>");
        }
        html.element("<rect class=\"", class, "\" width=\"10\" rx=\"1\" x=\"").text(x);
        html.element("\" y=\"", format_args!("{:.1}", 48.0 - height), "\" height=\"");
        html.element("", format_args!("{height:.1}"), "\"/></a>");
    }
    html.raw("</svg>\n");
}

fn sign(class: &str) -> &'static str {
    match class {
        "bad" => "✗",
        "live" => "▸",
        "doubt" => "?",
        _ => "–",
    }
}
