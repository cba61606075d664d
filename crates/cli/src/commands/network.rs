//! `muster network`: look at every part of the way to the platform's servers, or to those that are named.
//!
//! It opens neither the repository nor the journal, and answers without a `muster.yaml` when servers are named: at 3 a.m. the
//! host with the trouble may not be the one with the configuration.

use std::time::Duration;

use muster_drivers::network::{self, Place, Request, Target};
use muster_types::{
    Kind, Span,
    config::Platform,
    network::{Probe, ProbeVerdict},
};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, NetworkArgs},
    exit::{self, Failure},
    progress::Progress,
};

pub(super) fn run(global: &Global, args: &NetworkArgs) -> Result<Answer, Failure> {
    let loaded = match app::load(global, Intent::Read) {
        Ok(loaded) => Some(loaded),
        // Named servers need no configuration; one that is asked for by name does.
        Err(failure) if args.targets.is_empty() || global.config.is_some() => return Err(failure),
        Err(_) => None,
    };
    let platform = loaded.as_ref().map(|loaded| &loaded.platform);
    let progress = Progress::new(global.quiet || global.json);
    let request = Request {
        targets: targets(args, platform)?,
        places: places(args, platform, &progress)?,
        outside: args.outside.clone().or_else(|| platform?.network.as_ref()?.outside.clone()),
        ca: args.ca.clone(),
        timeout: args.timeout.map_or(network::PROBE_TIMEOUT, Span::duration).max(Duration::from_millis(1)),
        deadline: args.deadline.map_or(network::DEADLINE, Span::duration),
    };
    let probes = network::look(&request, &progress);
    let failed = probes.iter().filter(|probe| probe.verdict == ProbeVerdict::Failed).count();
    let outcome = if failed == 0 { "passed" } else { "failed" };
    let document = json!({"outcome": outcome, "probes": probes});
    let code = if failed == 0 { exit::DONE } else { exit::FAILED };
    Ok(Answer::new(shown(&probes), document).with_code(code))
}

fn targets(args: &NetworkArgs, platform: Option<&Platform>) -> Result<Vec<Target>, Failure> {
    if args.targets.is_empty() {
        let found = platform.map(network::of_platform).unwrap_or_default();
        if found.is_empty() {
            return Err(Failure::new(
                Kind::NotFound,
                "the configuration names no server: there is no way to look at",
                "name one: `muster network api.example.com:443`",
            ));
        }
        return Ok(found);
    }
    let parse = |text: &String| {
        Target::parse(text).map_err(|error| {
            Failure::new(Kind::Input, error, "write `https://api.example.com`, `db:5432` or a name")
        })
    };
    args.targets.iter().map(parse).collect()
}

fn places(
    args: &NetworkArgs,
    platform: Option<&Platform>,
    progress: &Progress,
) -> Result<Vec<Place>, Failure> {
    match &args.inside {
        None => Ok(vec![network::host(platform)]),
        Some(inside) => Ok(network::inside(inside, platform, progress)?),
    }
}

/// Shows each probe with its verdict, under the server that it is about.
pub(crate) fn shown(probes: &[Probe]) -> String {
    let mut text = String::new();
    let mut before: Option<(&str, Option<&str>)> = None;
    for probe in probes {
        let about = (probe.from.as_str(), probe.target.as_deref());
        if before != Some(about) {
            let what =
                about.1.map_or_else(|| about.0.to_owned(), |target| format!("{target} (from {})", about.0));
            text.push_str(&format!("{what}\n"));
            before = Some(about);
        }
        let of = probe.of.as_ref().map(|of| format!(" {of}")).unwrap_or_default();
        text.push_str(&format!(
            "  {:7}  {}{of}: {} ({:.0} ms)\n",
            probe.verdict.word(),
            probe.probe.word(),
            probe.found.replace('\n', " "),
            probe.seconds * 1000.0
        ));
        if let Some(hint) = probe.hint.as_ref().filter(|_| probe.verdict != ProbeVerdict::Ok) {
            text.push_str(&format!("           hint: {hint}\n"));
        }
    }
    let count = |verdict| probes.iter().filter(|probe| probe.verdict == verdict).count();
    text.push_str(&format!(
        "{} ok, {} failed, {} unknown\n",
        count(ProbeVerdict::Ok),
        count(ProbeVerdict::Failed),
        count(ProbeVerdict::Unknown)
    ));
    text
}
