//! Headings and tables that stand as HTML in a Markdown document.
//!
//! A block of HTML and its first line come in; its [`Piece`]s leave in order, each with its line. Only `<h1>` to `<h6>`,
//! `<summary>` and `<table>` are read; nothing else is understood, and no entity but the five of XML.

use super::{Lines, Row, Table, Text};

/// A heading or a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Its level, where it has one (a `<summary>` has none), its words, its line.
    Heading(Option<u8>, String, usize),
    Table(Table, Lines),
}

/// Returns the headings and tables of a block that begins on the line `first`.
pub(super) fn pieces(html: &str, first: usize) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut table: Option<(Table, usize)> = None;
    let mut row: Option<Row> = None;
    let mut words: Option<String> = None;
    let (mut line, mut rest) = (first, html);
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        line += before.matches('\n').count();
        if let Some(words) = &mut words {
            words.push_str(before);
        }
        let Some(end) = tag.find('>') else { break };
        let (tag, behind) = tag.split_at(end + 1);
        let name = tag
            .trim_start_matches(['<', '/'])
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let level = match name.as_bytes() {
            [b'h', digit @ b'1'..=b'6'] => Some(digit - b'0'),
            _ => None,
        };
        match (tag.starts_with("</"), name.as_str()) {
            (false, "table") => table = Some((Table { header: Vec::new(), rows: Vec::new() }, line)),
            (true, "table") => {
                if let Some((table, begin)) = table.take() {
                    found.push(Piece::Table(with_header(table), Lines::new(begin, line)));
                }
            }
            (false, "tr") => row = Some(Row { line, cells: Vec::new() }),
            (true, "tr") => {
                let is_header = tag_is_header(table.as_ref(), row.as_ref());
                match (row.take(), &mut table) {
                    (Some(row), Some((table, _))) if is_header => table.header = row.cells,
                    (Some(row), Some((table, _))) if row.cells.iter().any(|cell| !cell.is_empty()) => {
                        table.rows.push(row);
                    }
                    _ => {}
                }
            }
            (false, "td" | "th" | "summary") => words = Some(String::new()),
            (true, "td" | "th") => {
                if let (Some(words), Some(row)) = (words.take(), &mut row) {
                    row.cells.push(Text::of(plain(&words)));
                }
            }
            (true, "summary") => heading(&mut found, None, words.take(), line),
            (false, _) if level.is_some() => words = Some(String::new()),
            (true, _) if level.is_some() => heading(&mut found, level, words.take(), line),
            (false, "br" | "p" | "li") => {
                if let Some(words) = &mut words {
                    words.push(' ');
                }
            }
            _ => {}
        }
        line += tag.matches('\n').count();
        rest = behind;
    }
    found
}

fn heading(found: &mut Vec<Piece>, level: Option<u8>, words: Option<String>, line: usize) {
    let title = plain(&words.unwrap_or_default());
    if !title.is_empty() {
        found.push(Piece::Heading(level, title, line));
    }
}

/// The first row is the header, whether its cells are `<th>` or not.
fn tag_is_header(table: Option<&(Table, usize)>, row: Option<&Row>) -> bool {
    table.is_some_and(|(table, _)| table.header.is_empty() && table.rows.is_empty())
        && row.is_some_and(|row| !row.cells.is_empty())
}

/// Each row has a cell for each column.
fn with_header(mut table: Table) -> Table {
    for row in &mut table.rows {
        row.cells.resize_with(table.header.len().max(row.cells.len()), Text::default);
    }
    table
}

fn plain(html: &str) -> String {
    let words: Vec<&str> = html.split_whitespace().collect();
    let text = words.join(" ");
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        .iter()
        .fold(text, |text, (entity, mark)| text.replace(entity, mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_tables_are_read_with_their_lines() {
        let html = "<h2 id=\"a\">Goals &amp; times</h2>\n<table>\n<tr><th>System</th><th>RTO</th></tr>\n\
                    <tr>\n<td><b>Cache</b></td>\n<td>1<br>h</td></tr>\n</table>\n<summary>More</summary>";
        let found = pieces(html, 10);
        assert_eq!(found.first(), Some(&Piece::Heading(Some(2), "Goals & times".into(), 10)));
        assert_eq!(found.last(), Some(&Piece::Heading(None, "More".into(), 17)));
        let Some(Piece::Table(table, lines)) = found.get(1) else { panic!("{found:?}") };
        assert_eq!((lines.first, lines.last, table.header.len()), (11, 16, 2));
        assert_eq!(table.rows.first().map(|row| (row.line, row.cells.len())), Some((13, 2)));
        assert_eq!(table.rows.first().and_then(|row| row.cells.get(1)), Some(&Text::of("1 h")));
        assert_eq!(pieces("<div>x</div>", 1), []);
        assert_eq!(pieces("<table><tr><td", 1), []);
    }
}
