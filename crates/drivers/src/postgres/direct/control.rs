//! The control file of a running server, whole.
//!
//! In: a data directory and whose it must be. Out: the bytes of `global/pg_control` whose checksum fits. The server writes
//! the file in place while it is read, so it is read again until it fits: recovery begins with it.
//!
//! Where the checksum stands differs between versions; it is the last field, and what follows is filled with zeros. So the
//! place is found by computing, and no table of versions is needed. It never changes the file. Read next: `../direct.rs`.

use std::{fs, io, path::Path, thread, time::Duration};

use muster_repo::source::SourceError;
use muster_types::Kind;

/// Where it lies.
pub(super) const NAME: &str = "global/pg_control";
/// How often it is read before it counts as damaged: it is a write of microseconds that is waited for.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);
/// Where the checksum can stand.
const PLACES: std::ops::Range<usize> = 128..512;

/// Reads it.
///
/// # Errors
/// It cannot be read; its checksum does not fit however often it is read; it is that of another cluster.
pub(super) fn read(data: &Path, system_identifier: &str) -> Result<Vec<u8>, SourceError> {
    let path = data.join(NAME);
    for _ in 0..TRIES {
        let content = fs::read(&path).map_err(|source| SourceError::Read { path: path.clone(), source })?;
        if is_whole(&content) {
            return match identifier(&content) {
                Some(own) if own == system_identifier => Ok(content),
                _ => Err(strange(&path, "belongs to another cluster than the server that is asked")),
            };
        }
        thread::sleep(PAUSE);
    }
    Err(strange(&path, "does not have the checksum that it says, however often it is read"))
}

/// Reads which cluster a data directory holds.
pub(super) fn identifier_of(data: &Path) -> io::Result<Option<String>> {
    Ok(identifier(&fs::read(data.join(NAME))?))
}

fn identifier(content: &[u8]) -> Option<String> {
    let eight = content.get(..8)?.try_into().ok()?;
    Some(u64::from_ne_bytes(eight).to_string())
}

fn is_whole(content: &[u8]) -> bool {
    let fits = |place: usize| {
        let (Some(before), Some(four)) = (content.get(..place), content.get(place..place + 4)) else {
            return false;
        };
        let is_end = content.get(place + 4..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        is_end && four == crc32c::crc32c(before).to_ne_bytes()
    };
    PLACES.step_by(4).any(fits)
}

fn strange(path: &Path, what: &str) -> SourceError {
    SourceError::Other {
        message: format!("{} {what}", path.display()),
        hint: Some(
            "look with `pg_controldata`; with `transport: replication` the server sends it itself".into(),
        ),
        kind: Kind::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_file_is_whole_when_its_checksum_stands_at_the_end_of_its_content() {
        for place in [288, 292, 296] {
            let mut content = vec![0; 8192];
            for (index, byte) in content.iter_mut().take(place).enumerate() {
                *byte = u8::try_from(index % 250).unwrap() + 1;
            }
            let sum = crc32c::crc32c(&content[..place]);
            content[place..place + 4].copy_from_slice(&sum.to_ne_bytes());
            assert!(is_whole(&content), "{place}");
            for changed in [0, 100, place, 4000] {
                let mut content = content.clone();
                content[changed] ^= 0x40;
                assert!(!is_whole(&content), "{place} {changed}");
            }
            assert!(!is_whole(&content[..256]));
        }
    }
}
