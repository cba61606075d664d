//! How a server and its clients run, and how they end.
//!
//! ```text
//! test ── unshare --ipc ─exec─ setpriv ─exec─ postgres (postmaster) ── backends
//!   └──── sh (removes the folder)
//! ```
//!
//! The kernel kills the postmaster when the test dies (`--pdeathsig`); its children see that and end by themselves.
//! What the postmaster cannot clean up then: its System V segment goes with the IPC namespace, its dynamic shared
//! memory lies in the data directory (set by the builder). So one of a server's two guards against a second server on the
//! same data directory is blind here, the segment; the other one, `postmaster.pid`, is as always.
//!
//! The kernel takes the end of the *thread* that started a process for the death of its parent. So one thread that
//! never ends starts all servers: a test may make a server in a thread and hand it on.
//!
//! Nothing here is ended by its name.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait_for;

/// Becomes user `postgres`, and ends when its parent does. Set after the change of user, which would undo it.
const BECOME: [&str; 4] = ["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=KILL"];

/// What a client program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Prepares `program` as user `postgres`, with an environment that tells it nothing.
pub(crate) fn as_postgres(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(BECOME).arg(program);
    seal(&mut command, folder);
    command
}

/// Prepares a server: like a client, but its System V memory goes with it.
pub(crate) fn server(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--ipc", "setpriv"]).args(BECOME).arg(program);
    seal(&mut command, folder);
    command
}

/// Without this, `PGHOST` and the like of whoever runs the tests would count. The folder is one that `postgres` can
/// enter: the test's own may lie in root's home.
fn seal(command: &mut Command, folder: &Path) {
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("HOME", folder);
    command.current_dir(folder).stdin(Stdio::null());
}

/// Runs a client to its end.
pub(crate) fn run(mut command: Command, input: Option<&str>) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pipe = child.stdin.take();
    // From a thread: long input and long output must not wait for each other.
    let output = thread::scope(|scope| {
        scope.spawn(move || {
            if let (Some(mut pipe), Some(text)) = (pipe, input) {
                // A client that ends early closes the pipe; what it said tells why.
                drop(pipe.write_all(text.as_bytes()));
            }
        });
        child.wait_with_output().expect("the output of an own child")
    });
    Said {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program that must succeed, and returns its standard output.
pub(crate) fn run_well(command: Command) -> String {
    let name = format!("{command:?}");
    let said = run(command, None);
    assert!(said.status.success(), "{name}: {}\n{}{}", said.status, end_of(&said.stdout), said.stderr);
    said.stdout
}

/// Megabytes of output hide the reason.
fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].iter().map(|line| format!("{line}\n")).collect()
}

/// Starts a server, with its output appended to `log`.
pub(crate) fn spawn(mut command: Command, log: &Path) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
    command.stdout(log.try_clone().expect("a second handle")).stderr(log).process_group(0);
    let (answer, child) = channel();
    starter().lock().expect("no test panics inside").send((command, answer)).expect("it never ends");
    child.recv().expect("it always answers").expect("`unshare` runs")
}

type Order = (Command, Sender<io::Result<Child>>);

/// Returns the way to the thread that starts all servers of this process.
fn starter() -> &'static Mutex<Sender<Order>> {
    static STARTER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // Nobody waits for it when the test has failed meanwhile; the handle of the child is lost then, and
                // the process ends with this one.
                drop(answer.send(command.spawn()));
            }
        });
        Mutex::new(orders)
    })
}

/// Tells whether the server `pid` on `data` accepts connections.
///
/// Source: `postmaster.pid`, whose eighth line the server keeps for `pg_ctl`: `ready`, or `standby` during recovery.
pub(crate) fn is_ready(data: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && matches!(lines.get(7), Some(&("ready" | "standby")))
}

/// Sends `signal` and waits for the end.
pub(crate) fn end(server: &mut Child, signal: Signal, deadline: Duration) {
    // It is not waited for yet: the id is still its own.
    kill_process(Pid::from_child(server), signal).ok();
    wait_for("the end of the server", deadline, || server.try_wait().expect("the state of an own child"));
}

/// Ends the children of a server that was killed.
pub(crate) fn kill_all(pids: &[u32]) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended by itself meanwhile.
        kill_process(pid, Signal::KILL).ok();
    }
}

/// Returns the ids of all processes that work in `folder`, as all processes of a server do in its data directory.
pub fn processes_in(folder: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc");
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|at| at == folder))
        .collect()
}
