//! Components of kind `vault` and `etcd`: what they need, and what belongs to other kinds.

use muster_cli::config::ConfigError;

use super::{shows_only, whole};

/// Everything that is said, with what to do.
fn all(error: &ConfigError) -> String {
    let lines =
        error.findings.iter().map(|one| format!("{} {}", one.message, one.hint.as_deref().unwrap_or("")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_vault_needs_an_address_and_one_way_to_log_in_and_no_secret_in_clear_text() {
    let error = whole("  vault: {kind: vault, backup: {every: 1h}}\n").refused();
    let text = all(&error);
    assert!(
        text.contains("component `vault` has no `url`") && text.contains("add `url: https://vault:8200`")
    );
    assert!(
        text.contains("has neither a `token` nor an AppRole") && text.contains("add `token: ${file:"),
        "{text}"
    );
    assert_eq!(error.findings.len(), 2);
    let error =
        whole("  vault: {kind: vault, url: \"http://v:8200\", role_id: r, backup: {every: 1h}}\n").refused();
    shows_only(&error, "muster.yaml:9:3", "vault", "has half of an AppRole", "give both");
    let error = whole(
        "  vault:\n    kind: vault\n    url: http://v:8200\n    token: s.geheim\n    backup: {every: 1h}\n",
    )
    .refused();
    assert!(!error.to_string().contains("s.geheim"), "{error}");
    shows_only(
        &error,
        "muster.yaml:12:12",
        "***",
        "the token of component `vault` stands here in clear text",
        "write `token: ${file:",
    );
    let text = "  vault:\n    kind: vault\n    url: http://v:8200\n    token: ${env:T}\n    prove: {assert: [{sql: select}]}\n    backup: {every: 1h}\n";
    let error = whole(text).variable("T", "t").refused();
    shows_only(&error, "muster.yaml:13:22", "{", "`vault` has no assertions", "canary");
}

#[test]
fn keys_of_a_server_are_refused_on_other_kinds_and_those_of_others_on_a_server() {
    for (keys, what) in [
        ("kind: sqlite, path: /srv/a.db, canary: a/b", "`canary` does not belong to kind `sqlite`"),
        ("kind: files, paths: [/srv/a], members: {a: {url: x}}", "`members` does not belong to kind `files`"),
        ("kind: postgres, url: \"postgres://d/a\", token: t", "`token` does not belong to kind `postgres`"),
        ("kind: etcd, url: \"http://e:2379\", token: t", "`token` does not belong to kind `etcd`"),
        (
            "kind: vault, url: \"http://v:8200\", data_dir: /srv/v",
            "`data_dir` does not belong to kind `vault`",
        ),
        ("kind: etcd, url: \"http://e:2379\", path: /srv/e", "`path` does not belong to kind `etcd`"),
        ("kind: vault, url: \"http://v:8200\", exclude: [a]", "`exclude` does not belong to kind `vault`"),
    ] {
        let error = whole(&format!("  one: {{{keys}, backup: {{every: 1h}}}}\n")).refused();
        assert!(all(&error).contains(what), "{keys}: {error}");
    }
}

#[test]
fn places_of_members_may_not_lie_in_one_another() {
    let text = "  store:\n    kind: etcd\n    url: http://e:2379\n    members:\n      \
        a: {peer_url: \"http://a:2380\", data_dir: /srv/e}\n      \
        b: {peer_url: \"http://b:2380\", data_dir: /srv/e/b}\n    backup: {every: 1h}\n";
    let error = whole(text).refused();
    assert!(all(&error).contains("lies inside `/srv/e` of component `store`"), "{error}");
}
