//! Documents that nobody wrote by hand: deep, unclosed, repetitive, one endless line. They take no more than long ones.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test")]

use std::time::{Duration, Instant};

use muster_plan::{document, import, runbook};

/// The slowest takes a tenth of this unoptimised; what grows with the square of the text takes minutes.
const LIMIT: Duration = Duration::from_secs(20);

fn read_in_every_way(text: &str) {
    let start: String = text.chars().take(30).collect();
    let began = Instant::now();
    if let Ok(read) = document::read(text.as_bytes()) {
        let found = import::recognise(&read);
        import::draft(&found, "x.md", "x");
        drop(runbook::load(text.as_bytes()));
        let framed = format!("---\ntitle: x\n---\n{text}");
        drop(runbook::load(framed.as_bytes()));
    }
    let took = began.elapsed();
    assert!(took < LIMIT, "{start:?} took {took:?}");
}

#[test]
fn deep_nesting_costs_nothing_special() {
    read_in_every_way(&"> ".repeat(20_000));
    read_in_every_way(&"- ".repeat(20_000));
    read_in_every_way(&(0..2_000).map(|depth| format!("{}- x\n", "  ".repeat(depth))).collect::<String>());
    read_in_every_way(&format!("```muster\n{}\n```\n", "[".repeat(50_000)));
    read_in_every_way(&format!("```muster\n{}stop: a\n```\n", "parallel: [{".repeat(2_000)));
    read_in_every_way(&"[".repeat(50_000));
    read_in_every_way(&"**a".repeat(50_000));
    read_in_every_way(&"<".repeat(50_000));
}

#[test]
fn what_never_ends_costs_nothing_special() {
    for line in ["cat <<EOF\n", "echo '\n", "{\n", "if true\n", "a \\\n", "$(\n"] {
        read_in_every_way(&("```bash\n".to_owned() + &line.repeat(3_000)));
        read_in_every_way(&("```\n".to_owned() + &line.repeat(3_000)));
    }
    read_in_every_way(&("---\n".to_owned() + &"a: b\n".repeat(3_000)));
    read_in_every_way(&("<!-- ".to_owned() + &"x\n".repeat(3_000)));
}

#[test]
fn many_headings_rows_and_items_cost_nothing_special() {
    for line in [
        "# Scenario 1: lost\n",
        "## Database down\n",
        "# A\n**Symptoms:** x\n",
        "- [ ] restore drill, monthly\n",
        "1. If it is lost, `rm -rf /x/<name>` see Section 3\n",
        "RTO: 1 hour for a\n\n",
        "Lead: ____\n\n",
    ] {
        let count = 3_000 / line.lines().count();
        read_in_every_way(&line.repeat(count));
        read_in_every_way(&("# Scenarios\n## Contacts\n".to_owned() + &line.repeat(count)));
    }
    let rows: String = (0..3_000).map(|at| format!("| part {at} | 1 hour | daily |\n")).collect();
    for header in [
        "Component | RTO | RPO",
        "Role | Phone | Escalation",
        "What | Retention | Frequency",
        "Drill | Scope | Frequency",
    ] {
        read_in_every_way(&format!("| {header} |\n|---|---|---|\n{rows}"));
    }
}

#[test]
fn one_endless_line_costs_nothing_special() {
    for piece in [
        "1 hour - ",
        "RTO 1h ",
        "A=1 ",
        "<pod> ",
        "SERVICE_ID ",
        "| a ",
        "sudo ",
        "bash -c ",
        "xargs ",
        "{{ answers.x }} ",
    ] {
        let line = piece.repeat(200_000 / piece.len());
        read_in_every_way(&line);
        read_in_every_way(&format!("# Scenario 1: x\n```bash\n{line}\n```\n"));
        read_in_every_way(&format!("# RTO {line}\n"));
        read_in_every_way(&format!("# Contacts\n- a: {line}\n"));
    }
}
