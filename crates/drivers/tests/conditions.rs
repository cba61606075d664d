//! The condition grammar as tables: what holds, what does not, and what is refused.

use std::time::Duration;

use muster_drivers::checks::{Condition, Observation, evaluate};

const BODY: &str = r#"{"db":"ok","n":3,"ratio":1.0,"none":null,"version":"1.10","list":[1,2,3],
  "nested":{"a":[{"b":"x"}]},"a.b":"dotted","empty":""}"#;

fn seen(body: &str) -> Observation {
    let response_time = Duration::from_millis(120);
    let ip = Some("10.0.0.7".to_owned());
    Observation { status: Some(200), body: Some(body.to_owned()), response_time, is_connected: true, ip }
}

#[test]
fn these_conditions_hold() {
    let all = "[STATUS] == 200|200 == [STATUS]|[STATUS] < 300|[STATUS] == any(200, 204)|[STATUS] != 500\
        |[RESPONSE_TIME] < 500|[RESPONSE_TIME] <= 120ms|[CONNECTED] == true|[IP] == pat(10.*)\
        |[BODY].db == ok|[BODY].db == \"ok\"|[BODY].db != down|[BODY].n >= 3|[BODY].ratio == 1\
        |[BODY].none == null|[BODY].version != 1.1|[BODY].list[2] == 3|[BODY].nested.a[0].b == x\
        |[BODY][\"a.b\"] == dotted|len([BODY].list) == 3|len([BODY].db) == 2|has([BODY].db) == true\
        |has([BODY].gone) == false|[BODY].empty == \"\"|[BODY].db == pat(o?)|[BODY].list[0] < [BODY].n";
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
        ("[CERTIFICATE_EXPIRATION] > 48h", "[CERTIFICATE_EXPIRATION]", 0),
    ] {
        let error = Condition::parse(text).unwrap_err();
        assert_eq!((error.offending.as_str(), error.offset), (offending, offset), "{text}: {error}");
    }
}
