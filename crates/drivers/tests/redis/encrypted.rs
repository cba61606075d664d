//! A server that speaks TLS, and replicates by TLS only.

use muster_drivers::component::ComponentDriver;
use muster_testkit::{Redis, free_port, postgres::tls};
use muster_types::{Explain, config::RedisComponent, event::Unwatched, plan::SwapMove};

use crate::{
    placed::copy,
    taken::{driver, refusal, take},
};

#[test]
fn a_server_is_read_and_restored_over_tls_and_another_authority_is_refused() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tls::authority(folder.path());
    tls::authority(other.path());
    tls::server(folder.path());
    let port = free_port();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let server = Redis::builder()
        .append_only()
        .setting("tls-port", &port.to_string())
        .setting("tls-cert-file", &file("server.crt"))
        .setting("tls-key-file", &file("server.key"))
        .setting("tls-ca-cert-file", &file("ca.crt"))
        .setting("tls-auth-clients", "no")
        .setting("tls-replication", "yes")
        .start();
    server.fill(1_000);
    let digest = server.digest();
    let at = |place: &str, authority: &std::path::Path| RedisComponent {
        url: Some(format!("rediss://{place}/?cacert={}", authority.join("ca.crt").display())),
        ..RedisComponent::default()
    };
    let trusted = at(&format!("127.0.0.1:{port}"), folder.path());
    let taken = take(&trusted);
    taken.prove(&[]).unwrap();
    server.cli(&["FLUSHALL"]);
    let driver = driver(&trusted);
    let restored = driver.server().unwrap();
    let one = SwapMove {
        from: other.path().join("r1.new"),
        target: driver.targets()[0].clone(),
        kept: other.path().join("r1.old"),
    };
    copy(taken.place(), &one.from);
    restored.swap(&[one], &Unwatched).unwrap();
    assert_eq!(server.digest(), digest);
    assert_eq!(server.cli(&["CONFIG", "GET", "tls-replication"]), "tls-replication\nyes");
    let error = refusal(&at(&format!("127.0.0.1:{port}"), other.path()));
    assert!(error.to_string().contains("no TLS with"), "{error}");
    assert!(error.hint().unwrap().0.contains("cacert"), "{error}");
    let error = refusal(&at(&format!("127.0.0.1:{}", server.port()), folder.path()));
    assert!(error.to_string().contains("no TLS with"), "the plain port: {error}");
}
