//! What a rotation has come to, as the lines that somebody signs off.
//!
//! In: the report. Out: lines. Nothing is computed here that is not in the report. Read next: `../render.rs`.

use muster_types::{report::RunReport, rotation::Rotated};

use super::{push, table, time};

/// Shows what was rotated, and when; empty when nothing was.
pub(super) fn rotated(report: &RunReport) -> String {
    let proof = |one: &Rotated| match (one.is_accepted, one.is_old_refused) {
        (true, true) => "new accepted, old refused",
        (true, false) => "new accepted, old not looked at",
        (false, true) => "new not looked at, old refused",
        (false, false) => "nobody has looked",
    };
    let rows: Vec<Vec<String>> = report
        .rotated
        .iter()
        .map(|one| {
            vec![
                one.secret.clone(),
                time(one.at),
                proof(one).to_owned(),
                one.services.join(", "),
                one.places.join("; "),
            ]
        })
        .collect();
    let mut text = table(&["rotated", "at", "proof", "restarted", "places"], &rows);
    for one in report.rotated.iter().filter(|one| one.others > 0) {
        push(
            &mut text,
            format_args!("{}: {} other keys beside it are as they were\n", one.secret, one.others),
        );
    }
    text
}
