//! Blocking an attacker: a host with two neighbours in networks of their own, a real service, the kernel's packet filter.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use muster_testkit::{Cli, Outcome, free_port, wait_for};

use super::{Place, step};

const PATIENCE: Duration = Duration::from_mins(1);

/// A host, an attacker and an office, each in a network namespace; they end with it.
struct Net {
    names: [String; 3],
    server: Option<Child>,
    port: u16,
}

fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn inside(name: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", name]).current_dir("/tmp");
    command
}

impl Net {
    fn new() -> Self {
        let names = ["h", "a", "o"].map(|one| format!("mst{}{one}", std::process::id()));
        let mut net = Self { names, server: None, port: free_port() };
        let [host, attacker, office] = net.names.clone();
        for name in [&host, &attacker, &office] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        for (name, subnet) in [(&attacker, 1), (&office, 2)] {
            let link = format!("v{subnet}");
            ip(&["-n", &host, "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name]);
            for (name, link, last) in [(&host, link.as_str(), 1), (name, "eth0", 2)] {
                ip(&["-n", name, "address", "add", &format!("10.77.{subnet}.{last}/24"), "dev", link]);
                ip(&["-n", name, "link", "set", link, "up"]);
            }
        }
        let mut server = inside(&host);
        server.args(["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--port"]);
        server.arg(net.port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        net.server = Some(server.spawn().unwrap());
        wait_for("the service", PATIENCE, || net.can_connect(2).then_some(()));
        net
    }

    /// What asks the service from the neighbour in a subnet.
    fn ask(&self, subnet: u8) -> Vec<String> {
        let name = &self.names[usize::from(subnet)];
        let words = format!("ip netns exec {name} redis-cli -h 10.77.{subnet}.1 -p {} ping", self.port);
        words.split(' ').map(str::to_owned).collect()
    }

    fn can_connect(&self, subnet: u8) -> bool {
        let output = Command::new("timeout").arg("3").args(self.ask(subnet)).output().unwrap();
        output.stdout.starts_with(b"PONG")
    }

    fn rules(&self) -> String {
        let output = inside(&self.names[0]).args(["nft", "list", "ruleset"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            server.kill().ok();
            server.wait().ok();
        }
        for name in &self.names {
            Command::new("ip").args(["netns", "del", name]).status().ok();
        }
    }
}

/// A platform on the host.
struct Host {
    net: Net,
    place: Place,
}

impl Host {
    fn new() -> Self {
        let (net, place) = (Net::new(), Place::new());
        let config = place.sandbox.config_file();
        let check = |name: &str, words: &[String]| {
            format!(
                "  {name}: {{command: [{}], conditions: [\"[BODY] == PONG\"], timeout: 3s}}\n",
                words.join(", ")
            )
        };
        let health = format!("redis-cli -p {} ping", net.port);
        let health: Vec<String> = health.split(' ').map(str::to_owned).collect();
        let more = [
            check("attacker", &net.ask(1)),
            check("office", &net.ask(2)),
            check("health", &health),
            "  armed: {command: [sh, -c, \"nft list ruleset | grep -q 'timeout 5m'\"]}\n".to_owned(),
            "  never: {command: [\"false\"]}\n".to_owned(),
        ];
        let text = fs::read_to_string(&config).unwrap() + &more.concat();
        fs::write(&config, text).unwrap();
        Self { net, place }
    }

    fn run_from(&self, session: &str, steps: &str) -> Outcome {
        self.place.write("x.md", &format!("---\ntitle: x\n---\n```muster\n{steps}\n```\n"));
        let cli = Cli::with_binary("/usr/sbin/ip", self.place.sandbox.path())
            .env("SSH_CONNECTION", format!("{session} 50000 10.77.2.1 22"));
        let muster = env!("CARGO_BIN_EXE_muster");
        cli.run(&["netns", "exec", &self.net.names[0], muster, "run", "x.md", "--yes", "--json"])
    }

    fn run(&self, steps: &str) -> Outcome {
        self.run_from("10.77.2.2", steps)
    }

    /// Says nothing but the reason, and leaves the packet filter as it was.
    fn assert_refused(&self, outcome: &Outcome, words: &str) {
        outcome.assert_exit(1);
        assert!(outcome.stdout.contains(words), "{words}: {}", outcome.stdout);
        assert!(self.net.can_connect(1), "the block is not there: {}", self.net.rules());
        assert!(!self.net.rules().contains("10.77."), "{}", self.net.rules());
    }
}

// proves: D25
#[test]
fn a_blocked_source_cannot_connect_an_allowed_one_can_and_what_cannot_be_proven_is_taken_back() {
    let host = Host::new();
    // Nobody saws off the branch that they sit on.
    let own = host.run_from("10.77.1.2", "id: cut\nblock: 10.77.1.0/24");
    host.assert_refused(&own, "10.77.1.2 is where your own session comes from; nothing was blocked");
    let dead = host.run("id: cut\nblock: {addresses: [10.77.1.2], fails: [never]}");
    host.assert_refused(&dead, "check `never` fails already without the block");
    let other = host.run("id: cut\nblock: {addresses: [10.77.3.3], fails: [attacker]}");
    host.assert_refused(
        &other,
        "check `attacker` still passes: it is not kept out; the block was removed again",
    );
    let broken = host.run("id: cut\nblock: {addresses: [10.77.1.2], fails: [attacker], passes: [never]}");
    host.assert_refused(&broken, "check `never` does not pass behind the block");

    // While it is proven it would end by itself; then it stays.
    let steps = "- id: cut\n  block: {addresses: [10.77.1.2, \"2001:db8::/32\"], fails: [attacker], passes: [office, health, armed]}\n";
    let report = host.run(steps).assert_exit(0).json();
    let summary = step(&report, "cut")["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("attacker failing, office passing, health passing"), "{summary}");
    assert!(!host.net.can_connect(1) && host.net.can_connect(2));
    let rules = host.net.rules();
    assert!(rules.contains("10.77.1.2") && !rules.contains("timeout"), "{rules}");
    // Another run takes it away by the name of the run and the step.
    let run = report["run"].as_str().unwrap();
    host.run(&format!("unblock: {{step: cut, run: {run}}}")).assert_exit(0);
    assert!(host.net.can_connect(1));

    // A service is isolated: its port is for the office only.
    let port = host.net.port;
    let isolate = format!(
        "- id: alone\n  isolate: {{except: [10.77.2.2], ports: [{port}], fails: [attacker], passes: [office, health]}}\n- unblock: alone"
    );
    host.run(&isolate).assert_exit(0);
    assert!(host.net.can_connect(1), "{}", host.net.rules());
}

// proves: D25
#[test]
fn a_block_with_a_limit_is_taken_back_by_the_kernel_unless_somebody_says_that_it_stays() {
    let host = Host::new();
    let block = "- id: cut\n  block: {addresses: [10.77.1.2], revert_after: 15s, fails: [attacker]}\n";
    let report = host.run(block).assert_exit(0).json();
    let summary = step(&report, "cut")["summary"].as_str().unwrap().to_owned();
    assert!(
        summary.contains("the kernel takes it back at") && summary.contains("keep_block: cut"),
        "{summary}"
    );
    wait_for("the kernel", PATIENCE, || host.net.can_connect(1).then_some(()));
    let report = host.run(&format!("{block}- id: stays\n  keep_block: cut\n")).assert_exit(0).json();
    assert!(step(&report, "stays")["summary"].as_str().unwrap().contains("stays"), "{report:#}");
    // The first table is still there, with nobody in it.
    let rules = host.net.rules();
    assert!(rules.contains("10.77.1.2") && !rules.contains("expires"), "{rules}");
    assert!(!host.net.can_connect(1));
}
