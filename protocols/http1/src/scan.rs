//! Walks over bytes to the first one that does not belong: the only loops that look at every byte of a head.

/// May stand in a token (RFC 9110, section 5.6.2).
const TOKEN: u8 = 1;
/// May stand in a target, see [`in_target`].
const TARGET: u8 = 2;
/// May stand in the name of a host, see [`in_host`].
const HOST: u8 = 4;

/// What each byte may stand in.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        classes[at] = if in_token(byte) { TOKEN } else { 0 }
            | if in_target(byte) { TARGET } else { 0 }
            | if in_host(byte) { HOST } else { 0 };
        at += 1;
    }
    classes
}

const fn in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
        || matches!(byte, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

// RFC 3986 has no room for `"<>[]^`{|}` either, but clients send them bare and every server reads them as themselves.
// A backslash is read as a slash by some, and a `#` begins what is no part of a target.
const fn in_target(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'\\')
}

// RFC 3986 would also allow percent-encoding and `!$&'()*+,;=` in a name: no host is called so, and a comma there is
// taken for a list by some.
const fn in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn while_in(class: u8, bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(byte) = bytes.get(at)
        && CLASSES[usize::from(*byte)] & class != 0
    {
        at += 1;
    }
    looked(at - from + 1);
    at
}

/// Where a token that begins at `from` ends.
pub(crate) fn token(bytes: &[u8], from: usize) -> usize {
    while_in(TOKEN, bytes, from)
}

/// Where a target that begins at `from` ends.
pub(crate) fn target(bytes: &[u8], from: usize) -> usize {
    while_in(TARGET, bytes, from)
}

/// Where the name of a host that begins at `from` ends.
pub(crate) fn host(bytes: &[u8], from: usize) -> usize {
    while_in(HOST, bytes, from)
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
/// or at the end of the bytes. Eight bytes at a time: most of a head is values.
pub(crate) fn text(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        at = next_control(bytes, at);
        if bytes.get(at) != Some(&b'\t') {
            looked(at - from + 1);
            return at;
        }
        at += 1;
    }
}

/// The first byte from here on that is below a space, or is DEL; the end where there is none.
fn next_control(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = controls(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(byte) = bytes.get(at)
        && *byte >= 0x20
        && *byte != 0x7f
    {
        at += 1;
    }
    at
}

/// Sets the highest bit of each byte that is below a space or is DEL. A borrow can set it falsely in bytes above such a
/// byte, never below: the lowest one that is set is true.
const fn controls(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let below_space = word.wrapping_sub(ONES * 0x20);
    let del = (word ^ (ONES * 0x7f)).wrapping_sub(ONES);
    // Bytes beyond ASCII have that bit themselves, and are none of both.
    (below_space | del) & !word & (ONES * 0x80)
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
    fn text_ends_at_the_first_control_character_wherever_it_stands() {
        for length in 0..40 {
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
