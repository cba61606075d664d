//! What is different at Azure Blob Storage: who asks is proved by a `SharedKey` or a SAS token, and lists look otherwise.
//!
//! In: what is asked, and who asks. Out: headers and query that prove it; pages of a list of blobs.
//!
//! The key leaves this module only as a signature; a SAS token only in the address that is asked. Source: Azure manual,
//! "Authorize with Shared Key", "Put Blob", "List Blobs". Read next: `s3.rs` sends and repeats, `s3/error.rs` judges.

use base64::{Engine, prelude::BASE64_STANDARD as STANDARD};
use jiff::Timestamp;

use super::{
    answer::HOST_UNKNOWN,
    error::StoreError,
    sign::{encode, hmac},
    xml::{self, Object, Page},
};
use crate::{location::Credentials, place::Listed};

/// The version of the interface whose answers are understood here.
const VERSION: &str = "2021-08-06";
/// Where the accounts are: each is a host of its own there.
pub(super) const ENDPOINT: &str = "https://blob.core.windows.net";
/// What is sent. It is named, because a signature holds for it.
const CONTENT_TYPE: &str = "application/octet-stream";

/// Who asks.
pub(super) struct Azure {
    account: String,
    proof: Proof,
}

enum Proof {
    /// The account's key, decoded.
    Key(Vec<u8>),
    /// As a query has it, without a question mark.
    Token(String),
}

/// What is signed.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// As the request line has it, encoded.
    pub(super) path: &'a str,
    /// As the request line has it, encoded, without the token.
    pub(super) query: &'a str,
    /// The bytes of the content; `None`: there is none.
    pub(super) length: Option<usize>,
    pub(super) md5: Option<&'a str>,
    pub(super) range: Option<&'a str>,
    pub(super) at: Timestamp,
}

impl Azure {
    /// Reads who asks: the key is the account's in base64, or a SAS token.
    pub(super) fn new(credentials: &Credentials) -> Result<Self, StoreError> {
        let account = credentials.access_key.trim();
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if account.is_empty() || !account.chars().all(is_name) {
            return Err(StoreError::BadAccount(account.to_owned()));
        }
        let secret = credentials.secret_key.expose().trim();
        let token = secret.strip_prefix('?').unwrap_or(secret);
        // Base64 has no `&`, and no token is without a signature.
        let is_token = token.contains('&') && token.split('&').any(|part| part.starts_with("sig="));
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>');
        let proof = if is_token && token.bytes().all(is_plain) {
            Proof::Token(token.to_owned())
        } else {
            let key = STANDARD.decode(secret).ok().filter(|key| !key.is_empty());
            Proof::Key(key.ok_or(StoreError::BadAccountKey)?)
        };
        Ok(Self { account: account.to_owned(), proof })
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// Returns the host to ask, and what stands before a blob's name in the path.
    ///
    /// The account is the host's first name, as Azure has it, or the first part of the path, as servers of one's own do.
    pub(super) fn place(&self, host: String, is_in_path: bool, container: &str) -> (String, String) {
        let account = &self.account;
        if host.strip_prefix(account.as_str()).is_some_and(|rest| rest.starts_with('.')) {
            (host, format!("/{container}/"))
        } else if is_in_path && !host.starts_with("blob.") {
            (host, format!("/{account}/{container}/"))
        } else {
            (format!("{account}.{host}"), format!("/{container}/"))
        }
    }

    /// Asks for the account where a host was not found: accounts are hosts, and one that does not exist has no address.
    pub(super) fn explain(&self, said: String) -> String {
        if HOST_UNKNOWN.iter().any(|words| said.starts_with(words)) {
            return format!("{said} (is `{}` the name of the account?)", self.account);
        }
        said
    }

    /// Returns the query with what proves who asks, where that stands there.
    pub(super) fn query(&self, query: &str) -> String {
        match &self.proof {
            Proof::Key(_) => query.to_owned(),
            Proof::Token(token) if query.is_empty() => token.clone(),
            Proof::Token(token) => format!("{query}&{token}"),
        }
    }

    /// Returns the headers to add; of the content's hash and the range only the signature is among them.
    pub(super) fn headers(&self, request: &Signable<'_>) -> Vec<(&'static str, String)> {
        let date = request.at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut headers = Vec::new();
        if request.length.is_some() {
            headers.push(("x-ms-blob-type", "BlockBlob".to_owned()));
        }
        headers.extend([("x-ms-date", date), ("x-ms-version", VERSION.to_owned())]);
        let Proof::Key(key) = &self.proof else { return with_type(headers, request) };
        // In the order of their names, as the signature wants them.
        let canonical: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let length = request.length.filter(|length| *length > 0);
        let length = length.map(|length| length.to_string()).unwrap_or_default();
        let content_type = if request.length.is_some() { CONTENT_TYPE } else { "" };
        let (md5, range) = (request.md5.unwrap_or_default(), request.range.unwrap_or_default());
        let to_sign = format!(
            "{}\n\n\n{length}\n{md5}\n{content_type}\n\n\n\n\n\n{range}\n{canonical}/{}{}{}",
            request.method,
            self.account,
            request.path,
            parameters(request.query)
        );
        let signature = STANDARD.encode(hmac(key, to_sign.as_bytes()));
        headers.push(("authorization", format!("SharedKey {}:{signature}", self.account)));
        with_type(headers, request)
    }
}

fn with_type(
    mut headers: Vec<(&'static str, String)>,
    request: &Signable<'_>,
) -> Vec<(&'static str, String)> {
    if request.length.is_some() {
        headers.push(("content-type", CONTENT_TYPE.to_owned()));
    }
    headers
}

/// Writes the parameters of a query as the signature wants them: decoded, one in a line, in the order of their names.
fn parameters(query: &str) -> String {
    let mut pairs: Vec<(&str, &str)> =
        query.split('&').filter(|part| !part.is_empty()).filter_map(|part| part.split_once('=')).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("\n{name}:{}", decode(value))).collect()
}

/// Takes back what [`encode`] does.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the query for one page of a list.
pub(super) fn list_query(prefix: &str, delimiter: &str, limit: Option<usize>, next: Option<&str>) -> String {
    let mut query = vec!["restype=container".to_owned(), "comp=list".to_owned()];
    if !delimiter.is_empty() {
        query.push(format!("delimiter={}", encode(delimiter, false)));
    }
    query.extend(next.map(|marker| format!("marker={}", encode(marker, false))));
    query.extend(limit.map(|limit| format!("maxresults={limit}")));
    if !prefix.is_empty() {
        query.push(format!("prefix={}", encode(prefix, false)));
    }
    query.join("&")
}

/// Reads one page of a list of blobs.
pub(super) fn page(document: &[u8]) -> Result<Page, String> {
    let mut page = Page::default();
    let (mut root, mut says_where) = (None, false);
    let (mut name, mut size, mut modified) = (None, None, None);
    xml::walk(document, &mut |path, text| {
        root = path.first().cloned();
        let path: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        match path[..] {
            ["Blobs", "Blob", "Name"] => name = Some(text.to_owned()),
            ["Blobs", "Blob", "Properties", "Content-Length"] => size = text.parse().ok(),
            ["Blobs", "Blob", "Properties", "Last-Modified"] => {
                modified = jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
            }
            ["Blobs", "Blob"] => {
                let listed = name.take().zip(size.take()).map(|(name, size)| Listed { name, size });
                page.objects.push(Object { listed, modified: modified.take() });
            }
            ["Blobs", "BlobPrefix", "Name"] => page.prefixes.push(text.to_owned()),
            ["NextMarker"] => {
                says_where = true;
                page.next = Some(text.to_owned()).filter(|marker| !marker.is_empty());
            }
            _ => {}
        }
    })?;
    if root.as_deref() != Some("EnumerationResults") {
        return Err("it is not a list of blobs".into());
    }
    if page.objects.iter().any(|object| object.listed.is_none()) {
        return Err("a blob of the list has no name or no size".into());
    }
    // It stands there even when it is empty: without it the list may be cut off.
    if says_where { Ok(page) } else { Err("the list does not say whether it goes on".into()) }
}

#[cfg(test)]
mod tests;
