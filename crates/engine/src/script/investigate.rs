//! An investigation: looks are done one after the other, and their answers are kept as evidence.
//!
//! ```text
//!   look ──► answer ──► NAME.txt     not available, or empty where something must be ──► missing.txt: "needs …"
//!   all of them ──► hashed, read-only, journaled, as any evidence
//! ```
//!
//! A look that cannot be answered does not keep the others from being done: what is missing is an answer too. The step
//! fails only when none could be answered. It changes nothing that it looks at.

use std::{fs::File, io::Read, path::Path, time::Duration};

use muster_drivers::command::Invocation;
use muster_repo::durable;
use muster_types::{
    Explain, Mask, Span,
    script::{InvestigateRequest, Look, Question, ScriptStep},
};

use super::{
    Effect, Runner,
    deeds::{Acted, interrupted, unavailable},
};

/// How long one program may take that does not say.
const PROGRAM_WITHIN: Duration = Duration::from_mins(2);
/// What is kept of one answer: a day of a busy log.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

impl Runner<'_> {
    pub(super) fn investigate(&self, step: &ScriptStep, request: &InvestigateRequest) -> Acted {
        // Each try has a folder of its own: its intent is in the journal.
        let attempt = self.memory().attempts.get(&step.id).copied().unwrap_or_default();
        let process = self.folder().join(format!("look-{attempt}"));
        let cannot = |error: std::io::Error| unavailable(format!("the evidence cannot be kept: {error}"));
        let folder = match self.make_evidence_folder(step, &process) {
            Ok(folder) => folder,
            Err(error) => return Ok(Err(cannot(error).into())),
        };
        let mut secrets = self.memory().secrets();
        secrets.extend(self.site.mask.expose().iter().cloned());
        let mask = Mask::new(secrets);
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        for look in &request.looks {
            if self.operator.wants_stop() {
                return Ok(Err(interrupted().into()));
            }
            let answer = self.answer(look, request.timeout);
            let answer = answer.and_then(|answer| {
                let is_answer = look.may_be_empty || !answer.trim().is_empty();
                if is_answer { Ok(answer) } else { Err("the answer is empty".to_owned()) }
            });
            match answer {
                Ok(answer) => {
                    let text = format!("{}\n\n{}\n", look.line(), mask.apply(answer.trim_end()));
                    if let Err(error) = keep(&folder, &look.name, &text) {
                        return Ok(Err(cannot(error).into()));
                    }
                    kept.push(format!("{}: {} lines", look.name, answer.lines().count()));
                }
                Err(why) => {
                    missing.push(format!("{}: needs {}: {}", look.name, look.needs, mask.apply(&why)));
                }
            }
        }
        if kept.is_empty() {
            return Ok(
                Err(unavailable(format!("nothing could be looked at: {}", missing.join("; "))).into()),
            );
        }
        if !missing.is_empty()
            && let Err(error) = keep(&folder, "missing", &format!("{}\n", missing.join("\n")))
        {
            return Ok(Err(cannot(error).into()));
        }
        let output = kept.iter().chain(&missing).cloned().collect::<Vec<_>>().join("\n");
        let sealed = self.seal(step, &process, Ok(Effect { output, ..Effect::default() }))?;
        Ok(sealed.map(|mut effect| {
            if let Some(summary) = effect.summary.as_mut().filter(|_| !missing.is_empty()) {
                summary.push_str(&format!("; {}", missing.join("; ")));
            }
            effect
        }))
    }

    fn answer(&self, look: &Look, timeout: Option<Span>) -> Result<String, String> {
        let component = |name: &String| {
            let found = self.site.components.get(name);
            found.ok_or_else(|| format!("there is no component `{name}`"))
        };
        match &look.question {
            Question::Sql { component: name, query } => {
                component(name)?.query(query, self.operator).map_err(|error| told(&error))
            }
            Question::Command { component: name, words } => {
                component(name)?.command(words, self.operator).map_err(|error| told(&error))
            }
            Question::Program { argv } => {
                let within = timeout.map_or(PROGRAM_WITHIN, Span::duration);
                let mut invocation = Invocation::new(argv.clone(), within);
                invocation.output_bytes_max = usize::try_from(ANSWER_BYTES_MAX).unwrap_or(usize::MAX);
                let ended = invocation.run(self.operator).map_err(|error| told(&error))?;
                if !ended.is_success() {
                    return Err(format!("{}: {}", ended.exit, ended.last_lines(2)));
                }
                Ok(ended.stdout.text())
            }
            Question::File { path } => {
                let mut content = Vec::new();
                let read = File::open(path).and_then(|file| {
                    if !file.metadata()?.is_file() {
                        return Err(std::io::Error::new(
                            std::io::ErrorKind::InvalidInput,
                            "it is no plain file",
                        ));
                    }
                    file.take(ANSWER_BYTES_MAX).read_to_end(&mut content)
                });
                read.map_err(|error| error.to_string())?;
                Ok(String::from_utf8_lossy(&content).into_owned())
            }
        }
    }
}

fn keep(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    durable::write(&folder.join(format!("{plain}.txt")), text.as_bytes(), 0o600)
}

/// An error with its causes in one line.
fn told(error: &dyn Explain) -> String {
    let note = muster_types::event::ErrorNote::of(error);
    let causes: String = note.causes.iter().map(|cause| format!(": {cause}")).collect();
    format!("{}{causes}", note.error).replace('\n', " ")
}
