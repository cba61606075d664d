//! Judges an SQLite database: its size, its integrity, its tables.
//!
//! It is opened read-only and immutable, so nothing beside it is made, read or locked; a log beside it is told, because
//! without it the newest transactions are missing.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{FINDINGS_MAX, Judged};
use crate::{sql::identifier, sqlite::uri};

/// The first bytes of a database.
pub(crate) const MAGIC: &[u8] = b"SQLite format 3\0";

/// Judges a database.
pub(crate) fn judge(path: &Path) -> Judged {
    let mut judged = Judged::of("SQLite database");
    if let Some(finding) = size_fault(path) {
        judged.damage.push(finding);
    }
    for suffix in ["-wal", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        if fs::metadata(&beside).is_ok_and(|found| found.len() > 0) {
            let name = beside.display();
            judged
                .doubts
                .push(format!("{name} lies beside it: without it the newest changes may be missing"));
        }
    }
    if let Err(error) = look_inside(path, &mut judged) {
        judged.damage.push(format!("it cannot be read as a database: {error}"));
    }
    judged
}

/// Compares the size with what the header says; offsets as in the SQLite manual, "Database File Format".
fn size_fault(path: &Path) -> Option<String> {
    let mut header = [0; 100];
    let mut file = File::open(path).ok()?;
    if file.read_exact(&mut header).is_err() {
        return Some("it is cut: not even its header is whole".into());
    }
    let word = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
    let page_size = match u64::from(u16::from_be_bytes(header.get(16..18)?.try_into().ok()?)) {
        1 => 65_536,
        size => size,
    };
    let size = file.metadata().ok()?.len();
    // The count is valid only when the last writer knew of it.
    let is_valid = word(24)? == word(92)? && word(28)? > 0;
    let stated = u64::from(word(28)?) * page_size;
    if page_size < 512 || !page_size.is_power_of_two() {
        Some(format!("its page size is {page_size}"))
    } else if is_valid && size < stated {
        Some(format!("it is cut: {size} bytes of {stated}"))
    } else if is_valid && size > stated || size % page_size != 0 {
        Some(format!("its size of {size} bytes does not fit its pages of {page_size} bytes"))
    } else {
        None
    }
}

fn look_inside(path: &Path, judged: &mut Judged) -> rusqlite::Result<()> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(uri(path, "immutable=1"), flags)?;
    let mut statement = database.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        let line = line?;
        if line != "ok" {
            judged.damage.push(format!("integrity_check: {}", line.replace('\n', " ")));
        }
    }
    let mut names = database.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for name in names {
        let query = format!("SELECT count(*) FROM {}", identifier(&name));
        // A virtual table may need an extension that is not here: it is named without a count.
        let rows = database.query_row(&query, [], |row| row.get::<_, i64>(0)).ok();
        judged.tables.insert(name, rows.and_then(|rows| u64::try_from(rows).ok()));
    }
    Ok(())
}
