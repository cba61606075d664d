//! What the options say of the states that a restore brings back: whether they must fit together, and which are clean.
//!
//! In: words. Out: what the planner takes. It chooses no backup: that is `muster_plan::{point, clean}`.

use muster_plan::{
    RecoveryTarget,
    clean::{self, Compromise},
    point::Together,
};
use muster_types::{Kind, Timestamp, facts::Facts};

use super::parse_time;
use crate::{
    args::{CleanArgs, RestoreArgs},
    exit::Failure,
};

/// Says how the components of a restore belong together.
///
/// The newest states lose the least, so they stay as they are unless a person asks. A time or a label means one moment.
pub(super) fn together(args: &RestoreArgs, target: &RecoveryTarget) -> Together {
    let is_moment = matches!(target, RecoveryTarget::Before(_) | RecoveryTarget::Named(_));
    if args.point.together {
        Together::AtAnyPrice
    } else if args.all && is_moment && !args.point.apart {
        Together::WithinObjectives
    } else {
        Together::Apart
    }
}

/// Leaves out what came after a compromise; returns the target that is meant then, and notes.
pub(super) fn leave_out(
    args: &CleanArgs,
    facts: &mut Facts,
    target: RecoveryTarget,
) -> Result<(RecoveryTarget, Vec<String>), Failure> {
    let Some(since) = &args.compromised_since else { return Ok((target, Vec::new())) };
    let since = since_when(since, facts.now)?;
    let vouched = args.vouched_by.clone();
    if let Some(who) = vouched.as_deref()
        && !who.split_once(':').is_some_and(|(name, how)| !name.trim().is_empty() && !how.trim().is_empty())
    {
        return Err(Failure::new(
            Kind::Input,
            format!("`{who}` does not say who vouches for the backup and how it was examined"),
            "write it like `--vouched-by \"ada: compared with the audit log\"`",
        ));
    }
    Ok(clean::leave_out(facts, &target, &Compromise { since, vouched })?)
}

/// What a restore has moved aside is put back as it was: nothing is chosen there.
pub(super) fn refuse_undo(args: &CleanArgs) -> Result<(), Failure> {
    if args.compromised_since.is_none() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Input,
        "`--undo` puts back what stood there, and `--compromised-since` chooses among backups",
        "leave one of them out",
    ))
}

/// Reads the first moment that is not trusted.
pub(in crate::commands) fn since_when(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let since = parse_time(text)?;
    if since > now {
        let error = format!("`{text}` is in the future: it is {now} now");
        return Err(Failure::new(Kind::Input, error, "give the time at which the intruder came in"));
    }
    Ok(since)
}
