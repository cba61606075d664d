//! What tests share: a hermetic runner for `muster`, platforms in temporary folders, damage, tiny disks, writers,
//! throwaway servers.
//!
//! Data comes in as a few arguments (a folder, a seed, a count) and leaves as handles that clean up when they are
//! dropped, also while a panic unwinds. All randomness is seeded, so a failure can be repeated.
//!
//! This crate is never a normal dependency (`cargo xtask tidy` refuses that), never touches a fixed port and never
//! leaves a process, a mount or a folder behind.
//!
//! Read next: [`cli`] to run Muster, [`sandbox`] for a platform to run it on, [`damage`] for what goes wrong, [`postgres`]
//! for real servers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "test support: a failure here must stop the test at once, and nothing written here must survive a crash"
)]

pub mod azurite;
pub mod bao;
pub mod binary;
pub mod cli;
pub mod damage;
pub mod docker;
pub mod etcd;
pub mod exchange;
pub mod kube;
pub mod mask;
pub mod ports;
pub mod postgres;
pub mod proxy;
pub mod redis;
pub mod running;
pub mod sandbox;
pub mod seaweed;
pub mod servers;
pub mod silent_disk;
pub mod sqlite;
pub mod sshd;
pub mod tiny_disk;
pub mod tree;
pub mod wait;
pub mod writer;

pub use azurite::Azurite;
pub use bao::Bao;
pub use cli::{Cli, Outcome};
pub use damage::Damage;
pub use docker::Docker;
pub use etcd::Etcd;
pub use kube::Kube;
pub use ports::free_port;
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;
pub use running::Running;
pub use sandbox::Sandbox;
pub use seaweed::Seaweed;
pub use silent_disk::SilentDisk;
pub use sqlite::sqlite_with_rows;
pub use sshd::Sshd;
pub use tiny_disk::TinyDisk;
pub use tree::{assert_trees_equal, tree_of_files, trees_equal};
pub use wait::wait_for;
pub use writer::Writer;
