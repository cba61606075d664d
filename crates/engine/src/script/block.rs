//! Keeps an attacker out, and proves it: the steps `block`, `isolate`, `keep_block`, `unblock`.
//!
//! ```text
//! refused where it would cut the operator off ──► checks that are to fail pass now
//!   ──► the table, with a limit of its own (the kernel takes it back if nobody is left to say it stays)
//!   ──► checks: some fail now, others pass ──► the table without the limit, or with the one that the step says
//!                                         └──► not so: the table is removed, the step has failed
//! ```
//!
//! A request comes in; an effect leaves, whose output is the request itself: the step that lets a block stay reads it there.
//! It never blocks the address from which somebody works on this host. Read next: `crates/drivers/src/firewall.rs`.

use std::time::Duration;

use muster_drivers::firewall::{self, Barrier};
use muster_types::{
    Kind, Network, Span,
    event::ErrorNote,
    script::{BlockRequest, ScriptStep},
};

use super::{
    Effect, Failed, Runner,
    deeds::{Acted, interrupted, unavailable},
};
use crate::EngineError;

/// How long an unproven block stands when Muster is killed or cut off while it proves it.
const UNPROVEN_FOR: Duration = Duration::from_mins(5);

impl Runner<'_> {
    pub(super) fn block(&self, step: &ScriptStep, request: &BlockRequest) -> Acted {
        let barrier = match barrier(request).and_then(|barrier| self.guard(&barrier).map(|()| barrier)) {
            Ok(barrier) => barrier,
            Err(note) => return Ok(Err(note.into())),
        };
        let table = firewall::table(&self.run.0, &step.id);
        if let Err(note) = self.passes_before(&table, request)? {
            return Ok(Err(note.into()));
        }
        let limit = request.revert_after.map_or(UNPROVEN_FOR, Span::duration);
        if let Err(error) = firewall::put(&table, &barrier, Some(limit), self.operator) {
            return Ok(Err(ErrorNote::of(&error).into()));
        }
        if let Err(note) = self.prove_block(request)? {
            return Ok(Err(take_back(&table, note)));
        }
        if request.revert_after.is_none()
            && let Err(error) = firewall::put(&table, &barrier, None, self.operator)
        {
            return Ok(Err(take_back(&table, ErrorNote::of(&error))));
        }
        let limit = match request.revert_after {
            Some(span) => {
                let until = self.site.clock.now() + span.duration();
                format!(
                    "; the kernel takes it back at {until:.0} unless `keep_block: {}` comes before",
                    step.id
                )
            }
            None => format!("; undo by hand: nft delete table inet {table}"),
        };
        let who = request.lines().into_iter().next().unwrap_or_default();
        let summary = format!("{who}, proven by {}{limit}", proofs(request));
        let output = serde_json::to_string(request).unwrap_or_default();
        Ok(Ok(Effect { summary: Some(summary), output, is_cut: false }))
    }

    /// The block of an earlier step stays. One that the kernel has taken back already is put again.
    pub(super) fn keep_block(&self, step: &str) -> Result<Effect, Failed> {
        let said = self
            .memory()
            .known
            .steps
            .get(step)
            .filter(|step| !step.is_skipped)
            .map(|step| step.output.clone());
        let request = said.and_then(|said| serde_json::from_str::<BlockRequest>(&said).ok());
        let Some(request) = request else {
            return Err(unavailable(format!("`{step}` has blocked nothing in this run")).into());
        };
        let table = firewall::table(&self.run.0, step);
        let put = barrier(&request).and_then(|barrier| {
            self.guard(&barrier)?;
            firewall::put(&table, &barrier, None, self.operator).map_err(|error| ErrorNote::of(&error))
        });
        let summary = format!("the block of `{step}` stays; undo by hand: nft delete table inet {table}");
        put.map(|()| Effect { summary: Some(summary), ..Effect::default() }).map_err(Failed::from)
    }

    pub(super) fn unblock(&self, step: &str, run: Option<&str>) -> Result<Effect, Failed> {
        let table = firewall::table(run.unwrap_or(&self.run.0), step);
        let removed = firewall::remove(&table, self.operator).map_err(|error| ErrorNote::of(&error));
        let summary = format!("what `{step}` had blocked is open again");
        removed.map(|()| Effect { summary: Some(summary), ..Effect::default() }).map_err(Failed::from)
    }

    /// Nobody saws off the branch that they sit on.
    fn guard(&self, barrier: &Barrier) -> Result<(), ErrorNote> {
        let covered = |all: &[Network], one: &Network| all.iter().any(|network| network.covers(one));
        let session = self.site.session.map(Network::of);
        if let Some(session) =
            session.filter(|one| covered(&barrier.blocked, one) && !covered(&barrier.allowed, one))
        {
            return Err(refused(
                format!("refused: {session} is where your own session comes from; nothing was blocked"),
                format!("add it to `except: [{session}]`, or leave it out"),
            ));
        }
        if let Some(both) = barrier.blocked.iter().find(|one| covered(&barrier.allowed, one)) {
            return Err(refused(
                format!("refused: {both} stands in `except`; nothing was blocked"),
                "take it out of one of the two lists".to_owned(),
            ));
        }
        Ok(())
    }

    /// A check that fails without the block would prove nothing by failing behind it.
    fn passes_before(
        &self,
        table: &str,
        request: &BlockRequest,
    ) -> Result<Result<(), ErrorNote>, EngineError> {
        if request.fails.is_empty() {
            return Ok(Ok(()));
        }
        match firewall::is_there(table, self.operator) {
            // It is put again after a crash: what it blocks cannot pass.
            Ok(true) => return Ok(Ok(())),
            Ok(false) => {}
            Err(error) => return Ok(Err(ErrorNote::of(&error))),
        }
        for name in &request.fails {
            let result = self.look(name, None)?;
            if let Some(reason) = result.reason() {
                return Ok(Err(refused(
                    format!("check `{name}` fails already without the block: {reason}; nothing was blocked"),
                    "a check in `fails` must reach its target now, or its failing later proves nothing"
                        .to_owned(),
                )));
            }
        }
        Ok(Ok(()))
    }

    fn prove_block(&self, request: &BlockRequest) -> Result<Result<(), ErrorNote>, EngineError> {
        for name in &request.fails {
            if self.look(name, None)?.passed {
                return Ok(Err(unavailable(format!("check `{name}` still passes: it is not kept out"))));
            }
        }
        for name in &request.passes {
            if let Some(reason) = self.look(name, None)?.reason() {
                return Ok(Err(unavailable(format!(
                    "check `{name}` does not pass behind the block: {reason}"
                ))));
            }
        }
        Ok(if self.operator.is_cancelled() { Err(interrupted()) } else { Ok(()) })
    }
}

/// Removes what could not be proven; says so where even that fails.
fn take_back(table: &str, mut note: ErrorNote) -> Failed {
    match firewall::remove(table, &muster_types::event::Unwatched) {
        Ok(()) => note.error.push_str("; the block was removed again"),
        Err(error) => {
            note.error.push_str("; the block could not be removed, and ends by itself within its limit");
            note.causes.push(error.to_string());
            note.hint = Some(format!("remove it: `nft delete table inet {table}`"));
        }
    }
    note.into()
}

fn barrier(request: &BlockRequest) -> Result<Barrier, ErrorNote> {
    let read = |texts: &[String]| -> Result<Vec<Network>, ErrorNote> {
        let one = |text: &String| {
            text.parse::<Network>().map_err(|error| {
                refused(
                    format!("{error}; nothing was blocked"),
                    "write an address or a network: `203.0.113.7`, `198.51.100.0/24`".to_owned(),
                )
            })
        };
        texts.iter().map(one).collect()
    };
    let blocked = if request.blocked.is_empty() { Network::ALL.to_vec() } else { read(&request.blocked)? };
    Ok(Barrier { blocked, allowed: read(&request.allowed)?, ports: request.ports.clone() })
}

fn refused(error: String, hint: String) -> ErrorNote {
    ErrorNote { error, causes: Vec::new(), hint: Some(hint), kind: Kind::Conflict }
}

fn proofs(request: &BlockRequest) -> String {
    let fails = request.fails.iter().map(|name| format!("{name} failing"));
    let all: Vec<String> = fails.chain(request.passes.iter().map(|name| format!("{name} passing"))).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}
