//! Throwaway Redis Clusters: three primaries that share the slots, each with one replica, on free ports.
//!
//! A replica never takes over by itself, so that a test decides who does.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Redis, RedisWriter};
use crate::{free_port, wait_for};

const DEADLINE: Duration = Duration::from_mins(2);
const PRIMARIES: usize = 3;
const SLOTS: u32 = 16_384;

/// A cluster that goes with its handle.
#[derive(Debug)]
pub struct RedisCluster {
    /// `primaries[n]` has the n-th third of the slots.
    pub primaries: Vec<Redis>,
    /// `replicas[n]` follows `primaries[n]`.
    pub replicas: Vec<Redis>,
}

impl RedisCluster {
    /// Starts six servers and waits until they are one cluster.
    ///
    /// # Panics
    /// When they do not become one.
    pub fn start() -> Self {
        let primaries: Vec<Redis> = (0..PRIMARIES).map(|_| node()).collect();
        let replicas: Vec<Redis> = (0..PRIMARIES).map(|_| node()).collect();
        let first = &primaries[0];
        for (at, one) in (0u32..).zip(&primaries) {
            let thirds = |n: u32| SLOTS * n / 3;
            let (from, to) = (thirds(at).to_string(), (thirds(at + 1) - 1).to_string());
            one.cli(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
            one.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        let bus = first.cli(&["CONFIG", "GET", "cluster-port"]);
        let (port, bus) = (first.port().to_string(), bus.lines().last().unwrap().to_owned());
        for one in primaries.iter().skip(1).chain(&replicas) {
            one.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { primaries, replicas };
        cluster.wait("all nodes to know each other", |one| {
            one.cli(&["CLUSTER", "NODES"]).lines().filter(|line| line.contains("connected")).count()
                == 2 * PRIMARIES
        });
        for (primary, replica) in cluster.primaries.iter().zip(&cluster.replicas) {
            let id = primary.cli(&["CLUSTER", "MYID"]);
            wait_for("a replica to know its primary", DEADLINE, || {
                (replica.try_cli(&["CLUSTER", "REPLICATE", &id]) == "OK").then_some(())
            });
        }
        cluster.wait("the cluster to be whole", |one| {
            let nodes = one.cli(&["CLUSTER", "NODES"]);
            one.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && nodes.lines().filter(|line| line.contains("slave")).count() == PRIMARIES
        });
        for replica in &cluster.replicas {
            wait_for("a replica to follow", DEADLINE, || {
                (replica.info("master_link_status") == "up").then_some(())
            });
        }
        cluster
    }

    /// Returns a name of a key whose slot is in the n-th third.
    ///
    /// # Panics
    /// When there is none among a hundred.
    pub fn key(&self, n: usize) -> String {
        let names = (0..100).map(|number| format!("key{number}"));
        let third = |name: &String| {
            let slot: usize = self.primaries[0].cli(&["CLUSTER", "KEYSLOT", name]).parse().unwrap();
            (0..PRIMARIES).rev().find(|at| slot >= SLOTS as usize * at / PRIMARIES)
        };
        names.into_iter().find(|name| third(name) == Some(n)).expect("a key of this third")
    }

    fn wait(&self, what: &str, is_reached: impl Fn(&Redis) -> bool) {
        for one in self.primaries.iter().chain(&self.replicas) {
            wait_for(what, DEADLINE, || is_reached(one).then_some(()));
        }
    }
}

fn node() -> Redis {
    Redis::builder()
        .append_only()
        .setting("cluster-enabled", "yes")
        .setting("cluster-port", &free_port().to_string())
        .setting("cluster-node-timeout", "1500")
        .setting("cluster-replica-no-failover", "yes")
        .setting("cluster-require-full-coverage", "no")
        .start()
}

impl Redis {
    /// Counts a key up as fast as it can, until it is stopped or the server refuses.
    pub fn counter(&self, key: &str) -> RedisWriter {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, counted) = (stop.clone(), acknowledged.clone());
        let (port, command) = (self.port, format!("INCR {key}\r\n"));
        let thread = thread::spawn(move || {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
            while !ended.load(Ordering::Relaxed) && stream.write_all(command.as_bytes()).is_ok() {
                let Some(Ok(line)) = answers.next() else { return };
                let Some(number) = line.strip_prefix(':') else { return };
                counted.store(number.parse().unwrap(), Ordering::Relaxed);
            }
        });
        RedisWriter { stop, acknowledged, thread: Some(thread) }
    }
}
