//! A folder on a host that is reached over SSH. In: `sftp://user@host:port/path`. Out: its parts.
//!
//! The path is absolute on that host; `/~/path`, as in other programs, counts from the user's home folder. No part can
//! be taken for an option of `ssh`. Nothing is asked here. Read next: `crates/repo/src/sftp.rs`.

use std::{fmt, num::NonZeroU64, path::PathBuf, time::Duration};

use super::{PATIENCE, Stop};

/// What an address over SSH begins with.
pub(super) const SCHEME: &str = "sftp://";
/// What stands for the user's home folder.
const HOME: &str = "/~/";

/// A folder on a host that is reached over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpLocation {
    /// Who; without it whom the configuration of `ssh` names.
    pub user: Option<String>,
    /// A host, or a name that the configuration of `ssh` knows; an address of IPv6 without its brackets.
    pub host: String,
    /// Without it what the configuration of `ssh` says, else 22.
    pub port: Option<u16>,
    /// The folder: absolute, or from the user's home folder on. Without a slash at its end.
    pub path: String,
    /// A file for `ssh -F`; without it the user's own configuration.
    pub ssh_config: Option<PathBuf>,
    /// How long what failed for a passing reason is tried again.
    pub patience: Duration,
    /// Asked between two tries: then nothing is tried any more.
    pub stop: Stop,
    /// Bytes per second that are sent at most, by all threads together.
    pub upload_rate_max: Option<NonZeroU64>,
}

/// Reads what stands behind `sftp://`.
pub(super) fn parse(address: &str) -> Option<SftpLocation> {
    let (authority, path) = address.split_at(address.find('/')?);
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(str::parse::<u16>).transpose().ok()?;
    // A password has no place in an address, and a word that begins with a dash is an option.
    let is_word = |word: &str, others: &[char]| {
        let is_known =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || others.contains(&c);
        !word.is_empty() && !word.starts_with('-') && word.chars().all(is_known)
    };
    let path = match path.strip_prefix(HOME) {
        Some(path) => path.trim_matches('/').to_owned(),
        None => format!("/{}", path.trim_matches('/')),
    };
    let is_part = |part: &str| !matches!(part, "" | "." | ".." | "~") && !part.chars().any(char::is_control);
    let is_sound = user.is_none_or(|user| is_word(user, &['+', '$', '\\']))
        && is_word(host, &[':', '%'])
        && port != Some(0)
        && path.trim_start_matches('/').split('/').all(is_part);
    is_sound.then(|| SftpLocation {
        user: user.map(ToOwned::to_owned),
        host: host.to_owned(),
        port,
        path,
        ssh_config: None,
        patience: PATIENCE,
        stop: Stop::default(),
        upload_rate_max: None,
    })
}

impl SftpLocation {
    /// Returns user, host and port as an address has them.
    pub fn authority(&self) -> String {
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{user}@"));
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{user}{open}{}{close}{port}", self.host)
    }
}

impl fmt::Display for SftpLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let home = if self.path.starts_with('/') { "" } else { HOME };
        write!(f, "{SCHEME}{}{home}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_over_ssh_is_read_and_shown_again() {
        for (address, user, host, port, path) in [
            ("u@h/srv/b", Some("u"), "h", None, "/srv/b"),
            ("h:2222/b", None, "h", Some(2222), "/b"),
            ("u@[fe80::1]:22/~/of us", Some("u"), "fe80::1", Some(22), "of us"),
        ] {
            let location = parse(address).unwrap();
            assert_eq!((location.user.as_deref(), location.host.as_str()), (user, host));
            assert_eq!((location.port, location.path.as_str()), (port, path));
            assert_eq!(location.to_string(), format!("{SCHEME}{address}"));
        }
        assert_eq!(parse("h/b//").unwrap().to_string(), "sftp://h/b");
    }

    #[test]
    fn what_ssh_could_take_for_an_option_or_for_a_password_is_refused() {
        for address in [
            "h",
            "h/",
            "/b",
            "@h/b",
            "u:p@h/b",
            "-oProxyCommand=x/b",
            "-u@h/b",
            "h:0/b",
            "h:x/b",
            "h:99999/b",
            "h/a/../b",
            "h/~",
            "h/~/",
            "h/~x/~/b",
            "[::1/b",
            "h/a\nb",
            "u@h x/b",
        ] {
            assert_eq!(parse(address), None, "{address}");
        }
    }
}
