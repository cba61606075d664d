//! The folder of a server, and the shell that removes it.
//!
//! In: nothing. Out: a folder directly under `/tmp` (a socket's path has at most 107 bytes), owned by user `postgres`.
//!
//! A test that was killed cannot remove its folder: so a shell does it, which waits for the end of its standard input.
//! That comes when the handle is dropped, and also when the process dies. Neither the folder nor a process that works
//! in it ever stays.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use super::debian;

/// In `$1`, the folder, and `$2`, the data directory, only processes of this server work. They are ended by their ids: a
/// backend in the middle of a query does not notice that its postmaster has died. Again and again, as they still write.
/// `$3` is the configuration of Debian's cluster, if one was made: Debian's own program takes that away.
const REMOVE: &str = r#"
read -r _
for _ in $(seq 100); do
    pids=$(find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$1/*" -o -lname "$2" \) 2>/dev/null | cut -d/ -f3)
    [ ! -d "$3" ] || pg_dropcluster --stop 15 "${3##*/}"
    rm -rf -- "$1" && [ -z "$pids" ] && exit 0
    kill -9 $pids
    sleep 0.05
done
exit 1"#;

/// The folder of one server.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    remover: Child,
}

impl Home {
    /// Makes the folder of a server on `data`, or with its data directory inside.
    pub(crate) fn new(data: Option<&Path>) -> Self {
        assert!(rustix::process::getuid().is_root(), "throwaway servers need root: run the tests as root");
        let folder =
            tempfile::Builder::new().prefix("muster-pg-").tempdir_in("/tmp").expect("a folder in /tmp");
        // A group of its own: what kills the test's group must not reach it.
        let remover = Command::new("/bin/sh")
            .args(["-c", REMOVE, "remove"])
            .arg(folder.path())
            .arg(data.unwrap_or(&folder.path().join("data")))
            .arg(debian::config(&debian::cluster(folder.path())))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()
            .expect("a shell");
        let home = Self { folder: folder.keep(), remover };
        give(&home.folder, 0o755);
        for part in [home.sockets(), home.scratch(), home.tls()] {
            make(&part);
        }
        home
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn sockets(&self) -> PathBuf {
        self.folder.join("s")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    pub(crate) fn tls(&self) -> PathBuf {
        self.folder.join("tls")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("etc")
    }

    /// The name of Debian's cluster, should the server become one.
    pub(crate) fn cluster(&self) -> String {
        debian::cluster(&self.folder)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn tablespace(&self, name: &str) -> PathBuf {
        self.folder.join(format!("tablespace-{name}"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let is_removed = self.remover.wait().is_ok_and(|status| status.success());
        assert!(is_removed || thread::panicking(), "{} could not be removed", self.folder.display());
    }
}

/// Makes a folder for user `postgres`.
pub(crate) fn make(folder: &Path) {
    fs::create_dir(folder).expect("a folder of the server");
    give(folder, 0o755);
}

/// Writes a file for user `postgres`, which only that user can read.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file of the server");
    give(path, 0o600);
}

/// Gives `path` to user `postgres`.
pub(crate) fn give(path: &Path, mode: u32) {
    let (user, group) = ids();
    chown(path, Some(user), Some(group)).expect("root may give files away");
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("its mode");
}

/// Returns the ids of user `postgres` and of its group.
fn ids() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let fields: Vec<&str> = users
        .lines()
        .map(|line| line.split(':').collect())
        .find(|fields: &Vec<&str>| fields.first() == Some(&super::SUPERUSER))
        .expect("a user `postgres`: run `cargo xtask servers`");
    (fields[2].parse().expect("a user id"), fields[3].parse().expect("a group id"))
}
