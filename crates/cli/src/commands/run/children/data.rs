//! Plans the runs that mend, prove and copy: the words of a step become those of the command of that name.
//!
//! A request comes in; a planned run leaves. It begins nothing, and has no rule of its own.

use muster_engine::world::World;
use muster_plan::copy::CopyRequest;
use muster_types::{Kind, backup::RunId, plan::Plan, script::ChildRequest};

use crate::{
    args::{ProveArgs, QuarantineArgs, RepairArgs, UnsealArgs},
    commands::{copy, prove, quarantine, repair},
    exit::Failure,
    progress::Progress,
};

pub(super) fn plan(
    world: &World,
    request: &ChildRequest,
    progress: &Progress,
) -> Result<(RunId, Plan), Failure> {
    match request {
        ChildRequest::Repair { component, reindex, vacuum, analyze } => {
            let args = RepairArgs {
                component: component.clone(),
                reindex: reindex.clone(),
                vacuum: vacuum.clone(),
                analyze: analyze.clone(),
                within: None,
                dry_run: false,
                yes: true,
            };
            repair::make_plan(world, &args, progress)
        }
        ChildRequest::Quarantine { component, table, filter, set, disable, expect, reason, undo } => {
            let args = QuarantineArgs {
                component: component.clone(),
                table: table.clone(),
                condition: filter.clone(),
                assignments: set.clone(),
                move_out: set.is_none() && undo.is_none(),
                disable: disable.clone(),
                expect: *expect,
                reason: reason.clone(),
                undo: undo.clone(),
                dry_run: false,
                yes: true,
            };
            quarantine::make_plan(world, &args, progress)
        }
        ChildRequest::Prove { components, backup } => {
            let args = ProveArgs {
                components: components.clone(),
                backup: backup.clone(),
                random: false,
                unseal: UnsealArgs::default(),
                from: None,
                dry_run: false,
            };
            prove::make_plan(world, &args)
        }
        ChildRequest::Copy { copies, is_verified } => {
            let names = copy::names(world, copies)?;
            let request = CopyRequest { read_all: *is_verified, begin_anew: false };
            copy::make_plan(world, &names, request)
        }
        other => {
            Err(Failure::new(Kind::Bug, format!("`{}` is planned elsewhere", other.line()), "report this"))
        }
    }
}
