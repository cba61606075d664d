//! What a Redis server refuses, as errors that name what mends them.
//!
//! In: the command and the server's error line. Out: an error with a kind and a hint; for a missing right, the `ACL` line
//! that gives it. It never repeats an argument of a command: one may be a password.

use muster_types::Kind;

use super::address::Address;
use crate::DriverError;

/// What a backup needs, and no more.
pub(super) const RIGHTS_TO_READ: &str = "+ping +info +psync +replconf +config|get +acl|list +client|setname";
/// What a restore into the running server needs besides.
pub(super) const RIGHTS_TO_WRITE: &str =
    "+replicaof +config|set +client|list +client|pause +client|unpause +bgsave";

/// Makes the line that gives a user a right.
pub(super) fn grant(user: &str, rights: &str) -> String {
    format!("ACL SETUSER {user} {rights}")
}

/// Turns an error of the server into one for people.
pub(super) fn refused(address: &Address, command: &[&str], said: &str) -> DriverError {
    let word = command.first().map(|word| word.to_uppercase()).unwrap_or_default();
    let code = said.split(' ').next().unwrap_or_default();
    let unavailable = |message: String| DriverError::new(Kind::Unavailable, message);
    match code {
        "WRONGPASS" => DriverError::new(
            Kind::Config,
            format!("{address} refuses the password of the user `{}`", address.user()),
        )
        .with_hint("correct `password` of the component (or the user in its `url`)"),
        "NOAUTH" => DriverError::new(Kind::Config, format!("{address} asks for a password"))
            .with_hint("add `password: ${file:/etc/muster/redis.password}` to the component"),
        "NOPERM" => {
            let rights = if RIGHTS_TO_WRITE.contains(&format!("+{}", word.to_lowercase())) {
                format!("{RIGHTS_TO_READ} {RIGHTS_TO_WRITE}")
            } else {
                RIGHTS_TO_READ.to_owned()
            };
            unavailable(format!("the user `{}` may not run {word} at {address}", address.user()))
                .with_hint(format!("give it the right: {}", grant(address.user(), &rights)))
        }
        "LOADING" => unavailable(format!("{address} is still loading its data"))
            .with_hint("wait until it has started, then try again"),
        "BUSY" => unavailable(format!("{address} is busy with a script"))
            .with_hint("wait for the script, or end it with SCRIPT KILL"),
        "MISCONF" => unavailable(format!("{address} cannot write to its disk: {said}"))
            .with_hint("make room on the server's disk and look into its log"),
        "DENIED" => unavailable(format!("{address} is in protected mode: {said}"))
            .with_hint("set a password for the server, or bind it to the address that is used here"),
        _ if word == "AUTH" && said.contains("without any password") => DriverError::new(
            Kind::Config,
            format!("{address} has no password for the user `{}`, and one was given", address.user()),
        )
        .with_hint("leave `password` out, or set the password on the server"),
        "ERR" if said.contains("unknown command") => unavailable(format!(
            "{address} does not know the command {word}"
        ))
        .with_hint("it was renamed or switched off (`rename-command`, a managed service); Muster needs it"),
        _ => unavailable(format!("{address} refuses {word}: {said}")),
    }
}
