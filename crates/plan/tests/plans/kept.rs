//! Kept data that nobody else has: a prune leaves it to a person.

use muster_plan::prune;
use muster_types::{
    backup::RunId,
    plan::{Action, Holder, KeptData, SwapMove},
};

use super::{facts, platform, time, two_each, with_scope};

#[test]
fn kept_data_that_may_be_the_only_copy_of_something_is_never_removed_by_prune() {
    let platform = platform();
    let facts = facts(two_each(), vec![]);
    let kept = |target: &str, component: &str, holds_more| KeptData {
        run: RunId("old".into()),
        component: component.into(),
        holder: Holder::Folder,
        moves: vec![SwapMove { from: "/srv/n".into(), target: target.into(), kept: "/srv/o".into() }],
        at: time("2026-05-01T00:00:00Z"),
        holds_more,
    };
    let all = [
        kept("/srv/uploads", "uploads", true),
        kept("/home/somebody/elsewhere", "uploads", false),
        kept("/srv/gone", "removed-from-the-file", false),
    ];
    let plan = with_scope(&platform, |scope| prune::plan(scope, &facts, &[], &all));
    assert!(!plan.steps.iter().any(|step| matches!(step.action, Action::ReleaseKept { .. })));
    assert_eq!(plan.notes.iter().filter(|note| note.contains("remove it yourself")).count(), 3);
}
