//! Reads the front matter.

use super::{Fault, Front, keys::Keys};
use crate::{
    document::Document,
    yaml::{self, Value},
};

pub(super) fn read(document: &Document, faults: &mut Vec<Fault>) -> Front {
    let Some(matter) = &document.front_matter else {
        let title = document.title().unwrap_or_default().to_owned();
        if title.is_empty() {
            let hint = "begin the file with `---`, `title: …`, `---`";
            faults.push(Fault::new((1, 1), "", "the runbook has no title", hint));
        }
        return Front { title, ..Front::default() };
    };
    let node = match yaml::parse(&matter.content, matter.line) {
        Ok(node) => node,
        Err(broken) => {
            faults.push(Fault::new(
                (broken.line, broken.column),
                "",
                broken.message,
                "look at the indentation and the quotes",
            ));
            return Front::default();
        }
    };
    if !matches!(node.value, Value::Map(_)) {
        faults.push(Fault::new(
            (node.line, node.column),
            "",
            "the front matter is not made of `key: value` lines",
            "begin with `title: …`",
        ));
        return Front::default();
    }
    let mut keys = Keys::new(&node, "the front matter", faults);
    let front = Front {
        title: keys
            .text("title")
            .or_else(|| document.sections.iter().find(|one| one.level > 0).map(|one| one.heading.clone()))
            .unwrap_or_default(),
        severity: keys.text("severity"),
        rto: keys.span("rto"),
        expected: keys.span("expected"),
        owner: keys.text("owner"),
        version: keys.text("version"),
        review: keys.text("review"),
        symptoms: keys.names("symptoms"),
        tags: keys.names("tags"),
        is_security: keys.is_set("security"),
        needs_evidence: needs_evidence(&mut keys),
        evidence: keys.names("evidence"),
        source: keys.text("source"),
    };
    if let Some(date) = keys
        .node("review")
        .filter(|date| date.text().is_none_or(|text| text.parse::<jiff::civil::Date>().is_err()))
    {
        keys.wrong(date, "review", "a day such as `2027-01-31`");
    }
    let has_title = !front.title.is_empty();
    keys.finish();
    if !has_title {
        faults.push(Fault::new(
            (matter.line, 1),
            "",
            "the runbook has no title",
            "add `title: …` to the front matter",
        ));
    }
    front
}

/// `incident: security`.
fn needs_evidence(keys: &mut Keys<'_, '_>) -> bool {
    let Some(node) = keys.node("incident") else { return false };
    if node.text() != Some("security") {
        keys.wrong(node, "incident", "`security`");
    }
    true
}
