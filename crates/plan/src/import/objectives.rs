//! Targets for RTO and RPO: in tables by row or by column, in lists, in sentences, in YAML fences.
//!
//! Blocks come in; [`Objective`]s leave. A time counts only where the words RTO or RPO stand with it, or in the header or
//! heading above it. Two targets of the same scope become one.

mod promised;

use super::{
    Objective, Reader, duration, scenarios, table,
    topic::{self, Topic},
    words::{Words, is_blank, label},
};
use crate::document::{BlockKind, ConfigKind, Fence, FenceKind, Table, Text};

const RTO: &[&str] = &[
    "rto",
    "recovery time objective",
    "recovery time",
    "time to recover",
    "max downtime",
    "maximum downtime",
    "max outage",
    "maximum outage",
    "outage time",
    "recovery within",
    "restore within",
];
const RPO: &[&str] =
    &["rpo", "recovery point objective", "recovery point", "data loss", "max data loss", "maximum data loss"];
const PRIORITY: &[&str] = &["priority", "criticality", "tier", "severity", "importance"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Rto,
    Rpo,
}

pub(super) fn read(reader: &mut Reader<'_>) {
    for (at, section) in reader.document.sections.iter().enumerate() {
        let topic = reader.topic(at);
        let own = own_scope(reader, at);
        let heading = which(&section.heading)
            .or_else(|| section.path.iter().rev().nth(1).and_then(|above| which(above)));
        for (index, block) in section.blocks.iter().enumerate() {
            let found = match &block.kind {
                BlockKind::Table(table) => of_table(table, heading, topic),
                BlockKind::Fence(fence) => of_fence(fence, topic),
                BlockKind::Paragraph(text) => of_words(text, block.lines.first, heading, topic),
                BlockKind::Item(item) => of_words(&item.text, block.lines.first, heading, topic),
                _ => Vec::new(),
            };
            if !found.is_empty() {
                reader.take(at, index);
            }
            for mut objective in found {
                if objective.scope_kind == "platform"
                    && let Some((scope, kind)) = &own
                {
                    scope.clone_into(&mut objective.scope);
                    objective.scope_kind = kind;
                }
                add(&mut reader.found.objectives, objective);
            }
        }
    }
}

/// What a section is about, when it is not about the whole: a scenario, or one thing under a heading about targets.
fn own_scope(reader: &Reader<'_>, at: usize) -> Option<(String, &'static str)> {
    let section = reader.document.sections.get(at)?;
    let (_, title) = scenarios::title(&section.heading);
    let is_general =
        section.level <= 1 || which(&title).is_some() || topic::of_heading(&title) != Topic::Unknown;
    if scenarios::is_explicit(reader.document, at) && section.level > 1 {
        return Some((title, "scenario"));
    }
    match reader.topic(at) {
        Topic::Scenarios if !is_general => Some((title, "scenario")),
        Topic::Objectives if !is_general => {
            let kind = kind("", &title);
            (kind != "platform").then_some((title, kind))
        }
        _ => None,
    }
}

/// Adds a target, or completes the one of the same scope.
fn add(all: &mut Vec<Objective>, new: Objective) {
    let same = all
        .iter_mut()
        .find(|one| one.scope.eq_ignore_ascii_case(&new.scope) && one.scope_kind == new.scope_kind);
    let Some(same) = same else {
        all.push(new);
        return;
    };
    let is_new = (same.rto_seconds.is_none() && new.rto_seconds.is_some())
        || (same.rpo_seconds.is_none() && new.rpo_seconds.is_some());
    if is_new {
        same.text = format!("{}; {}", same.text, new.text);
    }
    same.rto_seconds = same.rto_seconds.or(new.rto_seconds);
    same.rpo_seconds = same.rpo_seconds.or(new.rpo_seconds);
    same.priority = same.priority.take().or(new.priority);
}

fn which(text: &str) -> Option<Which> {
    let words = Words::of(text);
    match (words.has(RTO), words.has(RPO)) {
        (true, false) => Some(Which::Rto),
        (false, true) => Some(Which::Rpo),
        // `Recovery Point Objective (RPO)` and `Max data loss`: the shorter word is in both only when both are meant.
        _ => None,
    }
}

fn objective(scope: &str, scope_kind: &'static str, line: usize, text: &str) -> Objective {
    Objective {
        scope: scope.to_owned(),
        scope_kind,
        rto_seconds: None,
        rpo_seconds: None,
        priority: None,
        line,
        text: text.trim().to_owned(),
    }
}

fn set(objective: &mut Objective, which: Which, seconds: u64) {
    match which {
        Which::Rto => objective.rto_seconds = Some(seconds),
        Which::Rpo => objective.rpo_seconds = Some(seconds),
    }
}

fn of_table(table: &Table, heading: Option<Which>, topic: Topic) -> Vec<Objective> {
    let columns: Vec<(usize, Which)> = table
        .header
        .iter()
        .enumerate()
        .skip(1)
        .filter_map(|(at, cell)| which(&cell.plain).map(|which| (at, which)))
        .collect();
    if !columns.is_empty() {
        return by_column(table, &columns);
    }
    let by_row = by_row(table);
    if !by_row.is_empty() {
        return by_row;
    }
    // Under a heading `RTO` the column is called `Target` or `Time`.
    let time = table::column(table, &["target", "time", "objective", "maximum", "max", "goal"]);
    match (heading, time) {
        (Some(which), Some(at)) if topic == Topic::Objectives && at > 0 => by_column(table, &[(at, which)]),
        _ => Vec::new(),
    }
}

/// One scope in each row, the times in columns.
fn by_column(table: &Table, columns: &[(usize, Which)]) -> Vec<Objective> {
    let header = table.header.first().map_or("", |cell| cell.plain.as_str());
    let priority = table::column(table, PRIORITY).filter(|at| *at > 0);
    let mut found = Vec::new();
    for row in &table.rows {
        let Some(scope) = table::text(row, Some(0)) else { continue };
        let mut one = objective(&scope, kind(header, &scope), row.line, "");
        let mut texts = Vec::new();
        for (at, which) in columns {
            let Some(text) = table::text(row, Some(*at)) else { continue };
            if let Some(seconds) = duration::longest(&text) {
                set(&mut one, *which, seconds);
                texts.push(text);
            }
        }
        one.priority = table::text(row, priority);
        one.text = texts.join("; ");
        if one.scope_kind == "platform" {
            "platform".clone_into(&mut one.scope);
        }
        if !texts.is_empty() {
            found.push(one);
        }
    }
    found
}

/// RTO and RPO name the rows: the target is the first time to the right.
fn by_row(table: &Table) -> Vec<Objective> {
    let mut found = Vec::new();
    for row in &table.rows {
        let Some(name) = table::text(row, Some(0)) else { continue };
        let Some(which) = which(&name) else { continue };
        let cells: Vec<(usize, String)> =
            (1..row.cells.len()).filter_map(|at| Some((at, table::text(row, Some(at))?))).collect();
        let times: Vec<(usize, u64, &str)> = cells
            .iter()
            .filter_map(|(at, text)| Some((*at, duration::longest(text)?, text.as_str())))
            .collect();
        // Columns may be tiers or environments: `| Metric | Production | Staging |`.
        let are_scopes = times.len() > 1
            && times.iter().all(|(at, ..)| {
                let header = table.header.get(*at).map(|cell| Words::of(&cell.plain)).unwrap_or_default();
                !header.has(&[
                    "target",
                    "goal",
                    "value",
                    "notes",
                    "description",
                    "actual",
                    "current",
                    "measured",
                    "objective",
                    "definition",
                ])
            });
        for (at, seconds, text) in times.iter().take(if are_scopes { times.len() } else { 1 }) {
            let header = table.header.get(*at).map_or("", |cell| cell.plain.as_str());
            let scope = if are_scopes { header } else { "platform" };
            let scope_kind = if are_scopes { kind_of_column(header) } else { "platform" };
            let mut one = objective(scope, scope_kind, row.line, text);
            set(&mut one, which, *seconds);
            found.push(one);
        }
    }
    found
}

/// What the columns of a table are: tiers and environments, or parts of the platform.
fn kind_of_column(header: &str) -> &'static str {
    const TIERS: &[&str] = &[
        "tier*",
        "priority",
        "level",
        "class",
        "severity",
        "p0",
        "p1",
        "p2",
        "p3",
        "gold",
        "silver",
        "bronze",
        "critical",
        "standard",
        "production",
        "prod",
        "staging",
        "development",
        "dev",
        "test",
        "environment*",
    ];
    if Words::of(header).has(TIERS) { "priority" } else { kind("", header) }
}

/// What the rows of a table are, by the header of their column.
fn kind(header: &str, scope: &str) -> &'static str {
    const WHOLE: &[&str] = &[
        "platform",
        "overall",
        "all",
        "everything",
        "system",
        "total",
        "default",
        "all systems",
        "all services",
        "whole platform",
        "entire system",
        "entire platform",
        "overall platform",
        "complete platform",
    ];
    let header = Words::of(header);
    if WHOLE.contains(&scope.trim().to_lowercase().as_str()) {
        "platform"
    } else if header.has(&["scenario*", "failure*", "incident*", "event", "disaster*"]) {
        "scenario"
    } else if header.has(&["data*", "dataset*", "information"]) {
        "data"
    } else if header.has(&["tier", "priority", "severity", "class", "environment*", "level"]) {
        "priority"
    } else {
        "component"
    }
}

/// `**RTO:** 4 hours`, `Target: 4 hours` under a heading RTO, `we restore within 1 hour (RTO)`.
fn of_words(text: &Text, first: usize, heading: Option<Which>, topic: Topic) -> Vec<Objective> {
    let mut found = Vec::new();
    for (offset, line) in text.plain.lines().enumerate() {
        for part in line.split([';', '|']) {
            found.extend(of_sentence(part, first + offset, heading, topic));
        }
    }
    found
}

fn of_sentence(text: &str, line: usize, heading: Option<Which>, topic: Topic) -> Vec<Objective> {
    let words = Words::of(text);
    let has_abbreviation = words.has(&["rto", "rpo", "recovery time objective", "recovery point objective"]);
    let is_target = label(text)
        .is_some_and(|(name, _)| Words::of(name).begins(&["target", "goal", "objective", "max", "maximum"]));
    if !has_abbreviation {
        let promised = promised::of(text, line, topic);
        if !promised.is_empty() {
            return promised;
        }
        return match heading {
            Some(which) if is_target && topic == Topic::Objectives => {
                single(text, which, "platform", line).into_iter().collect()
            }
            _ => Vec::new(),
        };
    }
    // `Data loss: up to 1 hour (RPO)` in a scenario speaks of the target; it does not set it.
    if topic != Topic::Objectives && !is_stated(text) {
        return Vec::new();
    }
    let upper = text.to_uppercase();
    let spots = |name: &str, long: &str| upper.find(long).or_else(|| upper.find(name));
    let (rto, rpo) = (spots("RTO", "RECOVERY TIME OBJECTIVE"), spots("RPO", "RECOVERY POINT OBJECTIVE"));
    match (rto, rpo) {
        // `RTO 1h, RPO 5m`: each takes the words up to the other.
        (Some(a), Some(b)) => {
            let (left, right) = text.split_at_checked(a.max(b)).unwrap_or((text, ""));
            let (first, second) = if a < b { (Which::Rto, Which::Rpo) } else { (Which::Rpo, Which::Rto) };
            let scope = scope(text);
            // `up again in 30 minutes (RTO), with 5 minutes lost (RPO)`: the times stand before their names.
            let (left, right) = match text.get(..a.min(b)).zip(text.get(a.min(b)..a.max(b))) {
                Some(before) if duration::longest(right).is_none() => before,
                _ => (left, right),
            };
            single(left, first, &scope, line).into_iter().chain(single(right, second, &scope, line)).collect()
        }
        (Some(_), None) => single(text, Which::Rto, &scope(text), line).into_iter().collect(),
        (None, Some(_)) => single(text, Which::Rpo, &scope(text), line).into_iter().collect(),
        (None, None) => Vec::new(),
    }
}

/// Whether the abbreviation stands at the beginning as a label, or a sentence says what it is.
fn is_stated(text: &str) -> bool {
    let words = Words::of(text);
    // `Objective: RTO 2h / RPO 24h`
    let is_labelled = label(text).is_some_and(|(name, _)| {
        let name = Words::of(name);
        name.len() <= 2 && name.begins(&["objective*", "target*", "goal*", "sla", "slo"])
    });
    is_labelled
        || words.begins(&[
            "rto",
            "rpo",
            "recovery time objective",
            "recovery point objective",
            "target rto",
            "target rpo",
        ])
        || words.has(&[
            "rto is", "rpo is", "rto of", "rpo of", "an rto", "an rpo", "our rto", "our rpo", "the rto",
            "the rpo",
        ])
}

/// `Database: RTO 1h` and `RTO (database): 1h` name what they are for.
fn scope(text: &str) -> String {
    let is_metric = |text: &str| {
        Words::of(text).has(&[
            "rto",
            "rpo",
            "objective*",
            "target*",
            "recovery time",
            "recovery point",
            "note",
            "goal*",
        ])
    };
    if let Some((name, _)) = label(text)
        && !is_metric(name)
        && Words::of(name).len() <= 4
    {
        return name.to_owned();
    }
    let bracket = text
        .split_once('(')
        .and_then(|(before, rest)| rest.split_once(')').map(|(inner, _)| (before, inner)));
    if let Some((before, inner)) = bracket
        && is_metric(before)
        && !is_metric(inner)
        && duration::parse(inner).is_none()
        && Words::of(inner).len() <= 3
        && label(text).is_some()
    {
        return inner.to_owned();
    }
    if let Some((_, rest)) = text.split_once(" for ")
        && let Some(name) = rest.split([':', ',', '.', '=']).next()
    {
        let name = name.trim().trim_start_matches("the ").split(" is ").next().unwrap_or_default();
        let words = Words::of(name);
        if words.len() <= 3
            && words.len() > 0
            && duration::parse(name).is_none()
            && !is_metric(name)
            && !words.has(&["platform", "system", "service", "services", "all"])
        {
            return name.to_owned();
        }
    }
    "platform".to_owned()
}

fn single(text: &str, which: Which, scope: &str, line: usize) -> Option<Objective> {
    // What the abbreviation is called is no time: `RTO (Recovery Time Objective): 4 h`.
    let value = label(text).map_or(text, |(_, rest)| if is_blank(rest) { text } else { rest });
    let seconds = duration::longest(value)?;
    let kind = if scope == "platform" { "platform" } else { "component" };
    let mut one = objective(scope, kind, line, value);
    set(&mut one, which, seconds);
    Some(one)
}

/// `rto: 4h` in a YAML fence; keys without a value above them name the scope.
fn of_fence(fence: &Fence, topic: Topic) -> Vec<Objective> {
    let is_text = matches!(fence.kind, FenceKind::Text | FenceKind::Unknown) && topic == Topic::Objectives;
    if !matches!(fence.kind, FenceKind::Config(ConfigKind::Yaml | ConfigKind::Toml | ConfigKind::Ini))
        && !is_text
    {
        return Vec::new();
    }
    let mut found: Vec<Objective> = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for (line, text) in fence.lines() {
        let indent = text.len() - text.trim_start().len();
        let bare = text.trim().trim_start_matches("- ");
        let (key, value) = match bare.split_once([':', '=']) {
            Some((key, value)) => (key.trim().trim_matches('"'), value.trim().trim_matches(['"', '\''])),
            None => (bare.trim_matches(['[', ']']), ""),
        };
        above.retain(|(level, _)| *level < indent);
        if value.is_empty() || value.starts_with('#') {
            above.push((indent, key.to_owned()));
            continue;
        }
        let words = Words::of(key);
        if words.has(&["name", "scope", "component", "service"]) {
            above.push((indent, value.to_owned()));
        }
        // `{rto: 4h, rpo: 1h}` on one line.
        let inline = value.strip_prefix('{').map(|inner| {
            inner.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once(':')).collect::<Vec<_>>()
        });
        let pairs = inline.clone().unwrap_or_else(|| vec![(key, value)]);
        let scope_here =
            if inline.is_some() { Some(key.to_owned()) } else { above.last().map(|(_, name)| name.clone()) };
        let scope = scope_here.filter(|name| {
            !Words::of(name).has(&[
                "objective*",
                "target*",
                "recovery",
                "slo",
                "sla",
                "platform",
                "disaster",
                "default*",
                "rto",
                "rpo",
            ])
        });
        for (key, value) in pairs {
            let Some(which) = which(&key.replace('_', " ")) else { continue };
            let Some(seconds) = duration::longest(value) else { continue };
            let kind = if scope.is_some() { "component" } else { "platform" };
            let mut one = objective(scope.as_deref().unwrap_or("platform"), kind, line, value.trim());
            set(&mut one, which, seconds);
            found.push(one);
        }
    }
    found
}
