//! `muster kit`: the emergency kit is written, looked at, or opened.
//!
//! Arguments come in; an answer leaves. A kit is made only when its key opens the repository now, and a look says whether
//! it still does: a kit that opens nothing is the worst finding of all.

mod check;
mod make;
mod papers;
mod readme;

use std::path::Path;

use muster_engine::kit::{self, Kit, Unlock};
use muster_repo::Location;
use muster_types::{Kind, Secret};
use serde_json::json;

use crate::{
    answer::Answer,
    app,
    args::{Global, KitArgs, UnlockArgs},
    exit::Failure,
    render,
};

/// Keys and passphrases are short; more is another file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

pub(super) fn run(global: &Global, args: &KitArgs) -> Result<Answer, Failure> {
    match (&args.check, &args.open, &args.into, &args.file) {
        (Some(file), ..) => check::run(global, file, &args.unlock),
        (None, Some(file), Some(into), _) => open(file, &args.unlock, into),
        (None, None, _, Some(file)) => make::run(global, args, file),
        _ => Err(Failure::new(Kind::Input, "no file is named", "write `muster kit FILE`")),
    }
}

fn open(file: &Path, unlock: &UnlockArgs, into: &Path) -> Result<Answer, Failure> {
    let kit = kit::unpack(file, &self::unlock(unlock)?, into)?;
    let manifest = &kit.manifest;
    let text = format!(
        "{} ({}), made {} on {}\n{} files are in {}: begin with README.txt\nthe key of the repository is among them: remove the folder when you are done\n",
        manifest.platform,
        manifest.environment,
        render::time(manifest.made_at),
        manifest.host,
        manifest.files.len() + 1,
        into.display()
    );
    Ok(Answer::new(text, json!({"kit": manifest, "into": into})))
}

/// Reads a kit that is given to another command.
pub(crate) fn read(file: &Path, unlock: &UnlockArgs) -> Result<Kit, Failure> {
    Ok(kit::read(file, &self::unlock(unlock)?)?)
}

/// Returns where a place of a kit is, with the credentials that this host has.
pub(crate) fn location(place: &kit::Place) -> Result<Location, Failure> {
    let is_remote = place.location.contains("://");
    let endpoint = place.endpoint.as_ref().filter(|_| is_remote);
    let region = place.region.as_ref().filter(|_| is_remote);
    let mut location = app::new_location(&place.location, endpoint, region)?;
    if let (Location::S3(s3), Some(path_style)) = (&mut location, place.path_style) {
        s3.path_style = path_style;
    }
    Ok(location)
}

fn unlock(args: &UnlockArgs) -> Result<Unlock, Failure> {
    match (&args.identity, &args.passphrase_file) {
        (Some(file), _) => Ok(Unlock::identities(&secret(file)?)?),
        (None, Some(file)) => Ok(Unlock::passphrase(&secret(file)?)),
        (None, None) => Err(Failure::new(
            Kind::Input,
            "nothing is given that opens the kit",
            "give `--identity FILE` with your private key, or `--passphrase-file FILE`",
        )),
    }
}

/// Reads a file with a secret.
fn secret(file: &Path) -> Result<Secret, Failure> {
    use std::io::Read;
    let fail = |kind, why: String| {
        Failure::new(kind, format!("cannot read {}: {why}", file.display()), "check its name and its rights")
    };
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(file).and_then(|opened| opened.take(SECRET_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| {
        let kind =
            if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
        fail(kind, error.to_string())
    })?;
    String::from_utf8(bytes).map(Secret::new).map_err(|_| fail(Kind::Input, "it is no text".into()))
}
