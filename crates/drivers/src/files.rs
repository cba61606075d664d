//! Components of kind `files`: folders and files as they lie on a disk.
//!
//! In: the component's paths and globs. Out: facts, a source for a backup, and the judgement on a restored tree.
//! `paths[i]` stands as `data/<i>` in a backup: a folder as entry `i` with everything below it, a single file as a file.
//!
//! ```text
//! paths ─► walk (select) ─► source (content, ledger) ─► repository
//!                  └──────► survey, verify (digest), check_unused
//! ```
//!
//! **What a restore in place means for files that are left out.** A restore swaps the whole path. What `include`,
//! `exclude` or `max_age` leave out is not in the backup, so afterwards it is only in the old state that is kept beside,
//! and goes with it. `FilesComponent::leaves_out` tells the planner to say so.
//!
//! It never follows a symbolic link: a path of the component that is one is refused, because a restore would replace the
//! link and leave the data that it points to.
//!
//! Read next: `files/select.rs` for the globs, `files/source.rs` for what is read, `files/digest.rs` for the witness.

mod content;
mod digest;
mod git;
mod ledger;
mod select;
mod show;
mod source;
mod survey;
mod verify;
mod walk;

use std::{
    fs,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use muster_repo::source::Source;
use muster_types::{
    Clock, Explain, Kind, backup::Method, config::FilesComponent, event::Watcher, facts::ComponentFacts,
    plan::SwapMove,
};

use self::{ledger::Ledger, show::show, source::FilesSource};
pub(crate) use self::{select::Selection, walk::changed_at};
use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    edits,
    look::Look,
    swap,
};

/// The driver of one `files` component.
pub struct FilesDriver {
    name: String,
    paths: Vec<PathBuf>,
    component: FilesComponent,
    selection: Selection,
    clock: Arc<dyn Clock>,
    /// The bytes that the last survey has seen, for the progress of a backup.
    surveyed_bytes: Mutex<Option<u64>>,
}

impl FilesDriver {
    /// Makes the driver of the component `name`; looks at no disk.
    ///
    /// # Errors
    /// `Config`: no path, a relative one, one with `..`, `/`, one below another, or a glob that is none.
    pub fn new(name: &str, component: &FilesComponent, clock: Arc<dyn Clock>) -> Result<Self, DriverError> {
        let paths = component.paths.iter().map(|path| checked(name, path)).collect::<Result<Vec<_>, _>>()?;
        if paths.is_empty() {
            return Err(DriverError::new(Kind::Config, format!("component `{name}` has no paths"))
                .with_hint("write `paths: [/srv/uploads]`"));
        }
        for (index, path) in paths.iter().enumerate() {
            for (_, other) in paths.iter().enumerate().filter(|(at, _)| *at != index) {
                if path.starts_with(other) {
                    let message = format!("{} of component `{name}` lies in {}", show(path), show(other));
                    return Err(DriverError::new(Kind::Config, message)
                        .with_hint("remove it: a path stands for everything below it"));
                }
            }
        }
        edits::check(name, &component.edits)?;
        Ok(Self {
            name: name.to_owned(),
            paths,
            component: component.clone(),
            selection: Selection::new(&component.include, &component.exclude)?,
            clock,
            surveyed_bytes: Mutex::default(),
        })
    }

    fn selection_now(&self) -> Arc<Selection> {
        Arc::new(self.selection.clone().with_max_age(self.component.max_age, self.clock.now()))
    }
}

/// Brings a path into the one form that the walk and the comparison need.
fn checked(name: &str, path: &Path) -> Result<PathBuf, DriverError> {
    let fail = |why: &str, hint: &str| {
        let message = format!("path `{}` of component `{name}` {why}", show(path));
        Err(DriverError::new(Kind::Config, message).with_hint(hint))
    };
    if !path.is_absolute() {
        return fail("is not absolute", "write it from `/` on");
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return fail("has `..` in it", "write it without");
    }
    // Without a slash at the end: with one, `lstat` would follow a link.
    let path: PathBuf = path.components().collect();
    if path.file_name().is_none() {
        return fail("cannot be put back in one rename", "name the folders below it");
    }
    Ok(path)
}

impl ComponentDriver for FilesDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        let facts = survey::survey(&self.name, &self.paths, self.selection_now());
        *self.surveyed_bytes.lock().unwrap_or_else(PoisonError::into_inner) = Some(facts.size_bytes);
        Ok(facts)
    }

    fn look(&self, watcher: &dyn Watcher) -> Result<Look, DriverError> {
        let mut look = Look::of(&self.survey()?);
        match git::look(&self.name, &self.paths, self.component.git, watcher) {
            Ok(found) => {
                for one in &found.checkouts {
                    look.add("git", one);
                }
                found.warnings.into_iter().for_each(|line| look.warn(line, None));
            }
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => {
                let mend = error.hint().map_or_else(|| "look at the checkout".to_owned(), |hint| hint.0);
                look.hinder(error.to_string(), mend);
            }
        }
        Ok(look)
    }

    fn open_source(
        &self,
        method: Method,
        _scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        for path in &self.paths {
            match fs::symlink_metadata(path) {
                Ok(metadata) if metadata.is_symlink() => return Err(DriverError::of(&source::link(path))),
                // A raw copy takes what is there; a consistent one says what is missing before it reads for hours.
                Err(error) if method == Method::Consistent => {
                    return Err(DriverError::new(
                        if error.kind() == std::io::ErrorKind::NotFound {
                            Kind::NotFound
                        } else {
                            Kind::Unavailable
                        },
                        format!("cannot read {} of component `{}`", show(path), self.name),
                    )
                    .with_hint("is its disk mounted? else correct `paths` of the component")
                    .with_source(error));
                }
                Ok(_) | Err(_) => {}
            }
        }
        let ledger = Arc::new(Ledger::default());
        // What lies there is saved before a restore, whatever the remote says.
        let found = if method == Method::Consistent {
            git::look(&self.name, &self.paths, self.component.git, watcher)?
        } else {
            git::Found::default()
        };
        found.warnings.into_iter().for_each(|line| ledger.warn(line));
        Ok(Box::new(FilesSource {
            checkouts: found.checkouts,
            paths: self.paths.clone(),
            selection: self.selection_now(),
            method,
            clock: self.clock.clone(),
            size_bytes: *self.surveyed_bytes.lock().unwrap_or_else(PoisonError::into_inner),
            begun_at: OnceLock::new(),
            ledger,
        }))
    }

    fn targets(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    fn verify(&self, request: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        let Verification { places, witness, assertions, .. } = *request;
        verify::verify(&self.paths, places, witness, assertions, watcher).map(Verified::from)
    }

    /// A shell whose working folder is below the path is not seen: it writes nothing by itself.
    ///
    /// A path that is a mount point fails as well: it could not be put aside.
    fn check_unused(&self) -> Result<(), DriverError> {
        if let Some(path) = survey::mount_point(&self.paths) {
            let message = format!("{} is a mount point, which a swap cannot put aside", show(path));
            return Err(DriverError::new(Kind::Conflict, message)
                .with_hint("name the folders below it in `paths`, or restore to another place"));
        }
        let open_by = survey::open_by(&self.paths);
        if open_by.is_empty() {
            return Ok(());
        }
        let message = format!("files of component `{}` are open in {}", self.name, open_by.join(", "));
        Err(DriverError::new(Kind::Conflict, message).with_hint(
            "stop them first: they would go on writing to the old files, which are about to be replaced",
        ))
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        for one in moves {
            if fs::symlink_metadata(&one.target).is_ok_and(|found| found.is_symlink()) {
                return Err(DriverError::of(&source::link(&one.target)));
            }
        }
        swap::swap(moves, &[])
    }
}
