//! Makes restored files fit this host: who owns them, where tablespaces lie, which settings a server finds.
//!
//! In: the places of a restored backup, data directory first, then tablespaces in the order of their numbers. Out: a
//! data directory that a server can open there. Every call may be repeated after a crash at any point.
//!
//! It never follows a link and never touches a file outside the places, but for settings that are missing on this host.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use muster_repo::durable;
use muster_types::{Kind, event::Unwatched, plan::SwapMove};
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use walkdir::WalkDir;

use super::{
    replay,
    settings::{self, Server, stored_name},
};
use crate::{DriverError, command::Invocation};

/// The folder of the links to tablespaces.
const LINKS: &str = "pg_tblspc";
/// The user that packages make for the server.
const USER: &str = "postgres";
/// Settings that name places: in a moved configuration they would mean the old host.
const PLACES: [&str; 7] = [
    "data_directory",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "include",
    "include_dir",
    "include_if_exists",
];

/// Who runs the server on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// Finds who shall own a restored data directory: who owns the present one, else the user `postgres`, else who
    /// owns the restored files; without root's rights only oneself.
    ///
    /// # Errors
    /// `Unavailable`: root restores files that no other user may own, and the server refuses to run as root.
    pub(super) fn find(data_dir: Option<&Path>, place: &Path) -> Result<Self, DriverError> {
        let own = Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        if own.uid != 0 {
            return Ok(own);
        }
        let of = |path: &Path| {
            let found = fs::metadata(path).ok().map(|found| Self { uid: found.uid(), gid: found.gid() });
            found.filter(|owner| owner.uid != 0)
        };
        let asked = |flag: &str| {
            let ended = Invocation::new(["id", flag, USER], Duration::from_secs(10)).run(&Unwatched).ok()?;
            ended.stdout.complete_text().filter(|_| ended.is_success())?.trim().parse().ok()
        };
        let named = || Some(Self { uid: asked("-u")?, gid: asked("-g")? });
        data_dir.and_then(of).or_else(named).or_else(|| of(place)).ok_or_else(|| {
            DriverError::new(Kind::Unavailable, "this host has no user `postgres` to run a server as")
                .with_hint("install PostgreSQL, or run Muster as the user that shall own the data directory")
        })
    }

    /// Gives a tree to the owner, when it is not theirs yet.
    pub(super) fn take(self, place: &Path) -> Result<(), DriverError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        for entry in WalkDir::new(place).follow_links(false) {
            let entry = entry.map_err(|error| failed("look at", place, &error.into()))?;
            let found = entry.metadata().map_err(|error| failed("look at", entry.path(), &error.into()))?;
            if found.uid() != self.uid || found.gid() != self.gid {
                let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
                chownat(CWD, entry.path(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|errno| failed("give away", entry.path(), &errno.into()))?;
            }
        }
        Ok(())
    }
}

/// Makes restored files ready to be opened where they lie.
pub(super) fn prepare(places: &[PathBuf], owner: Owner) -> Result<(), DriverError> {
    let Some(data) = places.first() else { return Ok(()) };
    link(data, |target, index| {
        let place = index.and_then(|index| places.get(index));
        // Where they stand as in the backup, the link is right as it is, and goes on being right in another mount.
        let is_right = index.is_some_and(|index| {
            place.is_some_and(|place| {
                data.parent().is_some_and(|above| above.join(index.to_string()) == *place)
            })
        });
        place.filter(|_| !is_right).cloned().or(target)
    })?;
    // A backup that was taken from a standby must not wait for its primary. What stands there later is our own.
    for name in ["standby.signal", "recovery.signal"].iter().filter(|_| replay::is_untouched(data)) {
        match fs::remove_file(data.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &data.join(name), &error));
            }
            _ => {}
        }
    }
    for place in places {
        fs::set_permissions(place, fs::Permissions::from_mode(0o700))
            .map_err(|error| failed("change the mode of", place, &error))?;
        owner.take(place)?;
    }
    Ok(())
}

/// Points the links to where the tablespaces will stand after a swap.
///
/// `data` is the data directory wherever it stands at this time.
pub(super) fn point_to_targets(data: &Path, moves: &[SwapMove]) -> Result<(), DriverError> {
    link(data, |target, index| {
        let by_index = index.and_then(|index| moves.get(index)).map(|one| one.target.clone());
        let by_place =
            || moves.iter().find(|one| target.as_ref() == Some(&one.from)).map(|one| one.target.clone());
        by_index.or_else(by_place).or_else(|| target.clone())
    })
}

/// Returns where the tablespaces of a data directory lie, in the order of their numbers.
pub(super) fn tablespaces(data: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = links(data)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|path| {
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((number, fs::read_link(&path).ok()?))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, target)| target).collect()
}

/// Gives each link another target. The second value is the place in the backup that the link still names.
fn link(
    data: &Path,
    wanted: impl Fn(Option<PathBuf>, Option<usize>) -> Option<PathBuf>,
) -> Result<(), DriverError> {
    for path in links(data).map_err(|error| failed("look at", &data.join(LINKS), &error))? {
        let present = fs::read_link(&path).map_err(|error| failed("look at", &path, &error))?;
        let index = present.to_str().and_then(|text| text.strip_prefix("../../")?.parse().ok());
        let Some(target) = wanted(Some(present.clone()), index).filter(|target| *target != present) else {
            continue;
        };
        let beside = durable::beside(&path, "link");
        drop(fs::remove_file(&beside));
        symlink(&target, &beside)
            .and_then(|()| durable::rename(&beside, &path))
            .map_err(|error| failed("point", &path, &error))?;
    }
    Ok(())
}

fn links(data: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(data.join(LINKS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(paths?.into_iter().filter(|path| path.is_symlink()).collect())
}

/// Puts back the settings that a server keeps outside its data directory.
///
/// At the place that it came from, files that this host still has are left alone. Anywhere else the data directory
/// gets its own configuration, so that it starts from there.
pub(super) fn put_settings(data: &Path, target: &Path, owner: Owner) -> Result<(), DriverError> {
    let folder = data.join(settings::FOLDER);
    let Ok(json) = fs::read(folder.join(settings::SERVER)) else { return Ok(()) };
    let server: Server = serde_json::from_slice(&json).map_err(|error| {
        DriverError::new(Kind::Corrupt, format!("{} cannot be read: {error}", folder.display()))
    })?;
    if server.outside.is_empty() {
        return Ok(());
    }
    let kept = |path: &Path| fs::read(folder.join(stored_name(path))).ok();
    if target == server.data_directory {
        for path in server.outside.iter().filter(|path| !path.exists()) {
            let Some(content) = kept(path) else { continue };
            let parent = path.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent).map_err(|error| failed("make", parent, &error))?;
            write(path, &content, owner)?;
        }
        return Ok(());
    }
    let own = data.join("postgresql.conf");
    if own.exists() {
        return Ok(());
    }
    for (source, name) in [(&server.hba_file, "pg_hba.conf"), (&server.ident_file, "pg_ident.conf")] {
        let content = kept(source).unwrap_or_else(|| {
            b"# Not in the backup: local connections of the server's own user only.\nlocal all all peer\n"
                .to_vec()
        });
        let content = if name == "pg_ident.conf" && kept(source).is_none() { Vec::new() } else { content };
        if !data.join(name).exists() {
            write(&data.join(name), &content, owner)?;
        }
    }
    let mut text = String::new();
    let others = [&server.hba_file, &server.ident_file];
    for path in server.outside.iter().filter(|path| !others.contains(path)) {
        text.push_str(&format!("# From {}\n", path.display()));
        for line in String::from_utf8_lossy(&kept(path).unwrap_or_default()).lines() {
            let name = line.trim_start().split([' ', '\t', '=']).next().unwrap_or_default();
            if PLACES.contains(&name) {
                text.push('#');
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    write(&own, text.as_bytes(), owner)
}

fn write(path: &Path, content: &[u8], owner: Owner) -> Result<(), DriverError> {
    durable::write(path, content, 0o640).map_err(|error| failed("write", path, &error))?;
    owner.take(path)
}

pub(super) fn failed(operation: &str, path: &Path, error: &io::Error) -> DriverError {
    DriverError::new(Kind::Unavailable, format!("cannot {operation} {}: {error}", path.display()))
}
