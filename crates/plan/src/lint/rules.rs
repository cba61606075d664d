//! The list of rules, and how one of them reports.
//!
//! In: a [`Reading`]. Out: findings, through a [`Report`] that knows rule and file. A rule's `check` looks for one
//! condition under which a command fails or data is lost; where it cannot be sure it says nothing.
//!
//! Read next: a topic such as [`postgres`]; `document` for what needs several places of a document.

mod backups;
mod checks;
mod cloud;
mod containers;
mod cron;
mod document;
mod kubernetes;
mod monitoring;
mod postgres;
mod postgres_failover;
mod postgres_settings;
mod secrets;
mod shell_text;
mod stores;
mod volumes;

use std::sync::LazyLock;

use super::{
    finding::{Finding, Severity},
    reading::Reading,
    shell::{Call, Word},
};

/// One rule.
pub struct Rule {
    /// Its name, as in findings, suppressions and the name of its page.
    pub id: &'static str,
    /// How grave its findings are; a single finding may be less grave.
    pub severity: Severity,
    /// Why it is wrong: one line.
    pub message: &'static str,
    /// What to do instead: one line.
    pub instead: &'static str,
    pub(super) check: fn(&Reading, &mut Report),
}

impl Rule {
    /// Where its page is, from the root of the project.
    pub fn page(&self) -> String {
        format!("docs/lint/{}.md", self.id)
    }
}

/// Returns every rule, sorted by name.
pub fn all() -> &'static [&'static Rule] {
    static ALL: LazyLock<Vec<&'static Rule>> = LazyLock::new(|| {
        let topics: [&'static [Rule]; 21] = [
            backups::RULES,
            checks::RULES,
            cloud::RULES,
            containers::RULES,
            cron::RULES,
            document::names::RULES,
            document::objectives::RULES,
            document::order::RULES,
            document::people::RULES,
            document::procedure::RULES,
            document::stores::RULES,
            kubernetes::RULES,
            monitoring::RULES,
            postgres::RULES,
            postgres_failover::RULES,
            postgres_settings::RULES,
            secrets::RULES,
            shell_text::RULES,
            stores::RULES,
            super::suppress::RULES,
            volumes::RULES,
        ];
        let mut rules: Vec<&'static Rule> = topics.into_iter().flatten().collect();
        rules.sort_by_key(|rule| rule.id);
        rules
    });
    &ALL
}

/// Collects the findings of one rule.
pub(super) struct Report<'r> {
    reading: &'r Reading<'r>,
    rule: &'static Rule,
    findings: Vec<Finding>,
}

impl<'r> Report<'r> {
    pub(super) fn new(reading: &'r Reading<'r>, rule: &'static Rule) -> Self {
        Self { reading, rule, findings: Vec::new() }
    }

    pub(super) fn done(self) -> Vec<Finding> {
        self.findings
    }

    /// Reports a command.
    pub(super) fn call(&mut self, call: &Call) -> &mut Finding {
        let column = call.words.first().map_or(1, |word| word.column);
        self.at(call.line(), column)
    }

    /// Reports a word and the rest of its line.
    pub(super) fn word(&mut self, word: &Word) -> &mut Finding {
        self.at(word.line, word.column)
    }

    /// Reports a line.
    pub(super) fn line(&mut self, line: usize) -> &mut Finding {
        let source = self.reading.line(line);
        let column = source.chars().take_while(|one| one.is_whitespace()).count() + 1;
        self.at(line, column)
    }

    /// Reports a place; the quote is the line from there on.
    pub(super) fn at(&mut self, line: usize, column: usize) -> &mut Finding {
        let source = self.reading.line(line);
        let rest: String = source.chars().skip(column.saturating_sub(1)).collect();
        let (column, quote) = match rest.trim() {
            "" => (1, source.trim()),
            quote => (column, quote),
        };
        self.findings.push(Finding {
            file: self.reading.name.to_owned(),
            line,
            column,
            rule: self.rule.id,
            severity: self.rule.severity,
            quote: quote.to_owned(),
            message: self.rule.message.to_owned(),
            instead: self.rule.instead.to_owned(),
            page: self.rule.page(),
        });
        let last = self.findings.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "the finding was pushed two lines above")]
        &mut self.findings[last]
    }
}

/// Whether a command stands behind another one in the file.
fn is_after(call: &Call, other: &Call) -> bool {
    let place = |call: &Call| call.words.first().map_or((0, 0), |word| (word.line, word.column));
    place(call) > place(other)
}

/// Whether a text contains one of some words, whatever their case.
fn mentions(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

/// Whether a name says that the thing is made for trying and may be thrown away.
fn is_scratch(name: &str) -> bool {
    const WORDS: [&str; 14] = [
        "scratch",
        "tmp",
        "temp",
        "restore",
        "test",
        "verify",
        "verification",
        "staging",
        "drill",
        "sandbox",
        "shadow",
        "copy",
        "check",
        "recovered",
    ];
    // `app_new` and `new`; `news` is none.
    let is_new = |name: &str| {
        name.split(|one: char| !one.is_alphanumeric()).any(|token| token.eq_ignore_ascii_case("new"))
    };
    has_token(name, &WORDS) || is_new(name)
}

/// Whether a part of a name begins with one of some words: `app_restored` has `restore`, `latest` has no `test`.
fn has_token(name: &str, words: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    name.split(|one: char| !one.is_alphanumeric())
        .any(|token| words.iter().any(|word| token.starts_with(word)))
}
