//! The slow documents, each kept by a thread of its own and handed to whoever asks.
//!
//! In: a topic and how old its document may be. Out: the newest document there is, and why there is no newer one. A
//! document is made when somebody asks for it and it is too old, never twice at once; who asks waits a bounded time, and
//! then gets what there is, with the time that stands in it.
//!
//! It never makes a document because time has passed: a server that nobody looks at does nothing.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{Kind, event::ErrorNote};

use crate::source::{Made, Source, Topic};

/// How many may wait for documents at once; the others get what there is, so that threads are left for quick answers.
const WAITING_MAX: usize = 3;

/// What is known of a topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The newest document.
    pub made: Option<Arc<Made>>,
    /// Why the last attempt made none.
    pub error: Option<ErrorNote>,
    /// Counts the attempts.
    pub generation: u64,
    /// When the last attempt ended.
    pub at: Option<Instant>,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    known: Known,
    is_wanted: bool,
    is_over: bool,
}

/// The documents, and who makes them.
pub(crate) struct Documents {
    /// The source, for what is quick.
    pub source: Arc<dyn Source>,
    slots: [Slot; 3],
    waiting: AtomicUsize,
}

impl Documents {
    /// Begins to keep the documents of a source.
    pub(crate) fn begin(source: Arc<dyn Source>) -> Arc<Self> {
        let documents = Arc::new(Self { source, slots: Default::default(), waiting: AtomicUsize::new(0) });
        for topic in [Topic::Status, Topic::Checks, Topic::Backups] {
            let documents = Arc::clone(&documents);
            // It is not waited for: a repository that hangs must not keep the process from ending.
            drop(thread::spawn(move || documents.keep(topic)));
        }
        documents
    }

    /// Lets the threads end once what they make is made.
    pub(crate) fn end(&self) {
        for slot in &self.slots {
            slot.lock().is_over = true;
            slot.changed.notify_all();
        }
    }

    /// Returns a document that is at most `age_max` old, or after `wait` what there is.
    pub(crate) fn get(&self, topic: Topic, age_max: Duration, wait: Duration) -> Known {
        let slot = self.slot(topic);
        let mut state = slot.lock();
        if state.known.at.is_some_and(|at| at.elapsed() < age_max) {
            return state.known.clone();
        }
        if !state.is_wanted {
            state.is_wanted = true;
            slot.changed.notify_all();
        }
        let Some(_permit) = Permit::acquire(&self.waiting) else { return state.known.clone() };
        let (generation, until) = (state.known.generation, Instant::now() + wait);
        while state.known.generation == generation && !state.is_over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = slot.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.known.clone()
    }

    /// Returns a number that changes when a document was made.
    pub(crate) fn generation(&self) -> u64 {
        self.slots.iter().map(|slot| slot.lock().known.generation).sum()
    }

    fn slot(&self, topic: Topic) -> &Slot {
        &self.slots[match topic {
            Topic::Status => 0,
            Topic::Checks => 1,
            Topic::Backups => 2,
        }]
    }

    fn keep(&self, topic: Topic) {
        let slot = self.slot(topic);
        loop {
            let mut state = slot.lock();
            while !state.is_wanted && !state.is_over {
                state = slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_over {
                return;
            }
            drop(state);
            let made = panic::catch_unwind(AssertUnwindSafe(|| self.source.make(topic)));
            let mut state = slot.lock();
            // Only now: who asks meanwhile waits for this one.
            state.is_wanted = false;
            match made.unwrap_or_else(|_| Err(Box::new(bug()))) {
                Ok(made) => {
                    state.known.made = Some(Arc::new(made));
                    state.known.error = None;
                }
                Err(error) => state.known.error = Some(*error),
            }
            state.known.generation += 1;
            state.known.at = Some(Instant::now());
            slot.changed.notify_all();
        }
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said where Muster itself went wrong.
pub(crate) fn bug() -> ErrorNote {
    ErrorNote {
        error: "Muster went wrong while it made this document".into(),
        causes: Vec::new(),
        hint: Some("the log of `muster serve` says where: report it".into()),
        kind: Kind::Bug,
    }
}

/// The right to wait; it goes back when it is dropped.
struct Permit<'a>(&'a AtomicUsize);

impl<'a> Permit<'a> {
    fn acquire(count: &'a AtomicUsize) -> Option<Self> {
        let taken = count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < WAITING_MAX).then_some(now + 1));
        // Made only when it was taken: its end gives it back.
        taken.is_ok().then(|| Self(count))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
