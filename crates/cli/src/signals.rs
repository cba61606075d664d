//! Ctrl-C and SIGTERM: the first asks every loop to stop at a safe place, the second ends the process at once.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{consts::TERM_SIGNALS, flag};

static CANCELLED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Begins to listen. Called once, by `run`.
pub(crate) fn listen() -> std::io::Result<()> {
    let cancelled = CANCELLED.get_or_init(Default::default);
    for signal in TERM_SIGNALS {
        // Order matters: the conditional shutdown is armed by the first signal and acts on the second.
        flag::register_conditional_shutdown(
            *signal,
            i32::from(crate::exit::INTERRUPTED),
            Arc::clone(cancelled),
        )?;
        flag::register(*signal, Arc::clone(cancelled))?;
    }
    Ok(())
}

/// Whether somebody wants everything to stop.
pub(crate) fn is_cancelled() -> bool {
    CANCELLED.get().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed))
}
