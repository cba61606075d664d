//! What the types cannot say: names that must exist, times, places inside places; and what is only a warning.

use muster_cli::config::Severity;

use super::{DATABASE, HEAD, at, shows, shows_only, surroundings::Surroundings, whole};

#[test]
fn a_configuration_without_a_repository_is_refused() {
    let text = format!("platform: agents\nobjectives: {{rto: 1h, rpo: 1d}}\n{DATABASE}");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:1:1",
        "platform",
        "there is no `repository`",
        "add `repository: {location:",
    );
}

#[test]
fn names_that_do_not_exist_are_refused() {
    let service = "services:\n  api:\n    systemd: {unit: api.service}\n    uses: [databas]\n    ready: up\n";
    let error = whole(service).refused();
    shows(
        &error,
        "muster.yaml:12:12",
        "databas",
        "there is no component `databas`",
        "did you mean `database`?",
    );
    shows(&error, "muster.yaml:13:12", "up", "there is no check `up`", "define it under `checks`");
    assert_eq!(error.findings.len(), 2);
}

#[test]
fn a_check_asks_a_component_that_exists_and_is_of_its_kind() {
    let checks = "checks:\n  cache: {redis: databas}\n  rows: {sql: {component: databas, query: select 1}, conditions: [\"[BODY] == 1\"]}\n  \
        seal: {vault: database}\n";
    let error = whole(checks).refused();
    shows(
        &error,
        "muster.yaml:10:18",
        "databas",
        "there is no component `databas`",
        "did you mean `database`?",
    );
    shows(
        &error,
        "muster.yaml:11:27",
        "databas",
        "there is no component `databas`",
        "did you mean `database`?",
    );
    shows(&error, "muster.yaml:12:17", "database", "is of kind `sqlite`", "name a component of kind `vault`");
    assert_eq!(error.findings.len(), 3);
}

#[test]
fn services_that_depend_on_each_other_in_a_circle_are_refused() {
    let circle = "services:\n  api: {systemd: {unit: a}, depends_on: [web]}\n  web: {systemd: {unit: b}, depends_on: [api]}\n";
    shows_only(
        &whole(circle).refused(),
        "muster.yaml:10:29",
        "depends_on",
        "service `api` depends on itself",
        "take one of the names out",
    );
    let absent = "services:\n  api: {systemd: {unit: a}, depends_on: [wb]}\n  web: {systemd: {unit: b}}\n";
    shows_only(
        &whole(absent).refused(),
        "muster.yaml:10:42",
        "wb",
        "there is no service `wb`",
        "did you mean `web`?",
    );
}

#[test]
fn a_name_with_other_characters_is_refused() {
    let error = whole("  \"../etc\": {kind: files, paths: [/srv/u], backup: {every: 1h}}\n").refused();
    shows_only(&error, "muster.yaml:9:3", "\"../etc\"", "cannot name a component", "letters, digits");
}

#[test]
fn a_service_runs_in_exactly_one_way() {
    let error = whole("services:\n  api: {uses: [database]}\n").refused();
    shows_only(
        &error,
        "muster.yaml:10:3",
        "api",
        "does not say how it runs",
        "one of `compose`, `systemd`, `kubernetes`, `command`",
    );
    let two = "services:\n  api: {systemd: {unit: a}, compose: {file: c.yml, service: a}}\n";
    shows_only(
        &whole(two).refused(),
        "muster.yaml:10:29",
        "compose",
        "more than one way",
        "keep one of them",
    );
}

#[test]
fn a_command_service_needs_its_commands() {
    let error = whole("services:\n  api: {command: {start: [], stop: [a], status: [b]}}\n").refused();
    shows_only(
        &error,
        "muster.yaml:10:19",
        "start",
        "`start` of service `api` is empty",
        "start: [program, argument]",
    );
}

#[test]
fn a_condition_that_cannot_be_meant_is_shown_where_it_stands() {
    let error =
        whole("checks:\n  up:\n    tcp: localhost:80\n    conditions: [\"[STATUS] == 200\"]\n").refused();
    shows_only(&error, "muster.yaml:12:19", "[STATUS]", "a tcp check has no [STATUS]", "[CONNECTED]");
}

#[test]
fn a_check_without_a_target_is_shown() {
    shows_only(
        &whole("checks:\n  up: {tags: [quick]}\n").refused(),
        "muster.yaml:10:3",
        "up",
        "check `up`: nothing is looked at",
        "give one of",
    );
}

#[test]
fn times_of_backups_are_judged() {
    let text = format!("{HEAD}{DATABASE}").replace("{every: 1h}", "{every: 0s, at: \"25:00Z\"}");
    let error = Surroundings::one(&text).refused();
    shows(&error, "muster.yaml:8:21", "0s", "`every: 0s`", "write `every: 1h`");
    shows(&error, "muster.yaml:8:29", "\"25:00Z\"", "has no time of day in `25:00z`", "daily 02:00Z");
    let text = text.replace("every: 0s, at: \"25:00Z\"", "at: \"02:00\"");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:8:18",
        "\"02:00\"",
        "does not say on which days",
        "daily 02:00",
    );
}

#[test]
fn a_rule_that_is_no_rule_is_shown_with_what_to_write() {
    let broken = |rule: &str| {
        let text = format!("{HEAD}{DATABASE}").replace("{every: 1h}", &format!("{{at: \"{rule}\"}}"));
        Surroundings::one(&text).refused()
    };
    for (rule, message) in [
        ("sometimes 02:00", "is no rule for a schedule"),
        ("fifth monday of month 09:00", "names a day that some periods do not have"),
        ("sunday", "has no time of day"),
        ("cron 0 2 * *", "has 4 fields, not five"),
        ("cron 0 0 31 2 *", "never comes"),
    ] {
        shows_only(&broken(rule), "muster.yaml:8:18", &format!("\"{rule}\""), message, "write ");
    }
}

#[test]
fn a_rule_must_keep_what_every_promises_beside_it() {
    let text = format!("{HEAD}{DATABASE}").replace("{every: 1h}", "{every: 1d, at: \"weekdays 02:00\"}");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:8:21",
        "1d",
        "lets 3d lie between two backups, and `every` promises 1d",
        "leave `every` out",
    );
    let kept = text.replace("weekdays 02:00", "daily 02:00");
    Surroundings::one(&kept).load().unwrap();
}

#[test]
fn schedules_of_the_platform_are_judged() {
    let cases = [
        ("timezone: Europe/Atlantis\n", "is not known on this host", "Europe/Berlin"),
        ("schedules: {verify: {read_data: 10%}}\n", "`verify` does not say when", "write `every: 6h`"),
        ("schedules: {prune: {every: 1d, at: \"daily 02:00\"}}\n", "has both `every` and `at`", "keep one"),
        ("schedules: {prune: {every: 0s}}\n", "is no distance between two runs", "write `every: 1d`"),
        ("schedules: {copy: {every: 1h}}\n", "the repository has no copies", "copies:"),
        ("schedules: {at_once: 0}\n", "lets nothing run", "at_once: 2"),
        ("schedules: {verify: {every: 1d, read_data: much}}\n", "is not a part of the data", "write `100%`"),
    ];
    for (text, message, hint) in cases {
        let error = whole(text).refused();
        let finding = error.findings.iter().find(|finding| finding.message.contains(message));
        let finding = finding.unwrap_or_else(|| panic!("{text}: {error:?}"));
        assert!(finding.place.as_ref().is_some_and(|place| place.line == 9), "{text}: {finding:?}");
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {finding:?}");
    }
    let fine = "timezone: Europe/Berlin\nschedules:\n  verify: {at: \"sunday 03:00\", read_data: 10%}\n  \
                prune: {at: \"daily 05:00\"}\n  check: {every: 5m, tag: quick}\n  prove: {at: \"first monday of quarter 09:00\"}\n";
    whole(fine).load().unwrap();
}

#[test]
fn a_retention_that_keeps_nothing_is_refused() {
    let text = format!("{HEAD}{DATABASE}").replace("{every: 1h}", "{every: 1h, keep: {last: 0}}");
    shows_only(
        &Surroundings::one(&text).refused(),
        "muster.yaml:8:25",
        "keep",
        "keeps nothing",
        "keep: {daily: 7",
    );
}

#[test]
fn paths_that_mean_something_else_are_refused() {
    let text = format!("{HEAD}{DATABASE}");
    let error = Surroundings::one(&text.replace("data/app.db", "~/app.db")).refused();
    shows_only(&error, "muster.yaml:7:11", "~/app.db", "is not a path for Muster", "from `/`");
    let error = Surroundings::one(&text.replace("data/app.db", "\"\"")).refused();
    shows_only(&error, "muster.yaml:7:11", "\"\"", "has an empty path", "write `path: ");
}

#[test]
fn assertions_fit_the_kind_of_their_component() {
    let error = whole("    prove: {assert: [{path: index.html}, {expect: \">= 1\"}]}\n").refused();
    shows(&error, "muster.yaml:9:23", "path", "an assertion about `sqlite` has no `path`", "{sql: ");
    shows(&error, "muster.yaml:9:42", "{", "has no `sql`", "{sql: ");
    assert_eq!(error.findings.len(), 2);
}

// Warnings.

#[test]
fn an_rpo_shorter_than_the_distance_of_backups_is_a_warning() {
    let loaded =
        whole("    objectives: {rpo: 5m}\n    classes: [{name: audit, rpo: 30m}, {name: rest, rpo: 1h}]\n")
            .load()
            .unwrap();
    let shown: Vec<_> =
        loaded.warnings.iter().map(|finding| (at(finding), finding.message.as_str())).collect();
    let expected = [
        (
            "muster.yaml:9:23".to_owned(),
            "the rpo of component `database` is 5m, but a backup is made every 1h only",
        ),
        (
            "muster.yaml:10:34".to_owned(),
            "the rpo of class `audit` of component `database` is 30m, but a backup is made every 1h only",
        ),
    ];
    assert_eq!(shown, expected);
    assert!(loaded.warnings.iter().all(|finding| finding.severity == Severity::Warning));
}

#[test]
fn an_inherited_rpo_is_compared_with_a_daily_backup() {
    let text =
        format!("{HEAD}{DATABASE}").replace("rpo: 1d", "rpo: 5m").replace("every: 1h", "at: \"02:00Z\"");
    let loaded = Surroundings::one(&text).load().unwrap();
    assert_eq!(at(&loaded.warnings[0]), "muster.yaml:2:28");
    assert_eq!(
        loaded.warnings[0].message,
        "the rpo of component `database` is 5m, but a backup is made every 1d only"
    );
}

#[test]
fn a_component_that_is_never_backed_up_is_a_warning() {
    let text = format!("{HEAD}{DATABASE}").replace("    backup: {every: 1h}\n", "");
    let loaded = Surroundings::one(&text).load().unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(loaded.warnings[0].message, "component `database` does not say when it is backed up");
    assert_eq!(at(&loaded.warnings[0]), "muster.yaml:5:3");
}

#[test]
fn a_place_inside_the_place_of_another_component_is_refused() {
    let error = whole("  all:\n    kind: files\n    paths: [/srv/other, ./data]\n    backup: {every: 1h}\n")
        .refused();
    let message = "component `database` lies inside `/srv/app/data` of component `all`";
    shows_only(&error, "muster.yaml:11:25", "./data", message, "move it out");
}

#[test]
fn state_and_repository_lie_inside_no_component() {
    let error =
        whole("  all:\n    kind: files\n    paths: [/var/backups/x/.., .]\n    backup: {every: 1h}\n")
            .refused();
    let messages: Vec<&str> = error.findings.iter().map(|finding| finding.message.as_str()).collect();
    let expected = [
        "the repository lies inside `/var/backups` of component `all`",
        "the state of Muster lies inside `/srv/app` of component `all`",
        "component `database` lies inside `/srv/app` of component `all`",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn two_components_at_one_place_are_one_fault() {
    let error =
        whole("  again:\n    kind: sqlite\n    path: ./data/app.db\n    backup: {every: 1h}\n").refused();
    let message = "component `again` is also `/srv/app/data/app.db` of component `database`";
    assert_eq!(error.findings.len(), 1, "{error}");
    assert_eq!(error.findings[0].message, message);
}

#[test]
fn a_neighbour_with_a_longer_name_is_not_inside() {
    whole("  more: {kind: files, paths: [data/app.db-old, data2], backup: {every: 1h}}\n").load().unwrap();
}

#[test]
fn a_disposable_cache_promises_nothing_and_what_empties_it_is_named_whole() {
    let cache = |keys: &str| {
        whole(&format!("  cache: {{kind: redis, url: \"redis://cache/\", disposable: true{keys}}}\n"))
    };
    let loaded = cache(", warm: {http: \"POST http://api/warm\", window: 1m}").load().unwrap();
    assert!(loaded.platform.components["cache"].is_disposable());
    for (keys, said) in [
        (", backup: {every: 1h}", "component `cache` is disposable and has `backup`"),
        (", objectives: {rpo: 1h}", "component `cache` is disposable and has `objectives`"),
        (", data_dir: /srv/cache", "has `data_dir` without `service`"),
        (", data_dir: /srv/cache, service: nobody", "names the service `nobody`, which is not there"),
        (", warm: {http: \"POST somewhere\"}", "`warm` of component `cache`"),
    ] {
        let error = cache(keys).refused().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn a_redis_component_has_a_url_expected_settings_and_no_keys_of_other_kinds() {
    let redis = |keys: &str| whole(&format!("  cache: {{kind: redis, backup: {{every: 1h}}{keys}}}\n"));
    let error = redis("").refused();
    assert!(error.to_string().contains("component `cache` has no `url`"), "{error}");
    let error = redis(", url: \"redis://cache/\", method: logical").refused();
    assert!(error.to_string().contains("`method` does not belong to kind `redis`"), "{error}");
    let error = redis(", url: \"redis://cache/\", data_dir: /srv").refused();
    assert!(
        error.to_string().contains("`data_dir` of component `cache` belongs to a disposable cache"),
        "{error}"
    );
    let error = redis(", url: \"redis://u:geheim@cache/\"").refused();
    assert!(error.to_string().contains("stands here in clear text"), "{error}");
    assert!(!error.to_string().contains("geheim"), "{error}");
    let error = redis(", url: \"redis://cache/\", prove: {assert: [{sql: select 1}]}").refused();
    assert!(error.to_string().contains("an assertion about `redis` has no `sql`"), "{error}");
    let error =
        whole("  more: {kind: files, paths: [/srv/u], backup: {every: 1h}, expect: {a: b}}\n").refused();
    assert!(error.to_string().contains("`expect` does not belong to kind `files`"), "{error}");
    let loaded = redis(
        ", url: \"redis://cache/\", expect: {appendonly: yes, auto-aof-rewrite-percentage: 100, auto-aof-rewrite-min-size: 64mb}, \
         prove: {assert: [{redis: EXISTS users, expect: \"1\"}]}",
    )
    .load()
    .unwrap();
    let muster_types::config::Component::Redis(cache) = &loaded.platform.components["cache"] else {
        panic!("another kind")
    };
    let settings: Vec<(&str, &str)> =
        cache.expect.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        settings,
        [
            ("appendonly", "yes"),
            ("auto-aof-rewrite-min-size", "64mb"),
            ("auto-aof-rewrite-percentage", "100"),
        ]
    );
}
