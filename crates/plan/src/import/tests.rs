//! Recognition of small pieces; whole documents are in `tests/documents.rs` and `tests/seeds.rs`.

use super::*;
use crate::document;

fn found(text: &str) -> Recognised {
    recognise(&document::read(text.as_bytes()).unwrap())
}

#[test]
fn what_nobody_understands_is_listed_with_its_line() {
    let found = found("# A\n\nSome words.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- x\n- y\n");
    let shown: Vec<_> =
        found.unrecognised.iter().map(|one| (one.line, one.last_line, one.what.as_str())).collect();
    assert_eq!(shown, [(3, 3, "paragraph"), (5, 7, "table"), (9, 10, "list")]);
}

#[test]
fn an_empty_document_is_nothing_and_no_error() {
    assert_eq!(found(""), Recognised::default());
}
