//! Rules that need several places of a document: objectives against schedules, steps against their order, names against
//! what makes them.
//!
//! In: a whole document. Out: findings at the place that must change. Files of other forms have no findings here.

pub(super) mod names;
pub(super) mod objectives;
pub(super) mod order;
pub(super) mod people;
pub(super) mod procedure;
pub(super) mod stores;
