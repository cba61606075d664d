//! Ctrl-C and SIGTERM: the first asks every loop to stop at a safe place, the second ends the process at once.
//!
//! While a runbook runs they are counted instead: the first ends the run after its step, the second ends the step. A
//! process that ends at once would leave its command behind.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use signal_hook::{SigId, consts::TERM_SIGNALS, flag, low_level};

static CANCELLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
/// Set by each signal, and taken back by [`count`].
static FRESH: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// What ends the process at the second signal.
static SHUTDOWNS: Mutex<Vec<SigId>> = Mutex::new(Vec::new());

/// Begins to listen. Called once, by `run`.
pub(crate) fn listen() -> std::io::Result<()> {
    let cancelled = CANCELLED.get_or_init(Default::default);
    let fresh = FRESH.get_or_init(Default::default);
    for signal in TERM_SIGNALS {
        // Order matters: the conditional shutdown is armed by the first signal and acts on the second.
        let shutdown = flag::register_conditional_shutdown(
            *signal,
            i32::from(crate::exit::INTERRUPTED),
            Arc::clone(cancelled),
        )?;
        SHUTDOWNS.lock().unwrap_or_else(PoisonError::into_inner).push(shutdown);
        flag::register(*signal, Arc::clone(cancelled))?;
        flag::register(*signal, Arc::clone(fresh))?;
    }
    Ok(())
}

/// Whether somebody wants everything to stop.
pub(crate) fn is_cancelled() -> bool {
    CANCELLED.get().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed))
}

/// From here on a second signal does not end the process: who asks [`count`] ends what it has begun.
pub(crate) fn only_count() {
    for shutdown in SHUTDOWNS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        low_level::unregister(shutdown);
    }
}

/// How many signals there were; several between two looks count as one.
pub(crate) fn count() -> usize {
    if FRESH.get().is_some_and(|fresh| fresh.swap(false, Ordering::Relaxed)) {
        return COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    }
    COUNT.load(Ordering::Relaxed)
}

/// Forgets the signals that there were: what comes now was not what they meant.
pub(crate) fn forget() {
    if let Some(fresh) = FRESH.get() {
        fresh.store(false, Ordering::Relaxed);
    }
    if let Some(cancelled) = CANCELLED.get() {
        cancelled.store(false, Ordering::Relaxed);
    }
    COUNT.store(0, Ordering::Relaxed);
}
