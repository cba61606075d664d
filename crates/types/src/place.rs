//! Places inside a server, written as paths: `/postgres/app` is the database `app`.
//!
//! In: names, whatever is in them. Out: absolute paths, and the names again. So a backup's list of paths, a plan and the
//! journal hold one kind of place; [`crate::plan::Holder`] says which of them lie on a disk. Never looks anything up.

use std::path::{Path, PathBuf};

/// Bytes of a name at most: PostgreSQL keeps 63, and a driver may need two more for a place of its own beside.
const NAME_BYTES_MAX: usize = 61;

/// Writes a name inside a server of `kind` as a path.
pub fn in_server(kind: &str, name: &str) -> PathBuf {
    let name = name.replace('%', "%25").replace('/', "%2F");
    let name = name.strip_prefix('.').map_or(name.clone(), |rest| format!("%2E{rest}"));
    Path::new("/").join(kind).join(name)
}

/// Reads the name again; empty for a path that has none.
pub fn name_in_server(place: &Path) -> String {
    let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.replace("%2E", ".").replace("%2F", "/").replace("%25", "%")
}

/// Tells whether a path is written as a place inside a server. (A server with room for one content has the others on a
/// disk, deep in the folder of the state.)
pub fn is_in_server(place: &Path) -> bool {
    place.components().count() == 3
}

/// Returns a place in the same server whose name is that of `place` with `ending`; a long name is cut for it.
pub fn beside_in_server(place: &Path, ending: &str) -> PathBuf {
    let mut name = name_in_server(place);
    while name.len() + ending.len() > NAME_BYTES_MAX && name.pop().is_some() {}
    let kind = place.parent().and_then(Path::file_name).map(|kind| kind.to_string_lossy().into_owned());
    in_server(&kind.unwrap_or_default(), &format!("{name}{ending}"))
}

/// The kind of the places that keep tables.
const TABLES: &str = "postgres-tables";

/// Writes the place that keeps what a restore of tables, run `run`, has replaced: a schema of the component's database.
///
/// Its name is one that SQL reads without quotes: a person will type it.
pub fn of_tables(run: &str) -> PathBuf {
    in_server(TABLES, &format!("muster_before_{}", run.to_lowercase().replace('-', "_")))
}

/// Tells whether a place keeps tables.
pub fn is_of_tables(place: &Path) -> bool {
    place.starts_with(Path::new("/").join(TABLES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_from_its_place_whatever_is_in_it() {
        for name in ["app", "a/b", ".hidden", "100%", "%2F", "it's = odd/%", "é"] {
            let place = in_server("postgres", name);
            assert_eq!(place.parent(), Some(Path::new("/postgres")), "{name}");
            assert_eq!(name_in_server(&place), name);
            assert!(is_in_server(&place), "{name}");
        }
        assert_eq!(in_server("postgres", "it's = odd/%"), Path::new("/postgres/it's = odd%2F%25"));
    }

    #[test]
    fn a_name_beside_is_cut_between_characters_so_that_the_server_keeps_all_of_its_ending() {
        let place = in_server("postgres", &"é".repeat(31));
        let name = name_in_server(&beside_in_server(&place, "_muster_20261121t115330z_36gm"));
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with("é_muster_20261121t115330z_36gm"), "{name}");
        assert_eq!(beside_in_server(Path::new("/postgres/a%2Fb"), "_x"), Path::new("/postgres/a%2Fb_x"));
    }
}
