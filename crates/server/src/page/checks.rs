//! What was observed: each check with its verdict, and why one has failed.
//!
//! The document of `muster check` comes in, a section goes out.

use muster_types::{Kind, Span, check::CheckResult, event::ErrorNote};

use super::{view::Checks, words};
use crate::html::Html;

/// Shows the checks; nothing where the configuration has none.
pub(super) fn section(html: &mut Html, checks: Option<&Checks>, error: Option<&ErrorNote>) {
    if error.is_some_and(|error| error.kind == Kind::NotFound) {
        return;
    }
    html.raw("<section><h2>Checks</h2>");
    if let Some(error) = error {
        words::error(html, error);
    }
    match checks {
        Some(checks) => table(html, &checks.checks),
        None if error.is_none() => {
            html.raw("<p>They are being observed.</p>");
        }
        None => {}
    }
    html.raw("</section>\n");
}

/// Lines checks up.
pub(super) fn table(html: &mut Html, checks: &[CheckResult]) {
    html.raw(
        "<div class=\"wide\"><table><thead><tr><th>check</th><th>verdict</th><th>observed at</th>\
         <th class=\"n\">took</th><th>why</th></tr></thead><tbody>\n",
    );
    for one in checks {
        html.element("<tr><th scope=\"row\">", &one.name, "</th><td>");
        words::passed(html, one.passed);
        html.element("</td><td>", words::time(one.at), "</td>");
        html.element("<td class=\"n\">", Span::told(one.seconds), "</td>");
        html.element("<td>", if one.passed { String::new() } else { why(one) }, "</td></tr>\n");
    }
    html.raw("</tbody></table></div>");
}

/// Says why a check has failed, in one line.
pub(super) fn why(check: &CheckResult) -> String {
    check.reason().unwrap_or_else(|| "it does not say".to_owned())
}
