//! The mode of a file as the repository's format has it.
//!
//! In: `st_mode`. Out: the nine permission bits where they always are, everything else where restic, a Go program,
//! has it. Without this `restic restore` would lose the set-group-id of folders.
//!
//! This module never touches a file. The way back is in `restore/attributes.rs`.

/// Bits of `st_mode` and of the format that mean the same.
pub(crate) const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
/// Kinds of file: a regular one has no bit in the format.
const KINDS: [(u32, u32); 3] = [(0o040_000, 1 << 31), (0o120_000, 1 << 27), (0o010_000, 1 << 25)];
/// Which bits of `st_mode` tell the kind.
const KIND_MASK: u32 = 0o170_000;

/// Turns `st_mode` into the format's mode.
pub(crate) fn to_format(st_mode: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(bit, _)| st_mode & bit != 0);
    let kind = KINDS.iter().filter(|(kind, _)| st_mode & KIND_MASK == *kind);
    special.chain(kind).fold(st_mode & 0o777, |mode, (_, bit)| mode | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_stay_and_the_rest_is_moved() {
        assert_eq!(to_format(0o100_644), 0o644);
        assert_eq!(to_format(0o042_775), 1 << 31 | 1 << 22 | 0o775);
        assert_eq!(to_format(0o041_777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(to_format(0o104_755), 1 << 23 | 0o755);
        assert_eq!(to_format(0o120_777), 1 << 27 | 0o777);
        assert_eq!(to_format(0o010_600), 1 << 25 | 0o600);
    }
}
