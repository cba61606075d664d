//! Pages for people: the dashboard and one run, made of the documents that the API gives.
//!
//! Documents come in, HTML goes out. A page works without a script, on a phone and in the dark; each colour has a word
//! beside it. The script only loads the page again when something has changed, and says so when nobody answers.
//!
//! Nothing is judged here: verdicts, numbers and times stand in the documents, and ages count from the document's own
//! time, never from a clock. Read next: `page/status.rs`, `page/runs.rs`, `page/run.rs`.

mod checks;
mod run;
mod runs;
mod status;
mod view;
mod words;

use muster_types::event::ErrorNote;
use serde_json::Value;

pub(crate) use self::run::run;
use self::view::{Summary, read};
use crate::html::Html;

/// The style of all pages.
pub(crate) const STYLE: &str = include_str!("page/style.css");
/// The script of all pages.
pub(crate) const SCRIPT: &str = include_str!("page/live.js");
/// The icon of all pages.
pub(crate) const ICON: &str = include_str!("page/icon.svg");

/// What the dashboard is made of; each part may be missing, with the reason.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// How the objectives stand.
    pub status: Option<&'a Value>,
    /// Why there is no newer one.
    pub status_error: Option<&'a ErrorNote>,
    /// What was observed.
    pub checks: Option<&'a Value>,
    /// Why there is no newer one.
    pub checks_error: Option<&'a ErrorNote>,
    /// The last runs, or why they cannot be read.
    pub runs: Result<Value, Box<ErrorNote>>,
    /// Everything in one word.
    pub summary: Option<Value>,
}

/// Writes the dashboard.
pub(crate) fn dashboard(parts: &Parts<'_>) -> String {
    let mut html = Html::default();
    let status = parts.status.and_then(read::<view::Status>);
    let title =
        status.as_ref().map_or("Muster".to_owned(), |one| format!("{} ({})", one.platform, one.environment));
    begin(&mut html, &title);
    html.raw("<header><h1>");
    match &status {
        Some(one) => {
            html.text(&one.platform).element(" <small>", &one.environment, "</small></h1>");
            html.element("<p class=\"when\">observed at <time>", words::time(one.at), "</time></p>");
        }
        None => {
            html.raw("Muster</h1>");
        }
    }
    html.raw("</header>\n<main>\n");
    banner(&mut html, parts);
    if let Some(status) = &status {
        status::attention(&mut html, status, parts.checks.and_then(read).as_ref());
        status::objectives(&mut html, status);
        status::components(&mut html, status);
        status::logs(&mut html, status);
        status::copies(&mut html, status);
    }
    checks::section(&mut html, parts.checks.and_then(read).as_ref(), parts.checks_error);
    match &parts.runs {
        Ok(runs) => runs::section(&mut html, read(runs).unwrap_or_default()),
        Err(error) => {
            html.raw("<section><h2>Runs</h2>");
            words::error(&mut html, error);
            html.raw("</section>");
        }
    }
    end(&mut html);
    html.into_string()
}

/// Writes a page that says why there is no other one.
pub(crate) fn failed(error: &ErrorNote) -> String {
    let mut html = Html::default();
    begin(&mut html, "Muster");
    html.raw("<header><h1>Muster</h1><p><a href=\"/\">dashboard</a></p></header>\n<main>\n");
    words::error(&mut html, error);
    end(&mut html);
    html.into_string()
}

fn banner(html: &mut Html, parts: &Parts<'_>) {
    if let Some(error) = parts.status_error {
        html.raw("<section class=\"banner critical\" role=\"alert\"><p><strong>Muster cannot tell how it stands.</strong> ");
        if parts.status.is_some() {
            html.raw("Below is what was known before.");
        }
        html.raw("</p>");
        words::error(html, error);
        html.raw("</section>\n");
        return;
    }
    if parts.status.is_none() {
        html.raw("<section class=\"banner minor\" role=\"status\"><p><strong>Looking.</strong> The repository and the components are being asked; load this page again in a few seconds.</p></section>\n");
    }
    let Some(summary) = parts.summary.as_ref().and_then(read::<Summary>) else { return };
    let class = match summary.status.indicator.as_str() {
        "none" => "banner none",
        "minor" => "banner minor",
        "major" => "banner major",
        _ => "banner critical",
    };
    html.element("<section class=\"", class, "\" role=\"status\"><p><strong>");
    html.text(&summary.status.description).raw("</strong></p></section>\n");
}

fn begin(html: &mut Html, title: &str) {
    html.raw(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript>\
         <link rel=\"stylesheet\" href=\"/style.css\"><link rel=\"icon\" href=\"/icon.svg\">\
         <script src=\"/live.js\" defer></script><title>",
    );
    html.text(title).raw("</title></head>\n<body>\n<p id=\"lost\" role=\"alert\" hidden>No answer from Muster: this page is not new any more.</p>\n");
}

fn end(html: &mut Html) {
    html.raw(
        "</main>\n<footer><p>Each number stands in the API too: <a href=\"/api/v1/status\">status</a>, \
         <a href=\"/api/v1/backups\">backups</a>, <a href=\"/api/v1/checks\">checks</a>, <a href=\"/api/v1/runs\">runs</a>, \
         <a href=\"/api/v1/openapi.json\">description</a>, <a href=\"/metrics\">metrics</a>.</p></footer>\n</body></html>\n",
    );
}
