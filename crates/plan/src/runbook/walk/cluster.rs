//! What a step on a cluster becomes: a deed with names filled in, and the step that looks before it.
//!
//! A step and what is known come in; a deed leaves, or the look that must come first. What is deleted or replaced is what
//! that look has found, by its uid or its instance, and a person approves it by name. It never asks a cluster.

use std::time::Duration;

use muster_types::{
    Kind, Span,
    config::Platform,
    event::ErrorNote,
    script::{Approval, ClusterDeed, ClusterPlace, Deed, Doomed, LOOK, is_object_name},
};

use super::fill::{Scope, Unfilled, fill, fill_some};
use crate::runbook::{ClusterStep, ClusterWork};

/// How long a drain may take when nobody says: longer than any sensible grace period of a pod.
const WITHIN: Duration = Duration::from_mins(5);

pub(super) fn deed(step: &ClusterStep, scope: &Scope<'_>, platform: &Platform) -> Result<Deed, Unfilled> {
    let place = place(&step.place, platform)?;
    let named = |text: &str, what: &str| named(text, what, scope);
    Ok(match &step.work {
        ClusterWork::Look { at } => Deed::Cluster { place, deed: ClusterDeed::Look { at: at.clone() } },
        ClusterWork::Drain { node, within, may_stop, delete_emptydir } => {
            let deed = ClusterDeed::Drain {
                node: named(node, "node")?,
                within: within.unwrap_or(Span::from(WITHIN)),
                may_stop: may_stop.clone(),
                delete_emptydir: *delete_emptydir,
            };
            Deed::Cluster { place, deed }
        }
        ClusterWork::Uncordon { node, only_own } => {
            let deed = ClusterDeed::Uncordon { node: named(node, "node")?, only_own: *only_own };
            Deed::Cluster { place, deed }
        }
        ClusterWork::DeletePod { name, force } => {
            delete(place, Doomed::Pod { name: named(name, "pod")?, force: *force }, scope)?
        }
        ClusterWork::DeleteNode { name } => {
            delete(place, Doomed::Node { name: named(name, "node")? }, scope)?
        }
        ClusterWork::DeleteClaim { name, component, unproven } => {
            let (component, unproven) = (component.clone(), *unproven);
            delete(place, Doomed::Claim { name: named(name, "claim")?, component, unproven }, scope)?
        }
        ClusterWork::Replace { node, instance, command } => {
            let node = named(node, "node")?;
            let look = ClusterDeed::Instance { node: node.clone() };
            let found = looked(&place, look, &format!("look which instance {node} is"), scope)?;
            let wanted = fill_some(instance.as_ref(), scope)?;
            if let Some(wanted) = wanted.filter(|wanted| !found.is_empty() && wanted.expose().trim() != found)
            {
                let error = format!(
                    "node {node} is instance {found}, and not {}: nothing was replaced",
                    wanted.shown().trim()
                );
                return Err(never(error, "look which node you mean: `kubectl get nodes -o wide`"));
            }
            Deed::Replace { place, node, instance: found, command: fill(command, scope)? }
        }
    })
}

/// What a person must name before it is done.
pub(super) fn approval(deed: &Deed, scope: &Scope<'_>) -> Option<Approval> {
    let told = || -> Vec<String> {
        let output = scope.known.steps.get(&format!("{}{LOOK}", scope.id)).map(|step| step.output.as_str());
        output.unwrap_or_default().lines().skip(1).map(str::to_owned).collect()
    };
    match deed {
        Deed::Cluster { deed: ClusterDeed::Delete { what, .. }, .. } if what.needs_approval() => {
            Some(Approval { names: vec![what.name().to_owned()], what: told() })
        }
        Deed::Replace { instance, .. } => {
            let names = Some(instance.clone()).filter(|one| !one.is_empty()).into_iter().collect();
            Some(Approval { names, what: told() })
        }
        Deed::Apply(apply) => {
            let names = apply.plan.losses();
            let mut what: Vec<String> =
                apply.plan.delete.iter().map(|name| format!("{name} will be gone")).collect();
            what.extend(
                apply.plan.replace.iter().map(|name| format!("{name} will be deleted and made anew")),
            );
            (!names.is_empty()).then_some(Approval { names, what })
        }
        _ => None,
    }
}

fn delete(place: ClusterPlace, what: Doomed, scope: &Scope<'_>) -> Result<Deed, Unfilled> {
    let title = format!("look at {}", what.object());
    let uid = looked(&place, ClusterDeed::Judge { what: what.clone() }, &title, scope)?;
    Ok(Deed::Cluster { place, deed: ClusterDeed::Delete { what, uid } })
}

/// The first line of what the look has found; in a dry run nothing yet.
fn looked(
    place: &ClusterPlace,
    look: ClusterDeed,
    title: &str,
    scope: &Scope<'_>,
) -> Result<String, Unfilled> {
    let id = format!("{}{LOOK}", scope.id);
    let Some(done) = scope.known.steps.get(&id) else {
        let deed = Deed::Cluster { place: place.clone(), deed: look };
        return Err(Unfilled::First { id, title: title.to_owned(), deed: Box::new(deed) });
    };
    if done.is_skipped {
        let error = format!("`{id}` was skipped: what would be changed was never looked at");
        return Err(never(error, "skip this step too, or run it again without skipping the look"));
    }
    if scope.is_dry() {
        return Ok(String::new());
    }
    Ok(done.output.lines().next().unwrap_or_default().to_owned())
}

/// The cluster and namespace that a service or component names.
pub(super) fn place(name: &str, platform: &Platform) -> Result<ClusterPlace, Unfilled> {
    ClusterPlace::of(platform, name).ok_or_else(|| {
        never(
            format!("`{name}` is no service on Kubernetes and no component of kind `kubernetes`"),
            "name one that has a `namespace` in muster.yaml",
        )
    })
}

fn named(text: &str, what: &str, scope: &Scope<'_>) -> Result<String, Unfilled> {
    let filled = fill(text, scope)?;
    let name = filled.expose().trim();
    // In a dry run an answer that nobody has given stands in angle brackets.
    if is_object_name(name) || (scope.is_dry() && name.contains('<')) {
        return Ok(name.to_owned());
    }
    Err(never(
        format!("`{}` cannot be the name of a {what}", filled.shown().trim()),
        "a name has small letters, digits, `-` and `.`: `kubectl get` lists those that are there",
    ))
}

pub(super) fn never(error: String, hint: &str) -> Unfilled {
    Unfilled::Never(Box::new(ErrorNote {
        error,
        causes: Vec::new(),
        hint: Some(hint.to_owned()),
        kind: Kind::Conflict,
    }))
}
