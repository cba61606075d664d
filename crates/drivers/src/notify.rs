//! Reaches people: one message through one channel of the configuration.
//!
//! A channel and a message come in; nothing leaves, or why it was not taken. It never chooses a channel, never tries
//! another one, and never puts the message into an argument: everybody can read those.

use std::time::Duration;

use muster_types::{
    Clock, Kind, Span,
    config::{Channel, Check},
    event::Watcher,
};

use crate::{DriverError, checks, command::Invocation};

/// How long one try may take when nobody says: a webhook answers at once or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The variable with the message.
const MESSAGE: &str = "MUSTER_MESSAGE";
const BODY: &str = r#"{"text": "{{ message }}"}"#;

/// Sends a message.
///
/// # Errors
/// `Config`: the channel says no way or two. `Unavailable`: it was not taken; nobody knows whether it has arrived.
pub fn send(
    name: &str,
    channel: &Channel,
    message: &str,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    match (&channel.http, &channel.command) {
        (Some(_), None) => post(name, channel, message, clock, watcher),
        (None, Some(argv)) => {
            let mut invocation =
                Invocation::new(argv.iter().cloned(), channel.timeout.map_or(TIMEOUT, Span::duration));
            invocation.env.push((MESSAGE.to_owned(), message.to_owned()));
            let ended = invocation.run(watcher).map_err(|error| DriverError::of(&error))?;
            if ended.is_success() {
                return Ok(());
            }
            let said = format!("`{name}` ended with {}: {}", ended.exit, ended.last_lines(2));
            Err(DriverError::new(Kind::Unavailable, said))
        }
        _ => {
            Err(DriverError::new(Kind::Config, format!("channel `{name}` needs one of `http` and `command`")))
        }
    }
}

fn post(
    name: &str,
    channel: &Channel,
    message: &str,
    clock: &dyn Clock,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    let url = channel.http.clone().unwrap_or_default();
    let mut headers = channel.headers.clone();
    if !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
        headers.insert("Content-Type".into(), "application/json".into());
    }
    let request = Check {
        http: Some(if url.contains(' ') { url } else { format!("POST {url}") }),
        headers,
        body: Some(body(channel.body.as_deref().unwrap_or(BODY), message)),
        conditions: vec!["[STATUS] < 300".into()],
        timeout: Some(channel.timeout.unwrap_or(Span::from(TIMEOUT))),
        ..Check::default()
    };
    let result = checks::run(name, &request, clock, watcher);
    match result.reason() {
        None => Ok(()),
        Some(reason) => {
            Err(DriverError::new(Kind::Unavailable, format!("`{name}` did not take it: {reason}")))
        }
    }
}

/// Puts the message into a body, so that the quotes around it stay the only ones.
fn body(template: &str, message: &str) -> String {
    let quoted = serde_json::Value::from(message).to_string();
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    template.replace("{{ message }}", inner).replace("{{message}}", inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_quotes_and_lines_stays_one_json_text() {
        let made: serde_json::Value = serde_json::from_str(&body(BODY, "it \"fell\"\nover")).unwrap();
        assert_eq!(made["text"], "it \"fell\"\nover");
        assert_eq!(body("m={{message}}", "x"), "m=x");
    }
}
