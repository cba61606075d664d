//! Cuts a dump in SQL into statements, comments, `psql` commands and rows of `COPY`, without holding any of them.
//!
//! In: bytes, in pieces of any size. Out: calls of a [`Sink`]. Text in quotes is never taken for SQL, so a row that
//! holds a dump's last line does not end it.
//!
//! It knows no more of SQL than quotes, comments, parentheses and the word `VALUES`.

use super::dump::Dialect;

/// The longest beginning of a statement that is kept: `COPY` with 1,600 columns fits.
const HEAD_MAX: usize = 160 * 1024;
/// The longest part of a comment or command that is kept.
const LINE_MAX: usize = 400;

/// Takes what the lexer finds.
pub(crate) trait Sink {
    /// A statement, up to its semicolon and cut after [`HEAD_MAX`]; `tuples`: what follows `VALUES` in parentheses.
    /// Returns whether rows of `COPY` follow.
    fn statement(&mut self, head: &str, tuples: u64) -> bool;
    /// A comment that begins with `--`.
    fn comment(&mut self, text: &str);
    /// A command of `psql`, without its backslash.
    fn command(&mut self, text: &str);
    /// The rows of a `COPY` have ended.
    fn rows(&mut self, count: u64);
}

/// Where the lexer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Plain,
    Quoted {
        end: u8,
        has_backslash: bool,
    },
    /// After a backslash in quotes.
    Escaped {
        end: u8,
    },
    /// After a quote that ends the text, unless another one follows.
    MaybeClosed {
        end: u8,
        has_backslash: bool,
    },
    /// Within `$tag$`.
    DollarTag,
    /// Within the text between two `$tag$`; `matched` bytes of the second one were seen.
    Dollar {
        matched: usize,
    },
    LineComment,
    BlockComment {
        depth: u32,
    },
    Command,
    /// On the rest of the line of a `COPY`.
    BeforeRows,
    Rows(CopyRows),
}

/// Counts rows of `COPY`: lines, until one that is `\.`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CopyRows {
    pub(crate) count: u64,
    /// Whether the last line was there.
    pub(crate) is_over: bool,
    /// Length and beginning of the present line.
    length: usize,
    first: [u8; 3],
}

impl CopyRows {
    /// Takes bytes up to the last line; returns how many.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while !self.is_over && used < bytes.len() {
            let rest = &bytes[used..];
            let end = rest.iter().position(|byte| *byte == b'\n');
            let part = &rest[..end.unwrap_or(rest.len())];
            for (place, byte) in self.first.iter_mut().skip(self.length.min(3)).zip(part) {
                *place = *byte;
            }
            self.length = self.length.saturating_add(part.len());
            let Some(end) = end else { return bytes.len() };
            let is_mark = |mark: &[u8]| self.length == mark.len() && self.first.starts_with(mark);
            // On Windows, pg_dump ends lines with two characters.
            self.is_over = is_mark(b"\\.") || is_mark(b"\\.\r");
            self.count += u64::from(!self.is_over);
            self.length = 0;
            used += end + 1;
        }
        used
    }
}

/// The lexer.
pub(crate) struct Lexer {
    dialect: Dialect,
    state: State,
    head: Vec<u8>,
    line: Vec<u8>,
    tag: Vec<u8>,
    previous: u8,
    word: Vec<u8>,
    depth: u32,
    is_after_values: bool,
    tuples: u64,
}

impl Lexer {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            state: State::Plain,
            head: Vec::new(),
            line: Vec::new(),
            tag: Vec::new(),
            previous: b'\n',
            word: Vec::new(),
            depth: 0,
            is_after_values: false,
            tuples: 0,
        }
    }

    /// Takes the next piece.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], sink: &mut dyn Sink) {
        while let Some(&byte) = bytes.first() {
            let used = if let State::Rows(rows) = &mut self.state {
                let (used, is_over, count) = (rows.feed(bytes), rows.is_over, rows.count);
                if is_over {
                    (self.state, self.previous) = (State::Plain, b'\n');
                    sink.rows(count);
                }
                used
            } else {
                usize::from(self.step(byte, sink))
            };
            bytes = &bytes[used..];
        }
    }

    /// Takes the end; returns whether it comes between two statements.
    pub(crate) fn end(&mut self, sink: &mut dyn Sink) -> bool {
        if matches!(self.state, State::LineComment | State::Command) {
            self.step(b'\n', sink);
        }
        self.state == State::Plain && self.head.is_empty()
    }

    /// Takes one byte; `false`: the state has changed and the byte is to be looked at again.
    fn step(&mut self, byte: u8, sink: &mut dyn Sink) -> bool {
        match self.state {
            State::Plain => {
                self.plain(byte, sink);
                if matches!(self.state, State::BlockComment { .. }) {
                    self.previous = b' ';
                    return true;
                }
            }
            State::Quoted { end, has_backslash } => {
                self.keep(byte);
                if byte == end {
                    self.state = State::MaybeClosed { end, has_backslash };
                } else if byte == b'\\' && has_backslash {
                    self.state = State::Escaped { end };
                }
            }
            State::Escaped { end } => {
                self.keep(byte);
                self.state = State::Quoted { end, has_backslash: true };
            }
            State::MaybeClosed { end, has_backslash } => {
                if byte != end {
                    self.state = State::Plain;
                    return false;
                }
                self.keep(byte);
                self.state = State::Quoted { end, has_backslash };
            }
            State::DollarTag => return self.dollar_tag(byte),
            State::Dollar { matched } => self.dollar(byte, matched),
            State::LineComment | State::Command => self.line(byte, sink),
            State::BlockComment { depth } => {
                if self.block_comment(byte, depth) {
                    // One character is never part of two marks.
                    self.previous = b' ';
                    return true;
                }
            }
            State::BeforeRows => {
                if byte == b'\n' {
                    self.state = State::Rows(CopyRows::default());
                }
            }
            State::Rows(_) => return false,
        }
        self.previous = byte;
        true
    }

    fn plain(&mut self, byte: u8, sink: &mut dyn Sink) {
        let is_postgres = self.dialect.is_postgres();
        let is_word = byte.is_ascii_alphanumeric() || byte == b'_';
        if is_word {
            if self.word.len() < 8 {
                self.word.push(byte);
            }
        } else {
            let is_values = self.word.eq_ignore_ascii_case(b"values");
            self.is_after_values |= is_values && self.depth == 0;
        }
        match byte {
            b'\'' | b'"' | b'`' => {
                let is_e_text = is_postgres && self.word.eq_ignore_ascii_case(b"e");
                let has_backslash = self.dialect == Dialect::MySql && byte != b'`' || is_e_text;
                self.state = State::Quoted { end: byte, has_backslash };
            }
            b'-' if self.previous == b'-' => {
                self.head.pop();
                self.state = State::LineComment;
                return;
            }
            b'#' if self.dialect == Dialect::MySql => {
                self.state = State::LineComment;
                return;
            }
            b'*' if self.previous == b'/' => {
                self.head.pop();
                self.state = State::BlockComment { depth: 1 };
                return;
            }
            b'$' if is_postgres && self.word.is_empty() => {
                self.tag = vec![b'$'];
                self.state = State::DollarTag;
            }
            b'\\' if is_postgres && self.head.is_empty() => {
                self.state = State::Command;
                return;
            }
            b';' if self.depth == 0 || !is_postgres => return self.finish(sink),
            b'(' => {
                self.tuples += u64::from(self.is_after_values && self.depth == 0);
                self.depth += 1;
            }
            b')' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if !is_word {
            self.word.clear();
        }
        self.keep(byte);
    }

    /// Ends a statement.
    fn finish(&mut self, sink: &mut dyn Sink) {
        let head = String::from_utf8_lossy(&self.head);
        let tuples = if self.is_after_values { self.tuples.max(1) } else { 0 };
        let has_rows = sink.statement(head.trim_end(), tuples);
        self.head.clear();
        self.word.clear();
        (self.depth, self.tuples, self.is_after_values) = (0, 0, false);
        self.state = if has_rows { State::BeforeRows } else { State::Plain };
    }

    fn dollar_tag(&mut self, byte: u8) -> bool {
        if byte == b'$' {
            self.tag.push(byte);
            self.state = State::Dollar { matched: 0 };
        } else if (byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80) && self.tag.len() < 64 {
            self.tag.push(byte);
        } else {
            self.state = State::Plain;
            return false;
        }
        self.keep(byte);
        self.previous = byte;
        true
    }

    fn dollar(&mut self, byte: u8, matched: usize) {
        self.keep(byte);
        // A `$` stands only at both ends of a tag, so a mismatch can only begin anew.
        let matched = match self.tag.get(matched) {
            Some(wanted) if *wanted == byte => matched + 1,
            _ => usize::from(byte == b'$'),
        };
        self.state = if matched == self.tag.len() { State::Plain } else { State::Dollar { matched } };
    }

    fn line(&mut self, byte: u8, sink: &mut dyn Sink) {
        if byte != b'\n' {
            if self.line.len() < LINE_MAX {
                self.line.push(byte);
            }
            return;
        }
        let text = String::from_utf8_lossy(&self.line);
        if self.state == State::Command {
            sink.command(text.trim());
        } else {
            sink.comment(text.trim());
        }
        self.line.clear();
        self.state = State::Plain;
    }

    /// Returns whether the byte ends a mark.
    fn block_comment(&mut self, byte: u8, depth: u32) -> bool {
        let depth = match (self.previous, byte) {
            (b'*', b'/') => depth - 1,
            (b'/', b'*') if self.dialect.is_postgres() => depth + 1,
            _ => return false,
        };
        self.state = if depth == 0 { State::Plain } else { State::BlockComment { depth } };
        true
    }

    /// Keeps the beginning of a statement, without white space in front.
    fn keep(&mut self, byte: u8) {
        let is_leading = self.head.is_empty() && byte.is_ascii_whitespace();
        if !is_leading && self.head.len() < HEAD_MAX {
            self.head.push(byte);
        }
    }
}
