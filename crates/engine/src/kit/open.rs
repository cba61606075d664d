//! Reads a kit. In: a file and what opens it. Out: its files, each compared with the manifest; or a folder with them.
//!
//! The encryption tells every altered byte, but only where it is read: so all of it is, to the very end, before the first
//! file is used. A folder comes into being whole or not at all.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufReader, Read, Write},
    iter,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use age::{DecryptError, Decryptor};
use flate2::read::GzDecoder;
use muster_repo::durable;
use muster_types::text::hex;
use sha2::{Digest, Sha256};

use super::{BINARY, FORMAT, Kit, KitError, KitFile, MANIFEST, Manifest, Unlock};

/// Papers and configuration are smaller; only the binary is larger, and is not kept in memory.
const PAPER_BYTES_MAX: u64 = 64 << 20;
/// A list of files is smaller.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Is given each piece of a file as it is read: the file, the piece, whether it is the first.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&KitFile, &[u8], bool) -> io::Result<()>;

/// Reads all of a kit.
pub(super) fn read(file: &Path, unlock: &Unlock, sink: Sink<'_>) -> Result<Kit, KitError> {
    let io = |source| KitError::Io { operation: "read", path: file.to_owned(), source };
    let opened = File::open(file).map_err(io)?;
    let size_bytes = opened.metadata().map_err(io)?.len();
    let decryptor =
        Decryptor::new_buffered(BufReader::new(opened)).map_err(|error| not_begun(file, error))?;
    let refuse = |by, give| Err(KitError::OtherLock { file: file.to_owned(), by, give });
    let stream = match unlock {
        Unlock::Identities(_) if decryptor.is_scrypt() => {
            return refuse("a passphrase", "`--passphrase-file FILE`");
        }
        Unlock::Passphrase(_) if !decryptor.is_scrypt() => {
            return refuse("keys of people", "`--identity FILE`, with the private key of one of them");
        }
        Unlock::Identities(all) => decryptor
            .decrypt(all.iter().map(AsRef::as_ref))
            .map_err(|error| not_opened(file, "identity", error)),
        Unlock::Passphrase(passphrase) => {
            let identity = age::scrypt::Identity::new(passphrase.clone());
            decryptor
                .decrypt(iter::once(&identity as &dyn age::Identity))
                .map_err(|error| not_opened(file, "passphrase", error))
        }
    }?;
    let mut tar = tar::Archive::new(GzDecoder::new(stream));
    let (manifest, files) = entries(&mut tar, sink)?;
    // What stands behind the last file is nothing, and is proven to be as it was written.
    let mut rest = tar.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    let left = io::copy(&mut rest.into_inner(), &mut io::sink()).map_err(damaged)?;
    if left > 0 {
        return Err(KitError::Damaged { what: format!("{left} bytes stand behind its end") });
    }
    Ok(Kit { manifest, files, size_bytes })
}

/// Writes the files of a kit to a folder that is not there, or is empty.
///
/// # Errors
/// Those of [`super::read`]; `Exists`: the folder has something in it. Then nothing was written.
pub fn unpack(file: &Path, unlock: &Unlock, into: &Path) -> Result<Kit, KitError> {
    let fail = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| KitError::Io { operation, path, source }
    };
    match fs::read_dir(into) {
        Ok(mut there) => {
            if there.next().is_some() {
                return Err(KitError::Exists { path: into.to_owned() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(KitError::Exists { path: into.to_owned() });
        }
        Err(error) => return Err(fail("look at", into)(error)),
    }
    let into = std::path::absolute(into).map_err(fail("find", into))?;
    if let Some(above) = into.parent() {
        fs::create_dir_all(above).map_err(fail("create", above))?;
    }
    let temporary = durable::beside(&into, "kit");
    DirBuilder::new().mode(0o700).create(&temporary).map_err(fail("create", &temporary))?;
    let mut current: Option<(PathBuf, File)> = None;
    let read = read(file, unlock, &mut |listed, piece, is_first| {
        if is_first {
            let path = temporary.join(&listed.path);
            if let Some(folder) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            if let Some((_, before)) = current.replace((path.clone(), made(&path)?)) {
                before.sync_all()?;
            }
        }
        match &mut current {
            Some((_, file)) => file.write_all(piece),
            None => Ok(()),
        }
    });
    let placed = read.and_then(|kit| {
        for listed in &kit.manifest.files {
            let path = temporary.join(&listed.path);
            let mode = fs::Permissions::from_mode(listed.mode & 0o777);
            fs::set_permissions(&path, mode).map_err(fail("finish", &path))?;
        }
        if let Some((path, last)) = current.take() {
            last.sync_all().map_err(fail("finish", &path))?;
        }
        durable::rename(&temporary, &into).map_err(fail("put in place", &into))?;
        Ok(kit)
    });
    if placed.is_err() {
        // The first error matters.
        drop(fs::remove_dir_all(&temporary));
    }
    placed
}

fn made(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn not_begun(file: &Path, error: DecryptError) -> KitError {
    match error {
        DecryptError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            KitError::Io { operation: "read", path: file.to_owned(), source }
        }
        _ if begins_as_one(file) => KitError::Damaged { what: "its beginning cannot be read".into() },
        _ => KitError::NotAKit { file: file.to_owned() },
    }
}

fn begins_as_one(file: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(file).and_then(|file| file.take(18).read_to_end(&mut beginning));
    read.is_ok() && beginning == b"age-encryption.org"
}

fn not_opened(file: &Path, with: &'static str, error: DecryptError) -> KitError {
    match error {
        DecryptError::InvalidMac | DecryptError::InvalidHeader => {
            KitError::Damaged { what: "its beginning was altered".into() }
        }
        DecryptError::Io(error) => damaged(error),
        _ => KitError::WrongKey { file: file.to_owned(), with },
    }
}

/// An altered byte, a missing end, or a disk that cannot be read.
fn damaged(error: io::Error) -> KitError {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "its end is missing".to_owned(),
        _ => format!("a part of it was altered, or cannot be read ({error})"),
    };
    KitError::Damaged { what }
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn entries<R: Read>(tar: &mut tar::Archive<R>, sink: Sink<'_>) -> Result<(Manifest, Files), KitError> {
    let strange = |what: String| KitError::Damaged { what };
    let mut entries = tar.entries().map_err(damaged)?;
    let first = entries.next().ok_or_else(|| strange("it is empty".into()))?.map_err(damaged)?;
    let manifest = manifest(first)?;
    let mut files = Files::new();
    let mut listed = manifest.files.iter();
    for entry in entries {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let Some(one) = listed.next().filter(|one| one.path == path) else {
            return Err(strange(format!("{} is not where its list has it", path.display())));
        };
        if !entry.header().entry_type().is_file() || !is_inside(&path) {
            return Err(strange(format!("{} is no file, or leads out of it", path.display())));
        }
        let is_paper = path != Path::new(BINARY);
        if is_paper && one.size_bytes > PAPER_BYTES_MAX {
            return Err(strange(format!("{} is too large", path.display())));
        }
        let kept = take(&mut entry, one, is_paper, sink)?;
        if is_paper {
            files.insert(path, kept);
        }
    }
    match listed.next() {
        None => Ok((manifest, files)),
        Some(missing) => Err(strange(format!("{} is missing", missing.path.display()))),
    }
}

fn manifest<R: Read>(entry: tar::Entry<'_, R>) -> Result<Manifest, KitError> {
    let is_first = entry.path().is_ok_and(|path| path == Path::new(MANIFEST));
    if !is_first {
        return Err(KitError::Damaged { what: format!("it does not begin with {MANIFEST}") });
    }
    let mut json = Vec::new();
    entry.take(MANIFEST_BYTES_MAX).read_to_end(&mut json).map_err(damaged)?;
    let strange = |error: serde_json::Error| KitError::Damaged { what: format!("{MANIFEST}: {error}") };
    let value: serde_json::Value = serde_json::from_slice(&json).map_err(strange)?;
    let format = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or_default();
    if let Ok(found) = u32::try_from(format)
        && found > FORMAT
    {
        return Err(KitError::Newer { found, known: FORMAT });
    }
    serde_json::from_value(value).map_err(strange)
}

/// Reads one file, hands it to the sink and compares it.
fn take(entry: &mut impl Read, listed: &KitFile, keep: bool, sink: Sink<'_>) -> Result<Vec<u8>, KitError> {
    let write = |source| KitError::Io { operation: "write", path: listed.path.clone(), source };
    let (mut hash, mut kept, mut size) = (Sha256::new(), Vec::new(), 0_u64);
    let mut buffer = vec![0; 128 << 10];
    sink(listed, &[], true).map_err(write)?;
    loop {
        let count = entry.read(&mut buffer).map_err(damaged)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        size += count as u64;
        if keep {
            kept.extend_from_slice(piece);
        }
        sink(listed, piece, false).map_err(write)?;
    }
    if size != listed.size_bytes || hex(hash.finalize()) != listed.sha256 {
        return Err(KitError::Damaged {
            what: format!("{} is not what its list says", listed.path.display()),
        });
    }
    Ok(kept)
}

fn is_inside(path: &Path) -> bool {
    let mut parts = path.components();
    parts.clone().next().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}
