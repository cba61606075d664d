//! The names of the archive's files. In: text. Out: what they say of their content, or that they are none.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use muster_types::Lsn;

/// The name of a piece: what it holds and how many bytes its file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceName {
    /// Its first byte.
    pub start: Lsn,
    /// Behind its last byte.
    pub end: Lsn,
    /// The newest commit or abort in it by the server's clock, UTC.
    pub newest_commit: Option<Timestamp>,
    /// By the server's clock, when its first byte was sent, UTC.
    pub begun_at: Timestamp,
    /// By the server's clock: every commit up to then is in the log up to here, UTC.
    pub as_of: Timestamp,
    /// Bytes of its file.
    pub stored_bytes: u64,
}

/// A file of a line, other than its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Piece(PieceName),
    /// What is known to be missing: its first byte, and behind its last one.
    Gap(Lsn, Lsn),
}

impl fmt::Display for PieceName {
    /// Positions in 16 hexadecimal digits, so that names sort as the log goes; times in microseconds since 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commit = self.newest_commit.map_or(0, Timestamp::as_microsecond);
        let (begun_at, as_of) = (self.begun_at.as_microsecond(), self.as_of.as_microsecond());
        let (start, end, bytes) = (self.start.0, self.end.0, self.stored_bytes);
        write!(f, "{start:016x}-{end:016x}-{commit}-{begun_at}-{as_of}-{bytes}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Piece(piece) => piece.fmt(f),
            Self::Gap(start, end) => write!(f, "{:016x}-{:016x}-gap", start.0, end.0),
        }
    }
}

impl FromStr for Entry {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split('-').collect();
        let position = |index: usize| {
            let digits = parts.get(index).copied().filter(|digits| digits.len() == 16)?;
            u64::from_str_radix(digits, 16).ok().map(Lsn)
        };
        let number = |index: usize| parts.get(index)?.parse::<i64>().ok().filter(|number| *number >= 0);
        let entry = || {
            let (start, end) = (position(0)?, position(1)?);
            if parts.len() == 3 && parts.last() == Some(&"gap") {
                return Some(Self::Gap(start, end));
            }
            let commit = number(2)?;
            let newest_commit =
                if commit == 0 { None } else { Some(Timestamp::from_microsecond(commit).ok()?) };
            let begun_at = Timestamp::from_microsecond(number(3)?).ok()?;
            let as_of = Timestamp::from_microsecond(number(4)?).ok()?;
            let stored_bytes = u64::try_from(number(5)?).ok()?;
            Some(Self::Piece(PieceName { start, end, newest_commit, begun_at, as_of, stored_bytes }))
        };
        // What would be written otherwise was not written by us.
        entry().filter(|entry| entry.is_forward() && entry.to_string() == text).ok_or(())
    }
}

impl Entry {
    fn is_forward(self) -> bool {
        match self {
            Self::Piece(PieceName { start, end, .. }) | Self::Gap(start, end) => start < end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_inside_and_nothing_else_is_a_name() {
        let name = "0000000003000000-0000000003000100-1763742000123456-1763742000000000-1763742001000000-300";
        let Ok(Entry::Piece(piece)) = name.parse() else { panic!("{name}") };
        assert_eq!((piece.start, piece.end, piece.stored_bytes), (Lsn(0x300_0000), Lsn(0x300_0100), 300));
        assert_eq!(piece.newest_commit.unwrap().as_microsecond(), 1_763_742_000_123_456);
        assert_eq!(piece.to_string(), name);
        let without = "0000000003000000-0000000003000100-0-1763742000000000-1763742001000000-300";
        let Ok(Entry::Piece(piece)) = without.parse() else { panic!("{without}") };
        assert_eq!(piece.newest_commit, None);
        assert_eq!(
            "0000000003000000-0000000003000100-gap".parse(),
            Ok(Entry::Gap(Lsn(0x300_0000), Lsn(0x300_0100)))
        );
        for text in [
            "history",
            "0000000003000100-0000000003000000-0-1-1-300",
            "0000000003000000-0000000003000100-0-1-1",
            "0000000003000000-0000000003000100-00-1-1-300",
            "0000000003000000-0000000003000100-0-1-1-300-4",
            "0000000003000000-0000000003000100-0--1-1-300",
            "000000000300000A-0000000003000100-0-1-1-300",
        ] {
            assert_eq!(text.parse::<Entry>(), Err(()), "{text}");
        }
    }
}
