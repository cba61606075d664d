//! Texts that are replaced in restored files, because this host is another one than that of the backup.
//!
//! ```text
//! edits + variables ─► fill ─► literal texts ┐
//! backup: list, chosen files ────────────────┴─► changes ─► diff (people, report)
//!                                                   └─────► apply: files beside their place, before the swap
//! ```
//! In: edits of a component, values of variables, a backup. Out: the changes, each file made of the backup's own content,
//! so that doing it twice gives the same; then the files in the restored folders.
//!
//! It never edits a file in its place, never follows a link, never takes a pattern for the text: what is replaced is found
//! to the letter. An edit that finds less than it promises is an error before anything is written.
//! Read next: `edits/text.rs` for variables and counts, `edits/diff.rs` for what people see.

mod diff;
mod text;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Component, Path, PathBuf},
};

use muster_repo::{ListedKind, Repo, durable};
use muster_types::{Kind, backup::BackupId, config::Edit};
use xattr::FileExt;

use self::text::Filled;
use crate::{DriverError, files::Selection};

/// Settings are no larger; what is larger is data.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// In the backup: `0/etc/app.conf`.
    pub entry: PathBuf,
    /// Where it stood on the source.
    pub path: PathBuf,
    /// Its text in the backup.
    pub before: String,
    /// Its text for this host.
    pub after: String,
    /// How many places of it differ.
    pub places: u64,
}

/// Refuses edits that cannot be meant, without looking at any file.
///
/// # Errors
/// `Config`: nothing to replace, a count of 0, a file that is no glob, a variable without an end.
pub fn check(component: &str, edits: &[Edit]) -> Result<(), DriverError> {
    for (index, edit) in edits.iter().enumerate() {
        let wrong = |what: &str, hint: &str| {
            let message = format!("edit {} of component `{component}` {what}", index + 1);
            Err(DriverError::new(Kind::Config, message).with_hint(hint))
        };
        if edit.replace.is_empty() {
            return wrong("replaces nothing", "write the text that stands in the file: `replace: 10.0.0.1`");
        }
        if edit.count == Some(0) {
            return wrong("has a `count` of 0", "leave `count` out for at least once");
        }
        if edit.file.is_empty() {
            return wrong("names no file", "write a glob like `*.conf`, or the file's absolute path");
        }
        for part in [&edit.replace, &edit.with] {
            if let Err(what) = text::names(part) {
                return wrong(&what, "write a variable as `{{ name }}`");
            }
        }
        drop(chosen(edit)?);
    }
    Ok(())
}

/// Returns what the edits make of a backup's files. Reads the backup, writes nothing.
///
/// `paths` are where the backup's contents stood, in its order.
///
/// # Errors
/// `Config`: a variable without a value. `Conflict`: an edit that finds nothing, or another number than it promises.
/// Those of the repository.
pub fn changes(
    repo: &Repo,
    backup: &BackupId,
    paths: &[PathBuf],
    component: &str,
    edits: &[Edit],
    values: &BTreeMap<String, String>,
) -> Result<Vec<Change>, DriverError> {
    check(component, edits)?;
    let files: Vec<Candidate> = repo
        .ls(backup)
        .map_err(|error| DriverError::of(&error))?
        .into_iter()
        .filter(|entry| entry.kind == ListedKind::File)
        .filter_map(|entry| Candidate::of(entry.path, entry.size_bytes, paths))
        .collect();
    let mut texts: BTreeMap<PathBuf, Option<(String, Change)>> = BTreeMap::new();
    for (index, edit) in edits.iter().enumerate() {
        let filled = Filled::of(component, index, edit, values)?;
        let chosen = chosen(edit)?;
        let mut found = 0;
        let mut named = 0;
        for file in files.iter().filter(|file| chosen(file)) {
            named += 1;
            if !texts.contains_key(&file.entry) {
                let read = read(repo, backup, file)?;
                texts.insert(file.entry.clone(), read);
            }
            if let Some(Some((_, change))) = texts.get_mut(&file.entry) {
                let count = filled.apply(&mut change.after);
                change.places += count;
                found += count;
            }
        }
        filled.judge(found, named)?;
    }
    Ok(texts
        .into_values()
        .flatten()
        .map(|(_, change)| change)
        .filter(|one| one.before != one.after)
        .collect())
}

/// Returns a unified diff of the changes, changed lines alone, with what looks like a secret taken out.
pub fn diff(changes: &[Change]) -> String {
    diff::of(changes)
}

/// Writes the changed files where the backup was restored to; owner, mode and attributes stay.
///
/// # Errors
/// `Unavailable`: a file could not be written; those before it are. All of it may be done again.
pub fn apply(changes: &[Change], places: &[PathBuf]) -> Result<(), DriverError> {
    for change in changes {
        let Some(place) = place_of(&change.entry, places) else {
            let message = format!("the backup has no place for {}", change.entry.display());
            return Err(DriverError::new(Kind::Bug, message));
        };
        write(&place, change.after.as_bytes()).map_err(|error| {
            DriverError::new(Kind::Unavailable, format!("cannot edit {}", place.display())).with_source(error)
        })?;
    }
    Ok(())
}

/// A regular file of the backup.
struct Candidate {
    entry: PathBuf,
    /// Where it stood on the source.
    path: PathBuf,
    /// Relative to the component's path; the file's name where the path is the file itself.
    relative: PathBuf,
    size_bytes: u64,
}

impl Candidate {
    fn of(entry: PathBuf, size_bytes: u64, paths: &[PathBuf]) -> Option<Self> {
        let mut parts = entry.components();
        let Some(Component::Normal(first)) = parts.next() else { return None };
        let root = paths.get(first.to_str()?.parse::<usize>().ok()?)?;
        let below = parts.as_path();
        let is_itself = below.as_os_str().is_empty();
        let path = if is_itself { root.clone() } else { root.join(below) };
        let relative = if is_itself { PathBuf::from(root.file_name()?) } else { below.to_owned() };
        Some(Self { entry, path, relative, size_bytes })
    }
}

/// Tells which files an edit means: those of a glob, or the one of an absolute path.
fn chosen(edit: &Edit) -> Result<impl Fn(&Candidate) -> bool + use<>, DriverError> {
    let selection = Selection::new(std::slice::from_ref(&edit.file), &[])?;
    let file = PathBuf::from(&edit.file);
    Ok(move |one: &Candidate| one.path == file || selection.is_included(&one.relative, false))
}

/// Reads a file; `None` when it is no text.
fn read(repo: &Repo, backup: &BackupId, file: &Candidate) -> Result<Option<(String, Change)>, DriverError> {
    if file.size_bytes > FILE_BYTES_MAX {
        let message = format!("{} has more than 16 MiB, and an edit means it", file.path.display());
        return Err(
            DriverError::new(Kind::Config, message).with_hint("name the settings more narrowly in `file`")
        );
    }
    let content = repo.read_small(backup, &file.entry).map_err(|error| DriverError::of(&error))?;
    let Some(Ok(text)) = content.map(String::from_utf8) else { return Ok(None) };
    let (entry, path) = (file.entry.clone(), file.path.clone());
    Ok(Some((text.clone(), Change { entry, path, before: text.clone(), after: text, places: 0 })))
}

fn place_of(entry: &Path, places: &[PathBuf]) -> Option<PathBuf> {
    let mut parts = entry.components();
    let Some(Component::Normal(first)) = parts.next() else { return None };
    let place = places.get(first.to_str()?.parse::<usize>().ok()?)?;
    let below = parts.as_path();
    Some(if below.as_os_str().is_empty() { place.clone() } else { place.join(below) })
}

/// Puts a new content in the place of a file, with everything else that the file had.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let old = File::open(path)?;
    let metadata = old.metadata()?;
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    // The same in every attempt, so that none of them leaves one behind.
    name.push(".muster-edit");
    let temporary = path.with_file_name(name);
    let made = || -> std::io::Result<()> {
        drop(fs::remove_file(&temporary));
        let mut file = File::create_new(&temporary)?;
        // Before the first byte, because nobody else may read it.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        if (metadata.uid(), metadata.gid()) != owner_of(&file)? {
            chown(&temporary, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        for name in old.list_xattr()? {
            if let Some(value) = old.get_xattr(&name)? {
                file.set_xattr(&name, &value)?;
            }
        }
        file.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        file.sync_all()?;
        durable::rename(&temporary, path)
    };
    made().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

fn owner_of(file: &File) -> std::io::Result<(u32, u32)> {
    file.metadata().map(|metadata| (metadata.uid(), metadata.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_without_a_text_a_file_or_a_meaning_is_refused_by_its_number() {
        let edit = |file: &str, replace: &str, with: &str, count| Edit {
            file: file.into(),
            replace: replace.into(),
            with: with.into(),
            count,
        };
        let good = edit("*.conf", "a", "{{ b }}", None);
        assert!(check("settings", std::slice::from_ref(&good)).is_ok());
        for (bad, word) in [
            (edit("*.conf", "", "b", None), "replaces nothing"),
            (edit("*.conf", "a", "b", Some(0)), "`count` of 0"),
            (edit("", "a", "b", None), "names no file"),
            (edit("*.conf", "a", "{{ b", None), "no `}}`"),
            (edit("*.conf", "a", "{{ b c }}", None), "`b c`"),
        ] {
            let error = check("settings", &[good.clone(), bad]).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert!(error.to_string().contains("edit 2 of component `settings`"), "{error}");
        }
        assert!(check("settings", &[edit("a[", "a", "b", None)]).is_err());
    }

    #[test]
    fn an_edited_file_keeps_its_mode_and_attributes_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.conf");
        durable::write(&file, b"old", 0o600).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let has_attributes = xattr::set(&file, "user.note", b"kept").is_ok();
        let change = Change {
            entry: "0/app.conf".into(),
            path: "/etc/app/app.conf".into(),
            before: "old".into(),
            after: "new".into(),
            places: 1,
        };
        // What an attempt has left that was killed.
        durable::write(&folder.path().join(".app.conf.muster-edit"), b"half", 0o600).unwrap();
        for _ in 0..2 {
            apply(std::slice::from_ref(&change), &[folder.path().to_owned()]).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "new");
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        if has_attributes {
            assert_eq!(xattr::get(&file, "user.note").unwrap().unwrap(), b"kept");
        }
    }
}
