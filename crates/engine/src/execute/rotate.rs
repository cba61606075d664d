//! Rotates a secret: one part of it per step, as the plan says.
//!
//! ```text
//! take ─► put, put ─► restart ─► accept ─► (put back) ─► revoke ─► refuse ─► compare ─► forget
//!  │ both values on the disk      └─ not accepted: the old one returns         └─ both values go
//! ```
//! Every part may be done twice: it looks how far it is before it does something. So a run that was killed is resumed by
//! doing again what is not certain. No value is ever in an event, an error or an argument of a program.
//!
//! Read next: `rotate/safe_copy.rs` for what is kept meanwhile; `crates/drivers/src/secrets.rs` for the places;
//! `crates/plan/src/rotate.rs` for the order.

pub(crate) mod safe_copy;

use std::{collections::BTreeSet, path::Path};

use muster_drivers::{
    DriverError,
    secrets::{self, Answered, SecretPlace},
    services::{self, ServiceStatus},
};
use muster_types::{
    Kind, Mask, Secret, Span,
    backup::RunId,
    config::SecretDefinition,
    event::{ErrorNote, Unwatched, Watcher, What},
    plan::{Action, Step},
    report::StepState,
    rotation::{Rotated, RotationPart},
    text::counted,
};

use self::safe_copy::{KeptPlace, SafeCopy};
use super::{Executor, StepEffect};
use crate::{EngineError, fold::RunRecord};

/// A value that is shorter is not kept out of logs by masking, and is no secret.
const VALUE_LENGTH_MIN: usize = 8;

/// Keeps a new value that a person has given, until its run takes it.
///
/// # Errors
/// `State`; `Driver` with kind `Input` when it can be no secret.
pub fn give(state: &Path, secret: &str, run: &RunId, value: &Secret) -> Result<(), EngineError> {
    refuse_unfit(secret, value)?;
    safe_copy::make_folder(state)?;
    let path = safe_copy::given_to(state, secret, run);
    muster_repo::durable::write(&path, value.expose().as_bytes(), 0o600)
        .map_err(|source| EngineError::State { operation: "write", path, source })
}

/// Returns the run that has begun to rotate a secret and is not over.
pub fn rotating(state: &Path, secret: &str) -> Option<RunId> {
    SafeCopy::load(state, secret).ok().flatten().map(|copy| copy.run)
}

/// Whether a step of an earlier attempt need not be done again.
///
/// Before the new value was accepted, the old one may be back in its places: then everything is done again.
pub(super) fn is_over(record: &RunRecord, secret: &str) -> bool {
    record.plan.steps.iter().zip(&record.report.steps).any(|(step, told)| {
        told.state == StepState::Done
            && matches!(&step.action, Action::Rotate { secret: own, part: RotationPart::Accept } if own == secret)
    })
}

fn refuse_unfit(secret: &str, value: &Secret) -> Result<(), DriverError> {
    let (length, has_control) = (value.expose().len(), value.expose().chars().any(char::is_control));
    if length >= VALUE_LENGTH_MIN && !has_control {
        return Ok(());
    }
    let why =
        if has_control { "has line breaks or control characters" } else { "is shorter than 8 characters" };
    Err(DriverError::new(Kind::Input, format!("the new value of `{secret}` {why}"))
        .with_hint("give one line of at least 8 characters"))
}

impl Executor<'_> {
    pub(super) fn rotate(&self, secret: &str, part: &RotationPart) -> Result<StepEffect, EngineError> {
        let result = self.rotate_part(secret, part);
        // Programs and servers say what they like: no value may get from their words into the journal.
        let mask = SafeCopy::load(&self.world.state, secret)?.map_or_else(Mask::default, |copy| copy.mask());
        match result {
            Ok(mut effect) => {
                effect.summary.iter_mut().for_each(|text| mask.cover(text));
                for what in &mut effect.events {
                    what.cover(&mask);
                }
                Ok(effect)
            }
            Err(error) => Err(covered(&error, &mask)),
        }
    }

    fn rotate_part(&self, secret: &str, part: &RotationPart) -> Result<StepEffect, EngineError> {
        let summary = match part {
            RotationPart::Take => self.take(secret)?,
            RotationPart::Put { index, place } => self.put(secret, *index, place)?,
            RotationPart::Restart { service, within } => {
                self.restart_reader(&self.copy(secret)?, service, *within, self.observer)?
            }
            RotationPart::Accept => return self.accept(secret),
            RotationPart::PutBack { services } => self.put_back(secret, services)?,
            RotationPart::Revoke => self.revoke(secret)?,
            RotationPart::Refuse => return self.refuse(secret),
            RotationPart::Compare => return self.compare(secret),
            RotationPart::Forget => {
                safe_copy::forget(&self.world.state, secret, &["json", "given"])?;
                "neither value is kept any more".to_owned()
            }
        };
        Ok(StepEffect { summary: Some(summary), events: Vec::new() })
    }

    fn definition(&self, secret: &str) -> Result<&SecretDefinition, EngineError> {
        let found = self.world.platform.secrets.get(secret);
        found.ok_or_else(|| EngineError::Unknown { what: "secret", name: secret.to_owned() })
    }

    fn places(&self, secret: &str) -> Result<Vec<Box<dyn SecretPlace>>, EngineError> {
        Ok(secrets::places(&self.world.platform, secret)?)
    }

    /// What this run keeps of the secret.
    fn copy(&self, secret: &str) -> Result<SafeCopy, EngineError> {
        match SafeCopy::load(&self.world.state, secret)? {
            Some(copy) if copy.run == *self.run => Ok(copy),
            Some(copy) => Err(EngineError::Superseded { run: self.run.0.clone(), by: copy.run.0 }),
            None => {
                let message = format!("the values of `{secret}` are not kept any more");
                Err(DriverError::new(Kind::Conflict, message)
                    .with_hint(format!("begin anew: `muster rotate {secret}`"))
                    .into())
            }
        }
    }

    fn take(&self, secret: &str) -> Result<String, EngineError> {
        let (state, places) = (&self.world.state, self.places(secret)?);
        match SafeCopy::load(state, secret)? {
            Some(copy) if copy.run == *self.run => return Ok("kept since the attempt before".into()),
            Some(copy) => self.refuse_unended(secret, &copy, &places)?,
            None => {}
        }
        let salt = secrets::salt()?;
        let mut kept = Vec::new();
        for place in &places {
            let held = place.read(self.observer)?;
            let Some(old) = &held.value else {
                let message = format!("`{secret}` is missing: {}", place.describe());
                let error = DriverError::new(Kind::NotFound, message);
                return Err(error.with_hint("put the present value there first, then rotate it").into());
            };
            kept.push(KeptPlace::new(place.describe(), old, held.fingerprints(&salt)));
        }
        let new = self.new_value(secret)?;
        refuse_unfit(secret, &new)?;
        for place in &places {
            place.fits(&new)?;
        }
        let mut copy = SafeCopy::new(self.run, salt, &new, kept);
        for service in &self.definition(secret)?.needed_by {
            if self.world.service(service)?.status(self.observer)? == ServiceStatus::Stopped {
                copy.stopped.push(service.clone());
            }
        }
        if copy.old_values().iter().any(|old| old.expose() == new.expose()) {
            safe_copy::forget(state, secret, &["given"])?;
            let error =
                DriverError::new(Kind::Input, format!("the new value of `{secret}` is the present one"));
            return Err(error.with_hint("give another one").into());
        }
        copy.store(state, secret)?;
        safe_copy::forget(state, secret, &["given"])?;
        Ok(format!(
            "both values are kept in {} until the end",
            safe_copy::path_of(state, secret, "json").display()
        ))
    }

    /// Another run has begun and not ended: what it has put in place must not be taken for the old value.
    fn refuse_unended(
        &self,
        secret: &str,
        copy: &SafeCopy,
        places: &[Box<dyn SecretPlace>],
    ) -> Result<(), EngineError> {
        for place in places {
            let held = place.read(self.observer)?;
            if held.value.is_some_and(|value| value.expose() == copy.new_value().expose()) {
                let message = format!(
                    "run {} has put a new value of `{secret}` into {}, and is not over",
                    copy.run,
                    place.describe()
                );
                let error = DriverError::new(Kind::Conflict, message);
                return Err(error.with_hint(format!("finish it: `muster resume {}`", copy.run)).into());
            }
        }
        self.emit(What::Warning {
            message: format!(
                "the new value of `{secret}` that run {} had taken is in no place: it is thrown away",
                copy.run
            ),
        })
    }

    fn new_value(&self, secret: &str) -> Result<Secret, EngineError> {
        let state = &self.world.state;
        if let Some(given) = safe_copy::given(state, secret, self.run)? {
            return Ok(given);
        }
        let source = self.definition(secret)?.new.as_ref();
        if let Some(length) = source.and_then(|new| new.generate) {
            return Ok(secrets::generate(length)?);
        }
        if let Some(argv) = source.and_then(|new| new.command.as_ref()) {
            safe_copy::make_folder(state)?;
            let part = safe_copy::path_of(state, secret, "part");
            secrets::made_by(argv, &part, &safe_copy::given_to(state, secret, self.run), self.observer)?;
            if let Some(made) = safe_copy::given(state, secret, self.run)? {
                return Ok(made);
            }
        }
        let error = DriverError::new(Kind::Input, format!("nobody has given a new value of `{secret}`"));
        Err(error.with_hint(format!("begin anew: `muster rotate {secret} --value-from-stdin --yes`")).into())
    }

    fn put(&self, secret: &str, index: usize, name: &str) -> Result<String, EngineError> {
        let (copy, places) = (self.copy(secret)?, self.places(secret)?);
        let found = places.get(index).zip(copy.places.get(index)).filter(|(_, kept)| kept.place == name);
        let Some((place, kept)) = found.filter(|(place, _)| place.describe() == name) else {
            let error =
                DriverError::new(Kind::Conflict, format!("`{secret}` does not live in {name} any more"));
            return Err(error.with_hint("put `in` back as it was when the run began, then resume").into());
        };
        let (old, new) = (kept.old(), copy.new_value());
        let is_there = move_value(place.as_ref(), &old, &new, self.observer)?;
        Ok(if is_there { "it is there already".into() } else { "one value replaced, and read again".into() })
    }

    /// Restarts a service that reads the secret; one that is stopped reads it when it starts.
    fn restart_reader(
        &self,
        copy: &SafeCopy,
        service: &str,
        within: Span,
        watcher: &dyn Watcher,
    ) -> Result<String, EngineError> {
        let driver = self.world.service(service)?;
        let was_stopped = copy.stopped.iter().any(|one| one == service);
        if was_stopped && driver.status(watcher)? == ServiceStatus::Stopped {
            return Ok(format!("{service} is stopped: it reads the value when it starts"));
        }
        let told = driver.restart_and_tell(watcher)?;
        let ready = match self.world.platform.services.get(service).and_then(|one| one.ready.as_ref()) {
            Some(name) => Some((name.as_str(), self.world.check(name)?)),
            None => None,
        };
        let clock = self.world.clock.as_ref();
        let ready = services::start_and_wait(service, driver, ready, within.duration(), clock, watcher)?;
        Ok(told.into_iter().chain([ready]).collect::<Vec<_>>().join("; "))
    }

    fn accept(&self, secret: &str) -> Result<StepEffect, EngineError> {
        let copy = self.copy(secret)?;
        let Some(look) = &self.definition(secret)?.proof.accepts else {
            let message = format!(
                "nothing looks whether the new value of `{secret}` is accepted: it has no `proof.accepts`"
            );
            return Ok(StepEffect { summary: None, events: vec![What::Warning { message }] });
        };
        let by = (self.world.clock.as_ref(), self.observer as &dyn Watcher);
        let seen = Answered::until(look, &copy.new_value(), by, |seen| *seen == Answered::Accepted);
        if seen == Answered::Accepted {
            return Ok(StepEffect { summary: Some("the new value is accepted".into()), events: Vec::new() });
        }
        if self.observer.is_cancelled() {
            return Err(EngineError::Interrupted);
        }
        let message = format!("the new value of `{secret}` is not accepted: {}", seen.words());
        let hint = format!(
            "the old one is put back; see whether the new one is active, then `muster resume {}`",
            self.run
        );
        Err(DriverError::new(Kind::Unavailable, message).with_hint(hint).into())
    }

    /// What leads back when the new value does not work. It is asked for on every way, and does nothing on the good one.
    fn put_back(&self, secret: &str, services: &[(String, Span)]) -> Result<String, EngineError> {
        let report = self.report()?;
        let told = |wanted: &dyn Fn(&RotationPart) -> bool| -> Vec<StepState> {
            let steps: Vec<(&Step, StepState)> =
                self.plan.steps.iter().zip(&report.steps).map(|(step, told)| (step, told.state)).collect();
            let own = |step: &Step| matches!(&step.action, Action::Rotate { secret: own, part } if own == secret && wanted(part));
            steps.into_iter().filter(|(step, _)| own(step)).map(|(_, state)| state).collect()
        };
        if told(&|part| *part == RotationPart::Accept).contains(&StepState::Done) {
            return Ok("not needed".into());
        }
        let copy = match SafeCopy::load(&self.world.state, secret)? {
            Some(copy) if copy.run == *self.run => copy,
            _ => return Ok("nothing was changed".into()),
        };
        let is_untouched = told(&|part| matches!(part, RotationPart::Put { .. }))
            .iter()
            .all(|state| matches!(state, StepState::Pending | StepState::Skipped));
        if is_untouched {
            return Ok("nothing was changed".into());
        }
        // Leading back is part of stopping well.
        let watcher = if self.observer.is_cancelled() { &Unwatched as &dyn Watcher } else { self.observer };
        let new = copy.new_value();
        for (place, kept) in self.places(secret)?.iter().zip(&copy.places) {
            place.tidy()?;
            move_value(place.as_ref(), &new, &kept.old(), watcher)?;
        }
        for (service, within) in services {
            self.restart_reader(&copy, service, *within, watcher)?;
        }
        if let (Some(look), Some(old)) = (&self.definition(secret)?.proof.accepts, copy.old_values().first())
        {
            let by = (self.world.clock.as_ref(), watcher);
            let seen = Answered::until(look, old, by, |seen| *seen == Answered::Accepted);
            if seen != Answered::Accepted {
                let message =
                    format!("the old value of `{secret}` is back, but is not accepted: {}", seen.words());
                let path = safe_copy::path_of(&self.world.state, secret, "json");
                let hint = format!("both values are in {}", path.display());
                return Err(DriverError::new(Kind::Unavailable, message).with_hint(hint).into());
            }
        }
        let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
        Ok(format!(
            "the old value is back in {}; restarted: {}",
            counted(copy.places.len(), "place"),
            names.join(", ")
        ))
    }

    fn revoke(&self, secret: &str) -> Result<String, EngineError> {
        let (copy, definition) = (self.copy(secret)?, self.definition(secret)?);
        let look = definition.proof.refuses.as_ref().or(definition.proof.accepts.as_ref());
        let Some(argv) = &definition.revoke else { return Ok("nothing revokes it any more".into()) };
        let mut count = 0;
        for old in copy.old_values() {
            let seen = look.map(|look| secrets::look(look, &old, self.world.clock.as_ref(), self.observer));
            // An attempt before this one may have come so far, and providers refuse to revoke twice.
            if !matches!(seen, Some(Answered::Refused(_))) {
                secrets::revoke(argv, (&old, &copy.new_value()), self.observer)?;
                count += 1;
            }
        }
        Ok(if count == 0 { "it is refused already".into() } else { "done".into() })
    }

    fn refuse(&self, secret: &str) -> Result<StepEffect, EngineError> {
        let (copy, definition) = (self.copy(secret)?, self.definition(secret)?);
        let proof = &definition.proof;
        let Some(look) = proof.refuses.as_ref().or(proof.accepts.as_ref()) else {
            let message = format!(
                "nobody has looked whether the old value of `{secret}` is refused: it has no `proof`"
            );
            return Ok(StepEffect { summary: None, events: vec![What::Warning { message }] });
        };
        let by = (self.world.clock.as_ref(), self.observer as &dyn Watcher);
        for old in copy.old_values() {
            let seen = Answered::until(look, &old, by, |seen| matches!(seen, Answered::Refused(_)));
            if self.observer.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            let why = match &seen {
                Answered::Refused(_) => continue,
                Answered::Accepted => format!("the old value of `{secret}` is still accepted"),
                Answered::Unclear(said) => {
                    format!("nobody knows whether the old value of `{secret}` is refused: {said}")
                }
            };
            let hint = format!(
                "revoke it at its provider, then `muster resume {}`; the new value is in use",
                self.run
            );
            return Err(DriverError::new(Kind::Unavailable, why).with_hint(hint).into());
        }
        // A server that refuses everybody has refused nobody.
        if let Some(look) = &proof.accepts {
            let seen = Answered::until(look, &copy.new_value(), by, |seen| *seen == Answered::Accepted);
            if seen != Answered::Accepted {
                let message =
                    format!("the old value of `{secret}` is refused, and the new one too: {}", seen.words());
                let hint = format!("mend the service, then `muster resume {}`", self.run);
                return Err(DriverError::new(Kind::Unavailable, message).with_hint(hint).into());
            }
        }
        Ok(StepEffect { summary: Some("the old value is refused".into()), events: Vec::new() })
    }

    fn compare(&self, secret: &str) -> Result<StepEffect, EngineError> {
        let (copy, definition) = (self.copy(secret)?, self.definition(secret)?);
        let mut others = 0;
        for (place, kept) in self.places(secret)?.iter().zip(&copy.places) {
            place.tidy()?;
            let held = place.read(self.observer)?;
            let now = held.fingerprints(&copy.salt);
            let names: BTreeSet<&String> = now.keys().chain(kept.others.keys()).collect();
            let changed: Vec<&str> = names
                .into_iter()
                .filter(|name| now.get(*name) != kept.others.get(*name))
                .map(String::as_str)
                .collect();
            if !changed.is_empty() {
                let message = format!("{} has changed meanwhile: {}", place.describe(), changed.join(", "));
                let error = DriverError::new(Kind::Conflict, message);
                return Err(error
                    .with_hint("Muster has changed one value only: find out who else has written there; the new value is in use and proven")
                    .into());
            }
            if held.value.is_none_or(|value| value.expose() != copy.new_value().expose()) {
                let message = format!("{} does not hold the new value any more", place.describe());
                let error = DriverError::new(Kind::Conflict, message);
                return Err(error
                    .with_hint("find out who writes it: a deployment brings an old one back")
                    .into());
            }
            others += now.keys().filter(|name| !name.starts_with('(')).count();
        }
        let rotated = Rotated {
            secret: secret.to_owned(),
            at: self.world.clock.now(),
            places: copy.places.iter().map(|kept| kept.place.clone()).collect(),
            services: definition.needed_by.clone(),
            is_accepted: definition.proof.accepts.is_some(),
            is_old_refused: !definition.proof.is_empty(),
            others,
        };
        let summary = format!(
            "it stands in {}, {others} other keys beside it are as they were",
            counted(copy.places.len(), "place")
        );
        Ok(StepEffect { summary: Some(summary), events: vec![What::Rotated { rotated }] })
    }
}

/// Lets a place hold `to` instead of `from`; `true`: it does already.
fn move_value(
    place: &dyn SecretPlace,
    from: &Secret,
    to: &Secret,
    watcher: &dyn Watcher,
) -> Result<bool, EngineError> {
    let value = |held: secrets::Held| held.value.map(|value| value.expose().to_owned());
    if value(place.read(watcher)?).as_deref() == Some(to.expose()) {
        return Ok(true);
    }
    place.write(from, to, watcher)?;
    if value(place.read(watcher)?).as_deref() == Some(to.expose()) {
        return Ok(false);
    }
    let message = format!("{} does not hold what was just written there", place.describe());
    let error = DriverError::new(Kind::Conflict, message);
    Err(error.with_hint("find out who writes it (a deployment, a controller of secrets?)").into())
}

/// Says the same without any value.
fn covered(error: &EngineError, mask: &Mask) -> EngineError {
    let mut note = ErrorNote::of(error);
    note.cover(mask);
    let message = [vec![note.error], note.causes].concat().join(": ");
    let made = DriverError::new(note.kind, message);
    match note.hint {
        Some(hint) => made.with_hint(hint).into(),
        None => made.into(),
    }
}
