//! The state of Muster in its own repository: journal, configuration and runbooks, so that the repository and its key are
//! enough to begin on a blank host.
//!
//! ```text
//! muster/state/<platform>/<environment>/<journal>/<file>
//! ```
//! In: the content of a file. Out: the same, sealed with the repository's key, whole or not at all. Two journals of one
//! environment, of two hosts for example, have folders of their own and never replace each other.
//!
//! It does not know what the files mean; `engine` does. Read next: `docs/format.md`, "The state".

use muster_types::Secret;
use serde::{Deserialize, Serialize};

use crate::{
    error::RepoError,
    place::Fault,
    repo::Repo,
    unlock::{Cipher, NONCE_BYTES},
    verify::Finding,
};

/// Where the state lies in a repository.
pub(crate) const FOLDER: &str = "muster/state";
/// The version of the form.
const FORMAT: u32 = 1;
/// Of zstd.
const LEVEL: i32 = 3;
/// More than a state has; what says that it unpacks to more is damaged or hostile.
const PLAIN_BYTES_MAX: usize = 256 << 20;

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StateId {
    /// The platform.
    pub platform: String,
    /// The environment.
    pub environment: String,
    /// The journal: 16 hex digits that tell two journals apart.
    pub journal: String,
}

/// What is sealed with the bytes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    state: StateId,
    file: String,
    bytes: usize,
}

impl StateId {
    fn folder(&self) -> String {
        format!("{FOLDER}/{}/{}/{}", self.platform, self.environment, self.journal)
    }
}

impl Repo {
    /// Lists the states in this repository with the names of their files, sorted.
    ///
    /// # Errors
    /// The repository cannot be listed.
    pub fn states(&self) -> Result<Vec<(StateId, Vec<String>)>, RepoError> {
        let mut found: std::collections::BTreeMap<StateId, Vec<String>> = std::collections::BTreeMap::new();
        for listed in self.path().list(FOLDER)? {
            let parts: Vec<&str> = listed.name.split('/').collect();
            if let [_, _, platform, environment, journal, file] = parts.as_slice()
                && !file.starts_with('.')
            {
                let [platform, environment, journal] =
                    [platform, environment, journal].map(|part| (*part).to_owned());
                let id = StateId { platform, environment, journal };
                found.entry(id).or_default().push((*file).to_owned());
            }
        }
        for files in found.values_mut() {
            files.sort();
        }
        Ok(found.into_iter().collect())
    }

    /// Lists the files of one state, sorted.
    ///
    /// # Errors
    /// The repository cannot be listed.
    pub fn state_files(&self, id: &StateId) -> Result<Vec<String>, RepoError> {
        let listed = self.path().list(&id.folder())?;
        let names = listed.iter().map(|one| one.file_name().to_owned()).filter(|name| !name.starts_with('.'));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    /// Writes a file of a state, whole and durable or not at all. One that is there is replaced.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn write_state(&self, id: &StateId, file: &str, content: &[u8]) -> Result<(), RepoError> {
        let fail = |message: String| RepoError::Engine { operation: "store the state", message };
        let header =
            Header { format: FORMAT, state: id.clone(), file: file.to_owned(), bytes: content.len() };
        let mut data = vec![0; NONCE_BYTES];
        serde_json::to_writer(&mut data, &header).map_err(|error| fail(error.to_string()))?;
        data.push(b'\n');
        data.extend(zstd::bulk::compress(content, LEVEL).map_err(|error| fail(error.to_string()))?);
        self.unlocked()?.cipher.encrypt_in_place(&mut data).map_err(fail)?;
        self.path().write(&format!("{}/{file}", id.folder()), &[data.into()])
    }

    /// Reads a file of a state; `None` when there is none.
    ///
    /// # Errors
    /// `Corrupt`: it is damaged, or was moved here from elsewhere. `NewerFormat`.
    pub fn read_state(&self, id: &StateId, file: &str) -> Result<Option<Vec<u8>>, RepoError> {
        let object = format!("{}/{file}", id.folder());
        let corrupt = |message: String| RepoError::Corrupt { object: object.clone(), message };
        let sealed = match self.path().read(&object) {
            Ok(sealed) => sealed,
            Err(Fault::Missing) => return Ok(None),
            Err(Fault::Short) => return Err(corrupt("it is cut off".into())),
            Err(Fault::Failed(error)) => return Err(error),
        };
        open(&self.unlocked()?.cipher, id, file, &object, sealed).map(Some)
    }

    /// Names the files of states that are damaged.
    pub(crate) fn damaged_states(&self) -> Result<Vec<Finding>, RepoError> {
        let mut findings = Vec::new();
        for (id, files) in self.states()? {
            for file in files {
                match self.read_state(&id, &file) {
                    Err(RepoError::Corrupt { object, message }) => {
                        findings.push(Finding::new(object, message));
                    }
                    // A disk that cannot read one file can read the next.
                    Err(RepoError::Io { path, source, .. }) => {
                        let message = format!("it cannot be read: {source}");
                        findings.push(Finding::new(path.display().to_string(), message));
                    }
                    Err(error @ RepoError::NewerFormat { .. }) => log::info!("{error}"),
                    Err(error) => return Err(error),
                    Ok(_) => {}
                }
            }
        }
        Ok(findings)
    }

    /// Returns the key that this repository was opened with.
    pub fn key(&self) -> &Secret {
        &self.key
    }
}

fn open(
    cipher: &Cipher,
    id: &StateId,
    file: &str,
    object: &str,
    mut sealed: Vec<u8>,
) -> Result<Vec<u8>, RepoError> {
    let corrupt = |message: String| RepoError::Corrupt { object: object.to_owned(), message };
    let plain = cipher.decrypt_in_place(&mut sealed).map_err(corrupt)?;
    let end = plain.iter().position(|byte| *byte == b'\n');
    let (header, packed) = plain.split_at(end.ok_or_else(|| corrupt("it has no header".into()))?);
    let header: Header =
        serde_json::from_slice(header).map_err(|error| corrupt(format!("its header: {error}")))?;
    if header.format > FORMAT {
        return Err(RepoError::NewerFormat {
            object: object.to_owned(),
            found: header.format.into(),
            known: FORMAT.into(),
        });
    }
    if header.state != *id || header.file != file || header.bytes > PLAIN_BYTES_MAX {
        return Err(corrupt("it was moved or renamed".into()));
    }
    let content = zstd::bulk::decompress(&packed[1..], header.bytes)
        .map_err(|error| corrupt(format!("it cannot be unpacked: {error}")))?;
    if content.len() != header.bytes {
        return Err(corrupt(format!("it holds {} bytes of {}", content.len(), header.bytes)));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_and_one_that_was_moved_or_changed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap().parse().unwrap();
        let repo = Repo::init(&location, &Secret::new("k")).unwrap();
        let id = |journal: &str| StateId {
            platform: "shop".into(),
            environment: "prod".into(),
            journal: journal.into(),
        };
        assert_eq!(repo.states().unwrap(), []);
        assert_eq!(repo.read_state(&id("a"), "files").unwrap(), None);
        for (journal, text) in [("a", "one"), ("b", "two"), ("a", "three")] {
            repo.write_state(&id(journal), "files", text.as_bytes()).unwrap();
        }
        let files = || vec!["files".to_owned()];
        assert_eq!(repo.states().unwrap(), [(id("a"), files()), (id("b"), files())]);
        assert_eq!(repo.read_state(&id("a"), "files").unwrap().unwrap(), b"three");
        let at = |journal: &str| folder.path().join(FOLDER).join("shop/prod").join(journal).join("files");
        std::fs::copy(at("a"), at("b")).unwrap();
        let error = repo.read_state(&id("b"), "files").unwrap_err();
        assert!(error.to_string().contains("moved"), "{error}");
        let mut content = std::fs::read(at("a")).unwrap();
        content[20] ^= 1;
        crate::durable::write(&at("a"), &content, 0o600).unwrap();
        assert!(repo.read_state(&id("a"), "files").is_err());
    }
}
