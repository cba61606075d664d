//! Which files are meant: `muster.yaml` alone, or with the file of one environment beside it.
//!
//! Options and the names in a folder come in; at most two paths leave. Like git, it looks in the current folder and in
//! the folders above.
//!
//! It never opens a file: the file of another environment is a name here and nothing more.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{LoadOptions, environment::Environment, finding::Finding};

/// The name that is looked for.
const FILE: &str = "muster.yaml";

/// The variable that chooses an environment for commands that only look.
const VARIABLE: &str = "MUSTER_ENV";

/// The name of the environment when there is only one file.
pub(super) const DEFAULT: &str = "default";

/// What is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) folder: PathBuf,
    pub(super) shared: PathBuf,
    pub(super) environments: BTreeMap<String, PathBuf>,
    /// The environment whose own file was named.
    named: Option<String>,
}

/// What is read.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) environment: String,
    pub(super) file: Option<PathBuf>,
}

/// Finds the configuration.
pub(super) fn find(given: Option<&Path>, environment: &dyn Environment) -> Result<Found, Finding> {
    let here = environment
        .folder()
        .map_err(|error| Finding::error("the current folder cannot be told").because(error.to_string()))?;
    let file = match given {
        Some(given) => here.join(given),
        None => here
            .ancestors()
            .map(|folder| folder.join(FILE))
            .find(|file| environment.has_file(file))
            .ok_or_else(|| {
                Finding::error(format!("there is no `{FILE}` in {} or a folder above", here.display()))
                    .hint("run `muster init` to write one, or name it with `--config FILE`")
            })?,
    };
    if !environment.has_file(&file) {
        let finding = Finding::error(format!("there is no file `{}`", file.display()));
        return Err(finding.hint("correct `--config`, or run `muster init` to write one"));
    }
    let file = match (file.parent(), file.file_name()) {
        // `-c ../other/muster.yaml`: no path of the configuration should have the `..` in it.
        (Some(folder), Some(name)) if given.is_some() => environment.real(folder).join(name),
        _ => clean(&file),
    };
    let folder = file.parent().unwrap_or(Path::new("/")).to_path_buf();
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some((stem, own)) = name.split_once('.') {
        let shared = folder.join(format!("{stem}.yaml"));
        if is_name(own) && environment.has_file(&shared) {
            let environments = environments(&folder, stem, environment)?;
            return Ok(Found { folder, shared, environments, named: Some(own.to_owned()) });
        }
    }
    let environments = environments(&folder, &name, environment)?;
    Ok(Found { folder, shared: file, environments, named: None })
}

fn environments(
    folder: &Path,
    stem: &str,
    environment: &dyn Environment,
) -> Result<BTreeMap<String, PathBuf>, Finding> {
    let names = environment.names(folder).map_err(|error| {
        Finding::error(format!("the folder {} cannot be listed", folder.display()))
            .because(error.to_string())
            .hint("Muster must see which environments there are: give it the right to read the folder")
    })?;
    let own = names.iter().filter_map(|name| {
        let name = name.to_str()?;
        let own = name.strip_prefix(stem)?.strip_prefix('.')?.strip_suffix(".yaml")?;
        is_name(own).then(|| (own.to_owned(), folder.join(name)))
    });
    Ok(own.collect())
}

/// Chooses the environment. What changes something has no default when there are several.
pub(super) fn choose(
    found: &Found,
    options: &LoadOptions,
    environment: &dyn Environment,
) -> Result<Choice, Finding> {
    let wanted = match (&options.environment, &found.named) {
        (Some(given), Some(named)) if given != named => {
            let finding =
                Finding::error(format!("`--env {given}` and the file of `{named}` contradict each other"));
            return Err(finding.hint("give only one of `--env` and `--config`"));
        }
        (Some(given), _) | (None, Some(given)) => Some(given.clone()),
        (None, None) if options.is_destructive => None,
        (None, None) => environment.variable(VARIABLE).filter(|name| !name.is_empty()),
    };
    let names: Vec<String> = found.environments.keys().cloned().collect();
    match wanted {
        None if names.is_empty() => Ok(Choice { environment: DEFAULT.to_owned(), file: None }),
        Some(name) if names.is_empty() && name == DEFAULT => Ok(Choice { environment: name, file: None }),
        Some(name) => match found.environments.get(&name) {
            Some(file) => Ok(Choice { environment: name, file: Some(file.clone()) }),
            None if names.is_empty() => {
                Err(Finding::error(format!("there is no environment `{name}`")).hint(format!(
                    "this configuration is one file; write `muster.{name}.yaml` beside it, or leave `--env` out"
                )))
            }
            None => Err(Finding::error(format!("there is no environment `{name}`"))
                .hint(format!("there is {}", names.join(", ")))),
        },
        None => match found.environments.iter().next() {
            Some((name, file)) if names.len() == 1 => {
                Ok(Choice { environment: name.clone(), file: Some(file.clone()) })
            }
            _ => {
                let finding = Finding::error("there are several environments, and none was chosen");
                let hint = if options.is_destructive {
                    format!("choose with `--env`: {}; `{VARIABLE}` is not read by a command that changes something", names.join(", "))
                } else {
                    format!("choose with `--env`: {}", names.join(", "))
                };
                Err(finding.hint(hint))
            }
        },
    }
}

/// Tells whether there are several environments and nothing chooses one of them.
pub(super) fn is_open(found: &Found, options: &LoadOptions, environment: &dyn Environment) -> bool {
    let is_given = options.environment.is_some() || found.named.is_some();
    let by_variable =
        || !options.is_destructive && environment.variable(VARIABLE).is_some_and(|name| !name.is_empty());
    found.environments.len() > 1 && !is_given && !by_variable()
}

/// Tells whether a text can name a platform, an environment, a component, a service or a check.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// Takes `.` out of a path. `..` stays: what it means depends on symbolic links.
pub(super) fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}
