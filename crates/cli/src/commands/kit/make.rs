//! Gathers a kit and writes it. The configuration and an open repository come in; one file leaves.
//!
//! References to secrets go in as they are written; no value of one does but the repository's key, which is what the kit
//! is for.

use std::path::{Path, PathBuf};

use muster_engine::{
    carry,
    kit::{self, Content, Item, Lock, Manifest, Place},
    world::World,
};
use muster_types::{Kind, Secret};
use serde_json::json;

use super::{papers, readme};
use crate::{
    answer::Answer,
    app::{self, Intent},
    args::{Global, KitArgs},
    exit::Failure,
};

pub(super) fn run(global: &Global, args: &KitArgs, file: &Path) -> Result<Answer, Failure> {
    let loaded = app::load(global, Intent::Read)?;
    let (lock, people) = lock(args, &loaded.platform.kit.recipients)?;
    let cheat = crate::commands::cheat::sheet(global, &loaded)?.0;
    // A kit whose key opens nothing helps nobody, so it is tried before anything is written.
    let world = app::open_world(loaded)?;
    let key_id = world.repo.keys()?.into_iter().find(|key| key.is_current).map(|key| key.id);
    let carried = carry::current(&world)?;
    let mut warnings = Vec::new();
    let mut manifest = Manifest {
        format: kit::FORMAT,
        platform: world.platform.platform.clone(),
        environment: world.environment.clone(),
        made_at: world.clock.now(),
        host: world.host.clone(),
        muster: world.version.to_owned(),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        folder: world.papers.folder.clone(),
        places: places(&world),
        key_id: key_id.unwrap_or_default(),
        people,
        files: Vec::new(),
    };
    let mut items = vec![text("README.txt", readme::text(&manifest, !args.no_binary))];
    items.push(text(kit::KEY, format!("{}\n", world.repo.key().expose())));
    items.push(text("cheat.txt", cheat));
    items.push(text("contacts.txt", papers::contacts(&world, &mut warnings)));
    items.extend(papers::runbooks(&world, &mut warnings)?);
    for one in &carried.files {
        let Some(bytes) = one.bytes() else {
            let message = format!("{} cannot be taken along: it is not what was read", one.path.display());
            return Err(Failure::new(Kind::Bug, message, "please report this"));
        };
        let content = Content::Bytes(bytes);
        items.push(Item { path: Path::new(kit::CONFIG).join(&one.path), mode: 0o600, content });
    }
    if !args.no_binary {
        let binary = std::env::current_exe().map_err(|error| {
            let message = format!("cannot find the running binary: {error}");
            Failure::new(Kind::Unavailable, message, "leave it out with `--no-binary`")
        })?;
        items.push(Item { path: kit::BINARY.into(), mode: 0o755, content: Content::File(binary) });
    }
    cover(&mut items);
    refuse_inside(&world, file)?;
    manifest = kit::seal(file, manifest, &items, &lock)?;
    Ok(answer(file, &manifest, &warnings))
}

/// Everybody who is named, or the passphrase: age allows no mixture.
fn lock(args: &KitArgs, named: &muster_types::config::Named<String>) -> Result<(Lock, Vec<String>), Failure> {
    if args.unlock.identity.is_some() {
        return Err(Failure::new(
            Kind::Input,
            "`--identity` opens a kit, and none is opened here",
            "give public keys with `--recipient age1…`",
        ));
    }
    if let Some(file) = &args.unlock.passphrase_file {
        if !args.recipient.is_empty() {
            return Err(Failure::new(
                Kind::Input,
                "a kit is locked by a passphrase or by keys of people, and not by both",
                "make two kits: one with `--passphrase-file`, one with `--recipient`",
            ));
        }
        let passphrase: Secret = super::secret(file)?;
        return Ok((Lock::passphrase(&passphrase)?, Vec::new()));
    }
    // What was pasted by mistake may be a private key: it is repeated nowhere.
    let given = args.recipient.iter().map(|key| ("--recipient", key.as_str()));
    let keys = named.iter().map(|(name, key)| (name.as_str(), key.as_str())).chain(given);
    let lock = Lock::people(keys)?;
    Ok((lock, named.keys().chain(&args.recipient).cloned().collect()))
}

fn places(world: &World) -> Vec<Place> {
    let Some(repository) = &world.platform.repository else { return Vec::new() };
    let own = Place {
        copy: None,
        location: repository.location.clone(),
        endpoint: repository.endpoint.clone(),
        region: repository.region.clone(),
        path_style: repository.path_style,
    };
    let copies = repository.copies.iter().map(|copy| Place {
        copy: Some(copy.name.clone()),
        location: copy.location.clone(),
        endpoint: copy.endpoint.clone(),
        region: copy.region.clone(),
        path_style: copy.path_style,
    });
    std::iter::once(own).chain(copies).collect()
}

fn text(path: &str, text: String) -> Item {
    Item { path: path.into(), mode: 0o600, content: Content::Bytes(text.into_bytes()) }
}

/// Takes the secrets of the configuration out of every paper: a kit is printed, and given to people.
fn cover(items: &mut [Item]) {
    let mask = app::mask();
    for item in items.iter_mut().filter(|item| item.path != Path::new(kit::KEY)) {
        if let Content::Bytes(bytes) = &mut item.content
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            let covered = mask.apply(text);
            if covered != text {
                *bytes = covered.into_bytes();
            }
        }
    }
}

/// In the repository or the state a kit would be lost with what it is for.
fn refuse_inside(world: &World, file: &Path) -> Result<(), Failure> {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let folders = world.platform.repository.iter().flat_map(|repository| {
        std::iter::once(&repository.location).chain(repository.copies.iter().map(|copy| &copy.location))
    });
    let mut folders: Vec<PathBuf> = folders.filter(|text| !text.contains("://")).map(PathBuf::from).collect();
    folders.push(world.state.clone());
    match folders.into_iter().find(|folder| absolute.starts_with(folder)) {
        None => Ok(()),
        Some(folder) => Err(Failure::new(
            Kind::Input,
            format!("{} lies in {}, and would be lost with it", file.display(), folder.display()),
            "write the kit elsewhere, and bring it away from this host",
        )),
    }
}

fn answer(file: &Path, manifest: &Manifest, warnings: &[String]) -> Answer {
    let size = std::fs::metadata(file).map(|found| found.len()).unwrap_or_default();
    let who = if manifest.people.is_empty() {
        "whoever knows the passphrase".to_owned()
    } else {
        manifest.people.join(", ")
    };
    let text = format!(
        "the kit of {} ({}) is in {}: {}, {} files, mode 0600\nit can be opened by {who}\nbring it away from this host, and try it: `muster kit --check {}`\n",
        manifest.platform,
        manifest.environment,
        file.display(),
        muster_types::ByteSize(size),
        manifest.files.len() + 1,
        file.display(),
    );
    let mut answer =
        Answer::new(text, json!({"kit": manifest, "file": file, "size_bytes": size, "warnings": warnings}));
    answer.errors = warnings.iter().map(|line| format!("warning: {line}\n")).collect();
    answer
}
