//! What stands beside: where it is, and that on request the services stop only for the swap.

use muster_plan::{
    RecoveryTarget,
    restore::{RestoreOptions, Stop, plan},
};
use muster_types::plan::Action;

use super::{facts, in_place, platform, two_each, with_scope};

#[test]
fn side_by_side_the_services_stop_when_everything_is_verified_and_the_safety_copy_has_their_last_words() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let options = RestoreOptions { stop: Stop::Late, ..in_place(RecoveryTarget::Latest) };
    let plan = with_scope(&platform, |scope| plan(scope, &facts, &options)).unwrap();
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "space:database+uploads:/srv",
            "restore:database",
            "verify:database",
            "restore:uploads",
            "verify:uploads",
            "stop:api",
            "unused:database",
            "safety-copy:database",
            "unused:uploads",
            "safety-copy:uploads",
            "swap:database",
            "swap:uploads",
            "start:api",
            "check:health",
        ]
    );
    let told = |name: &str| format!("what is written to {name} until its services stop");
    assert!(
        ["database", "uploads"].iter().all(|name| plan.notes.iter().any(|note| note.contains(&told(name))))
    );
}

#[test]
fn a_swap_stays_inside_the_folder_of_its_target() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let plan = with_scope(&platform, |scope| plan(scope, &facts, &in_place(RecoveryTarget::Latest))).unwrap();
    for step in &plan.steps {
        let Action::Swap { moves, .. } = &step.action else { continue };
        for one in moves {
            assert_eq!(one.from.parent(), one.target.parent());
            assert_eq!(one.kept.parent(), one.target.parent());
            assert_ne!(one.from, one.kept);
        }
    }
}
