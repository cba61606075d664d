//! Runbooks that run each other must come to an end.

use std::collections::BTreeMap;

/// Finds a cycle among runbooks: the names in the order in which they run each other, the first one again as the last.
///
/// `runs` has for each runbook the ones that it runs; a name that is no key is a file that is not there, and no cycle.
pub fn find_cycle(runs: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut done: Vec<&str> = Vec::new();
    for start in runs.keys() {
        // Depth first with an own stack: the way from the start, and what is still to be looked at there.
        let mut way: Vec<(&str, std::slice::Iter<'_, String>)> = vec![(start, [].iter())];
        if let Some(last) = way.last_mut() {
            last.1 = runs.get(start).map(|next| next.iter()).unwrap_or_default();
        }
        while let Some((name, next)) = way.last_mut() {
            let name = *name;
            let Some(to) = next.next() else {
                done.push(name);
                way.pop();
                continue;
            };
            if let Some(at) = way.iter().position(|(other, _)| other == to) {
                let mut cycle: Vec<String> =
                    way.iter().skip(at).map(|(name, _)| (*name).to_owned()).collect();
                cycle.push(to.clone());
                return Some(cycle);
            }
            if !done.contains(&to.as_str())
                && let Some((to, next)) = runs.get_key_value(to)
            {
                way.push((to, next.iter()));
            }
        }
    }
    None
}
