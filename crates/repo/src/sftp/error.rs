//! Why a host over SSH did not do what was asked, in words that name the next action.
//!
//! In: the last words of `ssh`, or a status of the server. Out: a [`StoreError`], or that trying again may help.
//!
//! Only what certainly will not pass by waiting is an error at once. Sources: messages of OpenSSH's `ssh` and its
//! `sshconnect.c`, as seen with OpenSSH 9.2; the statuses of version 3 of SFTP.

use crate::{place::Fault, s3::StoreError};

/// Statuses of version 3.
pub(super) const OK: u32 = 0;
pub(super) const END: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;
const NO_CONNECTION: u32 = 6;
const CONNECTION_LOST: u32 = 7;

/// What became of a question that was not answered with success.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file is not there.
    Missing,
    /// The file ends before what was asked for.
    Short,
    /// Asking again may help; the text says what happened.
    Again(String),
    /// Asking again cannot help.
    Final(StoreError),
    /// The server's word for "no", without a reason: what the reason is has to be found out.
    Refused(String),
}

impl From<super::session::Lost> for Trouble {
    fn from(lost: super::session::Lost) -> Self {
        judge(&lost.0).map_or(Self::Again(lost.0), Self::Final)
    }
}

impl Trouble {
    /// What a status means that is no success.
    pub(super) fn of_status(code: u32, words: String) -> Self {
        match code {
            NO_SUCH_FILE => Self::Missing,
            END => Self::Short,
            PERMISSION_DENIED => Self::Final(StoreError::NotPermitted(words)),
            NO_CONNECTION | CONNECTION_LOST => Self::Again(words),
            _ if words.is_empty() => Self::Refused(format!("status {code}")),
            _ => Self::Refused(words),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Final(error)
    }
}

/// Judges what `ssh` said before it ended; `None`: it may pass.
fn judge(said: &str) -> Option<StoreError> {
    let has = |text: &str| said.contains(text);
    let last = || said.lines().last().unwrap_or_default().to_owned();
    let line = |text: &str| said.lines().find(|line| line.contains(text)).unwrap_or_default().to_owned();
    if has("HOST IDENTIFICATION HAS CHANGED") {
        return Some(StoreError::HostKeyChanged);
    }
    if has("Host key verification failed") || has("host key is known for") {
        return Some(StoreError::HostKeyUnknown);
    }
    if has("Too many authentication failures") {
        return Some(StoreError::LoginRefused(line("Too many authentication failures")));
    }
    if has("Permission denied (") {
        // What keeps `ssh` from using a key stands before it: rights that are too wide, a file that is not there.
        let why = if has("UNPROTECTED PRIVATE KEY") { "the private key may be read by others; " } else { "" };
        return Some(StoreError::LoginRefused(format!("{why}{}", line("Permission denied ("))));
    }
    if has("subsystem request failed") {
        return Some(StoreError::NoSftp(last()));
    }
    for text in [
        "Can't open user config file",
        "Bad configuration option",
        "Bad owner or permissions",
        "terminating,",
        "Unable to negotiate",
        "cannot be started: No such file",
        "not SFTP",
        "version 3 of SFTP",
    ] {
        if has(text) {
            return Some(StoreError::Ssh(line(text)));
        }
    }
    None
}

/// Says it of a place's file.
pub(super) fn fault(
    trouble: Trouble,
    fail: impl FnOnce(StoreError) -> crate::RepoError,
) -> Result<String, Fault> {
    match trouble {
        Trouble::Missing => Err(Fault::Missing),
        Trouble::Short => Err(Fault::Short),
        Trouble::Final(error) => Err(Fault::Failed(fail(error))),
        Trouble::Refused(code) => Err(Fault::Failed(fail(StoreError::Said(code)))),
        Trouble::Again(last) => Ok(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_ssh_are_told_apart_by_what_helps() {
        let changed =
            "@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.";
        assert_eq!(judge(changed), Some(StoreError::HostKeyChanged));
        assert_eq!(judge("Host key verification failed."), Some(StoreError::HostKeyUnknown));
        let refused = "root@h: Permission denied (publickey).";
        assert_eq!(judge(refused), Some(StoreError::LoginRefused(refused.into())));
        assert!(matches!(judge("subsystem request failed on channel 0"), Some(StoreError::NoSftp(_))));
        for setup in
            ["Can't open user config file /x: No such file", "/x: line 1: Bad configuration option: y"]
        {
            assert_eq!(judge(setup), Some(StoreError::Ssh(setup.into())));
        }
        for passing in [
            "ssh: connect to host h port 22: Connection refused",
            "ssh: Could not resolve hostname h: Temporary failure in name resolution",
            "Connection closed by 127.0.0.1 port 22",
            "client_loop: send disconnect: Broken pipe",
            "Timeout, server h not responding.",
            "the connection ended",
        ] {
            assert_eq!(judge(passing), None, "{passing}");
        }
    }

    #[test]
    fn a_status_says_missing_only_when_the_server_does() {
        assert!(matches!(Trouble::of_status(2, String::new()), Trouble::Missing));
        assert!(matches!(Trouble::of_status(1, String::new()), Trouble::Short));
        assert!(matches!(Trouble::of_status(3, "x".into()), Trouble::Final(StoreError::NotPermitted(_))));
        assert!(matches!(Trouble::of_status(4, "Failure".into()), Trouble::Refused(_)));
        assert!(matches!(Trouble::of_status(8, String::new()), Trouble::Refused(_)));
    }
}
