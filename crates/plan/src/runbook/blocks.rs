//! A step that keeps or takes back a block names a step before it that blocks.
//!
//! A runbook comes in; faults leave. Found while it runs, it would leave an attacker in, or users out.

use super::{Action, Fault, Native, Runbook, Step};
use crate::document::Document;

pub(super) fn check(book: &Runbook, document: &Document, faults: &mut Vec<Fault>) {
    let mut seen: Vec<&str> = Vec::new();
    let mut open: Vec<&Step> = book.steps().collect();
    open.reverse();
    while let Some(step) = open.pop() {
        let Action::Native(native) = &step.action else { continue };
        if let Native::Incident(incident) = native {
            if let Some(name) = incident.of_step().filter(|name| !seen.contains(name)) {
                let column = document.line(step.line).find(name).map_or(1, |at| at + 1);
                let message = format!("no step before this one is called `{name}` and blocks something");
                let hint = format!("give the `block` step this name: `id: {name}`");
                faults.push(Fault::new((step.line, column), name, message, hint));
            }
            if incident.is_block() {
                seen.push(&step.id);
            }
        }
        open.extend(native.inner().into_iter().rev());
    }
}
