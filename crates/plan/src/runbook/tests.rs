//! The format: what loads and what it becomes, and each fault with its place.

use super::*;

const WHOLE: &str = r#"---
title: Database lost
severity: P1
rto: 1h
symptoms: [ready]
review: 2027-01-31
---
Words before the first heading.

## Stop the writers

```muster
stop: api
```

## Restore

Pick the last moment before it happened.

```muster
id: when
ask: restore to which time?
```
```muster
restore: {component: database, to: "{{ answers.when }}"}
```
1. Rebuild the index:
   ```bash {name=reindex, class=idempotent, timeout=10m, retry=2, cwd=/srv, env="A=1 B=2"}
   psql -c 'REINDEX DATABASE app'
   ```
- [ ] Owner told what is lost (role: commander)

```yaml
shown: only
```

## Verify

```muster
- check: [ready, live]
- watch: {for: 30m, checks: [ready]}
- if: {check: ready, then: [{notify: {to: [oncall], message: done}}], else: [{run: other.md}]}
```
"#;

fn faults(text: &str) -> Vec<(usize, usize, String)> {
    let error = load(text.as_bytes()).unwrap_err();
    error.faults.into_iter().map(|one| (one.line, one.column, one.message)).collect()
}

fn with(step: &str) -> String {
    format!("---\ntitle: x\n---\n{step}\n")
}

#[test]
fn a_runbook_becomes_phases_with_prose_and_steps() {
    let runbook = load(WHOLE.as_bytes()).unwrap();
    assert_eq!(runbook.front.rto, Some("1h".parse().unwrap()));
    let steps: Vec<_> = runbook.steps().map(|one| (one.id.as_str(), one.line, one.class)).collect();
    assert_eq!(
        steps,
        [
            ("stop-the-writers-1", 13, Class::Idempotent),
            ("when", 21, Class::Observe),
            ("restore-2", 25, Class::Destructive),
            ("reindex", 28, Class::Idempotent),
            ("restore-4", 31, Class::Observe),
            ("verify-1", 40, Class::Observe),
            ("verify-2", 41, Class::Observe),
            ("verify-3", 42, Class::Observe)
        ]
    );
    let reindex = runbook.steps().nth(3).unwrap();
    assert_eq!((reindex.retry, reindex.timeout), (2, Some("10m".parse().unwrap())));
    let Action::Command { cwd, env, text, .. } = &reindex.action else { panic!("{reindex:?}") };
    assert_eq!(
        (cwd.as_deref(), env.len(), text.as_str()),
        (Some("/srv"), 2, "psql -c 'REINDEX DATABASE app'")
    );
    let told = runbook.steps().nth(4).unwrap();
    assert_eq!((told.role.as_deref(), told.title.as_str()), (Some("commander"), "Owner told what is lost"));
    assert!(reindex.when.is_empty());
    assert_eq!(runbook.runs(), [("other.md".to_owned(), 42)]);
    let prose = runbook
        .phases
        .iter()
        .flat_map(|phase| &phase.items)
        .filter(|item| matches!(item, Item::Prose { .. }))
        .count();
    assert_eq!(prose, 4, "the words, the moment, the item around the fence, the settings");
}

#[test]
fn every_native_step_is_read() {
    let steps = [
        "check: a",
        "wait: 5m",
        "wait: {checks: [a], for: 1m}",
        "watch: {for: 30m}",
        "backup: [a, b]",
        "backup: {components: [a], label: x}",
        "restore: {component: a, tables: [t]}",
        "rescue: {component: a, table: t, from: latest}",
        "failover: a",
        "repair: {component: a, reindex: [i], analyze: true}",
        "quarantine: {component: a, table: t, where: 'id = 3', move: true, expect: 1}",
        "quarantine: {component: a, undo: 20260501T100000Z-abcd}",
        "prove: [a, b]",
        "copy: {copies: [offsite], verify: true}",
        "block: 203.0.113.7",
        "block: {addresses: [203.0.113.0/24], except: [203.0.113.9], revert_after: 10m, fails: [a], passes: [b]}",
        "isolate: {except: [192.0.2.0/24], ports: [443]}",
        "unblock: {step: cut, run: 20260501T100000Z-abcd}",
        "log_level: a",
        "log_level: {component: a, level: mod}",
        "investigate: a",
        "investigate: {git: /srv/app, since: 7 days ago, files: [/var/log/auth.log]}",
        "rotate: [key]",
        "stop: a",
        "start: [a, b]",
        "restart: {services: [a]}",
        "scale: {service: a, replicas: 3}",
        "rollback: a",
        "logs: {services: [a], since: 1h, to: out}",
        "exec: ls -l",
        "http: GET https://a/b",
        "http: {url: https://a, method: PUT, headers: {A: b}, expect: ['[STATUS] == 200']}",
        "sql: {component: a, query: select 1, expect: '1'}",
        "redis: {component: a, command: PING}",
        "notify: {to: oncall, message: hi}",
        "ask: what?",
        "confirm: sure?",
        "choose: {question: which?, options: [a, b]}",
        "parallel: [{stop: a}, {stop: b}]",
        "if: {check: a, then: [{stop: b}]}",
        "run: b.md",
    ];
    for step in steps {
        let loaded = load(with(&format!("```muster\n{step}\n```")).as_bytes());
        assert_eq!(loaded.map(|one| one.steps().count()).map_err(|error| error.to_string()), Ok(1), "{step}");
    }
}

#[test]
fn each_fault_is_named_with_line_and_column() {
    for (step, expected) in [
        ("```muster\nstop: api\ntimeuot: 5m\n```", (6, 1, "a `stop` step has no key `timeuot`")),
        ("```muster\nrestore: {component: a, form: x}\n```", (5, 25, "a `restore` step has no key `form`")),
        ("```muster\nrestrat: api\n```", (5, 1, "there is no step `restrat`")),
        ("```muster\nstop: a\nstart: b\n```", (5, 1, "one step does several things: stop, start")),
        ("```muster\nwait: {for: 15}\n```", (5, 13, "`for`: `15` has no unit: write `15s`, `15m` or `15h`")),
        ("```muster\nstop: [a\n```", (5, 7, "this is not YAML")),
        ("```muster\n```", (5, 1, "this `muster` fence is empty")),
        ("```bash {nmae=x}\nls\n```", (4, 10, "a command has no attribute `nmae`")),
        ("```bash {class=big}\nls\n```", (4, 10, "`big` is no class")),
        ("```bash {name=x\nls\n```", (4, 4, "the closing `}` is missing")),
        (
            "```bash\nrm -rf /srv/x\n```",
            (
                4,
                4,
                "`rm -rf /srv/x` is destructive (it removes or replaces something) and does not say `on_ambiguous`",
            ),
        ),
        (
            "```bash {class=destructive}\nls\n```",
            (4, 4, "`ls` is destructive and does not say `on_ambiguous`"),
        ),
        (
            "```bash {class=destructive, on_ambiguous=probe}\nls\n```",
            (4, 4, "`on_ambiguous` is `probe`, and there is no `probe`"),
        ),
        (
            "```bash\n./frobnicate\n```",
            (4, 4, "nobody can tell from this command what it does when it runs twice"),
        ),
        (
            "```bash\necho {{ answers.x }}\n```",
            (5, 8, "the template refers to the answer `x`, and no step before it asks for that"),
        ),
        (
            "```bash\necho {{ steps.x.output }}\n```",
            (5, 8, "the template refers to the step `x`, and no step before it has that name"),
        ),
        ("```bash {class=observe}\necho {{ run.id }} {{ answers.x\n```", (5, 22, "the template has no end")),
        (
            "```muster\nparallel: [{exec: ls, id: a}, {exec: \"echo {{ steps.a.output }}\"}]\n```",
            (5, 46, "the template refers to the step `a`, and no step before it has that name"),
        ),
        ("```muster\nparallel: []\n```", (5, 11, "a `parallel` step has an empty list")),
        ("```muster\ncheck: []\n```", (5, 8, "a `check` step has an empty list")),
        ("```muster\nwait: {for: 5m, checks: []}\n```", (5, 25, "a `wait` step has an empty list")),
        ("```bash\necho {{ nothing }}\n```", (5, 8, "the template refers to `nothing`, which is nothing")),
        ("```bash {when=\"how=docker\"}\nls\n```", (4, 16, "no step before this one asks for `how`")),
        (
            "1. In a list:\n   ```muster\n   stop: a\n   foo: b\n   ```",
            (7, 4, "a `stop` step has no key `foo`"),
        ),
    ] {
        let found = faults(&with(step));
        let first = found.first().unwrap();
        assert_eq!((first.0, first.1), (expected.0, expected.1), "{step}: {found:?}");
        assert!(first.2.starts_with(expected.2), "{step}: {found:?}");
        let hint = load(with(step).as_bytes()).unwrap_err().faults[0].hint.clone();
        assert!(hint.len() > 10, "{step}: {hint}");
    }
}

#[test]
fn steps_of_an_incident_that_cannot_be_meant_are_refused_with_their_line() {
    for (step, told) in [
        ("repair: {component: a}", "a `repair` step does not say what is mended"),
        ("quarantine: {component: a, table: t}", "a `quarantine` step does not say which rows"),
        (
            "quarantine: {component: a, table: t, where: x}",
            "a `quarantine` step does not say in which way the rows are set aside",
        ),
        (
            "quarantine: {component: a, undo: r, table: t}",
            "a `quarantine` step sets rows aside and puts them back",
        ),
        ("prove: {}", "`prove` does not say what for"),
        ("copy: {copies: []}", "`copy` does not say what for"),
        ("block: example.com", "`example.com` is no address and no network"),
        ("block: {addresses: [203.0.113.7/99]}", "`203.0.113.7/99` is no address and no network"),
        ("block: {except: [203.0.113.7]}", "a `block` step names nobody"),
        ("block: {addresses: [203.0.113.7], ports: [0]}", "`0` is no port"),
        ("isolate: {ports: [443]}", "an `isolate` step lets nobody in"),
        ("isolate: all", "`isolate` has no short form"),
        ("unblock: cut", "no step before this one is called `cut` and blocks something"),
        ("keep_block: {stepp: cut}", "a `keep_block` step needs `step`"),
        ("{log_level: a, undo: {start: b}}", "`undo` cannot stand beside `log_level`"),
        ("{start: a, undo: {stop: a}, undo_at: never}", "`undo_at` cannot be `never`"),
        ("{start: a, undo_at: end}", "`undo_at` stands beside a step without `undo`"),
        ("investigate: {since: yesterday}", "an `investigate` step looks at nothing"),
    ] {
        let found = faults(&with(&format!("```muster\n{step}\n```")));
        assert!(found.iter().any(|(line, _, message)| *line == 5 && message == told), "{step}: {found:?}");
    }
}

#[test]
fn two_steps_with_one_name_are_refused() {
    let found = faults(&with("```bash {name=a}\nls\n```\n\n```bash {name=a}\nls\n```"));
    assert_eq!(found, [(8, 15, "two steps are called `a`: the first stands in line 4".to_owned())]);
}

#[test]
fn the_front_matter_is_checked_like_a_configuration() {
    assert_eq!(
        faults("---\ntitel: x\n---\n# A\n")[0],
        (2, 1, "the front matter has no key `titel`".to_owned())
    );
    assert_eq!(faults("---\ntitle: x\nrto: 15\n---\n")[0].0, 3);
    assert_eq!(
        faults("---\ntitle: x\nreview: soon\n---\n")[0].2,
        "`review` is not a day such as `2027-01-31`"
    );
    assert_eq!(faults("words\n")[0].2, "the runbook has no title");
}

#[test]
fn templates_of_other_programs_are_left_alone() {
    let text = with(
        "```bash\ndocker ps --format '{{.Names}}' && docker inspect -f '{{json .State}}' x\n```\n\n```bash\necho {{ ask('which?') }} {{ services.api.name }}\n```",
    );
    assert_eq!(load(text.as_bytes()).map(|one| one.steps().count()), Ok(2));
}

#[test]
fn what_is_too_large_or_binary_is_refused_at_its_place() {
    assert_eq!(
        load(&vec![b'a'; 5 << 20]).unwrap_err().to_string(),
        "1:1: the document has 5242880 bytes, more than 4 MiB"
    );
    assert_eq!(load(b"# A\n\x7fELF\0").unwrap_err().to_string(), "2:5: line 2, column 5: this is not text");
}

#[test]
fn a_cycle_of_runbooks_is_found_and_a_diamond_is_none() {
    let runs = |pairs: &[(&str, &[&str])]| {
        pairs
            .iter()
            .map(|(name, to)| ((*name).to_owned(), to.iter().map(|one| (*one).to_owned()).collect()))
            .collect()
    };
    assert_eq!(
        find_cycle(&runs(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])),
        Some(vec!["b".into(), "c".into(), "b".into()])
    );
    assert_eq!(find_cycle(&runs(&[("a", &["a"])])), Some(vec!["a".into(), "a".into()]));
    assert_eq!(
        find_cycle(&runs(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &["gone"])])),
        None
    );
}

#[test]
fn steps_in_steps_are_bounded() {
    let mut step = "stop: a".to_owned();
    for _ in 0..20 {
        step = format!("parallel: [{{{step}}}]");
    }
    assert!(
        faults(&with(&format!("```muster\n{step}\n```")))
            .iter()
            .any(|(_, _, message)| message.contains("deeper"))
    );
}

#[test]
fn a_runbook_is_told_from_any_other_document() {
    let is = |text: &str| is_runbook(&document::read(text.as_bytes()).unwrap());
    for text in [
        "# A\n```muster\nstop: a\n```\n",
        "# A\n```bash {name=a}\nrm -rf /x\n```\n",
        "---\ntitle: x\nrto: 1h\n---\n```bash\nrm -rf /x\n```\n",
    ] {
        assert!(is(text), "{text}");
    }
    for text in ["# A\n```bash\nls\n```\n", "---\ntitle: x\nlayout: page\n---\n```bash\nls\n```\n"] {
        assert!(!is(text), "{text}");
    }
}
