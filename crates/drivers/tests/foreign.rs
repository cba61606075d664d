//! Judging files that other programs wrote: real dumps and archives, whole, cut and altered.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and its files need no durability"
)]

#[path = "foreign/cluster.rs"]
mod cluster;
#[path = "foreign/postgres.rs"]
mod postgres;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use muster_drivers::foreign::{ForeignReport, Verdict, verify_file};
use muster_types::{Explain, Kind};

fn judge(path: &Path) -> ForeignReport {
    verify_file(path).unwrap()
}

/// Judges bytes under a name that says nothing.
fn judge_bytes(content: &[u8]) -> ForeignReport {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    judge(file.path())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Cuts a file at many places before `end` and expects that each is found.
fn assert_every_cut_is_damage(content: &[u8], end: usize) {
    let step = (end / 60).max(1);
    for size in (1..end).step_by(step).chain(end.saturating_sub(20)..end) {
        let report = judge_bytes(&content[..size]);
        assert_ne!(report.verdict, Verdict::Sound, "cut at {size} of {end}: {report:?}");
        // Less than its first lines may be anything.
        if size > 600 {
            assert_eq!(report.verdict, Verdict::Damaged, "cut at {size} of {end}: {report:?}");
            assert!(!report.findings.is_empty());
        }
    }
}

#[test]
fn what_is_not_known_is_never_sound() {
    for (content, kind, verdict) in [
        (&b""[..], "empty", Verdict::Damaged),
        (b"hello", "unknown", Verdict::Suspicious),
        (&[0; 4096], "unknown", Verdict::Suspicious),
        (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0], "unknown", Verdict::Suspicious),
        (b"\xff\xfeS\0E\0T\0", "unknown", Verdict::Suspicious),
        (b"CREATE TABLE a (b int);\nINSERT INTO a VALUES (1);\n", "SQL", Verdict::Suspicious),
        (&gzip(b""), "gzip, empty", Verdict::Damaged),
        (&gzip(b"hello"), "gzip, unknown", Verdict::Suspicious),
    ] {
        let report = judge_bytes(content);
        assert_eq!((&*report.kind, report.verdict), (kind, verdict), "{report:?}");
        assert!(!report.findings.is_empty());
        assert_eq!(report.size_bytes, content.len() as u64);
    }
}

#[test]
fn a_file_that_is_not_there_or_no_file_is_an_error_with_its_name() {
    let error = verify_file(Path::new("/nowhere/a.dump")).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("/nowhere/a.dump"));
    assert_eq!(verify_file(Path::new("/tmp")).unwrap_err().kind(), Kind::Input);
}

#[test]
fn the_hash_is_that_of_the_file_whatever_its_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gz");
    fs::write(&path, [&gzip(b"hello")[..], b"rest"].concat()).unwrap();
    let expected = String::from_utf8(run("sha256sum", &["a.gz"], folder.path())).unwrap();
    assert!(expected.starts_with(&judge(&path).sha256));
}

fn tree(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    muster_testkit::tree_of_files(&tree, 3, 12);
    let long = "a-long-name-that-needs-a-header-of-its-own-".repeat(5);
    fs::write(tree.join(long), "long").unwrap();
    fs::hard_link(tree.join("odd/with space"), tree.join("odd/second name")).unwrap();
    tree
}

#[test]
fn tar_of_every_format_is_sound_and_every_cut_is_found() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let formats: [&[&str]; 4] = [
        &["--format=gnu"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--xattrs", "--sparse"],
        &["--format=ustar", "--exclude=a-long-name*"],
    ];
    for format in formats {
        let arguments = [format, &["-cf", "-", "tree"]].concat();
        let archive = run("tar", &arguments, folder.path());
        let report = judge_bytes(&archive);
        let listed = run("tar", &[format, &["-cf", "/dev/null", "-v", "tree"]].concat(), folder.path());
        let lines = String::from_utf8_lossy(&listed).lines().count() as u64;
        assert_eq!((report.verdict, &*report.kind), (Verdict::Sound, "tar"), "{format:?}: {report:?}");
        assert_eq!(report.entries, Some(lines), "{format:?}");
        let end = archive.iter().rposition(|byte| *byte != 0).unwrap();
        if archive.len() < 2_000_000 {
            assert_every_cut_is_damage(&archive, end.next_multiple_of(512));
        }
        let packed = gzip(&archive);
        assert_eq!(judge_bytes(&packed).kind, "gzip, tar");
        assert_eq!(judge_bytes(&packed).verdict, Verdict::Sound);
        assert_eq!(judge_bytes(&packed[..packed.len() - 1]).verdict, Verdict::Damaged);
    }
}

#[test]
fn a_tar_with_a_broken_header_or_without_a_whole_end_is_not_sound() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let archive = run("tar", &["-cf", "-", "a", "b"], folder.path());
    let mut broken = archive.clone();
    broken[1024 + 3] ^= 1;
    let report = judge_bytes(&broken);
    assert_eq!(report.verdict, Verdict::Damaged);
    assert!(report.findings[0].contains("checksum"), "{report:?}");
    assert_eq!(judge_bytes(&archive[..2048]).verdict, Verdict::Damaged, "no end at all");
    assert_eq!(judge_bytes(&archive[..2048 + 512]).verdict, Verdict::Suspicious, "half an end");
    assert_eq!(judge_bytes(&archive[..2048 + 1024]).verdict, Verdict::Sound, "no padding is no fault");
    assert_eq!(judge_bytes(&archive.repeat(2)).verdict, Verdict::Suspicious, "tar would not read the second");
}

#[test]
fn an_sqlite_database_is_opened_and_its_tables_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a name with ? and #.bak");
    muster_testkit::sqlite_with_rows(&path, 1000);
    let content = fs::read(&path).unwrap();
    let report = judge(&path);
    assert_eq!((report.verdict, &*report.kind), (Verdict::Sound, "SQLite database"), "{report:?}");
    assert!(report.tables.values().any(|rows| *rows == Some(1000)), "{report:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made beside it");
    assert_every_cut_is_damage(&content, content.len());
    let mut altered = content.clone();
    altered[4096..8192].fill(0xaa);
    assert_eq!(judge_bytes(&altered).verdict, Verdict::Damaged);
    fs::write(folder.path().join("a name with ? and #.bak-wal"), "a log").unwrap();
    let report = judge(&path);
    assert_eq!(report.verdict, Verdict::Suspicious);
    assert!(report.findings[0].contains("-wal"), "{report:?}");
    assert_eq!(judge_bytes(&gzip(&content)).verdict, Verdict::Suspicious, "it was not opened");
}

#[test]
fn a_dump_of_sqlite_ends_with_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    muster_testkit::sqlite_with_rows(&path, 300);
    let sql = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text); CREATE TABLE none (a);
        INSERT INTO notes (text) VALUES ('it''s; (a) \"note\"'), ('line' || char(10) || 'COMMIT;' || char(10)), ('\\');";
    run("sqlite3", &["app.db", sql], folder.path());
    let dump = run("sqlite3", &["app.db", ".dump"], folder.path());
    let report = judge_bytes(&dump);
    assert_eq!((report.verdict, &*report.kind), (Verdict::Sound, "SQLite SQL dump"), "{report:?}");
    assert_eq!((report.tables["notes"], report.tables["none"]), (Some(3), Some(0)));
    assert!(report.tables.values().any(|rows| *rows == Some(300)), "{report:?}");
    let end = dump.windows(7).rposition(|part| part == b"COMMIT;").unwrap();
    assert_every_cut_is_damage(&dump, end);
    let failed = [&dump[..end], b"ROLLBACK; -- due to errors\n"].concat();
    assert_eq!(judge_bytes(&failed).verdict, Verdict::Damaged);
}

/// As `mysqldump` and `mariadb-dump` write it; no server of that kind is installed for the tests.
const MYSQL: &str = "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: shop
-- ------------------------------------------------------
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
DROP TABLE IF EXISTS `users`;
CREATE TABLE `users` (
  `id` int(11) NOT NULL,
  `name` varchar(40) DEFAULT 'a;b',
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
CREATE TABLE `empty` (`id` int(11));
INSERT INTO `users` VALUES (1,'O\\'Brien'),(2,'-- Dump completed'),(3,'a),(b');
INSERT INTO `users` VALUES (4,'back\\\\');
DELIMITER ;;
CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW BEGIN
  # don't count this
  SET @a = 'it''s;';
END ;;
DELIMITER ;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2026-05-01  2:00:07
";

#[test]
fn a_dump_of_mysql_ends_with_its_last_comment() {
    let report = judge_bytes(MYSQL.as_bytes());
    assert_eq!((report.verdict, &*report.kind), (Verdict::Sound, "MySQL SQL dump"), "{report:?}");
    assert_eq!((report.tables["users"], report.tables["empty"]), (Some(4), Some(0)));
    assert_every_cut_is_damage(MYSQL.as_bytes(), MYSQL.find("\n-- Dump completed on").unwrap());
    let appended = format!("{MYSQL}INSERT INTO `users` VALUES (5,'late');\n");
    assert_eq!(judge_bytes(appended.as_bytes()).verdict, Verdict::Damaged);
    let several = MYSQL.replacen("DROP TABLE", "USE `shop`;\nDROP TABLE", 1);
    assert_eq!(judge_bytes(several.as_bytes()).tables["shop.users"], Some(4));
}

#[test]
fn a_text_that_only_quotes_the_last_words_is_not_complete() {
    let dump = "--\n-- PostgreSQL database dump\n--\n\nINSERT INTO a VALUES ('\n-- PostgreSQL database dump complete\n');\n";
    assert_eq!(judge_bytes(dump.as_bytes()).verdict, Verdict::Damaged);
    let body = "CREATE FUNCTION f() AS $x$\n-- PostgreSQL database dump complete\nCOPY a FROM stdin;\n$x$;\n";
    let dump = format!("--\n-- PostgreSQL database dump\n--\n\n{body}");
    let report = judge_bytes(dump.as_bytes());
    assert_eq!(report.findings, ["its end is missing: `-- PostgreSQL database dump complete`"]);
    let whole = format!("{dump}\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n");
    assert_eq!(judge_bytes(whole.as_bytes()).verdict, Verdict::Sound);
}

#[test]
fn a_dump_from_windows_is_read_as_well() {
    let dump = "--\n-- PostgreSQL database dump\n--\n\nCOPY public.a (b) FROM stdin;\n1\n\n\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    for text in [dump.to_owned(), dump.replace('\n', "\r\n"), format!("\u{feff}{dump}")] {
        let report = judge_bytes(text.as_bytes());
        assert_eq!((report.verdict, report.tables["public.a"]), (Verdict::Sound, Some(2)), "{report:?}");
    }
}
