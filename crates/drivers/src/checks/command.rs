//! Runs a program and looks at its exit code (`[STATUS]`) and its standard output (`[BODY]`).
//!
//! A program that a signal killed or that cannot be started has no exit code, so the check fails with that reason.

use muster_types::{ByteSize, event::Watcher};

use super::{Look, Observation, Unseen, no_answer};
use crate::command::{CommandError, Exit, Invocation};

pub(super) fn observe(
    argv: &[String],
    look: &Look<'_>,
    watcher: &dyn Watcher,
) -> Result<Observation, Unseen> {
    let mut invocation = Invocation::new(argv, look.timeout);
    invocation.output_bytes_max = usize::try_from(look.body_bytes_max).unwrap_or(usize::MAX);
    let ended = invocation.run(watcher).map_err(|error| match error {
        CommandError::TimedOut { output, .. } if output.is_empty() => no_answer(look.timeout),
        CommandError::System { program, source } => format!("cannot run `{program}`: {source}"),
        other => other.to_string(),
    })?;
    let status = match ended.exit {
        Exit::Code(code) => i64::from(code),
        Exit::Signal(signal) => return Err(format!("the program was killed by signal {signal}").into()),
    };
    let body = if look.is_body_needed {
        if ended.stdout.cut() > 0 {
            return Err(format!("the output is larger than {}", ByteSize(look.body_bytes_max)).into());
        }
        let text = ended.stdout.complete_text().ok_or_else(|| "the output is not UTF-8 text".to_owned())?;
        Some(text.to_owned())
    } else {
        None
    };
    Ok(Observation {
        status: Some(status),
        body,
        response_time: ended.elapsed,
        is_connected: true,
        ..Observation::default()
    })
}
