//! Looks at every part of the way to a server by itself: name, route, connection, certificate, answer.
//!
//! ```text
//!   place (this host, a container's network) ──► resolv.conf, interfaces, firewall, Docker networks
//!   target ──► resolver │ each name server │ authoritative ──► route ──► tcp per address ──► tls ──► http ──► outside
//! ```
//!
//! A [`Request`] comes in; [`Probe`]s leave, each with its own verdict, reason and time. What is not known at the deadline is
//! said to be unknown, and what is known is told. Nothing is needed in a container's image: a thread of this process moves
//! into the container's network, and looks from there.
//!
//! It never changes anything: firewall rules and routes are only read. Read next: `network/names.rs`, `network/place.rs`.

mod firewall;
pub(crate) mod names;
mod outside;
mod place;
mod target;
mod way;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use muster_types::{
    Span,
    event::Watcher,
    network::{Probe, ProbeKind, ProbeVerdict},
};

pub use self::{
    place::{Place, host, inside},
    target::{Target, of_platform},
};

/// How long one probe may take when nobody says.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long all of them may take together when nobody says.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// How often a cancel is looked for.
const POLL: Duration = Duration::from_millis(50);

/// What is looked at, from where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The servers.
    pub targets: Vec<Target>,
    /// From where; one at least.
    pub places: Vec<Place>,
    /// A prober elsewhere: a URL with `{{ target }}` in it.
    pub outside: Option<String>,
    /// Whom TLS trusts instead of the system's authorities.
    pub ca: Option<PathBuf>,
    /// How long one probe may take.
    pub timeout: Duration,
    /// How long all of them may take.
    pub deadline: Duration,
}

/// What a probe found, before it is known whose it is.
pub(crate) struct Found {
    verdict: ProbeVerdict,
    reason: Option<&'static str>,
    text: String,
    hint: Option<String>,
}

impl Found {
    pub(crate) fn ok(found: impl Into<String>) -> Self {
        Self { verdict: ProbeVerdict::Ok, reason: None, text: found.into(), hint: None }
    }

    pub(crate) fn failed(reason: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: ProbeVerdict::Failed, reason: Some(reason), text: found.into(), hint: None }
    }

    pub(crate) fn unknown(reason: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: ProbeVerdict::Unknown, reason: Some(reason), text: found.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Tells probes as they are made; the same for the place and for one target.
#[derive(Clone)]
pub(crate) struct Teller {
    from: String,
    target: Option<String>,
    sender: Sender<Told>,
    stop: Arc<AtomicBool>,
}

enum Told {
    Probe(Box<Probe>),
    /// A target, or the place itself, is at its end.
    Done(String, Option<String>),
}

impl Teller {
    /// Makes a probe and tells it.
    pub(crate) fn probe(&self, probe: ProbeKind, of: Option<String>, look: impl FnOnce() -> Found) -> bool {
        let begun = Instant::now();
        let Found { verdict, reason, text, hint } = look();
        let told = Probe {
            from: self.from.clone(),
            target: self.target.clone(),
            probe,
            of,
            verdict,
            reason: reason.map(str::to_owned),
            found: text,
            hint,
            seconds: begun.elapsed().as_secs_f64(),
        };
        // Nobody listens after the deadline: what is found then is too late.
        drop(self.sender.send(Told::Probe(Box::new(told))));
        verdict == ProbeVerdict::Ok
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Makes all probes side by side; returns them by place and target, in the order in which these were given.
pub fn look(request: &Request, watcher: &dyn Watcher) -> Vec<Probe> {
    let begun = Instant::now();
    let (sender, receiver) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let mut open: BTreeSet<(String, Option<String>)> = BTreeSet::new();
    for place in &request.places {
        open.insert((place.name.clone(), None));
        open.extend(request.targets.iter().map(|target| (place.name.clone(), Some(target.name.clone()))));
        let (place, request, sender, stop) =
            (place.clone(), request.clone(), sender.clone(), Arc::clone(&stop));
        thread::spawn(move || from_place(&place, &request, &sender, &stop));
    }
    drop(sender);
    let mut probes = Vec::new();
    while !open.is_empty() && !watcher.is_cancelled() {
        let left = request.deadline.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break;
        }
        match receiver.recv_timeout(left.min(POLL)) {
            Ok(Told::Probe(probe)) => probes.push(*probe),
            Ok(Told::Done(from, target)) => drop(open.remove(&(from, target))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    stop.store(true, Ordering::Relaxed);
    let why = if watcher.is_cancelled() {
        "stopped on request".to_owned()
    } else {
        format!("not looked at to its end within {}", Span::from(request.deadline))
    };
    for (from, target) in open {
        probes.push(Probe {
            from,
            target,
            probe: ProbeKind::Deadline,
            of: None,
            verdict: ProbeVerdict::Unknown,
            reason: Some("no-time".into()),
            found: why.clone(),
            hint: Some("give it more time with `--deadline`".into()),
            seconds: begun.elapsed().as_secs_f64(),
        });
    }
    let place = |probe: &Probe| request.places.iter().position(|place| place.name == probe.from);
    let target = |probe: &Probe| {
        let name = probe.target.as_ref();
        name.map(|name| request.targets.iter().position(|target| target.name == *name))
    };
    // The order in which they were made stays within a target.
    probes.sort_by_key(|probe| (place(probe), target(probe)));
    probes
}

/// Moves this thread into the place, and looks from there; threads that it begins are there too.
fn from_place(place: &Place, request: &Request, sender: &Sender<Told>, stop: &Arc<AtomicBool>) {
    let teller = |target: Option<&Target>| Teller {
        from: place.name.clone(),
        target: target.map(|target| target.name.clone()),
        sender: sender.clone(),
        stop: Arc::clone(stop),
    };
    let done = |target: Option<&Target>| {
        drop(sender.send(Told::Done(place.name.clone(), target.map(|target| target.name.clone()))));
    };
    if let Err(found) = place.enter() {
        // Without the place there is nothing that could be looked at: said once, and not for each target.
        let reason = found.text.clone();
        teller(None).probe(ProbeKind::Interfaces, None, || found);
        for target in &request.targets {
            teller(Some(target)).probe(ProbeKind::Route, None, || Found::unknown("no-place", reason.clone()));
            done(Some(target));
        }
        return done(None);
    }
    let known = place.describe(&teller(None), request.timeout);
    for target in &request.targets {
        let (teller, target, request, known) =
            (teller(Some(target)), target.clone(), request.clone(), known.clone());
        let (sender, from) = (sender.clone(), place.name.clone());
        thread::spawn(move || {
            way::look(&teller, &target, &known, &request);
            drop(sender.send(Told::Done(from, Some(target.name))));
        });
    }
    done(None);
}
