//! Pages of strangers, addresses that others reach, names that are markup, and secrets in what servers say.

use std::net::TcpListener;

use muster_testkit::Sandbox;

use super::{cli, serve};

#[test]
fn a_page_of_a_stranger_cannot_read_it() {
    let sandbox = Sandbox::new();
    let served = serve(&cli(&sandbox));
    for path in ["/", "/healthz", "/api/v1/runs", "/events", "/metrics"] {
        // Its name points to 127.0.0.1 since a moment ago: the browser believes that they are one.
        for host in ["rebound.example:8440", "127.0.0.1.rebound.example", "10.1.2.3", "[::2]:8440"] {
            let refused = served.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(refused.status, 421, "{path} for {host}: {}", refused.body);
            assert!(!refused.body.contains("sandbox"), "{}", refused.body);
        }
        assert_eq!(served.ask(&format!("GET {path} HTTP/1.1\r\n\r\n")).status, 400);
    }
    let port = served.address.port();
    for host in [format!("127.0.0.1:{port}"), "localhost:9999".into(), "LOCALHOST".into(), "[::1]:1".into()] {
        assert_eq!(
            served.ask(&format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n")).status,
            200,
            "{host}"
        );
    }
    let page = served.get("/");
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"), "{}", page.head);
    assert_eq!(page.header("access-control-allow-origin"), "");
}

#[test]
fn an_address_that_others_reach_is_refused_with_what_to_do() {
    let sandbox = Sandbox::new();
    let cli = cli(&sandbox);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.7:8440"] {
        let refused = cli.run(&["serve", "--listen", address]);
        refused.assert_exit(2);
        assert!(refused.stderr.contains("has no authentication yet"), "{}", refused.stderr);
        assert!(refused.stderr.contains("ssh -L"), "{}", refused.stderr);
    }
    for address in ["8440", "example.org:8440", "127.0.0.1"] {
        let refused = cli.run(&["serve", "--listen", address]);
        refused.assert_exit(2);
        assert!(refused.stderr.contains("is no address to listen on"), "{}", refused.stderr);
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = cli.run(&["serve", "--listen", &taken.local_addr().unwrap().to_string(), "--json"]);
    refused.assert_exit(1);
    assert!(refused.json()["error"]["hint"].as_str().unwrap().contains("something listens there already"));
}

#[test]
fn what_others_say_is_text_on_a_page_and_a_secret_is_nowhere() {
    let sandbox = Sandbox::new();
    // A server that answers with markup, and gives back what it was sent.
    let server = std::sync::Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let url = format!("http://{}/", server.server_addr());
    let answering = std::sync::Arc::clone(&server);
    let thread = std::thread::spawn(move || {
        for mut request in answering.incoming_requests() {
            let mut sent = String::new();
            request.as_reader().read_to_string(&mut sent).unwrap();
            let word = format!("<script>alert(1)</script>\" onload=\"alert(2) {sent}");
            let body = serde_json::json!({"word": word}).to_string();
            drop(request.respond(tiny_http::Response::from_string(body)));
        }
    });
    sandbox.write_config(&format!(
        "{}checks:\n  says:\n    chain:\n      requests:\n        - name: say\n          http: \"POST {url}\"\n          \
         json: {{token: \"${{env:PROBE_TOKEN}}\"}}\n          conditions: ['[BODY].word == ok']\n",
        sandbox.config()
    ));
    let cli = cli(&sandbox).env("PROBE_TOKEN", "tr0ub4dor-and-more");
    cli.run(&["init", "--yes"]).assert_exit(0);
    cli.run(&["backup", "database", "--label", "<b>bold</b>"]);
    let served = serve(&cli);
    // As an attacker would send it in a link.
    let linked = served.get("/runs/%3Cscript%3Ealert(3)%3C%2Fscript%3E");
    assert!(!linked.body.contains("<script>alert"), "{}", linked.body);
    let page = served.get("/");
    assert!(page.body.contains("&lt;script&gt;alert(1)"), "{}", page.body);
    for path in [
        "/",
        "/metrics",
        "/api/v1/status",
        "/api/v1/checks",
        "/api/v1/backups",
        "/api/v1/runs",
        "/api/v2/status.json",
    ] {
        let answer = served.get(path);
        assert!(!answer.body.contains("tr0ub4dor"), "{path}: {}", answer.body);
        assert!(path != "/" || !answer.body.contains("<script>alert"), "{path}");
        assert!(!answer.body.contains("a key for tests only"), "{path}");
    }
    server.unblock();
    thread.join().unwrap();
}
