//! How it stands: what needs a person first, then every objective, component, log and copy.
//!
//! The document of `muster status` comes in, sections go out.

use muster_types::{
    ByteSize,
    objective::{ObjectiveRow, Verdict},
};

use super::{
    checks::why,
    view::{Checks, Status},
    words,
};
use crate::html::Html;

/// Width of a bar, in the units of its drawing.
const WIDTH: f64 = 120.0;

/// Lists what is not as it should be, worst first. Without any there is no section.
pub(super) fn attention(html: &mut Html, status: &Status, checks: Option<&Checks>) {
    let mut lines: Vec<(bool, String)> = Vec::new();
    for row in &status.objectives {
        let is_bad = row.verdict == Verdict::Breached;
        if is_bad || row.verdict == Verdict::Unproven {
            lines.push((is_bad, told(row)));
        }
    }
    for row in &status.copies {
        let is_bad = row.verdict == Verdict::Breached;
        if is_bad || row.verdict == Verdict::Unproven {
            let reason = row.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            lines.push((is_bad, format!("copy {} is {}{reason}", row.name, row.verdict)));
        }
    }
    for one in checks.iter().flat_map(|checks| &checks.checks).filter(|one| !one.passed) {
        lines.push((true, format!("check {} has failed: {}", one.name, why(one))));
    }
    for row in &status.logs {
        lines.extend(
            row.warnings.iter().map(|warning| (false, format!("log of {}: {warning}", row.component))),
        );
        let why = row.not_achievable.iter();
        lines.extend(
            why.map(|why| (false, format!("{}: an RPO of 0 is not achievable: {why}", row.component))),
        );
    }
    for one in &status.buckets {
        lines.extend(one.warnings().into_iter().map(|warning| (false, warning)));
    }
    if lines.is_empty() {
        return;
    }
    lines.sort_by_key(|(is_bad, _)| !is_bad);
    html.raw("<section><h2>Needs a person</h2><ul class=\"attention\">\n");
    for (is_bad, line) in &lines {
        html.raw(if *is_bad { "<li class=\"bad\">✗ " } else { "<li class=\"doubt\">? " })
            .text(line)
            .raw("</li>\n");
    }
    html.raw("</ul></section>\n");
}

fn told(row: &ObjectiveRow) -> String {
    let measured = row.measured_seconds.map_or("nothing was measured".to_owned(), |_| {
        format!("{} measured", words::seconds(row.measured_seconds))
    });
    format!(
        "{} of {} is {}: {measured}, {} is the target",
        row.objective,
        name(row),
        row.verdict,
        words::seconds(row.target_seconds)
    )
}

fn name(row: &ObjectiveRow) -> String {
    row.class.as_ref().map_or(row.component.clone(), |class| format!("{}/{class}", row.component))
}

/// Lines up target and measured.
pub(super) fn objectives(html: &mut Html, status: &Status) {
    html.raw(
        "<section><h2>Objectives</h2><div class=\"wide\"><table><thead><tr><th>component</th><th>objective</th>\
         <th class=\"n\">target</th><th class=\"n\">measured</th><th>measured against target</th><th>basis</th>\
         <th>verdict</th></tr></thead><tbody>\n",
    );
    for row in &status.objectives {
        html.element("<tr><th scope=\"row\">", name(row), "</th><td>").text(row.objective);
        html.element("</td><td class=\"n\">", words::seconds(row.target_seconds), "</td>");
        html.element("<td class=\"n\">", words::seconds(row.measured_seconds), "</td><td>");
        bar(html, row);
        html.element("</td><td>", row.basis.map_or("–".to_owned(), |basis| basis.to_string()), "</td><td>");
        words::verdict(html, row.verdict);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

/// Draws what was measured as a bar, and the target as a line across it.
fn bar(html: &mut Html, row: &ObjectiveRow) {
    let (Some(target), Some(measured)) = (row.target_seconds, row.measured_seconds) else { return };
    let most = target.max(measured).max(f64::MIN_POSITIVE) * 1.08;
    let at = |value: f64| format!("{:.1}", (value / most * WIDTH).clamp(0.0, WIDTH));
    html.raw("<svg class=\"bar\" viewBox=\"0 0 120 12\" role=\"img\" aria-label=\"measured ");
    html.text(words::seconds(Some(measured))).raw(" of ").text(words::seconds(Some(target)));
    html.raw("\"><rect class=\"ground\" x=\"0\" y=\"2\" width=\"120\" height=\"8\" rx=\"1\"/>");
    html.raw(match row.verdict {
        Verdict::Met => "<rect class=\"good\"",
        Verdict::Breached => "<rect class=\"bad\"",
        Verdict::Unproven | Verdict::NotApplicable => "<rect class=\"doubt\"",
    });
    html.element(" x=\"0\" y=\"2\" height=\"8\" rx=\"1\" width=\"", at(measured.max(most * 0.01)), "\"/>");
    html.element("<line class=\"target\" y1=\"0\" y2=\"12\" x1=\"", at(target), "\"");
    html.element(" x2=\"", at(target), "\"/></svg>");
}

/// Shows the newest backup and the newest proof of each component.
pub(super) fn components(html: &mut Html, status: &Status) {
    html.raw(
        "<section><h2>Backups and proofs</h2><div class=\"wide\"><table><thead><tr><th>component</th>\
         <th>newest good backup</th><th>state of</th><th class=\"n\">size</th><th>newest proof</th><th class=\"n\">took</th>\
         <th>of backup</th></tr></thead><tbody>\n",
    );
    for one in &status.components {
        html.element("<tr><th scope=\"row\">", &one.name, "</th>");
        match &one.newest_backup {
            Some(backup) => {
                html.element("<td><code>", backup.id.short(), "</code></td><td>");
                html.text(words::time(backup.record.consistent_at));
                html.element(" <small>", words::ago(status.at, backup.record.consistent_at), "</small></td>");
                html.element("<td class=\"n\">", ByteSize(backup.record.size_bytes), "</td>");
            }
            None => {
                html.raw("<td colspan=\"3\"><span class=\"word bad\">✗ no backup</span></td>");
            }
        }
        match &one.newest_proof {
            Some(proof) => {
                html.raw("<td>");
                words::proof(html, proof.outcome);
                html.element(" <small>", words::ago(status.at, proof.at), "</small></td>");
                html.element("<td class=\"n\">", words::seconds(Some(proof.seconds)), "</td>");
                html.element("<td><code>", proof.backup.short(), "</code></td></tr>\n");
            }
            None => {
                html.raw("<td colspan=\"3\"><span class=\"word doubt\">? never proven</span></td></tr>\n");
            }
        }
    }
    for name in &status.disposable {
        html.element("<tr><th scope=\"row\">", name, "</th>");
        html.raw("<td colspan=\"6\"><span class=\"word still\">– disposable: made anew instead of restored</span></td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

/// Shows how new the archived logs are.
pub(super) fn logs(html: &mut Html, status: &Status) {
    if status.logs.is_empty() {
        return;
    }
    html.raw(
        "<section><h2>Logs</h2><div class=\"wide\"><table><thead><tr><th>component</th><th>complete as of</th>\
         <th>newest commit</th><th>durable up to</th><th>kept by the server</th></tr></thead><tbody>\n",
    );
    for row in &status.logs {
        html.element("<tr><th scope=\"row\">", &row.component, "</th><td>")
            .text(words::time(row.complete_as_of));
        html.element(" <small>", words::ago(status.at, row.complete_as_of), "</small></td><td>");
        html.text(row.newest_commit.map_or("–".to_owned(), words::time));
        html.element("</td><td>", row.durable, "");
        html.element(" <small>timeline ", row.timeline, "</small></td><td>");
        match &row.slot {
            Some(slot) => html.text(ByteSize(slot.held_bytes)).element(" <small>", &slot.state, "</small>"),
            None => html.raw("–"),
        };
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}

/// Shows how the copies of the repository stand.
pub(super) fn copies(html: &mut Html, status: &Status) {
    if status.copies.is_empty() {
        return;
    }
    html.raw(
        "<section><h2>Copies</h2><div class=\"wide\"><table><thead><tr><th>copy</th><th>newest backup</th>\
         <th class=\"n\">backups</th><th class=\"n\">missing</th><th class=\"n\">target</th><th class=\"n\">measured</th>\
         <th>verdict</th><th></th></tr></thead><tbody>\n",
    );
    let count = |value: Option<usize>| value.map_or("–".to_owned(), |value| value.to_string());
    for row in &status.copies {
        html.element("<tr><th scope=\"row\">", &row.name, "");
        html.element(" <small>", &row.location, "</small></th><td>");
        match row.newest_backup.as_ref().zip(row.newest_at) {
            Some((id, at)) => html.element("<code>", id.short(), "</code>").element(
                " <small>",
                words::ago(status.at, at),
                "</small>",
            ),
            None => html.raw("–"),
        };
        html.element("</td><td class=\"n\">", count(row.backups), "</td>");
        html.element("<td class=\"n\">", count(row.missing), "</td>");
        html.element("<td class=\"n\">", words::seconds(row.target_seconds), "</td>");
        html.element("<td class=\"n\">", words::seconds(row.measured_seconds), "</td><td>");
        words::verdict(html, row.verdict);
        html.element("</td><td>", row.reason.as_deref().unwrap_or_default(), "</td></tr>\n");
    }
    html.raw("</tbody></table></div></section>\n");
}
