//! From which address somebody works on this host: what must never be blocked.
//!
//! `SSH_CONNECTION` comes in, of this process or of one that has begun it: `sudo` takes it out of the environment. Without
//! one nobody works from elsewhere, as far as can be told.

use std::{fs, net::IpAddr};

use crate::config::{Environment, SystemEnvironment};

/// More processes above this one are a circle.
const ABOVE_MAX: usize = 64;
const VARIABLE: &str = "SSH_CONNECTION";

/// Returns the client's address of the session over SSH.
pub(super) fn address() -> Option<IpAddr> {
    client(&SystemEnvironment.variable(VARIABLE).unwrap_or_default()).or_else(|| above(std::process::id()))
}

/// `192.0.2.10 50000 198.51.100.2 22`
fn client(connection: &str) -> Option<IpAddr> {
    connection.split_whitespace().next()?.parse().ok()
}

fn above(process: u32) -> Option<IpAddr> {
    let mut process = process;
    for _ in 0..ABOVE_MAX {
        process = parent(process).filter(|parent| *parent > 1)?;
        // One that may not be read is passed over: those above it may be ours.
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let found = environment.split(|byte| *byte == 0).find_map(|one| {
            let text = String::from_utf8_lossy(one);
            client(text.strip_prefix(VARIABLE)?.strip_prefix('=')?)
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold blanks and brackets: what counts stands behind the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_of_a_session_is_its_first_word() {
        assert_eq!(client("192.0.2.10 50000 198.51.100.2 22"), Some("192.0.2.10".parse().unwrap()));
        assert_eq!(client("fd00::7 50000 fd00::1 22"), Some("fd00::7".parse().unwrap()));
        assert_eq!(client(""), None);
        assert_eq!(parent(std::process::id()), Some(std::os::unix::process::parent_id()));
    }
}
