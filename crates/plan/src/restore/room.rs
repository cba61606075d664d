//! Whether there is room for a restore, asked before the first byte is written.
//!
//! In: what the survey found of the disks, and the backups. Out: one step for each file system. What is written into
//! scratch counts there. It never looks at a disk itself.

use std::{collections::BTreeMap, path::Path};

use muster_types::plan::{Action, Step, StepClass};

use super::{GROUP, Pair, SPARE_BYTES, takeover};
use crate::{
    RecoveryTarget,
    origin::{is_alone_in_server, is_dump, is_taken_over},
    scope::{Scope, step},
};

/// One check for each file system, for all that will be written to it. How much room a server has, nobody tells.
pub(super) fn room(scope: Scope<'_>, pairs: &[Pair<'_>], target: &RecoveryTarget) -> Vec<Step> {
    let mut needs: BTreeMap<u64, (&Path, Vec<&str>, u64)> = BTreeMap::new();
    let (dumps, files): (Vec<&Pair<'_>>, Vec<&Pair<'_>>) = pairs
        .iter()
        .filter(|pair| !takeover::is_only_unsealed(pair, target))
        .partition(|pair| is_dump(pair.backup) || is_taken_over(pair.backup));
    for pair in files {
        let component = pair.component;
        let devices: BTreeMap<u64, &Path> =
            component.beside.iter().map(|place| (place.device, place.path.as_path())).collect();
        for (device, path) in devices {
            let need = needs.entry(device).or_insert((path, Vec::new(), 0));
            need.1.push(&component.name);
            need.2 += pair.size_bytes();
        }
    }
    let dumps = dumps.iter().map(|pair| {
        // Of a server with room for one content the present one is written down here too.
        let kept = if is_alone_in_server(pair.backup) { pair.component.size_bytes } else { 0 };
        space(&pair.component.name, scope.scratch, pair.backup.record.size_bytes + kept)
    });
    needs
        .into_values()
        .map(|(path, names, bytes)| space(&names.join("+"), path, bytes))
        .chain(dumps)
        .collect()
}

pub(super) fn space(name: &str, path: &Path, size_bytes: u64) -> Step {
    step(
        format!("space:{name}:{}", path.display()),
        GROUP,
        StepClass::Observe,
        format!("check the room at {}", path.display()),
        Action::CheckSpace { path: path.to_owned(), need_bytes: size_bytes + SPARE_BYTES },
    )
}
