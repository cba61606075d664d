//! `muster init` where no `muster.yaml` is.

use std::path::{Path, PathBuf};

use muster_repo::{Location, Repo, RepoError, Standing};
use muster_types::Kind;

use super::{absolute, say};
use crate::{
    answer::Answer,
    app,
    args::{Global, InitArgs},
    config::{self, Environment, LoadOptions, SystemEnvironment},
    exit::Failure,
    init::{
        clusters,
        discover::{Found, discover},
        document::{self, Draft},
        foresee::Foreseen,
        make::{self, Made},
        servers,
    },
};

/// The default names beside `muster.yaml`.
const KEY_FILE: &str = "muster.key";
const REPOSITORY: &str = "muster-repository";

/// Everybody may read the configuration: there is no secret in it.
const FILE_MODE: u32 = 0o644;

/// What will be where; all paths are absolute.
struct Proposal {
    file: PathBuf,
    key_file: PathBuf,
    location: Location,
    /// The location as it is shown.
    repository: PathBuf,
    platform: String,
    found: Found,
    text: String,
}

pub(super) fn run(global: &Global, args: &InitArgs, file: &Path) -> Result<Answer, Failure> {
    let proposal = propose(args, file)?;
    check(&proposal)?;
    let shown = say::found(&proposal.found, &proposal.file);
    say::ask(global, args, &shown, &plan(&proposal))?;
    let mut made = Made::default();
    let (key, is_new) = make::key(&proposal.key_file)?;
    made.key_file = is_new.then(|| proposal.key_file.clone());
    let (_, is_new) = make::repository(&proposal.location, &key)?;
    made.repository = is_new.then(|| proposal.repository.clone());
    make::create(file, proposal.text.as_bytes(), FILE_MODE)?;
    made.file = Some(file.to_owned());
    Ok(say::done(&proposal.platform, Some(&proposal.found), &made, &places(&proposal)))
}

fn places(proposal: &Proposal) -> say::Places<'_> {
    say::Places { file: &proposal.file, key_file: Some(&proposal.key_file), repository: &proposal.repository }
}

fn propose(args: &InitArgs, file: &Path) -> Result<Proposal, Failure> {
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    if !folder.is_dir() {
        return Err(Failure::new(
            Kind::Input,
            format!("there is no folder {}", folder.display()),
            "make it first",
        ));
    }
    let platform = platform(args, &folder)?;
    let key_file = match &args.key_file {
        Some(given) if given.is_file() => absolute(given.clone())?,
        Some(given) => {
            return Err(Failure::new(
                Kind::Input,
                format!("there is no key file {}", given.display()),
                "correct `--key-file`, or leave it out: then a new key is made",
            ));
        }
        None => folder.join(KEY_FILE),
    };
    let location = match &args.repository {
        Some(given) => {
            app::new_location(&given.to_string_lossy(), args.endpoint.as_ref(), args.region.as_ref())?
        }
        None => folder.join(REPOSITORY).to_string_lossy().parse::<Location>()?,
    };
    let without: Vec<PathBuf> =
        location.folder().map(Path::to_owned).into_iter().chain([key_file.clone()]).collect();
    let mut found = discover(&folder, &without);
    let debian = SystemEnvironment.variable(clusters::DEBIAN_VARIABLE);
    let debian = debian.as_deref().unwrap_or(clusters::DEBIAN);
    found.postgres =
        clusters::find(Path::new(debian), found.compose.as_ref(), &folder, Path::new(clusters::SOCKETS));
    found.servers = servers::local();
    found.has_docker = has_program("docker");
    if let Some(above) =
        folder.ancestors().skip(1).map(|above| above.join(super::FILE)).find(|file| file.is_file())
    {
        found
            .warnings
            .push(format!("there is {} too: here and below, the new file hides it", above.display()));
    }
    let repository = PathBuf::from(location.to_string());
    let text = document::text(&Draft {
        platform: &platform,
        repository: repository.strip_prefix(&folder).unwrap_or(&repository),
        endpoint: args.endpoint.as_deref(),
        region: args.region.as_deref(),
        key_file: key_file.strip_prefix(&folder).unwrap_or(&key_file),
        folder: &folder,
        found: &found,
    });
    Ok(Proposal { file: file.to_owned(), key_file, location, repository, platform, found, text })
}

fn platform(args: &InitArgs, folder: &Path) -> Result<String, Failure> {
    match &args.platform {
        Some(given) if document::is_name(given) => Ok(given.clone()),
        Some(given) => Err(Failure::new(
            Kind::Input,
            format!("`{given}` cannot name a platform"),
            "use letters, digits, `-` and `_`",
        )),
        None => {
            let name = document::name_of(&folder.file_name().unwrap_or_default().to_string_lossy());
            Ok(if name.is_empty() { "platform".to_owned() } else { name })
        }
    }
}

/// Refuses what cannot come to a good end, before anything is written.
fn check(proposal: &Proposal) -> Result<(), Failure> {
    let has_key = proposal.key_file.exists();
    if has_key {
        make::key(&proposal.key_file)?;
    }
    match Repo::standing(&proposal.location)? {
        Standing::Nothing => {}
        Standing::Other => return Err(RepoError::NotEmpty(proposal.repository.clone()).into()),
        Standing::Repository if has_key => {}
        Standing::Repository => {
            return Err(Failure::new(
                Kind::Conflict,
                format!("there is a repository at {} already, and not its key", proposal.location),
                "give its key with `--key-file FILE`, or choose another `--repository`",
            ));
        }
    }
    // The file itself is judged by the loader that reads it later.
    let mut files = vec![(proposal.file.clone(), proposal.text.clone())];
    if !has_key {
        files.push((proposal.key_file.clone(), "a key".to_owned()));
    }
    for (name, _) in document::postgres(&proposal.found) {
        let folder = proposal.file.parent().unwrap_or(Path::new("/"));
        // A person makes it; it is no fault of the file that it is not there yet.
        files.push((folder.join(document::password_file(&name)), "a password".to_owned()));
    }
    // As for a command that changes something: then no variable chooses an environment.
    let options = LoadOptions { file: Some(proposal.file.clone()), environment: None, is_destructive: true };
    let foreseen = Foreseen::with(files);
    config::load(&options, &foreseen)
        // The key is read too: a path with braces in it cannot be written as a reference.
        .and_then(|loaded| loaded.repository_key(&foreseen))
        .map_err(|error| Failure::of_config(error, proposal.file.parent().unwrap_or(Path::new("/"))))?;
    Ok(())
}

fn plan(proposal: &Proposal) -> String {
    let word = |path: &Path| if path.exists() { "use " } else { "make" };
    let is_there = matches!(Repo::standing(&proposal.location), Ok(Standing::Repository));
    format!(
        "  {} the key file    {}\n  {} the repository  {}\n  write the file        {}\n",
        word(&proposal.key_file),
        proposal.key_file.display(),
        if is_there { "use " } else { "make" },
        proposal.location,
        proposal.file.display()
    )
}

fn has_program(name: &str) -> bool {
    let paths = SystemEnvironment.variable("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(name).is_file())
}
