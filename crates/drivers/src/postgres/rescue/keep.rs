//! The file that keeps every row before it is inserted, and from which it is inserted.
//!
//! ```text
//! COPY "public"."runs" ("id", "name") FROM stdin;
//! 1<tab>first
//! \.
//! ```
//! In: rows as `COPY` text. Out: the same, table after table, with a hash. The form is that of `pg_dump`, so `psql -f`
//! inserts it too. A half-written file never stands under its name. Nothing is held but one row.
//!
//! Read next: `insert.rs`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use muster_repo::durable;
use muster_types::{Kind, rescue::RowsFound, text::hex};
use sha2::{Digest, Sha256};

use super::super::place::failed;
use crate::DriverError;

/// The file's name in its folder.
const NAME: &str = "rows.sql";
/// What ends the rows of a table.
const END: &[u8] = b"\\.\n";
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A file that is being written.
pub(super) struct RowFile {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl RowFile {
    /// Begins it in `folder`, which is made when it is not there; only its owner can read it.
    pub(super) fn begin(folder: &Path) -> Result<Self, DriverError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed("make", folder, &error))?;
        let path = folder.join(NAME);
        let temporary = durable::beside(&path, "tmp");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|error| failed("make", &temporary, &error))?;
        Ok(Self { path, temporary, file: BufWriter::new(file), hash: Sha256::new(), bytes: 0 })
    }

    /// Begins a table; `columns` is their list as SQL needs it.
    pub(super) fn table(&mut self, table: &str, columns: &str) -> Result<(), DriverError> {
        self.add(format!("COPY {table} ({columns}) FROM stdin;\n").as_bytes())
    }

    /// Adds rows, or a part of one.
    pub(super) fn add(&mut self, rows: &[u8]) -> Result<(), DriverError> {
        self.hash.update(rows);
        self.bytes += rows.len() as u64;
        self.file.write_all(rows).map_err(|error| failed("write", &self.temporary, &error))
    }

    /// Ends the present table.
    pub(super) fn end_table(&mut self) -> Result<(), DriverError> {
        self.add(END)
    }

    /// Makes it durable under its name, and returns the name, the size and the hash.
    pub(super) fn finish(mut self) -> Result<(PathBuf, u64, String), DriverError> {
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let written = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| durable::rename(&self.temporary, &self.path))
            // The folder itself may be new.
            .and_then(|()| durable::sync_folder(folder.parent().unwrap_or(&folder)));
        written.map_err(|error| failed("write", &self.path, &error))?;
        Ok((self.path.clone(), self.bytes, hex(self.hash.clone().finalize())))
    }
}

impl Drop for RowFile {
    /// After `finish` the temporary name is gone.
    fn drop(&mut self) {
        drop(fs::remove_file(&self.temporary));
    }
}

/// A file that is being read.
pub(super) struct RowReader {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
}

impl RowReader {
    /// Opens what was found; it must be the very file that was kept.
    ///
    /// # Errors
    /// `Corrupt`: it is another one. `Unavailable`: it cannot be read.
    pub(super) fn open(found: &RowsFound) -> Result<Self, DriverError> {
        let path = found.file.clone();
        let wrong = |error: io::Error| {
            failed("read", &path, &error).with_hint("make a new rescue: nothing was inserted by this one")
        };
        let mut file = File::open(&path).map_err(wrong)?;
        let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE_BYTES]);
        loop {
            let count = file.read(&mut piece).map_err(wrong)?;
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
            hash.update(read);
        }
        if hex(hash.finalize()) != found.sha256 {
            let message =
                format!("{} is not the file that was kept: its hash is another one", path.display());
            return Err(DriverError::new(Kind::Corrupt, message)
                .with_hint("make a new rescue: nothing was inserted by this one"));
        }
        let file = BufReader::with_capacity(PIECE_BYTES, File::open(&path).map_err(wrong)?);
        Ok(Self { path, file, line: Vec::new() })
    }

    /// Returns the statement that takes the rows of the next table; `None` at the end.
    pub(super) fn next_table(&mut self) -> Result<Option<String>, DriverError> {
        self.read_line()?;
        let line = String::from_utf8_lossy(&self.line);
        Ok(line.strip_suffix(";\n").map(ToOwned::to_owned))
    }

    /// Returns the next row of the present table; `None` at its end.
    pub(super) fn next_row(&mut self) -> Result<Option<&[u8]>, DriverError> {
        self.read_line()?;
        // A table that breaks off without its end is not complete: the hash has told so before.
        Ok(Some(self.line.as_slice()).filter(|line| *line != END && !line.is_empty()))
    }

    fn read_line(&mut self) -> Result<(), DriverError> {
        self.line.clear();
        let read = self.file.read_until(b'\n', &mut self.line);
        read.map(drop).map_err(|error| failed("read", &self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: PathBuf, bytes: u64, sha256: String) -> RowsFound {
        let (component, table) = ("c".into(), "t".into());
        let (missing, left_out) = (Vec::new(), Vec::new());
        RowsFound { component, table, deleted: 0, changed: 0, new: 0, missing, file, bytes, sha256, left_out }
    }

    #[test]
    fn rows_come_back_table_by_table_as_they_were_and_another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RowFile::begin(&folder.path().join("run")).unwrap();
        file.table("\"a\"", "\"x\"").unwrap();
        file.add(b"1\tone\\n").unwrap();
        file.add(b"two\n2\t\\.\\N\n").unwrap();
        file.end_table().unwrap();
        file.table("\"b\"", "\"y\"").unwrap();
        file.end_table().unwrap();
        let (path, bytes, hash) = file.finish().unwrap();
        assert_eq!(bytes, fs::metadata(&path).unwrap().len());
        let mut reader = RowReader::open(&found(path.clone(), bytes, hash.clone())).unwrap();
        assert_eq!(reader.next_table().unwrap().as_deref(), Some("COPY \"a\" (\"x\") FROM stdin"));
        assert_eq!(reader.next_row().unwrap(), Some(b"1\tone\\ntwo\n".as_slice()));
        assert_eq!(reader.next_row().unwrap(), Some(b"2\t\\.\\N\n".as_slice()));
        assert_eq!(reader.next_row().unwrap(), None);
        assert_eq!(reader.next_table().unwrap().as_deref(), Some("COPY \"b\" (\"y\") FROM stdin"));
        assert_eq!(reader.next_row().unwrap(), None);
        assert_eq!(reader.next_table().unwrap(), None);
        let mut content = fs::read(&path).unwrap();
        content[20] ^= 1;
        OpenOptions::new().write(true).open(&path).unwrap().write_all(&content).unwrap();
        let refused = RowReader::open(&found(path, bytes, hash)).err().unwrap();
        assert!(refused.to_string().contains("its hash is another one"), "{refused}");
    }
}
