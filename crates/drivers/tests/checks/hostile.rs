//! Who never answers, and who answers something else: the kinds of checks that other files do not try in this way.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use muster_drivers::checks::validate;
use muster_testkit::SilentDisk;
use muster_types::config::{Check, Component, PrometheusCheck, RedisComponent, SqliteCheck};
use tempfile::TempDir;

use crate::{answering, given, reason};

/// Nobody takes the call, and nobody refuses it either: the queue of a listener is full.
struct Full {
    address: SocketAddr,
    _listener: TcpListener,
    _calls: Vec<TcpStream>,
}

impl Full {
    fn new() -> Self {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
                .unwrap();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        rustix::net::listen(&socket, 0).unwrap();
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().unwrap();
        let mut calls = Vec::new();
        while let Ok(call) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            calls.push(call);
            assert!(calls.len() < 100, "the queue has no end");
        }
        Self { address, _listener: listener, _calls: calls }
    }
}

fn hasty(check: Check) -> Check {
    Check { timeout: Some("700ms".parse().unwrap()), ..check }
}

/// A program that is called like one that is asked for its version.
fn program(folder: &Path, text: &str) -> String {
    let path = folder.join("tool");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn who_takes_the_call_and_never_answers_has_not_passed_when_the_time_is_over() {
    let full = Full::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let prometheus = PrometheusCheck { url: format!("http://{silent}"), query: None };
    let folder = TempDir::new().unwrap();
    for check in [
        Check { tcp: Some(full.address.to_string()), ..given(&[]) },
        Check { tcp: Some(full.address.to_string()), ..given(&["[CONNECTED] == true"]) },
        Check { tls: Some(full.address.to_string()), ..given(&[]) },
        Check { prometheus: Some(prometheus), ..given(&[]) },
        Check { statuspage: Some(format!("http://{silent}/api/v2/status.json")), ..given(&[]) },
        Check { tool: Some(program(folder.path(), "sleep 60")), ..given(&["[VERSION] >= 1"]) },
    ] {
        assert_eq!(reason(&hasty(check.clone())).as_deref(), Some("no answer within 700ms"), "{check:?}");
    }
}

#[test]
fn a_file_system_that_never_answers_fails_its_checks_when_their_time_is_over() {
    let disk = SilentDisk::new();
    for check in [
        Check { disk: Some(disk.path().to_owned()), ..given(&[]) },
        Check { file: Some(disk.path().join("*.dump")), ..given(&["[AGE] < 26h"]) },
        Check { file: Some(disk.path().join("one.dump")), ..given(&["[AGE] < 26h"]) },
    ] {
        assert_eq!(reason(&hasty(check.clone())).as_deref(), Some("no answer within 700ms"), "{check:?}");
    }
}

#[test]
fn who_answers_something_else_is_told_by_what_was_wrong_with_it() {
    let page = answering("200 OK", b"<html></html>", Duration::ZERO);
    let folder = TempDir::new().unwrap();
    let noise = folder.path().join("noise.db");
    fs::write(&noise, [7; 4096]).unwrap();
    let redis = Component::Redis(RedisComponent {
        url: Some(page.replace("http://", "redis://").replace("/health", "")),
        ..RedisComponent::default()
    });
    let nonsense = program(folder.path(), "echo nothing to see here");
    for (check, told) in [
        (Check { statuspage: Some(page.clone()), ..given(&[]) }, "[BODY]"),
        (Check { redis: Some("it".into()), component: Some(Box::new(redis)), ..given(&[]) }, "redis"),
        (
            Check { sqlite: Some(SqliteCheck { path: noise, sql: None }), ..given(&[]) },
            "file is not a database",
        ),
        (Check { tool: Some(nonsense), ..given(&["[VERSION] >= 1"]) }, "[VERSION]"),
    ] {
        let why = reason(&check).unwrap();
        assert!(why.to_lowercase().contains(&told.to_lowercase()), "{told}: {why}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_before_anybody_is_asked() {
    for (check, offending) in [
        (Check { tcp: Some("localhost".into()), ..given(&[]) }, "localhost"),
        (Check { command: Some(Vec::new()), ..given(&[]) }, ""),
        (Check { tool: Some("rm -rf /".into()), ..given(&[]) }, "rm -rf /"),
        (Check { statuspage: Some("status.example.com".into()), ..given(&[]) }, "status.example.com"),
        (Check { disk: Some("/".into()), ..given(&["[AGE] < 1h"]) }, "[AGE]"),
        (Check { redis: Some("it".into()), ..given(&["[BODY].ping = PONG"]) }, "[BODY].ping = PONG"),
    ] {
        assert_eq!(validate(&check).unwrap_err().offending, offending, "{check:?}");
        assert!(reason(&check).is_some(), "and it never passes");
    }
}
