//! Trees of files with everything that makes a backup hard, and their comparison.
//!
//! In: a folder, a seed, a count. Out: the same tree for the same seed; or, for two folders, every difference in
//! names, kinds, content, modes, owners, times, link targets and extended attributes.
//!
//! Nothing here follows a symlink.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

/// Differences beyond this many say nothing new.
const DIFFERENCES_MAX: usize = 20;
/// Large enough for several chunks, small enough to be quick.
const SIZE_MAX: usize = 200_000;
/// The hole of the sparse file.
const HOLE: u64 = 8 * 1024 * 1024;

/// Makes `count` regular files of random size and content below `dir`, and one of each odd kind.
pub fn tree_of_files(dir: &Path, seed: u64, count: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    fs::create_dir_all(dir).expect("a folder");
    for number in 0..count {
        let folder = dir.join(format!("folder-{}", number % 7)).join(format!("deep-{}", number % 3));
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("file-{number}"));
        let mut content = vec![0; random.usize(0..SIZE_MAX)];
        random.fill(&mut content);
        fs::write(&path, content).expect("a file");
        let mode = *random.choice(&[0o644, 0o600, 0o755, 0o440]).expect("a list with modes");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    }
    odd_ones(dir);
    age(dir, seed);
}

fn odd_ones(dir: &Path) {
    let odd = dir.join("odd");
    fs::create_dir_all(odd.join("empty folder")).expect("a folder");
    let names: [&[u8]; 6] = [
        b"with space",
        b"-dash",
        b"new\nline",
        b"not-utf8-\xff\xfe",
        "größe-日本".as_bytes(),
        b"quote'\"$`\\",
    ];
    for name in names {
        fs::write(odd.join(OsStr::from_bytes(name)), name).expect("a file");
    }
    fs::write(odd.join("empty"), b"").expect("a file");
    let mut sparse = File::create(odd.join("sparse")).expect("a file");
    sparse.write_all(b"begin").expect("its beginning");
    sparse.seek(SeekFrom::Start(HOLE)).expect("its hole");
    sparse.write_all(b"end").expect("its end");
    symlink("with space", odd.join("link")).expect("a link");
    symlink("/nowhere/at all", odd.join("dangling")).expect("a link");
    symlink("empty folder", odd.join("link-to-folder")).expect("a link");
    // Not every file system has them; where there are none, there is nothing to back up.
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(odd.join("-dash"), "user.muster", b"kept", flags).ok();
}

/// Old times, so that a restore that leaves "now" is seen. Folders last: writing into them sets their time.
fn age(dir: &Path, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut paths: Vec<_> = walk(dir).into_iter().filter(|path| !path.is_symlink()).collect();
    paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in paths {
        let time = UNIX_EPOCH
            + Duration::new(1_500_000_000 + random.u64(0..100_000_000), random.u32(0..1_000_000_000));
        File::open(&path).and_then(|file| file.set_modified(time)).expect("its time");
    }
}

/// Compares two trees, content and metadata.
///
/// # Errors
/// A text with one line per difference.
pub fn trees_equal(a: &Path, b: &Path) -> Result<(), String> {
    let (left, right) = (describe_tree(a), describe_tree(b));
    let mut differences = Vec::new();
    for (path, entry) in &left {
        match right.get(path) {
            None => differences.push(format!("{}: only in the first", path.display())),
            Some(other) => compare(path, entry, other, &mut differences),
        }
    }
    for path in right.keys().filter(|path| !left.contains_key(*path)) {
        differences.push(format!("{}: only in the second", path.display()));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let count = differences.len();
    differences.truncate(DIFFERENCES_MAX);
    Err(format!(
        "{count} differences between {} and {}:\n{}",
        a.display(),
        b.display(),
        differences.join("\n")
    ))
}

/// Fails the test with every difference, unless the trees are equal.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_trees_equal(a: &Path, b: &Path) {
    if let Err(differences) = trees_equal(a, b) {
        panic!("{differences}");
    }
}

type Entry = BTreeMap<&'static str, String>;

fn compare(path: &Path, left: &Entry, right: &Entry, differences: &mut Vec<String>) {
    for (what, value) in left {
        let other = right.get(what).map_or("nothing", String::as_str);
        if value != other {
            differences.push(format!("{}: {what} is {value}, then {other}", path.display()));
        }
    }
}

fn describe_tree(root: &Path) -> BTreeMap<PathBuf, Entry> {
    walk(root)
        .into_iter()
        .map(|path| (path.strip_prefix(root).expect("a path below its root").to_owned(), describe(&path)))
        .collect()
}

fn describe(path: &Path) -> Entry {
    let metadata = fs::symlink_metadata(path).expect("readable metadata");
    let mut entry = Entry::from([
        ("kind", format!("{:?}", metadata.file_type())),
        ("owner", format!("{}:{}", metadata.uid(), metadata.gid())),
    ]);
    if metadata.is_symlink() {
        entry.insert(
            "target",
            fs::read_link(path).expect("a readable link").as_os_str().as_bytes().escape_ascii().to_string(),
        );
        return entry;
    }
    entry.insert("mode", format!("{:04o}", metadata.mode() & 0o7777));
    entry.insert("modified", format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()));
    let mut value = [0; 256];
    if let Ok(size) = rustix::fs::getxattr(path, "user.muster", &mut value) {
        entry.insert("attribute", String::from_utf8_lossy(&value[..size]).into_owned());
    }
    if metadata.is_file() {
        entry.insert("size", metadata.len().to_string());
        let mut hash = Sha256::new();
        std::io::copy(&mut File::open(path).expect("a readable file"), &mut hash).expect("its content");
        entry.insert("sha256", format!("{:x}", hash.finalize()));
    }
    entry
}

/// All paths below and with `root`.
fn walk(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if path.is_dir() && !path.is_symlink() {
            found
                .extend(fs::read_dir(&path).expect("a readable folder").map(|e| e.expect("an entry").path()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_tree() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, c) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        tree_of_files(&a, 7, 12);
        tree_of_files(&b, 7, 12);
        tree_of_files(&c, 8, 12);
        assert_trees_equal(&a, &b);
        assert!(trees_equal(&a, &c).is_err());
        assert!(
            fs::metadata(a.join("odd/sparse")).unwrap().blocks() * 512 < HOLE,
            "no hole in the sparse file"
        );
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let changes = [
            ("chmod 0711 folder-0", "mode"),
            ("touch -d @1 folder-0/deep-0/file-0", "modified"),
            ("printf x >> odd/-dash", "size"),
            ("rm odd/empty", "only in the first"),
            ("touch odd/extra", "only in the second"),
            ("ln -sfn elsewhere odd/link", "target"),
            ("rm odd/empty && mkdir odd/empty", "kind"),
            ("chown 12:34 odd/sparse", "owner"),
        ];
        for (change, expected) in changes {
            let folder = tempfile::tempdir().unwrap();
            let (a, b) = (folder.path().join("a"), folder.path().join("b"));
            tree_of_files(&a, 7, 3);
            tree_of_files(&b, 7, 3);
            assert!(Command::new("sh").args(["-c", change]).current_dir(&b).status().unwrap().success());
            let differences = trees_equal(&a, &b).unwrap_err();
            assert!(differences.contains(expected), "{change}: {differences}");
        }
    }
}
