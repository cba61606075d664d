//! `tls`, and HTTPS with an authority of one's own, against a server of `openssl`.

use std::{
    net::TcpListener,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use muster_drivers::checks::{run, validate};
use muster_testkit::{free_port, postgres::tls};
use muster_types::{Clock, Timestamp, config::Check, event::Unwatched};
use tempfile::TempDir;

use crate::{answering, given, names::Server};

/// Certificates end, and files grow old, by the real clock.
pub(crate) struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Timestamp::from_nanosecond(i128::try_from(since.as_nanos()).unwrap()).unwrap()
    }
}

fn reason(check: &Check) -> Option<String> {
    run("certificate", check, &Now, &Unwatched).reason()
}

/// A server whose certificate is valid for a day.
fn encrypted(host: &str) -> (Server, u16, TempDir) {
    let folder = TempDir::new().unwrap();
    tls::authority(folder.path());
    tls::server(folder.path());
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-cert", "server.crt", "-key", "server.key"]);
    command.args(["-accept", &format!("{host}:{port}")]).current_dir(folder.path());
    (Server::start_at(&mut command, host, port), port, folder)
}

#[test]
fn a_certificate_is_trusted_through_the_authority_that_is_named_and_its_end_is_known() {
    let (_server, port, folder) = encrypted("127.0.0.1");
    let ca = Some(folder.path().join("ca.crt"));
    let tls = |conditions: &[&str]| Check {
        tls: Some(format!("localhost:{port}")),
        ca: ca.clone(),
        ..given(conditions)
    };
    assert_eq!(reason(&tls(&["[CERTIFICATE_EXPIRATION] > 23h", "[CONNECTED] == true"])), None);
    let told = reason(&tls(&[])).unwrap();
    let found = told.strip_prefix("`[CERTIFICATE_EXPIRATION] > 7d` does not hold: found ").unwrap();
    assert!(found.starts_with("23h") || found == "1d", "{told}");
    let https = |conditions: &[&str], ca| Check {
        http: Some(format!("https://localhost:{port}/")),
        ca,
        ..given(conditions)
    };
    let both = ["[STATUS] == 200", "[CERTIFICATE_EXPIRATION] > 1h"];
    assert_eq!(reason(&https(&both, ca.clone())), None);
    assert!(
        reason(&https(&["[CERTIFICATE_EXPIRATION] > 48h"], ca.clone()))
            .unwrap()
            .contains("does not hold: found ")
    );
    let stranger = reason(&https(&[], None)).unwrap();
    assert!(stranger.starts_with("TLS failed"), "{stranger}");
}

#[test]
fn who_is_not_trusted_not_meant_or_does_not_speak_tls_fails_with_the_reason() {
    let (_server, port, folder) = encrypted("127.0.0.1");
    let address = format!("localhost:{port}");
    let with = |address: &str, ca: Option<&str>| Check {
        tls: Some(address.to_owned()),
        ca: ca.map(|name| folder.path().join(name)),
        ..given(&["[CERTIFICATE_EXPIRATION] > 1h"])
    };
    let told = reason(&with(&address, None)).unwrap();
    assert!(told.contains("UnknownIssuer") || told.contains("trusts no certificate"), "{told}");
    // The certificate names `localhost` and 127.0.0.1 only.
    let (_elsewhere, other, others) = encrypted("127.0.0.2");
    let elsewhere =
        Check { ca: Some(others.path().join("ca.crt")), ..with(&format!("127.0.0.2:{other}"), None) };
    let told = reason(&elsewhere).unwrap();
    assert!(told.contains("TLS failed") && told.contains("not valid for"), "{told}");
    for (ca, why) in [("gone.crt", "No such file"), ("server.key", "no certificate in it")] {
        let told = reason(&with(&address, Some(ca))).unwrap();
        assert!(told.contains(ca) && told.contains(why), "{told}");
    }
    let plain = answering("200 OK", b"", std::time::Duration::ZERO);
    let plain = plain.trim_start_matches("http://").trim_end_matches("/health");
    let told = reason(&with(plain, Some("ca.crt"))).unwrap();
    assert!(told.starts_with("TLS failed"), "{told}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut check = with(&silent.local_addr().unwrap().to_string(), Some("ca.crt"));
    check.timeout = Some("400ms".parse().unwrap());
    assert_eq!(reason(&check).unwrap(), "no answer within 400ms");
    let told = reason(&with(&format!("127.0.0.1:{}", free_port()), Some("ca.crt"))).unwrap();
    assert_eq!(told, "the connection was refused: nothing listens there");
    assert_eq!(validate(&with("localhost", None)).unwrap_err().offending, "localhost");
    let unencrypted = Check { tcp: Some(address), ca: Some("/ca".into()), ..Check::default() };
    assert_eq!(validate(&unencrypted).unwrap_err().offending, "ca");
}
