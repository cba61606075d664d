//! What a cluster shows: nodes, pods, what waits for a node and why, events, claims, stateful sets.
//!
//! In: what to look at. Out: lines, what is not as it should be first, and one line that counts it. It only looks.

use muster_types::{script::Sight, text::counted};
use serde_json::Value;

use super::{Cluster, Told, full_name, is_cordoned, is_so};
use crate::{
    DriverError,
    kubectl::{count, text},
    services::kubernetes::sickness,
};

/// More events than this are history.
const EVENTS_MAX: usize = 20;

/// Lines, how many of them there are to worry about, and of what.
struct Seen {
    lines: Vec<String>,
    worries: Option<String>,
}

impl Cluster<'_> {
    pub(super) fn look(&self, at: &[Sight]) -> Result<Told, DriverError> {
        let (mut output, mut worries) = (String::new(), Vec::new());
        for sight in at {
            let word = Sight::ALL.iter().find(|(_, one)| one == sight).map_or("", |(word, _)| word);
            let seen = match sight {
                Sight::Nodes => self.nodes()?,
                Sight::Pods => self.pods(false)?,
                Sight::Pending => self.pods(true)?,
                Sight::Events => self.events()?,
                Sight::Claims => self.claims()?,
                Sight::Statefulsets => self.statefulsets()?,
            };
            output.push_str(&format!("{word}:\n"));
            if seen.lines.is_empty() {
                output.push_str("  none\n");
            }
            seen.lines.iter().for_each(|line| output.push_str(&format!("  {line}\n")));
            worries.extend(seen.worries);
        }
        let summary = if worries.is_empty() { "nothing to worry about".into() } else { worries.join("; ") };
        Ok(Told { output, summary })
    }

    fn nodes(&self) -> Result<Seen, DriverError> {
        let all = self.kubectl.list("nodes", "", self.watcher)?;
        let (sick, well): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|node| !is_so(node, "Ready"));
        let line = |node: &&Value| {
            let mut said = text(node, "/metadata/name").to_owned();
            said.push_str(if is_so(node, "Ready") { " Ready" } else { " NotReady" });
            let why = condition(node, "Ready");
            if !is_so(node, "Ready") && !why.is_empty() {
                said.push_str(&format!(" ({why})"));
            }
            if is_cordoned(node) {
                said.push_str(", takes no pods");
            }
            let instance = text(node, "/spec/providerID");
            if !instance.is_empty() {
                said.push_str(&format!(", {instance}"));
            }
            said
        };
        let worries =
            (!sick.is_empty()).then(|| format!("{} of {} not ready", sick.len(), counted(all.len(), "node")));
        Ok(Seen { lines: sick.iter().chain(&well).map(line).collect(), worries })
    }

    fn pods(&self, is_pending: bool) -> Result<Seen, DriverError> {
        let mut all = self.kubectl.list("pods", "", self.watcher)?;
        if is_pending {
            all.retain(|pod| text(pod, "/status/phase") == "Pending");
        }
        let mut sick = Vec::new();
        let mut well = Vec::new();
        for pod in &all {
            let node = text(pod, "/spec/nodeName");
            let place = if node.is_empty() { String::new() } else { format!(" on {node}") };
            match sickness(pod) {
                Some((grade, said)) => {
                    sick.push((grade, format!("{}{place}", said.trim_start_matches("pod "))));
                }
                None => well.push(format!("{}: ready{place}", text(pod, "/metadata/name"))),
            }
        }
        sick.sort();
        let worries = match (sick.len(), is_pending) {
            (0, _) => None,
            (number, true) => Some(format!("{} not placed", counted(number, "pod"))),
            (number, false) => Some(format!("{number} of {} not ready", counted(all.len(), "pod"))),
        };
        let lines = sick.into_iter().map(|(_, said)| said).chain(well).collect();
        Ok(Seen { lines, worries })
    }

    /// The last ones, oldest first, as they are read from a log.
    fn events(&self) -> Result<Seen, DriverError> {
        let mut all = self.kubectl.list("events", "", self.watcher)?;
        all.sort_by_key(|event| when(event).to_owned());
        let skip = all.len().saturating_sub(EVENTS_MAX);
        let line = |event: &Value| {
            let times = count(event, "/count");
            let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
            format!(
                "{} {} {} {}/{}: {}{times}",
                when(event),
                text(event, "/type"),
                text(event, "/reason"),
                text(event, "/involvedObject/kind").to_lowercase(),
                text(event, "/involvedObject/name"),
                text(event, "/message")
            )
        };
        let warnings = all.iter().skip(skip).filter(|event| text(event, "/type") == "Warning").count();
        let worries = (warnings > 0).then(|| counted(warnings, "warning"));
        Ok(Seen { lines: all.iter().skip(skip).map(line).collect(), worries })
    }

    fn claims(&self) -> Result<Seen, DriverError> {
        let all = self.kubectl.list("persistentvolumeclaims", "", self.watcher)?;
        let is_bound = |claim: &&Value| text(claim, "/status/phase") == "Bound";
        let (well, sick): (Vec<&Value>, Vec<&Value>) = all.iter().partition(is_bound);
        let line = |claim: &&Value| {
            let ending = if text(claim, "/metadata/deletionTimestamp").is_empty() { "" } else { ", ends" };
            format!(
                "{} {} {}{ending}",
                text(claim, "/metadata/name"),
                text(claim, "/status/phase"),
                text(claim, "/spec/volumeName")
            )
        };
        let worries =
            (!sick.is_empty()).then(|| format!("{} without a volume", counted(sick.len(), "claim")));
        Ok(Seen { lines: sick.iter().chain(&well).map(line).collect(), worries })
    }

    fn statefulsets(&self) -> Result<Seen, DriverError> {
        let all = self.kubectl.list("statefulsets", "", self.watcher)?;
        let wanted = |set: &Value| set.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        let ready = |set: &Value| count(set, "/status/readyReplicas");
        let line =
            |set: &Value| format!("{}: {} of {} ready", text(set, "/metadata/name"), ready(set), wanted(set));
        let sick = all.iter().filter(|set| ready(set) < wanted(set)).count();
        let worries = (sick > 0).then(|| format!("{} not whole", counted(sick, "stateful set")));
        Ok(Seen { lines: all.iter().map(line).collect(), worries })
    }

    /// Says how a pod stands that does not go.
    pub(super) fn standing(pod: &Value) -> String {
        let ends = !text(pod, "/metadata/deletionTimestamp").is_empty();
        format!("{}{}", full_name(pod), if ends { " (ends, and has not ended)" } else { "" })
    }
}

/// Why a condition is as it is.
fn condition(object: &Value, kind: &str) -> String {
    let all = object.pointer("/status/conditions").and_then(Value::as_array);
    let Some(one) = all.into_iter().flatten().find(|one| text(one, "/type") == kind) else {
        return String::new();
    };
    let (reason, message) = (text(one, "/reason"), text(one, "/message"));
    [reason, message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

fn when(event: &Value) -> &str {
    ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/metadata/creationTimestamp"]
        .into_iter()
        .map(|path| text(event, path))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}
