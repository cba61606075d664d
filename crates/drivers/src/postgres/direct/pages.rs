//! Whether a page is whole, as the server itself would say.
//!
//! In: the bytes of a page, its number in the relation, and where the backup has begun. Out: a verdict. A page that was
//! changed since then may be torn: recovery writes it anew from the log, so that is no damage.
//!
//! It never reads a file. Source: `checksum_impl.h` and `bufpage.h` of PostgreSQL. Read next: `pool.rs`.

use muster_types::Lsn;

/// Sums that are computed side by side.
const SUMS: usize = 32;
/// Bytes of one round of sums.
const ROUND: usize = SUMS * 4;
const PRIME: u32 = 16_777_619;
/// The first values of the sums.
const BASE: [u32; SUMS] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    /// Its checksum is wrong, and it says that it was changed at this place of the log, after the backup began.
    Changing(Lsn),
    /// Its checksum is wrong, and it was not changed since the backup began.
    Wrong {
        stored: u16,
        computed: u16,
    },
}

/// Judges a page. `number` counts from the beginning of the relation, over all its files.
pub(super) fn judge(page: &[u8], number: u32, start: Lsn) -> Verdict {
    // Space that was added and never used.
    if page.iter().all(|byte| *byte == 0) {
        return Verdict::Whole;
    }
    let (stored, computed) = (u16_at(page, 8), checksum(page, number));
    if stored == computed {
        return Verdict::Whole;
    }
    let changed = Lsn(u64::from(u32_at(page, 0)) << 32 | u64::from(u32_at(page, 4)));
    if changed >= start { Verdict::Changing(changed) } else { Verdict::Wrong { stored, computed } }
}

/// Computes the checksum; the two bytes that hold it count as zero.
fn checksum(page: &[u8], number: u32) -> u16 {
    let mut sums = BASE;
    let (rounds, _) = page.as_chunks::<ROUND>();
    for (index, round) in rounds.iter().enumerate() {
        let (words, _) = round.as_chunks::<4>();
        for (place, (sum, word)) in sums.iter_mut().zip(words).enumerate() {
            let mut word = u32::from_ne_bytes(*word);
            if index == 0 && place == 2 {
                word &= u32::from_ne_bytes([0, 0, 0xFF, 0xFF]);
            }
            *sum = mixed(*sum, word);
        }
    }
    for _ in 0..2 {
        for sum in &mut sums {
            *sum = mixed(*sum, 0);
        }
    }
    let folded = sums.iter().fold(number, |all, sum| all ^ sum);
    u16::try_from(folded % 65_535 + 1).unwrap_or(u16::MAX)
}

fn mixed(sum: u32, word: u32) -> u32 {
    let mixed = sum ^ word;
    mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
}

fn u16_at(page: &[u8], at: usize) -> u16 {
    page.get(at..at + 2).and_then(|two| two.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at(page: &[u8], at: usize) -> u32 {
    page.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(changed: u32, number: u32) -> Vec<u8> {
        let mut page: Vec<u8> = (0..8192u32).map(|place| (place * 7 % 251) as u8).collect();
        page[..4].fill(0);
        page[4..8].copy_from_slice(&changed.to_ne_bytes());
        let sum = checksum(&page, number);
        page[8..10].copy_from_slice(&sum.to_ne_bytes());
        page
    }

    #[test]
    fn a_wrong_page_is_damage_only_when_it_was_not_changed_since_the_backup_began() {
        let start = Lsn(5000);
        assert_eq!(judge(&[0; 8192], 3, start), Verdict::Whole);
        assert_eq!(judge(&page(10, 3), 3, start), Verdict::Whole);
        // A page that stands at another's place.
        assert!(matches!(judge(&page(10, 3), 4, start), Verdict::Wrong { .. }));
        for place in [8, 12, 100, 8191] {
            for (changed, is_damage) in [(4999, true), (5000, false)] {
                let mut page = page(changed, 3);
                page[place] ^= 1;
                let verdict = judge(&page, 3, start);
                let expected = if is_damage {
                    matches!(verdict, Verdict::Wrong { .. })
                } else {
                    verdict == Verdict::Changing(Lsn(5000))
                };
                assert!(expected, "{place} {changed}: {verdict:?}");
            }
        }
    }
}
