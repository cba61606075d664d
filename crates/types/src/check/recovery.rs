//! What a check asks of whoever knows how recoveries stand: which moments can be reached, which objectives are met.
//!
//! The answer needs the repository, the journal and the planner, and those who look at checks have none of them. So the
//! caller that loads the configuration hands a [`RecoverySource`] to the checks that ask for one. It only looks.

use std::sync::Arc;

use serde_json::Value;

use crate::{Span, Timestamp};

/// Knows how recoveries stand. Each question is answered from what stands there now.
pub trait Recoverability: Send + Sync {
    /// Tells whether `component` can be brought back to `at` (UTC; without it: to now), and to a state that is at most
    /// `within` older.
    ///
    /// # Errors
    /// Why it cannot be told, in one line: the repository does not answer.
    fn reach(
        &self,
        component: &str,
        at: Option<Timestamp>,
        within: Option<Span>,
    ) -> Result<RecoverySeen, String>;

    /// Tells whether the objectives of a component are met; without one: all of the platform's.
    ///
    /// # Errors
    /// As [`Recoverability::reach`]; that there is no objective.
    fn objectives(&self, component: Option<&str>) -> Result<RecoverySeen, String>;
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoverySeen {
    /// What conditions read as `[BODY]`.
    pub body: Value,
    /// The state that is reached, UTC: `[AGE]` is the time since it.
    pub state_at: Option<Timestamp>,
}

/// Whom a check asks.
#[derive(Clone)]
pub struct RecoverySource(pub Arc<dyn Recoverability>);

impl std::fmt::Debug for RecoverySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoverySource")
    }
}

impl PartialEq for RecoverySource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
