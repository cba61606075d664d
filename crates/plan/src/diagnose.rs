//! Which runbook fits what is seen: failed checks and the words of a person against symptoms, titles and headings.
//!
//! [`Candidate`]s and [`Observed`] come in; [`Ranked`] leave, best first, each with the reasons in words. A runbook of ours
//! names the checks that fail when it is needed; that counts most, and a named check that passes counts against it. Words
//! count the more, the fewer candidates have them.
//!
//! It never looks at anything itself and never says that something is certain: a person chooses.

use std::collections::BTreeSet;

use muster_types::check::CheckResult;
use serde::Serialize;

/// Something that a person could do now: a runbook, or a scenario of a document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidate {
    /// What it is called.
    pub title: String,
    /// The checks that fail when it is needed.
    pub checks: Vec<String>,
    /// By what it is noticed, in words.
    pub symptoms: Vec<String>,
    /// Other texts that tell what it is about: tags, headings of its parts.
    pub about: Vec<String>,
}

/// What is seen.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What was checked.
    pub checks: &'a [CheckResult],
    /// What a person says.
    pub words: &'a [String],
}

/// A candidate that fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranked {
    /// Its place in the list of candidates.
    #[serde(skip)]
    pub index: usize,
    /// How well it fits: only good for comparing.
    pub score: f64,
    /// Why, one line each.
    pub why: Vec<String>,
}

/// A named check that fails, and one that passes although it should not.
const CHECK_FAILS: f64 = 20.0;
const CHECK_PASSES: f64 = -5.0;
/// What a word counts by where it stands.
const IN_TITLE: f64 = 3.0;
const IN_SYMPTOM: f64 = 2.0;
const IN_REST: f64 = 0.7;
/// What a word counts by where it comes from.
const SAID: f64 = 1.0;
const NAME_OF_CHECK: f64 = 0.8;
const REASON_OF_CHECK: f64 = 0.3;
/// Below this a common word has met a common word.
const SCORE_MIN: f64 = 0.5;

/// Words that people use for the same thing.
const SAME: &[&[&str]] = &[
    &["database", "db", "postgres", "postgresql", "pg"],
    &["kubernetes", "k8s"],
    &["outage", "down", "unavailable", "unreachable", "offline", "dead"],
    &["loss", "lost", "deleted", "dropped", "gone", "missing", "vanished"],
    &["slow", "latency", "slowness"],
    &["breach", "security", "compromised", "hacked", "leaked", "stolen", "intrusion", "ransomware"],
    &["memory", "oom", "ram"],
    &["disk", "storage", "space"],
    &["certificate", "tls", "ssl"],
    &["crash", "crashed", "crashing", "crashes", "crashloop", "crashloopbackoff"],
];

/// Words that say nothing.
const EMPTY: &[&str] = &[
    "is",
    "it",
    "to",
    "of",
    "on",
    "in",
    "at",
    "by",
    "be",
    "as",
    "an",
    "or",
    "if",
    "no",
    "so",
    "we",
    "my",
    "us",
    "do",
    "the",
    "and",
    "for",
    "with",
    "not",
    "does",
    "hold",
    "found",
    "from",
    "are",
    "was",
    "were",
    "has",
    "have",
    "had",
    "that",
    "this",
    "there",
    "nothing",
    "within",
    "all",
    "any",
    "but",
    "can",
    "cannot",
    "when",
    "our",
    "you",
    "your",
    "its",
    "into",
    "than",
    "then",
    "too",
    "very",
    "after",
    "before",
    "status",
    "body",
    "scenario",
    "recovery",
    "procedure",
    "steps",
    "true",
    "false",
];

/// Ranks what fits; what does not fit at all is left out.
pub fn rank(candidates: &[Candidate], observed: Observed<'_>) -> Vec<Ranked> {
    let seen = evidence(observed);
    let texts: Vec<Texts> = candidates.iter().map(Texts::of).collect();
    let mut ranked: Vec<Ranked> = candidates
        .iter()
        .zip(&texts)
        .enumerate()
        .filter_map(|(index, (candidate, words))| {
            let (mut score, mut why) = by_checks(candidate, observed.checks);
            let (more, matched) = by_words(words, &texts, &seen);
            score += more;
            if !matched.is_empty() {
                why.push(format!("it speaks of {}", matched.join(", ")));
            }
            (score >= SCORE_MIN && !why.is_empty()).then_some(Ranked { index, score, why })
        })
        .collect();
    // Equal ones stay in the order of their documents: people write the frequent case first.
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
    ranked
}

fn by_checks(candidate: &Candidate, checks: &[CheckResult]) -> (f64, Vec<String>) {
    let (mut score, mut why) = (0.0, Vec::new());
    for name in &candidate.checks {
        match checks.iter().find(|check| check.name == *name) {
            Some(check) if !check.passed => {
                score += CHECK_FAILS;
                why.push(format!("its symptom `{name}` fails"));
            }
            Some(_) => score += CHECK_PASSES,
            None => {}
        }
    }
    (score, why)
}

fn by_words(own: &Texts, all: &[Texts], seen: &[(String, f64)]) -> (f64, Vec<String>) {
    let (mut score, mut matched) = (0.0, Vec::new());
    for (word, weight) in seen {
        let place = own.weight_of(word);
        if place > 0.0 {
            let having = all.iter().filter(|other| other.weight_of(word) > 0.0).count();
            score += weight * place * (1.0 + all.len() as f64 / having.max(1) as f64).ln();
            matched.push(format!("`{word}`"));
        }
    }
    (score, matched)
}

/// The words of a candidate, by where they stand.
struct Texts {
    title: BTreeSet<String>,
    symptoms: BTreeSet<String>,
    rest: BTreeSet<String>,
}

impl Texts {
    fn of(candidate: &Candidate) -> Self {
        let of = |texts: &[String]| texts.iter().flat_map(|text| words(text)).collect();
        Self {
            title: words(&candidate.title).collect(),
            symptoms: of(&candidate.symptoms),
            rest: of(&candidate.about),
        }
    }

    /// The best of the places in which a word stands; 0 when it stands nowhere.
    fn weight_of(&self, word: &str) -> f64 {
        [(&self.title, IN_TITLE), (&self.symptoms, IN_SYMPTOM), (&self.rest, IN_REST)]
            .into_iter()
            .find(|(words, _)| words.iter().any(|own| is_same(own, word)))
            .map_or(0.0, |(_, weight)| weight)
    }
}

/// The words of all that is seen, each once, with the most that it counts.
fn evidence(observed: Observed<'_>) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    let mut add = |text: &str, weight: f64| {
        for word in words(text) {
            if !found.iter().any(|(known, _)| is_same(known, &word)) {
                found.push((word, weight));
            }
        }
    };
    observed.words.iter().for_each(|text| add(text, SAID));
    let failed = || observed.checks.iter().filter(|check| !check.passed);
    failed().for_each(|check| add(&check.name, NAME_OF_CHECK));
    failed().for_each(|check| add(&check.reason().unwrap_or_default(), REASON_OF_CHECK));
    found
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| word.chars().count() > 1 && !EMPTY.contains(&word.as_str()))
}

/// Whether two words mean the same: equal, one thing by two names, or two endings of one stem.
fn is_same(a: &str, b: &str) -> bool {
    if a == b || SAME.iter().any(|group| group.contains(&a) && group.contains(&b)) {
        return true;
    }
    if a.strip_suffix('s') == Some(b) || b.strip_suffix('s') == Some(a) {
        return true;
    }
    let common = a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let shorter = a.chars().count().min(b.chars().count());
    // `failing` and `fails`, `corrupted` and `corruption`; not `restore` and `restart`, nor `500` and `503`.
    common >= 4.max(shorter.saturating_sub(2)) && a.chars().all(char::is_alphabetic)
}

#[cfg(test)]
mod tests;
