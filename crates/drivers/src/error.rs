//! The one error of all drivers: what failed, on which object, why, and what to do next.
//!
//! Drivers of many kinds fail in many ways, but a caller only needs the kind, the hint and the source; so there is one
//! type and no enum per driver.

use muster_types::{Explain, Hint, Kind};

/// Why a driver could not do it. `Display` names the operation and its object.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DriverError {
    message: String,
    kind: Kind,
    hint: Option<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DriverError {
    /// Makes an error of a family; `message` is one line, lower case, and names the object.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { message: message.into(), kind, hint: None, source: None }
    }

    /// Says what another error and its causes say, with its family and its next action.
    pub fn of(error: &impl Explain) -> Self {
        let hint = error.hint().map(|hint| hint.0);
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self { message, kind: error.kind(), hint, source: None }
    }

    /// Adds the next action.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

impl Explain for DriverError {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hint(&self) -> Option<Hint> {
        self.hint.clone().map(Hint)
    }
}
