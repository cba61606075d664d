//! Functional tests as chains of requests: what a user does, with what earlier answers said, and nothing left behind.

mod platform;

use std::fs;

use serde_json::Value;

use self::platform::{Service, Trouble};
use crate::platform::Platform;

/// What a person would do to see that the platform works, and the clean-up after it.
fn chain(service: &Service, extra: &str) -> String {
    let url = service.url();
    format!(
        r#"checks:
  journey:
    tags: [full]
    timeout: 40s
    {extra}
    chain:
      requests:
        - name: login
          http: "POST {url}/login"
          json: {{user: probe, password: "${{env:PROBE_PASSWORD}}"}}
          keep_secret: {{token: "[BODY].token"}}
        - name: create run
          http: "POST {url}/runs"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
          json: {{name: "muster {{{{ unique }}}}", steps: 3, temperature: 0.5}}
          conditions: ["[STATUS] == 201", "[BODY].temperature == 0.5"]
          keep: {{run: "[BODY].id"}}
        - name: execute
          http: "POST {url}/runs/{{{{ run }}}}/execute"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
          json: {{run: "{{{{ run }}}}"}}
          timeout: 2s
        - name: result
          http: "GET {url}/runs/{{{{ run }}}}"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
          within: 30s
          conditions: ["[STATUS] == 200", "[BODY].status == done"]
        - name: history
          http: "GET {url}/runs"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
          conditions: ["[STATUS] == 200", "len([BODY].runs) >= 1"]
        - name: upload
          http: "POST {url}/files"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
          upload: {{file: sample.bin, fields: {{run: "{{{{ run }}}}"}}}}
          conditions: ["[STATUS] == 201", "has([BODY].run) == true"]
          keep: {{file: "[BODY].id"}}
        - name: download
          http: "GET {url}/files/{{{{ file }}}}"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
          download: {{same_as: sample.bin}}
        - name: webhook
          http: "POST {url}/hooks"
          headers: {{X-Signature: "sig-{{{{ unique }}}}"}}
          body: "event=probe"
      always:
        - name: remove file
          http: "DELETE {url}/files/{{{{ file }}}}"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
        - name: remove run
          http: "DELETE {url}/runs/{{{{ run }}}}"
          headers: {{Authorization: "Bearer {{{{ token }}}}"}}
"#
    )
}

/// Runs the check and returns its result; nothing secret may be in anything that it says.
fn look(platform: &Platform, more: &[&str], code: i32) -> (Value, String) {
    let args = [&["check", "journey", "--json"], more].concat();
    let outcome = platform.run(&args);
    outcome.assert_exit(code);
    let text = format!("{}{}", outcome.stdout, outcome.stderr);
    for secret in [platform::PASSWORD, platform::TOKEN] {
        assert!(!text.contains(secret), "{text}");
    }
    (outcome.json()["checks"][0].clone(), text)
}

fn verdicts(check: &Value) -> Vec<(String, String)> {
    let requests = check["requests"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    requests.map(|one| (text(&one["name"]), text(&one["verdict"]))).collect()
}

fn verdict_of(check: &Value, name: &str) -> Value {
    check["requests"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

// proves: E7
#[test]
#[expect(clippy::too_many_lines, reason = "one story on servers that take long to start")]
fn a_chain_does_what_a_user_does_and_cleans_up_after_success_failure_silence_and_nonsense() {
    let (mut platform, service) = (Platform::new(), Service::start());
    platform.cli = platform.cli.env("PROBE_PASSWORD", platform::PASSWORD);
    let content: Vec<u8> = (0..200_000_u32).map(|at| u8::try_from(at * 7 % 256).unwrap()).collect();
    fs::write(platform.sandbox.path().join("sample.bin"), &content).unwrap();
    let config = |extra: &str| {
        platform.sandbox.write_config(&format!("{}{}", platform.sandbox.config(), chain(&service, extra)));
    };
    config("");

    let (check, _) = look(&platform, &[], 0);
    assert!(verdicts(&check).iter().all(|(_, verdict)| verdict == "passed"), "{check:#}");
    assert_eq!(verdicts(&check).len(), 10);
    assert_eq!(verdict_of(&check, "remove run")["request"], "DELETE /runs/1");
    assert!(service.polls() >= 2, "the result was waited for");
    assert!(service.is_empty(), "nothing is left");
    assert_eq!(service.hooks(), 1);

    // A step that fails: what comes after it is not asked, and what was made before it is removed.
    service.trouble(Trouble::Status("/execute", 500));
    let (check, text) = look(&platform, &[], 1);
    let told = verdict_of(&check, "execute");
    assert_eq!((&told["verdict"], &told["conditions"][1]["found"]), (&"failed".into(), &"500".into()));
    for name in ["result", "history", "upload", "download", "webhook", "remove file"] {
        assert_eq!(verdict_of(&check, name)["verdict"], "not-asked", "{text}");
    }
    assert_eq!(verdict_of(&check, "remove run")["verdict"], "passed");
    assert!(service.is_empty());

    // Silence: the request has its own time, and so has the clean-up.
    service.trouble(Trouble::Silence("/execute"));
    let (check, _) = look(&platform, &[], 1);
    assert_eq!(verdict_of(&check, "execute")["error"], "no answer within 2s");
    assert_eq!(verdict_of(&check, "remove run")["verdict"], "passed");
    assert!(service.is_empty());

    // The deadline of all checks ends the chain, and not its clean-up.
    let patient = chain(&service, "").replace("timeout: 2s", "timeout: 30s");
    platform.sandbox.write_config(&format!("{}{patient}", platform.sandbox.config()));
    let (check, _) = look(&platform, &["--deadline", "5s"], 1);
    assert!(check["error"].as_str().unwrap().contains("not looked at to its end within the 5s"), "{check:#}");
    assert_eq!(verdict_of(&check, "remove run")["verdict"], "passed");
    assert!(service.is_empty());
    config("");

    // An answer that cannot be understood: nobody knows what was made, and that is said.
    service.trouble(Trouble::Nonsense("/runs"));
    let (check, _) = look(&platform, &[], 1);
    assert_eq!(verdict_of(&check, "create run")["verdict"], "failed");
    let left = verdict_of(&check, "remove run");
    assert_eq!(left["verdict"], "failed");
    assert!(left["error"].as_str().unwrap().contains("what it may have made is still there"), "{left}");
    service.trouble(Trouble::None);
    service.forget();

    // Everything works but the clean-up: the check fails, with a line of its own.
    service.trouble(Trouble::Status("DELETE /runs", 503));
    let (check, _) = look(&platform, &[], 1);
    let failed: Vec<_> = verdicts(&check).into_iter().filter(|(_, verdict)| verdict != "passed").collect();
    assert_eq!(failed, [("remove run".to_owned(), "failed".to_owned())]);
    assert!(!service.is_empty());
    let told = platform.run(&["check", "journey"]);
    told.assert_exit(1);
    assert!(told.stdout.contains("clean-up `remove run` (DELETE /runs/"), "{}", told.stdout);
    assert!(told.stdout.contains("clean-up: remove run failed: DELETE /runs/"), "{}", told.stdout);
    service.trouble(Trouble::None);
    service.forget();

    // A file that came back changed.
    service.trouble(Trouble::Damage);
    let (check, text) = look(&platform, &[], 1);
    assert!(verdict_of(&check, "download")["error"].as_str().unwrap().contains("is not"), "{text}");
    assert!(service.is_empty());

    // What cannot be meant is refused before anything is asked, with its place.
    service.trouble(Trouble::None);
    let asked = service.asked();
    for (from, to, why) in [
        ("runs/{{ run }}/execute", "runs/{{ ran }}/execute", "no request before this one keeps `ran`"),
        ("[BODY].id", "[BODI].id", "this is nothing that an answer has"),
        ("download: {same_as: sample.bin}", "download: {}", "does not say what the answer must be"),
        ("body: \"event=probe\"", "body: a\n          json: {}", "one body"),
        ("POST http", "POSTED: http", "not an HTTP method"),
    ] {
        let text = format!("{}{}", platform.sandbox.config(), chain(&service, ""));
        assert!(text.contains(from), "{from}");
        platform.sandbox.write_config(&text.replacen(from, to, 1));
        let told = platform.run(&["check", "journey"]);
        told.assert_exit(2);
        assert!(told.stderr.contains(why) && told.stderr.contains("muster.yaml:"), "{}", told.stderr);
    }
    assert_eq!(service.asked(), asked);
}

// proves: E8
#[test]
fn each_integration_has_a_verdict_and_a_reason_of_its_own() {
    let (platform, service) = (Platform::new(), Service::start());
    service.trouble(Trouble::Silence("/slow"));
    let url = service.url();
    platform.sandbox.write_config(&format!(
        r#"{}checks:
  code-host: {{http: "POST {url}/hooks", headers: {{X-Signature: s}}, conditions: ["[STATUS] == 204"], tags: [integrations]}}
  model-provider: {{http: "GET {url}/runs", headers: {{Authorization: "Bearer wrong"}}, tags: [integrations]}}
  mail: {{http: "GET {url}/slow", timeout: 1s, tags: [integrations]}}
  storage:
    tags: [integrations]
    chain:
      requests:
        - {{http: "POST {url}/login", json: {{user: probe, password: {}}}, keep_secret: {{token: "[BODY].token"}}}}
        - {{http: "POST {url}/runs", headers: {{Authorization: "Bearer {{{{ token }}}}"}}, json: {{}}, keep: {{id: "[BODY].id"}}}}
      always:
        - {{http: "DELETE {url}/runs/{{{{ id }}}}", headers: {{Authorization: "Bearer {{{{ token }}}}"}}}}
  other: {{command: ["false"]}}
"#,
        platform.sandbox.config(),
        platform::PASSWORD
    ));
    let outcome = platform.run(&["check", "--tag", "integrations", "--json"]);
    outcome.assert_exit(1);
    let answer = outcome.json();
    let checks = answer["checks"].as_array().unwrap();
    let verdict = |name: &str| checks.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(checks.len(), 4);
    assert_eq!(verdict("code-host")["passed"], true);
    assert_eq!(verdict("storage")["passed"], true, "{answer:#}");
    assert_eq!(verdict("model-provider")["conditions"][0]["found"], "401");
    assert_eq!(verdict("mail")["error"], "no answer within 1s");
    assert!(service.is_empty());
}
