//! One run: what it was, how it stands, each step with its time and its error, and what it measured.
//!
//! The document of `muster show RUN` comes in, a page goes out.

use muster_types::{
    Span, Timestamp,
    report::{RunReport, StepReport, StepState},
};
use serde_json::Value;

use super::{begin, checks, end, view::read, words};
use crate::html::Html;

/// Writes the page of a run; none when the document is another one.
pub(crate) fn run(document: &Value) -> Option<String> {
    let report: RunReport = read(document)?;
    let mut html = Html::default();
    let verb = report.verb.word();
    begin(&mut html, &format!("{verb} {}", report.run));
    html.element("<header><h1>", verb, "").element(" <small>", &report.run, "</small></h1>");
    html.element("<p class=\"when\"><a href=\"/\">", &report.platform, "").element(
        " (",
        &report.environment,
        ")</a></p>",
    );
    html.raw("</header>\n<main>\n");
    facts(&mut html, &report, document);
    objectives(&mut html, &report);
    steps(&mut html, &report.steps, report.begun_at, report.elapsed_seconds);
    results(&mut html, &report);
    end(&mut html);
    Some(html.into_string())
}

fn facts(html: &mut Html, report: &RunReport, document: &Value) {
    html.raw("<section><dl>");
    html.raw("<dt>state</dt><dd>");
    // The document says `interrupted` of a run whose process has died.
    words::state(html, document["outcome"].as_str().unwrap_or("running"));
    html.raw("</dd>");
    let mode = document["mode"].as_str().unwrap_or_default();
    html.element("<dt>mode</dt><dd>", mode, "</dd>").element("<dt>by</dt><dd>", &report.operator, "</dd>");
    html.element("<dt>begun</dt><dd>", words::time(report.begun_at), "</dd>");
    html.element("<dt>ended</dt><dd>", report.ended_at.map_or("–".to_owned(), words::time), "</dd>");
    html.element("<dt>took</dt><dd>", Span::told(report.elapsed_seconds), "</dd>");
    if let Some(seconds) = document["clock_seconds"].as_f64() {
        html.element("<dt>since the failure</dt><dd>", Span::told(seconds), "</dd>");
    }
    if let Some(runbook) = &report.runbook {
        html.element("<dt>runbook</dt><dd>", &runbook.title, "").element(
            " <small>",
            &runbook.file,
            "</small></dd>",
        );
        html.element("<dt>SHA-256</dt><dd><code>", &runbook.sha256, "</code></dd>");
        if let Some(waits_for) = &runbook.waits_for {
            html.element("<dt>waits for</dt><dd>", waits_for, "</dd>");
        }
    }
    html.raw("</dl></section>\n");
    lines(html, "<section><h2>Warnings</h2><ul>", &report.warnings);
    lines(html, "<section><h2>Notes</h2><ul>", &report.notes);
}

fn lines(html: &mut Html, begin: &'static str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    html.raw(begin);
    for line in lines {
        html.element("<li>", line, "</li>");
    }
    html.raw("</ul></section>\n");
}

fn objectives(html: &mut Html, report: &RunReport) {
    if report.objectives.is_empty() {
        return;
    }
    html.raw(
        "<section><h2>Target against measured</h2><div class=\"wide\"><table><thead><tr><th>component</th>\
         <th>objective</th><th class=\"n\">target</th><th class=\"n\">measured</th><th>verdict</th></tr></thead><tbody>\n",
    );
    for row in &report.objectives {
        html.element("<tr><th scope=\"row\">", &row.component, "</th><td>").text(row.objective);
        html.element("</td><td class=\"n\">", words::seconds(row.target_seconds), "</td>");
        html.element("<td class=\"n\">", words::seconds(row.measured_seconds), "</td><td>");
        words::verdict(html, row.verdict);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

fn steps(html: &mut Html, steps: &[StepReport], from: Timestamp, whole: f64) {
    html.raw(
        "<section><h2>Steps</h2><div class=\"wide\"><table><thead><tr><th>step</th><th>state</th>\
         <th class=\"n\">took</th><th>when</th><th>what came of it</th></tr></thead><tbody>\n",
    );
    for step in steps {
        html.element("<tr><th scope=\"row\">", &step.title, "</th><td>");
        words::state(html, state(step.state));
        html.element("</td><td class=\"n\">", words::seconds(step.seconds), "</td><td>");
        when(html, step, from, whole);
        html.element("</td><td>", step.summary.as_deref().unwrap_or_default(), "");
        if let Some(error) = &step.error {
            words::error(html, error);
        }
        if let Some(output) = step.script.as_ref().and_then(|script| script.output.as_ref()) {
            html.element("<details><summary>output</summary><pre>", output, "</pre></details>");
        }
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

/// Draws where in the run a step stands.
fn when(html: &mut Html, step: &StepReport, from: Timestamp, whole: f64) {
    let Some(begun_at) = step.begun_at else { return };
    let whole = whole.max(f64::MIN_POSITIVE);
    let x = (begun_at.duration_since(from).as_secs_f64() / whole * 120.0).clamp(0.0, 118.0);
    let width = (step.seconds.unwrap_or(0.0) / whole * 120.0).clamp(1.5, 120.0 - x);
    html.raw("<svg class=\"bar\" viewBox=\"0 0 120 12\" role=\"img\" aria-label=\"");
    html.text(words::time(begun_at));
    html.raw("\"><rect class=\"ground\" x=\"0\" y=\"2\" width=\"120\" height=\"8\" rx=\"1\"/>");
    html.element("<rect y=\"2\" height=\"8\" rx=\"1\" class=\"", words::state_class(state(step.state)), "\"");
    html.element(" x=\"", format_args!("{x:.1}"), "\"");
    html.element(" width=\"", format_args!("{width:.1}"), "\"/></svg>");
}

fn state(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Skipped => "skipped",
        StepState::Ambiguous => "ambiguous",
        StepState::Waiting => "waiting",
        StepState::Compensated => "compensated",
    }
}

fn results(html: &mut Html, report: &RunReport) {
    if !report.backups.is_empty() {
        html.raw("<section><h2>Backups</h2><ul>");
        for backup in &report.backups {
            html.element("<li><code>", backup.id.short(), "</code> of ")
                .text(&backup.record.identity.component);
            html.element(", consistent at ", words::time(backup.record.consistent_at), "</li>");
        }
        html.raw("</ul></section>\n");
    }
    if !report.proofs.is_empty() {
        html.raw("<section><h2>Proofs</h2><ul>");
        for proof in &report.proofs {
            html.element("<li>", &proof.component, " ").element("<code>", proof.backup.short(), "</code> ");
            words::proof(html, proof.outcome);
            html.element(" in ", Span::told(proof.seconds), "</li>");
        }
        html.raw("</ul></section>\n");
    }
    if !report.checks.is_empty() {
        html.raw("<section><h2>Checks</h2>");
        checks::table(html, &report.checks);
        html.raw("</section>\n");
    }
}
