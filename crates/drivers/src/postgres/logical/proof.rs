//! Restores a dump into a cluster of its own, beside it, and says what is true of it.
//!
//! ```text
//! marks of the files ─► initdb, scratch server ─► globals ─► pg_restore --create ─► witness anew ─► schema ─► assertions
//! ```
//!
//! What is then judged is in `judge.rs`. Everything happens in `muster-scratch` in the folder of the dump, which is gone afterwards, however it ends. What
//! this host lacks (programs, an extension, a locale) is a doubt and no damage.
//!
//! The server has no network, and no program takes commands from the dump's texts. Read next: `../scratch.rs`.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use muster_types::{Explain, Kind, backup::Witness, event::Watcher};

use super::{
    super::{
        binaries::{Binaries, TO_RESTORE},
        place::{Owner, failed},
        rescue,
        scratch::{self, Fate, ScratchServer, make_cluster},
        settings::Server,
        verify::{self, Request, damaged, told},
        wire::Connection,
    },
    DUMP, GLOBALS, SCHEMA,
    description::{self, Description},
    globals, jobs,
    judge::{Judge, Stage, not_dumped, schema_args},
    read, witness,
};
use crate::{
    DriverError,
    component::{Verification, Verified},
    sql::identifier,
};

/// The folder of the scratch cluster.
const FOLDER: &str = "muster-scratch";
/// What `pg_dump` writes into it.
const RESTORED: &str = "restored.sql";
/// A database that no dump is of.
const SPARE: &str = "muster schema";

/// Tells whether a restored folder holds a dump and no data directory.
pub(in super::super) fn is_dump(place: &Path) -> bool {
    !place.join("PG_VERSION").exists()
        && [description::NAME, DUMP, GLOBALS].iter().any(|name| place.join(name).exists())
}

/// Verifies a restored dump.
///
/// # Errors
/// `Corrupt`: this backup is damaged. Everything else says nothing about the backup.
pub(in super::super) fn verify(
    request: &Request<'_>,
    watcher: &dyn Watcher,
) -> Result<Verified, DriverError> {
    let Some(place) = request.asked.places.first() else {
        return Err(damaged(request.name, "it holds no dump"));
    };
    refuse_unknown(request)?;
    scratch::remove(&place.join(FOLDER))?;
    watcher.begin("check the files", None);
    let description = check_files(request, place, watcher)?;
    let Some(major) = description.dumped_by_major() else {
        return Err(damaged(request.name, "its server.json does not say which pg_dump wrote it"));
    };
    let binaries = match verify::programs(request, major, TO_RESTORE)? {
        Ok(binaries) => binaries,
        Err(unopened) => return Ok(unopened),
    };
    // The server ends before its folder goes: what is declared last goes first.
    let cluster = Folder::make(place.join(FOLDER))?;
    let scratch = start(request.data_dir, place, &cluster, &description, &binaries, watcher)?;
    let proof = Proof { request, place, description: &description, binaries: &binaries, scratch: &scratch };
    proof.run(watcher)
}

/// A dump in a scratch server.
pub(in super::super) struct Loaded {
    pub(in super::super) server: ScratchServer,
    pub(in super::super) folder: Folder,
    pub(in super::super) binaries: Binaries,
    pub(in super::super) database: String,
}

/// Loads a restored dump into a scratch server of its own, in the folder of the dump.
///
/// # Errors
/// `Corrupt`: the dump is damaged. `Unavailable`: this host cannot load it. `Interrupted`.
pub(in super::super) fn load_beside(
    about: &rescue::Request<'_>,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Loaded, DriverError> {
    let (places, witness) = ([place.to_owned()], Witness::new());
    let asked = Verification::new(&places, &witness, &[]);
    let (name, bin_dir, data_dir) = (about.name, about.bin_dir, about.data_dir);
    let request = Request { name, bin_dir, data_dir, database: &about.address.database, asked: &asked };
    scratch::remove(&place.join(FOLDER))?;
    let description = check_files(&request, place, watcher)?;
    let Some(major) = description.dumped_by_major() else {
        return Err(damaged(name, "its server.json does not say which pg_dump wrote it"));
    };
    let binaries = Binaries::find(bin_dir, major, TO_RESTORE)?;
    let folder = Folder::make(place.join(FOLDER))?;
    let server = start(data_dir, place, &folder, &description, &binaries, watcher)?;
    let proof =
        Proof { request: &request, place, description: &description, binaries: &binaries, scratch: &server };
    if let Some(unopened) = proof.load(watcher)? {
        return Err(DriverError::new(Kind::Unavailable, unopened.doubts.join("; "))
            .with_hint("install on this host what the dump needs, then `muster resume RUN`"));
    }
    Ok(Loaded { server, folder, binaries, database: description.database })
}

/// Makes a cluster and starts its server.
fn start(
    data_dir: Option<&Path>,
    place: &Path,
    cluster: &Folder,
    description: &Description,
    binaries: &Binaries,
    watcher: &dyn Watcher,
) -> Result<ScratchServer, DriverError> {
    let owner = Owner::find(data_dir, place)?;
    owner.take(&cluster.0)?;
    watcher.begin("make a scratch server", None);
    make_cluster(binaries, &cluster.0, &description.superuser, owner, watcher)?;
    let server = Server {
        version: binaries_major(description) * 10_000,
        superuser: description.superuser.clone(),
        ..Server::default()
    };
    let places = std::slice::from_ref(&cluster.0);
    ScratchServer::start(binaries, places, &server, owner, Fate::Discarded, watcher)
}

fn binaries_major(description: &Description) -> u32 {
    description.dumped_by_major().unwrap_or_default()
}

/// Names of the witness that this version does not know.
pub(super) fn refuse_unknown(request: &Request<'_>) -> Result<(), DriverError> {
    let is_known = |name: &str| {
        [witness::SCHEMA, witness::MANIFEST].contains(&name)
            || witness::KNOWN
                .iter()
                .any(|known| if known.ends_with(':') { name.starts_with(known) } else { name == *known })
    };
    let Some(unknown) = request.asked.witness.keys().find(|name| !is_known(name)) else { return Ok(()) };
    let message =
        format!("the backup of `{}` promises `{unknown}`, which this version cannot compute", request.name);
    Err(DriverError::new(Kind::Unavailable, message)
        .with_hint("use the version of Muster that took the backup, or a newer one"))
}

/// Reads what a dump says of itself.
///
/// # Errors
/// `Corrupt`: it is not what the backup promises.
pub(super) fn read_description(
    request: &Request<'_>,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Description, DriverError> {
    let bad = |name: &str, why: &str| damaged(request.name, &format!("its file {name} {why}"));
    let path = place.join(description::NAME);
    if !path.is_file() {
        return Err(bad(description::NAME, "is missing"));
    }
    let mark = description::mark(&path, watcher)?;
    if request.asked.witness.get(witness::MANIFEST).is_some_and(|expected| *expected != mark.sha256) {
        return Err(bad(description::NAME, "is not as it was written"));
    }
    serde_json::from_str(&read(&path)?)
        .map_err(|error| bad(description::NAME, &format!("cannot be read: {error}")))
}

/// Compares every file with its mark; a file too many is not looked at.
///
/// # Errors
/// `Corrupt`: it names the file.
pub(super) fn check_files(
    request: &Request<'_>,
    place: &Path,
    watcher: &dyn Watcher,
) -> Result<Description, DriverError> {
    let bad = |name: &str, why: &str| damaged(request.name, &format!("its file {name} {why}"));
    let description = read_description(request, place, watcher)?;
    for needed in [&format!("{DUMP}/toc.dat"), GLOBALS, SCHEMA] {
        if !description.files.contains_key(needed) {
            return Err(bad(needed, "is not named in server.json"));
        }
    }
    for (name, expected) in &description.files {
        let path = place.join(name);
        if !path.is_file() {
            return Err(bad(name, "is missing"));
        }
        if description::mark(&path, watcher)? != *expected {
            return Err(bad(name, "is not as it was written"));
        }
    }
    Ok(description)
}

/// A folder that goes with its handle.
pub(in super::super) struct Folder(PathBuf);

impl Folder {
    /// Returns its path.
    pub(in super::super) fn path(&self) -> &Path {
        &self.0
    }

    fn make(path: PathBuf) -> Result<Self, DriverError> {
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("make", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = scratch::remove(&self.0) {
            log::warn!("{error}: the next verification removes it");
        }
    }
}

/// What a proof works with.
struct Proof<'a> {
    request: &'a Request<'a>,
    place: &'a Path,
    description: &'a Description,
    binaries: &'a Binaries,
    scratch: &'a ScratchServer,
}

impl Proof<'_> {
    fn run(&self, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        if let Some(unopened) = self.load(watcher)? {
            return Ok(unopened);
        }
        let judge = Judge {
            request: self.request,
            place: self.place,
            description: self.description,
            dumper: &self.binaries.program("pg_dump"),
            stage: self,
            database: &self.description.database,
            spare: SPARE,
        };
        let verified = judge.run(watcher)?;
        Ok(Verified { summary: format!("restored, {}", verified.summary), ..verified })
    }

    /// Loads the dump; what this host lacks for it is the answer.
    fn load(&self, watcher: &dyn Watcher) -> Result<Option<Verified>, DriverError> {
        let database = &self.description.database;
        let other = self.other_database();
        let mut main = self.scratch.connect(other, watcher)?;
        let roles = read(&self.place.join(GLOBALS))?;
        if let Err(error) = globals::apply(&mut main, &roles, &self.description.superuser, watcher) {
            return self.judge(GLOBALS, error.kind(), &error.to_string()).map(Some);
        }
        let name = identifier(database);
        if ["postgres", "template1"].contains(&database.as_str()) {
            main.query(&format!("ALTER DATABASE {name} IS_TEMPLATE false"), watcher)?;
            main.query(&format!("DROP DATABASE {name}"), watcher)?;
        }
        let seen = self.scratch.logged_errors().len();
        watcher.begin("restore into a scratch server", None);
        let dump = std::path::absolute(self.place.join(DUMP))
            .map_err(|error| failed("look at", self.place, &error))?;
        let args = [
            "--create".to_owned(),
            "--exit-on-error".into(),
            "--no-password".into(),
            format!("--jobs={}", jobs()),
            format!("--dbname={other}"),
            dump.display().to_string(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = self
            .scratch
            .run(self.binaries, "pg_restore", &args, watcher)
            .map_err(|error| DriverError::of(&error))?;
        if !ended.is_success() {
            // The program tells the table, the server's log the code.
            let logged = self.scratch.logged_errors();
            let code = logged
                .iter()
                .skip(seen)
                .filter_map(|line| line.split(' ').next())
                .find(|code| *code != "57014")
                .map_or(String::new(), |code| format!(" [{code}]"));
            let text = ended.stderr.text();
            let first = text.lines().find_map(|line| line.split_once("error: "));
            let why = format!("{}{code}", first.map_or_else(|| told(&ended), |(_, rest)| rest.to_owned()));
            return self.judge("pg_restore", Kind::Corrupt, &why).map(Some);
        }
        Ok(None)
    }

    /// Says whose fault a failed step is, by the server's code.
    fn judge(&self, step: &str, kind: Kind, why: &str) -> Result<Verified, DriverError> {
        if kind == Kind::Interrupted {
            return Err(DriverError::new(kind, "stopped"));
        }
        let has = |codes: &[&str]| codes.iter().any(|code| why.contains(&format!("[{code}")));
        if has(&["53", "57"]) || why.contains("No space left on device") {
            return Err(DriverError::new(
                Kind::Unavailable,
                format!("the scratch server could not take the dump of `{}`: {why}", self.request.name),
            )
            .with_hint("make room: a proof needs the dump and the whole database beside it"));
        }
        let is_lacking = has(&["58P01"])
            || has(&["0A000"]) && (why.contains("is not available") || why.contains("not supported"))
            || has(&["42809", "22023"]) && why.contains("locale")
            || why.contains("shared_preload_libraries");
        if is_lacking {
            let found = format!("this host cannot restore it: {why}");
            return Ok(verify::unopened(found));
        }
        Err(damaged(self.request.name, &format!("it cannot be restored ({step}): {why}")))
    }

    /// A database of the scratch cluster to work from: one of the two is in the way when the dump is of it.
    fn other_database(&self) -> &'static str {
        if self.description.database == "template1" { "postgres" } else { "template1" }
    }
}

impl Stage for Proof<'_> {
    fn connect(&self, database: &str, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
        self.scratch.connect(database, watcher)
    }

    fn main(&self, watcher: &dyn Watcher) -> Result<Connection, DriverError> {
        self.scratch.connect(self.other_database(), watcher)
    }

    fn dump_schema(&self, database: &str, watcher: &dyn Watcher) -> Result<String, DriverError> {
        let args = schema_args(database, Path::new(RESTORED));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = self
            .scratch
            .run(self.binaries, "pg_dump", &args, watcher)
            .map_err(|error| DriverError::of(&error))?;
        if !ended.is_success() {
            return Err(not_dumped(database, &ended));
        }
        read(&self.place.join(FOLDER).join(RESTORED))
    }

    fn differs(&self, why: &str) -> DriverError {
        damaged(self.request.name, why)
    }
}
