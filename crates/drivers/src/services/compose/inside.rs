//! What goes on inside a service's containers: commands that are run there, and everything that was logged.
//!
//! `docker exec` leaves its command running when the client dies. So each command gets a mark in its environment; when the
//! client is ended before its time, whatever carries the mark is ended too, and before a new command is run, whatever
//! carries the mark of a Muster that has died. On this host that is done through `/proc`, else by a shell inside.
//!
//! A text for a shell goes through the environment, not through arguments: every user of the host can read those.

use std::{
    fs,
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Kind, Mask,
    event::{Unwatched, Watcher},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{Compose, KNOWN};
use crate::{
    DriverError,
    command::{CommandError, Ended, Exit, Invocation},
    services::{LOGS_TIMEOUT, containers::Container, line, not_run},
};

/// How long a command inside may run when nobody ends it earlier.
const EXEC_TIMEOUT: Duration = Duration::from_hours(1);
/// How long a marked process may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// The mark: `OWNER-START-NUMBER`, with the owner's process id and start time.
const MARK: &str = "MUSTER_EXEC";
/// Holds the text for a shell.
const TEXT: &str = "MUSTER_EXEC_TEXT";
/// What a shell inside does to processes with the mark of its first argument.
const END_INSIDE: &str = "for e in /proc/[0-9]*/environ; do if grep -q \"MUSTER_EXEC=$1\" \"$e\" 2>/dev/null; then \
                          p=${e%/environ}; kill -9 \"${p#/proc/}\"; fi; done";

/// Numbers the commands of this process.
static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Compose {
    pub(super) fn run_inside(&self, command: &[String], watcher: &dyn Watcher) -> Result<Ended, DriverError> {
        let verb = "run a command in";
        let all = self.containers(verb, watcher)?;
        let Some(container) = all.iter().find(|one| one.is_running()) else {
            let states: Vec<String> =
                all.iter().map(|one| format!("{} is {}", one.name(), one.state.status)).collect();
            let states = if states.is_empty() { "there is none".to_owned() } else { states.join(", ") };
            let message =
                format!("cannot run a command in service `{}`: no container of it runs: {states}", self.name);
            return Err(DriverError::new(Kind::Unavailable, message)
                .with_hint("start it first: `muster service start`"));
        };
        let orphans = orphans();
        end_marked(|mark| orphans.iter().any(|one| one == mark));
        let mark = format!("{}-{}", owner(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut argv: Vec<String> =
            ["docker", "exec", "--env", &format!("{MARK}={mark}")].map(str::to_owned).to_vec();
        let mut env = Vec::new();
        match command {
            [shell, option, text] if option == "-c" => {
                argv.extend(["--env".to_owned(), TEXT.to_owned(), container.id.clone()]);
                argv.extend([shell.clone(), "-c".to_owned(), format!("eval \"${TEXT}\"")]);
                env.push((TEXT.to_owned(), text.clone()));
            }
            _ => {
                argv.push(container.id.clone());
                argv.extend(command.iter().cloned());
            }
        }
        let mut invocation = Invocation::new(&argv, EXEC_TIMEOUT);
        invocation.env = env;
        let result = invocation.run(watcher);
        if !matches!(&result, Ok(ended) if matches!(ended.exit, Exit::Code(_))) {
            self.end_inside(container, &mark);
        }
        let ended = result.map_err(|error| not_run(&self.name, verb, error))?;
        let said = ended.stderr.text();
        // Exit codes of `docker exec` itself; a command may use the same ones, so its words count too.
        let is_of_docker = ended.exit == Exit::Code(125) && said.contains("Error")
            || matches!(ended.exit, Exit::Code(126 | 127 | 1))
                && ["OCI runtime exec failed", "Error response from daemon", "Error: No such container"]
                    .iter()
                    .any(|words| format!("{said}{}", ended.stdout.text()).contains(words));
        if is_of_docker {
            let shown: Vec<String> = command.iter().take(1).cloned().collect();
            let message = format!(
                "cannot run `{}` in container {} of service `{}`: {}",
                line(&shown),
                container.name(),
                self.name,
                ended.last_lines(2)
            );
            return Err(DriverError::new(Kind::NotFound, message)
                .with_hint("is the program in the image? A shell line needs `sh` in it"));
        }
        Ok(ended)
    }

    /// Ends what the command has left in the container.
    fn end_inside(&self, container: &Container, mark: &str) {
        if end_marked(|other| other == mark) > 0 {
            return;
        }
        // Not on this host, or not visible to this user.
        let argv = ["docker", "exec", &container.id, "sh", "-c", END_INSIDE, "sh", mark];
        match Invocation::new(argv, super::STATUS_TIMEOUT).run(&Unwatched) {
            Ok(ended) if ended.is_success() => {}
            Ok(ended) => log::warn!("service `{}`: {}", self.name, ended.last_lines(1)),
            Err(error) => log::warn!("service `{}`: {error}", self.name),
        }
    }

    /// Writes the logs of all containers of the service, the oldest first.
    pub(super) fn write_logs(
        &self,
        since: Option<Duration>,
        sink: &mut dyn Write,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        let verb = "read the log of";
        let all = self.containers(verb, watcher)?;
        let mask = Mask::new(all.iter().flat_map(secrets));
        if all.is_empty() {
            let text = format!("==> service {} has no container, and so no log\n", self.name);
            return sink.write_all(text.as_bytes()).map_err(|error| self.not_written(error));
        }
        for container in all.iter().rev() {
            let header = format!(
                "==> container {} ({}), image {} ({}), {} with exit code {}, made {}, last start {}, started again {} times\n",
                container.name(),
                container.short_id(),
                container.image_name(),
                super::history::short(&container.image),
                container.state.status,
                container.state.exit_code,
                container.created,
                container.started_at().map_or_else(|| "never".to_owned(), |at| at.to_string()),
                container.restarts(),
            );
            sink.write_all(header.as_bytes()).map_err(|error| self.not_written(error))?;
            let mut argv = vec!["docker".to_owned(), "logs".to_owned(), "--timestamps".to_owned()];
            if let Some(since) = since {
                argv.extend(["--since".to_owned(), format!("{}s", since.as_secs().max(1))]);
            }
            argv.push(container.id.clone());
            let mut last = String::new();
            let exit = Invocation::new(&argv, LOGS_TIMEOUT).run_lines(watcher, |line| {
                last = mask.apply(&String::from_utf8_lossy(line));
                sink.write_all(last.as_bytes()).map_err(NotDone::Write)
            });
            match exit {
                Ok(Exit::Code(0)) => {}
                // Removed while we read others.
                Ok(_) if last.contains("No such container") => {}
                Ok(exit) => {
                    let message = format!("cannot {verb} service `{}`: {exit}: {}", self.name, last.trim());
                    let known = KNOWN.iter().find(|(part, ..)| last.to_lowercase().contains(part));
                    let hint = known.map_or_else(
                        || format!("run it by hand: {}", line(&argv)),
                        |(.., hint)| (*hint).to_owned(),
                    );
                    return Err(DriverError::new(Kind::Unavailable, message).with_hint(hint));
                }
                Err(NotDone::Command(error)) => return Err(not_run(&self.name, verb, error)),
                Err(NotDone::Write(error)) => return Err(self.not_written(error)),
            }
            if !last.is_empty() && !last.ends_with('\n') {
                sink.write_all(b"\n").map_err(|error| self.not_written(error))?;
            }
        }
        Ok(())
    }

    fn not_written(&self, error: std::io::Error) -> DriverError {
        DriverError::new(Kind::Unavailable, format!("cannot write the log of service `{}`", self.name))
            .with_source(error)
            .with_hint("is there room on the disk? `--since 1h` takes less")
    }
}

/// Why a log was not handed on.
enum NotDone {
    Command(CommandError),
    Write(std::io::Error),
}

impl From<CommandError> for NotDone {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

/// Returns the values of a container's environment that are secrets by their names, and passwords in addresses.
fn secrets(container: &Container) -> Vec<String> {
    const WORDS: [&str; 6] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "KEY", "CREDENTIAL"];
    let mut found = Vec::new();
    for (name, value) in container.env() {
        let name = name.to_uppercase();
        // `…_FILE` names where the secret lies.
        if WORDS.iter().any(|word| name.contains(word)) && !name.ends_with("_FILE") {
            found.push(value.to_owned());
        }
        let login = value.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
        if let Some((_, password)) = login.and_then(|(login, _)| login.split_once(':')) {
            found.push(password.to_owned());
        }
    }
    found
}

/// Who ends its commands itself as long as it lives: `PID-START`.
fn owner() -> String {
    let pid = std::process::id();
    format!("{pid}-{}", started(&pid.to_string()).unwrap_or_default())
}

fn is_owner_alive(mark: &str) -> bool {
    let mut parts = mark.splitn(3, '-');
    let (Some(pid), Some(start)) = (parts.next(), parts.next()) else { return true };
    started(pid).is_some_and(|now| now == start)
}

/// Returns the start time of a process in ticks, as the 22nd field of its `stat` has it.
fn started(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

/// Returns the marks of commands that still run, and whose Muster has died.
///
/// What a command has left in the background on purpose when it ended is none of them: the command itself is the one
/// whose parent is outside of the container.
fn orphans() -> Vec<String> {
    let is_command = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)).unwrap_or_default();
        let space = |who: &str| fs::read_link(format!("/proc/{who}/ns/pid")).ok();
        match (space(&pid.to_string()), space(parent)) {
            (Some(own), Some(parents)) => own != parents,
            _ => false,
        }
    };
    let mut marks: Vec<String> = processes()
        .filter_map(|pid| mark_of(pid).filter(|mark| !is_owner_alive(mark) && is_command(pid)))
        .collect();
    marks.sort();
    marks.dedup();
    marks
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Ends all processes of this host whose mark is wanted, and returns how many there were.
fn end_marked(is_wanted: impl Fn(&str) -> bool) -> usize {
    let marked = || -> Vec<Pid> {
        let found = processes().filter(|pid| mark_of(*pid).is_some_and(|mark| is_wanted(&mark)));
        found.filter_map(Pid::from_raw).collect()
    };
    let first = marked();
    let end = Instant::now() + GRACE;
    for pid in &first {
        signal(*pid, Signal::TERM);
    }
    // Asked again each time: a process that ends may leave children, and a number may be given to somebody else.
    while !first.is_empty() {
        let left = marked();
        if left.is_empty() {
            break;
        }
        if Instant::now() >= end {
            for pid in left {
                signal(pid, Signal::KILL);
            }
            break;
        }
        thread::sleep(PAUSE);
    }
    first.len()
}

fn mark_of(pid: i32) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{MARK}=");
    let found = environ.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(prefix.as_bytes()))?;
    Some(String::from_utf8_lossy(found).into_owned())
}

fn signal(pid: Pid, signal: Signal) {
    if let Err(error) = kill_process(pid, signal) {
        // Gone between the look and the signal: that is what was wanted.
        log::debug!("process {pid:?}: {error}");
    }
}
