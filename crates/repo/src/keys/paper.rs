//! A key that can be written on paper and typed again: 256 bits as `MUSTER-` and 13 groups of five characters.
//!
//! Four characters of a group carry 20 bits, the fifth is their check, so a slip is told with the number of its group.
//! The characters are Crockford's base 32: digits and capitals without I, L, O and U. The text itself, in capitals and
//! with its dashes, is the key that opens the repository: with `restic` it is typed exactly so.
//!
//! An error never repeats what was typed.

use muster_types::Secret;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::RepoError;

const PREFIX: &str = "MUSTER";
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 13 groups of 20 bits hold 260: the last four are zero.
const GROUPS: usize = 13;
const GROUP_DATA: usize = 4;
const BYTES: usize = 32;

/// Makes a key of 256 bits from the system's own source of randomness, in the form for paper.
///
/// # Errors
/// `Io` when the system gives no randomness.
pub fn generate() -> Result<Secret, RepoError> {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(RepoError::Io {
                    operation: "read",
                    path: "/dev/urandom".into(),
                    source: error.into(),
                });
            }
        }
    }
    Ok(Secret::new(encode(&bytes)))
}

/// Reads a key from paper: case, spaces and dashes do not matter, and O, I, L and U are taken for their look-alikes.
///
/// A text that does not begin with `MUSTER` is a key that a person chose and is returned as it is, without the
/// white space around it.
///
/// # Errors
/// `MistypedKey` with the number of the first group, counted from 1, that is wrong, or without one when the length is.
pub fn parse_paper(text: &str) -> Result<Secret, RepoError> {
    let typed = text.trim();
    let plain: String = typed
        .chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, '-' | '–' | '—' | '_'))
        .map(|character| character.to_ascii_uppercase())
        .collect();
    let Some(rest) = plain.strip_prefix(PREFIX) else { return Ok(Secret::new(typed)) };
    let values: Vec<Option<u8>> = rest.chars().map(value_of).collect();
    for (number, group) in values.chunks(GROUP_DATA + 1).take(GROUPS).enumerate() {
        let wrong = RepoError::MistypedKey { group: Some(number + 1) };
        let [a, b, c, d, check] = group else { return Err(RepoError::MistypedKey { group: None }) };
        let (Some(a), Some(b), Some(c), Some(d), Some(check)) = (*a, *b, *c, *d, *check) else {
            return Err(wrong);
        };
        if check_of(number, [a, b, c, d]) != check {
            return Err(wrong);
        }
    }
    if values.len() != GROUPS * (GROUP_DATA + 1) {
        return Err(RepoError::MistypedKey { group: None });
    }
    let letters: Vec<u8> = values.into_iter().flatten().collect();
    Ok(Secret::new(write(letters.chunks(GROUP_DATA + 1))))
}

fn encode(bytes: &[u8; BYTES]) -> String {
    let mut groups = Vec::with_capacity(GROUPS);
    let (mut bits, mut held, mut letters) = (0_u32, 0_u32, Vec::new());
    for byte in bytes {
        bits = (bits << 8) | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            letters.push(low_five(bits >> held));
        }
    }
    letters.push(low_five(bits << (5 - held)));
    for (number, data) in letters.as_chunks::<GROUP_DATA>().0.iter().enumerate() {
        let [a, b, c, d] = *data;
        groups.push([a, b, c, d, check_of(number, *data)]);
    }
    write(groups.iter().map(<[u8; 5]>::as_slice))
}

fn write<'a>(groups: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = PREFIX.to_owned();
    for group in groups {
        text.push('-');
        text.extend(group.iter().map(|value| char::from(LETTERS[usize::from(*value & 31)])));
    }
    text
}

fn low_five(bits: u32) -> u8 {
    // Masked, so it always fits.
    u8::try_from(bits & 31).unwrap_or_default()
}

fn value_of(character: char) -> Option<u8> {
    let character = match character {
        'O' => '0',
        'I' | 'L' => '1',
        'U' => 'V',
        other => other,
    };
    let position = LETTERS.iter().position(|letter| char::from(*letter) == character)?;
    u8::try_from(position).ok()
}

/// The check of a group: a weighted sum in the field of 32 elements, so that every single slip and every exchange of
/// two characters is seen. The group's number is added, so that two exchanged groups are seen too.
fn check_of(number: usize, data: [u8; GROUP_DATA]) -> u8 {
    let mut sum = u8::try_from(number + 1).unwrap_or_default();
    for value in data {
        sum = times_two(sum ^ value);
    }
    sum
}

/// Doubles in the field of 32 elements, modulo x^5 + x^2 + 1.
fn times_two(value: u8) -> u8 {
    let doubled = value << 1;
    if doubled & 0b10_0000 == 0 { doubled } else { (doubled & 31) ^ 0b101 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_of(error: RepoError) -> Option<usize> {
        match error {
            RepoError::MistypedKey { group } => group,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_key_has_256_bits_and_is_never_the_same() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.expose().len(), 6 + 13 * 6);
        assert_eq!(encode(&[0xff; 32]).chars().filter(|c| *c == 'Z').count(), 51);
        assert_eq!(parse_paper(a.expose()).unwrap(), a);
    }

    #[test]
    fn a_key_is_read_as_people_type_it() {
        let key = encode(&std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        for typed in [
            key.to_lowercase(),
            key.replace('-', " "),
            key.replace('-', ""),
            format!("  {key}\n"),
            key.replace('0', "o").replace('1', "l"),
            key.replace('V', "U"),
        ] {
            assert_eq!(parse_paper(&typed).unwrap().expose(), key, "{typed}");
        }
        assert_eq!(parse_paper(" my own words \n").unwrap().expose(), "my own words");
    }

    #[test]
    fn every_single_slip_is_told_with_its_group() {
        let key = encode(&[0xa7; 32]);
        for (position, right) in key.char_indices().filter(|(position, c)| *position >= 7 && *c != '-') {
            for letter in LETTERS.iter().map(|letter| char::from(*letter)).filter(|letter| *letter != right) {
                let mut typed = key.clone();
                typed.replace_range(position..=position, &letter.to_string());
                assert_eq!(group_of(parse_paper(&typed).unwrap_err()), Some((position - 7) / 6 + 1));
            }
        }
    }

    #[test]
    fn exchanged_characters_and_groups_and_missing_ones_are_told() {
        let key = encode(&std::array::from_fn(|i| u8::try_from(i * 37 % 251).unwrap()));
        let bytes = key.as_bytes();
        for position in 7..key.len() - 1 {
            if bytes[position] != bytes[position + 1]
                && bytes[position] != b'-'
                && bytes[position + 1] != b'-'
            {
                let mut typed = bytes.to_vec();
                typed.swap(position, position + 1);
                assert!(parse_paper(std::str::from_utf8(&typed).unwrap()).is_err(), "{position}");
            }
        }
        let mut groups: Vec<_> = key.split('-').collect();
        groups.swap(2, 5);
        assert_eq!(group_of(parse_paper(&groups.join("-")).unwrap_err()), Some(2));
        groups.swap(2, 5);
        groups.pop();
        assert_eq!(group_of(parse_paper(&groups.join("-")).unwrap_err()), None);
        let error = parse_paper(&format!("{key}-00000")).unwrap_err();
        assert_eq!(group_of(error), None);
    }
}
