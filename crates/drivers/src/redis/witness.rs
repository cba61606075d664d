//! The witness of a Redis backup: numbers that its own bytes give, before and after.
//!
//! In: what an RDB was found to hold. Out: names to values. Keys that expire are part of it: the file has them forever,
//! while a server that loads it leaves out those whose time is over. Read next: `verify.rs`.

use muster_types::{Kind, backup::Witness};

use super::rdb::Contents;
use crate::DriverError;

/// Computes the witness.
pub(super) fn of(contents: &Contents) -> Witness {
    let mut witness = Witness::from([("rdb:bytes".to_owned(), contents.bytes.to_string())]);
    if let Some(checksum) = contents.checksum {
        witness.insert("rdb:crc64".into(), format!("{checksum:016x}"));
    }
    if contents.uncounted.is_none() {
        witness.insert("functions".into(), contents.functions.to_string());
        for (database, keys) in &contents.keys {
            witness.insert(format!("keys:{database}"), keys.all.to_string());
            witness.insert(format!("expiring:{database}"), keys.expiring.to_string());
        }
    }
    witness
}

/// Compares a restored RDB with the witness of its backup.
///
/// # Errors
/// `Corrupt`: another value. `Input`: a name that this version cannot compute.
pub(super) fn compare(name: &str, witness: &Witness, contents: &Contents) -> Result<(), DriverError> {
    let found = of(contents);
    for (key, expected) in witness {
        let is_known = ["rdb:bytes", "rdb:crc64", "functions"].contains(&key.as_str())
            || ["keys:", "expiring:"].iter().any(|prefix| key.starts_with(prefix));
        // What an older version has counted and this one cannot would be a fault of this one.
        if !is_known || contents.uncounted.is_some() && !key.starts_with("rdb:") {
            let message = format!("this version of Muster cannot compute `{key}` of the backup of {name}");
            return Err(DriverError::new(Kind::Input, message).with_hint("use a newer Muster"));
        }
        let value = found.get(key).map_or("0", String::as_str);
        if value != expected {
            let message = format!("{key} of {name} is {value}, the backup had {expected}");
            return Err(DriverError::new(Kind::Corrupt, message).with_hint("restore an older backup"));
        }
    }
    Ok(())
}
