//! What every plan rests on besides facts: the platform, its environment, the run's id and its scratch folder.

use std::path::PathBuf;

use muster_types::{
    Span,
    backup::{Identity, RunId},
    config::{Platform, Service},
    facts::{ComponentFacts, Facts},
    plan::{Action, Mode, Plan, Step, StepClass, Verb},
};

/// What every plan rests on besides facts.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The merged configuration.
    pub platform: &'a Platform,
    /// The environment's name; `default` where there is only one.
    pub environment: &'a str,
    /// The id that the run will have: names of scratch and kept data contain it.
    pub run: &'a RunId,
    /// A folder of the run's own for temporary copies; it need not exist.
    pub scratch: &'a PathBuf,
    /// Real or rehearsal.
    pub mode: Mode,
    /// The copy of the repository that is read; `None`: the repository itself.
    pub from: Option<&'a str>,
}

impl Scope<'_> {
    pub(crate) fn plan(&self, verb: Verb, facts: &Facts, steps: Vec<Step>) -> Plan {
        Plan {
            verb,
            mode: self.mode,
            platform: self.platform.platform.clone(),
            environment: self.environment.to_owned(),
            surveyed_at: facts.now,
            steps,
            notes: Vec::new(),
            failed_at: None,
            from: self.from.map(str::to_owned),
            objectives: Vec::new(),
            point: None,
            script: None,
        }
    }

    /// Returns the identity of a component as the survey found it.
    pub fn identity(&self, facts: &Facts, component: &ComponentFacts) -> Identity {
        let kind =
            self.platform.components.get(&component.name).map_or("", muster_types::config::Component::kind);
        Identity {
            platform: self.platform.platform.clone(),
            environment: self.environment.to_owned(),
            component: component.name.clone(),
            kind: kind.to_owned(),
            host: facts.host.clone(),
            source: component.source.clone(),
        }
    }
}

/// How long a service may take to become ready when the configuration does not say.
const READY_WITHIN: Span = Span::from_secs(60);

/// Makes the step that stops a service.
pub(crate) fn stop_service(group: &str, service: &str) -> Step {
    let action = Action::StopService { service: service.to_owned() };
    step(format!("stop:{service}"), group, StepClass::Idempotent, format!("stop {service}"), action)
}

/// Makes the step that starts a service and waits until it is ready.
pub(crate) fn start_service(group: &str, service: &str, definition: &Service) -> Step {
    let within = definition.ready_within.unwrap_or(READY_WITHIN);
    let action = Action::StartService { service: service.to_owned(), within };
    step(format!("start:{service}"), group, StepClass::Idempotent, format!("start {service}"), action)
}

/// Makes a step of a group.
pub(crate) fn step(id: String, group: &str, class: StepClass, title: String, action: Action) -> Step {
    Step { id, title, class, action, group: group.to_owned(), always: false }
}
