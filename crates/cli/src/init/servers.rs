//! Database servers on this host: who answers on the usual port or socket.
//!
//! In: addresses. Out: what answered, in words. A port that is open is not enough: the first bytes of the answer must
//! be those of the protocol.
//!
//! It never logs in and never asks for data. A server that does not answer in time is taken as not there.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Enough for a server on the same host; a person waits for it.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Asks a PostgreSQL server whether it speaks TLS (the manual, "Message Formats", `SSLRequest`).
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Server {
    /// Such as `Redis`.
    pub name: &'static str,
    /// Where it answered.
    pub address: String,
}

/// Looks for Redis at its usual place on this host; PostgreSQL servers are found by `clusters.rs`.
pub fn local() -> Vec<Server> {
    let redis = SocketAddr::from(([127, 0, 0, 1], 6379));
    let answers = is_redis(redis).then(|| Server { name: "Redis", address: redis.to_string() });
    answers.into_iter().collect()
}

/// Tells whether a PostgreSQL server answers at an address.
pub(super) fn is_postgres(address: SocketAddr) -> bool {
    // Yes or no to TLS is one letter, and nobody else answers so.
    matches!(answer(address, &TLS_REQUEST).as_deref(), Some(b"S" | b"N"))
}

/// Tells whether somebody listens at a socket.
pub(super) fn is_postgres_socket(path: &Path) -> bool {
    // A socket file alone may be left from a server that was killed.
    UnixStream::connect(path).is_ok()
}

fn is_redis(address: SocketAddr) -> bool {
    let Some(answer) = answer(address, b"PING\r\n") else { return false };
    [&b"+PONG"[..], b"-NOAUTH", b"-DENIED", b"-LOADING"].iter().any(|known| answer.starts_with(known))
}

fn answer(address: SocketAddr, question: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(question).ok()?;
    let mut answer = [0; 64];
    let size = stream.read(&mut answer).ok()?;
    Some(answer[..size].to_vec())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn server_that_says(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut question = [0; 64];
                assert!(stream.read(&mut question).unwrap() > 0);
                stream.write_all(answer).ok();
            }
        });
        address
    }

    #[test]
    fn a_server_is_known_by_its_answer_and_not_by_its_port() {
        assert!(is_postgres(server_that_says(b"N")));
        assert!(is_postgres(server_that_says(b"S")));
        assert!(is_redis(server_that_says(b"+PONG\r\n")));
        assert!(is_redis(server_that_says(b"-NOAUTH Authentication required.\r\n")));
        let other = server_that_says(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert!(!is_postgres(other) && !is_redis(other));
    }

    #[test]
    fn nobody_on_the_port_is_no_server() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(!is_postgres(address) && !is_redis(address));
    }
}
