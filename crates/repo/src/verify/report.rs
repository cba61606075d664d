//! What a verification found. In: findings as they come. Out: a report for people and as JSON.
//!
//! Never judges; `verify.rs` does.

use std::fmt;

use muster_types::ByteSize;
use serde::Serialize;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which object: `snapshot 1a2b…`, `pack data/12/12ab…`, `config`, `blob 34cd… in pack data/12/12ab…`.
    pub object: String,
    /// What is wrong with it.
    pub message: String,
    /// Which backups and files depend on it, one line for each backup.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub affects: Vec<String>,
}

impl Finding {
    /// Makes a finding that names no backup.
    pub fn new(object: impl Into<String>, message: impl Into<String>) -> Self {
        Self { object: object.into(), message: message.into(), affects: Vec::new() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.message)?;
        for line in &self.affects {
            write!(f, "\n  affects {line}")?;
        }
        Ok(())
    }
}

/// What a verification looked at and found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct VerifyReport {
    /// Damage. Empty when all is well.
    pub findings: Vec<Finding>,
    /// Leftovers and other things worth knowing that are no damage.
    pub notes: Vec<Finding>,
    /// Key files.
    pub keys: usize,
    /// Backups that can be read.
    pub backups: usize,
    /// Snapshots of other programs.
    pub foreign: usize,
    /// Index files.
    pub indexes: usize,
    /// Folders of all backups, each counted once.
    pub trees: usize,
    /// Packs that the index names.
    pub packs: usize,
    /// Packs whose content was read.
    pub packs_read: usize,
    /// Bytes of those.
    pub bytes_read: u64,
}

impl VerifyReport {
    /// Tells whether no damage was found.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "damaged: {finding}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        match self.findings.len() {
            0 => write!(f, "no damage found")?,
            1 => write!(f, "1 object is damaged")?,
            count => write!(f, "{count} objects are damaged")?,
        }
        let looked = [
            counted(self.keys, "key"),
            counted(self.backups, "backup"),
            counted(self.indexes, "index file"),
            counted(self.trees, "folder"),
            counted(self.packs, "pack"),
        ];
        write!(f, ": looked at {}; ", looked.join(", "))?;
        match self.packs_read {
            0 => write!(f, "read no pack"),
            count => write!(f, "read {} ({})", counted(count, "pack"), ByteSize(self.bytes_read)),
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_without_colour_and_names_what_was_looked_at() {
        let mut report = VerifyReport { keys: 1, backups: 2, packs: 3, packs_read: 1, ..Default::default() };
        report.bytes_read = 2048;
        let end = "looked at 1 key, 2 backups, 0 index files, 0 folders, 3 packs; read 1 pack (2.0 KiB)";
        assert_eq!(report.to_string(), format!("no damage found: {end}"));
        let affects = vec!["backup 12ab34cd of `uploads`: /srv/uploads/a".to_owned()];
        let pack = Finding { affects, ..Finding::new("pack data/12/12ab", "it is missing") };
        report.findings = vec![pack, Finding::new("config", "it cannot be decrypted")];
        report.notes.push(Finding::new("snapshot 34", "a newer Muster wrote it"));
        let text = "damaged: pack data/12/12ab: it is missing\n  affects backup 12ab34cd of `uploads`: \
                    /srv/uploads/a\ndamaged: config: it cannot be decrypted\nnote: snapshot 34: a newer Muster \
                    wrote it\n2 objects are damaged: ";
        assert_eq!(report.to_string(), format!("{text}{end}"));
        assert!(!report.is_sound());
    }
}
