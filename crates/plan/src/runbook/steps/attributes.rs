//! What may stand beside every step: name, class, timeout, retry, role, `on_ambiguous`, `when`, `probe`; and the steps that
//! fences and task lists make.

use super::{
    Action, Class, Document, Fault, Fence, Keys, OnAmbiguous, Span, Step, When, command, keys, template,
};
use crate::{
    document::{
        Attribute, Item,
        statement::{self, PieceKind},
    },
    yaml::Value,
};

/// The keys that each native step may have.
pub(super) const BESIDE: &[&str] =
    &["id", "title", "class", "timeout", "retry", "role", "on_ambiguous", "when", "probe", "undo_at"];
/// The attributes of a command.
const ATTRIBUTES: &[&str] = &[
    "name",
    "class",
    "timeout",
    "retry",
    "role",
    "cwd",
    "env",
    "on_ambiguous",
    "probe",
    "when",
    "undo",
    "undo_at",
];
/// More tries than this are a loop that nobody watches.
const RETRY_MAX: u32 = 20;

/// What stands beside an action.
#[derive(Debug, Default)]
pub(super) struct Beside {
    id: String,
    pub(super) title: Option<String>,
    pub(super) class: Option<Class>,
    timeout: Option<Span>,
    retry: u32,
    role: Option<String>,
    on_ambiguous: Option<OnAmbiguous>,
    when: Vec<When>,
    probe: Option<String>,
    is_evidence: bool,
    is_temporary: bool,
}

impl Beside {
    pub(super) fn step(self, line: usize, title: String, class: Class, action: Action) -> Step {
        // What nobody can tell is taken for the worst.
        let class = if class == Class::Unknown { Class::Destructive } else { class };
        let Self { id, timeout, retry, role, on_ambiguous, when, probe, is_evidence, is_temporary, .. } =
            self;
        Step {
            id,
            line,
            title,
            class,
            on_ambiguous,
            timeout,
            retry,
            role,
            when,
            probe,
            undo: None,
            is_temporary,
            is_evidence,
            action,
        }
    }

    /// Takes one value in; the fault says what is wrong with it.
    fn set(&mut self, name: &str, value: &str) -> Result<(), (String, String)> {
        match name {
            "id" | "name" => {
                let is_name = !value.is_empty()
                    && value.len() <= 64
                    && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
                if !is_name {
                    return Err((
                        format!("`{value}` cannot name a step"),
                        "use letters, digits, `-` and `_`".into(),
                    ));
                }
                value.clone_into(&mut self.id);
            }
            "title" => self.title = Some(value.to_owned()),
            "class" => {
                // Looked at twice, it is exported twice: both are kept.
                self.is_evidence = value == "evidence";
                self.class = Some(match value {
                    "observe" | "evidence" => Class::Observe,
                    "idempotent" => Class::Idempotent,
                    "destructive" => Class::Destructive,
                    _ => {
                        return Err((
                            format!("`{value}` is no class"),
                            "classes are: observe, idempotent, destructive, evidence".into(),
                        ));
                    }
                });
            }
            "timeout" => {
                self.timeout = Some(value.parse().map_err(|error| {
                    (format!("`timeout`: {error}"), "write it with a unit: `30s`, `15m`".to_owned())
                })?);
            }
            "retry" => {
                self.retry = value.parse().ok().filter(|count| *count <= RETRY_MAX).ok_or_else(|| {
                    (
                        format!("`{value}` is no number of tries"),
                        format!("give a number from 0 to {RETRY_MAX}"),
                    )
                })?;
            }
            "role" => self.role = Some(value.to_owned()),
            "on_ambiguous" => {
                self.on_ambiguous = Some(match value {
                    "probe" => OnAmbiguous::Probe,
                    "ask" => OnAmbiguous::Ask,
                    "fail" => OnAmbiguous::Fail,
                    _ => {
                        return Err((
                            format!("`on_ambiguous` cannot be `{value}`"),
                            "it is `probe`, `ask` or `fail`".into(),
                        ));
                    }
                });
            }
            "when" => {
                for pair in value.split(',') {
                    let (name, answer) = pair.split_once('=').ok_or_else(|| {
                        (format!("`when={value}` has no answer"), "write `when=\"NAME=ANSWER\"`".to_owned())
                    })?;
                    let (name, answer) = (name.trim().to_owned(), answer.trim().to_owned());
                    self.when.push(When { name, answer });
                }
            }
            "probe" => self.probe = Some(value.to_owned()),
            "undo_at" => self.is_temporary = is_end(value)?,
            _ => {}
        }
        Ok(())
    }
}

/// `undo_at: end`
fn is_end(value: &str) -> Result<bool, (String, String)> {
    let wrong = || {
        (
            format!("`undo_at` cannot be `{value}`"),
            "it is `end`: what undoes the step comes at the end of the run in any case".to_owned(),
        )
    };
    (value == "end").then_some(true).ok_or_else(wrong)
}

/// Reads what stands beside the action of a native step.
pub(super) fn beside(keys: &mut Keys<'_, '_>) -> Beside {
    let mut beside = Beside::default();
    for name in BESIDE {
        let Some(node) = keys.node(name) else { continue };
        let Value::Text(text) = &node.value else {
            keys.wrong(node, name, "a text");
            continue;
        };
        if let Err((message, hint)) = beside.set(name, text) {
            keys.faults.push(Fault::new((node.line, node.column), text, message, hint));
        }
    }
    beside
}

/// Makes a step of a fenced command.
pub(super) fn of_command(
    document: &Document,
    fence: &Fence,
    line: usize,
    faults: &mut Vec<Fault>,
) -> Option<Step> {
    let source = document.line(line);
    let before = source.find(fence.info.as_str()).and_then(|at| source.get(..at)).unwrap_or_default();
    let place = (line, before.chars().count() + 1);
    if let Some(fault) = &fence.attributes_fault {
        let hint = "write attributes as `{name=value, other=\"two words\"}`";
        faults.push(Fault::new(place, &fence.info, fault.clone(), hint));
        return None;
    }
    let mut beside = Beside::default();
    let (mut cwd, mut env, mut undo) = (None, Vec::new(), None);
    for one in &fence.attributes {
        let place = (line, place.1 + one.offset);
        if let Some(fault) = attribute_fault(one, place) {
            faults.push(fault);
        } else if one.name == "cwd" {
            cwd = Some(one.value.clone());
        } else if one.name == "undo" {
            undo = Some(one.value.clone());
        } else if one.name == "env" {
            variables(&one.value, place, &mut env, faults);
        } else if let Err((message, hint)) = beside.set(&one.name, &one.value) {
            faults.push(Fault::new(place, &one.value, message, hint));
        }
    }
    let text = fence.content.trim_end().to_owned();
    if text.trim().is_empty() {
        let hint = "write a command, or remove the fence";
        faults.push(Fault::new((line, 1), "", "this command is empty", hint));
        return None;
    }
    let title = first_words(&text);
    let is_given = beside.class.is_some();
    let class = beside.class.unwrap_or_else(|| judged(&text));
    let shell = if fence.language == "shell" { "sh".into() } else { fence.language.clone() };
    let mut step = beside.step(line, title, class, Action::Command { shell, text, cwd, env });
    step.undo = undo.map(|undo| Box::new(super::undo::of_command(undo, &step)));
    if class == Class::Unknown && step.on_ambiguous.is_none() {
        let message = "nobody can tell from this command what it does when it runs twice";
        let hint = "add `{class=observe}`, `{class=idempotent}`, or `{class=destructive, on_ambiguous=ask}`";
        faults.push(Fault::new(place, &fence.info, message, hint));
        return Some(step);
    }
    check_class(&step, is_given, place, faults);
    Some(step)
}

fn attribute_fault(one: &Attribute, place: (usize, usize)) -> Option<Fault> {
    if !ATTRIBUTES.contains(&one.name.as_str()) {
        let hint = keys::nearest(&one.name, ATTRIBUTES).map_or_else(
            || format!("attributes are: {}", ATTRIBUTES.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Some(Fault::new(
            place,
            &one.name,
            format!("a command has no attribute `{}`", one.name),
            hint,
        ));
    }
    one.value.is_empty().then(|| {
        let hint = format!("write `{}=…`", one.name);
        Fault::new(place, &one.name, format!("`{}` has no value", one.name), hint)
    })
}

/// Reads `A=1 B=2`.
fn variables(text: &str, place: (usize, usize), env: &mut Vec<(String, String)>, faults: &mut Vec<Fault>) {
    for pair in text.split([',', ' ']).filter(|pair| !pair.is_empty()) {
        if let Some((name, value)) = pair.split_once('=') {
            env.push((name.to_owned(), value.to_owned()));
        } else {
            let message = format!("`{pair}` is no variable with its value");
            faults.push(Fault::new(place, pair, message, "write `env=\"A=1 B=2\"`"));
        }
    }
}

/// The gravest class of the statements of a command.
fn judged(text: &str) -> Class {
    statement::split(text, 1)
        .iter()
        .filter(|piece| piece.kind == PieceKind::Statement)
        .map(|piece| command::judge(&template::filled(&piece.text)).class)
        .max()
        .unwrap_or(Class::Observe)
}

/// A destructive step must say what happens when nobody knows whether it ran; a probe must be there to be asked.
pub(super) fn check_class(step: &Step, is_given: bool, place: (usize, usize), faults: &mut Vec<Fault>) {
    let is_muster = match &step.action {
        Action::Native(native) => {
            matches!(native.name(), "restore" | "rescue" | "failover" | "quarantine" | "rotate" | "rollback")
                || native.has_probe()
        }
        _ => false,
    };
    if step.class == Class::Destructive && step.on_ambiguous.is_none() && !is_muster {
        let why = if is_given { "" } else { " (it removes or replaces something)" };
        let message = format!("`{}` is destructive{why} and does not say `on_ambiguous`", short(&step.title));
        let hint = "add `on_ambiguous=ask`, `fail`, or `probe` with a `probe` whose exit 0 says that it has happened";
        faults.push(Fault::new(place, "", message, hint));
    }
    if step.is_temporary && step.undo.is_none() {
        let hint = "add `undo`: it is what comes at the end of the run";
        faults.push(Fault::new(place, "", "`undo_at` stands beside a step without `undo`", hint));
    }
    if step.on_ambiguous == Some(OnAmbiguous::Probe) && step.probe.is_none() && !is_muster {
        faults.push(Fault::new(
            place,
            "",
            "`on_ambiguous` is `probe`, and there is no `probe`",
            "add `probe=\"COMMAND\"`, or choose `ask`",
        ));
    }
}

/// Makes a step of a task-list item; `(role: NAME)` at its end says who confirms it.
pub(super) fn of_task(item: &Item, line: usize) -> Step {
    let text = item.text.plain.replace('\n', " ").trim().to_owned();
    let role = text
        .rsplit_once("(role:")
        .and_then(|(_, rest)| rest.trim().strip_suffix(')'))
        .map(|role| role.trim().to_owned());
    let bare = text
        .rsplit_once("(role:")
        .filter(|_| role.is_some())
        .map_or(text.as_str(), |(before, _)| before)
        .trim()
        .to_owned();
    let beside = Beside { role, ..Beside::default() };
    beside.step(line, bare.clone(), Class::Observe, Action::Confirm { text: bare })
}

pub(super) fn first_words(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    match first.strip_prefix('#').filter(|rest| !rest.starts_with('!')) {
        Some(comment) => comment.trim().to_owned(),
        None => first.to_owned(),
    }
}

fn short(title: &str) -> String {
    if title.chars().count() <= 50 {
        title.to_owned()
    } else {
        format!("{}…", title.chars().take(49).collect::<String>())
    }
}
