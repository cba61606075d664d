//! Takes an `UPDATE` apart that disables what depends on corrupt rows: its table, its assignments, its condition.
//!
//! In: one statement, as people write it in runbooks. Out: its three parts, so that its rows can be counted, copied and put
//! back like all others. What has more parts than these (`FROM`, `RETURNING`, `WITH`, a comment, a second statement) is
//! refused with what to write instead.
//!
//! It never changes a text. Read next: `../quarantine.rs`.

use muster_types::quarantine::{Mark, RowChange};

/// Why a statement cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StatementError(pub String);

/// Takes `UPDATE table SET assignments WHERE condition` apart.
///
/// # Errors
/// It is something else, or has no `WHERE`: then it would hit every row.
pub fn update(sql: &str) -> Result<Mark, StatementError> {
    let sql = sql.trim().trim_end_matches(';').trim_end();
    let words = top_words(sql)?;
    let at = |word: &str| words.iter().find(|(_, text)| text.eq_ignore_ascii_case(word)).map(|(at, _)| *at);
    let wrong = |what: &str| StatementError(format!("{what} in `{sql}`"));
    if words.first().is_none_or(|(at, word)| *at != 0 || !word.eq_ignore_ascii_case("update")) {
        return Err(wrong("it does not begin with UPDATE"));
    }
    for word in ["from", "returning", "with"] {
        if at(word).is_some() {
            return Err(wrong(&format!(
                "{} cannot be counted and put back: use a subquery after WHERE",
                word.to_uppercase()
            )));
        }
    }
    let set = at("set").ok_or_else(|| wrong("there is no SET"))?;
    let condition = at("where").ok_or_else(|| wrong("there is no WHERE: it would hit every row"))?;
    if condition < set {
        return Err(wrong("WHERE stands before SET"));
    }
    let part = |from: usize, to: usize| sql.get(from..to).unwrap_or_default().trim().to_owned();
    let mark = Mark {
        table: part("update".len(), set),
        condition: part(condition + "where".len(), sql.len()),
        change: RowChange::Set { assignments: part(set + "set".len(), condition) },
    };
    let has_alias = mark.table.split_whitespace().count() > 1 && !mark.table.contains('"');
    if mark.table.is_empty() || has_alias {
        return Err(wrong("between UPDATE and SET stands something else than the name of a table"));
    }
    Ok(mark)
}

/// Returns the words outside of quotes and parentheses, each with where it begins.
fn top_words(sql: &str) -> Result<Vec<(usize, &str)>, StatementError> {
    let bytes = sql.as_bytes();
    let (mut words, mut depth, mut at) = (Vec::new(), 0_i32, 0);
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    while at < bytes.len() {
        match byte(at) {
            quote @ (b'\'' | b'"') => {
                let rest = sql.get(at + 1..).unwrap_or_default();
                let end = rest.find(char::from(quote));
                let end = end.ok_or_else(|| StatementError(format!("a quote has no end in `{sql}`")))?;
                at += end + 2;
            }
            b'-' if byte(at + 1) == b'-' => {
                return Err(StatementError(format!("a comment stands in `{sql}`: leave it out")));
            }
            b'/' if byte(at + 1) == b'*' => {
                return Err(StatementError(format!("a comment stands in `{sql}`: leave it out")));
            }
            b';' => return Err(StatementError(format!("a second statement stands in `{sql}`"))),
            b'$' if byte(at + 1) == b'$' || byte(at + 1).is_ascii_alphabetic() => {
                return Err(StatementError(format!("write texts in single quotes in `{sql}`")));
            }
            b'(' => {
                depth += 1;
                at += 1;
            }
            b')' => {
                depth -= 1;
                at += 1;
            }
            first if first.is_ascii_alphabetic() || first == b'_' => {
                let rest = sql.get(at..).unwrap_or_default();
                let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
                let length = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
                if depth == 0 {
                    words.push((at, rest.get(..length).unwrap_or_default()));
                }
                at += length.max(1);
            }
            _ => at += 1,
        }
    }
    if depth == 0 { Ok(words) } else { Err(StatementError(format!("parentheses do not fit in `{sql}`"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sql: &str) -> [String; 3] {
        let mark = update(sql).unwrap();
        let RowChange::Set { assignments } = mark.change else { panic!() };
        [mark.table, assignments, mark.condition]
    }

    #[test]
    fn an_update_is_taken_apart_at_its_own_words_and_not_at_those_in_quotes_and_subqueries() {
        let sql =
            "UPDATE agents SET enabled = false WHERE id IN (SELECT DISTINCT agent_id FROM quarantined);";
        let expected = ["agents", "enabled = false", "id IN (SELECT DISTINCT agent_id FROM quarantined)"];
        assert_eq!(parts(sql), expected);
        let sql = "update app.\"Agents\"\n set note = 'set; where -- x', n = (select 1 from t where true)\nwhere name = 'it''s'";
        let expected = [
            "app.\"Agents\"",
            "note = 'set; where -- x', n = (select 1 from t where true)",
            "name = 'it''s'",
        ];
        assert_eq!(parts(sql), expected);
    }

    #[test]
    fn a_statement_that_is_no_plain_update_is_refused() {
        for (sql, why) in [
            ("DELETE FROM agents WHERE true", "UPDATE"),
            ("UPDATE agents SET enabled = false", "every row"),
            ("UPDATE agents SET a = b.a FROM b WHERE b.id = id", "FROM"),
            ("UPDATE agents SET a = 1 WHERE true RETURNING id", "RETURNING"),
            ("UPDATE agents SET a = 1 WHERE true; DROP TABLE agents", "second statement"),
            ("UPDATE agents SET a = 1 WHERE true -- all", "comment"),
            ("UPDATE agents SET a = 1 WHERE b = 'x", "quote"),
            ("UPDATE agents SET a = (1 WHERE b", "parentheses"),
            ("UPDATE agents a SET a = 1 WHERE b", "name of a table"),
            ("WITH x AS (SELECT 1) UPDATE agents SET a = 1 WHERE true", "UPDATE"),
            ("", "UPDATE"),
        ] {
            let error = update(sql).unwrap_err().to_string();
            assert!(error.contains(why), "{sql}: {error}");
        }
    }
}
