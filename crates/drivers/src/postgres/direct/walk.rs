//! Which files of a data directory and its tablespaces belong to a backup: those that the server itself would send.
//!
//! In: the folders. Out: what is in them, one by one, tablespaces first and the data directory last. Left out is what the
//! server makes anew or must not find: the list is that of `basebackup.c` of PostgreSQL. `pg_control` is left out too: it is
//! read when all else was read.
//!
//! What vanishes while it is looked at is passed over: the log tells that it went. It never follows a link, but for those
//! of tablespaces and of a folder that the server wants as a folder. Read next: `pool.rs`.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use muster_repo::source::{EntryMeta, SourceError};
use muster_types::Timestamp;

use super::{super::settings, control};

/// Folders that are kept without what is in them.
const EMPTIED: [&str; 8] = [
    "pg_wal",
    "pg_stat_tmp",
    "pg_replslot",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
];
/// Files of the data directory that a restored server must not find.
const LEFT_OUT: [&str; 7] = [
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
];
/// Folders of `pg_wal` that the server wants to find.
const LOG_FOLDERS: [&str; 2] = ["pg_wal/archive_status", "pg_wal/summaries"];

/// A folder to walk.
#[derive(Debug, Clone)]
pub(super) struct Root {
    /// Where it lies.
    pub(super) folder: PathBuf,
    /// Its place in the backup, `0` or `1/PG_15_202209061`.
    pub(super) place: PathBuf,
    /// Its place in the manifest, such as `pg_tblspc/16400/PG_15_202209061`.
    pub(super) listed: PathBuf,
    /// Whether it is a data directory, and not the folder of a tablespace.
    pub(super) is_data: bool,
}

/// Something that belongs to the backup.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it lies.
    pub(super) file: PathBuf,
    /// Its path in the backup.
    pub(super) path: PathBuf,
    /// Its path in the manifest.
    pub(super) listed: PathBuf,
    pub(super) kind: Kind,
    pub(super) meta: EntryMeta,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    Link(PathBuf),
    /// A file that holds no pages.
    Plain,
    /// A file of a relation: the number of its segment.
    Pages(u32),
    /// What no backup can hold: it is named.
    Special,
}

/// Walks.
pub(super) struct Walk {
    roots: VecDeque<Root>,
    present: Option<(Root, walkdir::IntoIter)>,
    /// Numbers of the tablespaces whose links are kept, in the order of their places from 1 on.
    tablespaces: Vec<String>,
}

impl Walk {
    pub(super) fn new(roots: Vec<Root>, tablespaces: Vec<String>) -> Self {
        Self { roots: roots.into(), present: None, tablespaces }
    }

    /// Looks at one name; `None` when it is no part of the backup.
    fn look(
        &self,
        root: &Root,
        name: &Path,
        walk: &mut walkdir::IntoIter,
    ) -> Result<Option<Found>, SourceError> {
        let file = root.folder.join(name);
        let found = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|source| SourceError::Read { path: file.clone(), source })?,
        };
        let depth = name.components().count();
        let is_top = root.is_data && depth == 1;
        let text = name.file_name().unwrap_or_default();
        let is_emptied = is_top && EMPTIED.iter().any(|one| text == *one);
        let is_own = is_top && text == settings::FOLDER;
        if is_emptied || is_own {
            if found.is_dir() {
                walk.skip_current_dir();
            }
            if is_own {
                return Ok(None);
            }
        } else if is_left_out(root, name, text) || is_temporary(root, name, text) {
            if found.is_dir() {
                walk.skip_current_dir();
            }
            return Ok(None);
        } else if !found.is_dir() && is_unlogged(root, name, text, &file) {
            return Ok(None);
        }
        let mut meta = meta(&found);
        let kind = if found.is_dir() {
            Kind::Folder
        } else if is_emptied {
            // A link to another disk: what the server wants there is a folder.
            meta.mode = 0o040_700;
            Kind::Folder
        } else if found.is_symlink() {
            let number = name.strip_prefix("pg_tblspc").ok().filter(|_| root.is_data && depth == 2);
            let index = number.and_then(|number| {
                self.tablespaces.iter().position(|one| number.as_os_str() == OsStr::new(one))
            });
            match (number, index) {
                (Some(_), Some(index)) => Kind::Link(format!("../../{}", index + 1).into()),
                // It was made after the backup began: the log makes it again.
                (Some(_), None) => return Ok(None),
                (None, _) => Kind::Special,
            }
        } else if !found.is_file() {
            Kind::Special
        } else {
            in_database(root, name)
                .then(|| relation(text).map(|(_, _, segment)| Kind::Pages(segment)))
                .flatten()
                .unwrap_or(Kind::Plain)
        };
        Ok(Some(Found { path: root.place.join(name), listed: root.listed.join(name), file, kind, meta }))
    }
}

impl Iterator for Walk {
    type Item = Result<Found, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((root, mut walk)) = self.present.take() else {
                let root = self.roots.pop_front()?;
                let walk = walkdir::WalkDir::new(&root.folder).sort_by_file_name().into_iter();
                self.present = Some((root, walk));
                continue;
            };
            let Some(entry) = walk.next() else { continue };
            let looked = match entry {
                Ok(entry) => match entry.path().strip_prefix(&root.folder) {
                    // The data directory itself is made at the end; that of a tablespace's version is a part of it.
                    Ok(name) if name.as_os_str().is_empty() => {
                        if root.is_data {
                            Ok(None)
                        } else {
                            let meta = entry.metadata().ok().map(|found| meta(&found)).unwrap_or_default();
                            Ok(Some(Found {
                                file: root.folder.clone(),
                                path: root.place.clone(),
                                listed: root.listed.clone(),
                                kind: Kind::Folder,
                                meta,
                            }))
                        }
                    }
                    Ok(name) => self.look(&root, name, &mut walk),
                    Err(_) => Ok(None),
                },
                // A tablespace that was there when the backup began may be dropped meanwhile: the log tells.
                Err(error) if is_gone(&error) && (error.depth() > 0 || !root.is_data) => Ok(None),
                Err(error) => {
                    let path = error.path().unwrap_or(&root.folder).to_owned();
                    Err(SourceError::Read { path, source: error.into() })
                }
            };
            self.present = Some((root, walk));
            match looked {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok(found)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Folders in `pg_wal` that the server wants to find, where it has them.
pub(super) fn log_folders(data: &Path) -> impl Iterator<Item = (&'static str, EntryMeta)> {
    LOG_FOLDERS.into_iter().filter_map(|name| {
        let found = fs::metadata(data.join(name)).ok().filter(fs::Metadata::is_dir)?;
        Some((name, meta(&found)))
    })
}

/// What a backup keeps of a file's metadata: as much as the server sends.
pub(super) fn meta(found: &fs::Metadata) -> EntryMeta {
    EntryMeta {
        mode: found.mode(),
        uid: found.uid(),
        gid: found.gid(),
        mtime: Timestamp::from_second(found.mtime()).ok(),
        links: 1,
        ..EntryMeta::default()
    }
}

fn is_gone(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn is_left_out(root: &Root, name: &Path, text: &OsStr) -> bool {
    let bytes = text.as_bytes();
    let is_cache = bytes.starts_with(b"pg_internal.init");
    let is_scratch = bytes.starts_with(b"pgsql_tmp");
    let is_of_data = root.is_data
        && (name == Path::new(control::NAME)
            || name.components().count() == 1 && LEFT_OUT.iter().any(|one| text == *one));
    is_cache || is_scratch || is_of_data
}

/// Whether a name stands in the folder of a database.
fn in_database(root: &Root, name: &Path) -> bool {
    let mut above = name.components().rev().skip(1);
    let folder = above.next().map(|part| part.as_os_str().as_bytes().to_owned()).unwrap_or_default();
    let is_number = !folder.is_empty() && folder.iter().all(u8::is_ascii_digit);
    if root.is_data {
        name.parent() == Some(Path::new("global")) || is_number && name.starts_with("base")
    } else {
        is_number
    }
}

/// Whether it is a relation of one session: `t3_16400`.
fn is_temporary(root: &Root, name: &Path, text: &OsStr) -> bool {
    let rest = text.to_str().and_then(|text| text.strip_prefix('t')?.split_once('_'));
    in_database(root, name)
        && rest.is_some_and(|(session, rest)| is_digits(session) && relation(OsStr::new(rest)).is_some())
}

/// Whether it is a relation that recovery empties: only its `init` fork is of use.
fn is_unlogged(root: &Root, name: &Path, text: &OsStr, file: &Path) -> bool {
    let Some((number, fork, _)) = relation(text).filter(|_| in_database(root, name)) else { return false };
    fork != Some("init") && fs::symlink_metadata(file.with_file_name(format!("{number}_init"))).is_ok()
}

/// Takes apart the name of a relation's file: number, fork, segment.
fn relation(name: &OsStr) -> Option<(&str, Option<&str>, u32)> {
    let name = name.to_str()?;
    let (rest, segment) = match name.split_once('.') {
        Some((rest, segment)) if is_digits(segment) => (rest, segment.parse().ok()?),
        Some(_) => return None,
        None => (name, 0),
    };
    let (number, fork) = match rest.split_once('_') {
        Some((number, fork)) if ["vm", "fsm", "init"].contains(&fork) => (number, Some(fork)),
        Some(_) => return None,
        None => (rest, None),
    };
    is_digits(number).then_some((number, fork, segment))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_relations_are_known_by_their_names() {
        for (name, expected) in [
            ("1259", Some(("1259", None, 0))),
            ("1259.12", Some(("1259", None, 12))),
            ("1259_vm", Some(("1259", Some("vm"), 0))),
            ("1259_fsm.3", Some(("1259", Some("fsm"), 3))),
            ("1259_init", Some(("1259", Some("init"), 0))),
            ("1259_old", None),
            ("1259.", None),
            ("pg_filenode.map", None),
            ("PG_VERSION", None),
            ("t3_1259", None),
        ] {
            assert_eq!(relation(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn what_the_server_would_not_send_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::File::create(path).unwrap();
        };
        for name in [
            "PG_VERSION",
            "postmaster.pid",
            "backup_label",
            "pg_wal/000000010000000000000001",
            "pg_notify/0000",
            "pg_replslot/muster_wal/state",
            "global/pg_control",
            "global/1262",
            "global/pg_internal.init",
            "base/5/1259",
            "base/5/1259_vm",
            "base/5/pg_internal.init.77",
            "base/5/t3_16400",
            "base/5/16500",
            "base/5/16500_fsm",
            "base/5/16500_init",
            "base/pgsql_tmp/pgsql_tmp3.0",
            "base/5/notes.txt",
            "muster-settings/server.json",
            "log/backup_label",
            "pg_xact/0000",
        ] {
            write(name);
        }
        let data = folder.path().to_owned();
        std::os::unix::fs::symlink("/etc/hostname", data.join("linked")).unwrap();
        fs::create_dir(data.join("pg_tblspc")).unwrap();
        for number in ["16400", "16401"] {
            std::os::unix::fs::symlink("/srv/fast", data.join("pg_tblspc").join(number)).unwrap();
        }
        let root = Root { folder: data, place: "0".into(), listed: PathBuf::new(), is_data: true };
        let found: Vec<Found> =
            Walk::new(vec![root], vec!["16401".into()]).collect::<Result<_, _>>().unwrap();
        let paths = |kind: fn(&Kind) -> bool| -> Vec<String> {
            found.iter().filter(|one| kind(&one.kind)).map(|one| one.path.display().to_string()).collect()
        };
        assert_eq!(
            paths(|kind| matches!(kind, Kind::Pages(_))),
            ["0/base/5/1259", "0/base/5/1259_vm", "0/base/5/16500_init", "0/global/1262"]
        );
        assert_eq!(
            paths(|kind| *kind == Kind::Plain),
            ["0/PG_VERSION", "0/base/5/notes.txt", "0/log/backup_label", "0/pg_xact/0000"]
        );
        assert_eq!(paths(|kind| *kind == Kind::Link("../../1".into())), ["0/pg_tblspc/16401"]);
        assert_eq!(paths(|kind| *kind == Kind::Special), ["0/linked"]);
        assert_eq!(
            paths(|kind| *kind == Kind::Folder),
            [
                "0/base",
                "0/base/5",
                "0/global",
                "0/log",
                "0/pg_notify",
                "0/pg_replslot",
                "0/pg_tblspc",
                "0/pg_wal",
                "0/pg_xact"
            ]
        );
    }
}
