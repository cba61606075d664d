//! One request of a chain: its method, URL, headers and body, with what was kept filled in.
//!
//! A [`ChainRequest`] and what is kept come in; a request with its bytes leaves. Files are read when it is made, and never
//! held longer. It never sends anything.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use muster_types::{
    ByteSize,
    config::{ChainDownload, ChainRequest, ChainUpload, Check},
    text,
};
use sha2::{Digest, Sha256};
use ureq::http::Request;

use super::{
    Kept, Place,
    fill::{self, fill},
};
use crate::checks::{CheckConfigError, http, wrong};

/// A file that is larger is no probe.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Returns the name under which it is shown.
pub(super) fn name(request: &ChainRequest) -> String {
    let usual = || {
        let (method, url) = http::divided(&request.http);
        let after = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = after.find('/').and_then(|at| after.get(at..)).unwrap_or("/");
        format!("{method} {}", path.split(['?', '#']).next().unwrap_or_default())
    };
    request.name.clone().unwrap_or_else(usual)
}

/// Returns everything of it that may hold `{{ name }}`.
pub(super) fn texts<'a>(request: &'a ChainRequest, check: &'a Check) -> impl Iterator<Item = &'a str> {
    let json = request.json.iter().flat_map(fill::texts);
    let fields = request.upload.iter().flat_map(|upload| upload.fields.values());
    let headers = check.headers.values().chain(request.headers.values());
    let plain = headers.chain(&request.body).chain(fields).map(String::as_str);
    std::iter::once(request.http.as_str()).chain(plain).chain(json)
}

pub(super) fn validate(request: &ChainRequest, check: &Check) -> Result<(), CheckConfigError> {
    let bodies = [request.body.is_some(), request.json.is_some(), request.upload.is_some()];
    if bodies.iter().filter(|is| **is).count() > 1 {
        let message = "a request has one body: `body`, `json` or `upload`";
        return Err(wrong(message, &request.http, "keep one of them"));
    }
    if let Some(download) = &request.download {
        let sum = download.sha256.as_deref();
        let is_sum = sum.is_none_or(|sum| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()));
        if !is_sum {
            return Err(wrong(
                "this is no SHA-256",
                sum.unwrap_or_default(),
                "write its 64 hexadecimal digits",
            ));
        }
        if sum.is_none() && download.same_as.is_none() {
            let hint = "write `download: {same_as: FILE}` or `download: {sha256: …}`";
            return Err(wrong("`download` does not say what the answer must be", "download", hint));
        }
    }
    // Any value will do to see whether the rest of it is a URL; one that begins it is a URL itself.
    let (method, url) = http::divided(&request.http);
    let url = match url.strip_prefix("{{") {
        Some(rest) => format!("http://host{}", rest.split_once("}}").map_or("", |(_, after)| after)),
        None => url.to_owned(),
    };
    let plain = |text: &str| {
        fill::names(text).iter().fold(text.to_owned(), |text, name| {
            text.replace(&format!("{{{{ {name} }}}}"), "1").replace(&format!("{{{{{name}}}}}"), "1")
        })
    };
    let headers = headers(request, check).iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    http::made(&format!("{method} {}", plain(&url)), &headers, ()).map(|_| ())
}

/// Makes the request.
pub(super) fn made(request: &ChainRequest, check: &Check, kept: &Kept) -> Result<Request<Vec<u8>>, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers_of(request, check) {
        headers.insert(name.clone(), fill(value, kept, Place::Text)?);
    }
    let (body, media_type) = body(request, kept)?;
    let is_told = headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    if let Some(media_type) = media_type.filter(|_| !is_told) {
        headers.insert("content-type".into(), media_type);
    }
    let (method, url) = http::divided(&request.http);
    let text = format!("{method} {}", fill(url, kept, Place::Url)?);
    // What is wrong now came out of an answer, and may be a secret.
    http::made(&text, &headers, body).map_err(|error| format!("the request cannot be made: {error}"))
}

/// Says why a download is not what it must be.
pub(super) fn differs(download: &ChainDownload, bytes: &[u8]) -> Option<String> {
    let found = text::hex(Sha256::digest(bytes));
    let size = ByteSize(bytes.len() as u64);
    if let Some(sum) = download.sha256.as_ref().filter(|sum| !sum.eq_ignore_ascii_case(&found)) {
        return Some(format!("the answer of {size} has the SHA-256 {found}, and not {sum}"));
    }
    let path = download.same_as.as_ref()?;
    match read(path) {
        Err(why) => Some(why),
        Ok(wanted) if wanted == bytes => None,
        Ok(wanted) => Some(format!(
            "the answer of {size} (SHA-256 {found}) is not {} of {} (SHA-256 {})",
            path.display(),
            ByteSize(wanted.len() as u64),
            text::hex(Sha256::digest(&wanted))
        )),
    }
}

fn headers_of<'a>(
    request: &'a ChainRequest,
    check: &'a Check,
) -> impl Iterator<Item = (&'a String, &'a String)> {
    let is_own = |name: &String| request.headers.keys().any(|own| own.eq_ignore_ascii_case(name));
    check.headers.iter().filter(move |(name, _)| !is_own(name)).chain(&request.headers)
}

fn headers(request: &ChainRequest, check: &Check) -> BTreeMap<String, String> {
    headers_of(request, check).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn body(request: &ChainRequest, kept: &Kept) -> Result<(Vec<u8>, Option<String>), String> {
    if let Some(json) = &request.json {
        let filled = fill::fill_json(json, kept)?;
        return Ok((filled.to_string().into_bytes(), Some("application/json".into())));
    }
    if let Some(upload) = &request.upload {
        return form(upload, kept);
    }
    let text = request.body.as_deref().unwrap_or_default();
    Ok((fill(text, kept, Place::Text)?.into_bytes(), None))
}

/// A form with a file, as browsers send it (RFC 7578).
fn form(upload: &ChainUpload, kept: &Kept) -> Result<(Vec<u8>, Option<String>), String> {
    let boundary = format!("muster-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
    let mut bytes = Vec::new();
    for (name, value) in &upload.fields {
        let value = fill(value, kept, Place::Text)?;
        let head =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"\r\n\r\n", quotable(name));
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let name = upload.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
        quotable(upload.field.as_deref().unwrap_or("file")),
        quotable(&name),
        upload.media_type.as_deref().unwrap_or("application/octet-stream").replace(['\r', '\n'], " ")
    );
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend(read(&upload.file)?);
    bytes.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Ok((bytes, Some(format!("multipart/form-data; boundary={boundary}"))))
}

/// A name inside the quotes of a form's head.
fn quotable(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {}", path.display(), ByteSize(FILE_BYTES_MAX)));
    }
    Ok(bytes)
}
