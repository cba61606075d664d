//! `muster init` where a `muster.yaml` is: the file stays, and what it names and is missing is made.

use std::path::{Path, PathBuf};

use muster_repo::{Repo, Standing};
use muster_types::Kind;

use super::say;
use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, InitArgs},
    config::Loaded,
    exit::Failure,
    init::make::{self, Made},
};

pub(super) fn run(global: &Global, args: &InitArgs, file: &Path) -> Result<Answer, Failure> {
    if args.repository.is_some() || args.key_file.is_some() || args.platform.is_some() {
        return Err(Failure::new(
            Kind::Input,
            format!("{} is there already, and says where the repository and its key are", file.display()),
            "leave the options out, or change the file",
        ));
    }
    let global = Global { config: Some(file.to_owned()), ..global.clone() };
    let loaded = app::load(&global, Intent::Change)?;
    let key_file = missing_key_file(&loaded);
    let location = app::location(&loaded)?;
    if Repo::standing(&location)? == Standing::Repository {
        return Err(nothing_to_do(&loaded, key_file.as_deref(), &location.to_string()));
    }
    if key_file.is_none() {
        // A key that cannot be read must not come out only after the folder was made.
        app::key(&loaded)?;
    }
    let plan = format!(
        "{}  make the repository  {location}\n",
        key_file
            .as_ref()
            .map(|file| format!("  make the key file    {}\n", file.display()))
            .unwrap_or_default()
    );
    say::ask(&global, args, &format!("{} is there and stays as it is\n", file.display()), &plan)?;
    let mut made = Made::default();
    if let Some(key_file) = key_file {
        make::key(&key_file)?;
        made.key_file = Some(key_file);
    }
    let key = app::key(&loaded)?;
    make::repository(&location, &key)?;
    let repository = PathBuf::from(location.to_string());
    made.repository = Some(repository.clone());
    let places = say::Places { file, key_file: made.key_file.as_deref(), repository: &repository };
    Ok(say::done(&loaded.platform.platform, None, &made, &places))
}

/// Returns the key file that the configuration names, if it names one and it is missing.
fn missing_key_file(loaded: &Loaded) -> Option<PathBuf> {
    let password = &loaded.platform.repository.as_ref()?.password;
    let path = password.trim().strip_prefix("${file:")?.strip_suffix('}')?;
    // More than one reference: what the file holds would be only a part of the key.
    if path.contains(['{', '}']) {
        return None;
    }
    let file = loaded.folder.join(path);
    (!file.exists()).then_some(file)
}

/// A repository is there: says whether its key is, too.
fn nothing_to_do(loaded: &Loaded, missing_key: Option<&Path>, location: &str) -> Failure {
    if let Some(key_file) = missing_key {
        return Failure::new(
            Kind::Conflict,
            format!(
                "there is a repository at {location} already, and its key file {} is missing",
                key_file.display()
            ),
            "put its key there (mode 0600): a copy, or what `muster key print` printed; a new key would not open it",
        );
    }
    match app::open_repo(loaded) {
        Err(failure) => failure,
        Ok(_) => Failure::new(
            Kind::Conflict,
            format!("nothing is to be done: the configuration and the repository at {location} are there"),
            "look at them with `muster config check` and `muster list`",
        ),
    }
}
