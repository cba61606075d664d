//! A key of an entry in a Vault's key-value engine, of either version.
//!
//! In: the component that names the server, the entry and the key. Out: its value; or the entry with that key changed. An
//! engine with versions keeps the old one and refuses a write on anything newer than was read. Read next:
//! `../vault/stored.rs`.

use std::collections::BTreeMap;

use muster_types::{
    Kind, Secret,
    config::{VaultComponent, VaultPlace},
    event::Watcher,
};
use serde_json::Value;

use super::{Held, SecretPlace, changed};
use crate::{
    DriverError,
    vault::stored::{self, Stored},
};

/// A key of an entry.
pub(super) struct Entry {
    place: VaultPlace,
    component: VaultComponent,
}

impl Entry {
    pub(super) fn new(place: &VaultPlace, component: &VaultComponent) -> Self {
        Self { place: place.clone(), component: component.clone() }
    }

    fn look(&self) -> Result<Stored, DriverError> {
        stored::read(&self.component, &self.place.path)?.ok_or_else(|| {
            let message = format!("there is no entry {} in {}", self.place.path, self.place.component);
            DriverError::new(Kind::NotFound, message).with_hint(
                "name it as the HTTP API does: with versions `secret/data/api`, without `secret/api`",
            )
        })
    }

    fn value(&self, stored: &Stored) -> Result<Option<Secret>, DriverError> {
        match stored.data.get(&self.place.key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok((!text.is_empty()).then(|| Secret::new(text))),
            Some(_) => Err(DriverError::new(Kind::Config, format!("{} is no text", self.describe()))
                .with_hint("a key that is no text is rotated by its own program")),
        }
    }
}

impl SecretPlace for Entry {
    fn describe(&self) -> String {
        format!("{} of {} in {}", self.place.key, self.place.path, self.place.component)
    }

    fn read(&self, _watcher: &dyn Watcher) -> Result<Held, DriverError> {
        let stored = self.look()?;
        let others: BTreeMap<String, Secret> = stored
            .data
            .iter()
            .filter(|(key, _)| **key != self.place.key)
            .map(|(key, value)| (key.clone(), Secret::new(value.to_string())))
            .collect();
        Ok(Held { value: self.value(&stored)?, others })
    }

    fn fits(&self, _value: &Secret) -> Result<(), DriverError> {
        Ok(())
    }

    fn write(&self, from: &Secret, to: &Secret, _watcher: &dyn Watcher) -> Result<(), DriverError> {
        let mut stored = self.look()?;
        if self.value(&stored)?.as_ref() != Some(from) {
            return Err(changed(&self.describe()));
        }
        stored.data.insert(self.place.key.clone(), Value::String(to.expose().to_owned()));
        stored::write(&self.component, &self.place.path, &stored)
    }
}
