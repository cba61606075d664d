//! Hands a program's output on while it comes, however much it is: for logs, which are as long as they are.
//!
//! ```text
//! program ── stdout ──> thread ──┐
//!         └─ stderr ──> thread ──┴─ bounded queue of whole lines ──> the caller's `each`
//! ```
//!
//! The memory that it takes is bounded; a program that writes faster than `each` reads has to wait. A line longer than the
//! bound is handed on in pieces. Read next: [`super::Invocation`].

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Instant,
};

use muster_types::{Span, event::Watcher};

use super::{CommandError, Exit, Invocation, POLL_MAX, end_group, has_ended, not_spawned, signal_group};

/// Lines that wait for the reader.
const QUEUE: usize = 256;
/// A line that is longer comes in pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024;

impl Invocation {
    /// Runs the program and hands each line of both outputs to `each`, with its line end.
    ///
    /// # Errors
    /// [`CommandError`]; in every case nothing of the process group runs any more. An error of `each` ends the program.
    pub fn run_lines<E: From<CommandError>>(
        &self,
        watcher: &dyn Watcher,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Exit, E> {
        let program = self.argv.first().filter(|p| !p.is_empty()).ok_or(CommandError::Empty)?.clone();
        let system = |source| CommandError::System { program: program.clone(), source };
        let deadline = Instant::now() + self.timeout;
        let mut command = self.prepared(&program);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| not_spawned(&program, source))?;
        let (sender, receiver) = sync_channel(QUEUE);
        if let Some(stream) = child.stdout.take() {
            pass_on(stream, sender.clone());
        }
        if let Some(stream) = child.stderr.take() {
            pass_on(stream, sender.clone());
        }
        drop(sender);
        let mut first_error: Option<E> = None;
        loop {
            let stop = if watcher.is_cancelled() {
                Some(CommandError::Cancelled { program: program.clone() })
            } else if Instant::now() > deadline {
                let (program, timeout) = (program.clone(), Span::from(self.timeout));
                Some(CommandError::TimedOut { program, timeout, output: String::new() })
            } else {
                None
            };
            if let Some(stop) = stop {
                first_error = Some(stop.into());
                break;
            }
            match receiver.recv_timeout(POLL_MAX) {
                Ok(line) => {
                    if let Err(error) = each(&line) {
                        first_error = Some(error);
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if has_ended(&child).map_err(system)? => break,
                // Both outputs are closed, and it still works.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL_MAX),
            }
        }
        // Readers that wait for room in the queue end with it.
        drop(receiver);
        if let Some(error) = first_error {
            end_group(&mut child, &[super::Output::nothing(), super::Output::nothing()]).map_err(system)?;
            return Err(error);
        }
        signal_group(&child, rustix::process::Signal::KILL);
        Ok(Exit::of(child.wait().map_err(system)?))
    }
}

fn pass_on(stream: impl Read + Send + 'static, sender: SyncSender<Vec<u8>>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(1..) if sender.send(line).is_ok() => {}
                _ => return,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_types::event::Unwatched;

    use super::*;

    fn sh(script: &str) -> Invocation {
        Invocation::new(["sh", "-c", script], Duration::from_mins(2))
    }

    #[test]
    fn every_line_of_a_long_output_arrives_and_the_exit_code_is_told() {
        let (mut count, mut bytes, mut noise) = (0_u32, 0, false);
        let exit = sh("echo noise >&2; seq 1 200000; printf end; exit 3")
            .run_lines::<CommandError>(&Unwatched, |line| {
                count += u32::from(line.ends_with(b"\n"));
                bytes += line.len();
                noise |= line == b"noise\n";
                Ok(())
            })
            .unwrap();
        assert_eq!((exit, count, noise), (Exit::Code(3), 200_001, true));
        assert_eq!(bytes, 6 + 1_288_895 + 3, "noise, the numbers, and a last line without an end");
    }

    #[test]
    fn an_error_of_the_reader_ends_a_program_that_would_write_for_ever() {
        let error = sh("while :; do echo more; done")
            .run_lines::<CommandError>(&Unwatched, |_| Err(CommandError::Empty));
        assert!(matches!(error, Err(CommandError::Empty)));
        let mut short = sh("sleep 600");
        short.timeout = Duration::from_millis(50);
        let error = short.run_lines::<CommandError>(&Unwatched, |_| Ok(()));
        assert!(matches!(error, Err(CommandError::TimedOut { .. })));
    }
}
