//! The plan of `muster rotate`: each secret in turn, and nothing more after the first failure.
//!
//! The order is the safety:
//! 1. both values are on the disk before the new one is in any place: whatever dies then, none of them is lost;
//! 2. every place gets the new one, then every reader is restarted: a reader never starts on a mixture;
//! 3. the new one is accepted, or the old one returns: it is not revoked before;
//! 4. the old one is revoked and must be refused, by somebody who still accepts the new one;
//! 5. nothing else in the places has changed; only then both values are forgotten.
//!
//! It never sees a value. Also here: which secrets a plan needs before it may begin. Read next:
//! `crates/engine/src/execute/rotate.rs`.

use muster_types::{
    Kind, Span,
    config::{Component, Named, SecretDefinition, SecretTarget},
    facts::Facts,
    plan::{Action, Plan, Step, StepClass, Verb},
    rotation::{Presence, RotationPart, SecretFacts},
};

use crate::{
    PlanError,
    order::in_order,
    restore::smoke_checks,
    scope::{Scope, step},
};

/// All steps belong together: after the first failure nothing more is done.
const GROUP: &str = "rotate";
/// How long a reader may take to become ready when the configuration does not say.
const READY_WITHIN: Span = Span::from_secs(60);

/// A secret that is to be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was seen of it.
    pub facts: SecretFacts,
    /// Whether a person gives the new value with this very command.
    pub is_given: bool,
}

/// Plans the rotation of these secrets, in this order.
///
/// # Errors
/// `CannotRotate`: a place does not hold it or cannot be read, or nobody says where a new value comes from.
pub fn plan(scope: Scope<'_>, facts: &Facts, asked: &[Asked]) -> Result<Plan, PlanError> {
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    for one in asked {
        let name = &one.facts.name;
        let Some(definition) = scope.platform.secrets.get(name) else {
            return Err(cannot(
                name,
                Kind::Input,
                "the configuration does not have it",
                "see `muster secrets`",
            ));
        };
        refuse(one, definition)?;
        if !one.facts.agrees {
            notes.push(format!("{name}: its places do not hold the same value; all of them get the new one"));
        }
        about(name, definition, &mut notes);
        steps.extend(steps_of(scope, &one.facts, definition));
    }
    steps.extend(smoke_checks(scope, GROUP, &mut notes));
    let mut plan = scope.plan(Verb::Rotate, facts, steps);
    plan.notes = notes;
    Ok(plan)
}

fn cannot(secret: &str, kind: Kind, why: &str, hint: &str) -> PlanError {
    PlanError::CannotRotate { secret: secret.to_owned(), why: why.to_owned(), hint: hint.to_owned(), kind }
}

fn refuse(asked: &Asked, definition: &SecretDefinition) -> Result<(), PlanError> {
    let facts = &asked.facts;
    if let Some(place) = facts.places.iter().find(|place| place.state != Presence::Present) {
        let reason = place.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let why = match place.state {
            Presence::Missing => format!("it is missing: {}{reason}", place.place),
            _ => format!("a place cannot be looked at: {}{reason}", place.place),
        };
        let hint = place.hint.as_deref().unwrap_or("put the present value there first, then rotate it");
        return Err(cannot(&facts.name, Kind::Conflict, &why, hint));
    }
    if facts.places.is_empty() {
        let hint = "write `in: [{env_file: {path: /srv/app/.env, key: API_KEY}}]`";
        return Err(cannot(&facts.name, Kind::Config, "it does not say where it lives", hint));
    }
    // A run of its own goes on with the values that it keeps.
    if definition.new.is_none() && !asked.is_given {
        let hint = format!(
            "give one: `muster rotate {} --value-from-stdin --yes`; or let it say `new: {{generate: 32}}`",
            facts.name
        );
        return Err(cannot(&facts.name, Kind::Input, "nobody says where a new value comes from", &hint));
    }
    Ok(())
}

/// What a person should know before it begins.
fn about(name: &str, definition: &SecretDefinition, notes: &mut Vec<String>) {
    if definition.proof.accepts.is_none() {
        notes.push(format!("{name}: it has no `proof.accepts`: nothing shows that the new value works"));
    }
    if definition.proof.is_empty() {
        notes.push(format!("{name}: it has no `proof`: nothing shows that the old value is refused"));
    }
    if definition.needed_by.is_empty() {
        notes.push(format!(
            "{name}: it has no `needed_by`: nothing is restarted, and whoever runs keeps the old value"
        ));
    }
}

fn steps_of(scope: Scope<'_>, facts: &SecretFacts, definition: &SecretDefinition) -> Vec<Step> {
    let name = &facts.name;
    let part = |id: &str, class, title: String, part| {
        let action = Action::Rotate { secret: name.clone(), part };
        step(format!("{id}:{name}"), GROUP, class, title, action)
    };
    let readers = in_order(
        scope
            .platform
            .services
            .iter()
            .filter(|(service, _)| definition.needed_by.contains(service))
            .collect(),
    );
    let readers: Vec<(String, Span)> = readers
        .into_iter()
        .map(|(service, own)| (service.clone(), own.ready_within.unwrap_or(READY_WITHIN)))
        .collect();
    let (idempotent, destructive) = (StepClass::Idempotent, StepClass::Destructive);
    let title = format!("take the old value of {name} and a new one, and keep both until the end");
    let mut steps = vec![part("take", idempotent, title, RotationPart::Take)];
    for (index, place) in facts.places.iter().enumerate() {
        let place = place.place.clone();
        let title = format!("put the new value into {place}");
        let id = format!("put-{}", index + 1);
        steps.push(part(&id, destructive, title, RotationPart::Put { index, place }));
    }
    for (service, within) in &readers {
        let title = format!("restart {service}, and wait until it is ready");
        let again = RotationPart::Restart { service: service.clone(), within: *within };
        steps.push(part(&format!("restart-{service}"), idempotent, title, again));
    }
    let title = format!("see that the new value of {name} is accepted");
    steps.push(part("accept", StepClass::Observe, title, RotationPart::Accept));
    let title = format!("put the old value of {name} back, if the new one was not accepted");
    let mut back = part("back", idempotent, title, RotationPart::PutBack { services: readers });
    back.always = true;
    steps.push(back);
    if definition.revoke.is_some() {
        steps.push(part(
            "revoke",
            destructive,
            format!("revoke the old value of {name}"),
            RotationPart::Revoke,
        ));
    }
    let title = format!("see that the old value of {name} is refused");
    steps.push(part("refuse", StepClass::Observe, title, RotationPart::Refuse));
    let title = format!("see that nothing else has changed where {name} lives");
    steps.push(part("compare", StepClass::Observe, title, RotationPart::Compare));
    steps.push(part("forget", idempotent, format!("forget both values of {name}"), RotationPart::Forget));
    steps
}

/// Returns the services that a plan starts, each once.
pub fn started(plan: &Plan) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for step in &plan.steps {
        if let Action::StartService { service, .. } = &step.action
            && !names.contains(&service.as_str())
        {
            names.push(service);
        }
    }
    names
}

/// Tells whether a plan may bring back a place of a secret itself: then it is looked at when the service is started.
pub fn is_brought_back(components: &Named<Component>, plan: &Plan, place: &SecretTarget) -> bool {
    let path = place.env_file.as_ref().map(|own| &own.path).or(place.file.as_ref());
    plan.steps.iter().any(|step| match &step.action {
        Action::Swap { moves, .. } => {
            path.is_some_and(|path| moves.iter().any(|one| path.starts_with(&one.target)))
        }
        Action::TakeOver { component, .. } => match components.get(component) {
            Some(Component::Kubernetes(own)) => {
                place.kubernetes.as_ref().is_some_and(|one| own.namespace.as_ref() == Some(&one.namespace))
            }
            Some(Component::Vault(_)) => place.vault.as_ref().is_some_and(|one| one.component == *component),
            _ => false,
        },
        _ => false,
    })
}
