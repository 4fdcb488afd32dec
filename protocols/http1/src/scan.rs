//! Walks over bytes to the first one that does not belong, eight at a time: the only loops that look at every byte of a head.

use portolan_exchange::fields::Name;
use portolan_exchange::words::{equal, first, not_of_words, outside, word};

/// May stand in a token (RFC 9110, section 5.6.2).
const TOKEN: u8 = 1;
/// May stand in the name of a host, see [`in_host`].
const HOST: u8 = 2;

/// What each byte may stand in.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        classes[at] = if in_token(byte) { TOKEN } else { 0 } | if in_host(byte) { HOST } else { 0 };
        at += 1;
    }
    classes
}

const fn in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

// RFC 3986 would also allow percent-encoding and `!$&'()*+,;=` in a name: no host is called so, and a comma there is
// taken for a list by some.
const fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Where a token that begins at `from` ends.
#[inline]
pub(crate) fn token(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        let others = not_of_words(word(bytes, at));
        at += first(others);
        if others == 0 {
            continue;
        }
        match bytes.get(at) {
            Some(byte) if CLASSES[usize::from(*byte)] & TOKEN != 0 => at += 1,
            _ => break,
        }
    }
    looked(at - from + 1);
    at
}

/// Where the colon behind a name stands, and what the name says, where these bytes begin so and some more follow.
#[inline(always)]
pub(crate) fn plain_name(bytes: &[u8]) -> Option<(usize, Name)> {
    let mut otherwise = Name::Other;
    for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        looked(word.len());
        let mut others = not_of_words(u64::from_le_bytes(*word));
        while others != 0 {
            let place = first(others);
            match word[place] {
                b':' => {
                    let colon = 8 * index + place;
                    let known = Name::of_plain(&bytes[..colon]);
                    return (colon > 0).then_some((colon, if known == Name::Other { otherwise } else { known }));
                }
                b'_' => otherwise = Name::Underscored,
                byte if CLASSES[usize::from(byte)] & TOKEN == 0 => return None,
                _ => {}
            }
            others &= others - 1;
        }
    }
    None
}

/// Where the name of a host that begins at `from` ends.
pub(crate) fn host(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from..];
    let length = rest.iter().position(|byte| CLASSES[usize::from(*byte)] & HOST == 0).unwrap_or(rest.len());
    looked(length + 1);
    from + length
}

/// Where a target that begins at `from` ends.
///
/// RFC 3986 has no room for `"<>[]^`{|}` either, but clients send them bare and every server reads them as themselves.
/// A backslash is read as a slash by some, and a `#` begins what is no part of a target.
#[inline]
pub(crate) fn target(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        let word = word(bytes, at);
        let beyond = outside(word, b'!', b'~') | equal(word, b'#') | equal(word, b'\\');
        at += first(beyond);
        if beyond != 0 {
            looked(at - from + 1);
            return at;
        }
    }
}

/// Where space (RFC 9110, section 5.6.3: OWS) that begins at `from` ends.
pub(crate) fn space(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    looked(at - from + 1);
    at
}

/// Where text (RFC 9110, section 5.5: field content) that begins at `from` ends: at a control character that is no tab,
/// or at the end of the bytes.
#[inline]
pub(crate) fn text(bytes: &[u8], from: usize) -> usize {
    let mut at = visible(bytes, from);
    while matches!(bytes.get(at), Some(b'\t' | 0x80..)) {
        at = visible(bytes, at + 1);
    }
    looked(at - from + 1);
    at
}

/// The place of the first byte from here on that is no space and no visible character of ASCII, or the end of the bytes.
#[inline(always)]
pub(crate) fn visible(bytes: &[u8], from: usize) -> usize {
    // What is longer than most values is likely to be much longer.
    const MOST: usize = 32;
    let found = match bytes[from..].first_chunk::<MOST>() {
        Some(short) => first_other(short).map(|place| from + place),
        None => return first_other(&bytes[from..]).map_or(bytes.len(), |place| from + place),
    };
    found.unwrap_or_else(|| visible_behind(bytes, from + MOST))
}

#[inline(always)]
fn first_other(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let others = outside(u64::from_le_bytes(*word), b' ', b'~');
        if others != 0 {
            return Some(8 * index + first(others));
        }
    }
    let place = rest.iter().position(|byte| !matches!(byte, b' '..=b'~'))?;
    Some(bytes.len() - rest.len() + place)
}

/// As [`visible`], for long values: a block before each decision, so that the compiler compares sixteen bytes at once.
#[inline(never)]
fn visible_behind(bytes: &[u8], from: usize) -> usize {
    let blocks = bytes[from..].as_chunks::<32>().0;
    let is_visible = |block: &&[u8; 32]| !block.iter().fold(false, |other, byte| other | !(b' '..=b'~').contains(byte));
    let at = from + 32 * blocks.iter().take_while(is_visible).count();
    first_other(&bytes[at..]).map_or(bytes.len(), |place| at + place)
}

/// Counts looked-at bytes where tests bound the work, and is nothing otherwise.
#[cfg(not(test))]
#[inline(always)]
pub(crate) const fn looked(_bytes: usize) {}

#[cfg(test)]
thread_local! {
    static LOOKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
pub(crate) fn looked(bytes: usize) {
    LOOKED.with(|looked| looked.set(looked.get() + bytes));
}

/// How many bytes were looked at since the last call on this thread.
#[cfg(test)]
pub(crate) fn take_looked() -> usize {
    LOOKED.with(|looked| looked.replace(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hosts_and_targets_end_at_the_first_byte_that_does_not_belong_wherever_it_stands() {
        let in_target = |byte| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'\\');
        for length in 0..40 {
            for place in 0..length {
                for byte in 0..=255_u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let end = |belongs| if belongs { length } else { place };
                    assert_eq!(token(&bytes, 0), end(in_token(byte)), "{byte:#x} at {place} of {length}");
                    assert_eq!(host(&bytes, 0), end(in_host(byte)), "{byte:#x} at {place} of {length}");
                    assert_eq!(target(&bytes, 0), end(in_target(byte)), "{byte:#x} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn text_ends_at_the_first_control_character_wherever_it_stands() {
        for length in (0..40).chain(80..90) {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let ends = byte != b'\t' && (byte < 0x20 || byte == 0x7f);
                    assert_eq!(text(&bytes, 0), if ends { place } else { length }, "{byte:#x} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_first_of_many_control_characters_counts() {
        assert_eq!(text(b"ab\xff\x80\t\x7f\x00\x1f\r", 0), 5);
        assert_eq!(text(b"\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f", 3), 3);
        assert_eq!(text(b"\x80\x80\x9f\xa0\x7e\x20\xff\x81\r\n", 0), 8);
        assert_eq!(text(b"abc", 3), 3);
    }

    #[test]
    fn a_token_is_what_the_core_types_take_for_one() {
        for byte in 0..=255 {
            let is = portolan_exchange::fields::is_token(&[byte]);
            assert_eq!(token(&[byte], 0) == 1, is, "{byte:#x}");
        }
    }

    #[test]
    fn a_target_holds_no_space_control_fragment_backslash_or_byte_beyond_ascii() {
        let refused: Vec<u8> = (0..=255).filter(|byte| target(&[*byte], 0) == 0).collect();
        let expected: Vec<u8> = (0..=0x20).chain([b'#', b'\\']).chain(0x7f..=0xff).collect();
        assert_eq!(refused, expected);
    }
}
