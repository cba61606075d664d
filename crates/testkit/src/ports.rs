//! Ports of 127.0.0.1 for servers of tests.
//!
//! In: nothing. Out: a port that is this process's until it ends, also while the server on it is stopped. Two things would
//! take it meanwhile: the kernel, for a connection, so they lie below those that it gives; and another test, so each is
//! leased by the name of a socket in the abstract namespace, which the kernel frees with the process.
//!
//! It leaves no files behind, and never waits.

use std::{
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{Mutex, PoisonError},
};

/// Below the ports that the kernel gives to connections.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// What this process holds.
static LEASES: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// Returns a TCP port of 127.0.0.1 on which nothing listens and no other test will, until this process ends.
///
/// # Panics
/// When the kernel has no abstract sockets.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(RANGE);
        let name = SocketAddr::from_abstract_name(format!("muster-test-port-{port}"))
            .expect("a short name is a name of a socket");
        // Leased by a test, or used by somebody who knows nothing of leases.
        let Ok(lease) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            LEASES.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_also_when_nothing_listens_on_it() {
        let first = free_port();
        assert!(TcpListener::bind(("127.0.0.1", first)).is_ok());
        let name = SocketAddr::from_abstract_name(format!("muster-test-port-{first}")).unwrap();
        assert!(UnixListener::bind_addr(&name).is_err(), "another process cannot lease it");
    }
}
