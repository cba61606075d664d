//! Which path shows what.
//!
//! A request comes in, an answer goes out. The table [`ROUTES`] is all there is: the description for programs
//! (`openapi.rs`) is made of it, so it names each path and no other.
//!
//! A route shows a document and judges nothing. It may wait some seconds for one that is being made, never longer.

use std::{
    sync::Arc,
    time::{Duration, Instant as Moment},
};

use muster_types::{Kind, event::ErrorNote};
use serde_json::{Value, json};

use crate::{
    documents::{Documents, Known},
    openapi, page,
    request::Request,
    response::Response,
    source::{Made, Topic},
};

/// How old a document may be that asks repository, servers and components: what changes there does so in minutes.
const DOCUMENT_AGE_MAX: Duration = Duration::from_secs(5);
/// How old observations may be: checks load the platform that they observe.
const CHECKS_AGE_MAX: Duration = Duration::from_secs(30);
/// How old the look may be on which readiness rests. Probes come every few seconds.
const READY_LOOK_AGE: Duration = Duration::from_mins(1);
/// How old it may get while a newer one is being made.
const READY_AGE_MAX: Duration = Duration::from_mins(5);
/// How long a program waits for a document. Prometheus gives up after ten seconds.
const WAIT: Duration = Duration::from_secs(5);
/// How long a person waits for a page; it says what is missing, and that follows by itself.
const PAGE_WAIT: Duration = Duration::from_secs(2);
/// How many runs are shown when nobody says.
const RUNS: usize = 20;
/// How many runs are shown at most.
const RUNS_MAX: usize = 500;

/// What a path shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// That the process lives.
    Health,
    /// Whether it can tell how it stands.
    Ready,
    /// Numbers for Prometheus.
    Metrics,
    /// The objectives.
    Status,
    /// The runs.
    Runs,
    /// One run.
    Run,
    /// The backups.
    Backups,
    /// What is observed.
    Checks,
    /// Everything in the shape of a Statuspage.
    Summary,
    /// The description for programs.
    OpenApi,
    /// The dashboard.
    Dashboard,
    /// One run, for people.
    RunPage,
    /// That something has changed.
    Events,
    /// A file that belongs to the pages.
    File(&'static str, &'static str),
}

/// A path and what it shows.
pub(crate) struct Route {
    /// The path; `{id}` stands for one name.
    pub path: &'static str,
    /// What it shows.
    pub shows: Shows,
    /// That in one line.
    pub summary: &'static str,
}

const fn route(path: &'static str, shows: Shows, summary: &'static str) -> Route {
    Route { path, shows, summary }
}

/// Every path.
pub(crate) const ROUTES: &[Route] = &[
    route("/", Shows::Dashboard, "The dashboard"),
    route("/runs/{id}", Shows::RunPage, "One run, for people"),
    route("/events", Shows::Events, "Server-sent events: `change` when something has changed"),
    route("/healthz", Shows::Health, "That the process lives; asks nobody"),
    route("/readyz", Shows::Ready, "Whether the journal can be read and the repository was opened lately"),
    route("/metrics", Shows::Metrics, "What `muster status --metrics` and `muster check --metrics` print"),
    route("/api/v1/status", Shows::Status, "How each objective stands: `muster status --json`"),
    route("/api/v1/runs", Shows::Runs, "What was run, newest first: `muster runs --json`"),
    route("/api/v1/runs/{id}", Shows::Run, "One run: `muster show RUN --json`"),
    route("/api/v1/backups", Shows::Backups, "The backups, newest first: `muster list --json`"),
    route("/api/v1/checks", Shows::Checks, "What is observed: `muster check --json`"),
    route("/api/v2/status.json", Shows::Summary, "Everything in the shape of a Statuspage"),
    route("/api/v1/openapi.json", Shows::OpenApi, "This description"),
    route("/style.css", Shows::File("text/css; charset=utf-8", page::STYLE), "The style of the pages"),
    route("/live.js", Shows::File("text/javascript; charset=utf-8", page::SCRIPT), "The script of the pages"),
    route("/icon.svg", Shows::File("image/svg+xml", page::ICON), "The icon of the pages"),
];

/// What needs no worker.
pub(crate) enum Instant {
    /// An answer.
    Answer(Response),
    /// The stream of events.
    Events,
}

/// Answers requests.
pub(crate) struct Routes {
    documents: Arc<Documents>,
}

impl Routes {
    pub(crate) fn new(documents: Arc<Documents>) -> Self {
        Self { documents }
    }

    /// Answers what asks nobody. So a platform that hangs does not look like a process that is dead.
    pub(crate) fn immediate(request: &Request) -> Option<Instant> {
        match find(&request.path)?.0 {
            Shows::Health => Some(Instant::Answer(Response::json(200, &json!({"alive": true})))),
            Shows::Events => Some(Instant::Events),
            Shows::File(content_type, text) => Some(Instant::Answer(Response::new(200, content_type, text))),
            _ => None,
        }
    }

    /// Answers a request. It may wait for a document, for a bounded time.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let Some((shows, id)) = find(&request.path) else {
            let error = "there is nothing at this path";
            return Response::refusal(404, Kind::NotFound, error, "/api/v1/openapi.json names every path");
        };
        match shows {
            Shows::Ready => self.ready(),
            Shows::Metrics => self.metrics(),
            Shows::Status => self.document(Topic::Status),
            Shows::Backups => self.document(Topic::Backups),
            Shows::Checks => self.document(Topic::Checks),
            Shows::Runs => match limit(&request.query) {
                Ok(limit) => answered(self.documents.source.runs(limit)),
                Err(refusal) => refusal,
            },
            Shows::Run => answered(self.documents.source.run(&id)),
            Shows::Summary => self.summary(),
            Shows::OpenApi => Response::json(200, &openapi::document()),
            Shows::Dashboard => self.dashboard(),
            Shows::RunPage => self.run_page(&id),
            Shows::Health | Shows::Events | Shows::File(..) => Response::error(&crate::documents::bug()),
        }
    }

    /// Returns what changes when something has changed, and lets what has become old be made anew.
    pub(crate) fn pulse(&self) -> String {
        // Somebody looks on; what is made now is told with the next pulse.
        self.documents.get(Topic::Status, READY_LOOK_AGE / 4, Duration::ZERO);
        self.documents.get(Topic::Checks, CHECKS_AGE_MAX, Duration::ZERO);
        let mark = self.documents.source.mark().map_or_else(|error| error.error, |mark| mark.to_string());
        // In one line, as events want it.
        format!("{}-{}", mark.replace(['\r', '\n'], " "), self.documents.generation())
    }

    fn checks(&self, wait: Duration) -> Known {
        self.documents.get(Topic::Checks, CHECKS_AGE_MAX, wait)
    }

    fn document(&self, topic: Topic) -> Response {
        let known = match topic {
            Topic::Checks => self.checks(WAIT),
            Topic::Status | Topic::Backups => self.documents.get(topic, DOCUMENT_AGE_MAX, WAIT),
        };
        match certain(&known) {
            Ok(made) => aged(Response::json(200, &made.document), &known),
            Err(refusal) => refusal,
        }
    }

    fn ready(&self) -> Response {
        if let Err(error) = self.documents.source.mark() {
            return Response::failed(503, &error);
        }
        let known = self.documents.get(Topic::Status, READY_LOOK_AGE, WAIT);
        match certain(&known) {
            Err(refusal) => refusal,
            Ok(_) if known.at.is_some_and(|at| at.elapsed() < READY_AGE_MAX) => {
                Response::json(200, &json!({"ready": true}))
            }
            Ok(_) => Response::refusal(
                503,
                Kind::Unavailable,
                "the repository has not answered for minutes",
                "is its disk or server slow? See `muster status`",
            ),
        }
    }

    fn metrics(&self) -> Response {
        let status = match certain(&self.documents.get(Topic::Status, DOCUMENT_AGE_MAX, WAIT)) {
            Ok(made) => made,
            // A scrape that fails is seen; one that holds half of it is not.
            Err(refusal) => return refusal,
        };
        let checks = self.checks(PAGE_WAIT);
        let of_checks = checks.made.filter(|_| checks.error.is_none());
        let text = status.metrics.clone() + of_checks.as_ref().map_or("", |made| &made.metrics);
        Response::new(200, "text/plain; version=0.0.4; charset=utf-8", text)
    }

    fn summary(&self) -> Response {
        let status = match certain(&self.documents.get(Topic::Status, DOCUMENT_AGE_MAX, WAIT)) {
            Ok(made) => made,
            Err(refusal) => return refusal,
        };
        let checks = self.checks(WAIT);
        let checks = match certain(&checks) {
            Ok(made) => Some(made),
            Err(_) if is_without(&checks) => None,
            // What is not known must not be summed up as if it were well.
            Err(refusal) => return refusal,
        };
        let checks = checks.as_ref().map(|made| &made.document);
        answered(self.documents.source.summary(&status.document, checks))
    }

    fn dashboard(&self) -> Response {
        let status = self.documents.get(Topic::Status, DOCUMENT_AGE_MAX, PAGE_WAIT);
        let checks = self.checks(PAGE_WAIT / 2);
        let of_checks = checks.made.as_ref().filter(|_| checks.error.is_none()).map(|made| &made.document);
        let is_whole = of_checks.is_some() || is_without(&checks);
        let summary = status.made.as_ref().filter(|_| is_whole);
        let summary = summary.and_then(|made| self.documents.source.summary(&made.document, of_checks).ok());
        let parts = page::Parts {
            status: status.made.as_ref().map(|made| &made.document),
            status_error: status.error.as_ref(),
            checks: of_checks,
            checks_error: checks.error.as_ref(),
            runs: self.documents.source.runs(RUNS),
            summary,
        };
        Response::page(200, page::dashboard(&parts))
    }

    fn run_page(&self, id: &str) -> Response {
        let made = self.documents.source.run(id);
        let shown =
            made.and_then(|document| page::run(&document).ok_or_else(|| Box::new(crate::documents::bug())));
        match shown {
            Ok(page) => Response::page(200, page),
            Err(error) => {
                let status = Response::error(&error).status;
                Response::page(status, page::failed(&error))
            }
        }
    }
}

/// The document, when the last attempt has made one; else why not.
fn certain(known: &Known) -> Result<Arc<Made>, Response> {
    match (&known.error, &known.made) {
        (Some(error), _) => Err(Response::error(error)),
        (None, Some(made)) => Ok(Arc::clone(made)),
        (None, None) => Err(Response::refusal(
            503,
            Kind::Unavailable,
            "this is still being looked at: something answers slowly",
            "try again in a few seconds",
        )),
    }
}

/// Whether the configuration has nothing of it.
fn is_without(known: &Known) -> bool {
    known.error.as_ref().is_some_and(|error| error.kind == Kind::NotFound)
}

/// Says how old a document is.
fn aged(response: Response, known: &Known) -> Response {
    let age = known.at.map_or(0, |at| Moment::now().duration_since(at).as_secs());
    response.with("Age", age.to_string())
}

fn answered(result: Result<Value, Box<ErrorNote>>) -> Response {
    match result {
        Ok(document) => Response::json(200, &document),
        Err(error) => Response::error(&error),
    }
}

/// Finds the route of a path, and what stands for `{id}`.
fn find(path: &str) -> Option<(Shows, String)> {
    ROUTES.iter().find_map(|route| match route.path.split_once("{id}") {
        None => (route.path == path).then(|| (route.shows, String::new())),
        Some((before, _)) => {
            let id = path.strip_prefix(before)?;
            (!id.is_empty() && !id.contains('/')).then(|| (route.shows, id.to_owned()))
        }
    })
}

/// Reads `limit=N`.
fn limit(query: &str) -> Result<usize, Response> {
    let mut limit = RUNS;
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let number = part.strip_prefix("limit=").and_then(|number| number.parse().ok());
        limit = number.filter(|number| (1..=RUNS_MAX).contains(number)).ok_or_else(|| {
            let error = format!("`{part}` cannot be meant here");
            Response::refusal(400, Kind::Input, &error, "give `limit=N` with N from 1 to 500, or nothing")
        })?;
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_route_and_an_id_is_one_name() {
        assert_eq!(find("/").unwrap().0, Shows::Dashboard);
        assert_eq!(find("/api/v1/runs").unwrap().0, Shows::Runs);
        assert_eq!(find("/api/v1/runs/20260501T1").unwrap(), (Shows::Run, "20260501T1".to_owned()));
        for path in ["/api/v1/runs/", "/api/v1/runs/a/b", "/nothing", "//", "/style.css/", ""] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_limit_is_a_number_within_its_bounds() {
        assert_eq!(limit("").unwrap(), RUNS);
        assert_eq!(limit("limit=3").unwrap(), 3);
        for query in ["limit=0", "limit=501", "limit=-1", "limit=x", "offset=3", "limit"] {
            assert_eq!(limit(query).unwrap_err().status, 400, "{query}");
        }
    }
}
