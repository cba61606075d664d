//! What a step does with the objects of a Kubernetes cluster, and by which `kubectl`.
//!
//! Names come in with every template filled in; the deed leaves as a value that is shown, journaled and executed. A change
//! that cannot be taken back has two steps: one looks and names what was found (its uid, its instance), the other changes
//! exactly that and nothing that took its name meanwhile.
//!
//! It never asks a cluster. Read next: `crates/drivers/src/cluster.rs`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    Span,
    config::{Component, Platform},
};

/// What stands behind the id of a step in the id of the one that looks before it.
pub const LOOK: &str = "-look";

/// One namespace of one cluster, and the program that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterPlace {
    /// The service or component of `muster.yaml` that names it.
    pub name: String,
    /// The namespace.
    pub namespace: String,
    /// The context of the kubeconfig; `None`: the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The kubeconfig; `None`: as `kubectl` finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The program; `None`: `kubectl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubectl: Option<PathBuf>,
}

impl ClusterPlace {
    /// Finds the place that a service on Kubernetes, or a component of kind `kubernetes`, names.
    pub fn of(platform: &Platform, name: &str) -> Option<Self> {
        if let Some(own) = platform.services.get(name).and_then(|service| service.kubernetes.as_ref()) {
            return Some(Self {
                name: name.to_owned(),
                namespace: own.namespace.clone(),
                context: own.context.clone(),
                kubeconfig: own.kubeconfig.clone(),
                kubectl: own.kubectl.clone(),
            });
        }
        let Some(Component::Kubernetes(own)) = platform.components.get(name) else { return None };
        Some(Self {
            name: name.to_owned(),
            namespace: own.namespace.clone()?,
            context: own.context.clone(),
            kubeconfig: own.kubeconfig.clone(),
            kubectl: own.kubectl.clone(),
        })
    }

    /// Returns a command as one line for a shell; each word is quoted where it must be.
    pub fn line(&self, words: &[&str]) -> String {
        let program = self.kubectl.as_ref().map_or("kubectl".to_owned(), |path| path.display().to_string());
        let mut argv = vec![program];
        argv.extend(self.kubeconfig.iter().map(|path| format!("--kubeconfig={}", path.display())));
        argv.extend(self.context.iter().map(|context| format!("--context={context}")));
        argv.push(format!("--namespace={}", self.namespace));
        argv.extend(words.iter().map(|&word| word.to_owned()));
        argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Quotes a word for a shell where it must be.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@,+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Whether a text can name an object (RFC 1123).
pub fn is_object_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.chars().all(|c| is_plain(c) || "-.".contains(c))
}

/// What a look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sight {
    /// All nodes: whether they are ready, take pods, and which instance they are.
    Nodes,
    /// The pods of the namespace: those that are not ready first, with why.
    Pods,
    /// The pods that wait for a node, with the scheduler's reason.
    Pending,
    /// The last events.
    Events,
    /// Claims of volumes, and whether they have one.
    Claims,
    /// Stateful sets, and how many of their replicas are ready.
    Statefulsets,
}

impl Sight {
    /// All of them with their words.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("nodes", Self::Nodes),
        ("pods", Self::Pods),
        ("pending", Self::Pending),
        ("events", Self::Events),
        ("claims", Self::Claims),
        ("statefulsets", Self::Statefulsets),
    ];

    /// Returns the words for `kubectl`.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Nodes => &["get", "nodes"],
            Self::Pods => &["get", "pods"],
            Self::Pending => &["get", "pods", "--field-selector=status.phase=Pending"],
            Self::Events => &["get", "events"],
            Self::Claims => &["get", "persistentvolumeclaims"],
            Self::Statefulsets => &["get", "statefulsets"],
        }
    }
}

/// An object that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Doomed {
    /// A pod that its controller makes anew.
    Pod {
        /// Its name.
        name: String,
        /// Without waiting for its node: only for a pod of a stateful set whose node is gone.
        force: bool,
    },
    /// A node that is drained, or gone.
    Node {
        /// Its name.
        name: String,
    },
    /// A claim of a volume, and with it the data.
    Claim {
        /// Its name.
        name: String,
        /// The component whose data lies on it.
        #[serde(skip_serializing_if = "Option::is_none")]
        component: Option<String>,
        /// Even when no backup of the component is proven.
        unproven: bool,
    },
}

impl Doomed {
    /// Returns the object's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Pod { name, .. } | Self::Node { name } | Self::Claim { name, .. } => name,
        }
    }

    /// Returns the object as `kubectl` names it: `pod/api-0`.
    pub fn object(&self) -> String {
        let kind = match self {
            Self::Pod { .. } => "pod",
            Self::Node { .. } => "node",
            Self::Claim { .. } => "persistentvolumeclaim",
        };
        format!("{kind}/{}", self.name())
    }

    /// Whether a person must type its name.
    pub fn needs_approval(&self) -> bool {
        match self {
            Self::Pod { force, .. } => *force,
            Self::Node { .. } => true,
            Self::Claim { unproven, component, .. } => *unproven || component.is_none(),
        }
    }

    /// Returns its address at the API server.
    pub fn path(&self, namespace: &str) -> String {
        let name = self.name();
        match self {
            Self::Pod { .. } => format!("/api/v1/namespaces/{namespace}/pods/{name}"),
            Self::Node { .. } => format!("/api/v1/nodes/{name}"),
            Self::Claim { .. } => format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"),
        }
    }
}

/// What is done with the objects of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum ClusterDeed {
    /// Shows what is there; changes nothing.
    Look {
        /// What.
        at: Vec<Sight>,
    },
    /// Lets a node take no new pods, and evicts those that it has.
    Drain {
        /// The node.
        node: String,
        /// How long at most.
        within: Span,
        /// Services that may be down meanwhile.
        may_stop: Vec<String>,
        /// What pods keep in `emptyDir` volumes may be lost.
        delete_emptydir: bool,
    },
    /// Lets a node take pods again.
    Uncordon {
        /// The node.
        node: String,
        /// Only where Muster has cordoned it.
        only_own: bool,
    },
    /// Looks at what is to be deleted, and judges whether it may be.
    Judge {
        /// What.
        what: Doomed,
    },
    /// Deletes exactly the object that was looked at.
    Delete {
        /// What.
        what: Doomed,
        /// Its uid.
        uid: String,
    },
    /// Looks which instance a drained node is.
    Instance {
        /// The node.
        node: String,
    },
}

impl ClusterDeed {
    /// Whether the next step rests on what it finds.
    pub fn is_first(&self) -> bool {
        matches!(self, Self::Judge { .. } | Self::Instance { .. })
    }

    /// Returns the very commands, one line each.
    pub fn lines(&self, place: &ClusterPlace) -> Vec<String> {
        match self {
            Self::Look { at } => at.iter().map(|sight| place.line(sight.words())).collect(),
            Self::Drain { node, within, delete_emptydir, .. } => {
                vec![place.line(&["cordon", node]), drain_line(place, node, *within, *delete_emptydir)]
            }
            Self::Uncordon { node, .. } => vec![place.line(&["uncordon", node])],
            Self::Judge { what } => vec![place.line(&["get", &what.object(), "--output=json"])],
            Self::Delete { what, uid } => {
                let uid = if uid.is_empty() { "UID" } else { uid };
                let raw = format!("--raw={}", what.path(&place.namespace));
                vec![format!(
                    "{}    # with {}, so that nothing else of this name is meant",
                    place.line(&["delete", &raw, "--filename=-"]),
                    delete_options(what, uid)
                )]
            }
            Self::Instance { node } => vec![place.line(&["get", &format!("node/{node}"), "--output=json"])],
        }
    }

    /// Returns a command whose exit 0 says that it has happened, and 1 that it has not.
    pub fn probe(&self, place: &ClusterPlace) -> Option<String> {
        let Self::Delete { what, uid } = self else { return None };
        let object = what.object();
        let get = place.line(&["get", &object, "--ignore-not-found", "--output=jsonpath={.metadata.uid}"]);
        // A cluster that does not answer says nothing: that is neither 0 nor 1.
        Some(format!("uid=$({get}) || exit 3; [ \"$uid\" != {} ]", quoted(uid)))
    }
}

/// Returns the words that drain a node.
pub fn drain_words(node: &str, within: Span, delete_emptydir: bool) -> Vec<String> {
    let timeout = format!("--timeout={}s", within.duration().as_secs().max(1));
    let mut words = vec!["drain".to_owned(), node.to_owned(), "--ignore-daemonsets".into(), timeout];
    if delete_emptydir {
        words.push("--delete-emptydir-data".into());
    }
    words
}

fn drain_line(place: &ClusterPlace, node: &str, within: Span, delete_emptydir: bool) -> String {
    let words = drain_words(node, within, delete_emptydir);
    place.line(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns what the server is told of a deletion.
pub fn delete_options(what: &Doomed, uid: &str) -> String {
    let grace =
        if matches!(what, Doomed::Pod { force: true, .. }) { ",\"gracePeriodSeconds\":0" } else { "" };
    format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"preconditions\":{{\"uid\":\"{uid}\"}}{grace}}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_only_where_a_shell_would_read_it_otherwise() {
        let said: Vec<String> = ["a-b/c.d:1", "", "it's", "$x", "a b"].into_iter().map(quoted).collect();
        assert_eq!(said, ["a-b/c.d:1", "''", r"'it'\''s'", "'$x'", "'a b'"]);
    }
}
