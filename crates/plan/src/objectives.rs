//! Which targets hold for which component: its own, else the platform's; and one RPO per data class.
//!
//! The configuration comes in, one row per target goes out. Nothing is measured here.

use muster_types::{
    config::Platform,
    objective::{ObjectiveKind, Priority, Target},
};

/// One target that holds for a component or for a data class inside it.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveObjective {
    /// The component.
    pub component: String,
    /// The data class, if the target is one of a class.
    pub class: Option<String>,
    /// `rto` or `rpo`.
    pub kind: ObjectiveKind,
    /// The target.
    pub target: Target,
    /// The component's priority, if one is declared.
    pub priority: Option<Priority>,
}

/// Returns every target that holds, in the order of components; per component RTO, RPO, then its classes' RPOs.
///
/// A target that neither the component nor the platform gives is left out; `config check` refuses such a file.
pub fn objectives(platform: &Platform) -> Vec<EffectiveObjective> {
    let mut rows = Vec::new();
    // What is made anew has nothing that could be lost or restored.
    for (name, component) in platform.components.iter().filter(|(_, one)| !one.is_disposable()) {
        let own = component.common().objectives.unwrap_or_default();
        let priority = own.priority.or(platform.objectives.priority);
        let mut add = |class: Option<&str>, kind, target: Option<Target>| {
            if let Some(target) = target {
                let class = class.map(str::to_owned);
                rows.push(EffectiveObjective { component: name.clone(), class, kind, target, priority });
            }
        };
        add(None, ObjectiveKind::Rto, own.rto.or(platform.objectives.rto));
        add(None, ObjectiveKind::Rpo, own.rpo.or(platform.objectives.rpo));
        for class in &component.common().classes {
            add(Some(&class.name), ObjectiveKind::Rpo, Some(class.rpo));
        }
    }
    rows
}
