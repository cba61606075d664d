//! `notify` and `redis`: a message that reaches somebody, and a command on a real server.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
    time::Duration,
};

use muster_testkit::Redis;

use super::{Place, step};

/// A webhook that answers with each of these in turn, and hands the bodies on.
fn webhook(answers: &[&'static str]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook-s3cr3t-path", listener.local_addr().unwrap());
    let (sender, receiver) = mpsc::channel();
    let answers = answers.to_vec();
    thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            let body = loop {
                let count = stream.read(&mut buffer).unwrap_or(0);
                request.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let length = text
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
                match text.split_once("\r\n\r\n") {
                    Some((_, body)) if body.len() >= length.unwrap_or(0) => break body.to_owned(),
                    _ if count == 0 => break String::new(),
                    _ => {}
                }
            };
            let reply = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(reply.as_bytes()).unwrap();
            sender.send(body).ok();
        }
    });
    (url, receiver)
}

#[test]
fn a_message_is_tried_again_goes_to_the_next_channel_and_is_told_when_nobody_takes_it() {
    let place = Place::new();
    let (broken, _) = webhook(&["500 No", "500 No", "500 No"]);
    let (shaky, taken) = webhook(&["503 Busy", "200 OK"]);
    place.write("hook", &broken);
    let config = place.read("muster.yaml");
    let folder = place.sandbox.path().display();
    place.write(
        "muster.yaml",
        &format!(
            "{config}notify:\n  broken: {{http: \"${{file:{folder}/hook}}\"}}\n  shaky: {{http: \"{shaky}\", body: '{{\"content\": \"{{{{ message }}}}\"}}'}}\n  \
             pager: {{command: [sh, -c, 'printf \"%s\" \"$MUSTER_MESSAGE\" > paged']}}\n  dead: {{command: [\"false\"]}}\n"
        ),
    );
    place.write(
        "x.md",
        "---\ntitle: x\n---\n```muster\nid: tell\nnotify: {to: [broken, shaky], message: \"run {{ run.id }} says \\\"down\\\"\"}\n```\n\
         ```muster\nid: page\nnotify: {to: pager, message: wake up}\n```\n",
    );
    let outcome = place.run(&["run", "x.md", "--yes", "--json"]);
    let report = outcome.assert_exit(0).json();
    let id = report["run"].as_str().unwrap();
    assert_eq!(step(&report, "tell")["summary"], "told through shaky");
    let wanted = format!("{{\"content\": \"run {id} says \\\"down\\\"\"}}");
    let bodies: Vec<String> = taken.try_iter().collect();
    assert_eq!(bodies, [wanted.clone(), wanted], "it was tried again, and is one JSON text");
    assert_eq!(place.read("paged"), "wake up");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("`broken` did not take it") && warnings.contains("next channel"), "{warnings}");
    // A webhook's address is a secret.
    assert!(!outcome.stdout.contains(broken.rsplit('/').next().unwrap()), "{}", outcome.stdout);
    place.write("y.md", "---\ntitle: y\n---\n```muster\nnotify: {to: [dead], message: hello}\n```\n");
    let outcome = place.run(&["run", "y.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("nobody was reached"), "{}", outcome.stderr);
    place.write("z.md", "---\ntitle: z\n---\n```muster\nnotify: {to: nobody, message: hello}\n```\n");
    let outcome = place.run(&["run", "z.md", "--yes"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("there is no channel `nobody`"), "{}", outcome.stderr);
    let wrong = place.read("muster.yaml").replace("command: [\"false\"]", "timeout: 3s");
    place.write("muster.yaml", &wrong);
    let outcome = place.run(&["config", "check"]);
    outcome.assert_exit(2);
    assert!(outcome.stderr.contains("channel `dead` needs one of"), "{}{}", outcome.stderr, outcome.stdout);
}

#[test]
fn a_redis_step_talks_to_the_real_server_keeps_the_reply_and_judges_it() {
    let redis = Redis::start_new();
    let place = Place::new();
    let config = place.read("muster.yaml");
    let (before, after) = config.split_once("components:\n").unwrap();
    place.write(
        "muster.yaml",
        &format!("{before}components:\n  cache: {{kind: redis, url: \"{}\"}}\n{after}", redis.url()),
    );
    let text = "---\ntitle: x\n---\n```muster\nid: value\nask: {question: which?, default: two words}\n```\n\
         ```muster\nid: set\nredis: {component: cache, command: \"SET greeting {{ answers.value }}\", expect: OK}\non_ambiguous: ask\n```\n\
         ```muster\nid: get\nredis: {component: cache, command: GET greeting, expect: two words}\n```\n\
         ```muster\nid: size\nredis: {component: cache, command: \"CONFIG GET maxmemory-policy\"}\n```\n";
    place.write("x.md", text);
    let report = place.run(&["run", "x.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(step(&report, "get")["output"], "two words");
    assert!(step(&report, "size")["output"].as_str().unwrap().starts_with("maxmemory-policy\n"));
    assert_eq!(redis.cli(&["GET", "greeting"]).trim(), "two words");
    place.write("y.md", &text.replace("GET greeting, expect: two words", "GET greeting, expect: other"));
    let outcome = place.run(&["run", "y.md", "--yes"]);
    outcome.assert_exit(1);
    assert!(outcome.stderr.contains("the answer is `two words`, and not `other`"), "{}", outcome.stderr);
    place.write("z.md", &text.replace("GET greeting, expect: two words", "LPUSH greeting x"));
    let outcome = place.run(&["run", "z.md", "--yes"]);
    assert_ne!(outcome.code, Some(0));
    assert!(
        outcome.stderr.contains("WRONGTYPE") || outcome.stderr.contains("on_ambiguous"),
        "{}",
        outcome.stderr
    );
}
