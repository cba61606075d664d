//! Tables of times: changed clocks, short months, quarters; and what is due, missed, overdue.

use jiff::tz::TimeZone;
use muster_types::Timestamp;

use super::{
    Calendar, Due, End, Missed, Past, Reason, Retries, Standing, due, longest_gap, next_after, standing,
    times,
};

fn calendar(rule: &str, zone: &str) -> Calendar {
    Calendar { rule: rule.parse().unwrap(), zone: TimeZone::get(zone).unwrap() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next times, as a clock in the zone and UTC show them.
fn next(rule: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let calendar = calendar(rule, zone);
    times(&calendar, at(after)).take(count).map(|time| time.strftime("%Y-%m-%dT%H:%MZ").to_string()).collect()
}

// proves: B14
#[test]
fn the_next_times_are_right_where_clocks_change_and_months_end() {
    let cases: &[(&str, &str, &str, &[&str])] = &[
        (
            "every 5m",
            "UTC",
            "2026-12-31T23:53:10Z",
            &["2026-12-31T23:55Z", "2027-01-01T00:00Z", "2027-01-01T00:05Z"],
        ),
        ("hourly", "UTC", "2026-05-01T10:00:00Z", &["2026-05-01T11:00Z", "2026-05-01T12:00Z"]),
        ("every 6h", "UTC", "2026-02-28T18:00:00Z", &["2026-03-01T00:00Z", "2026-03-01T06:00Z"]),
        // Clocks are changed in Berlin in this night; real time is not.
        ("every 6h", "Europe/Berlin", "2026-03-29T00:00:01Z", &["2026-03-29T06:00Z", "2026-03-29T12:00Z"]),
        ("daily 02:00", "UTC", "2026-03-28T02:00:00Z", &["2026-03-29T02:00Z", "2026-03-30T02:00Z"]),
        // 02:30 is left out on the 29th: the clock jumps to 03:00, and it comes at 03:30, which is 01:30 UTC.
        (
            "daily 02:30",
            "Europe/Berlin",
            "2026-03-27T12:00:00Z",
            &["2026-03-28T01:30Z", "2026-03-29T01:30Z", "2026-03-30T00:30Z"],
        ),
        // 02:30 comes twice on the 25th: only the first one, 00:30 UTC, is meant.
        ("daily 02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30Z", "2026-10-26T01:30Z"]),
        // The same in UTC knows no change.
        (
            "daily 02:30Z",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            &["2026-10-25T02:30Z", "2026-10-26T02:30Z"],
        ),
        // Midnight is left out in Cairo on 24 April 2026; the day begins at 01:00, 22:00 UTC of the day before.
        ("daily 00:00", "Africa/Cairo", "2026-04-23T12:00:00Z", &["2026-04-23T22:00Z", "2026-04-24T21:00Z"]),
        ("sunday 03:00", "UTC", "2026-11-22T03:00:00Z", &["2026-11-29T03:00Z", "2026-12-06T03:00Z"]),
        (
            "1st of month 04:00",
            "UTC",
            "2026-12-31T12:00:00Z",
            &["2027-01-01T04:00Z", "2027-02-01T04:00Z", "2027-03-01T04:00Z"],
        ),
        // A month without a 31st has its last day.
        (
            "31st of month 04:00",
            "UTC",
            "2027-12-31T12:00:00Z",
            &["2028-01-31T04:00Z", "2028-02-29T04:00Z", "2028-03-31T04:00Z", "2028-04-30T04:00Z"],
        ),
        (
            "last day of month 23:59",
            "UTC",
            "2027-02-01T00:00:00Z",
            &["2027-02-28T23:59Z", "2027-03-31T23:59Z"],
        ),
        (
            "last friday of month 18:00",
            "UTC",
            "2026-11-01T00:00:00Z",
            &["2026-11-27T18:00Z", "2026-12-25T18:00Z"],
        ),
        ("1st of july 00:00", "UTC", "2026-07-01T00:00:00Z", &["2027-07-01T00:00Z", "2028-07-01T00:00Z"]),
        ("cron 0 2 * * 1-5", "UTC", "2026-11-20T02:00:00Z", &["2026-11-23T02:00Z", "2026-11-24T02:00Z"]),
        ("cron 0 0 29 2 *", "UTC", "2028-03-01T00:00:00Z", &["2032-02-29T00:00Z"]),
        // Either day, as cron has it.
        ("cron 0 0 13 * 5", "UTC", "2026-11-11T00:00:00Z", &["2026-11-13T00:00Z", "2026-11-20T00:00Z"]),
        // What repeats neither stops in the hour that comes twice nor comes in the one that is left out.
        (
            "cron */30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:00:00Z",
            &["2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"],
        ),
        (
            "cron */30 * * * *",
            "Europe/Berlin",
            "2026-03-29T00:30:00Z",
            &["2026-03-29T01:00Z", "2026-03-29T01:30Z"],
        ),
    ];
    for (rule, zone, after, expected) in cases {
        assert_eq!(next(rule, zone, after, expected.len()), *expected, "{rule} in {zone} after {after}");
    }
}

// proves: G3
#[test]
fn the_first_monday_of_each_quarter_of_2027_is_found() {
    let expected = ["2027-01-04T09:00Z", "2027-04-05T09:00Z", "2027-07-05T09:00Z", "2027-10-04T09:00Z"];
    assert_eq!(next("first monday of quarter 09:00", "UTC", "2027-01-01T00:00:00Z", 4), expected);
    // The year after begins with a first Monday of its own.
    assert_eq!(
        next("first monday of quarter 09:00", "UTC", "2027-10-04T09:00:00Z", 1),
        ["2028-01-03T09:00Z"]
    );
}

#[test]
fn times_rise_and_a_day_of_a_changed_clock_has_each_time_once() {
    let rules = [
        "daily 00:00, 02:30, 23:59",
        "weekdays 02:15",
        "30th of month 02:30",
        "cron 30 2 * * *",
        "last sunday of month 02:30",
        "1st of quarter 00:30",
        "cron */7 1-3 * * *",
    ];
    for zone in
        ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/St_Johns", "Africa/Cairo"]
    {
        for rule in rules {
            let calendar = calendar(rule, zone);
            let all: Vec<Timestamp> = times(&calendar, at("2026-01-01T00:00:00Z")).take(400).collect();
            assert_eq!(all.len(), 400, "{rule} in {zone}");
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{rule} in {zone}");
            // Asked from any moment before a time, that time is the next.
            for pair in all.windows(2).take(50) {
                let between = pair[1].checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
                assert_eq!(next_after(&calendar, between), Some(pair[1]), "{rule} in {zone}");
            }
        }
        let days = times(&calendar("daily 02:30", zone), at("2026-01-01T12:00:00Z"))
            .take_while(|time| *time < at("2027-01-01T12:00:00Z"))
            .count();
        assert_eq!(days, 365, "{zone}");
    }
}

#[test]
fn the_longest_distance_is_what_an_rpo_can_be_at_best() {
    let gap = |rule: &str| longest_gap(&calendar(rule, "Europe/Berlin"), at("2026-01-01T00:00:00Z")).unwrap();
    for (rule, expected) in [
        ("every 90m", "1h30m"),
        ("daily 02:30", "1d"),
        ("daily 08:00, 20:00", "12h"),
        ("sunday 03:00", "7d"),
        ("weekdays 02:00", "3d"),
        ("1st of month 04:00", "31d"),
        ("cron 0 */4 * * *", "4h"),
    ] {
        assert_eq!(gap(rule).to_string(), expected, "{rule}");
    }
}

fn past(begun: Option<&str>, end: Option<End>, tries: u32) -> Past {
    let begun = begun.map(at);
    let done = begun.filter(|_| end == Some(End::Done));
    let ended = begun.zip(end).map(|(begun, end)| (begun + jiff::SignedDuration::from_mins(1), end));
    Past { since: at("2026-05-01T00:00:00Z"), begun, ended, done, tries }
}

#[test]
fn a_missed_run_is_due_once_and_told() {
    let daily = calendar("daily 02:00", "UTC");
    let ran = past(Some("2026-05-01T02:00:01Z"), Some(End::Done), 1);
    // In time: nothing is missed.
    let on_time = due(&daily, &ran, Retries::Few, at("2026-05-02T02:00:00Z"));
    assert_eq!(on_time, Due::Now { reason: Reason::Time, missed: None });
    assert_eq!(
        due(&daily, &ran, Retries::Few, at("2026-05-02T01:59:59Z")),
        Due::At(Some(at("2026-05-02T02:00:00Z")))
    );
    // The host was off for three days: one run, and it says which were missed.
    let missed = Missed { count: 3, first: at("2026-05-02T02:00:00Z"), last: at("2026-05-04T02:00:00Z") };
    let now = at("2026-05-04T09:00:00Z");
    assert_eq!(due(&daily, &ran, Retries::Few, now), Due::Now { reason: Reason::Time, missed: Some(missed) });
    // It has run: the next one is that of the next day.
    let caught_up = past(Some("2026-05-04T09:00:00Z"), Some(End::Done), 1);
    assert_eq!(due(&daily, &caught_up, Retries::Few, now), Due::At(Some(at("2026-05-05T02:00:00Z"))));
    // A clock that is set back a little makes nothing due twice.
    let earlier = at("2026-05-04T08:30:00Z");
    assert_eq!(due(&daily, &caught_up, Retries::Few, earlier), Due::At(Some(at("2026-05-05T02:00:00Z"))));
    // One that was ten years ahead and is mended must not keep the job from being done for ten years.
    let ahead = past(Some("2036-05-04T09:00:00Z"), Some(End::Done), 1);
    assert_eq!(due(&daily, &ahead, Retries::Few, now), Due::Now { reason: Reason::Time, missed: None });
}

#[test]
fn what_has_never_run_waits_for_its_time_of_day_but_not_for_a_distance() {
    let never = past(None, None, 0);
    let now = at("2026-05-01T10:00:00Z");
    let first = Due::Now { reason: Reason::First, missed: None };
    assert_eq!(due(&calendar("every 6h", "UTC"), &never, Retries::Few, now), first);
    let early = Past { since: now, ..never };
    let daily = calendar("daily 02:00", "UTC");
    assert_eq!(due(&daily, &early, Retries::Few, now), Due::At(Some(at("2026-05-02T02:00:00Z"))));
    assert!(matches!(due(&daily, &early, Retries::Few, at("2026-05-02T02:00:00Z")), Due::Now { .. }));
}

#[test]
fn what_failed_is_tried_twice_more_and_what_was_interrupted_at_once() {
    let daily = calendar("daily 02:00", "UTC");
    let ask = |end, tries, retries, now: &str| {
        due(&daily, &past(Some("2026-05-01T02:00:00Z"), Some(end), tries), retries, at(now))
    };
    let again = Due::Now { reason: Reason::Again, missed: None };
    let tomorrow = Due::At(Some(at("2026-05-02T02:00:00Z")));
    assert_eq!(
        ask(End::Failed, 1, Retries::Few, "2026-05-01T02:03:00Z"),
        Due::At(Some(at("2026-05-01T02:06:00Z")))
    );
    assert_eq!(ask(End::Failed, 1, Retries::Few, "2026-05-01T02:06:00Z"), again);
    assert_eq!(ask(End::Failed, 3, Retries::Few, "2026-05-01T12:00:00Z"), tomorrow);
    assert_eq!(ask(End::Failed, 1, Retries::None, "2026-05-01T12:00:00Z"), tomorrow);
    assert_eq!(ask(End::Interrupted, 1, Retries::None, "2026-05-01T02:01:00Z"), again);
    assert_eq!(ask(End::Interrupted, 3, Retries::None, "2026-05-01T02:01:00Z"), tomorrow);
    assert_eq!(ask(End::Locked, 20, Retries::None, "2026-05-01T02:06:00Z"), again);
}

#[test]
fn a_job_is_overdue_when_its_time_has_passed_by_its_distance_and_well_when_it_was_done() {
    let often = calendar("every 5m", "UTC");
    let ran = past(Some("2026-05-01T10:00:01Z"), Some(End::Done), 1);
    let overdue = Standing::Overdue { since: at("2026-05-01T10:05:00Z") };
    assert_eq!(standing(&often, &ran, at("2026-05-01T10:04:00Z")), Some(Standing::Well));
    assert_eq!(standing(&often, &ran, at("2026-05-01T10:09:00Z")), None);
    assert_eq!(standing(&often, &ran, at("2026-05-01T10:10:01Z")), Some(overdue));
    // While it runs it has an hour.
    let runs = Past { begun: Some(at("2026-05-01T10:05:00Z")), ended: None, ..ran.clone() };
    assert_eq!(standing(&often, &runs, at("2026-05-01T11:04:00Z")), None);
    assert_eq!(standing(&often, &runs, at("2026-05-01T11:06:00Z")), Some(overdue));
    let daily = calendar("daily 02:00", "UTC");
    let ran = past(Some("2026-05-01T02:00:01Z"), Some(End::Done), 1);
    assert_eq!(standing(&daily, &ran, at("2026-05-02T02:59:00Z")), None);
    assert!(matches!(standing(&daily, &ran, at("2026-05-02T03:00:01Z")), Some(Standing::Overdue { .. })));
    let failed = past(Some("2026-05-02T02:00:01Z"), Some(End::Failed), 1);
    assert_eq!(standing(&daily, &failed, at("2026-05-02T02:05:00Z")), Some(Standing::Failed));
}
