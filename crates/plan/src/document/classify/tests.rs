//! Fences of every kind, in the forms that people write.

use super::*;

fn kind(language: &str, content: &str) -> FenceKind {
    classify(language, content, 1).0
}

#[test]
fn the_content_overrules_the_language_where_it_is_something_else() {
    assert_eq!(kind("bash", "# nightly\n0 2 * * * /opt/save.sh\n"), FenceKind::Cron);
    assert_eq!(kind("bash", "@daily /opt/save.sh\n"), FenceKind::Cron);
    assert_eq!(
        kind("sql", "-- in postgresql.conf\n-- wal_level = replica\n-- archive_mode = on\n"),
        FenceKind::Config(ConfigKind::Postgresql)
    );
    assert_eq!(kind("sql", "-- how many\nSELECT count(*) FROM t;\n"), FenceKind::Sql);
    assert_eq!(kind("conf", "# redis.conf\nappendonly yes\n"), FenceKind::Config(ConfigKind::Redis));
    assert_eq!(kind("bash", "# ask the provider\n# then wait\n"), FenceKind::Text);
}

#[test]
fn commands_with_json_or_sql_between_them_are_several() {
    let text = "# call\naws x --batch file://a.json\n\n# a.json:\n{\n  \"A\": [{\"b\": 1}]\n}\n";
    let (kind, parts) = classify("bash", text, 10);
    assert_eq!(kind, FenceKind::Several);
    let shown: Vec<_> =
        parts.iter().map(|part| (part.kind.name(), part.lines.first, part.lines.last)).collect();
    assert_eq!(shown, [("shell", 10, 11), ("json", 13, 16)]);
    assert_eq!(super::tests::kind("sh", "psql\nDROP TABLE t;\n"), FenceKind::Several);
}

#[test]
fn sql_and_json_inside_a_command_belong_to_the_command() {
    assert_eq!(kind("bash", "psql -c \"\n  SELECT 1;\n\"\n"), FenceKind::Shell);
    assert_eq!(kind("bash", "psql <<EOF\nDROP TABLE t;\nEOF\n"), FenceKind::Shell);
    assert_eq!(kind("bash", "curl -d '{\n  \"a\": 1\n}' http://x\n"), FenceKind::Shell);
}

#[test]
fn a_fence_without_a_language_is_guessed() {
    for (content, expected) in [
        ("{\"a\": 1}\n", FenceKind::Json),
        ("docker compose ps\ncurl http://x\n", FenceKind::Shell),
        ("$ docker ps\nCONTAINER ID   IMAGE\nabc            x\n", FenceKind::Transcript),
        ("NAME    READY   STATUS\napi-1   0/1     Error\n", FenceKind::Unknown),
        (
            "2026-01-02T03:04:05Z error: no space left\n2026-01-02T03:04:06Z panic: cannot write\n",
            FenceKind::Transcript,
        ),
        ("[ ] API answers\n[ ] no errors in the log\n", FenceKind::Text),
        ("Primary: +1-555-0100 (pager)\nManager: +1-555-0101\n", FenceKind::Text),
        ("groups:\n  - name: x\n    rules: []\n", FenceKind::Config(ConfigKind::Yaml)),
        ("[Unit]\nDescription=x\n", FenceKind::Config(ConfigKind::Systemd)),
        ("server {\n  listen 80;\n}\n", FenceKind::Config(ConfigKind::Nginx)),
        ("host all all 10.0.0.0/8 scram-sha-256\n", FenceKind::Config(ConfigKind::PgHba)),
        ("SELECT 1;\n", FenceKind::Sql),
        ("# Report\n\n**Date:** [date]\n**Severity:** [P1]\n", FenceKind::Template),
        ("blah\n", FenceKind::Unknown),
    ] {
        assert_eq!(kind("", content), expected, "{content}");
    }
}

#[test]
fn a_line_that_only_resembles_cron_is_none() {
    for line in ["1 2 3", "5 minutes is what it takes here", "* * * * *", "docker run --rm a b c d"] {
        assert!(!lines::is_cron(line), "{line}");
    }
}
