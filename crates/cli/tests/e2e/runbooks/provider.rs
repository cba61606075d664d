//! A provider that answers 429: the limit is seen, the service is switched to the other one, and its answer says by whom.
//!
//! The service is a real one: it reads its provider from an env file when it starts, and passes on what that one says.

use std::{fs, net::TcpStream};

use muster_testkit::free_port;

use super::{Place, step};

/// Asks the provider that its environment names; each provider is a file that holds the status of its answers.
const APP: &str = r#"
import http.server, json, os, sys
folder, port, provider = sys.argv[1], int(sys.argv[2]), os.environ["PROVIDER"]
class App(http.server.BaseHTTPRequestHandler):
    def log_message(self, *words): pass
    def do_GET(self):
        status = int(open(folder + "/" + provider).read()) if self.path == "/chat" else 200
        body = json.dumps({"provider": provider}).encode()
        self.send_response(status)
        if status == 429: self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), App)
open(folder + "/pid", "w").write(str(os.getpid()))
server.serve_forever()
"#;

const RUNBOOK: &str = "\
---
title: The provider limits us
rto: 15m
symptoms: [limited]
---
## Look
```muster
id: look
check: limited
```
## Switch
```muster
id: before
exec: grep ^PROVIDER= app.env
undo: {restart: api}
```
```bash {name=setting, class=idempotent, undo=\"sed -i 's/^PROVIDER=.*/{{ steps.before.output }}/' app.env\"}
sed -i 's/^PROVIDER=.*/PROVIDER=fallback/' app.env
```
```muster
id: anew
restart: api
```
## Verify
```muster
id: answered
check: by-fallback
```
";

/// Ends the service, however the test ends.
struct Ended<'a>(&'a Place);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.run(&["service", "stop", "api"]);
    }
}

// proves: D12
#[test]
fn a_provider_that_limits_is_replaced_by_the_other_one_which_the_answer_names() {
    let place = Place::new();
    let (folder, port) = (place.sandbox.path().to_owned(), free_port());
    let shown = folder.display();
    place.write("app.py", APP);
    place.write("app.env", "# chosen by hand\nPROVIDER=primary\nMODEL=large\n");
    place.write("primary", "200");
    place.write("fallback", "500");
    place.sandbox.write_config(&format!(
        "{config}\
         services:\n  api:\n    command:\n      \
         start: [sh, -c, \"cd {shown}; rm -f pid; set -a; . ./app.env; set +a; timeout 600 python3 app.py {shown} {port} > app.log 2>&1 &\"]\n      \
         stop: [sh, -c, \"kill $(cat {shown}/pid)\"]\n      \
         status: [sh, -c, \"test -e {shown}/pid && kill -0 $(cat {shown}/pid) 2>/dev/null\"]\n    \
         ready: up\n    ready_within: 2m\n\
         checks:\n  up: {{http: \"http://127.0.0.1:{port}/health\"}}\n  \
         limited: {{http: \"http://127.0.0.1:{port}/chat\", conditions: [\"[STATUS] == 429\"]}}\n  \
         by-fallback: {{http: \"http://127.0.0.1:{port}/chat\", conditions: [\"[STATUS] == 200\", \"[BODY].provider == fallback\"]}}\n",
        config = place.sandbox.config()
    ));
    place.write("limited.md", RUNBOOK);
    place.run(&["service", "start", "api"]).assert_exit(0);
    let _ended = Ended(&place);
    // Nobody is limited: the look says so, and nothing is switched.
    let report = place.run(&["run", "limited.md", "--yes", "--json"]).assert_exit(1).json();
    assert_eq!(step(&report, "look")["state"], "failed", "{report:#}");
    assert!(place.read("app.env").contains("PROVIDER=primary"));
    place.write("primary", "429");
    let said = place.run(&["diagnose", "--json"]).assert_exit(1).json();
    assert!(said.to_string().contains("limited"), "{said:#}");
    // The other one is down: the setting goes back, and the service has it.
    let report = place.run(&["run", "limited.md", "--yes", "--json"]).assert_exit(1).json();
    assert_eq!(step(&report, "answered")["state"], "failed", "{report:#}");
    assert_eq!(place.read("app.env"), "# chosen by hand\nPROVIDER=primary\nMODEL=large\n");
    assert!(provider(port).contains("primary"));
    place.write("fallback", "200");
    let report = place.run(&["run", "limited.md", "--yes", "--json"]).assert_exit(0).json();
    assert_eq!(step(&report, "answered")["state"], "done", "{report:#}");
    assert_eq!(
        fs::read_to_string(folder.join("app.env")).unwrap(),
        "# chosen by hand\nPROVIDER=fallback\nMODEL=large\n"
    );
    assert!(provider(port).contains("fallback"));
}

/// Asks the service itself, without Muster's help.
fn provider(port: u16) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /chat HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
