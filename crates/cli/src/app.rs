//! Wiring: from the options of a command to a [`World`] that a run can work with.
//!
//! It reads the configuration, resolves the secrets that are needed, and opens drivers, journal and repository. It
//! decides nothing and shows nothing.

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use muster_drivers::{
    component::{self, ComponentDriver},
    services,
};
use muster_engine::{
    journal::Journal,
    world::{Papers, World},
};
use muster_plan::Scope;
use muster_repo::{Credentials, Location, Provider, Repo, Standing, Stop, keys};
use muster_types::{
    ByteSize, Clock, Explain, Kind, Mask, Secret, Timestamp,
    backup::RunId,
    config::{Bucket, MissingSecret, Platform},
    plan::Mode,
};

use crate::{
    args::Global,
    clock::SystemClock,
    commands::copy::ITSELF,
    config::{self, ConfigError, Environment, LoadOptions, Loaded, SystemEnvironment},
    exit::Failure,
    recoverability, signals,
};

/// Whether a command may fall back to the only environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    /// It only looks.
    Read,
    /// It changes something.
    Change,
}

/// What takes the secrets of the loaded configuration out of texts.
static MASK: OnceLock<Mask> = OnceLock::new();

/// Returns the mask of the configuration that was loaded; one that masks nothing before that.
pub(crate) fn mask() -> Mask {
    MASK.get().cloned().unwrap_or_default()
}

/// Loads the configuration.
pub(crate) fn load(global: &Global, intent: Intent) -> Result<Loaded, Failure> {
    let options = LoadOptions {
        file: global.config.clone(),
        environment: global.env.clone(),
        is_destructive: intent == Intent::Change,
    };
    let mut loaded = config::load(&options, &SystemEnvironment).map_err(of_config)?;
    recoverability::give(&mut loaded.platform, global);
    // One configuration per process: what is printed at the end goes through its mask.
    drop(MASK.set(loaded.mask.clone()));
    Ok(loaded)
}

/// Opens the repository that the configuration names.
pub(crate) fn open_repo(loaded: &Loaded) -> Result<Repo, Failure> {
    open_repo_at(&location(loaded)?, key(loaded)?).map_err(|mut failure| {
        let copies = loaded.platform.repository.iter().flat_map(|repository| &repository.copies);
        let is_lost = matches!(failure.note.kind, Kind::NoRepository | Kind::Corrupt | Kind::Unavailable);
        if let Some(copy) = copies.clone().next().filter(|_| is_lost) {
            let hint = failure.note.hint.map_or_else(String::new, |hint| format!("{hint}; or "));
            failure.note.hint = Some(format!(
                "{hint}use the copy: `muster list --from {0}`, `muster restore --from {0}`",
                copy.name
            ));
        }
        failure
    })
}

/// Opens the repository at a location, with a key from a file or from paper.
pub(crate) fn open_repo_at(location: &Location, key: Secret) -> Result<Repo, Failure> {
    let error = match Repo::open(location, &key) {
        Err(error) if error.kind() == Kind::WrongKey => error,
        other => return Ok(other?),
    };
    // Perhaps it was typed from paper: in small letters, without dashes, or with a slip whose place can be told.
    match keys::parse_paper(key.expose()) {
        Ok(typed) if typed != key => Ok(Repo::open(location, &typed)?),
        Err(slip) if key.expose().starts_with("MUSTER-") => {
            let mut failure = Failure::from(error);
            failure.note.causes.push(slip.to_string());
            failure.note.hint = slip.hint().map(|hint| hint.0);
            Err(failure)
        }
        _ => Err(error.into()),
    }
}

/// Returns the repository's key, as the configuration gives it.
pub(crate) fn key(loaded: &Loaded) -> Result<Secret, Failure> {
    loaded.repository_key(&SystemEnvironment).map_err(of_config)
}

fn of_config(error: ConfigError) -> Failure {
    // File names are shown from here on; where "here" cannot be told they are shown whole.
    Failure::of_config(error, &std::env::current_dir().unwrap_or_default())
}

/// Returns the repository's location.
pub(crate) fn location(loaded: &Loaded) -> Result<Location, Failure> {
    let Some(repository) = &loaded.platform.repository else {
        return Err(Failure::new(
            Kind::Config,
            "the configuration names no repository",
            "add `repository: {location: …, password: …}`, or let `muster init` do it",
        ));
    };
    let keys = Keys {
        endpoint: repository.endpoint.as_ref(),
        region: repository.region.as_ref(),
        path_style: repository.path_style,
        max_upload_rate: repository.max_upload_rate,
        bucket: repository.bucket.as_ref(),
        ssh_config: repository.ssh_config.as_ref(),
        credentials: &|| loaded.repository_credentials(&SystemEnvironment).map_err(of_config),
    };
    keys.fill(repository.location.parse()?)
}

/// What the configuration says of a place besides its location.
struct Keys<'a> {
    endpoint: Option<&'a String>,
    region: Option<&'a String>,
    path_style: Option<bool>,
    max_upload_rate: Option<ByteSize>,
    bucket: Option<&'a Bucket>,
    ssh_config: Option<&'a PathBuf>,
    /// Asked only where they are needed.
    credentials: &'a dyn Fn() -> Result<Option<Credentials>, Failure>,
}

impl Keys<'_> {
    fn fill(&self, mut location: Location) -> Result<Location, Failure> {
        let upload_rate_max = self.max_upload_rate.and_then(|rate| NonZeroU64::new(rate.0));
        match &mut location {
            Location::Local(_) => {}
            Location::S3(s3) => {
                s3.path_style = self.path_style.unwrap_or(self.endpoint.is_some() || s3.path_style);
                s3.endpoint = self.endpoint.cloned().or_else(|| s3.endpoint.take());
                s3.region = self.region.cloned().unwrap_or_else(|| s3.region.clone());
                s3.credentials = (self.credentials)()?;
                s3.patience = patience().unwrap_or(s3.patience);
                s3.stop = Stop(signals::is_cancelled);
                s3.upload_rate_max = upload_rate_max;
                s3.storage_class = self.bucket.and_then(|bucket| bucket.storage_class.clone());
            }
            Location::Sftp(sftp) => {
                let usual = || SystemEnvironment.variable("MUSTER_SSH_CONFIG").map(PathBuf::from);
                sftp.ssh_config = self.ssh_config.cloned().or_else(usual);
                sftp.patience = patience().unwrap_or(sftp.patience);
                sftp.stop = Stop(signals::is_cancelled);
                sftp.upload_rate_max = upload_rate_max;
            }
        }
        Ok(location)
    }
}

/// Returns the location of a copy of the repository.
pub(crate) fn copy_location(loaded: &Loaded, name: &str) -> Result<Location, Failure> {
    let copies = loaded.platform.repository.iter().flat_map(|repository| &repository.copies);
    let Some(copy) = copies.clone().find(|copy| copy.name == name) else {
        let known: Vec<&str> = copies.map(|copy| copy.name.as_str()).collect();
        let hint = if known.is_empty() {
            "the configuration has none: add `repository: {copies: [{name: …, location: …}]}`".into()
        } else {
            format!("the configuration has: {}", known.join(", "))
        };
        return Err(Failure::new(Kind::Input, format!("there is no copy `{name}`"), hint));
    };
    let keys = Keys {
        endpoint: copy.endpoint.as_ref(),
        region: copy.region.as_ref(),
        path_style: copy.path_style,
        max_upload_rate: copy.max_upload_rate,
        bucket: copy.bucket.as_ref(),
        ssh_config: copy.ssh_config.as_ref(),
        credentials: &|| loaded.copy_credentials(name, &SystemEnvironment).map_err(of_config),
    };
    keys.fill(copy.location.parse()?)
}

/// Returns where the copies are, or for each why it cannot be used: a missing secret of one keeps no backup from being
/// taken.
fn copy_locations(loaded: &Loaded) -> BTreeMap<String, Result<Location, MissingSecret>> {
    let copies = loaded.platform.repository.iter().flat_map(|repository| &repository.copies);
    copies
        .map(|copy| {
            let location = copy_location(loaded, &copy.name).map_err(|failure| unusable(&copy.name, failure));
            (copy.name.clone(), location)
        })
        .collect()
}

fn unusable(name: &str, failure: Failure) -> MissingSecret {
    MissingSecret {
        message: format!("the copy `{name}` cannot be used: {}", failure.note.error),
        hint: failure.note.hint.unwrap_or_else(|| "run `muster config check`".into()),
    }
}

/// Returns the location that `muster init` was given, with the usual credentials.
pub(crate) fn new_location(
    text: &str,
    endpoint: Option<&String>,
    region: Option<&String>,
) -> Result<Location, Failure> {
    let location: Location = text.parse()?;
    if !matches!(location, Location::S3(_)) && (endpoint.is_some() || region.is_some()) {
        return Err(Failure::new(
            Kind::Input,
            "`--endpoint` and `--region` belong to object storage",
            "leave them out, or give `--repository s3://bucket/prefix`",
        ));
    }
    if region.is_some() && matches!(&location, Location::S3(s3) if s3.provider == Provider::Azure) {
        return Err(Failure::new(Kind::Input, "`--region` belongs to S3, and this is Azure", "leave it out"));
    }
    let keys = Keys {
        endpoint,
        region,
        path_style: None,
        max_upload_rate: None,
        bucket: None,
        ssh_config: None,
        credentials: &|| Ok(config::usual_credentials(text, &SystemEnvironment)),
    };
    keys.fill(location)
}

/// For tests: how long is tried again what another host did not do.
fn patience() -> Option<Duration> {
    let seconds = SystemEnvironment.variable("MUSTER_S3_RETRY_SECONDS")?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// Opens everything that a run touches.
pub(crate) fn open_world(loaded: Loaded) -> Result<World, Failure> {
    let repo = open_repo(&loaded)?;
    world_with(loaded, repo)
}

/// Opens everything that a run touches, with a copy in the place of the repository.
pub(crate) fn open_world_from(mut loaded: Loaded, from: Option<&str>) -> Result<World, Failure> {
    let Some(name) = from else { return open_world(loaded) };
    let location = copy_location(&loaded, name)?;
    if Repo::standing(&location)? == Standing::Nothing {
        return Err(Failure::new(
            Kind::NoRepository,
            format!("nothing stands at the copy `{name}`, {location}"),
            "is its disk mounted? A copy is made by `muster copy`",
        ));
    }
    let repo = open_repo_at(&location, key(&loaded)?)?;
    name_copy(&mut loaded, name);
    let mut world = world_with(loaded, repo)?;
    world.from = Some(name.to_owned());
    Ok(world)
}

/// As [`open_world_from`], for commands that ask or write the copies: only for them their secrets are read.
pub(crate) fn open_world_with_copies(loaded: Loaded, from: Option<&str>) -> Result<World, Failure> {
    let mut copies = copy_locations(&loaded);
    if from.is_some() {
        copies.insert(ITSELF.to_owned(), location(&loaded).map_err(|failure| unusable(ITSELF, failure)));
    }
    let mut world = open_world_from(loaded, from)?;
    world.copies = copies;
    Ok(world)
}

/// Lets what is shown name the copy.
pub(crate) fn name_copy(loaded: &mut Loaded, name: &str) {
    if let Some(repository) = &mut loaded.platform.repository
        && let Some(copy) = repository.copy(name)
    {
        repository.location = copy.location.clone();
    }
}

/// As [`open_world`], with a repository that is open already.
pub(crate) fn world_with(loaded: Loaded, repo: Repo) -> Result<World, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let journal = Journal::open(&loaded.state_dir)?.with_mask(loaded.mask.clone());
    let mut components = BTreeMap::new();
    for (name, definition) in &loaded.platform.components {
        let definition = definition.with_rpo_of(&loaded.platform.objectives);
        components.insert(name.clone(), component::open(name, &definition, Arc::clone(&clock))?);
    }
    let mut services = BTreeMap::new();
    for (name, definition) in &loaded.platform.services {
        services.insert(name.clone(), services::open(name, definition)?);
    }
    Ok(World {
        copies: BTreeMap::new(),
        from: None,
        papers: Papers { folder: loaded.folder.clone(), files: loaded.files.clone() },
        platform: loaded.platform,
        environment: loaded.environment,
        host: host(),
        operator: operator(),
        clock,
        state: loaded.state_dir,
        journal,
        repo,
        components,
        services,
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Makes the id of a new run: its time, and four letters that tell two runs of one second apart.
pub(crate) fn new_run(now: Timestamp) -> RunId {
    let suffix: String = std::iter::repeat_with(fastrand::alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .take(4)
        .collect();
    RunId(format!("{}-{suffix}", now.strftime("%Y%m%dT%H%M%SZ")))
}

/// Returns the names to work on: those given, or all; unknown ones are refused.
pub(crate) fn component_names(world: &World, given: &[String]) -> Result<Vec<String>, Failure> {
    names(&world.components, given)
}

/// As [`component_names`], of those that have backups: a cache that is made anew has none.
pub(crate) fn names_with_backups(world: &World, given: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = component_names(world, given)?;
    let is_disposable = |name: &String| world.platform.components[name].is_disposable();
    if let Some(name) = given.iter().find(|name| is_disposable(name)) {
        return Err(Failure::new(
            Kind::Input,
            format!("`{name}` is disposable: it has no backups"),
            format!("`muster restore {name}` empties it and warms it up; for backups take `disposable` out"),
        ));
    }
    names.retain(|name| !is_disposable(name));
    Ok(names)
}

/// As [`component_names`], before anything is opened.
pub(crate) fn names<T>(components: &BTreeMap<String, T>, given: &[String]) -> Result<Vec<String>, Failure> {
    if given.is_empty() {
        return Ok(components.keys().cloned().collect());
    }
    for name in given {
        if !components.contains_key(name) {
            let known: Vec<&str> = components.keys().map(String::as_str).collect();
            return Err(Failure::new(
                Kind::Input,
                format!("there is no component `{name}`"),
                format!("the configuration has: {}", known.join(", ")),
            ));
        }
    }
    let mut names: Vec<String> = Vec::new();
    for name in given {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    Ok(names)
}

/// Refuses to begin when a secret is missing that a connection needs: of a component that a person has named, or of all.
/// Where others can be worked on they are, and this one fails by itself.
pub(crate) fn refuse_missing_secrets(
    platform: &Platform,
    names: &[String],
    given: &[String],
) -> Result<(), Failure> {
    let missing = |name: &String| platform.components.get(name)?.missing_secret();
    let named = given.iter().find_map(missing);
    let only =
        || names.iter().all(|name| missing(name).is_some()).then(|| names.iter().find_map(missing)).flatten();
    match named.or_else(only) {
        Some(secret) => Err(Failure::new(Kind::Config, secret.message.clone(), secret.hint.clone())),
        None => Ok(()),
    }
}

/// Opens one component's driver without the repository and the journal.
pub(crate) fn open_component(loaded: &Loaded, name: &str) -> Result<Box<dyn ComponentDriver>, Failure> {
    let names = names(&loaded.platform.components, &[name.to_owned()])?;
    let definition = names.first().and_then(|name| loaded.platform.components.get(name));
    let definition = definition
        .ok_or_else(|| Failure::new(Kind::Bug, format!("component `{name}` is gone"), "report this"))?;
    Ok(component::open(name, definition, Arc::new(SystemClock))?)
}

/// What a person asks for, before it is planned: the id of its run and the folder for its temporary copies.
pub(crate) struct Request {
    pub(crate) run: RunId,
    scratch: PathBuf,
}

impl Request {
    /// Makes the id of a new run.
    pub(crate) fn new(world: &World, now: Timestamp) -> Self {
        let run = new_run(now);
        Self { scratch: world.scratch_root().join(&run.0), run }
    }

    /// Returns what every plan rests on besides facts.
    pub(crate) fn scope<'a>(&'a self, world: &'a World, mode: Mode) -> Scope<'a> {
        Scope {
            platform: &world.platform,
            environment: &world.environment,
            run: &self.run,
            scratch: &self.scratch,
            mode,
            from: world.from.as_deref(),
        }
    }
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The user who runs Muster: by name where the system tells it, else by number.
pub(crate) fn operator() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).is_some_and(|id| *id == uid.to_string()))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .unwrap_or_else(|| format!("uid {uid}"))
}
