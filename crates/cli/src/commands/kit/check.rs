//! Looks at a kit: what is in it, how old it is, whether its key still opens the repository or a copy, and whether the
//! configuration has changed since.
//!
//! A kit and what opens it come in; an answer leaves, with an exit code for cron: 0 good, 3 it opens and is out of date,
//! 20 its key opens nothing. Nothing is written.

use std::{collections::BTreeSet, path::Path};

use muster_engine::{
    carry,
    kit::{self, Kit, Place},
};
use muster_types::{ByteSize, Clock, Kind, Span, Timestamp};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, UnlockArgs},
    clock::SystemClock,
    exit::{self, Failure},
    render,
};

pub(super) fn run(global: &Global, file: &Path, unlock: &UnlockArgs) -> Result<Answer, Failure> {
    let kit = super::read(file, unlock)?;
    let manifest = &kit.manifest;
    let key = kit.key()?;
    let changed = changed(global, &kit)?;
    let age = SystemClock.now().duration_since(manifest.made_at).unsigned_abs();
    let mut text = described(&kit, age.as_secs());
    let mut opens = 0;
    let mut places: Vec<Value> = Vec::new();
    for place in &manifest.places {
        let name = place.copy.clone().unwrap_or_else(|| "repository".into());
        let tried = open(place, &key);
        let newest = tried.as_ref().ok().copied().flatten();
        let said = match &tried {
            Ok(newest) => {
                opens += 1;
                let newest =
                    newest.map_or("no backup".into(), |at| format!("newest backup {}", render::time(at)));
                format!("the key opens {}, {newest}", place.location)
            }
            Err(failure) => format!("CANNOT BE USED: {}", failure.note.error),
        };
        text.push_str(&render::row(&name, &said));
        let error = tried.err().map(|failure| failure.note);
        places.push(json!({"place": place, "opens": error.is_none(), "newest": newest, "error": error}));
    }
    match &changed {
        None => text.push_str(&render::row("changed since", "there is no configuration here to compare")),
        Some(names) if names.is_empty() => text.push_str(&render::row("changed since", "nothing")),
        Some(names) => text.push_str(&render::row("changed since", &names.join(", "))),
    }
    let is_stale = changed.as_ref().is_some_and(|names| !names.is_empty());
    let (verdict, code) = match (opens, is_stale) {
        (0, _) => ("THIS KIT OPENS NOTHING: make a new one with `muster kit FILE`", exit::DAMAGED),
        (_, true) => (
            "it opens the repository, and is out of date: make a new one with `muster kit FILE`",
            exit::PARTLY,
        ),
        _ => ("it opens the repository", exit::DONE),
    };
    text.push_str(&format!("{verdict}\n"));
    let document = json!({
        "kit": manifest, "age_seconds": age.as_secs(), "size_bytes": kit.size_bytes, "places": places,
        "changed": changed, "opens": opens > 0,
    });
    Ok(Answer::new(text, document).with_code(code))
}

/// Says what the kit is and holds.
fn described(kit: &Kit, age_seconds: u64) -> String {
    let manifest = &kit.manifest;
    let mut text = format!(
        "{} ({}), made {} on {} by muster {}\n",
        manifest.platform,
        manifest.environment,
        render::time(manifest.made_at),
        manifest.host,
        manifest.muster
    );
    text.push_str(&render::row("age", &Span::from_secs(age_seconds).to_string()));
    let who = match manifest.people.as_slice() {
        [] => "whoever knows the passphrase".to_owned(),
        people => people.join(", "),
    };
    text.push_str(&render::row("opened by", &who));
    let is_whole = |name: &str| manifest.files.iter().any(|one| one.path == Path::new(name));
    let count = |end: &str| {
        manifest.files.iter().filter(|one| one.path.extension().is_some_and(|e| e == end)).count()
    };
    text.push_str(&render::row(
        "holds",
        &format!(
            "{}, {} files: {} runbooks to print, {} configuration files, {}",
            ByteSize(kit.size_bytes),
            manifest.files.len() + 1,
            count("html"),
            manifest.files.iter().filter(|one| one.path.starts_with(kit::CONFIG)).count(),
            if is_whole(kit::BINARY) { "the program" } else { "no program" }
        ),
    ));
    text
}

/// Opens a place with the kit's key; returns how new its newest backup is.
fn open(place: &Place, key: &muster_types::Secret) -> Result<Option<Timestamp>, Failure> {
    let repo = app::open_repo_at(&super::location(place)?, key.clone())?;
    Ok(repo.backups()?.iter().map(|backup| backup.record.consistent_at).max())
}

/// Returns which files of the configuration are others now; `None`: there is no configuration here.
fn changed(global: &Global, kit: &Kit) -> Result<Option<Vec<String>>, Failure> {
    let loaded = match app::load(global, Intent::Read) {
        Ok(loaded) => loaded,
        // On the host of somebody who only keeps the kit there is none. One that was named must be there.
        Err(failure) if global.config.is_some() => return Err(failure),
        Err(_) => return Ok(None),
    };
    let manifest = &kit.manifest;
    if (&loaded.platform.platform, &loaded.environment) != (&manifest.platform, &manifest.environment) {
        return Err(Failure::new(
            Kind::Conflict,
            format!(
                "the kit is of {} ({}), and the configuration here of {} ({})",
                manifest.platform, manifest.environment, loaded.platform.platform, loaded.environment
            ),
            "go to a folder without a `muster.yaml`, or take the kit of this platform",
        ));
    }
    let now = carry::current_files(&loaded.folder, &loaded.files)?;
    let then = |path: &Path| kit.files.get(&Path::new(kit::CONFIG).join(path));
    let mut names: BTreeSet<String> = now
        .iter()
        .filter(|one| {
            then(&one.path)
                != one
                    .bytes()
                    .map(|bytes| app::mask().apply(&String::from_utf8_lossy(&bytes)).into_bytes())
                    .as_ref()
        })
        .map(|one| one.path.display().to_string())
        .collect();
    let gone = kit.files.keys().filter_map(|path| path.strip_prefix(kit::CONFIG).ok());
    names.extend(
        gone.filter(|path| !now.iter().any(|one| one.path == **path)).map(|path| path.display().to_string()),
    );
    Ok(Some(names.into_iter().collect()))
}
