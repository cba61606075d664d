//! Targets in a sentence that does not say RTO or RPO: `We must be back online within 4 hours and lose no more than 1 hour`.
//!
//! A sentence comes in; objectives of the platform leave. Only where somebody promises or demands something, and only by
//! the phrases below: a time alone is no target.

use super::{Objective, Topic, Which, Words, duration, objective, set};

/// What a sentence promises without the abbreviations, what else it must say, and for which target.
const PROMISES: &[(&str, &str, Which)] = &[
    ("back online within", "", Which::Rto),
    ("back up within", "", Which::Rto),
    ("online again within", "", Which::Rto),
    ("running again within", "", Which::Rto),
    ("up and running within", "", Which::Rto),
    ("be operational within", "", Which::Rto),
    ("be restored within", "", Which::Rto),
    ("be recovered within", "", Which::Rto),
    ("lose no more than", "", Which::Rpo),
    ("lose at most", "", Which::Rpo),
    ("lose more than", "", Which::Rpo),
    ("loss of no more than", "", Which::Rpo),
    ("loss of at most", "", Which::Rpo),
    ("innerhalb von", "wieder", Which::Rto),
    ("h\u{f6}chstens", "verlieren", Which::Rpo),
    ("maximal", "verlieren", Which::Rpo),
];

/// `We must be back online within 4 hours and lose no more than 1 hour of data.`
pub(super) fn of(text: &str, line: usize, topic: Topic) -> Vec<Objective> {
    let is_promise = Words::of(text).has(&[
        "we",
        "must",
        "should",
        "shall",
        "need*",
        "target*",
        "goal*",
        "aim*",
        "promise*",
        "guarantee*",
        "wir",
        "muss",
        "m\u{fc}ssen",
        "soll",
    ]);
    if !is_promise || !matches!(topic, Topic::Objectives | Topic::Overview | Topic::Unknown) {
        return Vec::new();
    }
    let lower = text.to_lowercase();
    let mut found: Vec<Objective> = Vec::new();
    for (phrase, _, which) in PROMISES.iter().filter(|(_, also, _)| lower.contains(also)) {
        let Some(rest) = lower.split_once(phrase).map(|(_, rest)| rest) else { continue };
        if let Some(seconds) = duration::longest(rest) {
            let mut one = objective("platform", "platform", line, text);
            set(&mut one, *which, seconds);
            found.push(one);
        }
    }
    found
}
