//! SQL wherever it stands: fences, `psql -c`, here-documents, `echo … | psql`.
//!
//! In: a [`Reading`]. Out: pieces of SQL with their place in the file, and a text in lower case in which comments and
//! quoted values are blank, so that words can be looked for without meeting them in the wrong place.

use super::{
    reading::{BlockKind, Reading, Shell},
    shell::{Call, RedirectKind, Word},
};

/// A piece of SQL.
pub(super) struct Sql<'r> {
    /// As it stands.
    pub(super) text: String,
    /// In lower case, without comments and quoted values; of the same length in characters.
    pub(super) bare: String,
    /// The command that runs it.
    pub(super) from: Option<(&'r Shell, &'r Call)>,
    pub(super) section: usize,
    /// Place of its first character.
    line: usize,
    column: usize,
    /// Added to the columns of all lines but the first.
    indent: usize,
}

/// Programs that run SQL, with the options that take it.
const CLIENTS: [&str; 7] = ["psql", "mysql", "mariadb", "sqlite3", "clickhouse-client", "cockroach", "pgcli"];

/// Finds all SQL of a file.
pub(super) fn all<'r>(reading: &'r Reading) -> Vec<Sql<'r>> {
    let mut found = Vec::new();
    for block in reading.blocks.iter().filter(|block| block.kind == BlockKind::Sql) {
        found.push(Sql::new(&block.text, None, block.section, (block.line, 1 + block.indent), block.indent));
    }
    for (shell, call) in reading.calls().filter(|(_, call)| CLIENTS.contains(&call.program())) {
        for word in given(shell, call) {
            let lead = usize::from(word.is_quoted);
            let place = (word.line, word.column + lead);
            found.push(Sql::new(&word.text, Some((shell, call)), shell.section, place, 0));
        }
    }
    found
}

/// The words and here-documents that hold SQL for a client.
fn given<'r>(shell: &'r Shell, call: &'r Call) -> Vec<&'r Word> {
    let arguments = call.arguments();
    let mut words: Vec<&Word> = Vec::new();
    for (at, word) in arguments.iter().enumerate() {
        let takes =
            ["-c", "--command", "-e", "--execute", "-Atc", "-tAc", "-tc", "-qAtc", "-tqc", "-Aqtc", "-qtAc"];
        if takes.contains(&word.text.as_str())
            || (word.text.starts_with('-')
                && !word.text.starts_with("--")
                && word.text.ends_with('c')
                && call.program() == "psql")
        {
            words.extend(arguments.get(at + 1));
        } else if word.text.starts_with("--command=") || word.text.starts_with("--execute=") {
            words.push(word);
        }
    }
    words.extend(call.redirects.iter().filter(|one| one.kind == RedirectKind::Text).map(|one| &one.target));
    let echoed = shell.script.writers(call).filter(|one| matches!(one.program(), "echo" | "printf"));
    words.extend(echoed.filter_map(|one| one.arguments().last()));
    if call.program() == "sqlite3" {
        words.extend(arguments.iter().skip(1).filter(|word| word.text.contains(' ')));
    }
    words
}

impl<'r> Sql<'r> {
    fn new(
        text: &str,
        from: Option<(&'r Shell, &'r Call)>,
        section: usize,
        place: (usize, usize),
        indent: usize,
    ) -> Self {
        Self {
            bare: bare(text),
            text: text.to_owned(),
            from,
            section,
            line: place.0,
            column: place.1,
            indent,
        }
    }

    /// The places at which a sequence of words begins, whatever the space between them.
    pub(super) fn find(&self, words: &[&str]) -> Vec<usize> {
        let Some((first, rest)) = words.split_first() else { return Vec::new() };
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = self.bare.get(from..).and_then(|text| text.find(first)).map(|at| at + from) {
            from = at + first.len();
            let before = self.bare.get(..at).and_then(|text| text.chars().next_back());
            let is_word = before.is_none_or(|one| !one.is_alphanumeric() && one != '_');
            let mut tail = self.bare.get(from..).unwrap_or_default();
            let ends =
                first.ends_with('(') || !tail.starts_with(|one: char| one.is_alphanumeric() || one == '_');
            let all = rest.iter().all(|word| match tail.trim_start().strip_prefix(word) {
                Some(after) if tail.starts_with(char::is_whitespace) => {
                    tail = after;
                    true
                }
                _ => false,
            });
            if is_word && ends && all {
                found.push(at);
            }
        }
        found
    }

    /// The line and column of a byte of the text.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or_default();
        match before.rsplit_once('\n') {
            Some((lines, last)) => {
                (self.line + lines.matches('\n').count() + 1, last.chars().count() + 1 + self.indent)
            }
            None => (self.line, self.column + before.chars().count()),
        }
    }

    /// The statement around a byte, in the blanked form.
    pub(super) fn statement(&self, at: usize) -> &str {
        let start = self.bare.get(..at).and_then(|text| text.rfind(';')).map_or(0, |at| at + 1);
        let end = self.bare.get(at..).and_then(|text| text.find(';')).map_or(self.bare.len(), |end| at + end);
        self.bare.get(start..end).unwrap_or_default()
    }
}

/// Blanks comments and quoted values and lowers the rest; every byte keeps its place.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut quote = false;
    let mut comment: Option<bool> = None;
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        let blank = |out: &mut String| {
            out.push_str(&" ".repeat(letter.len_utf8()));
        };
        match comment {
            Some(is_line) => {
                let ends = if is_line { letter == '\n' } else { letter == '/' && out.ends_with('*') };
                if letter == '\n' || (!is_line && letter == '*' && next == Some('/')) {
                    out.push(if letter == '\n' { '\n' } else { '*' });
                } else {
                    blank(&mut out);
                }
                if ends {
                    comment = None;
                }
            }
            None if quote => {
                quote = letter != '\'';
                if letter == '\n' { out.push('\n') } else { blank(&mut out) }
            }
            None if letter == '\'' => {
                quote = true;
                blank(&mut out);
            }
            None if letter == '-' && next == Some('-') => {
                comment = Some(true);
                blank(&mut out);
            }
            None if letter == '/' && next == Some('*') => {
                comment = Some(false);
                blank(&mut out);
            }
            None => out.push(letter.to_ascii_lowercase()),
        }
    }
    out
}
