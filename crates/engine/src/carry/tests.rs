//! A journal of several parts goes into a repository and comes back; what is wrong with it is said and nothing is written.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use muster_repo::{Repo, durable};
use muster_types::{FixedClock, Secret, backup::RunId, config::Platform, event::What};

use super::*;
use crate::{journal::Journal, world::Papers};

const ENTRIES: usize = 1_050;

fn world(folder: &Path, repository: &Path, state: &str) -> World {
    let location = repository.to_str().unwrap().parse().unwrap();
    let key = Secret::new("k");
    let repo = Repo::open(&location, &key).or_else(|_| Repo::init(&location, &key)).unwrap();
    let platform: Platform = serde_json::from_value(serde_json::json!({"platform": "shop"})).unwrap();
    let file = folder.join("muster.yaml");
    for (name, text) in [
        ("muster.yaml", "platform: shop\n"),
        ("muster.prod.yaml", "environment: prod\n"),
        ("muster.key", "s\n"),
    ] {
        durable::write(&folder.join(name), text.as_bytes(), 0o600).unwrap();
    }
    World {
        platform,
        environment: "default".into(),
        host: "here".into(),
        operator: "me".into(),
        clock: Arc::new(FixedClock("2026-05-01T10:00:00Z".parse().unwrap())),
        state: folder.join(state),
        journal: Journal::open(&folder.join(state)).unwrap(),
        repo,
        from: None,
        copies: BTreeMap::new(),
        papers: Papers { folder: folder.to_owned(), files: vec![file] },
        components: BTreeMap::new(),
        services: BTreeMap::new(),
        version: "0",
    }
}

fn say(world: &World, count: usize) {
    let run = RunId("r".into());
    for number in 0..count {
        let what = What::Warning { message: format!("{number}") };
        world.journal.append(world.clock.as_ref(), &run, what).unwrap();
    }
}

fn parts(repository: &Path) -> BTreeMap<String, Vec<u8>> {
    let folder = fs::read_dir(repository.join("muster/state/shop/default")).unwrap().next().unwrap().unwrap();
    fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_journal_of_several_parts_comes_back_whole_and_only_its_end_is_written_again() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = world(folder.path(), repository.path(), "state");
    store(&world).unwrap();
    assert!(carried(&world.repo).unwrap().0.is_empty(), "a journal without an entry is none");
    say(&world, ENTRIES);
    store(&world).unwrap();
    let before = parts(repository.path());
    assert_eq!(before.keys().collect::<Vec<_>>(), ["files", "journal-00000000", "journal-00000001"]);
    say(&world, 3);
    store(&world).unwrap();
    let after = parts(repository.path());
    for (name, is_same) in [("files", true), ("journal-00000000", true), ("journal-00000001", false)] {
        assert_eq!(before[name] == after[name], is_same, "{name}");
    }
    let (states, broken) = carried(&world.repo).unwrap();
    assert!(broken.is_empty());
    let [state] = states.as_slice() else { panic!("{} states", states.len()) };
    let names: Vec<_> = state.files.files.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(names, ["muster.prod.yaml", "muster.yaml"], "a key is not carried");
    let new = tempfile::tempdir().unwrap();
    assert_eq!(unpack_files(&state.files, new.path()).unwrap().len(), 2);
    assert!(unpack_journal(&state.entries, &new.path().join("s")).unwrap());
    assert!(!unpack_journal(&state.entries, &new.path().join("s")).unwrap(), "it stays as it is");
    let journal = Journal::open(&new.path().join("s")).unwrap();
    assert_eq!(journal.events().unwrap(), world.journal.events().unwrap());
    assert_eq!(journal.check().unwrap(), ENTRIES + 3);
    let left: Vec<_> =
        fs::read_dir(new.path().join("s")).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("state.db")), "{left:?}");
}

#[test]
fn two_hosts_keep_their_histories_apart_and_the_newest_comes_first() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = world(folder.path(), repository.path(), "old");
    say(&old, 2);
    let mut new = world(folder.path(), repository.path(), "new");
    new.clock = Arc::new(FixedClock("2026-05-02T10:00:00Z".parse().unwrap()));
    new.host = "there".into();
    say(&new, 1);
    for world in [&new, &old, &new, &old] {
        store(world).unwrap();
    }
    let (states, _) = carried(&old.repo).unwrap();
    let found: Vec<_> = states.iter().map(|one| (one.files.host.as_str(), one.entries.len())).collect();
    assert_eq!(found, [("there", 1), ("here", 2)]);
    // What a person has named as a copy is left alone.
    let before = parts(repository.path());
    old.journal
        .append(old.clock.as_ref(), &RunId("r".into()), What::Warning { message: "x".into() })
        .unwrap();
    let old = World { from: Some("offsite".into()), ..old };
    store(&old).unwrap();
    assert_eq!(parts(repository.path()), before);
}

#[test]
fn a_state_that_does_not_fit_together_or_leads_out_of_its_folder_is_damaged() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = world(folder.path(), repository.path(), "state");
    say(&world, 5);
    store(&world).unwrap();
    let (id, _) = world.repo.states().unwrap().remove(0);
    let part = world.repo.read_state(&id, "journal-00000000").unwrap().unwrap();
    let said = |world: &World| {
        let (states, mut broken) = carried(&world.repo).unwrap();
        assert!(states.is_empty());
        broken.remove(0).to_string()
    };
    let altered = String::from_utf8(part.clone()).unwrap().replace("\\\"3\\\"", "\\\"4\\\"");
    assert_ne!(altered.as_bytes(), part);
    world.repo.write_state(&id, "journal-00000000", altered.as_bytes()).unwrap();
    assert!(said(&world).contains("entry 4 of its journal does not fit"), "{}", said(&world));
    world.repo.write_state(&id, "journal-00000000", &part).unwrap();
    let mut files = files::read(&world).unwrap();
    for path in ["../outside", "/etc/passwd", ""] {
        files.files[0].path = path.into();
        world.repo.write_state(&id, FILES, &serde_json::to_vec(&files).unwrap()).unwrap();
        assert!(said(&world).contains("out of its folder"), "{path}: {}", said(&world));
    }
}
