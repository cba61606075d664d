//! What must hold for a Redis server that is only a cache: nothing of it is kept, and what empties it is named whole.
//!
//! Judges a [`RedisComponent`] with its place in the tree; findings leave. It asks no server.

use muster_drivers::checks;
use muster_types::config::{RedisComponent, WarmUp};

use super::Rules;
use crate::config::finding::Finding;

impl Rules<'_> {
    pub(super) fn judge_cache(&self, name: &str, redis: &RedisComponent, findings: &mut Vec<Finding>) {
        let place = |key: &str| self.sources.place(self.key_at(&["components", name, key]));
        if !redis.is_disposable {
            let own = [
                ("warm", redis.warm.is_some()),
                ("service", redis.service.is_some()),
                ("data_dir", redis.data_dir.is_some()),
            ];
            for (key, _) in own.into_iter().filter(|(_, is_given)| *is_given) {
                let message = format!("`{key}` of component `{name}` belongs to a disposable cache");
                let hint = "add `disposable: true` when all that it holds may be thrown away; else remove it";
                findings.push(Finding::error(message).at(place(key)).hint(hint));
            }
            return;
        }
        let kept = [
            ("backup", redis.common.backup.is_some()),
            ("prove", redis.common.prove.is_some()),
            ("objectives", redis.common.objectives.is_some()),
            ("classes", !redis.common.classes.is_empty()),
        ];
        for (key, _) in kept.into_iter().filter(|(_, is_given)| *is_given) {
            let message = format!("component `{name}` is disposable and has `{key}`");
            let finding = Finding::error(message).at(place(key));
            findings.push(
                finding
                    .because("no backup is made of what is disposable")
                    .hint(format!("remove `{key}`, or take `disposable` out when its loss would matter")),
            );
        }
        if redis.service.is_some() != redis.data_dir.is_some() {
            let (has, lacks) =
                if redis.service.is_some() { ("service", "data_dir") } else { ("data_dir", "service") };
            let message = format!("component `{name}` has `{has}` without `{lacks}`");
            let finding = Finding::error(message).at(place(has));
            findings.push(finding.because("its files can be removed only while its server is stopped").hint(
                "give both, `service: cache` and `data_dir: /var/lib/redis`; or neither, and the running server empties itself",
            ));
        }
        let services = &self.typed.platform.services;
        if let Some(service) = redis.service.as_ref().filter(|one| !services.contains_key(*one)) {
            let message = format!("component `{name}` names the service `{service}`, which is not there");
            findings.push(Finding::error(message).at(place("service")).hint("add it under `services:`"));
        }
        let check = redis.warm.as_ref().and_then(WarmUp::check);
        if let Some(Err(error)) = check.as_ref().map(checks::validate) {
            // What a reference stands for is not known here.
            let has_reference = redis.warm.iter().any(|warm| {
                let texts = warm.http.iter().chain(warm.headers.values());
                texts.into_iter().any(|text| text.contains("${"))
            });
            if !has_reference {
                let hint = error.hint.clone();
                let message = format!("`warm` of component `{name}`: {error}");
                findings.push(Finding::error(message).at(place("warm")).hint(hint));
            }
        }
    }
}
