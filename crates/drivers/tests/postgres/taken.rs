//! Takes a backup of a real server through the driver and lays it out as the repository would.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    postgres::PostgresDriver,
};
use muster_repo::source::{EntryKind, SourceError, SourceSummary};
use muster_testkit::Postgres;
use muster_types::{
    Clock, Timestamp,
    backup::Method,
    config::{Assertion, PostgresComponent},
    event::Unwatched,
};

pub(crate) struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The component of a server, over TCP, as the role `muster`.
pub(crate) fn component(server: &Postgres) -> PostgresComponent {
    PostgresComponent {
        url: Some(server.url("muster", "postgres")),
        bin_dir: Some(server.version().bin()),
        ..PostgresComponent::default()
    }
}

pub(crate) fn driver(component: &PostgresComponent) -> PostgresDriver {
    PostgresDriver::new("database", component, Arc::new(Now)).unwrap()
}

/// A backup on disk.
pub(crate) struct Taken {
    pub(crate) places: Vec<PathBuf>,
    pub(crate) summary: SourceSummary,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) driver: PostgresDriver,
    folder: tempfile::TempDir,
}

/// The error of a backup that must not come to its end.
pub(crate) fn refusal(component: &PostgresComponent) -> DriverError {
    let folder = tempfile::tempdir().unwrap();
    match driver(component).open_source(Method::Consistent, folder.path(), &Unwatched) {
        Err(error) => error,
        Ok(_) => panic!("the backup began"),
    }
}

pub(crate) fn take(component: &PostgresComponent) -> Taken {
    try_take(component).unwrap()
}

pub(crate) fn try_take(component: &PostgresComponent) -> Result<Taken, SourceError> {
    let driver = driver(component);
    let folder = tempfile::tempdir().unwrap();
    let source = driver.open_source(Method::Consistent, folder.path(), &Unwatched).unwrap();
    let mut modes = Vec::new();
    for entry in source.entries() {
        let entry = entry?;
        let path = folder.path().join(&entry.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match entry.kind {
            EntryKind::Directory => fs::create_dir_all(&path).unwrap(),
            EntryKind::Symlink { target } => symlink(target, &path).unwrap(),
            EntryKind::File { size_bytes, open } => {
                let mut reader = open()?;
                let copied = std::io::copy(&mut reader, &mut fs::File::create_new(&path).unwrap()).unwrap();
                assert_eq!(copied, size_bytes, "{}", path.display());
                modes.push((path, entry.meta.mode));
            }
            EntryKind::Fifo => panic!("no fifo is in a cluster"),
        }
    }
    for (path, mode) in modes {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777)).unwrap();
    }
    let paths = source.paths();
    let places = (0..paths.len()).map(|index| folder.path().join(index.to_string())).collect();
    Ok(Taken { places, summary: source.finish()?, paths, driver, folder })
}

impl Taken {
    pub(crate) fn data(&self) -> &Path {
        &self.places[0]
    }

    pub(crate) fn prove(&self, assertions: &[Assertion]) -> Result<Verified, DriverError> {
        let request = Verification {
            is_proof: true,
            ..Verification::new(&self.places, &self.summary.witness, assertions)
        };
        let mode = |mode| fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        // As it is in real use: the server's user cannot reach the place from above. (Tablespaces it must reach.)
        if self.places.len() == 1 {
            mode(0o700);
        }
        let verified = self.driver.verify(&request, &Unwatched);
        mode(0o755);
        verified
    }
}

impl Taken {
    /// Judges what was loaded into the running server.
    pub(crate) fn judge_loaded(&self, loaded: &Path) -> Result<Verified, DriverError> {
        let request = Verification {
            loaded: Some(loaded),
            ..Verification::new(&self.places, &self.summary.witness, &[])
        };
        self.driver.verify(&request, &Unwatched)
    }
}

pub(crate) fn assertion(sql: &str, expect: &str) -> Assertion {
    Assertion { sql: Some(sql.into()), expect: Some(expect.into()), ..Assertion::default() }
}
