//! What undoes a step: a command, or a `muster` step that can be done by itself and at once.
//!
//! The value of `undo` comes in; a step without a name leaves: it has that of the one that it undoes. A command is taken for
//! one that may run twice, because a crash inside it cannot be told from one before it.
//!
//! What has a run of its own, a restore for example, has no `undo`: it keeps what was there before, and is never undone by
//! itself.

use super::{Action, Class, Fault, Native, Node, Step, attributes};
use crate::yaml::Value;

/// Steps that can undo another one.
const CAN_UNDO: &[&str] = &[
    "exec", "start", "stop", "restart", "scale", "uncordon", "unblock", "http", "sql", "redis", "notify",
    "check", "wait",
];
/// Steps that can be undone.
const CAN_BE_UNDONE: &[&str] = &[
    "exec", "start", "stop", "restart", "scale", "rollback", "drain", "block", "isolate", "http", "dns",
    "sql", "redis", "notify",
];

/// `undo: back` beside a `dns` step: what it has found before becomes the value again.
const BACK: &str = "back";

fn back(step: &Step) -> Step {
    let mut undo = of_command(String::new(), step);
    undo.title = format!("take back: {}", step.title);
    undo.action = step.action.clone();
    if let Action::Native(Native::Dns { is_back, .. }) = &mut undo.action {
        *is_back = true;
    }
    undo
}

/// `{undo="COMMAND"}` beside a command: run by the same shell, in the same folder.
pub(super) fn of_command(text: String, step: &Step) -> Step {
    let action = match &step.action {
        Action::Command { shell, cwd, env, .. } => {
            Action::Command { shell: shell.clone(), text: text.clone(), cwd: cwd.clone(), env: env.clone() }
        }
        _ => Action::Native(Native::Exec { command: text.clone(), service: None }),
    };
    Step {
        id: String::new(),
        line: step.line,
        title: attributes::first_words(&text),
        class: Class::Idempotent,
        on_ambiguous: None,
        timeout: step.timeout,
        retry: 0,
        role: None,
        when: Vec::new(),
        probe: None,
        undo: None,
        is_temporary: false,
        is_evidence: false,
        action,
    }
}

/// What undoes a step of an incident by itself.
pub(super) fn of_incident(step: &Step) -> Option<Step> {
    let Action::Native(Native::Incident(incident)) = &step.action else { return None };
    let action = Action::Native(Native::Incident(incident.undo()?));
    Some(Step { action, ..of_command(String::new(), step) })
}

/// `undo: COMMAND` or `undo: {start: api}` beside a `muster` step.
pub(super) fn of_node(node: &Node, step: &Step, depth: usize, faults: &mut Vec<Fault>) -> Option<Step> {
    let place = (node.line, node.column);
    if let Action::Native(native) = &step.action
        && !CAN_BE_UNDONE.contains(&native.name())
    {
        let message = format!("`undo` cannot stand beside `{}`", native.name());
        let hint = format!("leave it out: it belongs to {}, and to commands", CAN_BE_UNDONE.join(", "));
        faults.push(Fault::new(place, "", message, hint));
        return None;
    }
    if let (Value::Text(text), Action::Native(Native::Dns { .. })) = (&node.value, &step.action)
        && text.trim() == BACK
    {
        return Some(back(step));
    }
    if let Value::Text(text) = &node.value {
        return Some(of_command(text.clone(), step));
    }
    let before = faults.len();
    let mut undo = super::of_node(node, depth + 1, faults)?;
    if let Action::Native(Native::Cluster(step)) = &mut undo.action {
        // What somebody else has cordoned was not done by the step that is undone.
        step.as_undo();
    }
    let name = if let Action::Native(native) = &undo.action { native.name() } else { "" };
    let hint = format!("write a command, or one of: {}", CAN_UNDO.join(", "));
    if !CAN_UNDO.contains(&name) {
        faults.push(Fault::new(place, "", format!("`{name}` cannot undo a step"), hint));
    } else if undo.undo.is_some() || !undo.when.is_empty() || !undo.id.is_empty() || undo.is_evidence {
        let message = "an `undo` has no `id`, `when`, `undo` or evidence of its own";
        faults.push(Fault::new(place, "", message, "leave them out"));
    }
    (faults.len() == before).then_some(undo)
}
