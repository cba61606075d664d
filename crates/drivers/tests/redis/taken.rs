//! Takes a backup of a real server through the driver and lays it out as the repository would.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_drivers::{
    DriverError,
    component::{ComponentDriver, Verification, Verified},
    redis::RedisDriver,
};
use muster_repo::source::{EntryKind, Source, SourceError, SourceSummary};
use muster_testkit::{Redis, redis::Builder};
use muster_types::{
    Clock, Timestamp,
    backup::{Method, Witness},
    config::{Assertion, RedisComponent},
    event::Unwatched,
};

pub(crate) struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The component of a server, as its user `default`.
pub(crate) fn component(server: &Redis) -> RedisComponent {
    RedisComponent { url: Some(server.url()), ..RedisComponent::default() }
}

pub(crate) fn driver(component: &RedisComponent) -> RedisDriver {
    RedisDriver::new("cache", component, Arc::new(Now)).unwrap()
}

pub(crate) fn begin(component: &RedisComponent) -> Result<Box<dyn Source>, DriverError> {
    driver(component).open_source(Method::Consistent, Path::new("/nowhere"), &Unwatched)
}

/// The error of a backup that must not begin.
pub(crate) fn refusal(component: &RedisComponent) -> DriverError {
    match begin(component) {
        Err(error) => error,
        Ok(_) => panic!("the backup began"),
    }
}

/// A backup on disk.
pub(crate) struct Taken {
    pub(crate) summary: SourceSummary,
    pub(crate) driver: RedisDriver,
    folder: tempfile::TempDir,
    places: Vec<PathBuf>,
}

pub(crate) fn take(component: &RedisComponent) -> Taken {
    let (folder, source) = (tempfile::tempdir().unwrap(), begin(component).unwrap());
    write(source.as_ref(), folder.path()).unwrap();
    let places = vec![folder.path().join("0")];
    Taken { summary: source.finish().unwrap(), driver: driver(component), folder, places }
}

/// Writes what a source gives; the order must be that of a sorted walk.
pub(crate) fn write(source: &dyn Source, folder: &Path) -> Result<(), SourceError> {
    let mut last = PathBuf::new();
    for entry in source.entries() {
        let entry = entry?;
        assert!(entry.path > last, "{} after {}", entry.path.display(), last.display());
        last.clone_from(&entry.path);
        let path = folder.join(&entry.path);
        match entry.kind {
            EntryKind::Directory => fs::create_dir(&path).unwrap(),
            EntryKind::File { open, .. } => {
                let mut file = fs::File::create_new(&path).unwrap();
                std::io::copy(&mut open()?, &mut file).map_err(|error| {
                    error.downcast::<SourceError>().expect("an error that says what it is")
                })?;
            }
            _ => panic!("only files and folders are in it"),
        }
    }
    Ok(())
}

impl Taken {
    pub(crate) fn place(&self) -> &Path {
        &self.places[0]
    }

    pub(crate) fn prove(&self, assertions: &[Assertion]) -> Result<Verified, DriverError> {
        self.prove_with(&self.driver, assertions)
    }

    pub(crate) fn prove_with(
        &self,
        driver: &RedisDriver,
        assertions: &[Assertion],
    ) -> Result<Verified, DriverError> {
        let request = Verification {
            is_proof: true,
            ..Verification::new(&self.places, &self.summary.witness, assertions)
        };
        driver.verify(&request, &Unwatched)
    }

    pub(crate) fn judge(&self, witness: &Witness, assertions: &[Assertion]) -> Result<Verified, DriverError> {
        self.driver.verify(&Verification::new(&self.places, witness, assertions), &Unwatched)
    }

    /// A server on a copy of the RDB.
    pub(crate) fn server(&self, builder: Builder) -> Redis {
        let folder = self.folder.path().join("server");
        fs::create_dir(&folder).unwrap();
        fs::copy(self.place().join("dump.rdb"), folder.join("dump.rdb")).unwrap();
        builder.on(&folder).start()
    }
}
