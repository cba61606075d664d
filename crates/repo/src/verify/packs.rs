//! Verifies packs: whether they are there with the right size, and, when asked, every byte of them.
//!
//! In: an [`Index`] and the folder `data`. Out: the [`Trouble`] of each pack.
//!
//! Format: blobs one after the other, each encrypted; then the encrypted header with one entry for each blob (kind,
//! lengths, id); then the header's length in four bytes. The name is the SHA-256 of all of it.
//!
//! One damaged blob never hides the next. At most [`READERS_MAX`] packs are in memory at the same time.
//! Read next: `impact.rs`.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustic_core::{FileType, Id};

use super::{
    Job,
    index::{Blob, Index, Origin, Pack, Trouble},
};
use crate::{
    error::RepoError,
    layout,
    place::{Fault, Place},
    unlock::{Cipher, OVERHEAD_BYTES, hex_hash},
};

/// Packs that are read at the same time: more would need memory and win little, as hashing is the limit.
const READERS_MAX: usize = 4;
/// Bytes of the header's length.
const LENGTH_BYTES: usize = 4;

impl Job<'_> {
    /// Compares the packs that are there with the index, and adds those that only their own headers know.
    pub(super) fn check_packs(&mut self, index: &mut Index) -> Result<(), RepoError> {
        let mut present = layout::list(&**self.root, FileType::Pack)?;
        let mut is_any_missing = false;
        for pack in &mut index.packs {
            match present.remove(&pack.id) {
                Some(size) => {
                    pack.is_present = true;
                    if size != u64::from(pack.size) {
                        let message = format!("it has {size} bytes instead of {}", pack.size);
                        pack.trouble.messages.push(message);
                        let cut =
                            pack.blobs.iter().filter(|b| u64::from(b.offset) + u64::from(b.length) > size);
                        pack.trouble.blobs.extend(cut.map(|blob| (blob.id, "it is cut off".to_owned())));
                    }
                }
                // Freeing space removes a doomed pack before the index forgets it.
                None if pack.origin == Origin::Doomed => {}
                None => {
                    is_any_missing = true;
                    pack.trouble.messages.push("it is missing".into());
                }
            }
        }
        for (id, size) in present {
            self.stop_if_cancelled()?;
            self.add_unindexed(index, id, size)?;
        }
        if is_any_missing {
            index.prefer_present();
        }
        Ok(())
    }

    /// A pack outside of every index file is left over, or the index file that named it is damaged or gone.
    fn add_unindexed(&mut self, index: &mut Index, id: Id, size: u64) -> Result<(), RepoError> {
        let pack =
            Lying { place: &**self.root, name: layout::place(FileType::Pack, &id), fault: None.into() };
        let header = read_header(&pack, size, self.cipher);
        if let Some(error) = pack.fault.into_inner() {
            return Err(error);
        }
        match header {
            Ok(blobs) => index.add(Pack {
                id,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                blobs,
                origin: Origin::Header,
                is_present: true,
                trouble: Trouble::default(),
            }),
            Err(message) => self.note(
                layout::name(FileType::Pack, &id),
                format!("no index file names it and its header cannot be read: {message}"),
            ),
        }
        Ok(())
    }

    /// Reads packs and checks every byte. Doomed packs are left out: nothing needs them.
    pub(super) fn read_packs(&mut self, index: &mut Index, percent: f64) -> Result<(), RepoError> {
        let mut chosen: Vec<usize> = (0..index.packs.len())
            .filter(|number| index.packs[*number].is_present && index.packs[*number].origin != Origin::Doomed)
            .collect();
        if percent < 100.0 {
            fastrand::shuffle(&mut chosen);
            let share = (chosen.len() as f64 * percent.max(0.0) / 100.0).ceil();
            // A share of nothing would look like a pass.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the length"
            )]
            chosen.truncate((share as usize).max(1));
        }
        let total = chosen.iter().map(|number| u64::from(index.packs[*number].size)).sum();
        self.watcher.begin("verify the packs", Some(total));
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let readers = processors.max(self.root.parallel()).min(READERS_MAX);
        let unknown = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..readers {
                scope.spawn(|| {
                    while let Some(number) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if self.watcher.is_cancelled() {
                            return;
                        }
                        let (trouble, bytes) = match self.read_pack(&index.packs[*number]) {
                            Ok(read) => read,
                            Err(error) => {
                                unknown.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                                // Nobody takes another one.
                                next.store(chosen.len(), Ordering::Relaxed);
                                return;
                            }
                        };
                        self.watcher.advance(bytes);
                        done.lock().unwrap_or_else(PoisonError::into_inner).push((*number, trouble, bytes));
                    }
                });
            }
        });
        self.stop_if_cancelled()?;
        if let Some(error) = unknown.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        for (number, trouble, bytes) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.report.packs_read += 1;
            self.report.bytes_read += bytes;
            let known = &mut index.packs[number].trouble;
            known.messages.extend(trouble.messages);
            known.blobs.extend(trouble.blobs);
        }
        Ok(())
    }

    fn read_pack(&self, pack: &Pack) -> Result<(Trouble, u64), RepoError> {
        // A pack is never larger than a number of 32 bits; what is read must not depend on what stands there.
        let name = layout::place(FileType::Pack, &pack.id);
        match self.root.read_up_to(&name, 0, u32::MAX.into()) {
            Ok(content) => Ok((check_content(&content, pack, self.cipher), content.len() as u64)),
            // Nothing is in it.
            Err(Fault::Short) => Ok((check_content(&[], pack, self.cipher), 0)),
            Err(fault) => {
                let messages = vec![fault.into_message()?];
                Ok((Trouble { messages, blobs: BTreeMap::new() }, 0))
            }
        }
    }
}

fn check_content(content: &[u8], pack: &Pack, cipher: &Cipher) -> Trouble {
    let mut trouble = Trouble::default();
    if hex_hash(content) != *pack.id.to_hex() {
        trouble.messages.push("its content does not match its name".into());
    }
    match read_header(content, content.len() as u64, cipher) {
        Ok(blobs) if blobs == pack.blobs => {}
        Ok(_) => trouble.messages.push("its header does not agree with the index".into()),
        Err(message) => trouble.messages.push(format!("its header cannot be read: {message}")),
    }
    for blob in &pack.blobs {
        if let Err(message) = check_blob(content, blob, cipher) {
            trouble.blobs.insert(blob.id, message);
        }
    }
    trouble
}

fn check_blob(content: &[u8], blob: &Blob, cipher: &Cipher) -> Result<(), String> {
    let begin = blob.offset as usize;
    let data = content.get(begin..begin + blob.length as usize).ok_or("it is cut off")?;
    check_plain(&cipher.decode_blob(data, blob.unpacked)?, blob)
}

/// Compares what came out with the blob's name and length.
pub(super) fn check_plain(plain: &[u8], blob: &Blob) -> Result<(), String> {
    if blob.unpacked.is_some_and(|length| length.get() as usize != plain.len()) {
        return Err("its length is not the one that the index names".into());
    }
    if hex_hash(plain) != *blob.id.to_hex() {
        return Err("its content does not match its hash".into());
    }
    Ok(())
}

/// Where a header can be read from.
pub(super) trait ReadAt {
    /// Reads exactly the bytes from `offset` on.
    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, String>;
}

/// A pack where it lies. What says nothing about the pack is kept apart.
struct Lying<'a> {
    place: &'a dyn Place,
    name: String,
    fault: RefCell<Option<RepoError>>,
}

impl ReadAt for Lying<'_> {
    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        let mut content = vec![0; length];
        match self.place.read_range(&self.name, offset, &mut content) {
            Ok(()) => Ok(content),
            Err(fault) => Err(fault.into_message().unwrap_or_else(|error| {
                let message = error.to_string();
                *self.fault.borrow_mut() = Some(error);
                message
            })),
        }
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, length: usize) -> Result<Vec<u8>, String> {
        let begin = usize::try_from(offset).map_err(|error| error.to_string())?;
        Ok(self.get(begin..begin + length).ok_or("it is cut off")?.to_vec())
    }
}

/// Reads the header of a pack of `size` bytes: its blobs by offset.
pub(super) fn read_header<R: ReadAt + ?Sized>(
    pack: &R,
    size: u64,
    cipher: &Cipher,
) -> Result<Vec<Blob>, String> {
    let end = size.checked_sub(LENGTH_BYTES as u64).ok_or_else(|| format!("it has only {size} bytes"))?;
    let field = pack.read_at(end, LENGTH_BYTES)?;
    let length = field.try_into().map(u32::from_le_bytes).map_err(|_| "its length is cut off")?;
    let begin = end.checked_sub(length.into()).ok_or("its length field is damaged")?;
    parse_header(&cipher.decrypt(&pack.read_at(begin, length as usize)?)?, begin)
}

fn parse_header(mut header: &[u8], end_of_blobs: u64) -> Result<Vec<Blob>, String> {
    let mut blobs = Vec::new();
    let mut offset = 0_u32;
    while let Some((kind, rest)) = header.split_first() {
        let cut = || "its entries are cut off".to_owned();
        let number = |rest: &mut &[u8]| -> Option<u32> {
            let (bytes, tail) = rest.split_first_chunk::<4>()?;
            *rest = tail;
            Some(u32::from_le_bytes(*bytes))
        };
        let mut rest = rest;
        let length = number(&mut rest).ok_or_else(cut)?;
        let unpacked = match kind {
            0 | 1 => None,
            2 | 3 => NonZeroU32::new(number(&mut rest).ok_or_else(cut)?),
            other => return Err(format!("it has an entry of the unknown kind {other}")),
        };
        let (id, rest) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
        if length < OVERHEAD_BYTES {
            return Err(format!("it has a blob of {length} bytes"));
        }
        blobs.push(Blob { offset, length, unpacked, id: Id::new(*id) });
        offset = offset.checked_add(length).ok_or("its blobs are too long")?;
        header = rest;
    }
    if u64::from(offset) != end_of_blobs {
        return Err("its blobs do not fill the pack".into());
    }
    Ok(blobs)
}
