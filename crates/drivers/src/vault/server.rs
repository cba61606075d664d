//! What Vault and OpenBao are asked for over HTTP, and what their answers mean.
//!
//! In: an address and what a login needs. Out: how the server stands, a session with a token, snapshots in both
//! directions. A refusal names the policy that mends it. It never puts a token or a key into an error or an argument.
//!
//! Source: the HTTP API of OpenBao, `/sys/seal-status`, `/sys/health`, `/sys/storage/raft/snapshot`.

use std::{fs::File, io::Read, time::Duration};

use muster_types::{
    Kind, Secret,
    config::VaultComponent,
    facts::{SealFacts, SealState},
};
use serde_json::{Value, json};

use crate::{
    DriverError,
    http::{Answer, Client},
};

/// What a token must be allowed for a backup.
const POLICY: &str = "path \"sys/storage/raft/snapshot\" { capabilities = [\"read\"] }";
/// What it must be allowed for a restore besides.
const POLICY_RESTORE: &str = "path \"sys/storage/raft/snapshot\" { capabilities = [\"read\", \"update\"] } \
     path \"sys/storage/raft/snapshot-force\" { capabilities = [\"update\"] }";

/// One server, live or in a sandbox.
pub(super) struct Server {
    client: Client,
}

/// How it stands.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) is_initialised: bool,
    pub(super) is_sealed: bool,
    pub(super) is_standby: bool,
    /// `shamir`, or who unseals it by itself.
    pub(super) seal: String,
    /// How many shares there are, and how many are needed.
    pub(super) shares: u64,
    pub(super) threshold: u64,
    pub(super) storage: Option<String>,
    pub(super) version: String,
    pub(super) cluster_id: Option<String>,
}

/// A server, and a token for it.
pub(super) struct Session<'a> {
    server: &'a Server,
    token: String,
    /// Whether it was made by a login: then it ends with the session.
    is_own: bool,
}

impl Server {
    pub(super) fn new(component: &VaultComponent) -> Result<Self, DriverError> {
        let url = component.url.as_deref().unwrap_or_default();
        Ok(Self { client: Client::new(url, &component.tls, "https://vault:8200")? })
    }

    pub(super) fn of(client: Client) -> Self {
        Self { client }
    }

    pub(super) fn url(&self) -> &str {
        self.client.url()
    }

    /// Asks how it stands; nobody needs a token for that.
    ///
    /// # Errors
    /// `Unavailable`: it does not answer, or is no Vault.
    pub(super) fn status(&self) -> Result<Status, DriverError> {
        let seal = self.client.ask("GET", "/v1/sys/seal-status", &[], None)?;
        let health = self.client.ask("GET", "/v1/sys/health", &[], None)?;
        let (Some(is_initialised), Some(is_sealed)) =
            (seal.body["initialized"].as_bool(), seal.body["sealed"].as_bool())
        else {
            return Err(DriverError::new(
                Kind::Unavailable,
                format!("{} does not answer like a Vault (HTTP {})", self.url(), seal.status),
            )
            .with_hint("correct `url`: it is the address that VAULT_ADDR or BAO_ADDR has"));
        };
        let text = |name: &str| seal.body[name].as_str().map(ToOwned::to_owned);
        Ok(Status {
            is_initialised,
            is_sealed,
            is_standby: !is_sealed && health.body["standby"].as_bool().unwrap_or_default(),
            seal: text("type").unwrap_or_default(),
            shares: seal.body["n"].as_u64().unwrap_or_default(),
            threshold: seal.body["t"].as_u64().unwrap_or_default(),
            storage: text("storage_type"),
            version: text("version").unwrap_or_default(),
            cluster_id: health.text("/cluster_id").map(ToOwned::to_owned),
        })
    }

    /// Logs in with what the configuration gives.
    ///
    /// # Errors
    /// `Config`: it gives nothing. `Unavailable`: the login is refused.
    pub(super) fn session(&self, component: &VaultComponent) -> Result<Session<'_>, DriverError> {
        if let Some(missing) = &component.secret_missing {
            return Err(
                DriverError::new(Kind::Config, missing.message.clone()).with_hint(missing.hint.clone())
            );
        }
        if let Some(token) = &component.token {
            return Ok(Session { server: self, token: token.trim().to_owned(), is_own: false });
        }
        let (Some(role), Some(secret)) = (&component.role_id, &component.secret_id) else {
            return Err(DriverError::new(
                Kind::Config,
                "neither a `token` nor `role_id` and `secret_id` are given",
            )
            .with_hint("write `token: ${file:/etc/muster/vault.token}`"));
        };
        let body = json!({"role_id": role.trim(), "secret_id": secret.trim()});
        let answer = self.client.ask("POST", "/v1/auth/approle/login", &[], Some(&body))?;
        match answer.text("/auth/client_token") {
            Some(token) => Ok(Session { server: self, token: token.to_owned(), is_own: true }),
            None => Err(self.refused("log in with the AppRole", &answer).with_hint(
                "make a new `secret_id` (`bao write -f auth/approle/role/NAME/secret-id`): it may be used up or too old",
            )),
        }
    }

    /// Uses a token that somebody has given for this run.
    pub(super) fn session_with(&self, token: &Secret) -> Session<'_> {
        Session { server: self, token: token.expose().trim().to_owned(), is_own: false }
    }

    /// Makes a new server with keys of its own and says them.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn initialise(
        &self,
        shares: u64,
        threshold: u64,
    ) -> Result<(Vec<Secret>, Secret), DriverError> {
        let body = json!({"secret_shares": shares, "secret_threshold": threshold});
        let answer = self.client.ask("PUT", "/v1/sys/init", &[], Some(&body))?;
        let keys: Option<Vec<Secret>> = answer.body["keys"]
            .as_array()
            .map(|keys| keys.iter().filter_map(Value::as_str).map(Secret::new).collect());
        match (keys, answer.text("/root_token")) {
            (Some(keys), Some(token)) if !keys.is_empty() => Ok((keys, Secret::new(token))),
            _ => Err(self.refused("initialise the server", &answer)),
        }
    }

    /// Makes a new server whose shares and root token are encrypted to `OpenPGP` keys, the token to the first one.
    ///
    /// **Shape**: public keys in base64; what comes back is base64 too, the shares in the order of the keys.
    ///
    /// # Errors
    /// The server refuses, a public key that is none for instance.
    pub(super) fn initialise_for(
        &self,
        public: &[&str],
        needed: u64,
    ) -> Result<(Vec<String>, String), DriverError> {
        let body = json!({
            "secret_shares": public.len(), "secret_threshold": needed,
            "pgp_keys": public, "root_token_pgp_key": public.first(),
        });
        let answer = self.client.ask("PUT", "/v1/sys/init", &[], Some(&body))?;
        let shares: Option<Vec<String>> = answer.body["keys_base64"]
            .as_array()
            .map(|keys| keys.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect());
        match (shares, answer.text("/root_token")) {
            (Some(shares), Some(token)) if !shares.is_empty() => Ok((shares, token.to_owned())),
            _ => Err(self.refused("initialise itself for these people", &answer).with_hint(
                "each `--holder NAME=FILE` needs one public key: `gpg --armor --export ada@example.org > ada.asc`",
            )),
        }
    }

    /// Gives one share; returns how the server stands then.
    ///
    /// # Errors
    /// What it says: a key that is none, shares that do not fit.
    pub(super) fn unseal(&self, key: &Secret) -> Result<bool, String> {
        let body = json!({"key": key.expose()});
        let answer =
            self.client.ask("PUT", "/v1/sys/unseal", &[], Some(&body)).map_err(|error| error.to_string())?;
        if !answer.is_success() {
            return Err(said(&answer));
        }
        Ok(answer.body["sealed"].as_bool() == Some(false))
    }

    /// Forgets the shares that were given so far.
    pub(super) fn forget_shares(&self) {
        // Without an answer there is nothing to forget.
        drop(self.client.ask("PUT", "/v1/sys/unseal", &[], Some(&json!({"reset": true}))));
    }

    pub(super) fn refused(&self, what: &str, answer: &Answer) -> DriverError {
        DriverError::new(Kind::Unavailable, format!("{} does not {what}: {}", self.url(), said(answer)))
    }
}

impl Status {
    pub(super) fn facts(&self, has_shares: bool) -> SealFacts {
        let state = match self {
            Self { is_initialised: false, .. } => SealState::Uninitialised,
            Self { is_sealed: true, .. } => SealState::Sealed,
            Self { is_standby: true, .. } => SealState::Standby,
            _ => SealState::Active,
        };
        SealFacts { state, cluster_id: self.cluster_id.clone(), has_shares }
    }
}

impl Session<'_> {
    /// Begins a snapshot of everything.
    ///
    /// # Errors
    /// `Unavailable`: the token may not, with the policy that mends it.
    pub(super) fn take_snapshot(&self) -> Result<Box<dyn Read + Send>, DriverError> {
        let path = "/v1/sys/storage/raft/snapshot";
        match self.server.client.stream("GET", path, &[("X-Vault-Token", &self.token)], None)? {
            Ok(reader) => Ok(reader),
            Err(answer) => Err(self.snapshot_refused("give a snapshot", &answer, POLICY)),
        }
    }

    /// Puts a snapshot in place of all that the server holds.
    ///
    /// # Errors
    /// `Unavailable`: the token may not. `Conflict`: the snapshot is of another cluster and `is_forced` is not said.
    pub(super) fn restore_snapshot(&self, file: File, is_forced: bool) -> Result<(), DriverError> {
        let path =
            if is_forced { "/v1/sys/storage/raft/snapshot-force" } else { "/v1/sys/storage/raft/snapshot" };
        let answer = self.server.client.send("POST", path, &[("X-Vault-Token", &self.token)], file)?;
        if answer.is_success() {
            return Ok(());
        }
        if said(&answer).contains("different set of unseal keys") {
            let message = format!("{} has other unseal keys than the snapshot", self.server.url());
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("plan the restore again: the server is another one than it was at the survey"));
        }
        Err(self.snapshot_refused("take the snapshot", &answer, POLICY_RESTORE))
    }

    /// Reads what the token may see; `None` when it may not, or nothing answers.
    pub(super) fn look(&self, path: &str) -> Option<Value> {
        let answer = self.server.client.ask("GET", path, &[("X-Vault-Token", &self.token)], None).ok()?;
        answer.is_success().then_some(answer.body)
    }

    /// Asks with the token.
    ///
    /// # Errors
    /// `Unavailable`: no answer. A status is an answer, whatever it is.
    pub(super) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, DriverError> {
        self.server.client.ask(method, path, &[("X-Vault-Token", &self.token)], body)
    }

    /// Asks how long the token lasts; `None` where it does not say, and zero where it has no end.
    ///
    /// # Errors
    /// `Unavailable`: it is not valid.
    pub(super) fn look_up(&self) -> Result<Option<Duration>, DriverError> {
        let path = "/v1/auth/token/lookup-self";
        let answer = self.server.client.ask("GET", path, &[("X-Vault-Token", &self.token)], None)?;
        if !answer.is_success() {
            return Err(self.server.refused("know the token", &answer).with_hint(
                "make a new one: `bao token create -policy=muster -orphan -period=768h`, and put it into the file that `token` names",
            ));
        }
        Ok(answer.body.pointer("/data/ttl").and_then(Value::as_u64).map(Duration::from_secs))
    }

    /// Reads the value of the canary; `None` when nothing is there.
    ///
    /// # Errors
    /// `Unavailable`: the token may not.
    pub(super) fn read_canary(&self, path: &str) -> Result<Option<String>, DriverError> {
        let at = format!("/v1/{}", path.trim_matches('/'));
        let answer = self.server.client.ask("GET", &at, &[("X-Vault-Token", &self.token)], None)?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => Ok(answer.text("/data/data/value").map(ToOwned::to_owned)),
            _ => Err(self.canary_refused("read", path, &answer)),
        }
    }

    /// Writes the canary, in a form that both versions of the key-value engine keep.
    ///
    /// # Errors
    /// `Unavailable`: the token may not, or nothing is mounted there.
    pub(super) fn write_canary(&self, path: &str, value: &str) -> Result<(), DriverError> {
        let at = format!("/v1/{}", path.trim_matches('/'));
        let body = json!({"data": {"value": value}});
        let answer = self.server.client.ask("POST", &at, &[("X-Vault-Token", &self.token)], Some(&body))?;
        if answer.is_success() { Ok(()) } else { Err(self.canary_refused("write", path, &answer)) }
    }

    fn canary_refused(&self, what: &str, path: &str, answer: &Answer) -> DriverError {
        let hint = if answer.status == 403 {
            format!(
                "add to the token's policy: path \"{}\" {{ capabilities = [\"create\", \"update\", \"read\"] }}",
                path.trim_matches('/')
            )
        } else {
            "a path of a key-value engine is meant; of version 2 with `data` in it: `secret/data/muster-canary`".into()
        };
        self.server.refused(&format!("{what} the canary {path}"), answer).with_hint(hint)
    }

    fn snapshot_refused(&self, what: &str, answer: &Answer, policy: &str) -> DriverError {
        let refused = self.server.refused(what, answer);
        match answer.status {
            403 => refused.with_hint(format!(
                "is the token still valid (`bao token lookup`)? its policy needs: {policy}"
            )),
            301 | 302 | 307 | 308 => refused.with_hint(match &answer.location {
                Some(location) => format!("it is a standby; the active server is at {location}"),
                None => "it is a standby: name the active server in `url`".to_owned(),
            }),
            _ => refused.with_hint("look into the server's log; nothing was changed"),
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.is_own {
            let token = [("X-Vault-Token", self.token.as_str())];
            // It ends by itself when its time is over.
            drop(self.server.client.ask("POST", "/v1/auth/token/revoke-self", &token, None));
        }
    }
}

/// What the server itself says, or its status.
fn said(answer: &Answer) -> String {
    let errors = answer.body["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let text = errors.map(|one| one.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    if text.is_empty() { format!("HTTP {}", answer.status) } else { text.join("; ") }
}
