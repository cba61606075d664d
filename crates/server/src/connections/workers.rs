//! A few threads that make answers, with a bounded queue before them.
//!
//! A [`Job`] goes in, the bytes of its answer come out, and a byte in the waker tells the connections' thread. A job that
//! finds the queue full is refused at once: whoever waits in a queue without an end is not served either.

use std::{
    io::Write,
    os::unix::net::UnixStream,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use crate::{documents, request::Request, response::Response, routes::Routes};

/// How many answers are made at once. More than may wait for documents, so that a quick one always finds a thread.
const WORKERS: usize = 6;
/// How many requests wait at most; as long as the quick ones take milliseconds, that is a fraction of a second.
const QUEUE_MAX: usize = 64;

/// What is to be made.
pub(super) enum Job {
    /// An answer.
    Request {
        /// For which connection.
        id: u64,
        /// What it asks for.
        request: Request,
    },
    /// What changes when something has changed.
    Pulse,
}

/// An answer, and for whom; nobody: it is the pulse.
type Done = (Option<u64>, Vec<u8>);

/// The threads.
pub(super) struct Workers {
    jobs: SyncSender<Job>,
    done: Receiver<Done>,
}

impl Workers {
    pub(super) fn begin(routes: &Arc<Routes>, waker: UnixStream) -> Self {
        let (jobs, queue) = mpsc::sync_channel(QUEUE_MAX);
        let (told, done) = mpsc::channel();
        let (queue, waker) = (Arc::new(Mutex::new(queue)), Arc::new(waker));
        for _ in 0..WORKERS {
            let (routes, queue, told, waker) =
                (Arc::clone(routes), Arc::clone(&queue), told.clone(), Arc::clone(&waker));
            // It ends when the queue does.
            drop(thread::spawn(move || work(&routes, &queue, &told, &waker)));
        }
        Self { jobs, done }
    }

    /// Puts a job into the queue; tells whether there was room.
    pub(super) fn give(&self, job: Job) -> bool {
        self.jobs.try_send(job).is_ok()
    }

    /// Returns an answer that was made.
    pub(super) fn done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

fn work(routes: &Routes, queue: &Mutex<Receiver<Job>>, told: &Sender<Done>, mut waker: &UnixStream) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        let done = match job {
            Job::Request { id, request } => {
                // A thread that is lost by one page would be missed by all others.
                let made = panic::catch_unwind(AssertUnwindSafe(|| routes.answer(&request)));
                let answer = made.unwrap_or_else(|_| Response::error(&documents::bug()));
                (Some(id), answer.bytes(request.is_head))
            }
            Job::Pulse => {
                let mark = panic::catch_unwind(AssertUnwindSafe(|| routes.pulse())).unwrap_or_default();
                (None, mark.into_bytes())
            }
        };
        if told.send(done).is_err() {
            return;
        }
        // A full pipe has woken it already.
        drop(waker.write(&[1]));
    }
}
