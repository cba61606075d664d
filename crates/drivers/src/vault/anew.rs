//! Initialises a new server for named people, because nobody has the keys of the old one any more.
//!
//! In: their public keys, and the description of the newest backup. Out: a server that is sealed with new keys; for each
//! person a file with a share that only that person can open; a file with the names of what is gone. The server itself
//! encrypts: no share and no token is ever in clear here. Whoever is killed between the server's answer and the last file
//! has lost them, and the server is still empty: the next attempt says how to begin again. It never touches a server that
//! is initialised.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use muster_repo::durable;
use muster_types::{Kind, anew::Anew, event::Watcher};

use super::{VaultDriver, backup::Description, server::Server};
use crate::{
    DriverError,
    server::Told,
    snapshot::{failed, read_server},
};

/// The file with the names of the secrets that the newest backup held.
const GONE: &str = "secrets-that-are-gone.txt";
/// How many of them are named in the report; the file has all.
const NAMED_MAX: usize = 20;
/// Files of the folder are for whoever runs Muster, although nobody can read them without a private key.
const MODE_FILE: u32 = 0o600;
const MODE_FOLDER: u32 = 0o700;

/// Begins anew.
///
/// # Errors
/// `Conflict`: the server is not new, or the folder holds shares already. `Unavailable`: it refuses the public keys, or
/// the disk does not take a file; where the server was initialised by then, the hint says how to begin again.
pub(super) fn start_anew(
    driver: &VaultDriver,
    places: &[PathBuf],
    anew: &Anew,
    watcher: &dyn Watcher,
) -> Result<Told, DriverError> {
    let server = Server::new(&driver.component)?;
    if server.status()?.is_initialised {
        let message = format!("{} was new at the survey, and is initialised now", server.url());
        return Err(DriverError::new(Kind::Conflict, message).with_hint(again()));
    }
    let into = &anew.into;
    make_folder(into)?;
    let files: Vec<PathBuf> = anew.holders.iter().map(|holder| share_file(into, &holder.name)).collect();
    if let Some(there) = files.iter().find(|file| file.exists()) {
        let message = format!("{} stands there already: it may open another server", there.display());
        return Err(DriverError::new(Kind::Conflict, message).with_hint(
            "give `--keys-into` another folder; a share that was handed out is never overwritten",
        ));
    }
    // Written first: a disk that does not take it would lose the keys, too.
    let gone = gone(driver, places)?;
    let list = into.join(GONE);
    durable::write(&list, text(driver, gone.as_deref()).as_bytes(), MODE_FILE)
        .map_err(|error| failed("write", &list, error))?;
    watcher.begin("initialise the new server", None);
    let public: Vec<&str> = anew.holders.iter().map(|holder| holder.public_key.as_str()).collect();
    let (shares, root) = server.initialise_for(&public, anew.needed)?;
    let write = |path: &Path, encrypted: &str| {
        let bytes = STANDARD.decode(encrypted).map_err(|error| {
            DriverError::new(Kind::Unavailable, format!("the server's answer is not base64: {error}"))
                .with_hint(again())
        })?;
        durable::create(path, &bytes, MODE_FILE)
            .map_err(|error| failed("write", path, error).with_hint(again()))
    };
    if shares.len() != files.len() {
        let message = format!("{} gave {} shares for {} people", server.url(), shares.len(), files.len());
        return Err(DriverError::new(Kind::Unavailable, message).with_hint(again()));
    }
    for (file, share) in files.iter().zip(&shares) {
        write(file, share)?;
    }
    let first = anew.holders.first().map_or("root", |holder| holder.name.as_str());
    write(&into.join(format!("{first}.root-token.gpg")), &root)?;
    Ok(Told { summary: summary(&server, anew), warnings: warnings(gone.as_deref(), &list) })
}

fn summary(server: &Server, anew: &Anew) -> String {
    let people: Vec<&str> = anew.holders.iter().map(|holder| holder.name.as_str()).collect();
    format!(
        "{} is new and sealed; shares for {} are in {}: each opens with `gpg -d NAME.share.gpg`, {} of them unseal it",
        server.url(),
        people.join(", "),
        anew.into.display(),
        anew.needed
    )
}

/// What a person has to make again.
fn warnings(gone: Option<&[String]>, list: &Path) -> Vec<String> {
    let Some(gone) = gone.filter(|gone| !gone.is_empty()) else {
        return vec!["what it held is not known: no backup could list it".into()];
    };
    let shown = gone.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = gone.len().saturating_sub(NAMED_MAX);
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    vec![format!(
        "gone, and to be made again with new values: {shown}{rest}; the list is in {}",
        list.display()
    )]
}

fn text(driver: &VaultDriver, gone: Option<&[String]>) -> String {
    match gone {
        Some(gone) => gone.iter().map(|path| format!("{path}\n")).collect(),
        None => format!("# what {} held is not known: no backup could list it\n", driver.name),
    }
}

/// The names that the newest backup knows; `None`: there is no backup, or its token might not list them.
fn gone(driver: &VaultDriver, places: &[PathBuf]) -> Result<Option<Vec<String>>, DriverError> {
    let Some(place) = places.first() else { return Ok(None) };
    let description: Description = read_server(&driver.name, place)?;
    Ok(description.known)
}

fn share_file(into: &Path, holder: &str) -> PathBuf {
    into.join(format!("{holder}.share.gpg"))
}

fn make_folder(into: &Path) -> Result<(), DriverError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(MODE_FOLDER)
        .create(into)
        .and_then(|()| fs::set_permissions(into, fs::Permissions::from_mode(MODE_FOLDER)))
        .map_err(|error| failed("make", into, error))
}

fn again() -> &'static str {
    "it holds nothing, and nobody knows its keys: stop it, empty its data folder, start it, and begin again with another `--keys-into`"
}
