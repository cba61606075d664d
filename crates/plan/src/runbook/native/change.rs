//! Changes of infrastructure that are planned first: `apply` and `infrastructure`.
//!
//! The keys of a step come in; the tool with what it needs leaves, templates as they are written. Each has two steps in a
//! run: the first makes the plan, the second applies exactly that plan.
//!
//! It never fills a template in and never writes a command: that is `crates/plan/src/runbook/walk/change.rs`.

use muster_types::Span;
use serde::Serialize;

use super::super::{Class, Fault, keys::Keys};

const TOOLS: &[&str] = &["terraform", "tofu", "kustomize", "kubectl", "command"];

/// A change of infrastructure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeStep {
    /// By what.
    pub tool: ChangeTool,
    /// The folder in which the tool works.
    pub folder: Option<String>,
    /// A plan that is older is refused.
    pub max_age: Option<Span>,
    /// Whether it is written as `apply`.
    is_apply: bool,
}

/// By what, and with what.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is a key of the step; docs/runbooks.md explains them")]
pub enum ChangeTool {
    /// `terraform`, `tofu`.
    Terraform { program: String, options: Vec<String> },
    /// Manifests of a file or a folder.
    Manifests { place: String, file: String },
    /// What a kustomization renders.
    Kustomize { place: String, file: String },
    /// Commands of one's own.
    Command { plan: String, apply: String },
}

/// Reads one; nothing when the name is not of these.
pub(super) fn read(name: &str, keys: &mut Keys<'_, '_>) -> Option<ChangeStep> {
    let tool = match name {
        "apply" => apply(keys),
        "infrastructure" => infrastructure(keys),
        _ => return None,
    };
    Some(ChangeStep {
        tool,
        folder: keys.text("dir"),
        max_age: keys.span("max_age"),
        is_apply: name == "apply",
    })
}

/// `apply: {in: shop, file: k8s/}` or `apply: {in: shop, kustomize: deploy/prod}`.
fn apply(keys: &mut Keys<'_, '_>) -> ChangeTool {
    let (file, kustomize) = (keys.text("file"), keys.text("kustomize"));
    let place = keys.needed("in");
    match (file, kustomize) {
        (Some(file), None) => ChangeTool::Manifests { place, file },
        (None, Some(file)) => ChangeTool::Kustomize { place, file },
        _ => {
            let at = keys.place();
            let hint = "write `file: manifests.yaml` (or a folder), or `kustomize: FOLDER`";
            keys.faults.push(Fault::new(at, "", "an `apply` step applies exactly one thing", hint));
            ChangeTool::Manifests { place, file: String::new() }
        }
    }
}

fn infrastructure(keys: &mut Keys<'_, '_>) -> ChangeTool {
    let tool = keys.needed("tool");
    match tool.as_str() {
        "terraform" | "tofu" => ChangeTool::Terraform { program: tool, options: keys.names("options") },
        "kubectl" => ChangeTool::Manifests { place: keys.needed("in"), file: keys.needed("file") },
        "kustomize" => ChangeTool::Kustomize { place: keys.needed("in"), file: keys.needed("file") },
        _ => {
            if tool != "command" && !tool.is_empty() {
                let at = keys.place();
                let message = format!("`infrastructure` has no tool `{tool}`");
                let hint = format!(
                    "tools are: {}; any other one goes with `tool: command`, `plan:` and `apply:`",
                    TOOLS.join(", ")
                );
                keys.faults.push(Fault::new(at, &tool, message, hint));
            }
            ChangeTool::Command { plan: keys.needed("plan"), apply: keys.needed("apply") }
        }
    }
}

impl ChangeStep {
    /// Returns the class that it has where nothing else is said.
    pub(super) fn class(&self) -> Class {
        match self.tool {
            // Applying the same objects again changes nothing.
            ChangeTool::Manifests { .. } | ChangeTool::Kustomize { .. } => Class::Idempotent,
            _ => Class::Destructive,
        }
    }

    /// Returns its name as it is written.
    pub(super) fn name(&self) -> &'static str {
        if self.is_apply { "apply" } else { "infrastructure" }
    }

    /// Returns what is shown for it.
    pub(in super::super) fn title(&self) -> String {
        let folder = self.folder.as_ref().map(|folder| format!(" in {folder}")).unwrap_or_default();
        match &self.tool {
            ChangeTool::Terraform { program, .. } => format!("{program} apply{folder}"),
            ChangeTool::Manifests { place, file } | ChangeTool::Kustomize { place, file } => {
                format!("apply {file} to {place}{folder}")
            }
            ChangeTool::Command { apply, .. } => apply.lines().next().unwrap_or_default().to_owned(),
        }
    }

    /// Returns its texts that may hold templates.
    pub(super) fn texts(&self) -> Vec<&str> {
        let mut found: Vec<&str> = self.folder.as_deref().into_iter().collect();
        match &self.tool {
            ChangeTool::Terraform { options, .. } => found.extend(options.iter().map(String::as_str)),
            ChangeTool::Manifests { file, .. } | ChangeTool::Kustomize { file, .. } => found.push(file),
            ChangeTool::Command { plan, apply } => found.extend([plan.as_str(), apply]),
        }
        found
    }

    /// Whether Muster can tell by itself whether it has happened.
    pub(super) fn has_probe(&self) -> bool {
        !matches!(self.tool, ChangeTool::Command { .. })
    }

    /// Returns the service or component that names the cluster, where there is one.
    pub(in super::super) fn place(&self) -> Option<&str> {
        match &self.tool {
            ChangeTool::Manifests { place, .. } | ChangeTool::Kustomize { place, .. } => Some(place),
            _ => None,
        }
    }
}
