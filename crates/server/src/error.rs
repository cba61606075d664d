//! Why a server cannot serve, and what to do about it.
//!
//! What a client does wrong is no error of the server: it is an answer (`response.rs`).

use std::net::SocketAddr;

use muster_types::{Explain, Hint, Kind};

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Others could reach it.
    #[error(
        "{address} can be reached from other hosts, and `muster serve` has no authentication yet: it would show everybody \
         where the backups are and what is wrong"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system does not tell which connection is ready.
    #[error("cannot wait for connections")]
    Poll {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Explain for ServerError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotLoopback { .. } => Kind::Input,
            Self::Bind { .. } | Self::Poll { .. } => Kind::Unavailable,
        }
    }

    fn hint(&self) -> Option<Hint> {
        let text = match self {
            Self::NotLoopback { address } => format!(
                "listen on `127.0.0.1:{0}`, and come to it by `ssh -L {0}:127.0.0.1:{0} HOST` or by a reverse proxy that \
                 authenticates and sends `Host: localhost` (docs/serve.md)",
                address.port()
            ),
            Self::Bind { address, source } if source.kind() == std::io::ErrorKind::AddrInUse => format!(
                "something listens there already (`ss -ltnp 'sport = :{}'`): give another port with `--listen`",
                address.port()
            ),
            Self::Bind { .. } => "give another address of this host with `--listen`".to_owned(),
            Self::Poll { .. } => "start it again; if it comes back, report it".to_owned(),
        };
        Some(Hint(text))
    }
}
