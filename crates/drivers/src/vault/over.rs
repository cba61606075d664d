//! Puts a snapshot in place of all that a running server holds, and says whether that is what the backup promises.
//!
//! In: a snapshot whose hashes are compared once more, and how the server stood at the survey. Out: a server with the
//! state of the backup, sealed with the keys of the backup's cluster where those are others than its own.
//!
//! Nothing is sent before the archive is known to be whole. May be repeated: the same snapshot leads to the same state.

use std::{
    fs::File,
    io::BufReader,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use muster_types::{Kind, event::Watcher, plan::Takeover};

use super::{
    VaultDriver, archive,
    backup::{self, Description, SNAPSHOT},
    seal::{self, Needed},
    server::{Server, Status},
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    server::Told,
    snapshot::{damaged, failed, read_server},
};

/// How long a server may go on answering from its memory after it has taken a snapshot: OpenBao 2.7 takes six seconds.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Reads the archive in `place` again, to its end.
///
/// # Errors
/// `Corrupt`: it is not what the witness promises.
pub(super) fn check_archive(
    driver: &VaultDriver,
    place: &Path,
    asked: Option<&Verification<'_>>,
) -> Result<Description, DriverError> {
    let name = &driver.name;
    let description: Description = read_server(name, place)?;
    if let Some(why) = &description.refused {
        let message = format!("this safety copy of `{name}` holds no snapshot: {why}");
        return Err(DriverError::new(Kind::NotFound, message).with_hint("choose a backup: `muster list`"));
    }
    let path = place.join(SNAPSHOT);
    let file = File::open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => damaged(name, &format!("{SNAPSHOT} is not in it")),
        _ => failed("read", &path, error),
    })?;
    let contents = archive::read(BufReader::new(file)).map_err(|why| damaged(name, &why))?;
    let Some(asked) = asked else { return Ok(description) };
    for (promise, found) in backup::promises(&contents) {
        if let Some(wanted) = asked.witness.get(&promise).filter(|wanted| **wanted != found) {
            return Err(damaged(name, &format!("{promise} is {found}, the backup had {wanted}")));
        }
    }
    Ok(description)
}

/// Takes the server over.
///
/// # Errors
/// `Corrupt`: the archive. `Conflict`: the server stands otherwise than at the survey. What the server refuses.
pub(super) fn take_over(
    driver: &VaultDriver,
    place: &Path,
    how: Takeover,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let description = check_archive(driver, place, None)?;
    let server = Server::new(&driver.component)?;
    let status = server.status()?;
    let path = place.join(SNAPSHOT);
    let open = || File::open(&path).map_err(|error| failed("read", &path, error));
    let needed = Needed { shares: description.shares, threshold: description.threshold };
    match how {
        Takeover::Initialise => {
            if status.is_initialised {
                let message = format!("{} was new at the survey, and is initialised now", server.url());
                return Err(DriverError::new(Kind::Conflict, message).with_hint(
                    "plan the restore again. If an interrupted restore has initialised it, it holds nothing: stop it, empty its data folder, start it",
                ));
            }
            watcher.begin("initialise the new server", None);
            let (keys, token) = server.initialise(needed.shares.max(1), needed.threshold.max(1))?;
            seal::open(&server, &keys, None, watcher)?;
            watcher.begin("restore the snapshot", None);
            server.session_with(&token).restore_snapshot(open()?, true)?;
            seal::wait_until_sealed(&server, watcher)?;
        }
        Takeover::Force => {
            backup::refuse(&server, &status)?;
            let session = match &driver.component.setup_token {
                Some(token) => server.session_with(token),
                None => server.session(&driver.component)?,
            };
            watcher.begin("restore the snapshot", None);
            session.restore_snapshot(open()?, true).map_err(|error| not_its_token(driver, error))?;
            drop(session);
            seal::wait_until_sealed(&server, watcher)?;
        }
        Takeover::Apply | Takeover::Command => {
            return Err(DriverError::new(Kind::Bug, "a snapshot of a Vault is not applied object by object"));
        }
        Takeover::Same => {
            backup::refuse(&server, &status)?;
            watcher.begin("restore the snapshot", None);
            server.session(&driver.component)?.restore_snapshot(open()?, false)?;
            seal::wait_until_active(&server, watcher)?;
        }
    }
    let mut told = Told { summary: format!("the snapshot is in {}", server.url()), warnings: Vec::new() };
    let now = server.status()?;
    if now.is_sealed && (now.threshold != needed.threshold || now.shares != needed.shares) {
        told.warnings.push(format!(
            "{} goes on asking for {} of {} shares until it is restarted: restart it, then unseal it with {} of {}",
            server.url(), now.threshold, now.shares, needed.threshold, needed.shares
        ));
    }
    Ok(told)
}

/// A new server does not know the tokens of the old one.
fn not_its_token(driver: &VaultDriver, error: DriverError) -> DriverError {
    use muster_types::Explain;
    if driver.component.setup_token.is_some() || error.kind() != Kind::Unavailable {
        return error;
    }
    let message = format!("{error}; the token of the configuration is one of the old server");
    DriverError::new(error.kind(), message).with_hint(
        "give the new server's root token for this run: `--server-token-file FILE`; or leave a new server uninitialised, and Muster does the rest",
    )
}

/// Compares the open server with the backup.
///
/// # Errors
/// `kind`: another cluster, or the canary is not the one of the backup.
pub(super) fn compare(
    driver: &VaultDriver,
    server: &Server,
    status: &Status,
    description: &Description,
    asked: &Verification<'_>,
    kind: Kind,
) -> Result<Verified, DriverError> {
    let name = &driver.name;
    let differs = |what: String| {
        DriverError::new(kind, format!("the restored `{name}` is not what the backup promises: {what}"))
            .with_hint("take an older backup: `muster list`, then `--to BACKUP`")
    };
    let found = status.cluster_id.clone().unwrap_or_default();
    if let Some(wanted) = asked.witness.get("cluster").filter(|wanted| **wanted != found) {
        return Err(differs(format!("its cluster is {found}, the backup's was {wanted}")));
    }
    let cluster = format!("unsealed with the original keys, cluster {found}");
    let (Some(wanted), Some(path)) = (asked.witness.get("canary"), &description.canary) else {
        return Ok(cluster.into());
    };
    let read = server.session(&driver.component).and_then(|session| session.read_canary(path));
    match read {
        Ok(Some(value)) if backup::hash(&value) == *wanted => {
            Ok(format!("{cluster}, canary {path} read").into())
        }
        Ok(Some(_)) => Err(differs(format!("the canary {path} has another value"))),
        Ok(None) => Err(differs(format!("the canary {path} is not there"))),
        Err(error) => Ok(Verified {
            doubts: vec![format!(
                "{cluster}, but its canary could not be read: {error} (a token that was made after the backup is not in it)"
            )],
            summary: cluster,
            reached: None,
        }),
    }
}

/// Judges the running server, after it was opened.
///
/// # Errors
/// `Conflict`: it is not what the backup promises, or is sealed.
pub(super) fn verify_live(
    driver: &VaultDriver,
    asked: &Verification<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let server = Server::new(&driver.component)?;
    let status = server.status()?;
    if status.is_sealed {
        let message = format!("{} is sealed", server.url());
        return Err(DriverError::new(Kind::Conflict, message)
            .with_hint("let the key holders unseal it, then `muster resume RUN`"));
    }
    let status = seal::wait_until_active(&server, watcher)?;
    let description = match asked.places.first() {
        Some(place) => read_server(&driver.name, place)?,
        // After an unseal alone there is no backup at hand: only the cluster is compared.
        None => Description {
            version: status.version.clone(),
            cluster_id: None,
            seal: status.seal.clone(),
            shares: status.shares,
            threshold: status.threshold,
            canary: None,
            known: None,
            refused: None,
        },
    };
    // A server answers from its memory for some seconds after it has taken a snapshot.
    let deadline = Instant::now() + SETTLED_WITHIN;
    loop {
        let compared = compare(driver, &server, &status, &description, asked, Kind::Conflict);
        if compared.is_ok() || Instant::now() > deadline || watcher.is_cancelled() {
            return compared;
        }
        thread::sleep(PAUSE);
    }
}
