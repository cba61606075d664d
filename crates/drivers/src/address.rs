//! The parts of a server's URL that are the same for every kind of server: `%41`, host and port.
//!
//! In: pieces of a URL. Out: their meaning. It never repeats what may be a password.
//! Read next: `redis/address.rs`, `postgres/address.rs`.

use muster_types::Kind;

use crate::DriverError;

/// Splits `host:port`, with `usual` where no port is named; a host with colons stands in brackets.
pub(crate) fn split_port(place: &str, usual: u16) -> Result<(&str, u16), DriverError> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| wrong(format!("`{place}` lacks its `]`"), &format!("write `[::1]:{usual}`")))?;
        let port = after.strip_prefix(':').map_or(Ok(usual), |port| read_port(port, usual))?;
        return Ok((host, port));
    }
    match place.rsplit_once(':') {
        Some((host, port)) => Ok((host, read_port(port, usual)?)),
        None => Ok((place, usual)),
    }
}

/// Reads a port; `usual` is for the hint.
pub(crate) fn read_port(text: &str, usual: u16) -> Result<u16, DriverError> {
    text.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        wrong(
            format!("`{text}` is not a port"),
            &format!("write a number from 1 to 65535, or leave it out for {usual}"),
        )
    })
}

/// Replaces `%41` by `A`.
pub(crate) fn decode(text: &str) -> Result<String, DriverError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        // The text may be a password: it is not repeated.
        let byte = byte.ok_or_else(|| {
            wrong(
                "a `%` in the URL is not followed by two hex digits".into(),
                "write `%25` for a percent sign",
            )
        })?;
        bytes.push(byte);
        rest = after.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| wrong("the URL is not UTF-8".into(), "write it in UTF-8"))
}

/// Makes the error of a URL.
pub(crate) fn wrong(message: String, hint: &str) -> DriverError {
    DriverError::new(Kind::Config, message).with_hint(hint)
}
