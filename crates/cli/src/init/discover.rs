//! What has state in a folder: SQLite files, folders of uploads, a compose file, servers on this host.
//!
//! In: the folder and places to leave out. Out: [`Found`], sorted by path; paths are relative to the folder unless they
//! are reached through a symbolic link, then they are where the link leads.
//!
//! It opens files only to read their first bytes, never follows a link into another tree to search there, and stops
//! after [`ENTRIES_MAX`] names, which it then says. What it could not read is a warning, never silence.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    clusters::FoundPostgres,
    compose::{self, ComposeFile},
    servers::Server,
};

/// The first bytes of every SQLite file.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Databases lie near the top of a project; deeper down are those of other programs.
const DEPTH_MAX: usize = 3;

/// Folders of uploads lie at the top or one below (`public/uploads`).
const FOLDER_DEPTH_MAX: usize = 2;

/// Names that are looked at, so that a wrong folder (`/`) ends soon.
pub const ENTRIES_MAX: usize = 50_000;

/// More parts than this nobody reads; then a person must move the database out of the folder.
const PARTS_MAX: usize = 20;

/// Folders that usually hold what people have uploaded.
const FOLDERS: [&str; 5] = ["data", "uploads", "storage", "media", "files"];

/// Folders that a build or an installer fills again.
const PASSED: [&str; 6] = ["node_modules", "target", "vendor", "venv", "__pycache__", "lost+found"];

/// A file that marks the folder of a running database server, and whose it is.
const SERVER_MARKS: [(&str, &str); 3] =
    [("PG_VERSION", "PostgreSQL"), ("ibdata1", "MySQL"), ("WiredTiger", "MongoDB")];

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// SQLite files.
    pub databases: Vec<PathBuf>,
    /// Folders that look as if people's files lie in them.
    pub folders: Vec<FoundFolder>,
    /// The compose file.
    pub compose: Option<ComposeFile>,
    /// PostgreSQL servers.
    pub postgres: Vec<FoundPostgres>,
    /// Other servers that answer on this host.
    pub servers: Vec<Server>,
    /// Whether `docker` can be run.
    pub has_docker: bool,
    /// What could not be looked at.
    pub warnings: Vec<String>,
}

/// A folder that looks as if people's files lie in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FoundFolder {
    /// Where it is.
    pub path: PathBuf,
    /// What to back up of it: the folder itself, or its parts when a database, a server's folder or our own files lie
    /// among them. A restore replaces a whole path, so a path that holds a database would take that away.
    pub paths: Vec<PathBuf>,
}

impl FoundFolder {
    /// Tells whether only parts of it are backed up.
    pub fn is_split(&self) -> bool {
        self.paths != [self.path.clone()]
    }
}

impl Found {
    /// Tells whether there is anything that Muster can back up.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.folders.is_empty() && !self.postgres.iter().any(|one| one.answers)
    }
}

/// Looks at a folder. `without` are absolute places that are left out: the repository, the key.
pub fn discover(folder: &Path, without: &[PathBuf]) -> Found {
    let mut walk = Walk {
        root: folder,
        without,
        entries: 0,
        databases: Vec::new(),
        folders: Vec::new(),
        server_folders: Vec::new(),
        has_files: Vec::new(),
        warnings: Vec::new(),
    };
    walk.folder(folder, 1);
    if walk.entries > ENTRIES_MAX {
        walk.warnings
            .push(format!("only the first {ENTRIES_MAX} names were looked at: is this the right folder?"));
    }
    let folders = walk.uploads();
    let mut found = Found { databases: walk.databases, folders, warnings: walk.warnings, ..Found::default() };
    found.databases.sort();
    for name in compose::NAMES {
        let Ok(text) = fs::read_to_string(folder.join(name)) else { continue };
        match compose::read(Path::new(name), &text) {
            Ok(file) => found.compose = Some(file),
            Err(why) => found.warnings.push(format!("`{name}` is not understood: {why}")),
        }
        break;
    }
    found
}

struct Walk<'a> {
    root: &'a Path,
    without: &'a [PathBuf],
    entries: usize,
    databases: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Folders of database servers.
    server_folders: Vec<PathBuf>,
    /// Folders of [`Self::folders`] with at least one file that is no database.
    has_files: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Walk<'_> {
    /// Looks at what stands in a folder; `depth` counts from 1.
    fn folder(&mut self, folder: &Path, depth: usize) {
        let mut entries: Vec<_> = match fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(Result::ok).collect(),
            Err(error) => {
                self.warnings.push(format!("{} cannot be looked at: {error}", folder.display()));
                return;
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.entries += 1;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if self.entries > ENTRIES_MAX {
                return;
            }
            if name.starts_with('.') || self.without.contains(&path) {
                continue;
            }
            if let Ok(kind) = entry.file_type() {
                self.entry(&path, &name, kind, depth);
            }
        }
    }

    fn entry(&mut self, path: &Path, name: &str, kind: fs::FileType, depth: usize) {
        // Through a link only the thing itself is taken: a search behind it could lead anywhere.
        let (place, is_folder, is_file) = if kind.is_symlink() {
            let Ok(place) = fs::canonicalize(path) else { return };
            let Ok(metadata) = fs::metadata(&place) else { return };
            (place, metadata.is_dir(), metadata.is_file())
        } else {
            (path.to_owned(), kind.is_dir(), kind.is_file())
        };
        let place = place.strip_prefix(self.root).map(Path::to_owned).unwrap_or(place);
        if is_file {
            self.file(path, place);
        } else if is_folder && !PASSED.contains(&name) && !is_repository(path) {
            if let Some((_, server)) = SERVER_MARKS.iter().find(|(mark, _)| path.join(mark).exists()) {
                self.warnings.push(format!(
                    "{} is the folder of a {server} server: copying its files while it runs gives no backup",
                    place.display()
                ));
                self.server_folders.push(place);
                return;
            }
            if depth <= FOLDER_DEPTH_MAX && FOLDERS.contains(&name.to_lowercase().as_str()) {
                self.folders.push(place);
            }
            if depth < DEPTH_MAX && !kind.is_symlink() {
                self.folder(path, depth + 1);
            } else if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
                self.note_content(path);
            }
        }
    }

    fn file(&mut self, path: &Path, place: PathBuf) {
        match is_sqlite(path) {
            Ok(true) if place.to_str().is_none() => {
                self.warnings
                    .push(format!("{} is a database, and its name is not UTF-8: rename it", place.display()));
            }
            Ok(true) if !self.databases.contains(&place) => self.databases.push(place),
            Ok(true) => {}
            Ok(false) if is_part_of_database(path) => {}
            Ok(false) => self.note_content(path),
            Err(error) => {
                self.warnings.push(format!("{} cannot be looked at: {error}", place.display()));
                self.note_content(path);
            }
        }
    }

    fn note_content(&mut self, path: &Path) {
        let place = path.strip_prefix(self.root).unwrap_or(path);
        self.has_files.extend(self.folders.iter().filter(|folder| place.starts_with(folder)).cloned());
    }

    /// The outermost folders of uploads. One that holds only databases is not needed: they are backed up as such.
    fn uploads(&mut self) -> Vec<FoundFolder> {
        let mut folders: Vec<PathBuf> =
            self.folders.iter().filter(|folder| folder.to_str().is_some()).cloned().collect();
        folders.sort();
        folders.dedup();
        let all = folders.clone();
        folders.retain(|folder| !all.iter().any(|other| other != folder && folder.starts_with(other)));
        let holds_a_database =
            |folder: &Path| self.databases.iter().any(|database| database.starts_with(folder));
        folders.retain(|folder| self.has_files.contains(folder) || !holds_a_database(folder));
        folders.into_iter().filter_map(|path| self.parts(path)).collect()
    }

    fn parts(&mut self, path: PathBuf) -> Option<FoundFolder> {
        let own =
            self.without.iter().filter_map(|path| path.strip_prefix(self.root).ok()).map(Path::to_owned);
        let without: Vec<PathBuf> =
            self.databases.iter().chain(&self.server_folders).cloned().chain(own).collect();
        let mut paths = Vec::new();
        self.part(&path, &without, &mut paths);
        if paths.len() > PARTS_MAX {
            self.warnings.push(format!(
                "{} holds more than {PARTS_MAX} things beside a database: move the database out of it, then add the folder",
                path.display()
            ));
            return None;
        }
        (!paths.is_empty()).then_some(FoundFolder { path, paths })
    }

    /// Adds a path as a whole, or in parts when something lies in it that it must not take along.
    fn part(&mut self, path: &Path, without: &[PathBuf], paths: &mut Vec<PathBuf>) {
        let full = self.root.join(path);
        if without.iter().any(|other| other == path) || is_part_of_database(&full) || paths.len() > PARTS_MAX
        {
            return;
        }
        if !without.iter().any(|other| other.starts_with(path)) {
            match fs::symlink_metadata(&full) {
                Ok(metadata) if metadata.is_symlink() || path.to_str().is_none() => {
                    self.warnings.push(format!(
                        "{} is left out: it is a link, or its name is not UTF-8",
                        path.display()
                    ));
                }
                Ok(metadata) if metadata.is_dir() || metadata.is_file() => paths.push(path.to_owned()),
                _ => {}
            }
            return;
        }
        let mut names: Vec<_> = fs::read_dir(&full)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        for name in names {
            self.part(&path.join(name), without, paths);
        }
    }
}

fn is_sqlite(path: &Path) -> std::io::Result<bool> {
    let mut head = Vec::with_capacity(SQLITE_MAGIC.len());
    File::open(path)?.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head == SQLITE_MAGIC)
}

/// What SQLite keeps beside its file.
fn is_part_of_database(path: &Path) -> bool {
    let name = path.to_string_lossy();
    ["-wal", "-shm", "-journal"].iter().any(|end| {
        name.strip_suffix(end).is_some_and(|database| is_sqlite(Path::new(database)).unwrap_or(false))
    })
}

/// A repository of backups holds copies: they are not backed up again.
fn is_repository(folder: &Path) -> bool {
    ["keys", "snapshots", "data"].iter().all(|name| folder.join(name).is_dir())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn file(root: &Path, name: &str, content: &[u8]) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        muster_repo::durable::create(&path, content, 0o600).unwrap();
    }

    fn database(root: &Path, name: &str) {
        file(root, name, b"SQLite format 3\0 and the rest");
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn databases_are_known_by_their_first_bytes_and_not_by_their_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["app.db", "a/b/deep.sqlite3", "state.bin", "a/b/c/too-deep.db"] {
            database(folder.path(), name);
        }
        for name in [".git/x.db", "node_modules/y.db", "a/target/z.db", ".hidden.db"] {
            database(folder.path(), name);
        }
        file(folder.path(), "not.db", b"something else");
        file(folder.path(), "short.db", b"SQL");
        let found = discover(folder.path(), &[]);
        assert_eq!(names(&found.databases), ["a/b/deep.sqlite3", "app.db", "state.bin"]);
        assert!(found.folders.is_empty() && found.warnings.is_empty());
    }

    #[test]
    fn a_folder_of_uploads_comes_in_parts_when_a_database_lies_in_it() {
        let folder = tempfile::tempdir().unwrap();
        database(folder.path(), "data/app.db");
        file(folder.path(), "data/app.db-wal", b"");
        file(folder.path(), "data/uploads/picture.png", b"png");
        file(folder.path(), "data/old/list.txt", b"list");
        database(folder.path(), "data/old/app.db");
        file(folder.path(), "data/backups/mine", b"ours");
        file(folder.path(), "public/media/film", b"film");
        fs::create_dir(folder.path().join("storage")).unwrap();
        file(folder.path(), "src/a/data/not-uploads", b"deep");
        let found = discover(folder.path(), &[folder.path().join("data/backups")]);
        let paths: Vec<_> = found.folders.iter().map(|found| names(&found.paths)).collect();
        assert_eq!(paths, [vec!["data/old/list.txt", "data/uploads"], vec!["public/media"], vec!["storage"]]);
        assert!(found.folders[0].is_split() && !found.folders[1].is_split());
    }

    #[test]
    fn a_folder_with_databases_only_is_not_taken_a_second_time() {
        let folder = tempfile::tempdir().unwrap();
        database(folder.path(), "data/app.db");
        file(folder.path(), "data/app.db-wal", b"");
        file(folder.path(), "data/app.db-shm", b"");
        let found = discover(folder.path(), &[]);
        assert_eq!(names(&found.databases), ["data/app.db"]);
        assert!(found.folders.is_empty(), "{:?}", found.folders);
    }

    #[test]
    fn a_servers_own_folder_and_a_repository_are_not_searched() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "data/pg/PG_VERSION", b"17");
        database(folder.path(), "data/pg/x.db");
        file(folder.path(), "data/list.txt", b"list");
        for name in ["keys", "snapshots", "data"] {
            database(folder.path(), &format!("backups/{name}/x.db"));
        }
        let found = discover(folder.path(), &[]);
        assert!(found.databases.is_empty());
        assert_eq!(names(&found.folders[0].paths), ["data/list.txt"]);
        assert!(found.warnings[0].contains("data/pg") && found.warnings[0].contains("PostgreSQL"));
    }

    #[test]
    fn a_link_is_taken_where_it_leads() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = fs::canonicalize(other.path()).unwrap();
        database(&real, "real.db");
        file(&real, "pictures/a", b"a");
        symlink(real.join("real.db"), folder.path().join("app.db")).unwrap();
        symlink(real.join("pictures"), folder.path().join("uploads")).unwrap();
        symlink(real.join("nothing"), folder.path().join("media")).unwrap();
        let found = discover(folder.path(), &[]);
        assert_eq!(found.databases, [real.join("real.db")]);
        assert_eq!(found.folders[0].path, real.join("pictures"));
        assert_eq!(found.folders.len(), 1);
    }

    #[test]
    fn a_folder_in_too_many_parts_is_left_to_a_person() {
        let folder = tempfile::tempdir().unwrap();
        database(folder.path(), "data/app.db");
        for number in 0..30 {
            file(folder.path(), &format!("data/{number}"), b"x");
        }
        let found = discover(folder.path(), &[]);
        assert!(found.folders.is_empty() && found.warnings[0].contains("move the database out"), "{found:?}");
    }

    #[test]
    fn a_broken_compose_file_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        file(folder.path(), "docker-compose.yml", b"services: [");
        let found = discover(folder.path(), &[]);
        assert!(found.compose.is_none());
        assert!(found.warnings[0].contains("docker-compose.yml"));
    }
}
