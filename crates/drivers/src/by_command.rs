//! Components of kind `command`: whatever the user's own commands dump, load again and judge.
//!
//! In: the commands. Out: what the dump wrote as a source, the judgement on it, and a target that was loaded from it.
//!
//! ```text
//! dump ── standard output ──────────────► repository          as it comes, without a copy
//!      └─ declared files ─► scratch ────► repository          missing or empty: refused
//! repository ─► scratch ─► verify, in a folder of its own     the proof
//!                       └► restore                            with the paths in its environment
//! ```
//!
//! Exit codes are trusted, and nothing else: a dump that ends with 0 is whole. Nothing is stored when a command fails, but
//! for a safety copy, which takes what there is. No secret gets into an argument. It never runs a command twice at once.
//! Read next: `by_command/task.rs`, `dump.rs`, `outputs.rs`, `verify.rs`, `restore.rs`.

mod dump;
mod leftovers;
mod outputs;
mod restore;
mod task;
mod verify;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_repo::source::Source;
use muster_types::{
    Clock, Kind,
    backup::Method,
    config::{CommandComponent, CommandText, DumpCommand},
    event::Watcher,
    facts::ComponentFacts,
    place::in_server,
    plan::{SwapMove, Takeover},
};

use self::task::Task;
use crate::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    look::Look,
    server::Told,
    swap,
};

/// The driver of one `command` component.
pub struct CommandDriver {
    name: String,
    component: CommandComponent,
    clock: Arc<dyn Clock>,
}

impl CommandDriver {
    /// Makes the driver of the component `name`; runs nothing.
    ///
    /// # Errors
    /// `Config`: no dump, no output or one that is no name, two that would have one variable, a variable that is none.
    pub fn new(name: &str, component: &CommandComponent, clock: Arc<dyn Clock>) -> Result<Self, DriverError> {
        let Some(dump) = &component.dump else {
            return Err(refused(name, "has no `dump`", "add `dump: {command: …, stdout: NAME}` to it"));
        };
        check_outputs(name, dump)?;
        let others = component.restore.iter().chain(&component.verify).map(|one| &one.env);
        for variable in others.chain([&dump.env]).flat_map(BTreeMap::keys) {
            let is_word = variable.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_word || variable.starts_with("MUSTER_") {
                let why = format!("`{variable}` cannot name a variable of its own");
                return Err(refused(
                    name,
                    &why,
                    "use letters, digits and `_`; names that begin with `MUSTER_` are Muster's",
                ));
            }
        }
        Ok(Self { name: name.to_owned(), component: component.clone(), clock })
    }

    /// Returns the dump; [`Self::new`] has seen to it.
    fn dump(&self) -> Result<&DumpCommand, DriverError> {
        self.component.dump.as_ref().ok_or_else(|| refused(&self.name, "has no `dump`", "add it"))
    }

    fn task<'a>(
        &'a self,
        verb: &'static str,
        command: &'a CommandText,
        timeout: Option<muster_types::Span>,
        env: &'a BTreeMap<String, String>,
    ) -> Task<'a> {
        Task { component: &self.name, verb, command, timeout, env }
    }

    fn place(&self) -> PathBuf {
        in_server("command", &self.name)
    }
}

fn check_outputs(name: &str, dump: &DumpCommand) -> Result<(), DriverError> {
    if dump.stdout.is_some() != dump.outputs.is_empty() {
        return Err(refused(
            name,
            "needs either `stdout` or `outputs` in its `dump`",
            "write `stdout: legacy.dump` when the dump is its standard output, or `outputs: [legacy.dump]`",
        ));
    }
    let mut variables: BTreeMap<String, &String> = BTreeMap::new();
    for output in dump.names() {
        let is_name = !output.is_empty()
            && !output.starts_with('.')
            && !output.contains(|c: char| c == '/' || c.is_control());
        if !is_name {
            let why = format!("`{output}` cannot name an output");
            return Err(refused(
                name,
                &why,
                "write the name of a file without a path: a dump writes into the folder where it runs",
            ));
        }
        if let Some(other) = variables.insert(outputs::variable(output), output) {
            let why = format!("`{other}` and `{output}` would be the same `{}`", outputs::variable(output));
            return Err(refused(name, &why, "rename one of them"));
        }
    }
    Ok(())
}

fn refused(name: &str, why: &str, hint: &str) -> DriverError {
    DriverError::new(Kind::Config, format!("component `{name}`: {why}")).with_hint(hint)
}

impl ComponentDriver for CommandDriver {
    fn survey(&self) -> Result<ComponentFacts, DriverError> {
        // What its commands reach, only they know: a safety copy is tried, and tells.
        Ok(ComponentFacts {
            name: self.name.clone(),
            source: format!("command/{}", self.name),
            is_present: true,
            has_data: true,
            size_bytes: 0,
            fingerprint: None,
            last_write: None,
            open_by: Vec::new(),
            beside: Vec::new(),
            targets: vec![self.place()],
            seal: None,
        })
    }

    fn look(&self, _watcher: &dyn Watcher) -> Result<Look, DriverError> {
        let mut look = Look::default();
        let dump = self.dump()?;
        let task = self.task("dump", &dump.command, dump.timeout, &dump.env);
        look.add("dump", task.shown());
        let names: Vec<&str> = dump.names().map(String::as_str).collect();
        look.add("outputs", names.join(", "));
        let own = [("dump", Some(&dump.command))];
        let others = [("restore", &self.component.restore), ("verify", &self.component.verify)];
        let others = others.map(|(verb, one)| (verb, one.as_ref().map(|one| &one.command)));
        for (verb, command) in own.into_iter().chain(others) {
            let Some(program) = command.and_then(task::missing_program) else { continue };
            let mend = "install it, or write its full path";
            look.hinder(format!("the program `{program}` of `{verb}` is not there"), mend);
        }
        if self.component.restore.is_none() {
            let mend =
                "add `restore: {command: …}`; until then its backups come back as files, with `--into`";
            look.warn("it has no `restore` command", Some(mend.into()));
        }
        if self.component.verify.is_none() {
            let mend =
                "add `verify: {command: …}`: it opens a dump somewhere else and ends with 0 when it is good";
            look.warn("it has no `verify` command: its backups stay unproven", Some(mend.into()));
        }
        Ok(look)
    }

    fn open_source(
        &self,
        method: Method,
        scratch: &Path,
        watcher: &dyn Watcher,
    ) -> Result<Box<dyn Source>, DriverError> {
        dump::begin(self, method, scratch, watcher)
    }

    fn targets(&self) -> Vec<PathBuf> {
        vec![self.place()]
    }

    fn verify(&self, asked: &Verification<'_>, watcher: &dyn Watcher) -> Result<Verified, DriverError> {
        verify::verify(self, asked, watcher)
    }

    fn take_over(&self, place: &Path, _how: Takeover, watcher: &dyn Watcher) -> Result<Told, DriverError> {
        restore::restore(self, place, watcher)
    }

    fn check_unused(&self) -> Result<(), DriverError> {
        // What its commands reach, nobody else knows.
        Ok(())
    }

    fn swap(&self, moves: &[SwapMove]) -> Result<(), DriverError> {
        swap::swap(moves, &[])
    }
}
