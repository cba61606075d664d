//! `dns` against a real name server, and against servers that say nothing, nonsense or too much.

use std::{
    net::{TcpStream, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use muster_drivers::checks::{run, validate};
use muster_testkit::{free_port, wait_for};
use muster_types::{
    config::{Check, DnsCheck, DnsRecord},
    event::Unwatched,
};

use crate::{CLOCK, given, reason};

/// A server for one test; it ends with it.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Server {
    /// Starts a program and waits until something listens on the port.
    pub(crate) fn start(command: &mut Command, port: u16) -> Self {
        Self::start_at(command, "127.0.0.1", port)
    }

    pub(crate) fn start_at(command: &mut Command, host: &str, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self(child.spawn().unwrap());
        wait_for("the server", Duration::from_mins(1), || {
            assert!(server.0.try_wait().unwrap().is_none(), "the server has ended");
            TcpStream::connect((host, port)).ok()
        });
        server
    }
}

fn name_server() -> (Server, u16) {
    let port = free_port();
    let long = "x".repeat(200);
    let mut command = Command::new("/usr/sbin/dnsmasq");
    command.args(["--no-daemon", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--user=root"]);
    command.args(["--bind-interfaces", "--listen-address=127.0.0.1", &format!("--port={port}")]);
    command.args(["--local=/test/", "--host-record=api.test,10.0.0.7", "--host-record=six.test,fd00::7"]);
    command.args(["--host-record=many.test,10.0.0.9", "--host-record=many.test,10.0.0.8"]);
    command.args(["--cname=www.test,api.test", "--mx-host=test,mail.test,10"]);
    let big: Vec<String> = (0..4).map(|number| format!("{long}{number}")).collect();
    command.args(["--txt-record=note.test,hello", &format!("--txt-record=big.test,{}", big.join(","))]);
    (Server::start(&mut command, port), port)
}

fn asking(port: u16, name: &str, record: DnsRecord, conditions: &[&str]) -> Check {
    let dns = DnsCheck { name: name.into(), record, server: Some(format!("127.0.0.1:{port}")) };
    Check { dns: Some(dns), ..given(conditions) }
}

#[test]
fn a_name_is_asked_of_the_server_that_is_named() {
    let (_server, port) = name_server();
    for (name, record, conditions) in [
        ("api.test", DnsRecord::A, &[][..]),
        ("api.test", DnsRecord::A, &["[BODY] == 10.0.0.7", "[DNS_RCODE] == NOERROR", "[IP] == 127.0.0.1"]),
        ("API.test.", DnsRecord::A, &["[BODY] == 10.0.0.7"]),
        ("six.test", DnsRecord::Aaaa, &["[BODY] == fd00::7"]),
        ("many.test", DnsRecord::A, &["len([BODY]) == 2", "[BODY][0] == 10.0.0.8"]),
        // The address behind another name.
        ("www.test", DnsRecord::A, &["[BODY] == 10.0.0.7"]),
        ("www.test", DnsRecord::Cname, &["[BODY] == api.test"]),
        ("test", DnsRecord::Mx, &["[BODY] == \"10 mail.test\""]),
        ("note.test", DnsRecord::Txt, &["[BODY] == hello"]),
        // It fits into no datagram.
        ("big.test", DnsRecord::Txt, &["len([BODY]) == 804"]),
        ("gone.test", DnsRecord::A, &["[DNS_RCODE] == NXDOMAIN"]),
    ] {
        assert_eq!(reason(&asking(port, name, record, conditions)), None, "{name} {record:?} {conditions:?}");
    }
}

#[test]
fn a_name_that_is_not_as_it_should_be_fails_with_what_was_answered() {
    let (_server, port) = name_server();
    let failing =
        |name: &str, record, conditions: &[&str]| reason(&asking(port, name, record, conditions)).unwrap();
    let told = failing("gone.test", DnsRecord::A, &[]);
    assert!(told.contains("`[DNS_RCODE] == NOERROR` does not hold: found NXDOMAIN"), "{told}");
    // The name exists, the record does not: that is NOERROR and still no answer.
    let told = failing("api.test", DnsRecord::Aaaa, &[]);
    assert_eq!(told, "`len([BODY]) > 0` does not hold: found 0");
    let told = failing("api.test", DnsRecord::A, &["[BODY] == 10.0.0.8"]);
    assert_eq!(told, "`[BODY] == 10.0.0.8` does not hold: found 10.0.0.7");
    let told = failing("elsewhere.example", DnsRecord::A, &[]);
    assert!(told.contains("found REFUSED"), "{told}");
}

#[test]
fn a_name_server_that_is_silent_or_talks_nonsense_is_told_apart() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut check = asking(silent.local_addr().unwrap().port(), "api.test", DnsRecord::A, &[]);
    check.timeout = Some("300ms".parse().unwrap());
    assert_eq!(reason(&check).unwrap(), "no answer within 300ms");
    let nobody = reason(&asking(free_port(), "api.test", DnsRecord::A, &[])).unwrap();
    assert_eq!(nobody, "the connection was refused: nothing listens there");
    // Datagrams of strangers and cut ones are passed over, until the time is over.
    let talker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut check = asking(talker.local_addr().unwrap().port(), "api.test", DnsRecord::A, &[]);
    check.timeout = Some("500ms".parse().unwrap());
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((size, from)) = talker.recv_from(&mut question) {
            let stranger = [&[!question[0]], &question[1..size]].concat();
            for answer in [&b"?"[..], &stranger, &question[..5]] {
                talker.send_to(answer, from).unwrap();
            }
        }
    });
    assert_eq!(reason(&check).unwrap(), "no answer within 500ms");
    for (name, server) in [("a..b", "127.0.0.1"), ("api.test", "tcp://127.0.0.1")] {
        let dns = DnsCheck { name: name.into(), record: DnsRecord::A, server: Some(server.into()) };
        let check = Check { dns: Some(dns), ..Check::default() };
        let offending = validate(&check).unwrap_err().offending;
        assert!([name, server].contains(&offending.as_str()), "{offending}");
        assert!(!run("name", &check, &CLOCK, &Unwatched).passed);
    }
}
