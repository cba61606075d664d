//! Decides which names below a path belong to a component: include, exclude and age.
//!
//! In: the globs of the configuration and a path relative to the component's path. Out: yes or no.
//!
//! | glob | matches |
//! |---|---|
//! | `*.log`, `cache` | that name in any folder |
//! | `tmp/*.log`, `/cache` | only there, counted from the component's path |
//! | `**/build/out` | in any folder |
//! | `cache/` | folders only |
//!
//! `*` and `?` stop at a `/`. What matches a folder holds for everything below it, and `exclude` wins over `include`.
//! The component's own path is never left out: someone has named it.
//!
//! This module never looks at a disk.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use muster_types::{Kind, Span, Timestamp};

use crate::DriverError;

/// The globs of one component.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    include: Option<Globs>,
    exclude: Option<Globs>,
    oldest: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Globs {
    anything: GlobSet,
    folders: GlobSet,
}

impl Selection {
    /// Reads the globs; empty lists leave nothing out.
    pub(crate) fn new(include: &[String], exclude: &[String]) -> Result<Self, DriverError> {
        Ok(Self { include: Globs::new(include)?, exclude: Globs::new(exclude)?, oldest: None })
    }

    /// Leaves out regular files that were last changed more than `max_age` before `now`.
    pub(crate) fn with_max_age(mut self, max_age: Option<Span>, now: Timestamp) -> Self {
        self.oldest = max_age.and_then(|age| now.checked_sub(age.duration()).ok());
        self
    }

    /// Whether a name, or for a folder everything below it, is left out.
    pub(crate) fn is_excluded(&self, relative: &Path, is_folder: bool) -> bool {
        self.exclude.as_ref().is_some_and(|globs| globs.match_it(relative, is_folder))
    }

    /// Whether a name, and for a folder everything below it, is asked for.
    pub(crate) fn is_included(&self, relative: &Path, is_folder: bool) -> bool {
        self.include.as_ref().is_none_or(|globs| globs.match_it(relative, is_folder))
    }

    /// Whether a regular file is young enough.
    pub(crate) fn is_young(&self, changed: Option<Timestamp>) -> bool {
        match (self.oldest, changed) {
            (Some(oldest), Some(changed)) => changed >= oldest,
            _ => true,
        }
    }
}

impl Globs {
    fn new(texts: &[String]) -> Result<Option<Self>, DriverError> {
        let (mut anything, mut folders) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for text in texts {
            let invalid = |source| {
                DriverError::new(Kind::Config, format!("`{text}` is not a glob"))
                    .with_hint(
                        "write a name like `*.log`, or a path from the component's path on like `cache/tmp`",
                    )
                    .with_source(source)
            };
            let (body, into) = match text.strip_suffix('/') {
                Some(body) => (body, &mut folders),
                None => (text.as_str(), &mut anything),
            };
            let pattern = match body.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if body.contains('/') => body.strip_prefix("./").unwrap_or(body).to_owned(),
                None => format!("**/{body}"),
            };
            if pattern.is_empty() || body.is_empty() {
                return Err(DriverError::new(Kind::Config, format!("the glob `{text}` is empty"))
                    .with_hint("remove it, or write a name like `*.log`"));
            }
            into.add(
                GlobBuilder::new(&pattern)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map_err(invalid)?,
            );
        }
        let invalid = |source| {
            DriverError::new(Kind::Config, "the globs are too many or too large").with_source(source)
        };
        let (anything, folders) = (anything.build().map_err(invalid)?, folders.build().map_err(invalid)?);
        Ok((!texts.is_empty()).then_some(Self { anything, folders }))
    }

    fn match_it(&self, relative: &Path, is_folder: bool) -> bool {
        self.anything.is_match(relative) || is_folder && self.folders.is_match(relative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(glob: &str, path: &str, is_folder: bool) -> bool {
        Selection::new(&[], &[glob.into()]).unwrap().is_excluded(Path::new(path), is_folder)
    }

    #[test]
    fn a_name_matches_anywhere_and_a_path_only_where_it_says() {
        assert!(excludes("*.log", "a.log", false) && excludes("*.log", "x/y/a.log", false));
        assert!(!excludes("*.log", "a.log.gz", false));
        assert!(excludes("tmp/*.log", "tmp/a.log", false) && !excludes("tmp/*.log", "x/tmp/a.log", false));
        assert!(!excludes("tmp/*.log", "tmp/deep/a.log", false), "a star stops at a slash");
        assert!(excludes("/cache", "cache", true) && !excludes("/cache", "x/cache", true));
        assert!(excludes("**/build/out", "a/b/build/out", true));
        assert!(excludes("cache/", "x/cache", true) && !excludes("cache/", "x/cache", false));
    }

    #[test]
    fn a_glob_that_is_none_is_a_configuration_error_with_its_text() {
        for text in ["a[", "", "/"] {
            let error = Selection::new(&[], &[text.into()]).unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}
