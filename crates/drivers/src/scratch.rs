//! A server of a proof's own, in a folder and a network of its own, that ends with its handle and with Muster.
//!
//! ```text
//! setpriv (ends with us) ─► unshare --net ─► ip link set lo up ─► the server, its output in a file
//! ```
//!
//! In: a command line and a folder. Out: a running process, and whether it really has a network of its own: where the
//! kernel gives none, the caller decides what it may not do. It is never in the journal and never found by its name.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Kind,
    event::{Unwatched, Watcher},
};
use rustix::process::geteuid;

use crate::{DriverError, command::Invocation, snapshot::failed};

/// Brings the loopback of a new network up and becomes the rest.
const LOOPBACK: &str = "ip link set lo up && exec \"$@\"";
/// How long a server may take until it answers: it reads what was restored.
const READY_WITHIN: Duration = Duration::from_mins(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A running server.
pub(crate) struct ScratchProcess {
    child: Child,
    log: PathBuf,
    has_own_network: bool,
}

impl ScratchProcess {
    /// Starts `argv` in `folder`; its output goes to the file `log` there.
    ///
    /// # Errors
    /// `Unavailable`: it cannot be run here.
    pub(crate) fn start(argv: &[String], folder: &Path) -> Result<Self, DriverError> {
        let log = folder.join("log");
        let output = File::create(&log).map_err(|error| failed("make", &log, error))?;
        let errors = output.try_clone().map_err(|error| failed("make", &log, error))?;
        let network = own_network();
        let has_own_network = network.is_some();
        let begin = ["setpriv", "--pdeathsig", "KILL", "--"].map(ToOwned::to_owned);
        let whole: Vec<String> =
            begin.into_iter().chain(network.unwrap_or_default()).chain(argv.iter().cloned()).collect();
        let mut words = whole.iter();
        let program = words.next().cloned().unwrap_or_default();
        let child = Command::new(&program)
            .args(words)
            .current_dir(folder)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", folder)
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(|error| failed("run", Path::new(&program), error))?;
        Ok(Self { child, log, has_own_network })
    }

    /// Tells whether nothing that it sends can leave this host.
    pub(crate) fn has_own_network(&self) -> bool {
        self.has_own_network
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// `Unavailable`: the server has ended, or says nothing in time; `Interrupted`; what `ask` gives as an error.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        watcher: &dyn Watcher,
        mut ask: impl FnMut() -> Result<Option<T>, DriverError>,
    ) -> Result<T, DriverError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            if watcher.is_cancelled() {
                return Err(DriverError::new(Kind::Interrupted, "stopped"));
            }
            let has_ended = self.has_ended();
            if has_ended || Instant::now() > deadline {
                let how = if has_ended { "has ended" } else { "is not ready" };
                let message =
                    format!("the scratch server {how} while it was waited for {what}: {}", self.last_line());
                return Err(DriverError::new(Kind::Unavailable, message));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Returns the last line of its output that tells something.
    pub(crate) fn last_line(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log).into_owned();
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
    }

    fn has_ended(&mut self) -> bool {
        // An error would mean that it is no child of ours any more.
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for ScratchProcess {
    /// What it worked on is thrown away: nothing has to be written out first.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The beginning of a command line that gives a network of its own; `None` where the kernel or the host does not.
fn own_network() -> Option<Vec<String>> {
    let unshare: &[&str] =
        if geteuid().is_root() { &["unshare", "--net"] } else { &["unshare", "--map-root-user", "--net"] };
    let argv: Vec<String> =
        unshare.iter().chain(&["--", "sh", "-c", LOOPBACK, "sh"]).map(|word| (*word).to_owned()).collect();
    let trial = argv.iter().cloned().chain(["true".to_owned()]);
    let ended = Invocation::new(trial, Duration::from_secs(10)).run(&Unwatched);
    ended.is_ok_and(|ended| ended.is_success()).then_some(argv)
}

/// Finds a program: in the configured folder, else in `PATH`, else where packages put it.
///
/// # Errors
/// `Config`: the configured folder does not have it.
pub(crate) fn find_program(
    configured: Option<&Path>,
    names: &[&str],
) -> Result<Option<PathBuf>, DriverError> {
    if let Some(folder) = configured {
        let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
        return match found {
            Some(path) => Ok(Some(path)),
            None => Err(DriverError::new(
                Kind::Config,
                format!("`bin_dir` {} has no program `{}`", folder.display(), names.join("` or `")),
            )
            .with_hint("name the folder of the server's programs, or remove `bin_dir`")),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/local/bin", "/usr/bin", "/opt/vault/bin", "/opt/etcd"].map(PathBuf::from))
        .collect();
    Ok(names
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file())))
}
