//! Why a kit could not be made or opened. No key, no passphrase and no line of a key file stands in any of them.

use std::path::PathBuf;

use muster_types::{Explain, Hint, Kind};

/// Why a kit could not be made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// Nobody could open it.
    #[error("nobody is named who can open the kit")]
    NoPeople,
    /// A public key is none.
    #[error("the key of `{name}` is no public key of age")]
    BadRecipient {
        /// Whose.
        name: String,
        /// It looks like the private key.
        is_private: bool,
        /// It is a key of ssh.
        is_ssh: bool,
    },
    /// A passphrase could be found by trying.
    #[error("the passphrase has fewer than {least} letters")]
    ShortPassphrase {
        /// How many it needs.
        least: usize,
    },
    /// A file with private keys is none.
    #[error("the file of the identity cannot be used: {what}")]
    BadIdentity {
        /// Why.
        what: String,
    },
    /// The file was never a kit.
    #[error("{} is no kit", file.display())]
    NotAKit {
        /// The file.
        file: PathBuf,
    },
    /// None of the keys opens it.
    #[error("{} cannot be opened with this {with}", file.display())]
    WrongKey {
        /// The file.
        file: PathBuf,
        /// `identity` or `passphrase`.
        with: &'static str,
    },
    /// It is locked by a passphrase and a key was given, or the other way round.
    #[error("{} is locked by {by}", file.display())]
    OtherLock {
        /// The file.
        file: PathBuf,
        /// `a passphrase`, `keys of people`.
        by: &'static str,
        /// What to give.
        give: &'static str,
    },
    /// It is not as it was written.
    #[error("the kit is damaged: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
    /// A later Muster has written it.
    #[error("the kit has format {found}, and this Muster knows {known}")]
    Newer {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Something stands where it is to be written.
    #[error("{} stands there already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for KitError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoPeople
            | Self::BadRecipient { .. }
            | Self::ShortPassphrase { .. }
            | Self::BadIdentity { .. }
            | Self::NotAKit { .. }
            | Self::OtherLock { .. } => Kind::Input,
            Self::WrongKey { .. } => Kind::WrongKey,
            Self::Damaged { .. } => Kind::Corrupt,
            Self::Exists { .. } | Self::Newer { .. } => Kind::Conflict,
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
            Self::Io { .. } => Kind::Unavailable,
        }
    }

    fn hint(&self) -> Option<Hint> {
        Some(Hint(match self {
            Self::NoPeople => "make a key with `age-keygen -o me.key`, and write `kit: {recipients: {me: age1…}}`; or give `--recipient age1…`, or `--passphrase-file FILE`".into(),
            Self::BadRecipient { is_private: true, .. } => "this looks like the private key, which nobody else may see: make a new pair with `age-keygen`, and write its public key `age1…`".into(),
            Self::BadRecipient { is_ssh: true, .. } => "keys of ssh are not taken: make one with `age-keygen -o me.key`, and write its public key `age1…`".into(),
            Self::BadRecipient { .. } => "write the public key that `age-keygen -y me.key` prints: `age1…`".into(),
            Self::ShortPassphrase { .. } => "take five or six random words".into(),
            Self::BadIdentity { .. } => "give the file that `age-keygen` has written: a line `AGE-SECRET-KEY-1…`".into(),
            Self::NotAKit { .. } => "name the file that `muster kit FILE` has written".into(),
            Self::WrongKey { .. } => "the kit was made for other people: another person may have a key, or there is a newer kit".into(),
            Self::OtherLock { give, .. } => format!("give {give}"),
            Self::Damaged { .. } => "nothing of it was used: take another copy of the kit; the paper of `muster key print` helps too".into(),
            Self::Newer { .. } => "take the Muster that is in it: `age -d -i me.key KIT | tar xz`".into(),
            Self::Exists { .. } => "give another name, or move it away".into(),
            Self::Io { .. } => "check that it exists, that this user may use it, and that the disk has room".into(),
        }))
    }
}
