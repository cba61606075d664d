//! Pieces go in and segments come out; what is deleted, cut, changed or moved is named.

use std::fs;

use muster_types::{
    Secret,
    event::Unwatched,
    wal::{Replay, ReplayUntil},
};

use super::*;
use crate::durable;

const SYSTEM: &str = "7300000000000000001";

/// An archive of segments of 1 MiB, each in several pieces.
struct Archive {
    folder: tempfile::TempDir,
    repo: Repo,
    line: LineId,
}

impl Archive {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap().parse().unwrap();
        let repo = Repo::init(&location, &Secret::new("k")).unwrap();
        Self { folder, repo, line: line_of(1, b"", 20) }
    }

    fn write(&self, line: LineId, start: u64, end: u64) -> PieceName {
        let content = bytes(start, end);
        let at = |second: u64| Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
        let piece = Piece {
            start: Lsn(start),
            content: &content,
            newest_commit: Some(at(start)),
            begun_at: at(start),
            as_of: at(end),
        };
        self.repo.wal().write(SYSTEM, line, &piece).unwrap()
    }

    fn replay(&self, from: u64, until: ReplayUntil) -> Replay {
        Replay {
            system_identifier: SYSTEM.into(),
            lines: vec![self.line],
            forks: Vec::new(),
            from: Lsn(from),
            to: None,
            until,
        }
    }

    fn path(&self, name: &PieceName) -> std::path::PathBuf {
        self.folder.path().join(folder(SYSTEM, self.line)).join(name.to_string())
    }
}

/// Bytes that tell where they belong.
fn bytes(start: u64, end: u64) -> Vec<u8> {
    (start..end).map(|at| at.wrapping_mul(0x9E37_79B9).to_le_bytes()[3]).collect()
}

const MIB: u64 = 1 << 20;

#[test]
fn pieces_become_the_segments_that_the_server_asks_for_and_the_rest_is_zeros() {
    let archive = Archive::new();
    for (start, end) in [(MIB, MIB + 700), (MIB + 700, 2 * MIB), (2 * MIB, 3 * MIB + 5)] {
        archive.write(archive.line, start, end);
    }
    // A whole segment beside the pieces that it replaces.
    archive.write(archive.line, MIB, 2 * MIB);
    let (facts, findings) = archive.repo.wal().facts().unwrap();
    assert_eq!(findings.len(), 1, "what is before the first piece: {findings:?}");
    assert_eq!(facts[0].system_identifier, SYSTEM);
    let [range] = facts[0].lines[0].ranges.as_slice() else { panic!("{facts:?}") };
    assert_eq!((range.start, range.end, range.pieces), (Lsn(MIB), Lsn(3 * MIB + 5), 4));
    assert_eq!(range.newest_commit.unwrap().as_second(), 2 * 1024 * 1024);
    let into = tempfile::tempdir().unwrap();
    let replay = archive.replay(MIB, ReplayUntil::End);
    let stats = archive.repo.wal().fetch(&replay, into.path(), &Unwatched).unwrap();
    assert_eq!((stats.segments, stats.bytes), (3, 2 * MIB + 5));
    let read = |name: &str| fs::read(into.path().join(name)).unwrap();
    assert_eq!(read("000000010000000000000001"), bytes(MIB, 2 * MIB));
    assert_eq!(read("000000010000000000000002"), bytes(2 * MIB, 3 * MIB));
    let last = read("000000010000000000000003");
    assert_eq!((&last[..5], last.len()), (&bytes(3 * MIB, 3 * MIB + 5)[..], 1 << 20));
    assert!(last[5..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_time_needs_no_more_than_the_piece_with_the_first_later_commit() {
    let archive = Archive::new();
    for segment in 1..6 {
        archive.write(archive.line, segment * MIB, (segment + 1) * MIB);
    }
    let into = tempfile::tempdir().unwrap();
    let time = Timestamp::from_second(2 * 1024 * 1024).unwrap();
    let replay = archive.replay(MIB, ReplayUntil::Time(time));
    let stats = archive.repo.wal().fetch(&replay, into.path(), &Unwatched).unwrap();
    assert_eq!(stats.segments, 3);
}

#[test]
fn what_is_deleted_cut_changed_or_moved_is_named_and_never_replayed() {
    let archive = Archive::new();
    let wal = archive.repo.wal();
    wal.note_gap(SYSTEM, archive.line, Lsn(0), Lsn(MIB)).unwrap();
    let names: Vec<PieceName> =
        (1..4).map(|segment| archive.write(archive.line, segment * MIB, (segment + 1) * MIB)).collect();
    let (findings, notes) = wal.verify(true, &Unwatched).unwrap();
    assert_eq!((findings, notes), (Vec::new(), Vec::new()));
    for name in &names {
        let path = archive.path(name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        for content in [None, Some(&whole[..whole.len() - 1]), Some(&changed)] {
            match content {
                None => fs::remove_file(&path).unwrap(),
                Some(content) => durable::write(&path, content, 0o600).unwrap(),
            }
            let is_changed = content.is_some_and(|content| content.len() == whole.len());
            let (findings, _) = wal.verify(is_changed, &Unwatched).unwrap();
            let is_last = name == &names[2];
            // That the last one is gone nobody can see who does not know that it was there.
            assert_eq!(findings.is_empty(), content.is_none() && is_last, "{name} {findings:?}");
            let into = tempfile::tempdir().unwrap();
            let mut replay = archive.replay(MIB, ReplayUntil::End);
            replay.to = Some(names[2].end);
            let fetched = wal.fetch(&replay, into.path(), &Unwatched);
            assert!(matches!(fetched, Err(RepoError::Corrupt { .. })) || is_last, "{name} {fetched:?}");
            durable::write(&path, &whole, 0o600).unwrap();
        }
    }
    // A piece under another one's name, of the same length and beginning elsewhere.
    let path = archive.path(&names[0]);
    let other = PieceName { start: names[1].start, end: names[1].end, ..names[0] };
    fs::remove_file(archive.path(&names[1])).unwrap();
    fs::copy(&path, archive.path(&other)).unwrap();
    let (findings, _) = wal.verify(true, &Unwatched).unwrap();
    assert!(findings.iter().any(|one| one.message.contains("it was moved or renamed")), "{findings:?}");
}

#[test]
fn two_clusters_and_two_restores_of_one_have_each_a_place_of_their_own() {
    let archive = Archive::new();
    let wal = archive.repo.wal();
    let one = b"1\t0/100000\tno recovery target specified\n";
    let two = b"1\t0/200000\tbefore 2026-05-01 10:00:00+00\n";
    let lines = [line_of(2, one, 20), line_of(2, two, 20)];
    assert_ne!(lines[0], lines[1]);
    for (line, history) in lines.iter().zip([&one[..], &two[..]]) {
        wal.write_history(SYSTEM, *line, history).unwrap();
        assert_eq!(wal.history(SYSTEM, *line).unwrap(), history);
        archive.write(*line, MIB, MIB + 10);
    }
    assert!(matches!(wal.history(SYSTEM, line_of(3, one, 20)), Err(RepoError::Corrupt { .. })));
    let (facts, _) = wal.facts().unwrap();
    assert_eq!(facts[0].lines.len(), 2);
    assert_eq!(facts[0].lines.iter().map(|line| line.forks.len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_no_backup_needs_goes_and_the_rest_is_still_whole() {
    let archive = Archive::new();
    let wal = archive.repo.wal();
    wal.note_gap(SYSTEM, archive.line, Lsn(0), Lsn(MIB)).unwrap();
    for segment in 1..5 {
        archive.write(archive.line, segment * MIB, (segment + 1) * MIB);
    }
    let freed = wal.remove_before(&[(SYSTEM.into(), archive.line, Lsn(3 * MIB))]).unwrap();
    assert!(freed > 0);
    let (facts, findings) = wal.facts().unwrap();
    assert_eq!(findings, Vec::new());
    assert_eq!(facts[0].lines[0].ranges[0].start, Lsn(3 * MIB));
}

#[test]
fn a_folder_that_is_no_repository_any_more_takes_no_piece() {
    let archive = Archive::new();
    archive.write(archive.line, 1 << 20, (1 << 20) + 100);
    // As when the disk is not mounted any more: the folder is there, and can be written to.
    let (config, away) = (archive.folder.path().join("config"), archive.folder.path().join("away"));
    fs::rename(&config, &away).unwrap();
    let at = Timestamp::from_second(1).unwrap();
    let content = bytes((1 << 20) + 100, (1 << 20) + 200);
    let piece = Piece {
        start: Lsn((1 << 20) + 100),
        content: &content,
        newest_commit: None,
        begun_at: at,
        as_of: at,
    };
    let write = || archive.repo.wal().write(SYSTEM, archive.line, &piece);
    assert!(write().unwrap_err().to_string().contains("cannot find the repository by"));
    assert_eq!(archive.repo.wal().pieces(SYSTEM, archive.line).unwrap().len(), 1);
    fs::rename(&away, &config).unwrap();
    write().unwrap();
    assert_eq!(archive.repo.wal().pieces(SYSTEM, archive.line).unwrap().len(), 2);
}
