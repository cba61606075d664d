//! Makes phases and steps of a document: `muster` fences, commands with attributes, task-list items; prose is kept.
//!
//! The document comes in; the runbook leaves, with faults for what may not be executed. A list item with a fence inside is
//! prose and a step; a fence without a language, or one that holds configuration or output, is prose.

mod attributes;
mod undo;

use std::collections::BTreeMap;

use muster_types::Span;

use super::{
    Action, Class, Fault, Front, Item, Native, OnAmbiguous, Phase, Runbook, Step, When,
    keys::{self, Keys},
    native, template,
};
use crate::{
    command,
    document::{Block, BlockKind, Document, Fence, FenceKind, Lines},
    yaml::{self, Node, Value},
};

/// Reads the phases.
pub(super) fn read(document: &Document, front: Front, faults: &mut Vec<Fault>) -> Runbook {
    let mut runbook = Runbook { front, phases: Vec::new(), notes: Vec::new() };
    for section in &document.sections {
        let mut phase = Phase {
            title: section.heading.clone(),
            level: section.level,
            line: section.line,
            items: Vec::new(),
        };
        for block in &section.blocks {
            for item in items(document, block, faults, &mut runbook.notes) {
                phase.items.push(item);
            }
        }
        runbook.phases.push(phase);
    }
    name_steps(&mut runbook, document, faults);
    runbook
}

fn items(document: &Document, block: &Block, faults: &mut Vec<Fault>, notes: &mut Vec<String>) -> Vec<Item> {
    let step = |step: Option<Step>| step.map(|step| Item::Step(Box::new(step))).into_iter().collect();
    match &block.kind {
        BlockKind::Fence(fence) if fence.kind == FenceKind::Muster => {
            of_muster(document, fence, faults).into_iter().map(|step| Item::Step(Box::new(step))).collect()
        }
        BlockKind::Fence(fence) if is_command(fence) => {
            step(attributes::of_command(document, fence, block.lines.first, faults))
        }
        BlockKind::Fence(fence) => {
            if !fence.attributes.is_empty() || matches!(fence.kind, FenceKind::Sql | FenceKind::Several) {
                notes.push(format!(
                    "line {}: a fence of {} is shown and not executed",
                    block.lines.first,
                    fence.kind.name()
                ));
            }
            vec![prose(document, block.lines)]
        }
        BlockKind::Item(item) if item.checkbox.is_some() => {
            step(Some(attributes::of_task(item, block.lines.first)))
        }
        BlockKind::Item(_) => vec![prose(document, own_lines(block, document))],
        BlockKind::Rule | BlockKind::Comment(_) => Vec::new(),
        _ => vec![prose(document, block.lines)],
    }
}

/// Items hold their inner blocks, which follow by themselves: prose is the first line of the item.
fn own_lines(block: &Block, _: &Document) -> Lines {
    Lines::new(block.lines.first, block.lines.first)
}

fn prose(document: &Document, lines: Lines) -> Item {
    let text = (lines.first..=lines.last).map(|line| document.line(line)).collect::<Vec<_>>().join("\n");
    Item::Prose { line: lines.first, text }
}

fn is_command(fence: &Fence) -> bool {
    let is_shell = matches!(fence.language.as_str(), "bash" | "sh" | "shell" | "zsh");
    is_shell && (matches!(fence.kind, FenceKind::Shell) || !fence.attributes.is_empty())
}

/// A `muster` fence is one step, or a list of steps.
fn of_muster(document: &Document, fence: &Fence, faults: &mut Vec<Fault>) -> Vec<Step> {
    let before = faults.len();
    let found = match yaml::parse(&fence.content, fence.content_line) {
        Err(broken) => {
            faults.push(Fault::new(
                (broken.line, broken.column),
                "",
                broken.message,
                "look at the indentation and the quotes",
            ));
            Vec::new()
        }
        Ok(node) => match &node.value {
            Value::Null => {
                faults.push(Fault::new(
                    (fence.content_line, 1),
                    "",
                    "this `muster` fence is empty",
                    "write a step such as `check: ready`, or remove it",
                ));
                Vec::new()
            }
            Value::List(items) => items.iter().filter_map(|item| of_node(item, 0, faults)).collect(),
            _ => of_node(&node, 0, faults).into_iter().collect(),
        },
    };
    // Columns count in the fence; in a list the file has its indentation before them.
    for fault in faults.iter_mut().skip(before) {
        fault.column += indentation(document, fence, fault.line);
    }
    found
}

fn indentation(document: &Document, fence: &Fence, line: usize) -> usize {
    let Some((_, inner)) = fence.lines().find(|(number, _)| *number == line) else { return 0 };
    document.line(line).trim_end().chars().count().saturating_sub(inner.trim_end().chars().count())
}

/// Reads one native step: an action and what may stand beside each.
pub(super) fn of_node(node: &Node, depth: usize, faults: &mut Vec<Fault>) -> Option<Step> {
    let Value::Map(entries) = &node.value else {
        faults.push(Fault::new(
            (node.line, node.column),
            node.text().unwrap_or_default(),
            "this is no step",
            "write a step as `check: ready`",
        ));
        return None;
    };
    let actions: Vec<&'static str> = native::NAMES
        .iter()
        .copied()
        .filter(|name| node.get(name).is_some() || entries.iter().any(|entry| entry.key == *name))
        .collect();
    let [name] = actions.as_slice() else {
        let place = (node.line, node.column);
        let (message, hint) = match actions.first() {
            None => {
                let wrong = entries
                    .iter()
                    .map(|entry| entry.key.as_str())
                    .find(|key| !attributes::BESIDE.contains(key) && *key != "undo")
                    .unwrap_or_default();
                let near = keys::nearest(wrong, native::NAMES);
                (
                    format!("there is no step `{wrong}`"),
                    near.map_or_else(
                        || format!("steps are: {}", native::NAMES.join(", ")),
                        |near| format!("did you mean `{near}`?"),
                    ),
                )
            }
            Some(_) => (
                format!("one step does several things: {}", actions.join(", ")),
                "write each as a step of its own".to_owned(),
            ),
        };
        faults.push(Fault::new(place, "", message, hint));
        return None;
    };
    let value = entries.iter().find(|entry| entry.key == *name).map(|entry| &entry.node)?;
    let native = native::read(name, value, depth, faults);
    let mut keys = Keys::new(node, format!("a `{name}` step"), faults);
    keys.node(name);
    let beside = attributes::beside(&mut keys);
    let undo = keys.node("undo");
    keys.finish();
    let native = native?;
    let title = beside.title.clone().unwrap_or_else(|| title_of(&native));
    let class = beside.class.unwrap_or_else(|| native.class());
    let mut step = beside.step(node.line, title, class, Action::Native(native));
    step.is_evidence |= matches!(&step.action, Action::Native(Native::Incident(one)) if one.is_evidence());
    step.undo = undo.and_then(|node| undo::of_node(node, &step, depth, faults)).map(Box::new);
    if let Some(undo) = undo::of_incident(&step) {
        (step.undo, step.is_temporary) = (Some(Box::new(undo)), true);
    }
    attributes::check_class(&step, beside_class(node), (node.line, node.column), faults);
    Some(step)
}

fn beside_class(node: &Node) -> bool {
    node.get("class").is_some()
}

fn title_of(native: &Native) -> String {
    let list = |names: &[String]| names.join(", ");
    let name = native.name();
    match native {
        Native::Check { checks, tag } if checks.is_empty() => {
            format!("check everything tagged {}", tag.as_deref().unwrap_or_default())
        }
        Native::Check { checks, .. } => format!("check {}", list(checks)),
        Native::Wait { checks, span } if checks.is_empty() => {
            span.map_or_else(|| name.to_owned(), |span| format!("wait {span}"))
        }
        Native::Wait { checks, .. } => format!("wait until {} is good", list(checks)),
        Native::Watch { span, .. } => {
            span.map_or_else(|| name.to_owned(), |span| format!("watch for {span}"))
        }
        Native::Backup { components, .. } => format!("back up {}", list(components)),
        Native::Restore { component, .. } => format!("restore {component}"),
        Native::Rescue { component, table, .. } => format!("rescue rows of {table} in {component}"),
        Native::Failover { component, .. } => format!("fail {component} over"),
        Native::Rotate { secrets } => format!("rotate {}", list(secrets)),
        Native::Stop { services }
        | Native::Start { services }
        | Native::Restart { services }
        | Native::Rebuild { services }
        | Native::Reconnect { services }
        | Native::Clean { services }
        | Native::Logs { services, .. } => format!("{name} {}", list(services)),
        Native::Scale { service, replicas } => format!("scale {service} to {}", replicas.unwrap_or_default()),
        Native::Rollback { service, .. } => format!("roll {service} back"),
        Native::Cluster(step) => step.title(),
        Native::Change(step) => step.title(),
        Native::Exec { command, .. } => command.lines().next().unwrap_or_default().to_owned(),
        Native::Http { method, url, .. } => format!("{method} {url}"),
        Native::Dns { name, values, .. } => format!("{name} becomes {}", values.join(", ")),
        Native::Network { targets, .. } if targets.is_empty() => "look at the network".to_owned(),
        Native::Network { targets, .. } => format!("look at the way to {}", list(targets)),
        Native::Sql { component, .. } => format!("SQL on {component}"),
        Native::Redis { component, command, .. } => format!("{command} on {component}"),
        Native::Notify { to, .. } => format!("notify {}", list(to)),
        Native::Ask { question, .. } | Native::Choose { question, .. } => question.clone(),
        Native::Confirm { text } => text.clone(),
        Native::Parallel { steps, .. } => format!("{} steps side by side", steps.len()),
        Native::If { check, answer, equals, .. } => match (check, answer) {
            (Some(check), _) => format!("if {check} is good"),
            (None, answer) => format!(
                "if {} is {}",
                answer.as_deref().unwrap_or_default(),
                equals.as_deref().unwrap_or_default()
            ),
        },
        Native::Run { runbook, .. } => format!("run {runbook}"),
        Native::Data(step) => step.title(),
        Native::Incident(step) => step.title(),
    }
}

/// Gives each step without a name one of its phase and place, and refuses two with one name.
fn name_steps(runbook: &mut Runbook, document: &Document, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for phase in &mut runbook.phases {
        let slug = slug(&phase.title);
        let mut count = 0;
        for item in &mut phase.items {
            let Item::Step(step) = item else { continue };
            name_step(step, &slug, &mut count, &mut seen, document, faults);
        }
    }
}

fn name_step(
    step: &mut Step,
    slug: &str,
    count: &mut usize,
    seen: &mut BTreeMap<String, usize>,
    document: &Document,
    faults: &mut Vec<Fault>,
) {
    *count += 1;
    let is_given = !step.id.is_empty();
    if !is_given {
        step.id = format!("{slug}-{count}");
        while seen.contains_key(&step.id) {
            *count += 1;
            step.id = format!("{slug}-{count}");
        }
    } else if let Some(first) = seen.get(&step.id) {
        let (line, column) = place_of_name(document, step);
        let message = format!("two steps are called `{}`: the first stands in line {first}", step.id);
        faults.push(Fault::new(
            (line, column),
            &step.id,
            message,
            "rename one of them: a run is resumed by these names",
        ));
    }
    seen.entry(step.id.clone()).or_insert(step.line);
    if let Action::Native(Native::Parallel { steps, .. }) = &mut step.action {
        for inner in steps {
            name_step(inner, slug, count, seen, document, faults);
        }
    } else if let Action::Native(Native::If { then, otherwise, .. }) = &mut step.action {
        for inner in then.iter_mut().chain(otherwise) {
            name_step(inner, slug, count, seen, document, faults);
        }
    }
}

/// Where the name of a step is written: behind `name=` or `id:`.
fn place_of_name(document: &Document, step: &Step) -> (usize, usize) {
    for line in step.line..step.line.saturating_add(20) {
        for mark in ["name=", "id: "] {
            if let Some(at) = document.line(line).find(&format!("{mark}{}", step.id)) {
                let before = document.line(line).get(..at).unwrap_or_default().chars().count();
                return (line, before + mark.len() + 1);
            }
        }
    }
    (step.line, 1)
}

/// What stands in brackets, a time for example, may change without changing the names.
fn slug(title: &str) -> String {
    let bare = title.split('(').next().unwrap_or_default();
    let title = if bare.trim().is_empty() { title } else { bare };
    let slug: String =
        title.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
    let slug = slug.split('-').filter(|part| !part.is_empty()).take(4).collect::<Vec<_>>().join("-");
    if slug.is_empty() { "step".to_owned() } else { slug }
}
