//! The checksum at the end of an RDB: CRC-64 with the polynomial of Jones, as Redis computes it.
//!
//! In: bytes, in pieces. Out: 64 bits. Eight bytes at a time with eight tables, because every byte of a backup goes
//! through here. It never reads anything. Source: `crc64.c` of Redis names polynomial, order and start value.

/// The polynomial, bits in reverse: the lowest bit comes first.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

static TABLES: [[u64; 256]; 8] = tables();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses an index that is none")]
const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0_u64; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// Goes on with a checksum; the first is 0.
pub(super) fn crc64(mut crc: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        let mixed = (crc ^ u64::from_le_bytes(eight)).to_le_bytes();
        crc = 0;
        for (byte, table) in mixed.iter().zip(TABLES.iter().rev()) {
            crc ^= look_up(table, *byte);
        }
    }
    for byte in chunks.remainder() {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ look_up(&TABLES[0], low ^ byte);
    }
    crc
}

#[allow(clippy::indexing_slicing, reason = "a byte is always an index of 256 entries")]
fn look_up(table: &[u64; 256], byte: u8) -> u64 {
    table[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_checksum_of_redis_in_one_piece_and_in_many() {
        // The value that Redis's own test prints.
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let text: Vec<u8> = (0..1000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let whole = crc64(0, &text);
        for cut in [0, 1, 7, 8, 9, 500, 999] {
            assert_eq!(crc64(crc64(0, &text[..cut]), &text[cut..]), whole, "{cut}");
        }
    }
}
