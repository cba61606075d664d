//! Opens a TCP connection to `host:port` and closes it again.
//!
//! Every address of the name is tried, as a client would. It never sends a byte.

use std::{
    net::{IpAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use muster_types::event::Watcher;

use super::{CheckConfigError, Look, Observation, Unseen, connection_failed, no_answer, wrong};

pub(super) fn validate(address: &str) -> Result<(), CheckConfigError> {
    let is_valid = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_valid { Ok(()) } else { Err(wrong("this is not host and port", address, "write `localhost:5432`")) }
}

pub(super) fn observe(address: &str, look: &Look<'_>, watcher: &dyn Watcher) -> Result<Observation, Unseen> {
    validate(address).map_err(|error| error.to_string())?;
    let (address, timeout) = (address.to_owned(), look.timeout);
    let looked = look.supervise(watcher, move |_stop| {
        let begun = Instant::now();
        let (_stream, ip) = connect(&address, timeout)?;
        Ok(Observation {
            response_time: begun.elapsed(),
            is_connected: true,
            ip: Some(ip.to_string()),
            ..Observation::default()
        })
    });
    // A port that a firewall leaves without an answer is not connected either; a cancelled look has not found out.
    looked.map_err(|unseen| Unseen { is_unconnected: !watcher.is_cancelled(), ..unseen })
}

/// Connects to the first address of the name that answers.
pub(super) fn connect(address: &str, timeout: Duration) -> Result<(TcpStream, IpAddr), Unseen> {
    let begun = Instant::now();
    let unconnected = |reason: String| Unseen { reason, is_unconnected: true };
    let addresses = address
        .to_socket_addrs()
        .map_err(|error| unconnected(format!("the host's name is not known: {error}")))?;
    let mut last = unconnected("the host's name has no address".to_owned());
    for address in addresses {
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(no_answer(timeout).into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => return Ok((stream, address.ip())),
            Err(error) => last = connection_failed(&error, timeout),
        }
    }
    Err(last)
}
