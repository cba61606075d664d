//! All connections, in one thread that never blocks: it accepts, reads heads, writes answers, and hands what needs work
//! to a few workers.
//!
//! In: a listener and the routes. Out: answers, and events to those who look on. Who is slow costs a little memory and no
//! thread; who is too slow is dropped, and when there are too many, the one goes that has kept us waiting longest. So a
//! few thousand clients that never finish their request keep nobody from `/healthz`.
//!
//! ```text
//!  accept ─► Reading ─► Waiting (a worker makes it) ─► Writing ─► Closing
//!                  └──► Streaming (/events)
//! ```
//!
//! It never makes an answer that takes time. Read next: `connections/connection.rs`, `connections/workers.rs`.

mod connection;
mod workers;

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind, Read},
    net::TcpListener,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
    time::{Duration, Instant},
};

use muster_types::Kind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    connection::{Connection, State},
    workers::{Job, Workers},
};
use crate::{
    request::{self, Request},
    response::{Response, stream_head},
    routes::{Instant as Immediate, Routes},
};

/// How many connections there are at most. A browser opens six, a scraper one.
const CONNECTIONS_MAX: usize = 256;
/// How many of them may look on. The rest must be left for requests.
const STREAMS_MAX: usize = 32;
/// The longest time without a look at deadlines and at whether to stop.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// What they hear first: after how many milliseconds a browser comes back when the connection is lost.
const FIRST: &str = "retry: 3000\n\n";
/// How often those who look on learn of changes.
const PULSE: Duration = Duration::from_secs(2);
/// How often they hear something when nothing changes, so that neither side takes the other for dead.
const ALIVE: Duration = Duration::from_secs(15);

/// Serves until `stop` says so.
pub(crate) fn serve(listener: &TcpListener, routes: &Arc<Routes>, stop: &dyn Fn() -> bool) -> io::Result<()> {
    let (waker, woken) = UnixStream::pair()?;
    waker.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let workers = Workers::begin(routes, waker);
    let mut all = Connections {
        workers,
        open: BTreeMap::new(),
        next: 0,
        mark: String::new(),
        pulsed: Instant::now(),
        said: Instant::now(),
        is_pulsing: false,
    };
    while !stop() {
        all.turn(listener, &woken)?;
    }
    Ok(())
}

struct Connections {
    workers: Workers,
    open: BTreeMap<u64, Connection>,
    next: u64,
    /// What those who look on have heard last.
    mark: String,
    pulsed: Instant,
    said: Instant,
    is_pulsing: bool,
}

impl Connections {
    /// Waits until something can be done, and does it.
    fn turn(&mut self, listener: &TcpListener, woken: &UnixStream) -> io::Result<()> {
        let ready = self.wait(listener, woken)?;
        if ready.is_woken {
            drain(woken);
        }
        while let Some((id, answer)) = self.workers.done() {
            self.take(id, answer);
        }
        for id in ready.connections {
            self.advance(id);
        }
        if ready.is_accepting {
            self.accept(listener);
        }
        let now = Instant::now();
        self.open.retain(|_, one| !one.is_over(now));
        self.pulse(now);
        Ok(())
    }

    fn wait(&self, listener: &TcpListener, woken: &UnixStream) -> io::Result<Ready> {
        let mut fds: Vec<PollFd<'_>> = vec![
            PollFd::from_borrowed_fd(woken.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        ];
        for one in self.open.values() {
            let fd: BorrowedFd<'_> = one.as_fd();
            fds.push(PollFd::from_borrowed_fd(fd, one.interest()));
        }
        match poll(&mut fds, Some(&TICK)) {
            // A signal: the caller asks whether to stop.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let connections =
            self.open.keys().zip(&fds[2..]).filter(|(_, fd)| is_ready(fd)).map(|(id, _)| *id).collect();
        Ok(Ready { is_woken: is_ready(&fds[0]), is_accepting: is_ready(&fds[1]), connections })
    }

    fn accept(&mut self, listener: &TcpListener) {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if self.open.len() >= CONNECTIONS_MAX && !self.make_room() {
                        // Dropped at once: every other one is being answered.
                        continue;
                    }
                    match Connection::new(stream, Instant::now()) {
                        Ok(one) => {
                            self.open.insert(self.next, one);
                            self.next += 1;
                        }
                        Err(error) => log::debug!("a connection is lost: {error}"),
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    // No more files, perhaps: the oldest one that says nothing goes, and the next turn tries again.
                    log::warn!("a connection cannot be accepted: {error}");
                    self.make_room();
                    return;
                }
            }
        }
    }

    /// Drops the connection whose request has been incomplete for longest.
    fn make_room(&mut self) -> bool {
        // Ids grow with time.
        let oldest = self.open.iter().find(|(_, one)| one.is_idle()).map(|(id, _)| *id);
        oldest.is_some_and(|id| self.open.remove(&id).is_some())
    }

    /// Reads or writes what can be read or written now.
    fn advance(&mut self, id: u64) {
        let Some(one) = self.open.get_mut(&id) else { return };
        one.advance();
        if let State::Reading { bytes } = one.state()
            && let Some(read) = request::read(bytes)
        {
            match read {
                Ok(request) => self.dispatch(id, request),
                Err(refusal) => one.answer(refusal.bytes(false)),
            }
        }
    }

    fn dispatch(&mut self, id: u64, request: Request) {
        let streams = self.open.values().filter(|one| one.is_streaming()).count();
        let Some(one) = self.open.get_mut(&id) else { return };
        match Routes::immediate(&request) {
            Some(Immediate::Answer(answer)) => one.answer(answer.bytes(request.is_head)),
            Some(Immediate::Events) if streams >= STREAMS_MAX => {
                let full = "too many look on already";
                let hint = "load the page again to see what is new";
                one.answer(Response::refusal(503, Kind::Unavailable, full, hint).bytes(request.is_head));
            }
            Some(Immediate::Events) if request.is_head => one.answer(stream_head()),
            Some(Immediate::Events) => {
                one.stream(stream_head());
                one.tell(FIRST.as_bytes());
            }
            None => {
                let is_head = request.is_head;
                if self.workers.give(Job::Request { id, request }) {
                    // Nothing is to be written yet, and what could be read now would be its end.
                    one.wait();
                    return;
                }
                let busy = "too many requests are waiting";
                let hint = "try again in a few seconds";
                one.answer(Response::refusal(503, Kind::Unavailable, busy, hint).bytes(is_head));
            }
        }
        // What fits into the socket goes at once, without another turn.
        one.advance();
    }

    /// Takes an answer that a worker has made; of a client that has gone it is dropped.
    fn take(&mut self, id: Option<u64>, answer: Vec<u8>) {
        let Some(id) = id else {
            self.is_pulsing = false;
            let mark = String::from_utf8_lossy(&answer).into_owned();
            if mark != self.mark {
                self.tell(&format!("event: change\ndata: {mark}\n\n"));
                self.mark = mark;
            }
            return;
        };
        if let Some(one) = self.open.get_mut(&id) {
            one.answer(answer);
            one.advance();
        }
    }

    /// Asks now and then whether something has changed, while somebody looks on.
    fn pulse(&mut self, now: Instant) {
        if !self.open.values().any(Connection::is_streaming) {
            return;
        }
        if !self.is_pulsing && now.duration_since(self.pulsed) >= PULSE {
            self.pulsed = now;
            self.is_pulsing = self.workers.give(Job::Pulse);
        }
        if now.duration_since(self.said) >= ALIVE {
            self.tell(": still there\n\n");
        }
    }

    fn tell(&mut self, text: &str) {
        self.said = Instant::now();
        for one in self.open.values_mut().filter(|one| one.is_streaming()) {
            one.tell(text.as_bytes());
            one.advance();
        }
    }
}

struct Ready {
    is_woken: bool,
    is_accepting: bool,
    connections: Vec<u64>,
}

/// Takes the bytes that have woken us.
fn drain(mut woken: &UnixStream) {
    let mut bytes = [0; 256];
    while woken.read(&mut bytes).is_ok_and(|count| count > 0) {}
}
