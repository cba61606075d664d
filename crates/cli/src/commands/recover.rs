//! `muster recover`: on a blank host, from a repository and its key alone: configuration, runbooks and history first, then
//! the plan that brings every component back.
//!
//! Nothing that stands in the folder is overwritten, and everything that was written is named.

mod from_kit;

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use muster_engine::{
    carry::{self, Carried},
    execute,
    world::World,
};
use muster_repo::{Location, Repo, durable};
use muster_types::{Clock, Kind, Secret, Timestamp};
use serde_json::json;

use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{AnewArgs, Global, PointArgs, RecoverArgs, RestoreArgs},
    clock::SystemClock,
    config::{Environment, Loaded, SystemEnvironment},
    confirm::confirm,
    exit::Failure,
    progress::Progress,
    render,
    unseal::{self, Asking},
};

/// The variable with the key.
const KEY_VARIABLE: &str = "MUSTER_KEY";
/// A key is a line; more is no key.
const KEY_BYTES_MAX: usize = 4096;

pub(super) fn run(global: &Global, args: &RecoverArgs) -> Result<Answer, Failure> {
    let (begun, begun_at) = (Instant::now(), SystemClock.now());
    let progress = Progress::new(global.quiet || global.json);
    let mut told = Told::default();
    let meant = Meant { platform: args.platform.as_ref(), environment: global.env.as_ref() };
    let (location, repo, state) = match (&args.kit, &args.repository) {
        (Some(kit), _) => from_kit::begin(kit, args, &meant, &mut told)?,
        (None, Some(repository)) => {
            if args.unlock.identity.is_some() || args.unlock.passphrase_file.is_some() {
                return Err(Failure::new(
                    Kind::Input,
                    "`--identity` and `--passphrase-file` open a kit, and none is given",
                    "give `--kit FILE`; the key of a repository is given with `--key-file`",
                ));
            }
            let location = app::new_location(repository, args.endpoint.as_ref(), args.region.as_ref())?;
            let repo = app::open_repo_at(&location, key(args)?)?;
            let state = choose(&repo, &meant, &mut told)?;
            (location, repo, state)
        }
        (None, None) => {
            return Err(Failure::new(Kind::Input, "no repository is named", "give `--repository LOCATION`"));
        }
    };
    let into = std::path::absolute(&args.into).map_err(|error| cannot("find", &args.into, &error))?;
    let mut loaded = unpack(global, &state, &into, &repo, &mut told)?;
    let from = origin(&loaded, &location, &mut told);
    let brought = begun.elapsed().as_secs_f64();
    told.say(format!("configuration, runbooks and history are back after {brought:.1}s"));
    let config = loaded.files.first().cloned().unwrap_or_else(|| into.join("muster.yaml"));
    // Without `--all` only a plan is shown, and nobody needs to enter anything for it.
    let asking = if args.all && !global.json { Asking::Allowed } else { Asking::Never };
    unseal::give(&mut loaded, &[], &args.unseal, None, asking)?;
    let mut world = app::world_with(loaded, repo)?;
    world.from.clone_from(&from);
    let mut answer = restore(args, begun_at, &world, &progress)?;
    let total = begun.elapsed().as_secs_f64();
    if args.all {
        told.after(format!("recovered in {total:.1}s, {brought:.1}s of it until the plan"));
    } else {
        told.after(next(&config, &world, from.as_deref()));
    }
    answer.text = told.around(&answer.text);
    let mut document = json!({
        "platform": state.id.platform, "environment": state.id.environment, "location": location.to_string(),
        "from": from, "files": told.files, "key_file": told.key_file, "notes": told.before,
        "history": {"entries": state.entries.len(), "newest": state.newest},
        "seconds": total,
    });
    let kind = if args.all { "run" } else { "restore" };
    document[kind] = std::mem::take(&mut answer.document);
    document["outcome"] = document[kind].get("outcome").cloned().unwrap_or_else(|| json!("done"));
    answer.document = document;
    Ok(answer)
}

/// Which platform and environment a person means; `None`: the only one.
struct Meant<'a> {
    platform: Option<&'a String>,
    environment: Option<&'a String>,
}

/// What is said before and after the plan or the run.
#[derive(Default)]
struct Told {
    before: Vec<String>,
    after: Vec<String>,
    files: Vec<PathBuf>,
    key_file: Option<PathBuf>,
}

impl Told {
    fn say(&mut self, line: String) {
        self.before.push(line);
    }

    fn after(&mut self, line: String) {
        self.after.push(line);
    }

    fn around(&self, text: &str) -> String {
        let lines = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        format!("{}{text}{}", lines(&self.before), lines(&self.after))
    }
}

/// Reads the key: from a file, the variable, or as it is typed from paper.
fn key(args: &RecoverArgs) -> Result<Secret, Failure> {
    let given = match &args.key_file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| cannot("read", file, &error))?,
        None => match SystemEnvironment.variable(KEY_VARIABLE) {
            Some(text) if !text.trim().is_empty() => text,
            _ => typed()?,
        },
    };
    let text = given.trim();
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        return Err(Failure::new(
            Kind::Input,
            "there is no key",
            format!(
                "give `--key-file FILE`, set `{KEY_VARIABLE}`, or type it from the paper of `muster key print`"
            ),
        ));
    }
    Ok(Secret::new(text))
}

fn typed() -> Result<String, Failure> {
    let ask = || -> io::Result<String> {
        if io::stdin().is_terminal() {
            let mut stderr = io::stderr().lock();
            write!(stderr, "the key of the repository (it is shown as you type): ")?;
            stderr.flush()?;
        }
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        Ok(line)
    };
    ask().map_err(|error| cannot("read the key from", Path::new("stdin"), &error))
}

/// Chooses the state: of the platform and the environment that are meant, the one that was written last.
fn choose(repo: &Repo, meant: &Meant<'_>, told: &mut Told) -> Result<Carried, Failure> {
    let (states, broken) = carry::carried(repo)?;
    let mut fits: Vec<Carried> = states
        .into_iter()
        .filter(|state| meant.platform.is_none_or(|name| state.id.platform == *name))
        .filter(|state| meant.environment.is_none_or(|name| state.id.environment == *name))
        .collect();
    let mut kinds: Vec<String> =
        fits.iter().map(|state| format!("{} ({})", state.id.platform, state.id.environment)).collect();
    kinds.sort();
    kinds.dedup();
    if kinds.len() > 1 {
        return Err(Failure::new(
            Kind::Input,
            format!("the repository carries {}", kinds.join(", ")),
            "say which one is meant with `--platform NAME` and `--env NAME`",
        ));
    }
    if fits.is_empty() {
        if let Some(error) = broken.into_iter().next() {
            return Err(error.into());
        }
        return Err(Failure::new(
            Kind::NotFound,
            "the repository carries no configuration of this platform and environment",
            "write a `muster.yaml` that names the repository, then `muster list` and `muster restore --all`",
        ));
    }
    for other in fits.iter().skip(1) {
        let (host, newest) = (&other.files.host, render::time(other.newest));
        told.say(format!("note: an older history, of {host} until {newest}, stays in the repository"));
    }
    Ok(fits.swap_remove(0))
}

/// Writes files, key and journal, and loads the configuration that they make.
fn unpack(
    global: &Global,
    state: &Carried,
    into: &Path,
    repo: &Repo,
    told: &mut Told,
) -> Result<Loaded, Failure> {
    let files = &state.files;
    if let Some(path) = carry::conflicts(files, into)?.first() {
        return Err(Failure::new(
            Kind::Conflict,
            format!("{} stands there with another content; nothing was written", path.display()),
            "move it away, or give `--into` another folder",
        ));
    }
    told.files = carry::unpack_files(files, into)?;
    told.say(format!(
        "{} ({}), as it stood on {} at {}, stored by {}",
        state.id.platform,
        state.id.environment,
        files.host,
        files.folder.display(),
        render::time(state.newest)
    ));
    told.say(format!("{} of {} files written to {}", told.files.len(), files.files.len(), into.display()));
    if into != files.folder {
        told.say(format!(
            "note: it stood in {}: relative paths in it mean {} now",
            files.folder.display(),
            into.display()
        ));
    }
    let has = |name: &str| files.files.iter().any(|file| file.path == Path::new(name));
    let environment = &state.id.environment;
    let main = if has("muster.yaml") { PathBuf::from("muster.yaml") } else { first_yaml(state) };
    let is_own_file = has(&format!("muster.{environment}.yaml"));
    let meant = Global {
        config: Some(into.join(main)),
        env: is_own_file.then(|| environment.clone()),
        ..global.clone()
    };
    let loaded = app::load(&meant, Intent::Change)?;
    place_key(&loaded, repo, told)?;
    for finding in &loaded.passwords {
        told.say(format!("note: {}", finding.message));
    }
    if carry::unpack_journal(&state.entries, &loaded.state_dir)? {
        told.say(format!("{} entries of history are in {}", state.entries.len(), loaded.state_dir.display()));
    } else {
        told.say(format!("note: {} has a history already; it stays", loaded.state_dir.display()));
    }
    Ok(loaded)
}

fn first_yaml(state: &Carried) -> PathBuf {
    let is_yaml = |path: &&PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    state.files.files.iter().map(|file| &file.path).find(is_yaml).cloned().unwrap_or_default()
}

/// Puts the key where the configuration looks for it, if nothing is there.
fn place_key(loaded: &Loaded, repo: &Repo, told: &mut Told) -> Result<(), Failure> {
    let reference = loaded.platform.repository.as_ref().map_or("", |one| one.password.as_str());
    let file = reference.strip_prefix("${file:").and_then(|rest| rest.strip_suffix('}'));
    let Some(path) = file.map(|file| loaded.folder.join(file)) else {
        told.say(format!("note: the configuration reads the key by {reference}: set that up on this host"));
        return Ok(());
    };
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| cannot("create", folder, &error))?;
    }
    let content = format!("{}\n", repo.key().expose());
    durable::write(&path, content.as_bytes(), 0o600).map_err(|error| cannot("write", &path, &error))?;
    told.say(format!("the key is in {}, mode 0600", path.display()));
    told.key_file = Some(path);
    Ok(())
}

/// Returns which copy the location is; `None`: the repository itself, or a place that the configuration does not know.
fn origin(loaded: &Loaded, location: &Location, told: &mut Told) -> Option<String> {
    let repository = loaded.platform.repository.as_ref()?;
    let here = location.to_string();
    if repository.location == here {
        return None;
    }
    let copy = repository.copies.iter().find(|copy| copy.location == here);
    if copy.is_none() {
        told.say(format!(
            "note: the configuration names {} and not {here}: change `repository.location` when it stays here",
            repository.location
        ));
    }
    copy.map(|copy| copy.name.clone())
}

/// Shows the plan that brings everything back, or does it.
fn restore(
    args: &RecoverArgs,
    begun_at: Timestamp,
    world: &World,
    progress: &Progress,
) -> Result<Answer, Failure> {
    let wanted = RestoreArgs {
        anew: AnewArgs::default(),
        components: Vec::new(),
        all: true,
        to: args.to.clone(),
        timeline: None,
        point: PointArgs { clean: args.clean.clone(), ..PointArgs::default() },
        into: None,
        from: None,
        replace: false,
        side_by_side: false,
        failed_at: Some(args.failed_at.clone().unwrap_or_else(|| begun_at.to_string())),
        try_older: false,
        undo: false,
        drill: false,
        dry_run: !args.all,
        yes: args.yes,
        table: Vec::new(),
        edit: args.edit.clone(),
        unseal: args.unseal.clone(),
        server_token_file: None,
    };
    let (run, plan) = match super::restore::make_plan(world, &wanted, progress) {
        Ok(made) => made,
        // Configuration and history are back all the same.
        Err(failure) if !args.all => {
            let mut answer = Answer::new("", json!({"error": failure.note}));
            answer.errors = crate::exit::render(&failure.note);
            return Ok(answer.with_code(crate::exit::PARTLY));
        }
        Err(failure) => return Err(failure),
    };
    if !args.all {
        let mut answer = render::plan(&plan);
        super::restore::edits::add(&mut answer, world, &plan)?;
        return Ok(answer);
    }
    super::restore::refuse_missing(world, &plan)?;
    super::restore::edits::say(world, &plan, progress)?;
    super::restore::say_point(&plan, progress);
    let question = format!("this restores every component of environment {}", world.environment);
    confirm(args.yes, &question, "all")?;
    let report = execute::execute(world, &run, &plan, progress)?;
    Ok(render::run(&report))
}

/// Says how to go on.
fn next(config: &Path, world: &World, from: Option<&str>) -> String {
    let from = from.map_or_else(String::new, |name| format!(" --from {name}"));
    let is_file = config.file_name().is_some_and(|name| name == "muster.yaml");
    let place = config.parent().unwrap_or(Path::new("/")).display();
    let file = if is_file { String::new() } else { format!(" --config {}", config.display()) };
    let environment = match world.environment.as_str() {
        "default" => String::new(),
        name => format!(" --env {name}"),
    };
    format!("to do it: cd {place} && muster restore --all{from}{file}{environment}")
}

fn cannot(operation: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Kind::Unavailable,
        format!("cannot {operation} {}: {error}", path.display()),
        "check that it exists and that this user may use it",
    )
}
