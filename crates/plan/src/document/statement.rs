//! Cuts shell text into statements, so that a command stays whole over quotes, continuations and here documents.
//!
//! Lines come in with the number of the first; [`Piece`]s leave in order, and together they cover every line. This is no
//! shell parser: it only finds where a statement ends. A quote or here document that never ends makes its line a
//! statement of its own, and a statement has at most `LINES_MAX` lines, so that hostile text costs no more than long text.
//!
//! It never judges a command. Read next: [`super::classify`].

use serde::Serialize;

use super::Lines;

/// Longer statements are cut: nobody writes them into a document by hand.
const LINES_MAX: usize = 500;
/// After so many statements without an end each further line stands alone: the text is no shell.
const ENDLESS_MAX: usize = 20;

/// A statement, a comment or an empty line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Where it stands in the file.
    pub lines: Lines,
    /// Its text; the lines of a statement are joined with line ends.
    pub text: String,
    /// What it is.
    pub kind: PieceKind,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PieceKind {
    /// A line that begins with `#`; the text is without the mark.
    Comment,
    /// Something that the shell would run.
    Statement,
    /// An empty line.
    Blank,
}

/// Cuts text into pieces; `first` is the line of its first line in the file.
pub fn split(content: &str, first: usize) -> Vec<Piece> {
    let lines: Vec<&str> = content.lines().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut endless = 0;
    while let Some(line) = lines.get(at) {
        let trimmed = line.trim();
        let (kind, count, text) = if trimmed.is_empty() {
            (PieceKind::Blank, 1, String::new())
        } else if let Some(comment) = trimmed.strip_prefix('#').filter(|rest| !rest.starts_with('!')) {
            (PieceKind::Comment, 1, comment.trim_start_matches('#').trim().to_owned())
        } else {
            let rest = if endless < ENDLESS_MAX { lines.get(at..).unwrap_or_default() } else { &[] };
            let count = statement_lines(rest).unwrap_or_else(|| {
                endless += 1;
                1
            });
            let text = lines.get(at..at + count).unwrap_or_default().join("\n");
            (PieceKind::Statement, count, text)
        };
        pieces.push(Piece { lines: Lines::new(first + at, first + at + count - 1), text, kind });
        at += count;
    }
    pieces
}

/// How many lines the statement at the beginning of `lines` has; `None` when it does not end.
fn statement_lines(lines: &[&str]) -> Option<usize> {
    let mut scan = Scan::default();
    let is_ended =
        |scan: &Scan| scan.quote.is_none() && scan.waiting.is_empty() && scan.depth == 0 && !scan.goes_on;
    for (index, line) in lines.iter().take(LINES_MAX).enumerate() {
        scan.line(line);
        if is_ended(&scan) {
            return Some(index + 1);
        }
    }
    None
}

/// What is open at the end of a line.
#[derive(Debug, Default)]
struct Scan {
    quote: Option<char>,
    /// The marks of here documents whose body is still to come, and whether tabs before them are taken off.
    waiting: Vec<(String, bool)>,
    /// Open `if`, `for`, `while`, `until`, `case`, `{` and `(`.
    depth: usize,
    goes_on: bool,
}

impl Scan {
    fn line(&mut self, line: &str) {
        if self.quote.is_none()
            && let Some((mark, takes_tabs)) = self.waiting.first()
        {
            let body = if *takes_tabs { line.trim_start_matches('\t') } else { line };
            // Documents indent their fences; the mark may stand deeper than the shell would accept.
            if body.trim() == mark {
                self.waiting.remove(0);
            }
            return;
        }
        self.goes_on = false;
        let mut chars = line.chars().peekable();
        let mut word = String::new();
        let mut is_command_place = self.quote.is_none();
        let mut last = ' ';
        while let Some(c) = chars.next() {
            if let Some(quote) = self.quote {
                if c == '\\' && quote == '"' {
                    chars.next();
                } else if c == quote {
                    self.quote = None;
                }
                last = c;
                continue;
            }
            match c {
                '\\' => {
                    if chars.next().is_none() {
                        self.goes_on = true;
                        return;
                    }
                    word.push('\\');
                }
                '\'' | '"' => {
                    self.quote = Some(c);
                    word.push(c);
                }
                '#' if last.is_whitespace() || last == ';' => break,
                '<' if chars.peek() == Some(&'<') && last != '<' => {
                    chars.next();
                    if chars.peek() == Some(&'<') {
                        chars.next();
                    } else {
                        self.here_document(&mut chars);
                    }
                }
                ' ' | '\t' | ';' | '|' | '&' | '(' | ')' => {
                    self.word(&word, &mut is_command_place);
                    word.clear();
                    if matches!(c, ';' | '|' | '&' | '(') {
                        is_command_place = true;
                    }
                    match c {
                        '(' => self.depth += 1,
                        ')' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                }
                _ => word.push(c),
            }
            last = c;
        }
        self.word(&word, &mut is_command_place);
        let end = line.trim_end();
        self.goes_on = self.quote.is_none() && (end.ends_with('|') || end.ends_with("&&"));
    }

    /// Reads the mark behind `<<`.
    fn here_document(&mut self, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
        let takes_tabs = chars.next_if_eq(&'-').is_some();
        while chars.next_if(|c| *c == ' ').is_some() {}
        let mut mark = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '|' | '&' | '>' | ')'))
        {
            if !matches!(c, '\'' | '"' | '\\') {
                mark.push(c);
            }
        }
        if mark.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_') {
            self.waiting.push((mark, takes_tabs));
        }
    }

    fn word(&mut self, word: &str, is_command_place: &mut bool) {
        if word.is_empty() {
            return;
        }
        if *is_command_place {
            match word {
                "if" | "for" | "while" | "until" | "case" | "{" => self.depth += 1,
                "fi" | "done" | "esac" | "}" => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        } else if word == "{" {
            self.depth += 1;
        }
        *is_command_place =
            matches!(word, "then" | "do" | "else" | "elif" | "!" | "{" | "if" | "while" | "until");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<(usize, usize)> {
        split(text, 1)
            .into_iter()
            .filter(|piece| piece.kind == PieceKind::Statement)
            .map(|piece| (piece.lines.first, piece.lines.last))
            .collect()
    }

    #[test]
    fn a_statement_goes_over_continuations_quotes_and_here_documents() {
        assert_eq!(statements("a \\\n  b\nc"), [(1, 2), (3, 3)]);
        assert_eq!(statements("psql -c \"\n select 1;\n\"\nls"), [(1, 3), (4, 4)]);
        assert_eq!(statements("curl -d '{\n \"a\": 1\n}'\nls"), [(1, 3), (4, 4)]);
        assert_eq!(statements("cat <<EOF | sort\nif '\nEOF\nls"), [(1, 3), (4, 4)]);
        assert_eq!(statements("gunzip -c x |\n  psql\nls"), [(1, 2), (3, 3)]);
    }

    #[test]
    fn a_block_is_one_statement() {
        assert_eq!(statements("for x in a b; do\n  echo $x\ndone\nls"), [(1, 3), (4, 4)]);
        assert_eq!(statements("if true; then ls; fi\nls"), [(1, 1), (2, 2)]);
        assert_eq!(statements("f() {\n  ls\n}\nf"), [(1, 3), (4, 4)]);
    }

    #[test]
    fn what_never_ends_is_a_line_of_its_own() {
        assert_eq!(statements("echo it's\nls\nls"), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(statements("cat <<EOF\nls"), [(1, 1), (2, 2)]);
    }

    #[test]
    fn comments_and_empty_lines_are_kept() {
        let pieces = split("# first\n\nls # not this\n", 10);
        let kinds: Vec<_> = pieces.iter().map(|piece| (piece.kind, piece.lines.first)).collect();
        assert_eq!(kinds, [(PieceKind::Comment, 10), (PieceKind::Blank, 11), (PieceKind::Statement, 12)]);
        assert_eq!(pieces[0].text, "first");
    }
}
