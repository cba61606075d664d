//! Runs many checks at once, each with its own timeout and all with one deadline.
//!
//! Checks come in, results leave in the same order. What has not ended at the deadline is a failed check that says so:
//! what is known of the others is not held back by one that hangs.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{Clock, Span, check::CheckResult, config::Check, event::Watcher};

use super::{CANCEL_POLL, chain, run};

/// Enough to wait for many slow answers, few enough not to be a load by themselves.
const AT_ONCE: usize = 16;

/// How long is waited for chains that clean up: as long as that may take, and a moment to be told of it.
const CLEANUP_WITHIN: Duration = chain::CLEANUP_WITHIN.saturating_add(Duration::from_secs(2));

/// Stops the looks that are still going on when nobody waits for them any more.
#[derive(Debug)]
struct Until(Arc<AtomicBool>);

impl Watcher for Until {
    fn begin(&self, _phase: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs all checks and returns their results in the order in which they were given.
///
/// `deadline` is for all together; without one each has its own timeout only.
pub fn run_all(
    checks: &[(String, Check)],
    deadline: Option<Duration>,
    clock: &Arc<dyn Clock>,
    watcher: &dyn Watcher,
) -> Vec<CheckResult> {
    let begun = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let queue: Vec<_> = checks.iter().cloned().enumerate().rev().collect();
    let queue = Arc::new(Mutex::new(queue));
    let (sender, receiver) = channel();
    for _ in 0..checks.len().min(AT_ONCE) {
        let (queue, sender, clock, stop) =
            (Arc::clone(&queue), sender.clone(), Arc::clone(clock), Arc::clone(&stop));
        thread::spawn(move || {
            let until = Until(Arc::clone(&stop));
            while !stop.load(Ordering::Relaxed) {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((index, (name, check))) = next else { return };
                if sender.send((index, run(&name, &check, clock.as_ref(), &until))).is_err() {
                    return;
                }
            }
        });
    }
    drop(sender);
    let mut found: BTreeMap<usize, CheckResult> = BTreeMap::new();
    while found.len() < checks.len() && !watcher.is_cancelled() {
        let left = deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        match receiver.recv_timeout(left.unwrap_or(CANCEL_POLL).min(CANCEL_POLL)) {
            Ok((index, result)) => drop(found.insert(index, result)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    stop.store(true, Ordering::Relaxed);
    let why = match deadline {
        Some(deadline) if !watcher.is_cancelled() => {
            format!("not looked at to its end within the {} that all checks have", Span::from(deadline))
        }
        _ if watcher.is_cancelled() => "stopped on request".to_owned(),
        _ => "the look ended without a word".to_owned(),
    };
    // A chain that was begun still cleans up: ending before it is at its end would leave behind what it has made.
    let is_cleaning = |index: &usize| {
        let chain = checks.get(*index).and_then(|(_, check)| check.chain.as_ref());
        chain.is_some_and(|chain| !chain.always.is_empty())
    };
    let late = Instant::now();
    while (0..checks.len()).any(|index| is_cleaning(&index) && !found.contains_key(&index)) {
        let left = CLEANUP_WITHIN.saturating_sub(late.elapsed());
        match receiver.recv_timeout(left) {
            Ok((index, mut result)) if is_cleaning(&index) => {
                result.error = Some(why.clone());
                found.insert(index, result);
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let unseen = |name: &str| CheckResult {
        name: name.to_owned(),
        passed: false,
        at: clock.now(),
        seconds: begun.elapsed().as_secs_f64(),
        conditions: Vec::new(),
        requests: Vec::new(),
        error: Some(why.clone()),
    };
    let results = checks.iter().enumerate();
    results.map(|(index, (name, _))| found.remove(&index).unwrap_or_else(|| unseen(name))).collect()
}
