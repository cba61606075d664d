//! The step `network`: what `muster network` sees is the output of the step, and one failed probe fails it.
//!
//! It never changes anything; what is unknown does not fail it.

use muster_drivers::network::{self, Request, Target};
use muster_types::{
    Kind, Span,
    event::ErrorNote,
    network::{Probe, ProbeVerdict},
};

use super::{Effect, Failed, Runner, deeds};

impl Runner<'_> {
    pub(super) fn network(
        &self,
        targets: &[String],
        inside: Option<&str>,
        within: Option<Span>,
    ) -> Result<Effect, Failed> {
        let platform = self.site.platform;
        let targets = if targets.is_empty() {
            network::of_platform(platform)
        } else {
            let parsed = targets.iter().map(|text| Target::parse(text)).collect::<Result<_, _>>();
            parsed.map_err(|error| ErrorNote { kind: Kind::Input, ..deeds::unavailable(error) })?
        };
        let places = match inside {
            None => vec![network::host(Some(platform))],
            Some(inside) => network::inside(inside, Some(platform), self.operator)
                .map_err(|error| ErrorNote::of(&error))?,
        };
        let request = Request {
            targets,
            places,
            outside: platform.network.as_ref().and_then(|network| network.outside.clone()),
            ca: None,
            timeout: network::PROBE_TIMEOUT,
            deadline: within.map_or(network::DEADLINE, Span::duration),
        };
        let probes = network::look(&request, self.operator);
        if muster_types::event::Watcher::is_cancelled(self.operator) {
            return Err(deeds::interrupted().into());
        }
        let of = |verdict: ProbeVerdict| probes.iter().filter(move |probe| probe.verdict == verdict);
        let failed: Vec<String> = of(ProbeVerdict::Failed).map(line).collect();
        if !failed.is_empty() {
            return Err(deeds::unavailable(failed.join("; ")).into());
        }
        let output =
            probes.iter().map(|probe| format!("{} {}\n", probe.verdict.word(), line(probe))).collect();
        let (ok, unknown) = (of(ProbeVerdict::Ok).count(), of(ProbeVerdict::Unknown).count());
        Ok(Effect { output, summary: Some(format!("{ok} ok, {unknown} unknown")), is_cut: false })
    }
}

fn line(probe: &Probe) -> String {
    let target = probe.target.as_ref().unwrap_or(&probe.from);
    let of = probe.of.as_ref().map(|of| format!(" {of}")).unwrap_or_default();
    format!("{target} {}{of}: {}", probe.probe.word(), probe.found.replace('\n', " "))
}
