//! What comes next in a runbook: tables of texts, answers and the steps that follow from them.

use muster_types::script::{Answer, Finished};

use super::*;

fn platform() -> Platform {
    serde_json::from_value(serde_json::json!({
        "platform": "shop",
        "services": {"api": {"systemd": {"unit": "shop-api"}}},
        "checks": {"up": {"tcp": "127.0.0.1:1", "tags": ["smoke"]}, "deep": {"tcp": "127.0.0.1:2"}},
        "components": {"database": {"kind": "sqlite", "path": "/srv/app.db"}}
    }))
    .unwrap()
}

fn source(texts: &[(&str, &str)]) -> ScriptSource {
    let texts: BTreeMap<String, String> = texts
        .iter()
        .map(|(path, text)| ((*path).to_owned(), format!("---\ntitle: t\n---\n{text}")))
        .collect();
    serde_json::from_value(serde_json::json!({
        "file": "a.md", "title": "", "sha256": "", "texts": texts, "path": "/a.md", "folder": "/", "phases": []
    }))
    .unwrap()
}

fn walk(texts: &[(&str, &str)]) -> Walk {
    Walk::new(&source(texts), &platform(), "prod").unwrap()
}

/// Goes through a runbook: `end` says what each step prints and what is answered. Returns `id: what would be done`.
fn through(walk: &Walk, end: impl Fn(&ScriptStep) -> Option<String>) -> Vec<String> {
    let (mut known, mut told) = (Known { run: "r1".into(), ..Known::default() }, Vec::new());
    for _ in 0..50 {
        let mut next = walk.next(&known);
        if let Next::Group(group) = next {
            next = group.lanes.into_iter().next().unwrap();
        }
        match next {
            Next::Group(_) | Next::Done => return told,
            Next::Impossible { step, error } => {
                told.push(format!("{}! {}", step.id, error.error));
                return told;
            }
            Next::Step(step) => {
                if step.beside.is_none() {
                    let again = walk.next(&known);
                    assert_eq!(again, Next::Step(step.clone()), "the same knowledge, the same step");
                }
                told.push(format!("{}: {}", step.id, step.deed.lines().join("; ")));
                let output = end(&step);
                let is_skipped = output.is_none();
                let output = output.unwrap_or_default();
                if step.deed.is_personal() && !is_skipped {
                    known.answers.insert(step.id.clone(), Answer { text: output.clone(), is_secret: false });
                }
                known.steps.insert(step.id.clone(), Finished { is_skipped, output, is_cut: false });
            }
        }
    }
    panic!("it never ends: {told:?}")
}

#[test]
fn a_choice_decides_which_steps_come() {
    let text = "```muster\nid: way\nchoose: {question: which?, options: [left, right]}\n```\n\
        ```bash {name=l, class=observe, when=\"way=left\"}\nls left\n```\n\
        ```bash {name=r, class=observe, when=\"way=right\"}\nls right\n```\n\
        ```muster\nif: {answer: way, equals: LEFT, then: [{stop: api}], else: [{start: api}]}\n```\n";
    let walk = walk(&[("a.md", text)]);
    assert_eq!(
        through(&walk, |_| Some("left".into())),
        ["way: which?", "l: ls left", "step-5: muster service stop api"]
    );
    assert_eq!(
        through(&walk, |_| Some("right".into())),
        ["way: which?", "r: ls right", "step-6: muster service start api"]
    );
    assert_eq!(through(&walk, |_| None), ["way: which?"], "what was not answered is neither");
}

#[test]
fn an_if_on_a_check_looks_first_and_goes_one_way_only() {
    let walk = walk(&[(
        "a.md",
        "```muster\nid: fork\nif: {check: up, then: [{stop: api}], else: [{restart: api}]}\n```\n",
    )]);
    let test = "fork: muster check up, and either result is good".to_owned();
    let with = |output: &str| through(&walk, |_| Some(output.to_owned()));
    assert_eq!(with("passed"), [test.clone(), "step-2: muster service stop api".into()]);
    assert_eq!(with("failed"), [test.clone(), "step-3: muster service restart api".into()]);
    assert_eq!(with("both").len(), 3, "a dry run shows both");
}

#[test]
fn a_question_on_the_spot_comes_before_its_step_and_is_asked_once() {
    let text = "```bash {name=go, class=observe}\necho {{ ask('a?') }} {{ ask('b?') }} {{ ask('a?') | quote }}\n```\n";
    let told = through(&walk(&[("a.md", text)]), |step| Some(format!("it's {}", step.title)));
    assert_eq!(told, ["go-ask-1: a?", "go-ask-2: b?", r"go: echo it's a? it's b? 'it'\''s a?'"]);
}

#[test]
fn what_refers_to_a_skipped_answer_or_a_cut_output_is_impossible_and_says_why() {
    let text = "```muster\nid: who\nask: who?\n```\n```bash {class=observe}\necho {{ answers.who }}\n```\n";
    let told = through(&walk(&[("a.md", text)]), |_| None);
    assert_eq!(told[1], "step-2! `answers.who` has no value: the question was not asked or was skipped");
}

#[test]
fn the_inventory_and_the_run_are_filled_in_and_go_templates_are_left_alone() {
    let text = "```bash {class=observe}\necho {{ platform }} {{ environment }} {{ services.api.systemd.unit }} {{ run.id }} {{.Names}} {{json .}}\n```\n";
    let told = through(&walk(&[("a.md", text)]), |_| Some(String::new()));
    assert_eq!(told, ["step-1: echo shop prod shop-api r1 {{.Names}} {{json .}}"]);
}

#[test]
fn a_secret_answer_is_in_the_text_and_not_in_what_is_shown() {
    let text = "```muster\nid: key\nask: {question: key?, secret: true}\n```\n```bash {class=observe}\necho {{ answers.key }}\n```\n";
    let walk = walk(&[("a.md", text)]);
    let mut known = Known::default();
    known.steps.insert("key".into(), Finished { is_skipped: false, output: String::new(), is_cut: false });
    known.answers.insert("key".into(), Answer { text: "hunter2".into(), is_secret: true });
    let Next::Step(step) = walk.next(&known) else { panic!("a step comes") };
    let Deed::Command { text, .. } = &step.deed else { panic!("a command") };
    assert_eq!((text.expose(), text.shown()), ("echo hunter2", "echo ***"));
    assert!(!format!("{step:?}{}", serde_json::to_string(&step).unwrap()).contains("hunter2"));
    assert_eq!(walk.secrets(), ["key"]);
}

#[test]
fn steps_of_an_inner_runbook_have_the_id_of_their_step_before_theirs_and_its_answers_are_given() {
    let outer = "```muster\nid: part\nrun: {runbook: parts/b.md, with: {colour: \"{{ platform }}\"}}\n```\n```bash {name=end, class=observe}\nls\n```\n";
    let inner = "```muster\nid: colour\nask: which?\n```\n```bash {name=say, class=observe}\necho {{ answers.colour }}\n```\n";
    let walk = walk(&[("a.md", outer), ("parts/b.md", inner)]);
    assert_eq!(through(&walk, |_| Some(String::new())), ["part/say: echo shop", "end: ls"]);
    assert_eq!(walk.faults(), []);
    assert!(walk.ids().contains(&"part/say".to_owned()), "{:?}", walk.ids());
}

#[test]
fn a_section_is_a_heading_with_all_below_it() {
    let mut source = source(&[(
        "a.md",
        "## One\n\n```bash {class=observe}\nls one\n```\n\n## Two (15-20 min)\n\n### Deep\n\n```bash {class=observe}\nls two\n```\n\n## Three\n\n```bash {class=observe}\nls three\n```\n",
    )]);
    source.section = Some("two".into());
    let walk = Walk::new(&source, &platform(), "prod").unwrap();
    assert_eq!(through(&walk, |_| Some(String::new())), ["deep-1: ls two"]);
    let phases = walk.phases();
    assert_eq!((phases.len(), phases[0].expected_seconds), (1, Some(1200.0)), "{phases:?}");
}

#[test]
fn services_are_led_by_name_and_what_runs_inside_may_hold_a_secret() {
    let text = "```muster\nid: key\nask: {question: key?, secret: true}\n```\n\
        ```muster\nlogs: {services: [api], since: 2h, to: \"logs/{{ run.id }}\"}\n```\n\
        ```muster\nrollback: {service: api, to: \"{{ platform }}\"}\non_ambiguous: ask\n```\n\
        ```muster\nrebuild: api\n```\n```muster\nreconnect: api\n```\n```muster\nclean: [api]\n```\n\
        ```muster\nexec: {service: api, command: \"login {{ answers.key }}\"}\nclass: idempotent\n```\n";
    let walk = walk(&[("a.md", text)]);
    assert_eq!(walk.faults(), []);
    let told: Vec<String> = through(&walk, |_| Some("hunter2".into()))
        .into_iter()
        .map(|line| line.split_once(": ").unwrap().1.to_owned())
        .collect();
    assert_eq!(
        told,
        [
            "key?",
            "muster service logs api --since 2h",
            "muster service rollback api --to shop",
            "muster service rebuild api",
            "muster service reconnect api",
            "muster service clean api",
            "in api: login hunter2",
        ]
    );
    let wrong = "```muster\nlogs: web\n```\n```muster\nexec: {service: web, command: ls}\n```\n\
        ```muster\nrollback: web\non_ambiguous: ask\n```\n```muster\nclean: web\n```\n";
    let faults = self::walk(&[("a.md", wrong)]).faults();
    assert_eq!(faults[0].1.len(), 4, "{faults:?}");
    assert!(
        faults[0].1.iter().all(|fault| fault.message.contains("there is no service `web`")),
        "{faults:?}"
    );
}

#[test]
fn what_cannot_be_executed_is_named_with_its_line() {
    let text =
        "```muster\ncheck: {tag: smokee}\n```\n```muster\nparallel: [{rotate: [key]}, {stop: web}]\n```\n\
        ```bash {class=observe}\necho {{ steps.x.colour }}\n```\n"
            .replace("echo {{ steps.x.colour }}", "echo {{ components.database.pathh }}");
    let faults = walk(&[("a.md", &text)]).faults();
    let told: Vec<String> =
        faults[0].1.iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect();
    assert_eq!(
        told,
        [
            "5: no check of muster.yaml has the tag `smokee`",
            "8: there is no secret `key` in muster.yaml (environment prod)",
            "8: there is no service `web` in muster.yaml (environment prod)",
            "11: `components.database.pathh` is not in muster.yaml (environment prod)",
        ]
    );
}

fn done(known: &mut Known, id: &str, output: &str, is_skipped: bool) {
    known.steps.insert(id.into(), Finished { is_skipped, output: output.into(), is_cut: false });
}

#[test]
fn a_group_holds_what_is_next_in_each_lane_that_is_not_at_its_end() {
    let text = "```muster\nid: all\nparallel:\n  at_once: 3\n  steps:\n  - {id: a, exec: ls}\n  - {id: b, exec: df}\n  - {id: both, parallel: [{id: c, exec: uptime}]}\n```\n";
    let walk = walk(&[("a.md", text)]);
    let mut known = Known::default();
    let lanes = |known: &Known| match walk.next(known) {
        Next::Group(group) => {
            assert_eq!((group.id.as_str(), group.at_once), ("all", 3));
            let id = |lane: &Next| if let Next::Step(step) = lane { step.id.clone() } else { String::new() };
            group.lanes.iter().map(id).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    assert_eq!(lanes(&known), ["a", "b", "c"]);
    done(&mut known, "b", "", false);
    assert_eq!(lanes(&known), ["a", "c"]);
    for id in ["a", "c"] {
        done(&mut known, id, "", false);
    }
    assert_eq!(walk.next(&known), Next::Done);
}

#[test]
fn the_undo_of_a_step_knows_what_it_has_printed_and_one_in_another_runbook_is_found() {
    let outer = "```muster\nid: inner\nrun: {runbook: y.md, with: {which: red}}\n```\n";
    let inner = "```muster\nid: which\nask: which?\n```\n```bash {name=one, class=idempotent, undo=\"back {{ steps.one.output }} {{ answers.which }}\"}\ngo\n```\n```bash {name=two, class=idempotent}\ngo\n```\n";
    let walk = walk(&[("a.md", outer), ("y.md", inner)]);
    let mut known = Known::default();
    done(&mut known, "inner/one", "seven", false);
    let Some(Next::Step(undo)) = walk.undo("inner/one", &known) else { panic!("there is one") };
    assert_eq!((undo.id.as_str(), undo.deed.lines()), ("inner/one.undo", vec!["back seven red".to_owned()]));
    assert_eq!(walk.undo("inner/two", &known), None);
    // What failed has printed nothing that could be relied on.
    let failed = walk.undo("inner/one", &Known::default());
    assert!(matches!(failed, Some(Next::Impossible { .. })), "{failed:?}");
    assert!(walk.ids().contains(&"inner/one.undo".to_owned()));
}

#[test]
fn what_ends_something_is_impossible_until_every_export_has_happened() {
    let text = "---\ntitle: x\nincident: security\n---\n```bash {name=logs, class=evidence}\ntrue\n```\n```bash {name=end, class=idempotent}\nsudo docker compose stop api\n```\n";
    let mut source = source(&[("a.md", "")]);
    source.texts.insert("a.md".into(), text.into());
    let walk = Walk::new(&source, &platform(), "prod").unwrap();
    let mut known = Known::default();
    done(&mut known, "logs", "", true);
    assert!(matches!(walk.next(&known), Next::Impossible { .. }), "a skipped export is none");
    done(&mut known, "logs", "", false);
    assert!(matches!(walk.next(&known), Next::Step(step) if step.id == "end"));
}
