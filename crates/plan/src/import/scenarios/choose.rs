//! Which headings are scenarios, and which sections are procedures.
//!
//! Four signs, from the surest: the heading says so (`Scenario 3: …`, `Runbook: …`), it stands under a heading that holds
//! scenarios, it has symptoms, or it is a sibling of such a one and names a failure. Only where none of these finds
//! anything do headings that name a failure and have steps count by themselves.

use std::collections::BTreeSet;

use super::part::Part;
use crate::{
    document::{Block, BlockKind, Document, FenceKind},
    import::{
        Reader,
        topic::{self, Topic},
        words::{Words, label, numbering},
    },
};

const FAILURE: &[&str] = &[
    "fail*",
    "outage*",
    "down",
    "crash*",
    "corrupt*",
    "loss",
    "lost",
    "unavailab*",
    "unreachable",
    "unresponsive",
    "breach*",
    "compromise*",
    "ransomware",
    "attack*",
    "incident",
    "full",
    "expired",
    "expir*",
    "delet*",
    "accident*",
    "rollback",
    "leak*",
    "disaster",
    "degraded",
    "stuck",
    "broken",
    "exhaust*",
    "timeout*",
    "disconnect*",
    "split brain",
    "overload*",
    "sealed",
    "seal",
    "unhealthy",
    "dead",
    "dies",
    "gone",
    "wiped",
    "slow",
    "lag",
    "intrusion",
];

/// Returns the scenarios as indices of sections, in order.
pub(super) fn scenarios(document: &Document, topics: &[Topic]) -> Vec<usize> {
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    let may = |at: usize| {
        !matches!(
            topics.get(at).copied().unwrap_or_default(),
            Topic::After
                | Topic::Drills
                | Topic::Links
                | Topic::Review
                | Topic::Contacts
                | Topic::Escalation
                | Topic::Roles
        )
    };
    let all = || (0..document.sections.len()).filter(|at| may(*at));
    chosen.extend(all().filter(|at| is_explicit(document, *at)));
    for container in all().filter(|at| holds_scenarios(document, *at)) {
        if children(document, container).next().is_none() && has_steps(document, container) {
            chosen.insert(container);
        }
        chosen.extend(children(document, container).filter(|at| may(*at) && fits_container(document, *at)));
    }
    chosen.extend(all().filter(|at| has_symptoms(document, *at)));
    chosen.extend(all().filter(|at| !is_title(document, *at) && has_parts(document, *at)));
    let families: BTreeSet<_> = chosen.iter().filter_map(|at| family(document, *at)).collect();
    let siblings: Vec<usize> = all()
        .filter(|at| family(document, *at).is_some_and(|one| families.contains(&one)))
        .filter(|at| is_failure(document, *at))
        .collect();
    chosen.extend(siblings);
    if chosen.is_empty() {
        chosen.extend(all().filter(|at| is_failure(document, *at)));
        if chosen.len() > 1 {
            chosen.retain(|at| !is_title(document, *at));
        }
    }
    outermost(document, &chosen)
}

/// Of scenarios that contain each other: the inner ones where there are several, else the outer one.
fn outermost(document: &Document, chosen: &BTreeSet<usize>) -> Vec<usize> {
    let has_several_inside =
        |at: usize| chosen.range(document.subtree(at)).filter(|one| **one != at).nth(1).is_some();
    let kept = chosen.iter().copied().filter(|at| !has_several_inside(*at) || is_explicit(document, *at));
    let (mut found, mut end) = (Vec::new(), 0);
    for at in kept {
        if at >= end {
            end = document.subtree(at).end;
            found.push(at);
        }
    }
    found
}

/// Returns number and title: `Scenario 2: Cache lost` is number 2, `3.2 Cache lost` number 3.2.
pub(in crate::import) fn title(heading: &str) -> (Option<String>, String) {
    let (number, rest) = numbering(heading);
    match explicit(rest) {
        Some((inner, title)) => (inner.or(number), title),
        None => (number, rest.to_owned()),
    }
}

/// Takes `Phase 2:` and a time in brackets off a title.
pub(super) fn phase_title(heading: &str) -> String {
    let bare = heading.split('(').next().unwrap_or(heading).trim();
    let words = Words::of(bare);
    let title = if words.begins(&["phase", "step", "steps", "stage", "test"]) {
        let marks = [":", " - ", " \u{2013} ", " \u{2014} "];
        marks.iter().find_map(|mark| bare.split_once(mark)).map_or(bare, |(_, rest)| rest)
    } else {
        bare
    };
    if title.trim().is_empty() { heading.to_owned() } else { title.trim().to_owned() }
}

/// Whether a heading is a numbered part of a process: `Phase 1`, `Step 2: …`.
pub(super) fn is_phase(heading: &str) -> bool {
    let heading = numbering(heading).1;
    let mut words = heading.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_word = words
        .next()
        .is_some_and(|word| matches!(word.to_lowercase().as_str(), "phase" | "step" | "stage" | "schritt"));
    is_word && words.next().is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()) || word.len() == 1)
}

/// Takes `Scenario 1:`, `Runbook:`, `Playbook 3 -` off a heading.
fn explicit(heading: &str) -> Option<(Option<String>, String)> {
    const NAMES: &[&str] = &[
        "failure scenario",
        "disaster scenario",
        "failure mode",
        "scenario",
        "runbook",
        "playbook",
        "incident",
        "case",
        "situation",
        "disaster",
        "problem",
        "issue",
        "alert",
        "ausfallszenario",
        "szenario",
        "notfall",
    ];
    let lower = heading.to_lowercase();
    let name = NAMES.iter().find(|name| lower.starts_with(**name))?;
    let rest = heading.get(name.len()..)?;
    let trimmed = rest.trim_start();
    let end = trimmed.find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '#')).unwrap_or(trimmed.len());
    let (word, behind) = trimmed.split_at(end);
    let number = word.trim_matches(['.', '#']);
    let is_number = !number.is_empty()
        && (number.chars().all(|c| c.is_ascii_digit() || c == '.')
            || (number.len() <= 2 && number.chars().all(|c| c.is_ascii_uppercase())))
        && rest.starts_with([' ', '#', '-']);
    let after = if is_number { behind } else { rest };
    let mark = after.trim_start();
    // `Scenario-specific` is one word; `Scenario - lost` is two.
    let is_compound = after.starts_with(['-', '\u{2013}']) && !is_number;
    let has_mark = !is_compound && mark.starts_with([':', '-', '\u{2013}', '\u{2014}', '.', ')']);
    let title = mark.trim_start_matches([':', '-', '\u{2013}', '\u{2014}', '.', ')', ' ']).trim();
    if title.is_empty() {
        return is_number.then(|| (Some(number.to_owned()), heading.to_owned()));
    }
    (has_mark || is_number).then(|| (is_number.then(|| number.to_owned()), title.to_owned()))
}

pub(in crate::import) fn is_explicit(document: &Document, at: usize) -> bool {
    document.sections.get(at).is_some_and(|one| explicit(numbering(&one.heading).1).is_some())
}

fn is_title(document: &Document, at: usize) -> bool {
    let first = document.sections.iter().position(|one| one.level > 0);
    first == Some(at) && !is_one_of_many(document, at)
}

/// Whether the first heading is a scenario among others of its level: `# Cache lost`, `# Database lost`.
fn is_one_of_many(document: &Document, at: usize) -> bool {
    let Some(section) = document.sections.get(at) else { return false };
    let names_document = Words::of(&section.heading).has(&[
        "disaster recovery",
        "runbook*",
        "plan",
        "playbook*",
        "handbook",
        "guide",
        "procedures",
        "manual",
    ]);
    !names_document
        && names_failure(document, at)
        && has_steps(document, at)
        && document.sections.iter().enumerate().any(|(other, one)| other > at && one.level == section.level)
}

/// A heading such as `Failure scenarios`. The document's title holds everything and says nothing.
fn holds_scenarios(document: &Document, at: usize) -> bool {
    document.sections.get(at).is_some_and(|one| {
        let has_own = topic::of_heading(&one.heading) == Topic::Scenarios && !is_explicit(document, at);
        has_own && !(is_title(document, at) && one.level == 1)
    })
}

/// Whether titles in bold in its own blocks are scenarios: the document has no headings for them.
pub(super) fn holds_several(document: &Document, at: usize) -> bool {
    !is_explicit(document, at) && (is_title(document, at) || holds_scenarios(document, at))
}

fn children(document: &Document, at: usize) -> impl Iterator<Item = usize> {
    document
        .sections
        .iter()
        .enumerate()
        .filter(move |(_, one)| one.parent == Some(at))
        .map(|(index, _)| index)
}

/// Whether a heading under `Recovery procedures` is a scenario and not a part that serves all of them.
fn fits_container(document: &Document, at: usize) -> bool {
    let Some(section) = document.sections.get(at) else { return false };
    if is_phase(&section.heading) || Part::of(&section.heading) == Part::Symptoms {
        return false;
    }
    let is_failure = names_failure(document, at);
    let serves_all = match topic::of_heading(&section.heading) {
        Topic::Unknown | Topic::Scenarios => false,
        // `Restore from backup` and `Monitoring is down` are scenarios; `Backup verification` is not.
        Topic::Backups | Topic::Monitoring | Topic::Communication => {
            !is_failure && !Words::of(&section.heading).has(&["restor*", "recover*"])
        }
        _ => !is_failure,
    };
    !serves_all && (has_steps(document, at) || has_symptoms(document, at))
}

fn names_failure(document: &Document, at: usize) -> bool {
    document.sections.get(at).is_some_and(|one| one.level > 0 && Words::of(&one.heading).has(FAILURE))
}

/// Whether a heading names a failure, has steps and is not about something that serves all failures.
fn is_failure(document: &Document, at: usize) -> bool {
    let topic = document.sections.get(at).map(|one| topic::of_heading(&one.heading)).unwrap_or_default();
    let may = matches!(topic, Topic::Unknown | Topic::Scenarios | Topic::Backups | Topic::Monitoring);
    may && names_failure(document, at) && has_steps(document, at)
}

/// Sections with the same are siblings.
fn family(document: &Document, at: usize) -> Option<(u8, Option<usize>)> {
    document.sections.get(at).map(|one| (one.level, one.parent))
}

/// Whether a label in its own blocks, or a heading directly under it, names symptoms.
fn has_symptoms(document: &Document, at: usize) -> bool {
    let Some(section) = document.sections.get(at) else { return false };
    if section.level == 0 {
        return false;
    }
    let is_symptoms = |name: &str| Part::of(name) == Part::Symptoms && Words::of(name).len() <= 4;
    let by_label = section.blocks.iter().filter(|block| block.depth <= 1).any(|block| {
        // An item in bold, `**Alert the team**`, is something to do; only with a colon it is a label.
        let is_item = matches!(block.kind, BlockKind::Item(_));
        block.text().is_some_and(|text| {
            let lead = text.lead.as_deref().filter(|lead| !is_item && text.plain.starts_with(*lead));
            text.plain.lines().any(|line| label(line).is_some_and(|(name, _)| is_symptoms(name)))
                || lead.is_some_and(is_symptoms)
        })
    });
    by_label
        || children(document, at).any(|child| {
            document.sections.get(child).is_some_and(|one| is_symptoms(numbering(&one.heading).1))
        })
}

/// Whether it is made of the parts of a scenario: `Detect`, `Act`, `Confirm`.
fn has_parts(document: &Document, at: usize) -> bool {
    let is_short = |heading: &str| Words::of(heading).len() <= 2;
    let parts: Vec<Part> = children(document, at)
        .filter_map(|child| document.sections.get(child))
        .map(|one| numbering(&one.heading).1)
        .filter(|heading| is_short(heading))
        .map(Part::of)
        .filter(|part| matches!(part, Part::Symptoms | Part::Diagnosis | Part::Recovery | Part::Verification))
        .collect();
    let first = parts.first();
    parts.iter().any(|part| Some(part) != first) && has_steps(document, at)
}

/// Whether there is anything to do in it.
fn has_steps(document: &Document, at: usize) -> bool {
    document
        .subtree(at)
        .any(|index| document.sections.get(index).is_some_and(|one| one.blocks.iter().any(is_step)))
}

fn is_step(block: &Block) -> bool {
    match &block.kind {
        BlockKind::Fence(fence) => {
            matches!(fence.kind, FenceKind::Shell | FenceKind::Several | FenceKind::Sql | FenceKind::Muster)
        }
        BlockKind::Item(item) => item.number.is_some() || item.checkbox.is_some(),
        _ => false,
    }
}

/// Sections with untaken commands or numbered steps; parts of a process belong to the section above them.
pub(super) fn procedures(reader: &Reader<'_>) -> Vec<usize> {
    let document = reader.document;
    let mut found = BTreeSet::new();
    for (at, section) in document.sections.iter().enumerate() {
        let topic = reader.topic(at);
        let has_own = section.blocks.iter().enumerate().any(|(index, block)| {
            let is_command = matches!(&block.kind, BlockKind::Fence(fence) if matches!(fence.kind, FenceKind::Shell | FenceKind::Several | FenceKind::Sql | FenceKind::Muster));
            let is_list = matches!(&block.kind, BlockKind::Item(item) if item.number.is_some() || item.checkbox.is_some())
                && !matches!(topic, Topic::Links | Topic::Overview | Topic::After | Topic::Communication | Topic::Backups | Topic::Monitoring | Topic::Drills | Topic::Roles);
            !reader.is_taken(at, index) && (is_command || is_list)
        });
        if has_own {
            found.insert(owner(document, at));
        }
    }
    // A part that stands alone is left to the process that holds all of them.
    let mut end = 0;
    let mut kept = Vec::new();
    for at in found {
        if at < end {
            continue;
        }
        if is_process(document, at) {
            end = document.subtree(at).end;
        }
        kept.push(at);
    }
    kept
}

fn owner(document: &Document, at: usize) -> usize {
    match document.sections.get(at) {
        Some(section) if is_phase(&section.heading) => section
            .parent
            .filter(|above| document.sections.get(*above).is_some_and(|one| one.level > 0))
            .unwrap_or(at),
        _ => at,
    }
}

fn is_process(document: &Document, at: usize) -> bool {
    children(document, at).any(|child| document.sections.get(child).is_some_and(|one| is_phase(&one.heading)))
}

/// Whether a section belongs to the procedure above it: only the phases of a process do.
pub(super) fn belongs(reader: &Reader<'_>, procedure: usize, at: usize) -> bool {
    is_process(reader.document, procedure) && owner(reader.document, at) == procedure
}
