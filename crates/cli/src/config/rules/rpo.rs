//! Whether an RPO can be kept by what the component does at all: by its backups, its log, or only by `wal: sync`.
//!
//! Judges [`Component`]s with their place in the tree; findings leave, warnings all of them. It asks no server: whether
//! commits really wait is in `muster survey` and `muster status`.

use muster_types::{
    Span,
    config::{Component, GitPolicy, PostgresHeartbeat, PostgresWal},
    objective::{Objectives, Target},
};

use super::Rules;
use crate::config::finding::Finding;

impl Rules<'_> {
    /// Judges the RPO of a component and those of its classes; `interval` lies between two backups.
    pub(super) fn judge_rpo(
        &self,
        name: &str,
        component: &Component,
        interval: Option<Span>,
        findings: &mut Vec<Finding>,
    ) {
        let common = component.common();
        let own = common.objectives.unwrap_or_default();
        let (objectives, above): (Objectives, &[&str]) = match own.rpo {
            Some(_) => (own, &["components", name, "objectives", "rpo"]),
            None => (self.typed.platform.objectives, &["objectives", "rpo"]),
        };
        if let Component::Postgres(postgres) = component
            && postgres.wal == PostgresWal::None
            && postgres.heartbeat != PostgresHeartbeat::None
        {
            let place = self.sources.place(self.key_at(&["components", name, "heartbeat"]));
            let message =
                format!("`heartbeat` of component `{name}` is never written: its log is not received");
            findings.push(
                Finding::warning(message).at(place).hint("write `wal: stream`, or leave `heartbeat` out"),
            );
        }
        let log = match component {
            Component::Postgres(postgres) => Some(postgres.wal),
            _ => None,
        };
        // What is refused unless it is on a remote is there before it is backed up.
        let is_on_remote =
            matches!(component, Component::Files(files) if files.git.is_some_and(GitPolicy::needs_remote));
        let warn = |what: &str, rpo: Option<Target>, path: &[&str]| {
            let Some(Target::Within(rpo)) = rpo else { return None };
            let (message, hint) = match (log, interval) {
                (Some(PostgresWal::Sync), _) => return None,
                (None, _) if is_on_remote => return None,
                (log, _) if rpo.duration().is_zero() => (
                    format!(
                        "the rpo of {what} is {rpo}, and that is not achievable: what is written is in the repository later"
                    ),
                    if log.is_some() {
                        "write `wal: sync`: commits then wait until their log is in the repository; or accept a longer rpo"
                            .to_owned()
                    } else {
                        "accept a longer rpo".to_owned()
                    },
                ),
                (Some(PostgresWal::Stream), _) | (_, None) => return None,
                (_, Some(interval)) if rpo >= interval => return None,
                (_, Some(interval)) => (
                    format!("the rpo of {what} is {rpo}, but a backup is made every {interval} only"),
                    format!("write `backup: {{every: {rpo}}}`, or accept a longer rpo"),
                ),
            };
            let at = self.node(path).map_or_else(|| self.key_at(path), |node| node.at);
            Some(Finding::warning(message).at(self.sources.place(at)).hint(hint))
        };
        findings.extend(warn(&format!("component `{name}`"), objectives.rpo, above));
        for (index, class) in common.classes.iter().enumerate() {
            let what = format!("class `{}` of component `{name}`", class.name);
            let index = index.to_string();
            findings.extend(warn(&what, Some(class.rpo), &["components", name, "classes", &index, "rpo"]));
        }
    }
}
