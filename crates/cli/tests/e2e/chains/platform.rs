//! A small agent platform over HTTP: login, runs, files and a webhook, with state, and with trouble where a test wants it.

use std::{
    collections::BTreeMap,
    io::Cursor,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tiny_http::{Method, Request, Response, Server};

pub(super) const PASSWORD: &str = "correct-horse-battery";
pub(super) const TOKEN: &str = "tok-8d1f0a77c2";

/// What goes wrong: where the method and the path have this text in them.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Trouble {
    None,
    Status(&'static str, u16),
    Silence(&'static str),
    /// What was asked for happens, and the answer is no JSON. Only for requests that create.
    Nonsense(&'static str),
    /// Downloads come back changed.
    Damage,
}

#[derive(Default)]
struct State {
    trouble: Option<Trouble>,
    runs: BTreeMap<u64, u32>,
    files: BTreeMap<u64, Vec<u8>>,
    next: u64,
    polls: u32,
    hooks: u32,
    asked: u32,
}

pub(super) struct Service {
    server: Arc<Server>,
    state: Arc<Mutex<State>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Service {
    pub(super) fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (listening, shared) = (Arc::clone(&server), Arc::clone(&state));
        let thread = thread::spawn(move || {
            for request in listening.incoming_requests() {
                let state = Arc::clone(&shared);
                // One that is silent must not keep the others waiting.
                thread::spawn(move || answer(request, &state));
            }
        });
        Self { server, state, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.server.server_addr())
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        self.state.lock().unwrap().trouble = Some(trouble);
    }

    pub(super) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.runs.clear();
        state.files.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.runs.is_empty() && state.files.is_empty()
    }

    pub(super) fn polls(&self) -> u32 {
        self.state.lock().unwrap().polls
    }

    pub(super) fn hooks(&self) -> u32 {
        self.state.lock().unwrap().hooks
    }

    pub(super) fn asked(&self) -> u32 {
        self.state.lock().unwrap().asked
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.unblock();
        drop(self.thread.take().map(thread::JoinHandle::join));
    }
}

fn header(request: &Request, name: &str) -> String {
    let found = request.headers().iter().find(|one| one.field.as_str().as_str().eq_ignore_ascii_case(name));
    found.map(|one| one.value.to_string()).unwrap_or_default()
}

fn answer(mut request: Request, state: &Mutex<State>) {
    let mut body = Vec::new();
    request.as_reader().read_to_end(&mut body).unwrap();
    let place = format!("{} {}", request.method(), request.url());
    let trouble = {
        let mut state = state.lock().unwrap();
        state.asked += 1;
        state.trouble.unwrap_or(Trouble::None)
    };
    let (status, bytes) = match trouble {
        Trouble::Status(part, status) if place.contains(part) => (status, b"{}".to_vec()),
        Trouble::Silence(part) if place.contains(part) => {
            thread::sleep(Duration::from_secs(15));
            return;
        }
        trouble => {
            let (status, bytes) = work(&request, &body, &mut state.lock().unwrap());
            let is_nonsense =
                matches!(trouble, Trouble::Nonsense(part) if place.contains(part) && status == 201);
            if is_nonsense { (status, b"<html>oops</html>".to_vec()) } else { (status, bytes) }
        }
    };
    let response =
        Response::new(status.into(), Vec::new(), Cursor::new(bytes.clone()), Some(bytes.len()), None);
    drop(request.respond(response));
}

fn work(request: &Request, body: &[u8], state: &mut State) -> (u16, Vec<u8>) {
    let json = |status: u16, value: Value| (status, value.to_string().into_bytes());
    let given = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    let parts: Vec<&str> = request.url().trim_matches('/').split('/').collect();
    let method = request.method().clone();
    if parts == ["login"] {
        let given = given();
        let is_right = given["user"] == "probe" && given["password"] == PASSWORD;
        return if is_right { json(200, json!({"token": TOKEN})) } else { json(401, json!({})) };
    }
    if parts == ["hooks"] {
        state.hooks += 1;
        return (if header(request, "x-signature").is_empty() { 400 } else { 204 }, Vec::new());
    }
    if header(request, "authorization") != format!("Bearer {TOKEN}") {
        return json(401, json!({"error": "unauthorized"}));
    }
    let id = parts.get(1).and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
    match (&method, parts.as_slice()) {
        (Method::Post, ["runs"]) => {
            state.next += 1;
            state.runs.insert(state.next, 0);
            json(201, json!({"id": state.next, "temperature": given()["temperature"]}))
        }
        // The number is a number in the body too.
        (Method::Post, ["runs", _, "execute"]) if given()["run"] == json!(id) => json(202, json!({})),
        (Method::Get, ["runs"]) => json(200, json!({"runs": state.runs.keys().collect::<Vec<_>>()})),
        (Method::Get, ["runs", _]) => {
            state.polls += 1;
            let polls = state.runs.entry(id).or_default();
            *polls += 1;
            json(200, json!({"status": if *polls < 3 { "running" } else { "done" }}))
        }
        (Method::Post, ["files"]) => {
            let fields = form(&header(request, "content-type"), body);
            let run = String::from_utf8_lossy(&fields["run"]).into_owned();
            if !state.runs.contains_key(&run.parse().unwrap_or_default()) {
                return json(404, json!({"error": "no such run"}));
            }
            state.next += 1;
            state.files.insert(state.next, fields["file"].clone());
            json(201, json!({"id": state.next, "run": run}))
        }
        (Method::Get, ["files", _]) => {
            let mut bytes = state.files.get(&id).cloned().unwrap_or_default();
            if state.trouble == Some(Trouble::Damage) {
                bytes[1000] ^= 1;
            }
            (200, bytes)
        }
        (Method::Delete, ["runs", _]) => {
            (if state.runs.remove(&id).is_some() { 204 } else { 404 }, Vec::new())
        }
        (Method::Delete, ["files", _]) => {
            (if state.files.remove(&id).is_some() { 204 } else { 404 }, Vec::new())
        }
        _ => json(404, json!({})),
    }
}

/// Reads a form as RFC 7578 has it: field by field, the bytes between the empty line and the boundary.
fn form(media_type: &str, body: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let boundary = format!("--{}", media_type.strip_prefix("multipart/form-data; boundary=").unwrap());
    let find = |text: &[u8], from: usize| {
        (from..=body.len() - text.len()).find(|at| &body[*at..*at + text.len()] == text)
    };
    let mut fields = BTreeMap::new();
    let mut at = find(boundary.as_bytes(), 0).unwrap();
    while let Some(head) = find(b"\r\n\r\n", at) {
        let end = find(format!("\r\n{boundary}").as_bytes(), head).unwrap();
        let text = String::from_utf8_lossy(&body[at..head]).into_owned();
        let name = text.split("name=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        fields.insert(name, body[head + 4..end].to_vec());
        at = end + 2;
        if body[at + boundary.len()..].starts_with(b"--") {
            break;
        }
    }
    fields
}
