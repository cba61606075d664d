//! Compares one value with an assertion's `expect`: `>= 1`, `== ok`, or a bare value that must be equal.
//!
//! Two numbers are compared as numbers, all else as text. An order of what is not a number never holds.

use std::cmp::Ordering;

/// Tells whether `value` fits `expect`.
pub fn holds(value: &str, expect: &str) -> bool {
    let expect = expect.trim();
    let (operator, wanted) = ["==", "!=", "<=", ">=", "<", ">"]
        .into_iter()
        .find_map(|operator| expect.strip_prefix(operator).map(|wanted| (operator, wanted.trim())))
        .unwrap_or(("==", expect));
    let order = match (value.parse::<i128>(), wanted.parse::<i128>()) {
        (Ok(value), Ok(wanted)) => Some(value.cmp(&wanted)),
        _ => match (value.parse::<f64>(), wanted.parse::<f64>()) {
            (Ok(value), Ok(wanted)) => value.partial_cmp(&wanted),
            _ => None,
        },
    };
    match operator {
        "!=" => order.map_or(value != wanted, Ordering::is_ne),
        "<=" => order.is_some_and(Ordering::is_le),
        ">=" => order.is_some_and(Ordering::is_ge),
        "<" => order.is_some_and(Ordering::is_lt),
        ">" => order.is_some_and(Ordering::is_gt),
        _ => order.map_or(value == wanted, Ordering::is_eq),
    }
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn an_order_holds_between_numbers_only() {
        assert!(holds("10", ">= 9") && holds("1.0", "1") && holds("ok", "== ok") && holds("ok", "ok"));
        assert!(!holds("0", ">= 1") && !holds("", ">= 0") && !holds("b", "> a") && holds("a", "!= b"));
    }
}
