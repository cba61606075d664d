//! How long a value of each type is in an RDB, so that it can be passed over.
//!
//! In: a type and the bytes behind it. Out: nothing but the place behind the value, and the module that it belongs to.
//! Source: the types and their shapes as `rdb.c` and `rdb.h` of Redis 7.4 write them. It never looks into a value.

use std::io::Read;

use super::{Halt, Reader};

/// Passes over a value; returns the name of its module, if it has one.
pub(super) fn value<R: Read>(reader: &mut Reader<R>, kind: u8) -> Result<Option<String>, Halt> {
    match kind {
        // A string; or a whole collection in one string.
        0 | 9..=13 | 16 | 17 | 20 => reader.skip_string()?,
        // List, set: their members.
        1 | 2 | 14 => strings(reader, 1)?,
        // Hash: names and values.
        4 => strings(reader, 2)?,
        3 => {
            for _ in 0..reader.length()? {
                reader.skip_string()?;
                old_double(reader)?;
            }
        }
        5 => {
            for _ in 0..reader.length()? {
                reader.skip_string()?;
                reader.skip(8)?;
            }
        }
        7 => {
            let module = module_name(reader.length()?);
            module_value(reader)?;
            return Ok(Some(module));
        }
        // List: nodes, each plain or packed.
        18 => {
            for _ in 0..reader.length()? {
                reader.length()?;
                reader.skip_string()?;
            }
        }
        15 | 19 | 21 => stream(reader, kind)?,
        // Hash whose fields expire by themselves.
        24 => {
            reader.skip(8)?;
            for _ in 0..reader.length()? {
                reader.length()?;
                reader.skip_string()?;
                reader.skip_string()?;
            }
        }
        25 => {
            reader.skip(8)?;
            reader.skip_string()?;
        }
        other => return Err(Halt::Unknown(format!("a value of type {other}"))),
    }
    Ok(None)
}

fn strings<R: Read>(reader: &mut Reader<R>, each: u64) -> Result<(), Halt> {
    for _ in 0..reader.length()? {
        for _ in 0..each {
            reader.skip_string()?;
        }
    }
    Ok(())
}

/// A number as text, with its length before it; three lengths stand for what is no number or has no end.
fn old_double<R: Read>(reader: &mut Reader<R>) -> Result<(), Halt> {
    match reader.byte()? {
        253..=255 => Ok(()),
        length => Ok(reader.skip(u64::from(length))?),
    }
}

fn stream<R: Read>(reader: &mut Reader<R>, kind: u8) -> Result<(), Halt> {
    strings(reader, 2)?;
    let numbers = if kind >= 19 { 3 + 5 } else { 3 };
    for _ in 0..numbers {
        reader.length()?;
    }
    for _ in 0..reader.length()? {
        reader.skip_string()?;
        let numbers = if kind >= 19 { 3 } else { 2 };
        for _ in 0..numbers {
            reader.length()?;
        }
        // Entries that were delivered and not acknowledged: id, time, number of deliveries.
        for _ in 0..reader.length()? {
            reader.skip(16 + 8)?;
            reader.length()?;
        }
        for _ in 0..reader.length()? {
            reader.skip_string()?;
            reader.skip(if kind >= 21 { 16 } else { 8 })?;
            let pending = reader.length()?;
            reader.skip(pending.saturating_mul(16))?;
        }
    }
    Ok(())
}

/// A module says of each piece what it is, so that it can be passed over without the module.
pub(super) fn module_value<R: Read>(reader: &mut Reader<R>) -> Result<(), Halt> {
    loop {
        match reader.length()? {
            0 => return Ok(()),
            1 | 2 => drop(reader.length()?),
            3 => reader.skip(4)?,
            4 => reader.skip(8)?,
            5 => reader.skip_string()?,
            _ => return Err(reader.shape("a piece of a module's value of no known kind")),
        }
    }
}

/// The name of a module is nine letters of six bits each, before ten bits of its version.
pub(super) fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |index: u64| {
        let place = (id >> (10 + 6 * (8 - index))) & 63;
        usize::try_from(place).ok().and_then(|place| LETTERS.get(place)).map_or('?', |byte| char::from(*byte))
    };
    (0..9).map(letter).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_module_is_named_as_it_calls_itself() {
        // `ReJSON-RL`, version 3, as the module itself encodes it.
        let id = b"ReJSON-RL".iter().fold(0_u64, |id, byte| {
            let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            id << 6 | letters.iter().position(|letter| letter == byte).unwrap() as u64
        });
        assert_eq!(super::module_name(id << 10 | 3), "ReJSON-RL");
    }
}
