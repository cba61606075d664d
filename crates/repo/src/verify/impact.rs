//! Turns the trouble of packs into findings that name the backups and files that depend on them.
//!
//! In: an [`Index`] with its troubles. Out: one finding for each damaged pack, and one for all blobs that are nowhere.
//!
//! Only folders that lead to damage are read again, so a sound repository pays nothing. A damaged folder counts as
//! one entry, because what was in it cannot be known. Nothing here recurses.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use rustic_core::{FileType, Id, repofile::Tree};

use super::{
    Finding, Job,
    index::{Index, Origin, Pack},
    objects::Snapshot,
    trees::TreeFault,
};
use crate::{error::RepoError, layout};

/// Files and blobs that a line names; more are counted.
const NAMED_MAX: usize = 3;
/// The finding of the blobs that are in no pack.
const LOST: usize = usize::MAX;

/// How much of one backup one finding hits.
#[derive(Default)]
struct Hits {
    count: u64,
    paths: Vec<PathBuf>,
}

impl Job<'_> {
    /// Makes the findings of the packs, in the order of their names.
    pub(super) fn report_packs(&mut self, snapshots: &[Snapshot], index: &Index) -> Result<(), RepoError> {
        self.note_unindexed(index);
        let bad = index.bad_blobs();
        let mut affects =
            if bad.is_empty() { BTreeMap::new() } else { self.affected(snapshots, index, &bad)? };
        for (number, pack) in index.packs.iter().enumerate().filter(|(_, pack)| !pack.trouble.is_none()) {
            let mut finding = describe(pack);
            finding.affects = affects.remove(&number).unwrap_or_default();
            self.report.findings.push(finding);
        }
        if !index.lost.is_empty() {
            let message = format!(
                "no index file and no pack holds {} that backups need",
                count_and_names(index.lost.len(), "blob", index.lost.iter())
            );
            let affects = affects.remove(&LOST).unwrap_or_default();
            self.report.findings.push(Finding { affects, ..Finding::new("index", message) });
        }
        Ok(())
    }

    fn note_unindexed(&mut self, index: &Index) {
        let unindexed = index.packs.iter().enumerate().filter(|(_, pack)| pack.origin == Origin::Header);
        for (number, pack) in unindexed {
            let name = layout::name(FileType::Pack, &pack.id);
            if index.needed_headers.contains(&number) {
                let message = format!("no readable index file names {name}, which backups need");
                self.find("index", message);
            } else {
                let message = "no index file names it: a backup that runs now or did not end left it";
                self.note(name, message);
            }
        }
    }

    /// Returns the lines of each finding, one for each backup that it hits.
    fn affected(
        &self,
        snapshots: &[Snapshot],
        index: &Index,
        bad: &HashMap<Id, usize>,
    ) -> Result<BTreeMap<usize, Vec<String>>, RepoError> {
        let leads = self.leads_to_damage(snapshots, index, bad)?;
        let mut lines: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for snapshot in snapshots {
            for (number, hits) in self.hits_of(snapshot, index, bad, &leads)? {
                lines.entry(number).or_default().push(hits.line(snapshot));
            }
        }
        Ok(lines)
    }

    /// Tells of each folder whether damage is in it or below it. Folders come after what is in them.
    fn leads_to_damage(
        &self,
        snapshots: &[Snapshot],
        index: &Index,
        bad: &HashMap<Id, usize>,
    ) -> Result<HashMap<Id, bool>, RepoError> {
        let mut leads = HashMap::new();
        // A folder lies on the stack without its content first, and with what is in it the second time.
        let mut stack: Vec<(Id, Option<Vec<Id>>)> = snapshots.iter().map(|s| (s.tree, None)).collect();
        while let Some((id, below)) = stack.pop() {
            self.stop_if_cancelled()?;
            if let Some(below) = below {
                let is_bad = below.iter().any(|tree| leads.get(tree) == Some(&true));
                leads.entry(id).and_modify(|known| *known |= is_bad);
                continue;
            }
            if leads.contains_key(&id) {
                continue;
            }
            let tree = match self.read_tree(index, &id) {
                Ok(tree) => tree,
                Err(TreeFault::Unknown(error)) => return Err(error),
                Err(_) => {
                    leads.insert(id, true);
                    continue;
                }
            };
            leads.insert(id, bad.contains_key(&id) || blobs_of(&tree).any(|blob| bad.contains_key(&blob)));
            let below: Vec<Id> =
                tree.nodes.iter().filter_map(|node| node.subtree.map(|tree| *tree)).collect();
            stack.push((id, Some(below.clone())));
            stack.extend(below.into_iter().map(|tree| (tree, None)));
        }
        Ok(leads)
    }

    fn hits_of(
        &self,
        snapshot: &Snapshot,
        index: &Index,
        bad: &HashMap<Id, usize>,
        leads: &HashMap<Id, bool>,
    ) -> Result<BTreeMap<usize, Hits>, RepoError> {
        let mut hits: BTreeMap<usize, Hits> = BTreeMap::new();
        let mut stack = vec![(PathBuf::new(), snapshot.tree)];
        while let Some((path, id)) = stack.pop() {
            self.stop_if_cancelled()?;
            if leads.get(&id) != Some(&true) {
                continue;
            }
            if let Some(number) = bad.get(&id) {
                hits.entry(*number).or_default().add(&path);
            }
            let tree = match self.read_tree(index, &id) {
                Ok(tree) => tree,
                Err(TreeFault::Unknown(error)) => return Err(error),
                Err(_) => continue,
            };
            for node in &tree.nodes {
                let path = path.join(node.name());
                let mut numbers: Vec<usize> =
                    node.content.iter().flatten().filter_map(|blob| bad.get(&**blob).copied()).collect();
                numbers.sort_unstable();
                numbers.dedup();
                for number in numbers {
                    hits.entry(number).or_default().add(&path);
                }
                stack.extend(node.subtree.map(|tree| (path, *tree)));
            }
        }
        Ok(hits)
    }
}

impl Index {
    /// Returns every blob that cannot be had, with the number of its pack or [`LOST`].
    fn bad_blobs(&self) -> HashMap<Id, usize> {
        let mut bad: HashMap<Id, usize> = self.lost.iter().map(|id| (*id, LOST)).collect();
        for (number, pack) in self.packs.iter().enumerate().filter(|(_, pack)| !pack.trouble.is_none()) {
            let all = pack.blobs.iter().map(|blob| blob.id).filter(|_| !pack.is_present);
            let some = pack.trouble.blobs.keys().copied();
            // A blob of which a sound pack holds another copy is not lost.
            let here = |id: &Id| self.locate(id).is_none_or(|(place, _)| place == number);
            bad.extend(all.chain(some).filter(here).map(|id| (id, number)));
        }
        bad
    }
}

impl Hits {
    fn add(&mut self, path: &std::path::Path) {
        self.count += 1;
        if self.paths.len() < NAMED_MAX {
            self.paths.push(path.to_owned());
        }
    }

    fn line(self, snapshot: &Snapshot) -> String {
        let more = self.count - self.paths.len() as u64;
        let mut names: Vec<String> = self
            .paths
            .into_iter()
            .map(|path| match snapshot.source_path(path) {
                root if root.as_os_str().is_empty() => "everything in it".to_owned(),
                path => path.display().to_string(),
            })
            .collect();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        format!("{}: {}", snapshot.title(), names.join(", "))
    }
}

fn blobs_of(tree: &Tree) -> impl Iterator<Item = Id> + '_ {
    tree.nodes.iter().flat_map(|node| node.content.iter().flatten()).map(|blob| **blob)
}

/// One damaged blob is named as the object; more are counted.
fn describe(pack: &Pack) -> Finding {
    let name = layout::name(FileType::Pack, &pack.id);
    let mut blobs = pack.trouble.blobs.iter();
    let mut messages = pack.trouble.messages.clone();
    if !pack.is_present {
        return Finding::new(name, messages.join("; "));
    }
    match (blobs.next(), pack.trouble.blobs.len()) {
        (Some((id, message)), 1) => {
            messages.insert(0, message.clone());
            Finding::new(format!("blob {} in {name}", &*id.to_hex()), messages.join("; "))
        }
        (Some((_, message)), count) => {
            let of = pack.blobs.len();
            let names = count_and_names(count, "blob", pack.trouble.blobs.keys());
            messages.push(format!("of its {of} blobs cannot be used: {names} ({message})"));
            Finding::new(name, messages.join("; "))
        }
        (None, _) => {
            messages.push("the blobs that were looked at can be read".into());
            Finding::new(name, messages.join("; "))
        }
    }
}

/// `1 blob 12ab34cd`, `5 blobs 12ab34cd, …`.
fn count_and_names<'a>(count: usize, noun: &str, ids: impl Iterator<Item = &'a Id>) -> String {
    let mut names: Vec<String> = ids.take(NAMED_MAX).map(ToString::to_string).collect();
    if count > names.len() {
        names.push("…".into());
    }
    format!("{count} {noun}{} {}", if count == 1 { "" } else { "s" }, names.join(", "))
}
