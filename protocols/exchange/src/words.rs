//! Eight bytes looked at as one number: whether what is looked for is among them, and where.
//!
//! What is found is marked by the highest bit of its byte. A borrow may mark bytes above a true mark as well, never below: the
//! lowest mark is always true ([`first`]).

/// The lowest bit of each byte.
pub const ONES: u64 = u64::MAX / 255;
/// The highest bit of each byte.
pub const HIGHS: u64 = ONES << 7;

/// The eight bytes from `at` on, the first of them lowest. Zeros stand for those behind the end.
#[inline]
pub fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_le_bytes(*eight),
        None => last(bytes, at),
    }
}

/// The fewer than eight bytes from `at` on. Together with those before them they are read in one go, where there are some.
fn last(bytes: &[u8], at: usize) -> u64 {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return 0 };
    match bytes.last_chunk() {
        Some(eight) => u64::from_le_bytes(*eight) >> (8 * (8 - rest.len())),
        None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Marks the bytes that are this one.
#[inline]
pub const fn equal(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * byte as u64);
    differs.wrapping_sub(ONES) & !differs & HIGHS
}

/// Marks the bytes from 0x80 on and those that are not from `least` to `most`, which are below 0x80.
#[inline]
pub const fn outside(word: u64, least: u8, most: u8) -> u64 {
    (word.wrapping_sub(ONES * least as u64) | word.wrapping_add(ONES * (0x7f - most as u64)) | word) & HIGHS
}

/// Marks the bytes that are neither a letter nor a hyphen. Every mark is true.
#[inline]
pub const fn not_of_words(word: u64) -> u64 {
    // With seven bits a byte, no sum carries into the next one.
    let low = word & !HIGHS;
    let lower = low | (ONES * 0x20);
    let letter = (lower + ONES * (0x80 - b'a' as u64)) & !(lower + ONES * (0x7f - b'z' as u64));
    let hyphen = !((low ^ (ONES * b'-' as u64)) + ONES * 0x7f);
    (!(letter | hyphen) | word) & HIGHS
}

/// How many bytes stand before the lowest mark: eight where there is none.
#[inline]
pub const fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stand_behind_the_end() {
        let bytes: Vec<u8> = (1..=20).collect();
        for length in 0..=20 {
            for at in 0..=24 {
                let expected = (0..8).rev().fold(0, |word: u64, place| {
                    word << 8 | bytes[..length].get(at + place).map_or(0, |byte| u64::from(*byte))
                });
                assert_eq!(word(&bytes[..length], at), expected, "{length} {at}");
            }
        }
    }

    #[test]
    fn the_lowest_mark_is_true_whatever_stands_beside_it() {
        let in_word = |byte: u8| byte.is_ascii_alphabetic() || byte == b'-';
        for byte in 0..=255_u8 {
            for other in 0..=255 {
                let bytes = [byte, other, byte, other, other, byte, other, 0xff];
                let place = |is: &dyn Fn(u8) -> bool| bytes.iter().position(|byte| is(*byte)).unwrap_or(8);
                let word = word(&bytes, 0);
                assert_eq!(first(equal(word, b'_')), place(&|byte| byte == b'_'), "{bytes:?}");
                assert_eq!(first(outside(word, 0x21, 0x7e)), place(&|byte| !matches!(byte, 0x21..=0x7e)), "{bytes:?}");
                assert_eq!(first(not_of_words(word)), place(&|byte| !in_word(byte)), "{bytes:?}");
            }
        }
    }
}
