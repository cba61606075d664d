//! A coordinated point as text: which state each component has, and how far they lie apart.
//!
//! A point comes in, lines go out. Nothing is computed here that is not in it.

use muster_types::point::{Means, Point};

use super::{duration, push, table, time};

/// Shows the point; empty where there is none.
pub(crate) fn shown(point: Option<&Point>) -> String {
    let Some(point) = point.filter(|point| point.states.len() > 1) else { return String::new() };
    let rows: Vec<Vec<String>> = point
        .states
        .iter()
        .map(|state| {
            let backup = state.backup.as_ref().map_or("-", |backup| backup.short());
            vec![
                state.component.clone(),
                state.at.map_or_else(|| "-".into(), time),
                match state.by {
                    Means::Backup => format!("backup {backup}"),
                    Means::Log => format!("backup {backup} and its log"),
                },
                state.given_up_seconds.map_or_else(|| "-".into(), duration),
            ]
        })
        .collect();
    let mut text = table(&["component", "state of", "by", "given up"], &rows);
    match (point.spread_seconds, point.moment) {
        (Some(spread), Some(moment)) => push(
            &mut text,
            format_args!("brought together at {}: the states lie {spread:.3}s apart\n", time(moment)),
        ),
        (Some(spread), None) => push(&mut text, format_args!("the states lie {spread:.3}s apart\n")),
        (None, _) => text.push_str("not every component has a state: how far they lie apart is not known\n"),
    }
    text
}
