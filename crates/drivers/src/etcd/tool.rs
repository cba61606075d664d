//! Makes data directories out of a snapshot, with the operator's own `etcdutl` or `etcdctl`.
//!
//! In: a snapshot, the members of the new cluster and a folder. Out: `member/` in that folder, whole and on disk, or an
//! error. What a tool can do is read in its help, not in its version: newer ones raise the revision, so that no watcher
//! sees it go back, and mark all before it as compacted, so that every watcher starts anew.

use std::{
    collections::HashSet,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use muster_repo::durable;
use muster_types::{Kind, config::EtcdMember, event::Watcher};
use walkdir::WalkDir;

use crate::{
    DriverError,
    command::{Ended, Invocation},
    processes::{inode, open_by},
    scratch::find_program,
    snapshot::{damaged, failed, make_folder, remove_folder},
};

/// By how much the revision is raised: more than any cluster writes between a snapshot and its loss.
const BUMP: &str = "1000000000";
/// A help text takes no time.
const HELP_WITHIN: Duration = Duration::from_secs(30);
/// It reads a whole database.
const STATUS_WITHIN: Duration = Duration::from_mins(2);
/// Where the tool writes, in the folder of a member.
const MADE: &str = "made";
/// What a data directory consists of.
pub(super) const MEMBER: &str = "member";

/// A program, and what it can do.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    program: PathBuf,
    pub(super) can_bump: bool,
    can_mark: bool,
}

/// A new cluster.
pub(super) struct Cluster<'a> {
    /// For messages.
    pub(super) component: &'a str,
    pub(super) snapshot: &'a Path,
    pub(super) members: &'a [EtcdMember],
    /// Tells clusters apart: members of an older one do not talk to it.
    pub(super) token: &'a str,
    /// Whether watchers may remember a later revision than the snapshot's.
    pub(super) may_bump: bool,
}

impl Tool {
    /// Finds it, and reads its help.
    ///
    /// # Errors
    /// `Config`: the configured folder has none. `Unavailable`: this host has none.
    pub(super) fn find(bin_dir: Option<&Path>, watcher: &dyn Watcher) -> Result<Self, DriverError> {
        let Some(program) = find_program(bin_dir, &["etcdutl", "etcdctl"])? else {
            return Err(DriverError::new(Kind::Unavailable, "this host has neither `etcdutl` nor `etcdctl`")
                .with_hint(
                    "install them (Debian: `apt-get install etcd-client`), or name their folder in `bin_dir`",
                ));
        };
        let mut tool = Self { program, can_bump: false, can_mark: false };
        let ended =
            tool.run(&["snapshot", "restore", "--help"].map(ToOwned::to_owned), HELP_WITHIN, watcher)?;
        let help = format!("{}{}", ended.stdout.text(), ended.stderr.text());
        tool.can_bump = help.contains("--bump-revision");
        tool.can_mark = help.contains("--mark-compacted");
        Ok(tool)
    }

    /// Returns the program's name, for people.
    pub(super) fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the revision of the database in a data directory; `None` where there is none, or somebody has it open.
    pub(super) fn revision_of(&self, data_dir: &Path, watcher: &dyn Watcher) -> Option<u64> {
        let database = data_dir.join(MEMBER).join("snap/db");
        // One that a server has open would be waited for without an end.
        if !open_by(&HashSet::from([inode(&database)?])).is_empty() {
            return None;
        }
        let path = database.display().to_string();
        let args = ["snapshot", "status", &path, "--write-out=json"].map(ToOwned::to_owned);
        let ended = self.run(&args, STATUS_WITHIN, watcher).ok().filter(Ended::is_success)?;
        let told: serde_json::Value = serde_json::from_str(ended.stdout.complete_text()?).ok()?;
        told["revision"].as_u64()
    }

    /// Makes `folder/member` for the member with this number; one that is there already is left alone.
    ///
    /// # Errors
    /// `Corrupt`: the tool refuses the snapshot. `Unavailable`: it cannot write. Nothing of `member` is there then.
    pub(super) fn make(
        &self,
        cluster: &Cluster<'_>,
        number: usize,
        folder: &Path,
        watcher: &dyn Watcher,
    ) -> Result<(), DriverError> {
        if folder.join(MEMBER).exists() {
            return Ok(());
        }
        let Some(member) = cluster.members.get(number) else {
            return Err(DriverError::new(Kind::Bug, format!("there is no member {number}")));
        };
        let made = folder.join(MADE);
        remove_folder(&made)?;
        let all: Vec<String> =
            cluster.members.iter().map(|one| format!("{}={}", one.name, one.peer_url)).collect();
        let mut args: Vec<String> = ["snapshot", "restore"].map(ToOwned::to_owned).into();
        args.push(cluster.snapshot.display().to_string());
        args.extend([
            format!("--data-dir={}", made.display()),
            format!("--name={}", member.name),
            format!("--initial-cluster={}", all.join(",")),
            format!("--initial-cluster-token={}", cluster.token),
            format!("--initial-advertise-peer-urls={}", member.peer_url),
        ]);
        if cluster.may_bump && self.can_bump {
            args.push(format!("--bump-revision={BUMP}"));
            if self.can_mark {
                args.push("--mark-compacted".into());
            }
        }
        let ended = self.run(&args, Duration::MAX / 4, watcher)?;
        if !ended.is_success() {
            let why = ended.last_lines(2);
            drop(remove_folder(&made));
            if why.contains("no space left") || why.contains("permission denied") {
                let message = format!("{} cannot write {}: {why}", self.name(), folder.display());
                return Err(
                    DriverError::new(Kind::Unavailable, message).with_hint("make room, or give the right")
                );
            }
            return Err(damaged(
                cluster.component,
                &format!("{} does not take its snapshot: {why}", self.name()),
            ));
        }
        sync_all(&made).map_err(|error| failed("sync", &made, error))?;
        let (from, to) = (made.join(MEMBER), folder.join(MEMBER));
        durable::rename(&from, &to).map_err(|error| failed("rename", &from, error))?;
        remove_folder(&made)
    }

    fn run(&self, args: &[String], within: Duration, watcher: &dyn Watcher) -> Result<Ended, DriverError> {
        let argv = std::iter::once(self.program.display().to_string()).chain(args.iter().cloned());
        let mut invocation = Invocation::new(argv, within);
        invocation.env = vec![("ETCDCTL_API".into(), "3".into()), ("LC_ALL".into(), "C".into())];
        // It must not go where the operator's shell points: it works on files alone.
        invocation.without = ["ETCDCTL_ENDPOINTS", "ETCDCTL_USER", "ETCDCTL_PASSWORD", "ETCDCTL_WRITE_OUT"]
            .map(ToOwned::to_owned)
            .into();
        invocation.run(watcher).map_err(|error| DriverError::of(&error))
    }
}

/// Brings everything below a folder to the disk.
fn sync_all(folder: &Path) -> std::io::Result<()> {
    for entry in WalkDir::new(folder).contents_first(true) {
        File::open(entry?.path())?.sync_all()?;
    }
    Ok(())
}

/// Gives what was made to whom the former data belongs, so that the server can open it.
///
/// # Errors
/// `Unavailable`: this user may not.
pub(super) fn give_to_owner_of(former: &Path, made: &Path) -> Result<(), DriverError> {
    let Ok(owner) = fs::metadata(former) else { return Ok(()) };
    for entry in WalkDir::new(made) {
        let entry = entry.map_err(|error| failed("look at", made, error.into()))?;
        let own = entry.metadata().map_err(|error| failed("look at", entry.path(), error.into()))?;
        if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
            std::os::unix::fs::lchown(entry.path(), Some(owner.uid()), Some(owner.gid()))
                .map_err(|error| failed("change the owner of", entry.path(), error))?;
        }
    }
    Ok(())
}

/// Makes the folder of a member, unless it is there.
pub(super) fn make_member_folder(folder: &Path) -> Result<(), DriverError> {
    if folder.join(MEMBER).exists() || folder.is_dir() { Ok(()) } else { make_folder(folder) }
}
