//! Opens a sealed server with the shares that people give.
//!
//! In: shares, in any order, maybe more than are needed. Out: an open server, or which of them it was. Shares that were
//! given in vain are forgotten by the server before anybody else tries. They are never written and never printed.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_types::{Kind, Secret, event::Watcher};

use super::server::{Server, Status};
use crate::DriverError;

/// How long a server may take to become active after it was opened: a leader is elected.
const ACTIVE_WITHIN: Duration = Duration::from_mins(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// What the shares must fit, where it is known: of a backup, or of the server itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needed {
    pub(super) shares: u64,
    pub(super) threshold: u64,
}

/// Unseals, and waits until the server is active; one that is open already is left alone.
///
/// # Errors
/// `Input`: too few shares, or none. `WrongKey`: they do not fit. `Conflict`: it needs another number of them than the
/// backup's server did.
pub(super) fn open(
    server: &Server,
    shares: &[Secret],
    needed: Option<Needed>,
    watcher: &dyn Watcher,
) -> Result<Status, DriverError> {
    let status = server.status()?;
    if !status.is_initialised {
        return Err(DriverError::new(
            Kind::Conflict,
            format!("{} is not initialised: there is nothing to unseal", server.url()),
        )
        .with_hint("restore a backup into it: `muster restore NAME`"));
    }
    if status.is_sealed {
        refuse_other_number(server, &status, needed)?;
        refuse_few(server, &status, shares)?;
        watcher.begin("unseal", None);
        give(server, &status, shares)?;
    }
    wait_until_active(server, watcher)
}

/// A server keeps in memory how many shares it wants, and goes on asking for that number after a snapshot with another.
fn refuse_other_number(server: &Server, status: &Status, needed: Option<Needed>) -> Result<(), DriverError> {
    let Some(needed) =
        needed.filter(|needed| needed.threshold != status.threshold || needed.shares != status.shares)
    else {
        return Ok(());
    };
    let message = format!(
        "{} still asks for {} of {} shares, and the restored keys are {} of {}",
        server.url(),
        status.threshold,
        status.shares,
        needed.threshold,
        needed.shares
    );
    Err(DriverError::new(Kind::Conflict, message)
        .with_hint("restart the server, so that it reads its keys anew; then `muster resume RUN`"))
}

fn refuse_few(server: &Server, status: &Status, shares: &[Secret]) -> Result<(), DriverError> {
    let given = shares.len() as u64;
    if given >= status.threshold.max(1) {
        return Ok(());
    }
    let message = format!(
        "{} is sealed: {} of {} shares of its unseal key are needed, {given} given",
        server.url(),
        status.threshold,
        status.shares
    );
    Err(DriverError::new(Kind::Input, message).with_hint(
        "give them with `--unseal-keys-file FILE`, one in a line (`-`: standard input), or let the key holders unseal it; then `muster resume RUN`",
    ))
}

fn give(server: &Server, status: &Status, shares: &[Secret]) -> Result<(), DriverError> {
    server.forget_shares();
    let threshold = usize::try_from(status.threshold.max(1)).unwrap_or(usize::MAX);
    let mut refused = String::new();
    // One share that is wrong spoils a whole row: of more than are needed, each row of neighbours is tried.
    for row in shares.windows(threshold) {
        for (index, share) in row.iter().enumerate() {
            match server.unseal(share) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why) => {
                    refused = if index + 1 < row.len() {
                        format!("share {} is none: {why}", index + 1)
                    } else {
                        why
                    };
                    break;
                }
            }
        }
        server.forget_shares();
    }
    let message = format!("the unseal keys do not fit {}: {refused}", server.url());
    Err(DriverError::new(Kind::WrongKey, message).with_hint(
        "the keys of the cluster that was backed up are meant; of a server that was initialised anew and is empty: stop it, empty its data folder, start it, and restore again",
    ))
}

/// Waits until the server has a leader and is it.
pub(super) fn wait_until_active(server: &Server, watcher: &dyn Watcher) -> Result<Status, DriverError> {
    wait_for(server, watcher, "active", |status| {
        !status.is_sealed && !status.is_standby && status.cluster_id.is_some()
    })
}

/// Waits until the server has noticed that its keys are others now.
pub(super) fn wait_until_sealed(server: &Server, watcher: &dyn Watcher) -> Result<Status, DriverError> {
    wait_for(server, watcher, "sealed", |status| status.is_sealed)
}

fn wait_for(
    server: &Server,
    watcher: &dyn Watcher,
    what: &str,
    is_so: impl Fn(&Status) -> bool,
) -> Result<Status, DriverError> {
    let deadline = Instant::now() + ACTIVE_WITHIN;
    loop {
        let status = server.status();
        match status {
            Ok(status) if is_so(&status) => return Ok(status),
            Err(error) if Instant::now() > deadline => return Err(error),
            Ok(_) | Err(_) => {}
        }
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
        if Instant::now() > deadline {
            let message = format!("{} is not {what} after {} s", server.url(), ACTIVE_WITHIN.as_secs());
            return Err(DriverError::new(Kind::Unavailable, message).with_hint("look into the server's log"));
        }
        thread::sleep(PAUSE);
    }
}
