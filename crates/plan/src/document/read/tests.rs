//! Trees of documents in the forms that people and programs write, and hostile ones.

use super::*;

fn document(text: &str) -> Document {
    read(text.as_bytes()).unwrap()
}

/// One line for each block: its lines, depth and a word for what it is.
fn shown(document: &Document) -> Vec<String> {
    document
        .blocks()
        .map(|(_, block)| {
            let what = match &block.kind {
                BlockKind::Paragraph(text) => format!("paragraph {}", text.plain.replace('\n', "|")),
                BlockKind::Item(item) => {
                    format!("item {:?} {:?} {}", item.number, item.checkbox, item.text.plain)
                }
                BlockKind::Table(table) => format!("table {}x{}", table.header.len(), table.rows.len()),
                BlockKind::Fence(fence) => format!("fence {} at {}", fence.kind.name(), fence.content_line),
                BlockKind::Comment(text) => format!("comment {text}"),
                BlockKind::Html(_) => "html".into(),
                BlockKind::Rule => "rule".into(),
            };
            format!("{}-{} {} {what}", block.lines.first, block.lines.last, block.depth)
        })
        .collect()
}

#[test]
fn sections_know_their_line_level_and_path() {
    let text = "before\n\n# A\n\n### B\ntext\n\nC\n-\n\nD\n=\n";
    let found: Vec<_> = document(text)
        .sections
        .iter()
        .map(|one| (one.level, one.line, one.last_line, one.path.join("/"), one.parent))
        .collect();
    assert_eq!(
        found,
        [
            (0, 1, 2, String::new(), None),
            (1, 3, 4, "A".into(), None),
            (3, 5, 7, "A/B".into(), Some(1)),
            (2, 8, 10, "A/C".into(), Some(1)),
            (1, 11, 12, "D".into(), None)
        ]
    );
    assert_eq!(document(text).subtree(1), 1..4);
}

#[test]
fn a_list_item_holds_its_fence_and_its_own_items() {
    let text = "1. **Stop** it:\n\n   ```bash\n   # why\n   systemctl stop x\n   ```\n\n2. Then\n   - a\n   - b\n\n3. [ ] told\n";
    assert_eq!(
        shown(&document(text)),
        [
            "1-6 1 item Some(1) None Stop it:",
            "3-6 1 fence shell at 4",
            "8-10 1 item Some(2) None Then",
            "9-9 2 item None None a",
            "10-10 2 item None None b",
            "12-12 1 item Some(3) Some(false) told",
        ]
    );
    let document = document(text);
    let (_, fence_block, fence) = document.fences().next().unwrap();
    assert_eq!(fence.content, "# why\nsystemctl stop x\n");
    assert_eq!(fence_block.item, Some(0));
    assert!(fence.is_closed);
}

#[test]
fn words_after_a_fence_in_an_item_are_a_paragraph() {
    let text = "1. Run it\n   ```bash\n   ls\n   ```\n   It does:\n   - a\n";
    assert_eq!(
        shown(&document(text)),
        [
            "1-6 1 item Some(1) None Run it",
            "2-4 1 fence shell at 3",
            "5-5 1 paragraph It does:",
            "6-6 2 item None None a"
        ]
    );
}

#[test]
fn tables_know_the_line_of_each_row() {
    let document = document("# A\n\n| A | B |\n|---|---|\n| **x** | `y` |\n| z |\n");
    let (_, block) = document.blocks().next().unwrap();
    let BlockKind::Table(table) = &block.kind else { panic!("{block:?}") };
    assert_eq!(block.lines, Lines::new(3, 6));
    assert_eq!(table.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(table.rows[0].cells[0].lead.as_deref(), Some("x"));
    assert_eq!(table.rows[0].cells[1].code, ["y"]);
    assert_eq!(table.rows[1].cells[1].plain, "");
}

#[test]
fn a_bold_beginning_is_the_lead_and_each_line_stays_a_line() {
    let document = document("**Time**: 5 min  \n**Loss**: none\n\n**Image broken:**\n\nplain **bold**\n");
    let texts: Vec<_> = document.blocks().filter_map(|(_, block)| block.text()).collect();
    assert_eq!(texts[0].plain, "Time: 5 min\nLoss: none");
    assert_eq!(texts[0].lead.as_deref(), Some("Time"));
    assert!(texts[1].is_all_bold() && !texts[0].is_all_bold());
    assert_eq!(texts[2].lead, None);
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark_change_no_line() {
    let unix = "---\ntitle: x\n---\n# A\n\n```bash\nls\n```\n\n| a |\n|---|\n| b |\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    assert_eq!(document(unix), document(&windows));
    let front = document(unix).front_matter.unwrap();
    assert_eq!((front.content.as_str(), front.line), ("title: x\n", 2));
}

#[test]
fn comments_html_quotes_and_indented_code_are_kept() {
    let text = "<!-- muster: x -->\n\n<div>\nhi\n</div>\n\n> said\n\n    ls -l\n\nput <pod-name> in\n";
    assert_eq!(
        shown(&document(text)),
        [
            "1-1 0 comment muster: x",
            "3-5 0 html",
            "7-7 0 paragraph said",
            "9-9 0 fence shell at 9",
            "11-11 0 paragraph put <pod-name> in"
        ]
    );
    assert!(document(text).blocks().nth(2).unwrap().1.is_quoted);
}

#[test]
fn an_unclosed_fence_is_told() {
    let document = document("# A\n\n```bash\nls\n\n## B\n");
    let (_, block, fence) = document.fences().next().unwrap();
    assert!(!fence.is_closed);
    assert_eq!((block.lines, document.sections.len()), (Lines::new(3, 6), 2));
}

#[test]
fn what_is_too_large_or_no_text_is_refused_with_its_place() {
    assert_eq!(read(&vec![b'a'; BYTES_MAX + 1]), Err(DocumentError::TooLarge { bytes: BYTES_MAX + 1 }));
    assert_eq!(read("a\n".repeat(10_001).as_bytes()), Err(DocumentError::TooLong { lines: 10_001 }));
    assert_eq!(read(b"a\nb\xff"), Err(DocumentError::NotText { line: 2, column: 2 }));
    assert_eq!(read(b"a\0"), Err(DocumentError::NotText { line: 1, column: 2 }));
}
