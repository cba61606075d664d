//! The step `dns`: a record is changed, and everybody gets the new answer before the step is done.
//!
//! ```text
//!   ask every authoritative server ──► note old values and TTL (fsync) ──► change ──► ask until all answer the new value
//!        │ all answer it already: nothing is changed                                    └──► wait for the old TTL
//! ```
//!
//! What was found before stands in the journal before anything is changed: after a crash it could not be found any more, and
//! both the undo and the wait need it. A resume asks the servers and changes nothing that is changed already. The clock of
//! the old TTL begins when the last server answers anew; after a crash it begins again, because nobody has watched meanwhile.
//!
//! It never takes a resolver's word, and never gives a change up half-way without naming the server that still answers old.

use std::time::{Duration, Instant};

use muster_drivers::dns::{self, Record, Server};
use muster_types::{
    Kind, Span,
    event::{ErrorNote, ScriptEvent},
    script::{DnsChange, DnsWay, Filled, ScriptStep},
};

use super::{
    Effect, Failed, Runner,
    deeds::{self, Acted},
};
use crate::EngineError;

/// The pause between two rounds of questions.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the clock is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(30);

impl Runner<'_> {
    pub(super) fn dns(&self, step: &ScriptStep, change: &DnsChange) -> Acted {
        let name = change.name.expose();
        let note = |error: muster_drivers::DriverError| Failed::from(ErrorNote::of(&error));
        let servers = match dns::servers(change) {
            Ok(servers) => servers,
            Err(error) => return Ok(Err(note(error))),
        };
        let (found, now) = match self.noted(step, change, &servers)? {
            Ok(pair) => pair,
            Err(failed) => return Ok(Err(failed)),
        };
        let values: Vec<String> = match &change.back_of {
            Some(of) => match self.found_by(of) {
                Some(before) => before.values,
                None => return Ok(Ok(said("nothing was changed: there is nothing to take back"))),
            },
            None => change.values.iter().map(|value| value.expose().to_owned()).collect(),
        };
        if let Err(error) = dns::validate(name, &values, change.record) {
            return Ok(Err(note(error)));
        }
        let values = dns::wanted(&values, change.record);
        self.tell_person(step, &format!("{name} is {} for {} s", shown(&found.values), found.ttl_seconds));
        // A change that is on its way to the other servers was made; one that is taken back must be so everywhere.
        let has_it = |(_, record): &(String, Record)| record.values == values;
        let is_there = if change.back_of.is_some() { now.iter().all(has_it) } else { now.iter().any(has_it) };
        if !is_there {
            let present = now.iter().find(|one| !has_it(one)).map(|(_, record)| record.clone());
            let done = self.change(step, change, &present.unwrap_or_default(), &found, &values)?;
            if let Err(failed) = done {
                return Ok(Err(failed));
            }
        }
        Ok(self.awaited(step, change, &servers, (&found, &values)))
    }

    /// What the servers answer now, and what they answered before the step's first effect: noted now or by a process that died.
    #[allow(
        clippy::type_complexity,
        reason = "the outer error is the journal's, the inner one the step's own"
    )]
    fn noted(
        &self,
        step: &ScriptStep,
        change: &DnsChange,
        servers: &[Server],
    ) -> Result<Result<(Record, Vec<(String, Record)>), Failed>, EngineError> {
        let mut now = Vec::new();
        for server in servers {
            match dns::ask(server, change.name.expose(), change.record) {
                Ok(record) => now.push((server.name.clone(), record)),
                // A dead secondary must not keep the primary from being brought back.
                Err(_) if change.back_of.is_some() && servers.len() > 1 => {}
                Err(why) => {
                    let error = format!("{} cannot be asked for {}: {why}", server.name, change.name.shown());
                    return Ok(Err(deeds::unavailable(error).into()));
                }
            }
        }
        if let Some(before) = self.found_by(&step.id) {
            return Ok(Ok((before, now)));
        }
        let found = now.first().map(|(_, record)| record.clone()).unwrap_or_default();
        let differing = now.iter().find(|(_, record)| record.values != found.values);
        if let (Some((other, record)), Some((first, _)), None) = (differing, now.first(), &change.back_of) {
            // Which one is the old one? A wrong guess would be what an undo brings back.
            let error = format!(
                "the servers do not agree: {first} answers {}, {other} answers {}",
                shown(&found.values),
                shown(&record.values)
            );
            return Ok(Err(Failed::from(ErrorNote {
                hint: Some("wait until the zone is the same everywhere, then resume".into()),
                kind: Kind::Conflict,
                ..deeds::unavailable(error)
            })));
        }
        let note = serde_json::to_string(&found).unwrap_or_default();
        self.tell_step(ScriptEvent::Noted { step: step.id.clone(), note })?;
        Ok(Ok((found, now)))
    }

    fn found_by(&self, step: &str) -> Option<Record> {
        let memory = self.memory();
        serde_json::from_str(memory.notes.get(step)?).ok()
    }

    fn change(
        &self,
        step: &ScriptStep,
        change: &DnsChange,
        present: &Record,
        found: &Record,
        values: &[String],
    ) -> Acted {
        let ttl = dns::ttl_seconds(change, found);
        let (text, env) = match (&change.way, dns::script(change, present, values, ttl)) {
            (DnsWay::Command { text }, _) => {
                let pair = |name: &str, value: String| (name.to_owned(), Filled::from(value.as_str()));
                let env = vec![
                    pair("DNS_NAME", change.name.expose().to_owned()),
                    pair("DNS_TYPE", muster_types::script::record_word(change.record).to_owned()),
                    pair("DNS_VALUE", values.join(" ")),
                    pair("DNS_TTL", ttl.to_string()),
                ];
                (text.clone(), env)
            }
            (DnsWay::Update { .. }, Some(script)) => (Filled::from(script.as_str()), Vec::new()),
            (DnsWay::Update { .. }, None) => return Ok(Ok(Effect::default())),
        };
        let job = self.job(step, "sh", &text, None, &env);
        self.command(step, &job)
    }

    /// Waits until every server answers anew, and then until nobody may remember the old answer.
    fn awaited(
        &self,
        step: &ScriptStep,
        change: &DnsChange,
        servers: &[Server],
        (found, values): (&Record, &[String]),
    ) -> Result<Effect, Failed> {
        let begun = Instant::now();
        loop {
            let old = servers.iter().find_map(|server| {
                match dns::ask(server, change.name.expose(), change.record) {
                    Ok(record) if record.values == values => None,
                    Ok(record) => Some(format!("{} still answers {}", server.name, shown(&record.values))),
                    Err(why) => Some(format!("{}: {why}", server.name)),
                }
            });
            let Some(old) = old else { break };
            if self.operator.is_cancelled() {
                return Err(deeds::interrupted().into());
            }
            if begun.elapsed() >= change.within.duration() {
                let error =
                    format!("not every server answers {} within {}: {old}", shown(values), change.within);
                return Err(Failed::from(ErrorNote {
                    hint: Some(
                        "look at that server's transfer of the zone; then resume: nothing is changed twice"
                            .into(),
                    ),
                    ..deeds::unavailable(error)
                }));
            }
            deeds::pause(PAUSE, self.operator);
        }
        let all = Duration::from_secs(found.ttl_seconds.into());
        let (since, mut told) = (Instant::now(), None::<Instant>);
        while since.elapsed() < all {
            if self.operator.is_cancelled() {
                return Err(deeds::interrupted().into());
            }
            if told.is_none_or(|told| told.elapsed() >= SHOWN_EVERY) {
                let left = Span::from(Duration::from_secs(all.saturating_sub(since.elapsed()).as_secs()));
                self.tell_person(
                    step,
                    &format!(
                        "all servers answer {}; the old answer is remembered for {left} more",
                        shown(values)
                    ),
                );
                told = Some(Instant::now());
            }
            deeds::pause(all.saturating_sub(since.elapsed()).min(PAUSE), self.operator);
        }
        let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        let was =
            if found.values == values { String::new() } else { format!(", was {}", shown(&found.values)) };
        Ok(said(&format!(
            "{} answer {}{was}; the old TTL of {} s is over",
            names.join(", "),
            shown(values),
            found.ttl_seconds
        )))
    }

    fn tell_person(&self, step: &ScriptStep, line: &str) {
        self.operator.on_output(step, &format!("{line}\n"));
    }
}

fn said(summary: &str) -> Effect {
    Effect { output: summary.to_owned(), summary: Some(summary.to_owned()), is_cut: false }
}

fn shown(values: &[String]) -> String {
    if values.is_empty() { "nothing".to_owned() } else { values.join(", ") }
}
