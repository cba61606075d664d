//! The view from elsewhere: a prober that is asked over HTTP, as the blackbox exporter of Prometheus answers.
//!
//! A URL with `{{ target }}` in it comes in; its page says `probe_success 1` or `0`. A prober that does not answer says nothing
//! about the target. Its URL is never shown: it can carry a password.

use std::time::Duration;

use muster_types::event::Unwatched;

use super::{Found, Target};
use crate::checks::http;

/// The prober has a timeout of its own, and needs time to tell of it.
const PATIENCE: u32 = 3;

/// Asks the prober.
pub(super) fn look(url: &str, target: &Target, timeout: Duration) -> Found {
    let name = target.name.split("://").last().filter(|_| !target.speech.is_http()).unwrap_or(&target.name);
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    let url = url.replace("{{ target }}", &escaped).replace("{{target}}", &escaped);
    let unknown = |why: String| {
        Found::unknown("prober-silent", format!("the prober says nothing: {why}"))
            .with_hint("look at `network.outside` in muster.yaml, and at the prober itself")
    };
    match http::get(&url, timeout * PATIENCE, &Unwatched) {
        Err(why) => unknown(why),
        Ok((200, text)) => {
            let value = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
                line.and_then(|value| value.trim().parse::<f64>().ok())
            };
            let took = value("probe_duration_seconds").map(|s| format!(" in {s:.2} s")).unwrap_or_default();
            match value("probe_success") {
                Some(success) if success > 0.0 => Found::ok(format!("the prober reaches it{took}")),
                Some(_) => Found::failed("not-reached", format!("the prober does not reach it{took}")),
                None => unknown("its page has no `probe_success`".into()),
            }
        }
        Ok((status, _)) => unknown(format!("it answers with {status}")),
    }
}
