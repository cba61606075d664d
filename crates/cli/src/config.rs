//! From the files that a person writes to one [`Platform`] that can be worked with, or to every fault in them at once.
//!
//! ```text
//! discover ─> parse ─> merge ─> typed ─> rules ─> resolve ─> Loaded
//! which file  tree     two      types    sense    secrets, absolute paths
//! ```
//!
//! Options and an [`Environment`] come in; [`Loaded`] leaves, or a [`ConfigError`] that names file, line and column of
//! each fault. It never opens a file or a secret of an environment that was not chosen, and it reads the repository's
//! secrets only when [`Loaded::repository_key`] and [`Loaded::repository_credentials`] ask for them.
//!
//! Read next: `tree`, then the modules in the order of the picture.

mod de;
mod discover;
mod environment;
mod finding;
mod merge;
mod parse;
mod paths;
mod resolve;
mod rules;
mod secret;
pub(crate) mod suggest;
mod tree;
mod typed;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use muster_repo::Credentials;
use muster_types::{
    Mask, Secret,
    config::{Component, MissingSecret, Platform},
};

pub use environment::{Environment, SystemEnvironment};
pub use finding::{ConfigError, Finding, Place, Severity};

use self::{
    discover::Choice,
    rules::Files,
    tree::{Node, Sources},
};

/// Where Muster keeps its state when the configuration does not say, beside the file.
const STATE: &str = ".muster";

/// What a command says about the configuration that it wants.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The file that `--config` names; without it `muster.yaml` here or in a folder above.
    pub file: Option<PathBuf>,
    /// The environment that `--env` names.
    pub environment: Option<String>,
    /// Whether the command changes something: then there is no default among several environments.
    pub is_destructive: bool,
}

/// A configuration without a fault.
#[derive(Clone)]
pub struct Loaded {
    /// The merged document: paths are absolute, and references are resolved except the repository's secrets.
    pub platform: Platform,
    /// The chosen environment; `default` where there is only one file.
    pub environment: String,
    /// The names of all environments; empty where there is only one file.
    pub environments: Vec<String>,
    /// Where journal and locks are.
    pub state_dir: PathBuf,
    /// Takes the secrets of services and checks out of texts.
    pub mask: Mask,
    /// The folder of the configuration.
    pub folder: PathBuf,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What somebody should look at.
    pub warnings: Vec<Finding>,
    /// What is wrong with the passwords of components: errors for `config check`, and for whoever needs one of them.
    pub passwords: Vec<Finding>,
    /// Where the repository's secrets stand, for the day on which one cannot be read.
    secrets: BTreeMap<&'static str, Place>,
    /// The same of each of its copies, by name.
    copy_secrets: BTreeMap<String, BTreeMap<&'static str, Place>>,
}

impl fmt::Debug for Loaded {
    /// Leaves the platform out, because the secrets of checks and services are resolved in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("environment", &self.environment)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A key that is not there may be one that nobody has made yet.
fn or_made(finding: Finding) -> Finding {
    match &finding.hint {
        Some(hint) if finding.message.ends_with("cannot be read") => {
            let hint = format!("{hint}; `muster init` makes a key where there is no repository yet");
            finding.hint(hint)
        }
        _ => finding,
    }
}

impl Loaded {
    /// Resolves the repository's password.
    pub fn repository_key(&self, environment: &dyn Environment) -> Result<Secret, ConfigError> {
        let Some((text, place)) = self.secret("password") else {
            let finding = Finding::error("the configuration has no `repository`");
            return Err(finding.hint("add `repository: {location: …, password: …}`").into());
        };
        let resolved = secret::resolve(text, place, &self.folder, environment, &mut Vec::new());
        Ok(resolved.map_err(or_made)?)
    }

    /// Looks whether the repository's password is there, without running a command: errors, and files that every user
    /// may read.
    pub fn look_at_repository_key(&self, environment: &dyn Environment) -> Vec<Finding> {
        let look = |(text, place): (_, &_)| secret::look(text, place, &self.folder, environment);
        let key = self.secret("password").into_iter().flat_map(look).map(or_made);
        let own =
            resolve::SECRETS.iter().filter(|key| **key != "password").filter_map(|key| self.secret(key));
        let copies = self.platform.repository.iter().flat_map(|repository| &repository.copies);
        let of_copies = copies.flat_map(|copy| {
            let place = |key| self.copy_secrets.get(&copy.name)?.get(key);
            let access = copy.access_key.as_deref().zip(place("access_key"));
            access.into_iter().chain(copy.secret_key.as_deref().zip(place("secret_key")))
        });
        key.chain(own.chain(of_copies).flat_map(look)).collect()
    }

    /// Resolves the credentials of object storage: those of the file, else those of the usual variables.
    pub fn repository_credentials(
        &self,
        environment: &dyn Environment,
    ) -> Result<Option<Credentials>, ConfigError> {
        let (Some(access), Some(secret)) = (self.secret("access_key"), self.secret("secret_key")) else {
            let location = self.platform.repository.as_ref().map(|repository| repository.location.as_str());
            return Ok(usual_credentials(location.unwrap_or_default(), environment));
        };
        let resolve =
            |(text, place)| secret::resolve(text, place, &self.folder, environment, &mut Vec::new());
        let access_key = resolve(access)?.expose().to_owned();
        Ok(Some(Credentials { access_key, secret_key: resolve(secret)?, session_token: None }))
    }

    /// As [`Self::repository_credentials`], of a copy: its own, else those of the usual variables.
    pub fn copy_credentials(
        &self,
        name: &str,
        environment: &dyn Environment,
    ) -> Result<Option<Credentials>, ConfigError> {
        let copy = self.platform.repository.as_ref().and_then(|repository| repository.copy(name));
        let usual = || {
            let location = copy.map(|copy| copy.location.as_str()).unwrap_or_default();
            Ok(usual_credentials(location, environment))
        };
        let (Some(copy), Some(places)) = (copy, self.copy_secrets.get(name)) else {
            return usual();
        };
        let pair = |text: Option<&String>, key| Some((text?.clone(), places.get(key)?));
        let access = pair(copy.access_key.as_ref(), "access_key");
        let secret = pair(copy.secret_key.as_ref(), "secret_key");
        let (Some(access), Some(secret)) = (access, secret) else {
            return usual();
        };
        let resolve = |(text, place): (String, &Place)| {
            secret::resolve(&text, place, &self.folder, environment, &mut Vec::new())
        };
        let access_key = resolve(access)?.expose().to_owned();
        Ok(Some(Credentials { access_key, secret_key: resolve(secret)?, session_token: None }))
    }

    fn secret(&self, key: &str) -> Option<(&str, &Place)> {
        let repository = self.platform.repository.as_ref()?;
        let text = match key {
            "password" => Some(&repository.password),
            "access_key" => repository.access_key.as_ref(),
            _ => repository.secret_key.as_ref(),
        };
        Some((text?.as_str(), self.secrets.get(key)?))
    }
}

/// The credentials of object storage in the variables that other programs read too; which ones, the location tells.
pub fn usual_credentials(location: &str, environment: &dyn Environment) -> Option<Credentials> {
    let variable = |name| environment.variable(name).filter(|value| !value.is_empty());
    if location.starts_with("azblob://") {
        let key = variable("AZURE_STORAGE_KEY").or_else(|| variable("AZURE_STORAGE_SAS_TOKEN"));
        let (access_key, secret_key) = (variable("AZURE_STORAGE_ACCOUNT")?, Secret::new(key?));
        return Some(Credentials { access_key, secret_key, session_token: None });
    }
    Some(Credentials {
        access_key: variable("AWS_ACCESS_KEY_ID")?,
        secret_key: Secret::new(variable("AWS_SECRET_ACCESS_KEY")?),
        session_token: variable("AWS_SESSION_TOKEN").map(Secret::new),
    })
}

/// Loads the configuration that the options name.
pub fn load(options: &LoadOptions, environment: &dyn Environment) -> Result<Loaded, ConfigError> {
    let found = discover::find(options.file.as_deref(), environment)?;
    let choice = discover::choose(&found, options, environment)?;
    let mut sources = Sources::default();
    let mut findings = Vec::new();
    let tree = read(&found.shared, &choice, environment, &mut sources, &mut findings);
    let Some(tree) = tree else { return Err(failed(findings)) };

    let files = Files::new(&found.shared, &choice);
    let Some(typed) = typed::read(&tree, &sources, &mut findings) else { return Err(failed(findings)) };
    let rules = rules::Rules { tree: &tree, sources: &sources, typed: &typed, files: &files };
    rules.judge(&mut findings);
    let resolver = resolve::Resolver {
        sources: &sources,
        folder: &found.folder,
        environment,
        has_own: files.own.is_some(),
    };
    let resolved = resolver.resolve(&tree, &mut findings);
    // The second reading finds nothing new: a reference is text, and only text fits where text was accepted.
    let Some(whole) = typed::read(&resolved.tree, &sources, &mut Vec::new()) else {
        return Err(failed(findings));
    };
    rules.judge_checks(&whole.platform, &resolved, &mut findings);
    let mut platform = whole.platform;
    for (name, findings) in &resolved.passwords {
        let missing = findings.first().map(|finding| missing(name, finding));
        if let Some(component) = platform.components.get_mut(name) {
            take_secrets(component, missing);
        }
    }
    paths::make_absolute(&mut platform, &found.folder);
    give_components(&mut platform);
    let state_dir = platform.state.clone().unwrap_or_else(|| match &choice.file {
        None => found.folder.join(STATE),
        // Journals, locks and kept data of two environments have nothing to do with each other.
        Some(_) => found.folder.join(STATE).join(&choice.environment),
    });
    if !has_error(&findings) {
        rules.judge_overlaps(&platform, &state_dir, &mut findings);
    }
    if has_error(&findings) {
        return Err(failed(findings));
    }

    let own_name = platform.environment.clone().filter(|_| choice.file.is_none());
    Ok(Loaded {
        environment: own_name.unwrap_or(choice.environment),
        environments: found.environments.keys().cloned().collect(),
        state_dir,
        files: sources.files(),
        warnings: ordered(findings),
        passwords: ordered(resolved.passwords.values().flatten().cloned().collect()),
        secrets: resolve::SECRETS
            .into_iter()
            .filter_map(|key| Some((key, sources.place(tree.get(&["repository", key])?.at))))
            .collect(),
        copy_secrets: copy_places(&tree, &sources),
        folder: found.folder,
        mask: resolved.mask(),
        platform,
    })
}

/// Takes out of a component what could not be had, and leaves the reason there.
fn take_secrets(component: &mut Component, missing: Option<MissingSecret>) {
    match component {
        Component::Postgres(postgres) => {
            postgres.password = None;
            postgres.password_missing = missing;
        }
        Component::Redis(redis) => {
            redis.password = None;
            redis.password_missing = missing;
        }
        Component::Vault(vault) => {
            (vault.token, vault.role_id, vault.secret_id) = (None, None, None);
            vault.secret_missing = missing;
        }
        Component::Etcd(etcd) => {
            etcd.password = None;
            etcd.secret_missing = missing;
        }
        Component::Sqlite(_) | Component::Files(_) | Component::Kubernetes(_) | Component::Command(_) => {}
    }
}

/// Gives each check the component that it asks, with its login.
fn give_components(platform: &mut Platform) {
    let components = &platform.components;
    for check in platform.checks.values_mut() {
        let asked = check.asks().and_then(|(_, name)| components.get(name));
        check.component = asked.cloned().map(Box::new);
    }
}

/// Returns where the secrets of each copy stand.
fn copy_places(tree: &Node, sources: &Sources) -> BTreeMap<String, BTreeMap<&'static str, Place>> {
    let item = |index: usize| tree.get(&["repository", "copies", &index.to_string()]);
    (0..)
        .map_while(item)
        .filter_map(|node| {
            let name = node.entry("name")?.node.text()?.to_owned();
            let places = resolve::SECRETS
                .into_iter()
                .filter_map(|key| Some((key, sources.place(node.entry(key)?.node.at))));
            Some((name, places.collect()))
        })
        .collect()
}

/// Says what a component lacks, without the place in the file.
fn missing(name: &str, finding: &Finding) -> MissingSecret {
    let cause = finding.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    MissingSecret {
        message: format!("the secret of component `{name}`: {}{cause}", finding.message),
        hint: finding.hint.clone().unwrap_or_else(|| "run `muster config check`".into()),
    }
}

/// Returns the environments that are to be chosen from; none when one is chosen or there is nothing to choose.
pub fn unchosen(options: &LoadOptions, environment: &dyn Environment) -> Result<Vec<String>, ConfigError> {
    let found = discover::find(options.file.as_deref(), environment)?;
    if discover::is_open(&found, options, environment) {
        return Ok(found.environments.into_keys().collect());
    }
    discover::choose(&found, options, environment)?;
    Ok(Vec::new())
}

/// Returns the JSON Schema of the file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Platform).to_value()
}

/// Reads the one or two files; both are read even if the first is no YAML, so that both show their faults.
fn read(
    shared: &Path,
    choice: &Choice,
    environment: &dyn Environment,
    sources: &mut Sources,
    findings: &mut Vec<Finding>,
) -> Option<Node> {
    let mut one = |path: &Path| match environment.read(path) {
        Ok(bytes) => parse::parse(sources, path.to_owned(), bytes, findings),
        Err(error) => {
            let finding = Finding::error(format!("`{}` cannot be read", path.display()));
            findings.push(finding.because(error.to_string()).hint("give muster the right to read it"));
            None
        }
    };
    let shared = one(shared);
    let Some(file) = &choice.file else { return shared };
    let own = one(file);
    Some(merge::merge(shared?, own?, &choice.environment, sources, findings))
}

fn has_error(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// Makes the error of a load: warnings are left out, because what is wrong comes first.
fn failed(findings: Vec<Finding>) -> ConfigError {
    let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
    ConfigError { findings: ordered(errors) }
}

/// Sorts by file, line and column; what stands nowhere comes first. The same finding counts once.
fn ordered(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by_key(|finding| {
        finding.place.as_ref().map(|place| (place.file.clone(), place.line, place.column))
    });
    findings.dedup();
    findings
}
