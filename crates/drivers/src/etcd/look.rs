//! What `muster survey` says of an etcd: version, members and their health, and what stands in the way of a backup.
//!
//! In: the component's configuration. Out: facts, hindrances, warnings. It asks every member that the cluster knows for
//! its health, and changes nothing.

use muster_types::{ByteSize, Explain, config::EtcdComponent, event::Watcher};

use super::{
    api::{Api, Member},
    backup,
    tool::Tool,
};
use crate::{DriverError, http::Client, look::Look};

pub(super) fn look(component: &EtcdComponent, watcher: &dyn Watcher) -> Look {
    let mut look = Look::default();
    look.add("server", component.url.as_deref().unwrap_or_default());
    if let Err(error) = look_at_server(component, &mut look) {
        hinder(&mut look, &error);
    }
    match Tool::find(component.bin_dir.as_deref(), watcher) {
        Ok(tool) if !tool.can_bump => look.warn(
            format!(
                "{} cannot raise the revision by itself: a restore writes it up in a scratch server, by `raise_by`",
                tool.name()
            ),
            Some("install `etcdutl` of etcd 3.6, and name its folder in `bin_dir`".into()),
        ),
        Ok(_) => {}
        Err(error) => look.warn(
            format!("{error}: backups can be taken, and neither proven nor restored here"),
            error.hint().map(|hint| hint.0),
        ),
    }
    if component.data_dirs().is_empty() {
        look.warn(
            "no data directory on this host is named: a restore goes only `--into FOLDER`",
            Some("add `data_dir: /var/lib/etcd/default`, or `members:`".into()),
        );
    }
    look
}

fn look_at_server(component: &EtcdComponent, look: &mut Look) -> Result<(), DriverError> {
    let api = Api::open(component)?;
    let status = api.status()?;
    look.add("version", &status.version);
    look.add("cluster", &status.cluster_id);
    look.add("revision", status.revision);
    look.add("size", ByteSize(status.db_bytes));
    let members = api.members()?;
    let mut healthy = 0;
    for member in &members {
        let state = state(component, member);
        healthy += usize::from(state == HEALTHY);
        let role = if status.leader.as_ref() == Some(&member.id) { ", leads" } else { "" };
        let asked = if status.member_id == member.id { ", asked" } else { "" };
        let name = if member.name.is_empty() { &member.id } else { &member.name };
        look.add(&format!("member {name}"), format!("{state}{role}{asked}, {}", member.peer_urls.join(" ")));
    }
    backup::refuse_without_leader(&api, &status)?;
    if healthy < members.len() {
        look.warn(
            format!(
                "{} of {} members are healthy; {} are needed",
                healthy,
                members.len(),
                members.len() / 2 + 1
            ),
            Some(
                "start the members that do not answer; one that answers may have no leader for a moment"
                    .into(),
            ),
        );
    }
    for alarm in api.alarms()? {
        look.warn(
            format!("the cluster has the alarm {alarm}"),
            Some("see `etcdctl alarm list`, and the manual of etcd under \"Space quota\"".into()),
        );
    }
    Ok(())
}

/// Says how the cluster stands, for checks.
pub(super) fn standing(component: &EtcdComponent) -> Result<serde_json::Value, DriverError> {
    let api = Api::open(component)?;
    let status = api.status()?;
    // Without a leader nobody answers what all must agree on.
    let members = if status.leader.is_some() { api.members()? } else { Vec::new() };
    let healthy = members.iter().filter(|member| state(component, member) == HEALTHY).count();
    // That somebody leads is one member's view; that the members agree is known when they have.
    let quorum = status.leader.is_some() && api.revision().is_ok();
    Ok(serde_json::json!({
        "version": status.version,
        "cluster_id": status.cluster_id,
        "members": members.len(),
        "healthy": healthy,
        "needed": members.len() / 2 + 1,
        "quorum": quorum,
        "alarms": if quorum { api.alarms()? } else { Vec::new() },
        "db_bytes": status.db_bytes,
        "revision": status.revision,
    }))
}

const HEALTHY: &str = "healthy";

/// How a member is, by the best of its addresses.
fn state(component: &EtcdComponent, member: &Member) -> &'static str {
    let mut state = "does not answer";
    for url in &member.client_urls {
        let client = Client::new(url, &component.tls, "https://etcd:2379");
        let Ok(answer) = client.and_then(|client| client.ask("GET", "/health", &[], None)) else { continue };
        if answer.is_success() && (answer.text("/health") == Some("true") || answer.body["health"] == true) {
            return HEALTHY;
        }
        state = "answers, and is not healthy";
    }
    state
}

fn hinder(look: &mut Look, error: &DriverError) {
    let mend = error.hint().map_or_else(|| "look into the server's log".to_owned(), |hint| hint.0);
    look.hinder(error.to_string(), mend);
}
