//! `muster serve`: HTTP API, metrics and dashboard on this host.
//!
//! The address comes in; what is shown comes from the functions behind the other commands (`serve/source.rs`). It changes
//! nothing, takes no lock, and ends with the first SIGTERM or Ctrl-C.

mod source;

use std::{net::SocketAddr, sync::Arc};

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
    let loaded = app::load(global, Intent::Read)?;
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
    // What works beside it begins here, in a scope of its own, and ends by the same signal.
    server.run(&signals::is_cancelled)?;
    Ok(Answer::said())
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
