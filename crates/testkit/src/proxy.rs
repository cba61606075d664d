//! A line between a client and a server of this host that is as bad as a test wants it.
//!
//! ```text
//! client ─► read ─► queue with times ─► write after the delay ─► server       (and the same way back)
//! ```
//! In: the server's port. Out: another port. It delays every byte without holding back those behind it, cuts
//! connections half-way, and changes a byte on its way. Nothing is lost but by order.
//!
//! The port closes with the handle.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// What is read at once.
const PIECE: usize = 64 * 1024;
/// A piece that is at least so long holds content, and not only a request's head.
const CONTENT: usize = 16 * 1024;
/// Pieces on their way in one direction: more than any test has in flight.
const PIECES: usize = 4096;

/// A line.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    target: u16,
    delay: Duration,
    is_closed: AtomicBool,
    /// How many connections are still to be cut in the middle of what the client sends.
    cuts: AtomicUsize,
    /// How many pieces of content from the client are still to be changed.
    flips: AtomicUsize,
    /// How many pieces of what the server sends out of the middle of a large file are still to be changed.
    answer_flips: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Opens a line to a port of 127.0.0.1 that takes `delay` in each direction.
    pub fn new(target: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::new(Line {
            target,
            delay,
            is_closed: AtomicBool::new(false),
            cuts: AtomicUsize::new(0),
            flips: AtomicUsize::new(0),
            answer_flips: AtomicUsize::new(0),
            open: Mutex::new(Vec::new()),
        });
        let accepting = line.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_closed.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    accepting.connect(client);
                }
            }
        });
        Self { port, line }
    }

    /// Returns its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns its address for a client.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Cuts the next `count` connections over which content goes to the server, in the middle of it.
    pub fn cut(&self, count: usize) {
        self.line.cuts.store(count, Ordering::SeqCst);
    }

    /// Changes a byte in the next `count` pieces of content that go to the server.
    pub fn flip(&self, count: usize) {
        self.line.flips.store(count, Ordering::SeqCst);
    }

    /// Changes a byte in the next `count` pieces of content that the server sends and that begin no file of an archive.
    pub fn flip_answers(&self, count: usize) {
        self.line.answer_flips.store(count, Ordering::SeqCst);
    }

    /// Returns how many cuts and changes are still to come.
    pub fn left(&self) -> usize {
        let line = &self.line;
        [&line.cuts, &line.flips, &line.answer_flips].iter().map(|count| count.load(Ordering::SeqCst)).sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.is_closed.store(true, Ordering::SeqCst);
        for stream in self.line.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        // Wakes the one that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Line {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        // A server that is down closes the line at once.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            self.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let (client2, server2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        self.carry(client, server, true);
        self.carry(server2, client2, false);
    }

    fn carry(self: &Arc<Self>, mut from: TcpStream, mut to: TcpStream, is_sent: bool) {
        let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES);
        let (line, other) = (self.clone(), to.try_clone().unwrap());
        thread::spawn(move || {
            let mut piece = vec![0; PIECE];
            while let Ok(count @ 1..) = from.read(&mut piece) {
                if is_sent && count >= CONTENT {
                    if take(&line.cuts) {
                        drop((from.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both)));
                        return;
                    }
                    if take(&line.flips) {
                        piece[count / 2] ^= 1;
                    }
                }
                // The mark of a header in a tar archive.
                let begins_file = || piece[..count].windows(5).any(|window| window == b"ustar");
                // Looking into each piece would make the line slow: only when one is to be changed.
                let is_wanted = !is_sent && count >= CONTENT && line.answer_flips.load(Ordering::SeqCst) > 0;
                if is_wanted && !begins_file() && take(&line.answer_flips) {
                    piece[count / 2] ^= 1;
                }
                if sender.send((Instant::now() + line.delay, piece[..count].to_vec())).is_err() {
                    break;
                }
            }
            drop(from.shutdown(Shutdown::Read));
        });
        thread::spawn(move || {
            for (due, piece) in pieces {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if to.write_all(&piece).is_err() {
                    break;
                }
            }
            drop(to.shutdown(Shutdown::Both));
        });
    }
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut copy = stream.try_clone().unwrap();
                thread::spawn(move || std::io::copy(&mut stream, &mut copy));
            }
        });
        port
    }

    #[test]
    fn latency_is_added_once_and_not_for_every_piece() {
        let proxy = Proxy::new(echo(), Duration::from_millis(50));
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let sent: Vec<u8> = (0..=250).cycle().take(4_000_000).collect();
        let begun = Instant::now();
        let mut came = vec![0; sent.len()];
        thread::scope(|scope| {
            scope.spawn(|| stream.write_all(&sent).unwrap());
            reader.read_exact(&mut came).unwrap();
        });
        assert!(came == sent);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(2), "{took:?}");
    }

    #[test]
    fn a_cut_ends_the_connection_and_a_flip_changes_one_byte() {
        let proxy = Proxy::new(echo(), Duration::ZERO);
        let sent = vec![7; CONTENT];
        let try_once = || {
            let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
            drop(stream.write_all(&sent));
            let mut came = vec![0; sent.len()];
            stream.read_exact(&mut came).map(|()| came)
        };
        proxy.cut(1);
        // What is written may arrive in two pieces, each too short for a cut: it is tried until it happened.
        while proxy.left() > 0 {
            drop(try_once());
        }
        proxy.flip(1);
        let came = loop {
            let came = try_once().unwrap();
            if proxy.left() == 0 {
                break came;
            }
        };
        assert_eq!(came.iter().zip(&sent).filter(|(a, b)| a != b).count(), 1);
        assert_eq!(try_once().unwrap(), sent);
    }
}
