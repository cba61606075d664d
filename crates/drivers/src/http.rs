//! Asks a server's HTTP interface: small JSON answers, and streams of any length.
//!
//! In: an address (`https://host:8200`, or a socket of a scratch server), a path, headers, a body. Out: status and JSON,
//! or a reader. Proxies of the environment are not used, and a redirection is an answer and is not followed: it is the
//! driver that knows what another member of a cluster means.
//!
//! It never puts a header or a body into an error: both can carry a secret. Read next: `http/socket.rs`.

mod socket;

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    sync::Arc,
    time::Duration,
};

use muster_types::{Kind, config::TlsFiles};
use serde_json::Value;
use ureq::{
    Agent, AsSendBody, Body,
    http::{Request, Response, Uri},
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use self::socket::{NoResolver, SocketConnector};
use crate::{
    DriverError,
    trust::{self, SYSTEM_ROOTS, unreadable},
};

/// A server that takes longer to accept a connection is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// The longest silence inside one request: a leader may be looked for meanwhile.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// No answer that is read as a whole is longer: a page of keys of etcd, each with a value of 1.5 MB at most.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// One server.
pub(crate) struct Client {
    agent: Agent,
    /// Without a slash at its end.
    url: String,
}

/// What a server has answered.
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body; `Null` when it is empty or no JSON.
    pub(crate) body: Value,
    /// Where a redirection leads.
    pub(crate) location: Option<String>,
}

/// A header: name and value.
pub(crate) type Header<'a> = (&'a str, &'a str);

impl Client {
    /// Makes a client; asks nobody.
    ///
    /// # Errors
    /// `Config`: no URL with a host, a certificate that cannot be read.
    pub(crate) fn new(url: &str, tls: &TlsFiles, sample: &str) -> Result<Self, DriverError> {
        let uri: Option<Uri> = url.parse().ok();
        let is_url = uri.as_ref().is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                && !uri.authority().is_some_and(|one| one.as_str().contains('@'))
        });
        if !is_url {
            return Err(DriverError::new(
                Kind::Config,
                format!("`{}` is no address of a server", without_login(url)),
            )
            .with_hint(format!("write `url: {sample}`, without a login in it")));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_resolve(Some(CONNECT_WITHIN))
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_per_read(Some(SILENCE_MAX))
            .timeout_per_write(Some(SILENCE_MAX))
            .user_agent("muster");
        let config = if url.starts_with("https") { config.tls_config(tls_config(tls)?) } else { config };
        Ok(Self { agent: config.build().into(), url: url.trim_end_matches('/').to_owned() })
    }

    /// Makes a client of a server that listens on a socket of this host.
    pub(crate) fn at_socket(path: &Path) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_per_read(Some(SILENCE_MAX))
            .timeout_per_write(Some(SILENCE_MAX))
            .user_agent("muster")
            .build();
        let connector = SocketConnector::new(path);
        Self { agent: Agent::with_parts(config, connector, NoResolver), url: "http://localhost".into() }
    }

    /// Returns the address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// `Unavailable`: no answer. A status is an answer, whatever it is.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: Option<&Value>,
    ) -> Result<Answer, DriverError> {
        let response = match body {
            Some(body) => self.run(method, path, headers, body.to_string().into_bytes())?,
            None => self.run(method, path, headers, ())?,
        };
        self.read(path, response)
    }

    /// Sends a file as a body and reads the whole answer.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        file: File,
    ) -> Result<Answer, DriverError> {
        let response = self.run(method, path, headers, file)?;
        self.read(path, response)
    }

    /// Sends a request and hands out the answer's body as it comes; an answer that is no success is read as a whole.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: Option<&Value>,
    ) -> Result<Result<Box<dyn Read + Send>, Answer>, DriverError> {
        let response = match body {
            Some(body) => self.run(method, path, headers, body.to_string().into_bytes())?,
            None => self.run(method, path, headers, ())?,
        };
        if !response.status().is_success() {
            return self.read(path, response).map(Err);
        }
        Ok(Ok(Box::new(response.into_body().into_with_config().limit(u64::MAX).reader())))
    }

    fn run(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: impl AsSendBody,
    ) -> Result<Response<Body>, DriverError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // What a header may not hold comes out of a file that a person has made: a line break in a token.
        let request = request.body(body).map_err(|_| {
            DriverError::new(
                Kind::Config,
                format!("a request to {} cannot be made of the configuration's values", self.url),
            )
            .with_hint("look for line breaks and spaces in the token, the user and the password")
        })?;
        self.agent.run(request).map_err(|error| self.failed(&error.to_string()))
    }

    fn read(&self, path: &str, response: Response<Body>) -> Result<Answer, DriverError> {
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.map(ToOwned::to_owned);
        let mut reader = response.into_body().into_reader().take(ANSWER_BYTES_MAX);
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(&format!("the answer to {path} broke off: {error}")))?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Answer { status, body, location })
    }

    fn failed(&self, why: &str) -> DriverError {
        DriverError::new(Kind::Unavailable, format!("{} does not answer: {why}", self.url))
            .with_hint("start the server, or correct `url`")
    }
}

impl Answer {
    /// Tells whether the server has done it.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns a text inside the body.
    pub(crate) fn text(&self, pointer: &str) -> Option<&str> {
        self.body.pointer(pointer).and_then(Value::as_str)
    }
}

/// What stands before `@` in an address may be a password.
fn without_login(url: &str) -> String {
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("***@{host}"))
}

fn tls_config(tls: &TlsFiles) -> Result<TlsConfig, DriverError> {
    let roots = match &tls.ca_file {
        Some(path) => RootCerts::Specific(Arc::new(certificates(path)?)),
        // A server of one's own has a certificate that the web does not know.
        None => match certificates(Path::new(SYSTEM_ROOTS)) {
            Ok(found) => RootCerts::Specific(Arc::new(found)),
            Err(_) => RootCerts::WebPki,
        },
    };
    let client = match (&tls.cert_file, &tls.key_file) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let pem = fs::read(key).map_err(|error| unreadable(key, &error.to_string()))?;
            let key = PrivateKey::from_pem(&pem).map_err(|error| unreadable(key, &error.to_string()))?;
            Some(ClientCert::new_with_certs(&chain, key))
        }
        (None, None) => None,
        _ => {
            let message = "only one of `cert_file` and `key_file` is given";
            return Err(DriverError::new(Kind::Config, message).with_hint("give both, or none"));
        }
    };
    Ok(TlsConfig::builder().root_certs(roots).client_cert(client).build())
}

/// Reads a file's certificates into the words of the HTTP client.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, DriverError> {
    let found = trust::certificates(path)?;
    Ok(found.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}
