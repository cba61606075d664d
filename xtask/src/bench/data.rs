//! What is backed up in the bench: the same bytes for the same size.
//!
//! Files: half text (compresses well), half noise (does not), in sizes from 1 KiB to 16 MiB. Database: rows of text and
//! noise, made by the `sqlite3` command. Nothing here depends on time or chance.
#![expect(clippy::disallowed_methods, reason = "made for one bench and removed after it")]

use std::{fs, io::Write, path::Path, process::Command, process::Stdio};

use anyhow::{Context, ensure};

/// Sizes of files, taken in turn; many small ones and few large ones.
const SIZES: [u64; 12] = [
    1 << 10,
    3 << 10,
    900,
    20 << 10,
    7 << 10,
    64 << 10,
    2 << 10,
    300 << 10,
    12 << 10,
    1 << 20,
    5 << 10,
    16 << 20,
];

/// A small generator: the bench needs the same noise each time, not good noise.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn text(noise: &mut Noise, count: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "agent", "answer", "backup", "cluster", "error", "page", "query", "request", "row", "session",
        "state", "table", "token", "user", "value", "vector",
    ];
    let mut bytes = Vec::with_capacity(count + 16);
    while bytes.len() < count {
        for byte in noise.bytes(64) {
            bytes.extend_from_slice(WORDS[usize::from(byte % 16)].as_bytes());
            bytes.push(if byte > 240 { b'\n' } else { b' ' });
        }
    }
    bytes.truncate(count);
    bytes
}

/// Makes a tree of files of `size` bytes in all.
pub(super) fn files(folder: &Path, size: u64) -> anyhow::Result<()> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut made = 0;
    for number in 0.. {
        if made >= size {
            break;
        }
        let count = SIZES[number % SIZES.len()];
        let place = folder.join(format!("{:03}", number / 100));
        fs::create_dir_all(&place)?;
        let count_usize = usize::try_from(count)?;
        let content = if (number / SIZES.len()).is_multiple_of(2) {
            text(&mut noise, count_usize)
        } else {
            noise.bytes(count_usize)
        };
        fs::write(place.join(format!("file-{number}")), content)?;
        made += count;
    }
    Ok(())
}

/// Makes a database of about `size` bytes.
pub(super) fn database(path: &Path, size: u64) -> anyhow::Result<()> {
    let mut child = Command::new("sqlite3")
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("sqlite3")?;
    let mut input = child.stdin.take().context("a pipe")?;
    let mut noise = Noise(0xdead_beef_cafe_f00d);
    writeln!(input, "pragma journal_mode=wal; pragma synchronous=off; begin;")?;
    writeln!(input, "create table rows (id integer primary key, name text, body text, vector blob);")?;
    for id in 0..size / 2_100 {
        let body = String::from_utf8(text(&mut noise, 1_000))?.replace('\n', " ");
        let vector: String = noise.bytes(1_000).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(input, "insert into rows values ({id}, 'name {id}', '{body}', x'{vector}');")?;
    }
    writeln!(input, "commit; pragma wal_checkpoint(truncate);")?;
    drop(input);
    ensure!(child.wait()?.success(), "sqlite3 failed");
    Ok(())
}

/// Writes the configuration and the key for Muster.
pub(super) fn configuration(folder: &Path) -> anyhow::Result<()> {
    let place = folder.display();
    fs::write(folder.join("muster.key"), "a key for the bench only\n")?;
    fs::set_permissions(folder.join("muster.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let text = format!(
        "platform: bench\nobjectives: {{rto: 1h, rpo: 1h}}\nrepository:\n  location: {place}/muster-repository\n  password: ${{file:{place}/muster.key}}\ncomponents:\n  files: {{kind: files, paths: [{place}/files]}}\n  database: {{kind: sqlite, path: {place}/app.db}}\n"
    );
    fs::write(folder.join("muster.yaml"), text)?;
    Ok(())
}
