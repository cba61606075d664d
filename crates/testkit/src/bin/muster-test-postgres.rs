//! Holds a throwaway PostgreSQL server, so that tests can kill its owner.
//!
//! In: the version's number, and `debian` for a cluster of Debian's. Out: a line with the postmaster's id, the data directory and the socket's address, once it answers.
//!
//! It ends in order when its standard input closes, and never by itself.

use std::{
    error::Error,
    io::{Read, Write, stdin, stdout},
};

use muster_testkit::postgres::{Postgres, Version};

fn main() -> Result<(), Box<dyn Error>> {
    let number = std::env::args().nth(1).ok_or("usage: muster-test-postgres 15|18 [debian]")?;
    let version = Version::ALL.into_iter().find(|version| version.number().to_string() == number);
    let builder = Postgres::builder(version.ok_or("there are 15 and 18")?);
    let is_debian = std::env::args().nth(2).is_some_and(|layout| layout == "debian");
    let server = if is_debian { builder.debian_cluster() } else { builder }.start();
    writeln!(
        stdout(),
        "{} {} {}",
        server.pid(),
        server.data_dir().display(),
        server.socket_url("postgres", "postgres")
    )?;
    stdin().read_to_end(&mut Vec::new())?;
    drop(server);
    Ok(())
}
