//! The members of a cluster: what a file says of each, and what each kind makes of it.
//!
//! In: the keys below `members`. Out: servers of a PostgreSQL cluster, or members of an etcd cluster, and the way back. It
//! never resolves a secret.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::etcd::EtcdMember;

/// What a file may say of a member.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemberKeys {
    /// `postgres`: the server, as `postgres://user@host:port/database`; without a password in it, that of the component is
    /// used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `postgres`: the service that runs it: stopping it is the surest fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `etcd`: its `--initial-advertise-peer-urls`, `http://10.0.0.1:2380`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_url: Option<String>,
    /// Its data directory. `postgres`: on its own host, for the commands that rebuild it. `etcd`: its `--data-dir`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
}

impl std::fmt::Debug for MemberKeys {
    /// Without the URL, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberKeys")
            .field("service", &self.service)
            .field("peer_url", &self.peer_url)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// One server of a PostgreSQL cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// The server, as `postgres://user@host:port/database`; without a password in it, that of the component is used.
    pub url: String,
    /// The service that runs it.
    pub service: Option<String>,
    /// Its data directory on its own host.
    pub data_dir: Option<PathBuf>,
}

impl std::fmt::Debug for Member {
    /// Without the URL, which may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member")
            .field("service", &self.service)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// Takes the servers of a PostgreSQL cluster.
pub(super) fn of_postgres(members: BTreeMap<String, MemberKeys>) -> Result<BTreeMap<String, Member>, String> {
    let server = |(name, keys): (String, MemberKeys)| {
        if keys.peer_url.is_some() {
            return Err(format!("`peer_url` of member `{name}` belongs to kind `etcd`"));
        }
        let MemberKeys { url, service, data_dir, .. } = keys;
        let url = url.ok_or_else(|| format!("member `{name}` has no `url`"))?;
        Ok((name, Member { url, service, data_dir }))
    };
    members.into_iter().map(server).collect()
}

/// Puts them back.
pub(super) fn keys_of_postgres(members: BTreeMap<String, Member>) -> BTreeMap<String, MemberKeys> {
    let keys = |member: Member| MemberKeys {
        url: Some(member.url),
        service: member.service,
        data_dir: member.data_dir,
        peer_url: None,
    };
    members.into_iter().map(|(name, member)| (name, keys(member))).collect()
}

/// Takes the members of an etcd cluster, in the order of their names.
pub(in crate::config) fn of_etcd(members: BTreeMap<String, MemberKeys>) -> Result<Vec<EtcdMember>, String> {
    let member = |(name, keys): (String, MemberKeys)| {
        for (is_set, key) in [(keys.url.is_some(), "url"), (keys.service.is_some(), "service")] {
            if is_set {
                return Err(format!("`{key}` of member `{name}` belongs to kind `postgres`"));
            }
        }
        let missing = |key: &str| format!("member `{name}` has no `{key}`");
        let peer_url = keys.peer_url.ok_or_else(|| missing("peer_url"))?;
        let data_dir = keys.data_dir.ok_or_else(|| missing("data_dir"))?;
        Ok(EtcdMember { name, peer_url, data_dir })
    };
    members.into_iter().map(member).collect()
}

/// Puts them back.
pub(in crate::config) fn keys_of_etcd(members: Vec<EtcdMember>) -> BTreeMap<String, MemberKeys> {
    let keys = |member: EtcdMember| MemberKeys {
        peer_url: Some(member.peer_url),
        data_dir: Some(member.data_dir),
        ..MemberKeys::default()
    };
    members.into_iter().map(|member| (member.name.clone(), keys(member))).collect()
}
