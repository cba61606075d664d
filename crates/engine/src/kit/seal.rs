//! Writes a kit. In: a manifest without its list of files, items, a lock. Out: a file of mode 0600.
//!
//! Under its own name there is never anything but a whole kit: it is written beside, read again where it counts (its
//! hashes are taken from what goes in), brought to the disk and renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    iter,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use age::{Encryptor, Recipient};
use flate2::{Compression, write::GzEncoder};
use muster_repo::durable;
use muster_types::text::hex;
use sha2::{Digest, Sha256};

use super::{Content, Item, KitError, KitFile, Lock, MANIFEST, Manifest};

/// How every file of age begins.
const MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// Writes a kit, and returns its manifest with the list of files. A kit that stands there is replaced.
///
/// # Errors
/// `Exists`: something else stands there. `Io`; then there is no new file, and an old kit is as it was.
pub fn seal(file: &Path, mut manifest: Manifest, items: &[Item], lock: &Lock) -> Result<Manifest, KitError> {
    refuse_other(file)?;
    manifest.files = items.iter().map(described).collect::<Result<_, _>>()?;
    let temporary = durable::beside(file, "kit");
    let fail = |operation| {
        let path = file.to_owned();
        move |source| KitError::Io { operation, path, source }
    };
    let made = write(&temporary, &manifest, items, lock).map_err(fail("write"));
    let made = made.and_then(|()| durable::rename(&temporary, file).map_err(fail("put in place")));
    if made.is_err() {
        // The first error matters; what is left is encrypted.
        drop(fs::remove_file(&temporary));
    }
    made.map(|()| manifest)
}

/// An old kit may be replaced, and nothing else.
fn refuse_other(file: &Path) -> Result<(), KitError> {
    let io = |source| KitError::Io { operation: "look at", path: file.to_owned(), source };
    let mut old = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io)?,
    };
    let mut beginning = Vec::new();
    let is_file = old.metadata().map_err(io)?.is_file();
    if is_file {
        Read::by_ref(&mut old).take(MAGIC.len() as u64).read_to_end(&mut beginning).map_err(io)?;
    }
    if beginning == MAGIC { Ok(()) } else { Err(KitError::Exists { path: file.to_owned() }) }
}

fn described(item: &Item) -> Result<KitFile, KitError> {
    let (size_bytes, sha256) = match &item.content {
        Content::Bytes(bytes) => (bytes.len() as u64, hex(Sha256::digest(bytes))),
        Content::File(path) => {
            let fail = |source| KitError::Io { operation: "read", path: path.clone(), source };
            let mut hash = Sha256::new();
            let size = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hash)).map_err(fail)?;
            (size, hex(hash.finalize()))
        }
    };
    Ok(KitFile { path: item.path.clone(), mode: item.mode, size_bytes, sha256 })
}

fn write(path: &Path, manifest: &Manifest, items: &[Item], lock: &Lock) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let encryptor = match lock {
        Lock::People(people) => Encryptor::with_recipients(people.iter().map(|one| one as &dyn Recipient)),
        Lock::Passphrase(passphrase) => {
            let recipient = age::scrypt::Recipient::new(passphrase.clone());
            Encryptor::with_recipients(iter::once(&recipient as &dyn Recipient))
        }
    };
    let stream = encryptor.map_err(io::Error::other)?.wrap_output(BufWriter::new(file))?;
    let mut tar = tar::Builder::new(GzEncoder::new(stream, Compression::fast()));
    let seconds = u64::try_from(manifest.made_at.as_second()).unwrap_or_default();
    let json = serde_json::to_vec_pretty(manifest)?;
    let own =
        KitFile { path: MANIFEST.into(), mode: 0o600, size_bytes: json.len() as u64, sha256: String::new() };
    append(&mut tar, &own, seconds, json.as_slice())?;
    for (listed, item) in manifest.files.iter().zip(items) {
        match &item.content {
            Content::Bytes(bytes) => append(&mut tar, listed, seconds, bytes.as_slice())?,
            // What grows meanwhile is not taken; what shrinks is an error of the archive.
            Content::File(path) => {
                append(&mut tar, listed, seconds, File::open(path)?.take(listed.size_bytes))?;
            }
        }
    }
    let stream = tar.into_inner()?.finish()?;
    let file = stream.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    listed: &KitFile,
    seconds: u64,
    content: impl Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(listed.size_bytes);
    header.set_mode(listed.mode);
    header.set_mtime(seconds);
    let mut counted = Counted { content, read: 0 };
    tar.append_data(&mut header, &listed.path, &mut counted)?;
    if counted.read != listed.size_bytes {
        let message = format!("{} has changed while it was read", listed.path.display());
        return Err(io::Error::other(message));
    }
    Ok(())
}

/// Counts what was read: the archive itself does not mind a short file.
struct Counted<R> {
    content: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}
