//! The condition grammar as tables: what holds, what does not, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test may panic as the test may")]

use std::time::Duration;

use muster_drivers::checks::{Condition, Observation, evaluate};

const BODY: &str = r#"{"db":"ok","n":3,"ratio":1.0,"none":null,"version":"1.10","list":[1,2,3],
  "nested":{"a":[{"b":"x"}]},"a.b":"dotted","empty":""}"#;

fn seen(body: &str) -> Observation {
    let response_time = Duration::from_millis(120);
    let ip = Some("10.0.0.7".to_owned());
    Observation {
        status: Some(200),
        body: Some(body.to_owned()),
        response_time,
        is_connected: true,
        ip,
        certificate_ends_at: Some(Duration::from_hours(149)),
        rcode: Some("NXDOMAIN".to_owned()),
        written_at: Some(Duration::from_mins(100 * 60 - 90)),
        version: Some("20.10.24".to_owned()),
        at: Duration::from_hours(100),
    }
}

#[test]
fn these_conditions_hold() {
    let all = "[STATUS] == 200|200 == [STATUS]|[STATUS] < 300|[STATUS] == any(200, 204)|[STATUS] != 500\
        |[RESPONSE_TIME] < 500|[RESPONSE_TIME] <= 120ms|[CONNECTED] == true|[IP] == pat(10.*)\
        |[BODY].db == ok|[BODY].db == \"ok\"|[BODY].db != down|[BODY].n >= 3|[BODY].ratio == 1\
        |[BODY].none == null|[BODY].version != 1.1|[BODY].list[2] == 3|[BODY].nested.a[0].b == x\
        |[BODY][\"a.b\"] == dotted|len([BODY].list) == 3|len([BODY].db) == 2|has([BODY].db) == true\
        |has([BODY].gone) == false|[BODY].empty == \"\"|[BODY].db == pat(o?)|[BODY].list[0] < [BODY].n\
        |[CERTIFICATE_EXPIRATION] > 48h|[CERTIFICATE_EXPIRATION] <= 49h|[DNS_RCODE] == NXDOMAIN|[DNS_RCODE] != NOERROR\
        |[VERSION] >= 20.10|[VERSION] > 20.9|20.11 > [VERSION]|[VERSION] == 20.10.24.0|[VERSION] != 20.10|[VERSION] < 21\
        |[AGE] < 2h|[AGE] == 90m|[BODY].n < 1KiB|1GB > [BODY].n|[BODY].db != 10GB";
    for text in all.split('|') {
        let result = evaluate(&Condition::parse(text.trim()).unwrap(), &seen(BODY));
        assert!(result.passed, "{text}: found {}", result.found);
    }
}

#[test]
fn these_conditions_do_not_hold_and_say_what_was_found() {
    for (text, found) in [
        ("[STATUS] == 201", "200"),
        ("[RESPONSE_TIME] < 100ms", "120"),
        ("[BODY].db == down", "ok"),
        ("[BODY].gone != x", "nothing at [BODY].gone"),
        ("[BODY].none == \"null\"", "null"),
        ("[BODY].version == 1.1", "1.10"),
        ("[BODY].db > 1", "ok, which is not a number"),
        ("len([BODY].n) == 1", "3, which has no length"),
        ("[CERTIFICATE_EXPIRATION] > 49h", "2d1h"),
        ("[AGE] < 1h", "1h30m"),
        ("[BODY].n > 1kB", "3"),
    ] {
        let result = evaluate(&Condition::parse(text).unwrap(), &seen(BODY));
        assert!(!result.passed, "{text}");
        assert_eq!(result.found, found, "{text}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    for (text, offending, offset) in [
        ("[STATUS]", "[STATUS]", 0),
        ("[STATUS] = 200", "[STATUS] = 200", 0),
        ("[STATSU] == 200", "[STATSU]", 0),
        ("200 == [STATSU]", "[STATSU]", 7),
        ("[STATUS].x == 200", ".x", 8),
        ("[BODY].a[x] == ok", "[x]", 8),
        ("size([BODY]) == 2", "size", 0),
        ("[BODY].n > many", "many", 11),
        ("[BODY].n > 48h", "48h", 11),
        ("[DOMAIN_EXPIRATION] > 720h", "[DOMAIN_EXPIRATION]", 0),
        ("[AGE] < 10GB", "10GB", 8),
        ("[VERSION] > new", "new", 12),
        ("[VERSION] == [VERSION]", "[VERSION]", 13),
        ("[BODY].n > 10GiX", "10GiX", 11),
    ] {
        let error = Condition::parse(text).unwrap_err();
        assert_eq!((error.offending.as_str(), error.offset), (offending, offset), "{text}: {error}");
    }
}

/// What one placeholder may be seen as, in the form of the tables of Gatus.
fn seen_as(condition: &str, value: &str) -> Observation {
    let span = |text: &str| text.parse::<muster_types::Span>().unwrap().duration();
    let mut seen = Observation::default();
    match condition.trim_start_matches("len(").trim_start_matches("has(").split(']').next().unwrap() {
        "[STATUS" => seen.status = Some(value.parse().unwrap()),
        "[CONNECTED" => seen.is_connected = value == "true",
        "[RESPONSE_TIME" => seen.response_time = span(value),
        "[IP" => seen.ip = Some(value.to_owned()),
        "[BODY" => seen.body = Some(value.to_owned()),
        "[CERTIFICATE_EXPIRATION" => seen.certificate_ends_at = Some(span(value)),
        "[DNS_RCODE" => seen.rcode = Some(value.to_owned()),
        other => panic!("{other}"),
    }
    seen
}

#[test]
fn the_conditions_that_users_of_gatus_know_mean_the_same_here() {
    for (condition, holding, failing) in [
        ("[STATUS] == 200", "200", "201|404|500"),
        ("[STATUS] < 300", "200|201|299", "301|302"),
        ("[STATUS] <= 299", "200|201|299", "301|302"),
        ("[STATUS] > 400", "401|402|403|404", "400|200"),
        ("[STATUS] == any(200, 429)", "200|429", "201|400"),
        ("[CONNECTED] == true", "true", "false"),
        ("[RESPONSE_TIME] < 500", "100ms|200ms|300ms", "500ms|501ms"),
        ("[IP] == 127.0.0.1", "127.0.0.1", "0.0.0.0"),
        ("[BODY] == 1", "1", "{}|2"),
        ("[BODY].user.name == john", r#"{"user":{"name":"john"}}"#, r#"{"user":{"name":"bob"}}|{}"#),
        ("[BODY].data[0].id == 1", r#"{"data":[{"id":1}]}"#, r#"{"data":[]}|{"data":[{"id":2}]}"#),
        ("[BODY].age == [BODY].id", r#"{"age":1,"id":1}"#, r#"{"age":1,"id":2}|{"age":1}"#),
        ("len([BODY].data) < 5", r#"{"data":[{"id":1}]}"#, r#"{"data":[1,2,3,4,5]}"#),
        ("len([BODY].name) == 8", r#"{"name":"john.doe"}"#, r#"{"name":"bob"}"#),
        ("has([BODY].errors) == false", r#"{"name":"john.doe"}"#, r#"{"errors":[]}"#),
        ("has([BODY].users) == true", r#"{"users":[]}"#, "{}"),
        ("[BODY].name == pat(john*)", r#"{"name":"john.doe"}"#, r#"{"name":"bob"}"#),
        ("[BODY].id == any(1, 2)", r#"{"id":1}|{"id":2}"#, r#"{"id":3}|{"id":4}"#),
        ("[CERTIFICATE_EXPIRATION] > 48h", "49h|50h|123h", "1h|24h"),
        ("[DNS_RCODE] == NOERROR", "NOERROR", "NXDOMAIN|SERVFAIL"),
        ("[IP] == pat(192.168.*)", "192.168.0.232", "10.0.0.1"),
        ("[BODY].ip == any(127.0.0.1, ::1)", r#"{"ip":"::1"}"#, r#"{"ip":"::2"}"#),
    ] {
        let parsed = Condition::parse(condition).unwrap();
        for (values, holds) in [(holding, true), (failing, false)] {
            for value in values.split('|') {
                let result = evaluate(&parsed, &seen_as(condition, value));
                assert_eq!(result.passed, holds, "{condition} with {value}: found {}", result.found);
            }
        }
    }
}

#[test]
fn an_order_of_any_two_numbers_is_the_order_of_the_numbers() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..5_000 {
        let (status, other) = (random.i64(-600..600), random.i64(-600..600));
        let seen =
            Observation { status: Some(status), body: Some(format!("{{\"n\":{status}}}")), ..seen("") };
        for (operator, holds) in [
            ("==", status == other),
            ("!=", status != other),
            ("<", status < other),
            ("<=", status <= other),
            (">", status > other),
            (">=", status >= other),
        ] {
            for text in [
                format!("[STATUS] {operator} {other}"),
                format!("[BODY].n {operator} {other}"),
                format!("[BODY].n {operator} {other}.0"),
            ] {
                let result = evaluate(&Condition::parse(&text).unwrap(), &seen);
                assert_eq!(result.passed, holds, "{text} of {status}");
            }
            // Turned around, `<` becomes `>`, and the rest stays.
            let turned = operator.replace('<', "?").replace('>', "<").replace('?', ">");
            let text = format!("{other} {turned} [STATUS]");
            assert_eq!(evaluate(&Condition::parse(&text).unwrap(), &seen).passed, holds, "{text}");
        }
    }
}

#[test]
fn a_text_of_any_pieces_is_understood_or_refused_with_a_place_in_it() {
    const PIECES: &[&str] = &[
        "[STATUS]",
        "[BODY]",
        "[BODY].a[0]",
        "[BODY][\"k\"]",
        "[AGE]",
        "[VERSION]",
        "[DNS_RCODE]",
        "[",
        "]",
        "(",
        ")",
        "len(",
        "has(",
        "pat(",
        "any(",
        " == ",
        " != ",
        " < ",
        " >= ",
        "==",
        "200",
        "48h",
        "10GB",
        "\"",
        "ä",
        " ",
        ".",
        ",",
        "null",
        "true",
        "-1e9",
        "*",
    ];
    let mut random = fastrand::Rng::with_seed(5);
    let mut understood = 0;
    for _ in 0..100_000 {
        let count = random.usize(0..8);
        let text: String = (0..count).map(|_| PIECES[random.usize(..PIECES.len())]).collect();
        match Condition::parse(&text) {
            Ok(condition) => {
                understood += 1;
                let once = evaluate(&condition, &seen(BODY));
                assert_eq!(
                    once,
                    evaluate(&Condition::parse(&condition.text).unwrap(), &seen(BODY)),
                    "{text}"
                );
                // What is not there never holds, whatever the operator is; only `has()` may ask.
                let blind = evaluate(&condition, &Observation::default());
                assert!(!blind.passed || text.contains("has(") || !text.contains("[BODY]"), "{text}");
            }
            Err(error) => {
                assert!(text.is_char_boundary(error.offset), "{text}: {error:?}");
                assert!(
                    text[error.offset..].trim_start().starts_with(error.offending.trim()),
                    "{text}: {error:?}"
                );
                assert!(!error.hint.is_empty() && !error.message.is_empty());
            }
        }
    }
    assert!(understood > 300, "only {understood} were understood");
}
