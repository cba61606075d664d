//! Reads which commit the files of a component are, where they lie in a git checkout.
//!
//! In: paths, and what the configuration asks of the remote. Out: checkouts for the record of the backup, or why a backup
//! is refused. Everything is asked of the operator's own `git`, so that its credentials and its network settings count.
//!
//! Root does not run what a checkout's owner has configured there (filters, hooks, ssh commands): as root, git runs as
//! the owner. Else it runs as this user, told by `safe.directory` that this one checkout is meant.
//!
//! It changes no checkout (no fetch, no lock, no refreshed index), asks nobody for a password, and goes to the network
//! only where `remote: required` wants it. No credentials of a URL leave it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_types::{Explain, Kind, backup::Checkout, config::GitPolicy, event::Watcher};

use super::show::show;
use crate::{
    DriverError,
    command::{CommandError, Ended, Invocation},
};

/// For questions about a checkout: a large one takes some seconds to compare.
const LOCAL_TIMEOUT: Duration = Duration::from_mins(2);
/// For a remote, which may be far away; a firewall that swallows everything must not hold a backup for longer.
const REMOTE_TIMEOUT: Duration = Duration::from_mins(1);
/// A remote with more branches and tags than fit is not judged wrongly: it is refused.
const REFS_BYTES_MAX: usize = 16 << 20;
/// Digits of a commit that people read.
const SHORT: usize = 12;
/// What would let git look at another repository than the one that is meant.
const VARIABLES: [&str; 5] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"];

/// What was found, and what somebody should know of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) checkouts: Vec<Checkout>,
    pub(super) warnings: Vec<String>,
}

/// Reads the checkouts that the paths lie in.
///
/// # Errors
/// Only where the remote is required: `Config`: a path lies in none, or it has no remote. `Unavailable`: the remote does
/// not answer, or git is not there. `Conflict`: the remote does not have the commit.
pub(super) fn look(
    component: &str,
    paths: &[PathBuf],
    policy: Option<GitPolicy>,
    watcher: &dyn Watcher,
) -> Result<Found, DriverError> {
    let is_needed = policy.is_some_and(GitPolicy::needs_remote);
    let mut found = Found::default();
    for path in paths {
        let Some(git) = Git::around(path, watcher) else {
            if is_needed {
                let message = format!("{} of component `{component}` lies in no git checkout", show(path));
                return Err(DriverError::new(Kind::Config, message)
                    .with_hint("name a path in a checkout, or leave `git` out"));
            }
            continue;
        };
        match git.checkout(component, path, is_needed) {
            Ok(checkout) => {
                if is_needed && checkout.is_dirty {
                    found.warnings.push(format!(
                        "{} has changes that are in no commit: the remote does not have them",
                        show(path)
                    ));
                }
                found.checkouts.push(checkout);
            }
            Err(error) if is_needed || error.kind() == Kind::Interrupted => return Err(error),
            // The files themselves are backed up all the same.
            Err(error) => {
                found.warnings.push(format!("the commit of {} is not recorded: {error}", show(path)));
            }
        }
    }
    Ok(found)
}

/// One checkout, and how git is asked about it.
struct Git<'a> {
    top: PathBuf,
    /// In front of `git`, to run it as the checkout's owner.
    user: Vec<String>,
    home: Option<String>,
    watcher: &'a dyn Watcher,
}

impl<'a> Git<'a> {
    /// Finds the checkout that a path lies in.
    fn around(path: &Path, watcher: &'a dyn Watcher) -> Option<Self> {
        let real = path.canonicalize().ok()?;
        let top = real.ancestors().find(|folder| fs::symlink_metadata(folder.join(".git")).is_ok())?;
        let owner = fs::metadata(top).ok()?;
        let is_other = rustix::process::geteuid().is_root() && owner.uid() != 0;
        let (user, home) = if is_other { as_user(owner.uid(), owner.gid()) } else { (Vec::new(), None) };
        Some(Self { top: top.to_owned(), user, home, watcher })
    }

    fn checkout(&self, component: &str, path: &Path, is_needed: bool) -> Result<Checkout, DriverError> {
        let commit = self.line(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"])?.ok_or_else(|| {
            DriverError::new(
                Kind::Conflict,
                format!("the git checkout {} has no commit yet", show(&self.top)),
            )
            .with_hint("commit and push first")
        })?;
        let branch = self.line(&["symbolic-ref", "--quiet", "--short", "HEAD"])?;
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let real = real.to_string_lossy();
        let is_dirty =
            self.line(&["status", "--porcelain", "--untracked-files=normal", "--", &real])?.is_some();
        let key = branch.as_ref().map(|branch| format!("branch.{branch}.remote"));
        let named = key.map(|key| self.line(&["config", "--get", &key])).transpose()?.flatten();
        let name = named.unwrap_or_else(|| "origin".into());
        let url = self.line(&["remote", "get-url", &name])?;
        let remote = url.as_deref().map(without_login);
        let on_remote = if is_needed {
            let (Some(url), Some(clean)) = (&url, &remote) else {
                let message = format!("the git checkout {} has no remote `{name}`", show(&self.top));
                return Err(DriverError::new(Kind::Config, message)
                    .with_hint("add one with `git remote add`, or write `git: {remote: optional}`"));
            };
            self.require(component, &commit, &name, (url, clean))?;
            Some(true)
        } else {
            None
        };
        Ok(Checkout { path: path.to_owned(), commit, branch, is_dirty, remote, on_remote })
    }

    /// Asks the remote for its branches and tags: one of them must hold the commit.
    fn require(
        &self,
        component: &str,
        commit: &str,
        name: &str,
        (url, clean): (&str, &str),
    ) -> Result<(), DriverError> {
        let silent = |why: String| {
            let message = format!("the git remote {clean} of component `{component}` does not answer: {why}");
            DriverError::new(Kind::Unavailable, message).with_hint(format!(
                "try it by hand: `git -C {} ls-remote {name}`; without it no backup is made, because the component says `git: {{remote: required}}`",
                show(&self.top)
            ))
        };
        let ended = match self.run(&["ls-remote", name], None, REMOTE_TIMEOUT) {
            Err(CommandError::TimedOut { timeout, .. }) => {
                return Err(silent(format!("nothing came within {timeout}")));
            }
            other => other.map_err(|error| DriverError::of(&error))?,
        };
        if !ended.is_success() {
            return Err(silent(reason(&ended).replace(url, clean)));
        }
        let listed = ended.stdout.text();
        let there: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
        if there.contains(&commit) {
            return Ok(());
        }
        // What the remote has and this checkout does not know says nothing: then the commit is not seen there.
        let mut input = format!("{commit}\n");
        for id in &there {
            input.push_str(&format!("^{id}\n"));
        }
        let arguments = ["rev-list", "--ignore-missing", "--max-count=1", "--stdin"];
        let ended =
            self.run(&arguments, Some(input), LOCAL_TIMEOUT).map_err(|error| DriverError::of(&error))?;
        if ended.is_success() && ended.stdout.text().trim().is_empty() && !there.is_empty() {
            return Ok(());
        }
        let short = commit.get(..SHORT).unwrap_or(commit);
        let message = format!("commit {short} of component `{component}` is not on its git remote {clean}");
        Err(DriverError::new(Kind::Conflict, message).with_hint(format!(
            "push it: `git -C {0} push`; if it is there, `git -C {0} fetch` lets this checkout know",
            show(&self.top)
        )))
    }

    /// Returns the first line of an answer; `None` when git says that there is none.
    fn line(&self, arguments: &[&str]) -> Result<Option<String>, DriverError> {
        let ended = self.run(arguments, None, LOCAL_TIMEOUT).map_err(|error| DriverError::of(&error))?;
        if ended.is_success() {
            let text = ended.stdout.text();
            return Ok(text
                .lines()
                .next()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty()));
        }
        // Without an answer git ends silently, or with the line of a plain question.
        let is_question =
            matches!(arguments.first(), Some(&("rev-parse" | "symbolic-ref" | "config" | "remote")));
        let why = ended.stderr.text().trim().to_owned();
        if is_question && (why.is_empty() || why.contains("No such remote")) {
            return Ok(None);
        }
        let message = format!("git cannot read the checkout {}: {}", show(&self.top), ended.last_lines(1));
        Err(DriverError::new(Kind::Unavailable, message)
            .with_hint(format!("try it by hand: `git -C {} status`", show(&self.top))))
    }

    fn run(
        &self,
        arguments: &[&str],
        input: Option<String>,
        timeout: Duration,
    ) -> Result<Ended, CommandError> {
        let top = self.top.to_string_lossy().into_owned();
        let mut argv = self.user.clone();
        argv.extend(["git", "-c"].map(str::to_owned));
        argv.push(format!("safe.directory={top}"));
        // Both would run a program of the checkout's choice.
        argv.extend(
            ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C"].map(str::to_owned),
        );
        argv.push(top);
        argv.extend(arguments.iter().map(|one| (*one).to_owned()));
        let mut invocation = Invocation::new(argv, timeout);
        invocation.without = VARIABLES.map(str::to_owned).to_vec();
        invocation.env = [
            ("LC_ALL", "C"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("SSH_ASKPASS", "/bin/false"),
            ("SSH_ASKPASS_REQUIRE", "force"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        invocation.env.extend(self.home.iter().map(|home| ("HOME".to_owned(), home.clone())));
        invocation.output_bytes_max = REFS_BYTES_MAX;
        invocation.input = input.map(String::into_bytes);
        invocation.run(self.watcher)
    }
}

/// Returns the line in which git says what is wrong; advice stands behind it.
fn reason(ended: &Ended) -> String {
    let text = ended.stderr.text();
    let told = text.lines().find_map(|line| line.strip_prefix("fatal: "));
    told.map_or_else(|| ended.last_lines(1), str::to_owned)
}

/// What runs a program as another user, and that user's home.
fn as_user(uid: u32, gid: u32) -> (Vec<String>, Option<String>) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let fields: Option<Vec<&str>> = passwd
        .lines()
        .map(|line| line.split(':').collect())
        .find(|fields: &Vec<&str>| fields.get(2).is_some_and(|id| *id == uid.to_string()));
    let home = fields.and_then(|fields| fields.get(5).map(|home| (*home).to_owned()));
    // Only a user who is known has groups of their own.
    let groups = if home.is_some() { "--init-groups" } else { "--clear-groups" };
    let words = [
        "setpriv".to_owned(),
        format!("--reuid={uid}"),
        format!("--regid={gid}"),
        groups.into(),
        "--".into(),
    ];
    (words.to_vec(), Some(home.unwrap_or_else(|| "/nonexistent".into())))
}

/// Takes user, password and query out of a URL; of `git@host:path` nothing is secret.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = match host.rsplit_once('@') {
        // The user of ssh is a part of the place; everywhere else it may be the token itself.
        Some((login, host)) if scheme.contains("ssh") => {
            format!("{}@{host}", login.split(':').next().unwrap_or_default())
        }
        Some((_, host)) => host.to_owned(),
        None => host.to_owned(),
    };
    format!("{scheme}://{host}{}", path.split(['?', '#']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::without_login;

    #[test]
    fn no_part_of_a_login_stays_in_a_url() {
        for (url, clean) in [
            ("https://dana:geheim@git.example.org/ops.git", "https://git.example.org/ops.git"),
            ("https://ghp_token@git.example.org/ops.git?x=y", "https://git.example.org/ops.git"),
            ("https://a:b@c@git.example.org:8443/ops", "https://git.example.org:8443/ops"),
            ("ssh://git:geheim@git.example.org/ops", "ssh://git@git.example.org/ops"),
            ("git@git.example.org:ops.git", "git@git.example.org:ops.git"),
            ("file:///srv/git/ops.git", "file:///srv/git/ops.git"),
            ("/srv/git/ops.git", "/srv/git/ops.git"),
        ] {
            assert_eq!(without_login(url), clean);
        }
    }
}
