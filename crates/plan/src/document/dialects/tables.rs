//! Tables that are drawn: `+---+` around the cells, or `|===` around rows of cells.
//!
//! Lines come in; the same lines as a table of Markdown leave. A line that has no row of its own becomes an empty row,
//! because a blank line would end the table; the reader leaves empty rows out.

use std::borrow::Cow;

use super::set;

/// What stands where a line of the table has no row.
const FILLER: &str = "| |";

/// Says `+---+` tables as Markdown.
pub(super) fn grids(lines: &[&str], is_fenced: &[bool], said: &mut [Cow<'_, str>]) {
    let mut at = 0;
    while at < lines.len() {
        let is_row = |at: &usize| {
            lines.get(*at).is_some_and(|line| is_line(line) || line.trim_start().starts_with('|'))
                && !is_fenced.get(*at).copied().unwrap_or_default()
        };
        let end = (at..lines.len()).take_while(is_row).count() + at;
        if end > at + 2 && lines.get(at).is_some_and(|line| is_line(line)) {
            grid(lines, at, end, said);
        }
        at = end.max(at + 1);
    }
}

/// `+-----+-----+`
fn is_line(line: &str) -> bool {
    let line = line.trim();
    line.len() > 2
        && line.starts_with('+')
        && line.ends_with('+')
        && line.chars().all(|c| matches!(c, '+' | '-' | '=' | ':'))
}

fn grid(lines: &[&str], begin: usize, end: usize, said: &mut [Cow<'_, str>]) {
    let line = |at: usize| lines.get(at).copied().unwrap_or_default();
    // The header is one line; a higher one is left as it is.
    if is_line(line(begin + 1)) || !is_line(line(begin + 2)) {
        return;
    }
    let cells = line(begin + 1).matches('|').count().saturating_sub(1);
    set(said, begin, String::new());
    set(said, begin + 2, format!("|{}", "---|".repeat(cells)));
    for at in (begin + 3..end).filter(|at| is_line(line(*at))) {
        set(said, at, FILLER.to_owned());
    }
}

/// The number of columns that `cols="1,2,3"` or `cols=3*` tells.
pub(super) fn columns(attributes: &str) -> Option<usize> {
    let (_, rest) = attributes.split_once("cols=")?;
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split(',').next()?,
    };
    match value.split_once('*') {
        Some((number, _)) => number.trim().parse().ok(),
        None => Some(value.split(',').count()),
    }
}

/// Says the table that begins at `begin`; returns the line behind it. One that is not understood stays as it is.
pub(super) fn asciidoc(lines: &[&str], begin: usize, columns: usize, said: &mut [Cow<'_, str>]) -> usize {
    let Some(end) =
        (begin + 1..lines.len()).find(|at| lines.get(*at).is_some_and(|line| line.trim() == "|==="))
    else {
        return begin + 1;
    };
    let mut cells: Vec<(usize, String)> = Vec::new();
    let mut columns = columns;
    for at in begin + 1..end {
        let line = lines.get(at).copied().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix('|') else {
            // A cell goes on in the next line.
            if let Some((_, cell)) = cells.last_mut().filter(|_| !line.is_empty()) {
                cell.push(' ');
                cell.push_str(line);
            }
            continue;
        };
        let own = rest.split('|').map(|cell| (at, cell.trim().to_owned()));
        if columns == 0 {
            columns = own.clone().count();
        }
        cells.extend(own);
    }
    if columns < 2 || cells.len() < columns || !cells.len().is_multiple_of(columns) {
        return end + 1;
    }
    for at in begin..=end {
        set(said, at, FILLER.to_owned());
    }
    let row = |cells: &[(usize, String)]| {
        cells.iter().fold("|".to_owned(), |row, (_, cell)| format!("{row} {cell} |"))
    };
    let mut rows = cells.chunks(columns);
    let header = rows.next().unwrap_or_default();
    set(said, begin, row(header));
    set(said, begin + 1, format!("|{}", "---|".repeat(columns)));
    for cells in rows {
        set(said, cells.first().map_or(end, |(at, _)| *at), row(cells));
    }
    set(said, end, String::new());
    end + 1
}

#[cfg(test)]
mod tests {
    use super::super::to_markdown;

    #[test]
    fn drawn_tables_keep_their_rows_where_they_were() {
        let grid = "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n| 3 | 4 |\n+---+---+\n";
        assert_eq!(to_markdown(grid), "\n| a | b |\n|---|---|\n| 1 | 2 |\n| |\n| 3 | 4 |\n| |\n");
        let rows = "= T\n== S\n|===\n|a |b\n\n|1 |2\n|3\n|4\n|===\n";
        assert_eq!(to_markdown(rows), "# T\n## S\n| a | b |\n|---|---|\n| |\n| 1 | 2 |\n| 3 | 4 |\n| |\n\n");
    }
}
