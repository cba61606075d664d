//! Whole documents, suppressions, and files that nobody meant to be looked at.

use std::time::{Duration, Instant};

use muster_plan::lint::{Finding, Form, LintError, Severity, lint};

fn look(text: &str) -> Vec<Finding> {
    lint("a.md", text.as_bytes(), Form::Markdown, Some(jiff::civil::date(2026, 11, 21))).expect("text")
}

fn of<'f>(findings: &'f [Finding], rule: &str) -> Vec<&'f Finding> {
    findings.iter().filter(|one| one.rule == rule).collect()
}

// proves: A4
#[test]
fn an_rpo_of_five_minutes_with_an_hourly_schedule_is_flagged_in_its_row() {
    let table = "# Plan\n\n| Data | RPO | Backup frequency |\n|---|---|---|\n| agents | 5m | Hourly |\n| logs | 1 day | Hourly |\n";
    let found = look(table);
    let found = of(&found, "rpo-equals-interval");
    assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), [5]);
    assert!(
        found[0].message.contains("every 1 h") && found[0].message.contains("5 min"),
        "{}",
        found[0].message
    );
    assert_eq!(found[0].severity, Severity::FalseConfidence);
}

// proves: H6
#[test]
fn a_review_that_is_overdue_is_a_finding_and_one_to_come_is_none() {
    for (text, lines) in [
        ("# Plan\n\n- **Next Review:** 2026-11-20\n", &[3][..]),
        ("# Plan\n\n- **Next Review:** 2026-11-21\n", &[]),
        ("# Plan\n\nReview date: 2027-02-01\n", &[]),
        // Nobody wrote down when: the cycle and the last time tell it.
        ("# Plan\n\nLast updated: 2026-05-01\n\nReview cycle: quarterly\n", &[3]),
        ("# Plan\n\nLast updated: 2026-09-01\n\nReview cycle: quarterly\n", &[]),
        (
            "---\ntitle: Cache lost\nrto: 1h\nreview: 2026-01-31\n---\n## Look\n\n```muster\ncheck: cache\n```\n",
            &[4],
        ),
        (
            "---\ntitle: Cache lost\nrto: 1h\nreview: 2027-01-31\n---\n## Look\n\n```muster\ncheck: cache\n```\n",
            &[],
        ),
    ] {
        let found = look(text);
        let found = of(&found, "review-date-past");
        assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), lines, "{text}");
        assert!(found.iter().all(|one| one.severity == Severity::Weak));
    }
}

#[test]
fn a_crontab_that_runs_less_often_than_the_rpo_is_flagged() {
    let text = "# Plan\n\nRPO: 1 hour\n\n```cron\n0 */6 * * * /opt/shop/backup.sh\n```\n";
    assert_eq!(of(&look(text), "rpo-equals-interval").iter().map(|one| one.line).collect::<Vec<_>>(), [3]);
}

#[test]
fn phases_are_summed_up_against_the_rto() {
    let phases = |last: &str| {
        format!(
            "# Plan\n\n| Objective | Target |\n|---|---|\n| RTO | 3 hours |\n\n## Phase 1: look (15 minutes)\n\n## Phase 2: restore (2 hours)\n\n## Phase 3: verify ({last})\n"
        )
    };
    let found = look(&phases("1 hour"));
    let found = of(&found, "phases-exceed-rto");
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("3 phases take 3.3 h"), "{}", found[0].message);
    assert!(of(&look(&phases("30 minutes")), "phases-exceed-rto").is_empty());
}

#[test]
fn what_a_scenario_promises_is_held_against_the_rto_of_the_whole_and_is_none_itself() {
    let text = |own: &str| {
        format!(
            "# Plan\n\n| Metric | Target |\n|---|---|\n| RTO | < 30 minutes |\n\n## Failures\n\n### 1. Host lost\n\n**Symptoms:** silence\n\n**RTO:** {own}\n\nVerify that it answers.\n"
        )
    };
    let found = look(&text("30-60 minutes | RPO: last backup"));
    assert_eq!(of(&found, "expected-exceeds-rto").iter().map(|one| one.line).collect::<Vec<_>>(), [13]);
    assert!(of(&look(&text("10-20 minutes")), "expected-exceeds-rto").is_empty());
}

#[test]
fn an_rpo_is_held_against_the_backups_of_databases_and_not_against_the_log_of_a_cache() {
    let text = "# Plan\n\n| Metric | Target |\n|---|---|\n| RPO | 6 hours |\n\n## Backup strategy\n\n| Component | Frequency |\n|---|---|\n| PostgreSQL | Every 6 hours |\n| Redis | Continuous |\n";
    assert_eq!(of(&look(text), "rpo-equals-interval").iter().map(|one| one.line).collect::<Vec<_>>(), [5]);
}

// proves: E10
#[test]
fn a_scenario_without_a_verify_step_is_rejected_and_one_with_it_is_not() {
    let scenario = |end: &str| {
        format!(
            "# Plan\n\n## Scenarios\n\n### Disk full\n\n**Symptoms:**\n\n- the health check fails\n\n**Recovery steps:**\n\n1. Free space\n2. Start the service\n3. {end}\n"
        )
    };
    let found = look(&scenario("Tell the others"));
    let found = of(&found, "scenario-without-verification");
    assert_eq!(
        found.iter().map(|one| (one.line, one.severity)).collect::<Vec<_>>(),
        [(5, Severity::FalseConfidence)]
    );
    assert!(
        of(&look(&scenario("Verify that orders can be placed")), "scenario-without-verification").is_empty()
    );
}

#[test]
fn a_suppression_with_a_reason_silences_one_rule_in_one_place() {
    let text = "# Plan\n\n```bash\n# muster: allow curl-insecure because the lab has no authority\ncurl -fk https://a/health\ncurl -fk https://b/health\n```\n";
    assert_eq!(of(&look(text), "curl-insecure").iter().map(|one| one.line).collect::<Vec<_>>(), [6]);
    let block = "# Plan\n\n<!-- muster: allow curl-insecure because the lab has no authority -->\n```bash\ncurl -fk https://a/health\ncurl -fk https://b/health\n```\n\n```bash\ncurl -fk https://c/health\n```\n";
    assert_eq!(of(&look(block), "curl-insecure").iter().map(|one| one.line).collect::<Vec<_>>(), [10]);
}

#[test]
fn a_suppression_without_a_reason_silences_nothing_and_is_a_finding() {
    let found = look("# Plan\n\n```bash\ncurl -fk https://a/health # muster: allow curl-insecure\n```\n");
    assert_eq!(of(&found, "curl-insecure").len(), 1);
    assert_eq!(of(&found, "suppression-without-reason").len(), 1);
}

#[test]
fn a_suppression_that_matches_nothing_is_a_finding() {
    let found = look("# Plan\n\n```bash\nls # muster: allow no-such-rule because I think so\n```\n");
    assert_eq!(of(&found, "suppression-unused").iter().map(|one| one.line).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_block_that_is_no_shell_is_said_and_its_commands_are_still_looked_at() {
    let found = look(
        "# Plan\n\n```bash\ncurl -fk https://a/health\n\"a\": [{ (\n  }\ncurl -fk https://b/health\n```\n",
    );
    assert_eq!(of(&found, "not-shell").len(), 1, "{found:#?}");
    assert_eq!(of(&found, "curl-insecure").iter().map(|one| one.line).collect::<Vec<_>>(), [4, 7]);
}

#[test]
fn the_line_column_and_quote_are_those_of_the_file() {
    let found = look(
        "# Plan\n\n1. Look:\n\n   ```bash\n   if true; then\n     sudo curl -fk https://a/health\n   fi\n   ```\n",
    );
    let found = of(&found, "curl-insecure");
    assert_eq!((found[0].line, found[0].column), (7, 11));
    assert_eq!(found[0].quote, "curl -fk https://a/health");
}

#[test]
fn the_place_behind_a_line_that_goes_on_is_that_of_the_word() {
    let text = "# Plan\n\n## Backups\n\n```bash\nNOW=$(date +%Y%m%d)\npg_dump -Fc -f \"/b/app_$NOW.dump\" app\n```\n\n```bash\npg_restore -l \\\n  -v \\\n  /b/app_newest.dump\n```\n";
    let found = look(text);
    let found = of(&found, "name-never-produced");
    assert_eq!(found.iter().map(|one| (one.line, one.column)).collect::<Vec<_>>(), [(13, 3)], "{found:?}");
    assert_eq!(found[0].quote, "/b/app_newest.dump");
}

#[test]
fn what_is_not_text_or_too_large_is_refused_by_name() {
    let refused = |bytes: &[u8]| lint("a.md", bytes, Form::Markdown, None).expect_err("refused");
    assert!(matches!(refused(&vec![b'a'; 5 << 20]), LintError::TooLarge { bytes: 5_242_880 }));
    assert_eq!(refused(b"a\nb\0c").to_string(), "line 2, column 2: this is not text");
    assert_eq!(refused(b"\xff\xfe").to_string(), "line 1, column 1: this is not text");
    for form in [Form::Shell, Form::Sql, Form::Cron, Form::Config] {
        let refused = lint("a", b"x\n\0", form, None).expect_err("refused");
        assert_eq!(refused.to_string(), "line 2, column 1: this is not text");
    }
}

#[test]
fn an_empty_file_has_no_findings() {
    for form in [Form::Markdown, Form::Shell, Form::Sql, Form::Cron, Form::Config] {
        assert_eq!(lint("a", b"", form, None), Ok(Vec::new()));
    }
}

#[test]
fn hostile_text_ends_in_time() {
    let begun = Instant::now();
    let fence = |line: &str, count: usize| format!("# a\n\n```bash\n{}```\n", line.repeat(count));
    let texts = [
        fence("pg_dump a | gzip > /b/$(date +%F).sql.gz\nredis-cli BGSAVE\n", 1500),
        fence("if true; then ( $(\n", 5000),
        fence("((((((((((((((((((((((((((((((((((((((((\n", 2000),
        fence("echo \"$(echo \"$(echo \"$(\n", 3000),
        fence("cat <<EOF\n", 5000),
        fence("'\n", 30_000),
        fence("a | b | c && d || \\\n", 4000),
        "## Scenario 1: a\n\n**Symptoms:** b\n\n| RTO |\n|---|\n| 1 h |\n\n".repeat(12_000),
        "- [ ] a: curl http://a/health\n".repeat(30_000),
    ];
    for text in texts {
        drop(lint("a.md", text.as_bytes(), Form::Markdown, None));
    }
    // Seconds where built for release; the limit is for a debug build on a busy machine.
    assert!(begun.elapsed() < Duration::from_mins(2), "{:?}", begun.elapsed());
}
