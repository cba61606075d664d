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

/// Where PostgreSQL has its socket, on Debian and on most others.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Server {
    /// `PostgreSQL` or `Redis`.
    pub name: &'static str,
    /// Where it answered.
    pub address: String,
}

/// Looks for PostgreSQL and Redis at their usual places on this host.
pub fn local() -> Vec<Server> {
    let mut servers = Vec::new();
    let postgres = SocketAddr::from(([127, 0, 0, 1], 5432));
    let socket = SOCKET_FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(".s.PGSQL.5432"))
        .find(|path| is_postgres_socket(path));
    if is_postgres(postgres) {
        servers.push(Server { name: "PostgreSQL", address: postgres.to_string() });
    } else if let Some(socket) = socket {
        servers.push(Server { name: "PostgreSQL", address: socket.display().to_string() });
    }
    let redis = SocketAddr::from(([127, 0, 0, 1], 6379));
    if is_redis(redis) {
        servers.push(Server { name: "Redis", address: redis.to_string() });
    }
    servers
}

fn is_postgres(address: SocketAddr) -> bool {
    // Yes or no to TLS is one letter, and nobody else answers so.
    matches!(answer(address, &TLS_REQUEST).as_deref(), Some(b"S" | b"N"))
}

fn is_postgres_socket(path: &Path) -> bool {
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
