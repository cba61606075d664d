//! The places where secrets live: a key in an env file, a file, a key of a Secret, a key of a Vault's entry.
//!
//! ```text
//! secrets: of muster.yaml ──► places ──► read ──► present, missing, unknown (inventory)
//!                                   └──► write one key, and nothing else beside it (rotation)
//! ```
//! In: a platform and a name. Out: what was seen, without a value; or [`SecretPlace`]s for a rotation. A place that cannot
//! be read is unknown, and counts as not there. No value is ever an argument of a program, part of an error, or logged.
//!
//! It never chooses a value. Read next: `secrets/env_file.rs`, `secrets/look.rs`; who rotates: `crates/engine/src/execute/rotate.rs`.

mod entry;
mod env_file;
mod generate;
mod kubernetes;
mod lines;
mod look;
mod rewrite;
mod whole_file;

use std::collections::BTreeMap;

use muster_types::{
    Explain, Kind, Secret,
    config::{Component, Platform, SecretTarget},
    event::Watcher,
    rotation::{Presence, SecretFacts, SecretPlaceFacts},
    text,
};
use sha2::{Digest, Sha256};

pub use self::{
    generate::{LENGTH_MIN, generate, made_by, salt},
    look::{Answered, look, revoke, validate},
};
use crate::DriverError;

/// How much of a fingerprint is shown: enough to tell a handful of places apart.
const FINGERPRINT_LETTERS: usize = 12;

/// What stands in a place.
pub struct Held {
    /// The secret; `None`: it is not there, or empty.
    pub value: Option<Secret>,
    /// Everything else that the place holds, by name: keys beside it, comments, owner and mode.
    pub others: BTreeMap<String, Secret>,
}

impl Held {
    /// Returns what everything else is, as hashes that can be kept without keeping any value.
    pub fn fingerprints(&self, salt: &str) -> BTreeMap<String, String> {
        self.others.iter().map(|(name, value)| (name.clone(), fingerprint(salt, value.expose()))).collect()
    }
}

/// One place that holds a secret.
pub trait SecretPlace: Send + Sync {
    /// Says where it is, for people: `API_KEY in /srv/app/.env`.
    fn describe(&self) -> String;

    /// Reads it.
    ///
    /// # Errors
    /// `NotFound`: what should hold it is not there. `Unavailable`, `Config`: it cannot be read, or not without doubt.
    fn read(&self, watcher: &dyn Watcher) -> Result<Held, DriverError>;

    /// Tells whether it could hold this value in such a way that every program reads the same.
    ///
    /// # Errors
    /// `Config`: it could not, with the reason; the value is not in it.
    fn fits(&self, value: &Secret) -> Result<(), DriverError>;

    /// Puts `to` in the place of `from`, in one step that cannot be half done; everything else stays as it is.
    ///
    /// # Errors
    /// `Conflict`: something else stands there. `Unavailable`: it cannot be written; nothing was changed then.
    fn write(&self, from: &Secret, to: &Secret, watcher: &dyn Watcher) -> Result<(), DriverError>;

    /// Removes what a killed process may have left beside it.
    ///
    /// # Errors
    /// `Unavailable`.
    fn tidy(&self) -> Result<(), DriverError> {
        Ok(())
    }
}

/// Returns the places of a secret, as configured; asks nobody.
///
/// # Errors
/// `Config`: there is no such secret, it has no place, or one of them can never work.
pub fn places(platform: &Platform, name: &str) -> Result<Vec<Box<dyn SecretPlace>>, DriverError> {
    let Some(definition) = platform.secrets.get(name) else {
        let known: Vec<&str> = platform.secrets.keys().map(String::as_str).collect();
        let hint = if known.is_empty() {
            "name it under `secrets`: `muster.yaml` has none".to_owned()
        } else {
            format!("the configuration has: {}", known.join(", "))
        };
        return Err(DriverError::new(Kind::Config, format!("there is no secret `{name}`")).with_hint(hint));
    };
    if definition.places.is_empty() {
        return Err(DriverError::new(Kind::Config, format!("secret `{name}` does not say where it lives"))
            .with_hint("write `in: [{env_file: {path: /srv/app/.env, key: API_KEY}}]`"));
    }
    definition.places.iter().map(|target| open(platform, name, target)).collect()
}

fn open(platform: &Platform, name: &str, target: &SecretTarget) -> Result<Box<dyn SecretPlace>, DriverError> {
    match (&target.env_file, &target.file, &target.kubernetes, &target.vault) {
        (Some(own), None, None, None) => Ok(Box::new(env_file::EnvFile::new(own)?)),
        (None, Some(path), None, None) => Ok(Box::new(whole_file::WholeFile::new(path))),
        (None, None, Some(own), None) => Ok(Box::new(kubernetes::SecretKey::new(own)?)),
        (None, None, None, Some(own)) => match platform.components.get(&own.component) {
            Some(Component::Vault(component)) => Ok(Box::new(entry::Entry::new(own, component))),
            _ => Err(DriverError::new(
                Kind::Config,
                format!("secret `{name}` names `{}`, which is no component of kind vault", own.component),
            )
            .with_hint("name a component that has `kind: vault`")),
        },
        _ => Err(DriverError::new(
            Kind::Config,
            format!("a place of secret `{name}` is not exactly one of env_file, file, kubernetes, vault"),
        )
        .with_hint("make an entry of its own in `in` for each place")),
    }
}

/// Looks at every place of these secrets. What cannot be read is a fact, not an error.
pub fn inventory<'a>(
    platform: &Platform,
    names: impl Iterator<Item = &'a str>,
    watcher: &dyn Watcher,
) -> Result<Vec<SecretFacts>, DriverError> {
    let salt = salt()?;
    Ok(names.map(|name| facts(platform, name, &salt, |_| true, watcher)).collect())
}

/// Refuses when one of these services needs a secret that is not there, or of which nobody knows.
///
/// Places for which `is_left_out` holds are not looked at: a restore may be about to bring them back.
///
/// # Errors
/// `Conflict`, with what is missing, where, and what to do.
pub fn refuse_missing<'a>(
    platform: &Platform,
    services: impl Iterator<Item = &'a str>,
    is_left_out: &dyn Fn(&SecretTarget) -> bool,
    watcher: &dyn Watcher,
) -> Result<(), DriverError> {
    for service in services {
        for (name, _) in platform.secrets.iter().filter(|(_, one)| one.needed_by.iter().any(|s| s == service))
        {
            let facts = facts(platform, name, "", |target| !is_left_out(target), watcher);
            if let Some(place) = facts.places.iter().find(|place| place.state != Presence::Present) {
                return Err(refused(service, name, place));
            }
        }
    }
    Ok(())
}

fn refused(service: &str, name: &str, place: &SecretPlaceFacts) -> DriverError {
    let word = match place.state {
        Presence::Missing => "is missing",
        _ => "cannot be looked at",
    };
    let why = place.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let message =
        format!("service `{service}` needs the secret `{name}`, which {word} ({}){why}", place.place);
    let hint = place.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    DriverError::new(Kind::Conflict, message)
        .with_hint(format!("put it there, then look with `muster secrets {name}`{hint}"))
}

fn facts(
    platform: &Platform,
    name: &str,
    salt: &str,
    is_meant: impl Fn(&SecretTarget) -> bool,
    watcher: &dyn Watcher,
) -> SecretFacts {
    let definition = platform.secrets.get(name);
    let targets = definition.map(|one| one.places.as_slice()).unwrap_or_default();
    let places: Vec<SecretPlaceFacts> = match targets {
        [] => places(platform, name).err().map(|error| unknown("nowhere", &error)).into_iter().collect(),
        all => all
            .iter()
            .filter(|target| is_meant(target))
            .map(|target| match open(platform, name, target) {
                Ok(place) => seen(place.as_ref(), salt, watcher),
                Err(error) => unknown("not known", &error),
            })
            .collect(),
    };
    let state = places.iter().map(|place| place.state).max_by_key(|state| match state {
        Presence::Present => 0,
        Presence::Unknown => 1,
        Presence::Missing => 2,
    });
    let mut prints: Vec<&String> = places.iter().filter_map(|place| place.fingerprint.as_ref()).collect();
    prints.dedup();
    SecretFacts {
        name: name.to_owned(),
        state: state.unwrap_or(Presence::Present),
        needed_by: definition.map(|one| one.needed_by.clone()).unwrap_or_default(),
        agrees: prints.len() < 2,
        places,
        rotating: None,
    }
}

fn seen(place: &dyn SecretPlace, salt: &str, watcher: &dyn Watcher) -> SecretPlaceFacts {
    let made = |state, fingerprint, reason, hint| SecretPlaceFacts {
        place: place.describe(),
        state,
        fingerprint,
        reason,
        hint,
    };
    match place.read(watcher) {
        Ok(Held { value: Some(value), .. }) => {
            let print = fingerprint(salt, value.expose()).chars().take(FINGERPRINT_LETTERS).collect();
            made(Presence::Present, Some(print), None, None)
        }
        Ok(Held { value: None, .. }) => {
            made(Presence::Missing, None, Some("it is not there, or empty".into()), None)
        }
        Err(error) if error.kind() == Kind::NotFound => {
            made(Presence::Missing, None, Some(error.to_string()), error.hint().map(|hint| hint.0))
        }
        Err(error) => unknown(&place.describe(), &error),
    }
}

fn unknown(place: &str, error: &DriverError) -> SecretPlaceFacts {
    SecretPlaceFacts {
        place: place.to_owned(),
        state: Presence::Unknown,
        fingerprint: None,
        reason: Some(error.to_string()),
        hint: error.hint().map(|hint| hint.0),
    }
}

/// Makes what two values can be compared by.
fn fingerprint(salt: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    hash.update([0]);
    hash.update(value.as_bytes());
    text::hex(hash.finalize())
}

/// What stands there is not what should.
fn changed(place: &str) -> DriverError {
    DriverError::new(Kind::Conflict, format!("{place} holds another value than before: somebody else changes it"))
        .with_hint("find out who writes it (a deployment, a controller of secrets?), and let that wait; then do it again")
}
