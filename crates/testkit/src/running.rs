//! A process that goes on while the test looks, so that it can be killed at a chosen moment.
//!
//! Output goes to unnamed temporary files: a process never blocks on a full pipe, and what it said before `kill -9`
//! can still be read. The process leads a process group of its own, and the whole group ends when the handle is
//! dropped.
//!
//! A handle never outlives its process, and never signals anything outside that group.

use std::{
    fs::File,
    io::Write,
    os::unix::{
        fs::FileExt,
        process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{cli::Outcome, wait::wait_for};

/// A process under the test's control.
#[derive(Debug)]
pub struct Running {
    child: Child,
    command: String,
    stdout: File,
    stderr: File,
    masks: Vec<(String, String)>,
}

impl Running {
    pub(crate) fn begin(mut command: Command, input: Option<&str>, masks: Vec<(String, String)>) -> Self {
        let stdout = tempfile::tempfile().expect("a file for stdout");
        let stderr = tempfile::tempfile().expect("a file for stderr");
        command.stdout(stdout.try_clone().expect("a second handle of stdout"));
        command.stderr(stderr.try_clone().expect("a second handle of stderr"));
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let name = describe(&command);
        let mut child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            // A process that ends without reading its input closes the pipe; its outcome tells why.
            drop(pipe.write_all(text.as_bytes()));
        }
        Self { child, command: name, stdout, stderr, masks }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells whether the process has not ended yet.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("the state of an own child").is_none()
    }

    /// Sends `signal` to the process and all that it started.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_alive() {
            let pid = Pid::from_child(&self.child);
            // It may end between the question and the signal; then there is nothing left to signal.
            kill_process_group(pid, signal).ok();
        }
    }

    /// Ends it with `kill -9` and tells whether it was still alive just before.
    pub fn kill(&mut self) -> bool {
        let was_alive = self.is_alive();
        self.signal(Signal::KILL);
        was_alive
    }

    /// Lets it run for `moment`, then ends it with `kill -9`; tells whether it was still alive at that moment.
    pub fn kill_after(&mut self, moment: Duration) -> bool {
        std::thread::sleep(moment);
        self.kill()
    }

    /// Returns what it has written to stdout up to now.
    pub fn stdout_so_far(&mut self) -> String {
        read_whole(&mut self.stdout)
    }

    /// Returns what it has written to stderr up to now.
    pub fn stderr_so_far(&mut self) -> String {
        read_whole(&mut self.stderr)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it is still alive after `deadline`; it is killed then.
    pub fn wait(mut self, deadline: Duration) -> Outcome {
        let what = format!("the end of `{}`", self.command);
        let status: ExitStatus =
            wait_for(&what, deadline, || self.child.try_wait().expect("the state of an own child"));
        Outcome {
            command: self.command.clone(),
            stdout: self.stdout_so_far(),
            stderr: self.stderr_so_far(),
            code: status.code(),
            signal: status.signal(),
            masks: self.masks.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        drop(self.child.wait());
    }
}

fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Reads at an offset: the process shares the file's position, and a seek here would make it overwrite itself.
fn read_whole(file: &mut File) -> String {
    let size = file.metadata().expect("the size of an own file").len();
    let mut bytes = vec![0; usize::try_from(size).expect("output fits into memory")];
    file.read_exact_at(&mut bytes, 0).expect("output can be read back");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;

    fn sh(script: &str) -> Running {
        Cli::with_binary("/bin/sh", std::env::temp_dir()).spawn(&["-c", script])
    }

    #[test]
    fn a_killed_process_leaves_what_it_said() {
        let mut running = sh("echo begun; sleep 60");
        wait_for("the first line", Duration::from_secs(10), || {
            (running.stdout_so_far() == "begun\n").then_some(())
        });
        assert!(running.kill());
        let outcome = running.wait(Duration::from_secs(10));
        assert_eq!((outcome.code, outcome.signal, outcome.stdout.as_str()), (None, Some(9), "begun\n"));
    }

    #[test]
    fn kill_tells_that_a_process_had_already_ended() {
        let mut running = sh("exit 0");
        wait_for("its end", Duration::from_secs(10), || (!running.is_alive()).then_some(()));
        assert!(!running.kill());
    }

    #[test]
    fn dropping_the_handle_ends_the_children_too() {
        let mut running = sh("sleep 60 & echo $!; wait");
        let child = wait_for("the child's id", Duration::from_secs(10), || {
            running.stdout_so_far().trim().parse::<u32>().ok()
        });
        drop(running);
        wait_for("the end of the child", Duration::from_secs(10), || {
            let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            (status.is_empty() || status.contains(") Z ")).then_some(())
        });
    }

    #[test]
    fn reading_early_does_not_disturb_later_output() {
        let mut running = sh("echo one; sleep 0.2; echo two");
        wait_for("one", Duration::from_secs(10), || running.stdout_so_far().contains("one").then_some(()));
        assert_eq!(running.wait(Duration::from_secs(10)).stdout, "one\ntwo\n");
    }
}
