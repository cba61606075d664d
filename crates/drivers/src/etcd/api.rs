//! What etcd is asked for through its HTTP gateway, and what its answers mean.
//!
//! In: a client URL, a user where authentication is on. Out: how the cluster stands, what it holds at a revision, and a
//! snapshot as a stream. It only reads, but for a scratch
//! server. A password goes into a body and never into an argument or an error.
//!
//! Source: the JSON gateway of etcd 3.4 and later, `/v3/…`; numbers of 64 bits come as texts.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_types::{Kind, config::EtcdComponent, event::Watcher, text::hex};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    DriverError,
    http::{Answer, Client},
};

/// All keys: from the first possible one to the end, in base64.
const EVERYTHING: &str = "AA==";
/// Keys that are read at once: a value may have 1.5 MB.
const PAGE: u32 = 100;

/// One etcd server, live or in a sandbox.
pub(super) struct Api {
    client: Client,
    token: Option<String>,
}

/// How the asked member stands.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) cluster_id: String,
    pub(super) member_id: String,
    /// `None` when nobody leads: the quorum is lost.
    pub(super) leader: Option<String>,
    pub(super) revision: u64,
    pub(super) db_bytes: u64,
}

/// A member, as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) id: String,
    /// Empty for one that has never started.
    pub(super) name: String,
    pub(super) peer_urls: Vec<String>,
    pub(super) client_urls: Vec<String>,
}

/// What a cluster holds at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) revision: u64,
    pub(super) keys: u64,
    /// SHA-256 over every key with its value, versions and lease, in hex.
    pub(super) hash: String,
}

impl Api {
    /// Connects, and logs in where a user is given.
    ///
    /// # Errors
    /// `Config`: no URL, no password. `Unavailable`: no answer, or the login is refused.
    pub(super) fn open(component: &EtcdComponent) -> Result<Self, DriverError> {
        let url = component.url.as_deref().unwrap_or_default();
        let mut api = Self::of(Client::new(url, &component.tls, "https://etcd:2379")?);
        api.log_in(component)?;
        Ok(api)
    }

    pub(super) fn of(client: Client) -> Self {
        Self { client, token: None }
    }

    /// Logs in where a user is given.
    pub(super) fn log_in(&mut self, component: &EtcdComponent) -> Result<(), DriverError> {
        let Some(user) = &component.user else { return Ok(()) };
        if let Some(missing) = &component.secret_missing {
            return Err(
                DriverError::new(Kind::Config, missing.message.clone()).with_hint(missing.hint.clone())
            );
        }
        let body =
            json!({"name": user, "password": component.password.as_deref().unwrap_or_default().trim_end()});
        let answer = self.client.ask("POST", "/v3/auth/authenticate", &[], Some(&body))?;
        match answer.text("/token") {
            Some(token) => self.token = Some(token.to_owned()),
            // A cluster without authentication needs no login.
            None if said(&answer).contains("authentication is not enabled") => {}
            None => {
                return Err(self
                    .refused(&format!("log in the user `{user}`"), &answer)
                    .with_hint("correct `user` and `password`"));
            }
        }
        Ok(())
    }

    pub(super) fn url(&self) -> &str {
        self.client.url()
    }

    /// Asks the member how it stands.
    pub(super) fn status(&self) -> Result<Status, DriverError> {
        let body = self.ask("/v3/maintenance/status", "tell how it stands", &json!({}))?;
        let text =
            |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = text("/version");
        if version.is_empty() {
            return Err(DriverError::new(
                Kind::Unavailable,
                format!("{} does not answer like an etcd", self.url()),
            )
            .with_hint(
                "correct `url`: it is a client URL, and the gateway must be on (`--enable-grpc-gateway`)",
            ));
        }
        Ok(Status {
            version,
            cluster_id: text("/header/cluster_id"),
            member_id: text("/header/member_id"),
            leader: Some(text("/leader")).filter(|id| !id.is_empty() && id != "0"),
            revision: number(&body, "/header/revision"),
            db_bytes: number(&body, "/dbSize"),
        })
    }

    /// Lists the members.
    pub(super) fn members(&self) -> Result<Vec<Member>, DriverError> {
        let body = self.ask("/v3/cluster/member/list", "list its members", &json!({}))?;
        let texts = |one: &Value, name: &str| {
            let list = one[name].as_array().into_iter().flatten();
            list.filter_map(Value::as_str).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let members = body["members"].as_array().into_iter().flatten().map(|one| Member {
            id: one["ID"].as_str().unwrap_or_default().to_owned(),
            name: one["name"].as_str().unwrap_or_default().to_owned(),
            peer_urls: texts(one, "peerURLs"),
            client_urls: texts(one, "clientURLs"),
        });
        Ok(members.collect())
    }

    /// Lists what the cluster warns of by itself: `NOSPACE`, `CORRUPT`.
    pub(super) fn alarms(&self) -> Result<Vec<String>, DriverError> {
        let body = self.ask("/v3/maintenance/alarm", "list its alarms", &json!({"action": "GET"}))?;
        let alarms = body["alarms"].as_array().into_iter().flatten();
        Ok(alarms.filter_map(|one| one["alarm"].as_str()).map(ToOwned::to_owned).collect())
    }

    /// Returns the newest revision that the whole cluster agrees on.
    ///
    /// # Errors
    /// `Unavailable`: the quorum is lost.
    pub(super) fn revision(&self) -> Result<u64, DriverError> {
        let asked = json!({"key": EVERYTHING, "range_end": EVERYTHING, "count_only": true});
        self.ask("/v3/kv/range", "agree on what it holds", &asked)
            .map(|body| number(&body, "/header/revision"))
    }

    /// Reads what it holds at a revision, key by key; `None` when its history was compacted meanwhile.
    ///
    /// etcd's own hash of its keys cannot be asked for through the gateway of 3.4.
    ///
    /// # Errors
    /// `Unavailable`; `Interrupted`.
    pub(super) fn holding(
        &self,
        revision: u64,
        watcher: &dyn Watcher,
    ) -> Result<Option<Holding>, DriverError> {
        let at = revision.to_string();
        let (mut hasher, mut keys, mut first) = (Sha256::new(), 0, EVERYTHING.to_owned());
        loop {
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            // Its own history, without a word from the others: the revision is agreed on already.
            let asked = json!({
                "key": first, "range_end": EVERYTHING, "revision": at, "limit": PAGE.to_string(), "serializable": true,
            });
            let answer = self.client.ask("POST", "/v3/kv/range", &self.headers(), Some(&asked))?;
            if !answer.is_success() && said(&answer).contains("has been compacted") {
                return Ok(None);
            }
            if !answer.is_success() || !answer.body.is_object() {
                return Err(self.refused("list its keys", &answer).with_hint(hint_for(&answer)));
            }
            let page = answer.body["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
            for pair in page {
                keys += 1;
                for name in ["key", "value", "create_revision", "mod_revision", "version", "lease"] {
                    hasher.update(pair[name].as_str().unwrap_or("0"));
                    hasher.update([b' ']);
                }
                hasher.update(b"\n");
            }
            match page.last().and_then(|pair| pair["key"].as_str()) {
                Some(last) if answer.body["more"] == true => first = after(last)?,
                _ => return Ok(Some(Holding { revision, keys, hash: hex(hasher.finalize()) })),
            }
        }
    }

    /// Begins a snapshot: lines of JSON, each with a piece in base64.
    pub(super) fn snapshot(&self) -> Result<Box<dyn Read + Send>, DriverError> {
        let headers = self.headers();
        match self.client.stream("POST", "/v3/maintenance/snapshot", &headers, Some(&json!({})))? {
            Ok(reader) => Ok(reader),
            Err(answer) => Err(self.refused("give a snapshot", &answer).with_hint(hint_for(&answer))),
        }
    }

    /// Writes a key without a value; returns the revision.
    pub(super) fn put(&self, key: &[u8]) -> Result<u64, DriverError> {
        let body = json!({"key": STANDARD.encode(key), "value": ""});
        self.ask("/v3/kv/put", "write a key", &body).map(|body| number(&body, "/header/revision"))
    }

    /// Removes a key.
    pub(super) fn delete(&self, key: &[u8]) -> Result<(), DriverError> {
        let body = json!({"key": STANDARD.encode(key)});
        self.ask("/v3/kv/deleterange", "remove a key", &body).map(drop)
    }

    /// Forgets what was before a revision, and waits until that is done.
    pub(super) fn compact(&self, revision: u64) -> Result<(), DriverError> {
        let body = json!({"revision": revision.to_string(), "physical": true});
        self.ask("/v3/kv/compaction", "compact its history", &body).map(drop)
    }

    /// Gives back the room of what is forgotten.
    pub(super) fn defragment(&self) -> Result<(), DriverError> {
        self.ask("/v3/maintenance/defragment", "defragment its database", &json!({})).map(drop)
    }

    /// Lists the leases.
    pub(super) fn leases(&self) -> Result<Vec<String>, DriverError> {
        let body = self.ask("/v3/lease/leases", "list its leases", &json!({}))?;
        let leases = body["leases"].as_array().into_iter().flatten();
        Ok(leases.filter_map(|one| one["ID"].as_str()).map(ToOwned::to_owned).collect())
    }

    /// Lets a lease begin its time again; one that has ended is told by its keys.
    pub(super) fn keep_alive(&self, lease: &str) -> Result<(), DriverError> {
        self.ask("/v3/lease/keepalive", "keep a lease alive", &json!({"ID": lease})).map(drop)
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.token.iter().map(|token| ("Authorization", token.as_str())).collect()
    }

    fn ask(&self, path: &str, what: &str, body: &Value) -> Result<Value, DriverError> {
        let answer = self.client.ask("POST", path, &self.headers(), Some(body))?;
        if answer.is_success() && answer.body.is_object() {
            return Ok(answer.body);
        }
        Err(self.refused(what, &answer).with_hint(hint_for(&answer)))
    }

    fn refused(&self, what: &str, answer: &Answer) -> DriverError {
        DriverError::new(Kind::Unavailable, format!("{} does not {what}: {}", self.url(), said(answer)))
    }
}

/// The first key that can stand after another, in base64 as that one.
fn after(key: &str) -> Result<String, DriverError> {
    let mut bytes = STANDARD.decode(key).map_err(|error| {
        DriverError::new(Kind::Unavailable, "a key of the server's answer cannot be read").with_source(error)
    })?;
    bytes.push(0);
    Ok(STANDARD.encode(bytes))
}

/// Says what to do about a refusal.
fn hint_for(answer: &Answer) -> &'static str {
    let said = said(answer);
    if said.contains("no leader") || said.contains("timed out") || said.contains("leader changed") {
        "has the cluster lost its quorum? start its members; if most of them are gone, restore a backup: `muster restore NAME`"
    } else if said.contains("permission denied")
        || said.contains("auth token")
        || said.contains("user name is empty")
    {
        "name a user with the role `root` in `user` and `password`: only that one may take snapshots"
    } else if answer.status == 404 {
        "the server needs its gateway: etcd 3.4 or later, with `--enable-grpc-gateway`"
    } else {
        "look into the server's log"
    }
}

/// A number of 64 bits, which JSON holds as a text; 0 where it is not there, as the gateway leaves zeros out.
pub(super) fn number(body: &Value, pointer: &str) -> u64 {
    match body.pointer(pointer) {
        Some(Value::String(text)) => text.parse().unwrap_or_default(),
        Some(value) => value.as_u64().unwrap_or_default(),
        None => 0,
    }
}

fn said(answer: &Answer) -> String {
    let text = ["/error", "/message", "/error/message"].iter().find_map(|pointer| answer.text(pointer));
    text.map_or_else(|| format!("HTTP {}", answer.status), ToOwned::to_owned)
}
