//! `muster network` in networks made for the test: each fault has a verdict of its own.

mod netns;

use serde_json::Value;

use self::netns::Net;
use crate::platform::Platform;

/// The probe of a target, by its kind and by which one it is.
fn probe<'a>(answer: &'a Value, target: &str, kind: &str, of: Option<&str>) -> &'a Value {
    let all = answer["probes"].as_array().unwrap();
    let fits =
        |one: &&Value| one["target"] == target && one["probe"] == kind && of.is_none_or(|of| one["of"] == of);
    all.iter().find(fits).unwrap_or_else(|| panic!("no {kind} of {target}: {answer:#}"))
}

// proves: D10
#[test]
#[expect(clippy::too_many_lines, reason = "one story on servers that take long to start")]
fn every_fault_on_the_way_to_a_server_has_a_verdict_of_its_own_also_from_within_a_bare_namespace() {
    let Some(net) = Net::new() else {
        println!("skipped: network namespaces need root, `ip`, `nft`, `dnsmasq` and `openssl`");
        return;
    };
    let platform = Platform::new();
    let ca = net.folder().join("ca.crt").display().to_string();
    let inside = net.client();
    let ask = |targets: &[&str], more: &[&str]| {
        let common =
            ["network", "--json", "--inside", &inside, "--ca", &ca, "--timeout", "2s", "--deadline", "60s"];
        let outcome = platform.run(&[&common[..], more, targets].concat());
        (outcome.json(), outcome)
    };

    let (answer, outcome) = ask(
        &[
            "https://api.muster.test:4443/",
            "https://api.muster.test:4444/",
            "tls://other.muster.test:4443",
            "api.muster.test:5432",
            "api.muster.test:5433",
            "api.muster.test:5999",
            "missing.muster.test:443",
            "192.0.2.1:80",
        ],
        &[],
    );
    outcome.assert_exit(1);
    let verdict = |target: &str, kind: &str, of: Option<&str>| {
        let one = probe(&answer, target, kind, of);
        assert!(one["seconds"].as_f64().unwrap() >= 0.0 && !one["found"].as_str().unwrap().is_empty());
        format!("{} {}", one["verdict"].as_str().unwrap(), one["reason"].as_str().unwrap_or("-"))
    };
    let good = "https://api.muster.test:4443/";
    // Three name servers: one that drops the question, one where nobody listens, one that answers.
    assert_eq!(verdict(good, "name-server", Some(&net.silent)), "failed no-answer");
    assert_eq!(verdict(good, "name-server", Some(&net.closed)), "failed refused");
    assert_eq!(verdict(good, "name-server", Some(&net.server)), "ok -");
    assert_eq!(verdict(good, "resolver", None), "ok -", "{answer:#}");
    assert_eq!(verdict(good, "authoritative", None), "ok -", "{answer:#}");
    for kind in ["route", "tcp", "tls", "http"] {
        assert_eq!(verdict(good, kind, None), "ok -", "{answer:#}");
    }
    assert!(probe(&answer, good, "http", None)["found"].as_str().unwrap().contains("200"));
    assert!(probe(&answer, good, "route", None)["found"].as_str().unwrap().contains("mtu 1400"));
    let ended = "https://api.muster.test:4444/";
    assert_eq!(verdict(ended, "tcp", None), "ok -");
    assert_eq!(verdict(ended, "tls", None), "failed expired");
    assert!(probe(&answer, ended, "tls", None)["found"].as_str().unwrap().contains("ends 2025-02-01"));
    assert_eq!(verdict("tls://other.muster.test:4443", "tls", None), "failed wrong-name");
    assert_eq!(verdict("api.muster.test:5432", "tcp", None), "failed no-answer");
    // The rule stands in the namespace that is looked from: it is named.
    assert_eq!(verdict("api.muster.test:5433", "tcp", None), "failed no-answer");
    let hint = probe(&answer, "api.muster.test:5433", "tcp", None)["hint"].as_str().unwrap();
    assert!(hint.contains("tcp dport 5433 drop"), "{hint}");
    assert_eq!(verdict("api.muster.test:5999", "tcp", None), "failed refused");
    assert_eq!(verdict("missing.muster.test:443", "resolver", None), "failed no-such-name");
    assert_eq!(verdict("192.0.2.1:80", "route", None), "failed no-route");

    // The place itself.
    let place = |kind: &str| {
        let all = answer["probes"].as_array().unwrap();
        all.iter().find(|one| one["target"].is_null() && one["probe"] == kind).unwrap()["found"].to_string()
    };
    assert!(
        place("resolv-conf").contains(&net.silent) && place("resolv-conf").contains("search muster.test")
    );
    assert!(place("interfaces").contains("mtu 1400") && place("interfaces").contains(&net.own));
    assert!(place("firewall").contains("tcp dport 5433 drop"), "{}", place("firewall"));

    // A short name, by the search domain; an address of the outside that a prober sees.
    let (short, outcome) = ask(&["api:4443"], &[]);
    assert_eq!(probe(&short, "api:4443", "tcp", None)["verdict"], "ok", "{short:#}");
    assert!(outcome.stdout.contains("\"no-answer\""), "the silent name server is told");

    // No time: what is known is told, and the rest is said to be unknown.
    let common = ["network", "--json", "--inside", &inside, "--timeout", "20s", "--deadline", "3s"];
    let late = platform.run(&[&common[..], &["api.muster.test:4443", "192.0.2.1:80"]].concat()).json();
    assert_eq!(probe(&late, "api.muster.test:4443", "deadline", None)["verdict"], "unknown");
    assert_eq!(probe(&late, "192.0.2.1:80", "route", None)["reason"], "no-route");

    // For people; and what cannot be meant.
    let text = platform.run(&["network", "--inside", &inside, "--ca", &ca, "--timeout", "1s", ended]);
    assert!(text.stdout.contains("failed   tls: the certificate has ended"), "{}", text.stdout);
    platform.run(&["network", "ftp://x"]).assert_exit(2);
    platform.run(&["network", "--inside", "no-such-service", "localhost:1"]).assert_exit(2);
    // Without a configuration, servers that are named are looked at all the same.
    let bare = tempfile::tempdir().unwrap();
    let cli = muster_testkit::Cli::with_binary(env!("CARGO_BIN_EXE_muster"), bare.path());
    let answer = cli.run(&["network", "--json", "localhost:1"]).json();
    assert_eq!(probe(&answer, "localhost:1", "tcp", None)["reason"], "refused", "{answer:#}");
}

#[test]
fn a_prober_elsewhere_says_whether_it_reaches_a_server_and_its_silence_is_no_verdict() {
    let platform = Platform::new();
    let server = std::sync::Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let address = server.server_addr().to_string();
    let listening = std::sync::Arc::clone(&server);
    let thread = std::thread::spawn(move || {
        for request in listening.incoming_requests() {
            let is_right = request.url() == "/probe?target=127.0.0.1%3A1&module=tcp";
            let page = if is_right { "probe_duration_seconds 0.5\nprobe_success 0\n" } else { "what?" };
            drop(request.respond(tiny_http::Response::from_string(page)));
        }
    });
    let config = |url: &str| {
        let config = format!("{}network: {{outside: \"{url}\"}}\n", platform.sandbox.config());
        platform.sandbox.write_config(&config);
        let answer = platform.run(&["network", "--json", "127.0.0.1:1"]).json();
        probe(&answer, "127.0.0.1:1", "outside", None).clone()
    };
    let told = config(&format!("http://{address}/probe?target={{{{ target }}}}&module=tcp"));
    assert_eq!((&told["verdict"], &told["reason"]), (&"failed".into(), &"not-reached".into()), "{told}");
    let told = config(&format!("http://{address}/other"));
    assert_eq!((&told["verdict"], &told["reason"]), (&"unknown".into(), &"prober-silent".into()), "{told}");
    server.unblock();
    thread.join().unwrap();
}
