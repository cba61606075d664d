//! Finds the key file that a password opens; encrypts and decrypts what lies in the repository.
//!
//! In: the folder `keys` and a password. Out: a [`Cipher`]. The name of every key file is the SHA-256 of its content,
//! so a damaged key file is told apart from a wrong password before it is tried.
//!
//! This module never writes, and never takes a damaged key file for a wrong password. The cipher is the one of the
//! format (AES-256-CTR with Poly1305-AES), because the engine has no public way to encrypt a blob or to decrypt
//! the header of a pack.
//! Read next: `verify.rs`.

use std::num::NonZeroU32;

use aes256ctr_poly1305aes::{
    Aes256CtrPoly1305Aes, Key, Nonce,
    aead::{Aead, AeadInPlace, Tag},
};
use muster_types::Secret;
use rustic_core::{Id, repofile::KeyFile, repofile::MasterKey};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use crate::{
    error::RepoError,
    place::{Listed, Root},
};

/// Bytes of the nonce before, and of the nonce and the mark of authenticity around, everything that is encrypted.
pub(crate) const NONCE_BYTES: usize = 16;
/// What stands before packed JSON in a file of the repository.
const PACKED: u8 = 2;
/// Bytes that encryption adds.
pub(crate) const OVERHEAD_BYTES: u32 = 32;

/// An opened key.
#[derive(Clone)]
pub(crate) struct Unlocked {
    /// The name of the key file that fits.
    pub(crate) key_id: String,
    /// What it holds.
    pub(crate) master: MasterKey,
    /// Encrypts and decrypts with it.
    pub(crate) cipher: Cipher,
}

/// Encrypts and decrypts what lies in a repository.
#[derive(Clone)]
pub(crate) struct Cipher(Aes256CtrPoly1305Aes);

impl Cipher {
    fn new(master: &MasterKey) -> Option<Self> {
        let bytes = [&master.encrypt[..], &master.mac.k, &master.mac.r].concat();
        (bytes.len() == 64).then(|| Self(Aes256CtrPoly1305Aes::new(Key::from_slice(&bytes))))
    }

    /// Encrypts what lies behind the first [`NONCE_BYTES`] where it lies, and puts the mark of authenticity behind it.
    ///
    /// # Errors
    /// The system gives no randomness, or there are more bytes than the cipher can take.
    pub(crate) fn encrypt_in_place(&self, data: &mut Vec<u8>) -> Result<(), String> {
        let mut random = [0; NONCE_BYTES];
        let filled = getrandom(&mut random[..], GetRandomFlags::empty());
        // The system gives up to 256 bytes at once or an error, never a part.
        if filled != Ok(NONCE_BYTES) {
            return Err("the system gives no randomness".into());
        }
        let (nonce, content) =
            data.split_at_mut_checked(NONCE_BYTES).ok_or("there is no room for a nonce")?;
        nonce.copy_from_slice(&random);
        let tag = self
            .0
            .encrypt_in_place_detached(Nonce::from_slice(&random), &[], content)
            .map_err(|_| "it cannot be encrypted".to_owned())?;
        data.extend_from_slice(&tag);
        Ok(())
    }

    /// Packs and encrypts a file of the repository; `level` is that of zstd, none for the first version of the format.
    pub(crate) fn encode_file(&self, json: &[u8], level: Option<i32>) -> Result<Vec<u8>, String> {
        let mut data = vec![0; NONCE_BYTES];
        match level {
            None => data.extend_from_slice(json),
            Some(level) => {
                data.push(PACKED);
                let packed = zstd::bulk::compress(json, level);
                data.extend(packed.map_err(|error| format!("it cannot be packed: {error}"))?);
            }
        }
        self.encrypt_in_place(&mut data)?;
        Ok(data)
    }

    /// Decrypts bytes and checks their authenticity.
    pub(crate) fn decrypt(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        if data.len() < OVERHEAD_BYTES as usize {
            return Err(format!("it has only {} bytes", data.len()));
        }
        let (nonce, content) = data.split_at(NONCE_BYTES);
        self.0.decrypt(Nonce::from_slice(nonce), content).map_err(|_| "it cannot be decrypted".into())
    }

    /// Decrypts bytes where they lie and returns the plain part.
    pub(crate) fn decrypt_in_place<'a>(&self, data: &'a mut [u8]) -> Result<&'a [u8], String> {
        let size = data.len();
        if size < OVERHEAD_BYTES as usize {
            return Err(format!("it has only {size} bytes"));
        }
        let (nonce, rest) = data.split_at_mut(NONCE_BYTES);
        let (content, tag) = rest.split_at_mut(size - OVERHEAD_BYTES as usize);
        self.0
            .decrypt_in_place_detached(
                Nonce::from_slice(nonce),
                &[],
                content,
                Tag::<Aes256CtrPoly1305Aes>::from_slice(tag),
            )
            .map_err(|_| "it cannot be decrypted".to_owned())?;
        Ok(content)
    }

    /// Decrypts and unpacks a file of the repository: JSON, or a byte 2 before compressed JSON.
    pub(crate) fn decode_file(&self, data: &[u8]) -> Result<Vec<u8>, String> {
        let plain = self.decrypt(data)?;
        match plain.split_first() {
            Some((b'{' | b'[', _)) => Ok(plain),
            Some((&PACKED, packed)) => {
                zstd::decode_all(packed).map_err(|e| format!("it cannot be unpacked: {e}"))
            }
            _ => Err("its form is unknown".into()),
        }
    }

    /// Decrypts and unpacks a blob. `length` is its length when it is compressed.
    pub(crate) fn decode_blob(&self, data: &[u8], length: Option<NonZeroU32>) -> Result<Vec<u8>, String> {
        let plain = self.decrypt(data)?;
        let Some(length) = length else { return Ok(plain) };
        zstd::bulk::decompress(&plain, length.get() as usize)
            .map_err(|e| format!("it cannot be unpacked: {e}"))
    }
}

/// Returns the SHA-256 as the repository writes it.
pub(crate) fn hex_hash(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

/// Lists the names in a folder of the repository that are ids, sorted. A missing folder has none.
pub(crate) fn ids_in(root: &Root, folder: &str) -> Result<Vec<String>, RepoError> {
    let listed = root.list(folder)?;
    let names = listed.iter().map(Listed::file_name).filter(|name| name.parse::<Id>().is_ok());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

/// Reads a key file and compares its content with its name. The inner error is damage of the file.
pub(crate) fn read_key(root: &Root, id: &str) -> Result<Result<KeyFile, String>, RepoError> {
    match root.read(&format!("keys/{id}")) {
        Ok(content) => Ok(parse_key(id, &content)),
        Err(fault) => fault.into_message().map(Err),
    }
}

fn parse_key(id: &str, content: &[u8]) -> Result<KeyFile, String> {
    if hex_hash(content) != id {
        return Err("its content does not match its name".into());
    }
    let file: KeyFile =
        serde_json::from_slice(content).map_err(|error| format!("it is not a key file: {error}"))?;
    // The engine stops the process at a cost of zero.
    if !file.n.is_power_of_two() {
        return Err(format!("its cost of {} is not possible", file.n));
    }
    Ok(file)
}

/// Finds the key file that `password` opens.
///
/// # Errors
/// `WrongKey`: no key file fits and all are whole. `Corrupt`: no key file fits and one is damaged, or there is none.
pub(crate) fn unlock(root: &Root, password: &Secret) -> Result<Unlocked, RepoError> {
    let ids = ids_in(root, "keys")?;
    let corrupt = |object: String, message: String| RepoError::Corrupt { object, message };
    if ids.is_empty() {
        return Err(corrupt("keys".into(), "there is no key file".into()));
    }
    let mut damaged = None;
    for id in ids {
        let file = match read_key(root, &id)? {
            Ok(file) => file,
            Err(message) => {
                damaged.get_or_insert(corrupt(format!("key {id}"), message));
                continue;
            }
        };
        // The engine says in no better way that the password does not fit; a whole file has sound parameters.
        let Ok(key) = file.key_from_password(&password.expose()) else { continue };
        let (encrypt, k, r) = key.to_keys();
        // The parts of the engine's type cannot be named from here, so a random one is made and overwritten.
        let mut master = MasterKey::new();
        (master.encrypt, master.mac.k, master.mac.r) = (encrypt, k, r);
        if let Some(cipher) = Cipher::new(&master) {
            return Ok(Unlocked { key_id: id, master, cipher });
        }
    }
    Err(damaged.unwrap_or_else(|| RepoError::WrongKey(root.shown())))
}

#[cfg(test)]
impl Cipher {
    /// Encrypts, for tests that make what a newer program would write.
    pub(crate) fn encrypt(&self, data: &[u8]) -> Vec<u8> {
        let nonce = [7; NONCE_BYTES];
        let mut out = nonce.to_vec();
        out.extend(self.0.encrypt(Nonce::from_slice(&nonce), data).expect("memory can be encrypted"));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encrypted_comes_back_and_every_changed_byte_is_noticed() {
        let mut master = MasterKey::new();
        master.encrypt = vec![1; 32];
        let cipher = Cipher::new(&master).unwrap();
        let data = cipher.encrypt(b"{\"a\":1}");
        assert_eq!(cipher.decode_file(&data).unwrap(), b"{\"a\":1}");
        for place in 0..data.len() {
            let mut changed = data.clone();
            changed[place] ^= 1;
            assert!(cipher.decrypt(&changed).is_err(), "{place}");
        }
        for length in 0..data.len() {
            assert!(cipher.decrypt(&data[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_no_two_writes_are_the_same() {
        let cipher = Cipher::new(&MasterKey::new()).unwrap();
        for level in [None, Some(0), Some(19)] {
            let (one, two) =
                (cipher.encode_file(b"{\"c\":3}", level), cipher.encode_file(b"{\"c\":3}", level));
            assert_eq!(cipher.decode_file(&one.clone().unwrap()).unwrap(), b"{\"c\":3}", "{level:?}");
            assert_ne!(one, two, "{level:?}");
        }
        assert!(cipher.encrypt_in_place(&mut vec![0; NONCE_BYTES - 1]).is_err());
    }

    #[test]
    fn a_packed_file_and_a_packed_blob_are_unpacked_and_no_longer_than_stated() {
        let cipher = Cipher::new(&MasterKey::new()).unwrap();
        let packed = zstd::encode_all(&b"{\"b\":2}"[..], 3).unwrap();
        assert_eq!(cipher.decode_file(&cipher.encrypt(&[&[2], &packed[..]].concat())).unwrap(), b"{\"b\":2}");
        let blob = cipher.encrypt(&packed);
        assert_eq!(cipher.decode_blob(&blob, NonZeroU32::new(7)).unwrap(), b"{\"b\":2}");
        assert!(cipher.decode_blob(&blob, NonZeroU32::new(6)).is_err());
        assert!(cipher.decode_file(&cipher.encrypt(b"text")).is_err());
    }
}
