//! Content of every kind that Redis has, and a writer that counts.
//!
//! In: a server, a number of keys. Out: values in each of their encodings, in several databases, with and without an end,
//! a library of functions, a stream with readers. All of it is the same each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use super::Redis;

/// A library with one function.
const LIBRARY: &str = "#!lua name=counting\nredis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)";

impl Redis {
    /// Fills it with every kind of value, and `keys` more keys, each tenth with an end in more than an hour.
    pub fn fill(&self, keys: u32) {
        let numbers = |count: u32| (0..count).map(|n| format!("{n} ")).collect::<String>();
        let pairs = |count: u32| (0..count).map(|n| format!("{n} m{n} ")).collect::<String>();
        let mut text = String::new();
        for line in [
            "SET text hello".to_owned(),
            "SET number 12345".into(),
            "SET long-number -9223372036854775808".into(),
            format!("SET compressible {}", "abc".repeat(10_000)),
            "SETBIT bits 100000 1".into(),
            "PFADD visitors a b c d e f g".into(),
            format!("RPUSH short-list {}", numbers(5)),
            format!("RPUSH long-list {}", numbers(20_000)),
            format!("RPUSH list-of-long {} {}", "x".repeat(20_000), "y".repeat(20_000)),
            format!("SADD numbers {}", numbers(100)),
            format!("SADD many {}", (0..2_000).map(|n| format!("m{n} ")).collect::<String>()),
            "SADD few a b c".into(),
            format!("ZADD small-order {}", pairs(5)),
            format!("ZADD large-order {}", pairs(1_000)),
            "ZADD edges inf a -inf b 0.1 c".into(),
            "HSET small-hash a 1 b 2".into(),
            format!("HSET large-hash {}", pairs(2_000)),
            "GEOADD places 13.361389 38.115556 Palermo 15.087269 37.502669 Catania".into(),
            "XADD events 1-1 kind begin who a".into(),
            "XADD events 1-2 kind end who a".into(),
            "XADD events 2-1 kind begin who b".into(),
            "XDEL events 1-2".into(),
            "XGROUP CREATE events workers 0".into(),
            "XREADGROUP GROUP workers one COUNT 1 STREAMS events >".into(),
            "XREADGROUP GROUP workers two COUNT 1 STREAMS events >".into(),
            "SET session token EX 7200".into(),
            "SELECT 3".into(),
            "SET elsewhere 1".into(),
            "SET elsewhere-for-now 1 EX 86400".into(),
            "SELECT 0".into(),
        ] {
            text.push_str(&line);
            text.push('\n');
        }
        for n in 0..keys {
            let end = if n % 10 == 0 { " EX 7200" } else { "" };
            text.push_str(&format!("SET key:{n} value-{n}{end}\n"));
        }
        self.run(&text);
        self.cli(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]);
    }

    /// Writes as fast as it can until it is stopped: `count` goes up by one, and `list` grows, in one transaction.
    pub fn writer(&self) -> RedisWriter {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (port, password) = (self.port, self.password.clone());
        let (ended, counted) = (stop.clone(), acknowledged.clone());
        let thread = thread::spawn(move || {
            use std::io::{BufRead, BufReader, Write};
            let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut stream = stream;
            if let Some(password) = password {
                stream.write_all(format!("AUTH {password}\r\n").as_bytes()).unwrap();
                answers.next();
            }
            while !ended.load(Ordering::Relaxed) {
                let sent = stream.write_all(b"MULTI\r\nINCR count\r\nRPUSH list x\r\nEXEC\r\n");
                // OK, twice QUEUED, the number of answers, the two answers.
                let mut lines: Vec<String> = Vec::new();
                while lines.len() < 6 && !lines.last().is_some_and(|line| line.starts_with('-')) {
                    let Some(Ok(line)) = answers.next() else { return };
                    lines.push(line);
                }
                let number = lines.get(4).and_then(|line| line.strip_prefix(':')?.parse().ok());
                match (sent, number) {
                    (Ok(()), Some(number)) => counted.store(number, Ordering::Relaxed),
                    // The server has gone, or does not take writes: then that is the end of the writer.
                    _ => return,
                }
            }
        });
        RedisWriter { stop, acknowledged, thread: Some(thread) }
    }
}

/// A writer that ends with its handle.
#[derive(Debug)]
pub struct RedisWriter {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) acknowledged: Arc<AtomicU64>,
    pub(super) thread: Option<JoinHandle<()>>,
}

impl RedisWriter {
    /// Returns how many writes the server has confirmed.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends it, and returns how many writes the server has confirmed.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.acknowledged()
    }
}

impl Drop for RedisWriter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
