//! The steps of a failover: keep the old primary out, promote, lead clients to the new one.
//!
//! What was fenced is journaled before anything is promoted, with the end of the old primary's log where it could be
//! asked; so what was lost is measured also by a process that comes after a crash.
//!
//! It never chooses a fence, and never promotes without one. Read next: `actions.rs`, `plan/src/failover.rs`.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_drivers::{DriverError, component::ComponentDriver};
use muster_types::{
    Explain, Kind, Lsn, Timestamp,
    event::{Event, What},
    failover::{Fence, Fenced, Loss, MemberState, Promoted, PromotedReplica, Way},
    plan::Action,
};

use super::{Executor, StepEffect};
use crate::EngineError;

/// How long a stopped server may still answer.
const SILENT_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

impl Executor<'_> {
    pub(super) fn fence(
        &self,
        component: &str,
        member: &str,
        fence: &Fence,
    ) -> Result<StepEffect, EngineError> {
        let driver = self.world.component(component)?;
        let mut events = Vec::new();
        let (end, summary) = match fence {
            Fence::Sessions => match driver.close_member(member, self.observer)? {
                Some(closed) => (Some(closed.end), closed.summary),
                None => return Err(gone(member).into()),
            },
            Fence::Service { service } => {
                let end = match driver.close_member(member, self.observer) {
                    Ok(closed) => closed.map(|closed| closed.end),
                    Err(error) if error.kind() == Kind::Interrupted => return Err(error.into()),
                    // Stopping it is the fence; closing it first only tells where its log ends.
                    Err(error) => {
                        let message = format!(
                            "{component}: it could not be closed before it was stopped, so what is lost may not be known: {error}"
                        );
                        events.push(What::Warning { message });
                        None
                    }
                };
                self.world.service(service)?.stop(self.observer)?;
                self.await_silence(driver, member)?;
                (end, format!("{service} is stopped"))
            }
            Fence::Declared { word } => {
                self.refuse_answering(driver, member)?;
                (None, format!("declared by {word}"))
            }
        };
        let fenced =
            Fenced { component: component.to_owned(), member: member.to_owned(), fence: fence.clone(), end };
        events.push(What::Fenced { fenced });
        Ok(StepEffect { summary: Some(summary), events })
    }

    /// A stopped service whose server still answers is not the one that was meant.
    fn await_silence(&self, driver: &dyn ComponentDriver, member: &str) -> Result<(), EngineError> {
        let begun = Instant::now();
        loop {
            match self.refuse_answering(driver, member) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == Kind::Interrupted || begun.elapsed() > SILENT_WITHIN => {
                    return Err(error);
                }
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn refuse_answering(&self, driver: &dyn ComponentDriver, member: &str) -> Result<(), EngineError> {
        let members = driver.members(self.observer)?;
        let state = members.into_iter().find(|one| one.name == member).map(|one| one.state);
        match state {
            Some(MemberState::Silent { answers: false, .. }) => Ok(()),
            _ => Err(DriverError::new(Kind::Conflict, format!("{member} still answers: it is not off"))
                .with_hint("stop its server on its host; nothing was promoted")
                .into()),
        }
    }

    pub(super) fn promote(&self, action: &Action) -> Result<StepEffect, EngineError> {
        let Action::Promote { component, member, seen, rebuild } = action else {
            return Ok(StepEffect::default());
        };
        let events = self.world.journal.events()?;
        let fenced: Vec<&Fenced> = events
            .iter()
            .filter(|event| event.run == *self.run)
            .filter_map(|event: &Event| match &event.what {
                What::Fenced { fenced } if fenced.component == *component => Some(fenced),
                _ => None,
            })
            .collect();
        if fenced.is_empty() {
            return Err(DriverError::new(Kind::Bug, "nothing was fenced: nothing is promoted").into());
        }
        let end = fenced.iter().filter_map(|one| one.end).max();
        let driver = self.world.component(component)?;
        let done = driver.promote_member(member, end, self.observer)?;
        let loss = loss(end, done.received, *seen);
        let promoted = Promoted {
            component: component.clone(),
            member: member.clone(),
            received: done.received,
            newest_commit: done.newest_commit,
            timeline: done.timeline,
            loss,
            rebuild: rebuild.clone(),
        };
        let summary =
            format!("{member} takes writes on timeline {}; {}", promoted.timeline, told(&promoted.loss));
        let mut events: Vec<What> = done
            .warnings
            .into_iter()
            .map(|one| What::Warning { message: format!("{component}: {one}") })
            .collect();
        events.push(What::Promoted { promoted });
        Ok(StepEffect { summary: Some(summary), events })
    }

    pub(super) fn promote_replica(&self, action: &Action) -> Result<StepEffect, EngineError> {
        let Action::PromoteReplica { component, replica, primary, ways, silent_seconds, fenced_by } = action
        else {
            return Ok(StepEffect::default());
        };
        let done = self.world.component(component)?.promote_replica(replica, ways, self.observer)?;
        let promoted = PromotedReplica {
            component: component.clone(),
            replica: replica.clone(),
            primary: primary.clone(),
            way: done.way,
            slots: done.slots,
            silent_seconds: *silent_seconds,
            fenced_by: fenced_by.clone().filter(|_| done.way == Some(Way::Takeover)),
        };
        let summary = format!("{replica} is the primary of {} slots", done.slots);
        let mut events: Vec<What> = done
            .warnings
            .into_iter()
            .map(|one| What::Warning { message: format!("{component}: {one}") })
            .collect();
        events.push(What::ReplicaPromoted { promoted });
        Ok(StepEffect { summary: Some(summary), events })
    }

    pub(super) fn switch_clients(&self, component: &str, member: &str) -> Result<StepEffect, EngineError> {
        let said = self.world.component(component)?.switch_clients(member, self.observer)?;
        Ok(StepEffect { summary: Some(said).filter(|said| !said.is_empty()), events: Vec::new() })
    }
}

fn gone(member: &str) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("{member} does not answer any more: it cannot be closed")).with_hint(
        "make sure that it is off, then begin anew and say who has done it and how: `--fenced-by \"ada: power cut\"`",
    )
}

fn loss(end: Option<Lsn>, received: Option<Lsn>, seen: Option<(Lsn, Timestamp)>) -> Loss {
    match (received, end, seen) {
        (Some(received), Some(end), _) if received >= end => Loss::None,
        (Some(received), Some(end), _) => Loss::Measured { bytes: end.0 - received.0 },
        (Some(received), None, Some((seen, at))) => {
            Loss::Seen { bytes: seen.0.saturating_sub(received.0), at }
        }
        _ => Loss::Unknown,
    }
}

fn told(loss: &Loss) -> String {
    match loss {
        Loss::None => "nothing is lost".into(),
        Loss::Measured { bytes } => format!("{bytes} bytes of log are lost"),
        Loss::Seen { bytes: 0, at } => {
            format!(
                "nothing is missing of what was seen of the old primary at {at}; what came after is not known"
            )
        }
        Loss::Seen { bytes, at } => {
            format!("{bytes} bytes of log are missing of what was seen of the old primary at {at}, or more")
        }
        Loss::Unknown => "what is lost is not known".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_measured_where_the_end_is_known_and_never_guessed() {
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(loss(Some(Lsn(10)), Some(Lsn(12)), None), Loss::None);
        assert_eq!(loss(Some(Lsn(10)), Some(Lsn(4)), Some((Lsn(9), at))), Loss::Measured { bytes: 6 });
        assert_eq!(loss(None, Some(Lsn(4)), Some((Lsn(9), at))), Loss::Seen { bytes: 5, at });
        assert_eq!(loss(None, Some(Lsn(4)), Some((Lsn(3), at))), Loss::Seen { bytes: 0, at });
        assert_eq!(loss(None, Some(Lsn(4)), None), Loss::Unknown);
        assert_eq!(loss(Some(Lsn(10)), None, None), Loss::Unknown);
    }
}
