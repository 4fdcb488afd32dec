//! Builds frames to send: unmasked ones as a server sends them, masked ones as a client must (RFC 6455, section 5.1).
//!
//! Every frame is whole: nothing is fragmented. An unmasked text frame is the same bytes for every socket, so it is
//! built once and shared.

use bytes::{BufMut, Bytes, BytesMut};

use crate::Code;

/// The longest header of a frame: two bytes, eight of length, four of mask.
pub const HEADER_MAX: usize = 14;
/// The most a control frame may carry (RFC 6455, section 5.5).
pub const CONTROL_MAX: usize = 125;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// What a frame carries (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with a message begun by an earlier frame.
    Continuation = 0x0,
    /// UTF-8 text.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// The last frame of a side.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or just says "alive".
    Pong = 0xA,
}

/// A text frame. `payload` must be UTF-8; this is not checked here.
pub fn text(payload: &[u8]) -> Bytes {
    unmasked(Opcode::Text, payload)
}

/// A binary frame.
pub fn binary(payload: &[u8]) -> Bytes {
    unmasked(Opcode::Binary, payload)
}

/// A ping; a payload beyond 125 bytes is cut.
pub fn ping(payload: &[u8]) -> Bytes {
    unmasked(Opcode::Ping, control(payload))
}

/// A pong with the payload of the ping it answers; beyond 125 bytes it is cut.
pub fn pong(payload: &[u8]) -> Bytes {
    unmasked(Opcode::Pong, control(payload))
}

/// A close frame. The reason is cut at a character's border to fit 123 bytes; a code that may not be sent gives a
/// frame without payload, which the peer reads as 1005.
pub fn close(code: Code, reason: &str) -> Bytes {
    unmasked(Opcode::Close, &close_payload(code, reason))
}

/// The payload of a close frame: the code and a reason cut to fit.
pub fn close_payload(code: Code, reason: &str) -> Vec<u8> {
    if !code.may_be_sent() {
        return Vec::new();
    }
    let reason = &reason[..reason.floor_char_boundary(CONTROL_MAX - 2)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.0.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// A frame as a server sends it.
pub fn unmasked(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_MAX + payload.len());
    put_header(&mut out, opcode, payload.len());
    out.extend_from_slice(payload);
    out.freeze()
}

/// Writes the header of a server's frame; the caller puts `len` bytes of payload behind it.
pub fn put_header(out: &mut BytesMut, opcode: Opcode, len: usize) {
    put_start(out, opcode, len, 0);
}

/// A frame as a client sends it. The mask must come from a strong source of randomness and be new for each frame
/// (RFC 6455, section 5.3).
pub fn masked(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_MAX + payload.len());
    put_start(&mut out, opcode, payload.len(), MASKED);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask, 0);
    out.freeze()
}

/// Masks or unmasks: the same deed (RFC 6455, section 5.3). `at` is the place of the first byte within the payload.
pub(crate) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], at: usize) {
    let mut turned = mask;
    turned.rotate_left(at % 4);
    let wide = u64::from(u32::from_ne_bytes(turned));
    let wide = wide | wide << 32;
    // Eight bytes at a time: a mask byte by byte costs more than the rest of the decoding.
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

fn put_start(out: &mut BytesMut, opcode: Opcode, len: usize, masked: u8) {
    out.put_u8(FIN | opcode as u8);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short <= 125 => out.put_u8(masked | short),
        (_, Ok(middle)) => {
            out.put_u8(masked | 126);
            out.put_u16(middle);
        }
        _ => {
            out.put_u8(masked | 127);
            out.put_u64(len as u64);
        }
    }
}

fn control(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_rfc_6455_section_5_7_are_built_byte_for_byte() {
        assert_eq!(&text(b"Hello")[..], b"\x81\x05Hello");
        assert_eq!(&ping(b"Hello")[..], b"\x89\x05Hello");
        let masked_hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(&masked(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d])[..], masked_hello);
        let masked_pong = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(&masked(Opcode::Pong, b"Hello", [0x37, 0xfa, 0x21, 0x3d])[..], masked_pong);
        assert_eq!(&binary(&[0; 256])[..4], b"\x82\x7e\x01\x00");
        assert_eq!(&binary(&[0; 65_536])[..10], b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00");
    }

    #[test]
    fn lengths_take_the_fewest_bytes_at_each_border() {
        let header = |len: usize| binary(&vec![0; len])[1..].iter().take(9).copied().collect::<Vec<_>>();
        assert_eq!(header(125)[0], 125);
        assert_eq!(header(126)[..3], [126, 0, 126]);
        assert_eq!(header(65_535)[..3], [126, 0xff, 0xff]);
        assert_eq!(header(65_536), [127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        let frame = close(Code::NORMAL, &"ä".repeat(100));
        assert_eq!(frame[1], 2 + 122);
        assert_eq!(std::str::from_utf8(&frame[4..]), Ok("ä".repeat(61).as_str()));
    }

    #[test]
    fn a_code_that_may_not_be_sent_leaves_the_payload_empty() {
        assert_eq!(&close(Code(1006), "gone")[..], b"\x88\x00");
        assert_eq!(&close(Code(4401), "no key")[..], b"\x88\x08\x11\x31no key");
    }

    #[test]
    fn control_payloads_are_cut_at_125_bytes() {
        assert_eq!(ping(&[7; 200]).len(), 2 + 125);
        assert_eq!(pong(&[7; 125]).len(), 2 + 125);
    }
}
