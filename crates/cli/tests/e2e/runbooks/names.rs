//! The step `dns` against real name servers (BIND) with a dynamic zone and a key: changed, awaited, killed, taken back.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use muster_testkit::{free_port, wait_for};

use super::{PATIENCE, Place, kills};

const KEY: &str =
    "key \"muster.\" { algorithm hmac-sha256; secret \"bXVzdGVyLW11c3Rlci1tdXN0ZXItMDEyMzQ1Njc4OQ==\"; };\n";
const ZONE: &str = "$TTL 2\n@ IN SOA ns1.muster.test. root.muster.test. 1 60 60 600 2\n@ NS ns1\nns1 A 127.0.0.1\n\
                    api 3 A 192.0.2.1\n";

/// A name server with a zone of its own.
struct Bind {
    child: Child,
    port: u16,
    key: PathBuf,
}

impl Bind {
    fn start(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        let port = free_port();
        fs::write(folder.join("zone"), ZONE).unwrap();
        fs::write(folder.join("key"), KEY).unwrap();
        let config = format!(
            "{KEY}controls {{}};\noptions {{ directory \"{}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
             pid-file \"pid\"; session-keyfile \"session\"; recursion no; dnssec-validation no; notify no; }};\n\
             zone \"muster.test\" {{ type primary; file \"zone\"; allow-update {{ key \"muster.\"; }}; }};\n",
            folder.display()
        );
        fs::write(folder.join("named.conf"), config).unwrap();
        let mut command = Command::new("/usr/sbin/named");
        command.args(["-f", "-4", "-n", "1", "-c"]).arg(folder.join("named.conf")).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, port, key: folder.join("key") };
        wait_for("the name server", Duration::from_mins(1), || {
            assert!(server.child.try_wait().unwrap().is_none(), "the name server has ended");
            (server.ask("A") == "192.0.2.1").then_some(())
        });
        server
    }

    fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn ask(&self, record: &str) -> String {
        let name = if record == "SOA" { "muster.test" } else { "api.muster.test" };
        let mut command = Command::new("dig");
        command.args([
            "+short",
            "+tries=1",
            "+time=2",
            "@127.0.0.1",
            "-p",
            &self.port.to_string(),
            name,
            record,
        ]);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    /// Each change makes it one more.
    fn serial(&self) -> u32 {
        self.ask("SOA").split(' ').nth(2).unwrap().parse().unwrap()
    }

    /// Brings it to a value as a transfer would.
    fn follow(&self, value: &str) {
        let text = format!(
            "server 127.0.0.1 {}\nupdate delete api.muster.test. A\nupdate add api.muster.test. 3 A {value}\nsend\n",
            self.port
        );
        let path = self.key.with_extension("update");
        fs::write(&path, text).unwrap();
        let status = Command::new("nsupdate").arg("-k").args([&self.key, &path]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A runbook with one change of the record, and what comes after it.
fn runbook(place: &Place, keys: &str, more: &str) {
    place.write(
        "move.md",
        &format!("---\ntitle: Move\nversion: 1\n---\n## Move\n```muster\nid: move\ndns: {{name: api.muster.test, {keys}}}\n{more}"),
    );
}

// proves: C22
#[test]
#[expect(clippy::too_many_lines, reason = "one story on servers that take long to start")]
fn a_record_is_changed_once_and_the_step_is_done_when_every_server_answers_and_the_old_answer_is_forgotten() {
    if !Path::new("/usr/sbin/named").exists() || !Path::new("/usr/bin/nsupdate").exists() {
        println!("skipped: `named` and `nsupdate` are not here (bind9, bind9-dnsutils)");
        return;
    }
    let place = Place::new();
    let (first, second) =
        (Bind::start(place.sandbox.path(), "first"), Bind::start(place.sandbox.path(), "second"));
    let key = first.key.display();
    let both =
        format!("server: \"{0}\", key: {key}, servers: [\"{0}\", \"{1}\"]", first.place(), second.place());

    // Shown before anything is done, and nothing is done.
    runbook(&place, &format!("value: 192.0.2.2, {both}, within: 2s"), "```\n");
    let shown = place.run(&["run", "move.md", "--dry-run"]);
    shown.assert_exit(0);
    assert!(shown.stdout.contains("api.muster.test A becomes 192.0.2.2"), "{}", shown.stdout);
    assert_eq!(first.ask("A"), "192.0.2.1");

    // One server lags: it is named, with what it answers.
    let failed = place.run(&["run", "move.md", "--yes", "--json"]);
    failed.assert_exit(1);
    let lag = format!("{} still answers 192.0.2.1", second.place());
    assert!(failed.stdout.contains(&lag), "{}", failed.stdout);
    assert_eq!((first.ask("A").as_str(), first.serial()), ("192.0.2.2", 2));
    second.follow("192.0.2.2");
    let resumed = place.run(&["resume", &place.id(), "--yes", "--json"]);
    resumed.assert_exit(0);
    assert!(resumed.stdout.contains("was 192.0.2.1; the old TTL of 3 s is over"), "{}", resumed.stdout);
    assert_eq!(first.serial(), 2, "it was changed once");

    // Killed after the change: the name servers know how far it has come, and the journal what was before.
    runbook(&place, &format!("value: 192.0.2.3, {both}, within: 5m"), "```\n");
    let mut running = place.cli.spawn(&["run", "move.md", "--yes"]);
    wait_for("the change", PATIENCE, || {
        assert!(running.is_alive(), "{}", running.stderr_so_far());
        (first.ask("A") == "192.0.2.3").then_some(())
    });
    running.kill();
    wait_for("the end of a killed process", PATIENCE, || (!running.is_alive()).then_some(()));
    kills::nobody_works(place.sandbox.path());
    second.follow("192.0.2.3");
    let resumed = place.run(&["resume", &place.id(), "--yes", "--json"]);
    resumed.assert_exit(0);
    assert!(resumed.stdout.contains("was 192.0.2.2;"), "{}", resumed.stdout);
    assert_eq!(first.serial(), 3, "it was changed once");

    // A later step fails: the old value comes back.
    let one = format!("server: \"{0}\", key: {key}, servers: [\"{0}\"]", first.place());
    runbook(
        &place,
        &format!("value: [192.0.2.4, 192.0.2.5], {one}"),
        "undo: back\n```\n```bash {name=break, class=observe}\ndig +short @127.0.0.1 -p PORT api.muster.test > seen; exit 1\n```\n"
            .replace("PORT", &first.port.to_string())
            .as_str(),
    );
    let failed = place.run(&["run", "move.md", "--yes", "--json"]);
    failed.assert_exit(1);
    let seen = place.read("seen");
    assert!(seen.contains("192.0.2.4") && seen.contains("192.0.2.5"), "{seen}");
    assert_eq!((first.ask("A").as_str(), first.serial()), ("192.0.2.3", 5));

    // A command of the provider, which is told what to change; and a key that the server does not know.
    let command = format!(
        "command: 'echo \"$DNS_NAME $DNS_TYPE $DNS_VALUE $DNS_TTL\" > told; printf \"server 127.0.0.1 {}\\nupdate delete \
         $DNS_NAME. A\\nupdate add $DNS_NAME. $DNS_TTL A $DNS_VALUE\\nsend\\n\" | nsupdate -k {key}'",
        first.port
    );
    runbook(
        &place,
        &format!("value: 192.0.2.6, ttl: 4s, servers: [\"{}\"], {command}", first.place()),
        "```\n",
    );
    place.run(&["run", "move.md", "--yes"]).assert_exit(0);
    assert_eq!(
        (place.read("told").as_str(), first.ask("A").as_str()),
        ("api.muster.test A 192.0.2.6 4\n", "192.0.2.6")
    );
    let wrong = place.sandbox.path().join("wrong.key");
    fs::write(&wrong, KEY.replace("bXVz", "aXVz")).unwrap();
    let strange = one.replace(&key.to_string(), &wrong.display().to_string());
    for (keys, code, why) in [
        (format!("value: 192.0.2.7, {strange}"), 1, "BADSIG"),
        (format!("value: 192.0.2.777, {one}"), 2, "no value of a record of type A"),
        ("value: 192.0.2.7".to_owned(), 2, "needs one way to change the record"),
        (format!("type: SRV, value: x, {one}"), 2, "no record that can be changed"),
    ] {
        runbook(&place, &keys, "```\n");
        let told = place.run(&["run", "move.md", "--yes"]);
        told.assert_exit(code);
        assert!(format!("{}{}", told.stdout, told.stderr).contains(why), "{}{}", told.stdout, told.stderr);
    }
    assert_eq!((first.ask("A").as_str(), first.serial()), ("192.0.2.6", 6));
}

#[test]
fn a_step_looks_at_the_way_to_a_server_and_fails_with_what_is_wrong_on_it() {
    let place = Place::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = |target: &str| {
        format!(
            "---\ntitle: Look\nversion: 1\n---\n## Look\n```muster\nid: look\nnetwork: [\"{target}\"]\n```\n"
        )
    };
    place.write("look.md", &text(&format!("127.0.0.1:{port}")));
    let report = place.run(&["run", "look.md", "--yes", "--json"]).assert_exit(0).json();
    let output = super::step(&report, "look")["output"].as_str().unwrap();
    assert!(output.contains(&format!("ok 127.0.0.1:{port} tcp")), "{output}");
    place.write("look.md", &text("127.0.0.1:1"));
    let failed = place.run(&["run", "look.md", "--yes", "--json"]);
    failed.assert_exit(1);
    assert!(
        failed.stdout.contains("127.0.0.1:1 tcp 127.0.0.1:1: the connection was refused"),
        "{}",
        failed.stdout
    );
}
