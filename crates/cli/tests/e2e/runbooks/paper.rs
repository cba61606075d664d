//! What is printed before the day: a runbook with measured times, and the commands of this platform.

use std::fs;

use quick_xml::{Reader, events::Event};

use super::{Place, kills};

const BOOK: &str = "\
---
title: Api <down> & out
rto: 1h
version: 4
---
# Api <down> & out

Read *this* first: <script>alert('x')</script> [docs](https://example.com/?a=1&b=2), [bad](javascript:alert(1)).

| host | role |
|---|---|
| a&b | <db> |

## Mend (10-20 min)

- plain & simple

```bash {name=mend, class=idempotent, undo=\"echo <undone>\"}
echo 'a < b && c > d' >> witness
```
```muster
restart: api
```
- [ ] The <status> page says so (role: commander)

## Verify

```muster
check: up
```
";

#[test]
fn a_runbook_is_printed_with_the_times_of_its_last_runs_as_well_formed_html_without_scripts() {
    let place = Place::new();
    place.write("api.md", BOOK);
    place.write("answers.yaml", "mend-3: yes\n");
    let before = place.run(&["runbook", "render", "api.md", "--html"]);
    assert!(before.assert_exit(0).stdout.contains("no run yet"), "{}", before.stdout);
    for _ in 0..3 {
        place.run(&["run", "api.md", "--yes", "--answers", "answers.yaml"]).assert_exit(0);
    }
    let records = kills::entries(place.sandbox.path()).len();
    let html = place.run(&["runbook", "render", "api.md", "--html"]).assert_exit(0).stdout.clone();
    let sha = place.newest();
    let report = place.run(&["show", sha["id"].as_str().unwrap(), "--json"]).assert_exit(0).json();
    assert!(
        html.contains(report["runbook"]["sha256"].as_str().unwrap()),
        "which text it is stands on the paper"
    );
    // Every element is closed in its order, and none of them runs or loads anything.
    let mut reader = Reader::from_str(&html);
    let (mut names, mut depth) = (Vec::new(), 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}\n{html}")) {
            Event::Start(tag) => {
                depth += 1;
                names.push(tag.name().as_ref().to_owned());
                for attribute in tag.attributes() {
                    let attribute = attribute.unwrap();
                    let key = attribute.key.as_ref().to_owned();
                    let value = attribute.value.to_string();
                    assert!(!key.starts_with("on") && key != "src", "{key}");
                    assert!(key != "href" || value.starts_with("https://") || value == "#", "{value}");
                }
            }
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    for name in ["script", "link", "img", "iframe", "db", "status", "down"] {
        assert!(!names.iter().any(|one| one == name), "{name}");
    }
    for part in [
        "&lt;script&gt;",
        "echo &#39;a &lt; b &amp;&amp; c &gt; d&#39; &gt;&gt; witness",
        "to undo it:",
        "muster service restart api",
        "done at ________ by ________",
        "<td>20m</td>",
        "by commander",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
    assert!(!html.contains("no run yet"), "{html}");
    assert_eq!(kills::entries(place.sandbox.path()).len(), records, "it only reads");
    // As Markdown it is the same runbook with a table, and loads as one.
    let markdown = place.run(&["runbook", "render", "api.md", "--markdown"]).assert_exit(0).stdout.clone();
    let row = markdown.lines().find(|line| line.starts_with("| Mend (10-20 min) | 20m |")).unwrap();
    assert!(row.matches('s').count() >= 3, "three runs: {row}");
    place.write("printed.md", &markdown);
    let dry = place.run(&["run", "printed.md", "--dry-run"]);
    assert!(dry.assert_exit(0).stdout.contains("(mend)"), "{}", dry.stdout);
    // What is no runbook is told what to do.
    place.write("dr.md", "# DR\n\n## 1. Lost\n\n```bash\nls\n```\n");
    let refused = place.run(&["runbook", "render", "dr.md", "--html"]);
    refused.assert_exit(2);
    assert!(refused.stderr.contains("muster runbook import dr.md"), "{}", refused.stderr);
}

// proves: D34
#[test]
fn the_cheat_sheet_names_every_component_service_and_runbook_and_its_commands_are_commands() {
    let place = kills::place();
    fs::create_dir(place.sandbox.path().join("runbooks")).unwrap();
    place.write("runbooks/api down.md", "---\ntitle: Api down\nrto: 1h\n---\n```muster\nrestart: api\n```\n");
    let config = place.read("muster.yaml");
    place.write("muster.yaml", &format!("{config}  later: {{tcp: \"127.0.0.1:1\"}}\n"));
    let outcome = place.run(&["cheat"]);
    let text = &outcome.assert_exit(0).stdout;
    for command in [
        "muster restore database --to latest --dry-run",
        "muster prove database",
        "muster survey database",
        "muster list database",
        "muster service restart api",
        "muster run 'runbooks/api down.md' --dry-run",
        "muster check --full --verbose",
    ] {
        assert!(text.contains(command), "{command}: {text}");
    }
    assert!(text.contains("touch ") && text.contains("start by hand"), "the service's own command: {text}");
    // Each command line is one that this program takes, as it stands there.
    let document = place.run(&["cheat", "--json"]).assert_exit(0).json();
    let commands: Vec<String> = document["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|block| block["commands"].as_array().unwrap().clone())
        .map(|line| line["command"].as_str().unwrap().to_owned())
        .filter(|command| command.starts_with("muster "))
        .collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        // Only that it is understood: `--help` behind it is refused like any other word where it is not.
        let script = format!("{} --help", command.replacen("muster", env!("CARGO_BIN_EXE_muster"), 1));
        let output =
            std::process::Command::new("sh").args(["-c", &script]).current_dir(place.sandbox.path()).output();
        assert!(output.unwrap().status.success(), "{command}");
    }
    for command in
        commands.iter().filter(|command| command.ends_with("--dry-run") && command.contains(" run "))
    {
        let script = command.replacen("muster", env!("CARGO_BIN_EXE_muster"), 1);
        let output =
            std::process::Command::new("sh").args(["-c", &script]).current_dir(place.sandbox.path()).output();
        assert!(output.unwrap().status.success(), "{command}");
    }
}
