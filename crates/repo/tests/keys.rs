//! Keys of a real repository, opened by Muster and by `restic`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/place.rs"]
mod support;

use muster_repo::{RepoError, keys};
use muster_testkit::damage::{Damage, ObjectKind, objects};
use muster_types::{Explain, Kind, Secret};
use support::{KEY, Place, random_files};

#[test]
fn a_second_key_opens_and_a_removed_one_does_not() {
    let place = Place::new();
    let source = place.path("source");
    random_files(&source, 1, 1, 1000);
    place.back_up(&[&source]);
    let second = keys::generate().unwrap();
    let id = place.repo.add_key(&second).unwrap();
    assert_eq!(place.open("a wrong one").err().unwrap().kind(), Kind::WrongKey);
    let opened = place.open(second.expose()).unwrap();
    assert_eq!(opened.backups().unwrap().len(), 1);
    let listed = opened.keys().unwrap();
    assert_eq!(listed.len(), 2);
    let current: Vec<_> = listed.iter().filter(|key| key.is_current).collect();
    assert!(current.len() == 1 && current[0].id == id && current[0].created.is_some(), "{listed:?}");
    assert!(!format!("{listed:?}").contains(second.expose()));
    place.check();
    let first = listed.iter().find(|key| !key.is_current).unwrap().id.clone();
    assert_eq!(opened.remove_key(&first[..8]).unwrap(), first);
    assert_eq!(place.open(KEY).err().unwrap().kind(), Kind::WrongKey);
    assert_eq!(place.open(second.expose()).unwrap().backups().unwrap().len(), 1);
}

#[test]
fn the_last_key_the_current_key_and_an_unclear_one_stay() {
    let place = Place::new();
    let only = place.repo.keys().unwrap().remove(0);
    let refused = |result: Result<String, RepoError>, text: &str| {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        error.kind()
    };
    assert_eq!(refused(place.repo.remove_key(&only.id), "last"), Kind::Conflict);
    assert_eq!(refused(place.repo.remove_key(""), "4 digits"), Kind::Conflict);
    assert_eq!(refused(place.repo.add_key(&Secret::new("")), "empty"), Kind::Conflict);
    assert_eq!(refused(place.repo.add_key(&Secret::new(KEY)), "already"), Kind::Conflict);
    place.repo.add_key(&Secret::new("another")).unwrap();
    assert_eq!(refused(place.repo.remove_key(&only.id), "in use"), Kind::Conflict);
    let missing = if only.id.starts_with("0000") { "ffff" } else { "0000" };
    assert_eq!(refused(place.repo.remove_key(missing), missing), Kind::NotFound);
    assert_eq!(place.repo.keys().unwrap().len(), 2);
}

#[test]
fn a_damaged_key_file_is_named_and_the_other_key_still_opens() {
    let place = Place::new();
    place.repo.add_key(&Secret::new("another")).unwrap();
    let current = place.repo.keys().unwrap().into_iter().find(|key| key.is_current).unwrap().id;
    let key = objects(&place.repository(), ObjectKind::Key)
        .into_iter()
        .find(|object| object.path.ends_with(&current))
        .unwrap();
    let _damage = Damage::flip(&key.path, 10);
    let opened = place.open("another").unwrap();
    let error = opened.keys().unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains(&current[..8]), "{error}");
    assert!(place.open(KEY).is_err());
}
