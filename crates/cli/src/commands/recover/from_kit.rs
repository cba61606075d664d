//! Begins a recovery with an emergency kit: its key, and the first of its places that still holds the platform.
//!
//! A kit and what opens it come in; an open repository with the platform's state leaves. Why an earlier place was passed
//! over is said. Nothing is written.

use std::path::Path;

use muster_engine::{carry::Carried, kit::Place};
use muster_repo::{Location, Repo};
use muster_types::{Kind, Secret};

use super::{Meant, Told, choose};
use crate::{app, args::RecoverArgs, commands::kit, exit::Failure, render};

/// Opens the kit, then the repository or a copy.
pub(super) fn begin(
    file: &Path,
    args: &RecoverArgs,
    meant: &Meant<'_>,
    told: &mut Told,
) -> Result<(Location, Repo, Carried), Failure> {
    let opened = kit::read(file, &args.unlock)?;
    let manifest = &opened.manifest;
    for (asked, is, what) in [
        (meant.platform, &manifest.platform, "platform"),
        (meant.environment, &manifest.environment, "environment"),
    ] {
        if let Some(asked) = asked.filter(|asked| *asked != is) {
            return Err(Failure::new(
                Kind::Conflict,
                format!("{} is the kit of {what} `{is}`, and `{asked}` is meant", file.display()),
                format!("take the kit of `{asked}`"),
            ));
        }
    }
    let meant = Meant { platform: Some(&manifest.platform), environment: Some(&manifest.environment) };
    told.say(format!("the kit was made {} on {}", render::time(manifest.made_at), manifest.host));
    let named = args.repository.as_ref().map(|location| Place {
        copy: None,
        location: location.clone(),
        endpoint: args.endpoint.clone(),
        region: args.region.clone(),
        path_style: None,
    });
    let key = opened.key()?;
    let mut failures = Vec::new();
    // A person who names a place means that one alone.
    for place in named.as_ref().map_or(manifest.places.as_slice(), std::slice::from_ref) {
        match try_place(place, &key, &meant, told) {
            Ok(found) => return Ok(found),
            Err(failure) => {
                told.say(format!("note: {} cannot be used: {}", place.location, failure.note.error));
                failures.push((place, failure));
            }
        }
    }
    Err(nowhere(failures))
}

fn try_place(
    place: &Place,
    key: &Secret,
    meant: &Meant<'_>,
    told: &mut Told,
) -> Result<(Location, Repo, Carried), Failure> {
    let location = kit::location(place)?;
    let repo = app::open_repo_at(&location, key.clone())?;
    let state = choose(&repo, meant, told)?;
    Ok((location, repo, state))
}

/// The failure of the only place, or of all of them together.
fn nowhere(mut failures: Vec<(&Place, Failure)>) -> Failure {
    if failures.len() == 1
        && let Some((_, failure)) = failures.pop()
    {
        return failure;
    }
    let is_key = !failures.is_empty() && failures.iter().all(|(_, one)| one.note.kind == Kind::WrongKey);
    let kind = if is_key { Kind::WrongKey } else { Kind::NoRepository };
    let mut failure = Failure::new(
        kind,
        "neither the repository nor a copy that the kit names can be used",
        "is its disk mounted, is there a network, are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for Azure AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY) set? Where it lies elsewhere now, add `--repository LOCATION`",
    );
    failure.note.causes =
        failures.into_iter().map(|(place, one)| format!("{}: {}", place.location, one.note.error)).collect();
    failure
}
