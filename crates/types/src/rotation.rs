//! Where secrets are, and what a rotation does and has come to: places and times, never a value.
//!
//! In: what drivers have seen. Out: documents of `muster secrets`, parts of a plan, the line of a report that is signed
//! off. Two places are compared by fingerprints that are salted anew each time, so that none says anything about a value.
//! Read next: [`crate::config::SecretDefinition`].

use serde::{Deserialize, Serialize};

use crate::{Span, Timestamp};

/// Whether a place holds the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// It is there.
    Present,
    /// The place can be read, and it is not there, or empty.
    Missing,
    /// The place cannot be read: nobody knows.
    Unknown,
}

impl Presence {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// What was seen of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretPlaceFacts {
    /// Where it is, for people: `API_KEY in /srv/app/.env`.
    pub place: String,
    /// Whether it is there.
    pub state: Presence,
    /// Equal in two places of one answer when they hold the same value; of two answers it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Why it is not there or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What was seen of one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretFacts {
    /// Its name.
    pub name: String,
    /// The worst of its places.
    pub state: Presence,
    /// Who needs it.
    pub needed_by: Vec<String>,
    /// Its places, as configured.
    pub places: Vec<SecretPlaceFacts>,
    /// Whether the places that hold one hold the same.
    pub agrees: bool,
    /// The run that has begun to rotate it and is not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating: Option<String>,
}

/// One part of the rotation of a secret, in the order of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub enum RotationPart {
    /// Reads the old value, gets the new one, and keeps both until the end.
    Take,
    /// Puts the new value in one place.
    Put {
        /// Which one, counted from 0 as configured.
        index: usize,
        /// What it was called when the plan was made.
        place: String,
    },
    /// Restarts a service that reads it, and waits until it is ready.
    Restart {
        /// The service.
        service: String,
        /// How long that may take.
        within: Span,
    },
    /// Shows that the new value is accepted.
    Accept,
    /// Puts the old value back, unless the new one was accepted.
    PutBack {
        /// Who reads it.
        services: Vec<(String, Span)>,
    },
    /// Has the old value revoked.
    Revoke,
    /// Shows that the old value is refused.
    Refuse,
    /// Shows that every place has the new value and that nothing else in them has changed.
    Compare,
    /// Forgets both values.
    Forget,
}

/// A secret that was rotated, for the sign-off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The secret.
    pub secret: String,
    /// When that was certain, UTC.
    pub at: Timestamp,
    /// Where it was put.
    pub places: Vec<String>,
    /// Who reads it and was restarted.
    pub services: Vec<String>,
    /// Whether a look with the new value has succeeded.
    pub is_accepted: bool,
    /// Whether the old value was refused.
    pub is_old_refused: bool,
    /// How many other keys stand beside it, each as it was.
    pub others: usize,
}
