//! Trees that Muster never writes: a repository whose owner means harm, or another program's mistake.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/place.rs"]
mod support;

use std::{
    fs,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use muster_testkit::damage::{ObjectKind, objects};
use muster_types::{Explain, Kind, backup::BackupId, event::Unwatched};
use rustic_core::{
    BackupOptions, BytesList, Credentials, FileType, Id, ParentOptions, ReadBackend, ReadSource,
    ReadSourceEntry, ReadSourceOpen, Repository, RepositoryBackends, RepositoryOptions, RusticResult,
    WriteBackend,
    repofile::{Metadata, Node, NodeType, SnapshotFile},
};
use support::{KEY, Place};

/// Entries whose name in the tree is not the one in their path.
#[derive(Clone)]
struct Crafted(Vec<(&'static str, &'static str, NodeType)>);
struct Content;

impl ReadSourceOpen for Content {
    type Reader = Box<dyn Read + Send>;
    fn open(self) -> RusticResult<Self::Reader> {
        Ok(Box::new(Cursor::new(b"evil")))
    }
}

impl ReadSource for Crafted {
    type Open = Content;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Content>>>;
    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }
    fn entries(&self) -> Self::Iter {
        let entries: Vec<_> = self
            .0
            .iter()
            .map(|(path, name, kind)| {
                let is_file = matches!(kind, NodeType::File);
                let meta =
                    Metadata { size: if is_file { 4 } else { 0 }, mode: Some(0o755), ..Metadata::default() };
                let mut node = Node::new_node("x".as_ref(), kind.clone(), meta);
                (*name).clone_into(&mut node.name);
                Ok(ReadSourceEntry { path: PathBuf::from(path), node, open: is_file.then_some(Content) })
            })
            .collect();
        entries.into_iter()
    }
}

/// The folder of a repository, for the engine without anything of Muster in between.
#[derive(Debug)]
struct Bare(PathBuf);

impl Bare {
    fn place(&self, kind: FileType, id: &Id) -> PathBuf {
        let name = id.to_hex().to_string();
        match kind {
            FileType::Config => self.0.join("config"),
            FileType::Pack => self.0.join("data").join(&name[..2]).join(&name),
            _ => self.0.join(kind.dirname()).join(&name),
        }
    }
}

impl ReadBackend for Bare {
    fn location(&self) -> String {
        "bare".into()
    }
    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let kinds = [
            (FileType::Key, ObjectKind::Key),
            (FileType::Index, ObjectKind::Index),
            (FileType::Snapshot, ObjectKind::Snapshot),
            (FileType::Pack, ObjectKind::Pack),
        ];
        let Some((_, kind)) = kinds.into_iter().find(|(format, _)| *format == kind) else {
            return Ok(vec![(Id::default(), 1)]);
        };
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        Ok(objects(&self.0, kind)
            .iter()
            .map(|object| (name(&object.path), u32::try_from(object.size_bytes).unwrap()))
            .collect())
    }
    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        Ok(fs::read(self.place(kind, id)).unwrap().into())
    }
    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let (begin, end) = (offset as usize, (offset + length) as usize);
        Ok(self.read_full(kind, id)?.slice(begin..end))
    }
    fn warmup_path(&self, _: FileType, _: &Id) -> String {
        String::new()
    }
}

impl WriteBackend for Bare {
    fn create(&self) -> RusticResult<()> {
        Ok(())
    }
    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let path = self.place(kind, id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        io::copy(&mut content.reader(), &mut fs::File::create(path).unwrap()).unwrap();
        Ok(())
    }
    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        fs::remove_file(self.place(kind, id)).unwrap();
        Ok(())
    }
}

fn craft(place: &Place, entries: &Crafted) -> BackupId {
    let backends = RepositoryBackends::new(std::sync::Arc::new(Bare(place.repository())), None);
    let options = RepositoryOptions::default().no_cache(true);
    let repository = Repository::new(&options, &backends).unwrap();
    let repository = repository.open(&Credentials::password(KEY)).unwrap().to_indexed_ids().unwrap();
    let options = BackupOptions::default().parent_opts(ParentOptions::default().force(true));
    let snapshot =
        repository.archive(&options, entries, SnapshotFile::default(), &[PathBuf::from("data")]).unwrap();
    BackupId(snapshot.id.to_hex().to_string())
}

fn link(target: &Path) -> NodeType {
    NodeType::from_link(target)
}

#[test]
fn nothing_is_written_outside_of_a_place() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    let folder = ("data/0", "0", NodeType::Dir);
    let dotdot = r"\x2e\x2e";
    let cases: Vec<Vec<(&'static str, &'static str, NodeType)>> = vec![
        vec![folder.clone(), ("data/0/a", "..", NodeType::File)],
        vec![folder.clone(), ("data/0/a", "../outside/evil", NodeType::File)],
        vec![folder.clone(), ("data/0/a", dotdot, NodeType::File)],
        vec![folder.clone(), ("data/0/a", "/outside", NodeType::File)],
        vec![folder.clone(), ("data/0/a", "", NodeType::File)],
        vec![folder.clone(), ("data/0/a", r"a\x00b", NodeType::File)],
        vec![("data/0", "..", NodeType::Dir), ("data/0/outside", "outside", NodeType::File)],
        vec![("data/0", "1", NodeType::File)],
        vec![folder.clone(), ("data/0/a", "device", NodeType::Dev { device: 1 })],
        // A link and a folder with the same name: what is in the folder would go through the link.
        vec![
            folder.clone(),
            ("data/0/a", "x", link(&outside)),
            ("data/0/b", "x", NodeType::Dir),
            ("data/0/b/evil", "evil", NodeType::File),
        ],
        vec![folder, ("data/0/a", "x", link(&outside.join("evil"))), ("data/0/b", "x", NodeType::File)],
    ];
    for case in cases {
        let id = craft(&place, &Crafted(case.clone()));
        let target = place.path("target");
        let error = place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap_err();
        assert!(fs::symlink_metadata(&target).is_err(), "{case:?}: {error}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{case:?}: {error}");
        let mut left: Vec<_> =
            fs::read_dir(place.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["outside", "r"], "{case:?}: {error}");
    }
}

#[test]
fn a_place_may_be_a_link_and_the_link_itself_is_what_is_restored() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    let id = craft(&place, &Crafted(vec![("data/0", "0", link(&outside))]));
    let target = place.path("target");
    place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap();
    assert_eq!(fs::read_link(&target).unwrap(), outside);
}

#[test]
fn too_deep_a_tree_is_an_error_and_not_a_crash() {
    let place = Place::new();
    let mut path = String::from("data/0");
    let mut entries = vec![("data/0", "0", NodeType::Dir)];
    for _ in 0..2_100 {
        path.push_str("/d");
        let path: &'static str = path.clone().leak();
        entries.push((path, "d", NodeType::Dir));
    }
    let id = craft(&place, &Crafted(entries));
    let target = place.path("target");
    assert_eq!(place.repo.ls(&id).unwrap_err().kind(), Kind::Corrupt);
    place.repo.restore(&id, std::slice::from_ref(&target), &Unwatched).unwrap_err();
    assert!(fs::symlink_metadata(&target).is_err());
}
