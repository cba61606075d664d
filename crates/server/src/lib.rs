//! HTTP API, metrics and dashboard: what people and programs look at.
//!
//! In: an address of this host and a [`Source`] of documents. Out: answers to `GET` and `HEAD`. One thread talks to all
//! connections (`connections.rs`), a few make answers (`routes.rs`), one for each slow document keeps it new
//! (`documents.rs`).
//!
//! ```text
//!  clients ──► connections ──► routes ──► documents ──► Source (cli: survey, plan, journal)
//!                  ▲             │ page, openapi
//!                  └── answer ◄──┘
//! ```
//!
//! It judges nothing, measures nothing and changes nothing: each number that it shows stands in a document of the
//! source. It is blocking code with a bound on everything that a client can make grow
//! ([decision 36](../../../docs/decisions/0036-a-server-to-look-at.md)).

mod connections;
mod documents;
mod error;
mod html;
mod openapi;
mod page;
mod request;
mod response;
mod routes;
mod source;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::{documents::Documents, routes::Routes};

pub use crate::{
    error::ServerError,
    source::{Made, Source, Topic},
};

/// A server that is bound to its address and answers nobody yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    source: Arc<dyn Source>,
}

impl Server {
    /// Binds to an address of this host; port 0 is any free one.
    ///
    /// # Errors
    /// `NotLoopback`: there is no authentication, so nobody else may reach it. `Bind`.
    pub fn bind(address: SocketAddr, source: Arc<dyn Source>) -> Result<Self, ServerError> {
        if !address.ip().is_loopback() {
            return Err(ServerError::NotLoopback { address });
        }
        let fail = |source| ServerError::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address, source })
    }

    /// Returns the address, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` says so; asks it twice a second at least. Nobody waits for an answer that is still being
    /// made: it changes nothing.
    ///
    /// # Errors
    /// `Poll`: the system does not tell any more which connection is ready.
    pub fn run(self, stop: &dyn Fn() -> bool) -> Result<(), ServerError> {
        let documents = Documents::begin(self.source);
        let routes = Arc::new(Routes::new(Arc::clone(&documents)));
        let ended = connections::serve(&self.listener, &routes, stop);
        documents.end();
        ended.map_err(|source| ServerError::Poll { source })
    }
}
