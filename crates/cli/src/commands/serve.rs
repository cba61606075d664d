//! `muster serve`: HTTP API, metrics and dashboard on this host.
//!
//! The address comes in; what is shown comes from the functions behind the other commands (`serve/source.rs`). It changes
//! nothing, takes no lock, and ends with the first SIGTERM or Ctrl-C. With `--schedule` the scheduler works beside it; when
//! one of the two cannot go on, the other stops too: half of a service is not well, and whoever started it must see that.

mod source;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use muster_server::Server;
use muster_types::Kind;
use serde_json::json;

use self::source::Documents;
use crate::{
    answer::{self, Answer},
    app::{self, Intent},
    args::{Global, ServeArgs},
    exit::Failure,
    signals,
};

pub(super) fn run(global: &Global, args: &ServeArgs) -> Result<Answer, Failure> {
    let address = address(&args.listen)?;
    let loaded = app::load(global, if args.schedule { Intent::Change } else { Intent::Read })?;
    let server = Server::bind(address, Arc::new(Documents::new(global, &loaded)?))?;
    let address = server.address();
    let url = format!("http://{address}/");
    // Now, and not at the end: whoever has started it waits for this line.
    let line = if global.json {
        json!({"address": address.to_string(), "url": url}).to_string()
    } else {
        format!("{} ({}) is shown at {url}", loaded.platform.platform, loaded.environment)
    };
    drop(answer::print(&line));
    if args.schedule {
        beside(server, || super::schedule::keep(global, loaded, &is_over))?;
    } else {
        server.run(&signals::is_cancelled)?;
    }
    Ok(Answer::said())
}

/// One of the two has ended.
static IS_OVER: AtomicBool = AtomicBool::new(false);

fn is_over() -> bool {
    signals::is_cancelled() || IS_OVER.load(Ordering::SeqCst)
}

/// Serves while `work` goes on, and ends with the first of them.
fn beside(server: Server, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let (served, worked) = thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let served = server.run(&is_over);
            IS_OVER.store(true, Ordering::SeqCst);
            served
        });
        let worked = work();
        IS_OVER.store(true, Ordering::SeqCst);
        (serving.join(), worked)
    });
    served.map_err(|_| {
        Failure::new(Kind::Bug, "the server ended unexpectedly", "report this; start it again")
    })??;
    worked
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    text.replace("localhost", "127.0.0.1").parse().map_err(|_| {
        Failure::new(
            Kind::Input,
            format!("`{text}` is no address to listen on"),
            "give an address and a port: `--listen 127.0.0.1:8440`, `--listen [::1]:8440`",
        )
    })
}
