//! Continuous protection: the write-ahead log goes into the archive as the server writes it.
//!
//! ```text
//! slot ─► START_REPLICATION ─► stream.rs ─► receive.rs: buffer ─► writer.rs: pieces ─► repository (muster/wal)
//!   ▲                                          │ records.rs: newest commit
//!   └──────────── durable up to here ◄─────────┘
//! ```
//! In: a server and a repository. Out: an archive without a gap; what is not durable there is never acknowledged, so the
//! slot keeps it on the server.
//!
//! Read next: `receive.rs`; `rounds.rs` for what is looked after beside the stream.

mod collect;
mod heartbeat;
mod members;
mod push;
mod receive;
mod records;
mod rounds;
mod start;
mod stream;
pub(super) mod sync;
mod writer;

pub(super) use self::{
    members::{Candidate, Role, ask},
    push::push,
    receive::{Request, receive},
};

use super::attachments::PREFIX;

/// The longest name of a slot, in bytes.
const NAME_MAX: usize = 63;

/// Names the slot of a component: `muster_wal_agents_database`.
pub(super) fn slot_name(platform: &str, component: &str) -> String {
    sound_name(&format!("{PREFIX}wal_{platform}_{component}"))
}

/// Makes a name that the server takes for a slot or a standby.
fn sound_name(name: &str) -> String {
    let sound = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' };
    let mut name: String = name.to_lowercase().chars().map(sound).collect();
    name.truncate(NAME_MAX);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_a_name_that_the_server_takes() {
        assert_eq!(slot_name("Agents-EU", "main.db"), "muster_wal_agents_eu_main_db");
        assert_eq!(slot_name(&"x".repeat(80), "é").len(), 63);
    }
}
