//! A backup of what a stopped server has left on its disk: its AOF in one or several parts, else its RDB.
//!
//! ```text
//! files ─► copies ─► a scratch server loads them ─► its replication stream, judged as that of any server ─► repository
//! ```
//! In: the data directory, its folder of AOFs, or one file. Out: a source like that of a running server, and what the
//! server had to leave out. An AOF whose last command is cut off, as a crash leaves it, is cut behind the one before, by the
//! server itself; one that is damaged in its middle is refused.
//!
//! It never changes the files. Read next: `scratch.rs`, `source.rs`. Source: `aof.c` of Redis 7.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use muster_types::{Kind, Timestamp, event::Watcher};

use super::{
    binaries::Program,
    description::{Description, RDB, Server},
    scratch::{Load, Reach, Scratch, failed},
};
use crate::{DriverError, files::changed_at, processes};

/// The folder of AOFs, as the server calls it.
const FOLDER: &str = "appendonlydir";
const MANIFEST: &str = ".manifest";

/// What was found there.
struct Found {
    /// Each file, and where in the copy the server looks for it.
    files: Vec<(PathBuf, PathBuf)>,
    load: Load,
    warnings: Vec<String>,
}

/// A server that has loaded what was found.
pub(super) struct Loaded {
    pub(super) server: Scratch,
    pub(super) description: Description,
    /// When the newest of the files was changed.
    pub(super) changed_at: Timestamp,
    pub(super) fingerprint: String,
}

/// Loads the files of a stopped server into a scratch server in `place`, an empty folder.
///
/// # Errors
/// `NotFound`: nothing that a server reads is there. `Conflict`: a process has it open. `Corrupt`: it is damaged.
/// `Unavailable`: no program, no room. `Interrupted`.
pub(super) fn load(
    bin_dir: Option<&Path>,
    path: &Path,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Loaded, DriverError> {
    let program = Program::find(bin_dir)?;
    let found = find(path)?;
    refuse_open(&found.files)?;
    watcher.begin("copy the server's files", None);
    let mut changed = Timestamp::UNIX_EPOCH;
    let mut bytes = 0;
    for (from, to) in &found.files {
        let to = place.join(to);
        if let Some(folder) = to.parent().filter(|folder| !folder.exists()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| failed("make", folder, &error))?;
        }
        let meta = fs::metadata(from).map_err(|error| failed("look at", from, &error))?;
        bytes += fs::copy(from, &to).map_err(|error| failed("copy", from, &error))?;
        changed = changed.max(changed_at(&meta).unwrap_or_default());
        if watcher.is_cancelled() {
            return Err(DriverError::new(Kind::Interrupted, "stopped"));
        }
    }
    let copies = || found.files.iter().map(|(_, to)| place.join(to)).filter(|path| is_log(path));
    let before: Vec<(PathBuf, u64)> = copies().map(|path| (path.clone(), length(&path))).collect();
    let server = Scratch::start_on(&program, place, &found.load, Reach::Us, watcher)?;
    let mut warnings = found.warnings;
    for (path, had) in before {
        // Where the server has taken an older AOF into its folder, the name is gone and nothing can be said.
        let cut = if path.exists() { had.saturating_sub(length(&path)) } else { 0 };
        if cut > 0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            warnings.push(format!(
                "{name} ends in the middle of a command: its last {cut} bytes were left out, all before them is in the backup"
            ));
        }
    }
    warnings.push("taken from files: the server's settings and users are not in this backup".into());
    let description = Description {
        server: Server { version: program.told.clone(), ..Server::default() },
        warnings,
        ..Description::default()
    };
    Ok(Loaded { server, description, changed_at: changed, fingerprint: format!("files/{bytes}/{changed}") })
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// An AOF of commands, which a crash may have cut off; its base is an RDB.
fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "aof")
}

/// Finds what a server would read there.
fn find(path: &Path) -> Result<Found, DriverError> {
    let meta = fs::metadata(path).map_err(|error| {
        let kind =
            if error.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Unavailable };
        DriverError::new(kind, format!("cannot look at {}: {error}", path.display()))
            .with_hint("name the server's data directory (`dir` in redis.conf), or one of its files")
    })?;
    if !meta.is_dir() {
        return of_file(path);
    }
    let files = names(path)?;
    let inside = path.join(FOLDER);
    let parts = if inside.is_dir() { names(&inside)? } else { Vec::new() };
    // A part of an AOF is none by itself.
    let of = |files: &[PathBuf], ending: &str| -> Vec<PathBuf> {
        let is_meant = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(ending) && !name.contains(".incr.") && !name.contains(".base.")
        };
        files.iter().filter(is_meant).cloned().collect()
    };
    let manifests = [of(&files, MANIFEST), of(&parts, MANIFEST)].concat();
    let (logs, rdbs) = (of(&files, ".aof"), of(&files, ".rdb"));
    let one = |found: &[PathBuf]| -> Result<Option<PathBuf>, DriverError> {
        match found {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            [first, second, ..] => Err(DriverError::new(
                Kind::Input,
                format!("both {} and {} could be meant", first.display(), second.display()),
            )
            .with_hint("name the one file: `--from-files FILE`")),
        }
    };
    let (log, rdb) = (one(&manifests)?.map_or_else(|| one(&logs), |found| Ok(Some(found)))?, one(&rdbs)?);
    match (log, rdb) {
        (Some(log), rdb) => {
            let mut found = of_file(&log)?;
            let newest = found.files.iter().map(|(path, _)| changed(path)).max().unwrap_or_default();
            if let Some(rdb) = rdb.filter(|rdb| changed(rdb) > newest) {
                found.warnings.push(format!(
                    "{} was written after the AOF that was taken; where the server kept no AOF any more, name that file instead",
                    rdb.display()
                ));
            }
            Ok(found)
        }
        (None, Some(rdb)) => of_file(&rdb),
        (None, None) => {
            Err(DriverError::new(Kind::NotFound, format!("no AOF and no RDB lies in {}", path.display()))
                .with_hint("name the server's data directory (`dir` in redis.conf), or one of its files"))
        }
    }
}

fn names(folder: &Path) -> Result<Vec<PathBuf>, DriverError> {
    let entries = fs::read_dir(folder).map_err(|error| failed("read", folder, &error))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(|error| failed("read", folder, &error))?;
    paths.sort();
    Ok(paths)
}

fn changed(path: &Path) -> Timestamp {
    fs::metadata(path).ok().and_then(|meta| changed_at(&meta)).unwrap_or_default()
}

/// Says what belongs to one file: all parts of its manifest, or itself.
fn of_file(path: &Path) -> Result<Found, DriverError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let whole = |to: &str, load| Found {
        files: vec![(path.to_owned(), PathBuf::from(to))],
        load,
        warnings: Vec::new(),
    };
    if let Some(file) = name.strip_suffix(MANIFEST) {
        let text = fs::read_to_string(path).map_err(|error| failed("read", path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut files = vec![(path.to_owned(), Path::new(FOLDER).join(&name))];
        for part in parts(&text, path)? {
            let from = folder.join(&part);
            if !from.is_file() {
                return Err(DriverError::new(Kind::Corrupt, format!("{} is missing", from.display()))
                    .with_hint(format!("{} names it: without it the AOF cannot be read", path.display())));
            }
            files.push((from, Path::new(FOLDER).join(part)));
        }
        return Ok(Found { files, load: Load::Aof { file: file.to_owned() }, warnings: Vec::new() });
    }
    Ok(match path.extension().and_then(|extension| extension.to_str()) {
        Some("aof") => whole(&name, Load::Aof { file: name.clone() }),
        Some("rdb") => whole(RDB, Load::Rdb),
        _ => {
            return Err(DriverError::new(Kind::Input, format!("{} is no file of Redis", path.display()))
                .with_hint("name a `.manifest`, an `.aof`, an `.rdb`, or the data directory"));
        }
    })
}

/// Reads the names of a manifest: `file NAME seq N type b`; `h` is history, which no server reads.
fn parts(text: &str, path: &Path) -> Result<Vec<String>, DriverError> {
    let mut parts = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["file", _, .., "type", "h"] => {}
            ["file", name, .., "type", "b" | "i"] if !name.contains('/') && *name != ".." => {
                parts.push((*name).trim_matches('"').to_owned());
            }
            _ => {
                let message = format!("{} has a line that is none of a manifest: {line}", path.display());
                return Err(DriverError::new(Kind::Corrupt, message)
                    .with_hint("name an `.aof` or `.rdb` file instead"));
            }
        }
    }
    Ok(parts)
}

/// Refuses files that a server still writes: half of what it writes would be missing.
fn refuse_open(files: &[(PathBuf, PathBuf)]) -> Result<(), DriverError> {
    let inodes: HashSet<(u64, u64)> = files.iter().filter_map(|(path, _)| processes::inode(path)).collect();
    let open = processes::open_by(&inodes);
    if open.is_empty() {
        return Ok(());
    }
    Err(DriverError::new(Kind::Conflict, format!("the files are in use by {}", open.join(", ")))
        .with_hint("the server runs: leave `--from-files` out, or stop it first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_parts_without_history_and_nothing_outside_its_folder() {
        let text = "file a.1.base.rdb seq 1 type b\nfile a.0.incr.aof seq 0 type h\nfile a.2.incr.aof seq 2 type i\n";
        assert_eq!(parts(text, Path::new("/m")).unwrap(), ["a.1.base.rdb", "a.2.incr.aof"]);
        let told = parts("file ../../etc/passwd seq 1 type b\n", Path::new("/m")).unwrap_err().to_string();
        assert!(told.contains("none of a manifest"), "{told}");
    }
}
