//! A table of byte strings and what a decoder must make of them.

use super::*;

/// A client's frame: `start` is the first byte, the length takes the fewest bytes, the mask is that of RFC 6455's examples.
fn client(start: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![start];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    out
}

fn all(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

/// A data payload in short: its text, or its length when long.
fn short(bytes: &[u8]) -> String {
    if bytes.len() > 20 { format!("{} bytes", bytes.len()) } else { String::from_utf8_lossy(bytes).into_owned() }
}

/// The whole outcome in words: each message, then how it stands.
pub(super) fn outcome(role: Role, input: &[u8], limits: Limits) -> String {
    let (mut decoder, mut input, mut said) = (Decoder::new(role, limits), input, Vec::new());
    loop {
        match decoder.decode(&mut input) {
            Ok(Some(Message::Text(text))) => said.push(format!("text {}", short(&text))),
            Ok(Some(Message::Binary(bytes))) => said.push(format!("binary {}", short(&bytes))),
            Ok(Some(Message::Ping(bytes))) => said.push(format!("ping {}", short(&bytes))),
            Ok(Some(Message::Pong(bytes))) => said.push(format!("pong {}", short(&bytes))),
            Ok(Some(Message::Close(close))) => {
                let code = close.code.map_or_else(|| "none".to_owned(), |code| code.0.to_string());
                said.push(format!("close {code} {}", close.reason()));
            }
            Ok(None) => break,
            Err(breach) => {
                assert_eq!(decoder.decode(&mut input), Err(breach), "a broken connection stays broken");
                assert_eq!(decoder.held(), 0, "a broken connection holds nothing");
                said.push(format!("breach {}: {}", breach.code().0, breach.reason()));
                break;
            }
        }
    }
    said.iter().map(|said| said.trim_end()).collect::<Vec<_>>().join("; ")
}

const SMALL: Limits = Limits { max_frame: 200, max_message: 300 };
const WIDE: Limits = Limits { max_frame: 100_000, max_message: 200_000 };

fn check(table: &[(&str, Vec<u8>, Limits, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(name, input, limits, expected)| (name, expected, outcome(Role::Server, input, *limits)))
        .filter(|(_, expected, found)| *expected != found)
        .map(|(name, expected, found)| format!("{name}:\n  expected {expected}\n  found    {found}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn messages_and_fragments_are_put_together() {
    let c = client;
    check(&[
        ("nothing", vec![], SMALL, ""),
        ("RFC example", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec(), SMALL, "text Hello"),
        ("empty text", c(0x81, b""), SMALL, "text"),
        ("empty binary", c(0x82, b""), SMALL, "binary"),
        ("binary that is not UTF-8", c(0x82, b"\xff\xfe"), SMALL, "binary \u{fffd}\u{fffd}"),
        ("two messages", all(&[c(0x81, b"a"), c(0x82, b"b")]), SMALL, "text a; binary b"),
        ("length 125", c(0x82, &[0; 125]), SMALL, "binary 125 bytes"),
        ("length 126", c(0x82, &[0; 126]), SMALL, "binary 126 bytes"),
        ("length 65535", c(0x82, &[0; 65_535]), WIDE, "binary 65535 bytes"),
        ("length 65536", c(0x82, &[0; 65_536]), WIDE, "binary 65536 bytes"),
        ("half a header", c(0x81, b"abc")[..1].to_vec(), SMALL, ""),
        ("half a mask", c(0x81, b"abc")[..4].to_vec(), SMALL, ""),
        ("half a payload", c(0x81, b"abc")[..8].to_vec(), SMALL, ""),
        ("two fragments", all(&[c(0x01, b"Hel"), c(0x80, b"lo")]), SMALL, "text Hello"),
        ("three fragments", all(&[c(0x02, b"1"), c(0x00, b"2"), c(0x80, b"3")]), SMALL, "binary 123"),
        ("empty fragments", all(&[c(0x01, b""), c(0x00, b""), c(0x80, b"")]), SMALL, "text"),
        ("an empty end", all(&[c(0x01, b"all"), c(0x80, b"")]), SMALL, "text all"),
        ("an unfinished message", all(&[c(0x01, b"Hel"), c(0x00, b"lo")]), SMALL, ""),
        ("ping in the midst", all(&[c(0x01, b"a"), c(0x89, b"?"), c(0x80, b"b")]), SMALL, "ping ?; text ab"),
        ("pong in the midst", all(&[c(0x01, b"a"), c(0x8a, b"!"), c(0x80, b"b")]), SMALL, "pong !; text ab"),
        (
            "a ping in each gap",
            all(&[c(0x01, b"a"), c(0x89, b"1"), c(0x00, b"b"), c(0x89, b"2"), c(0x80, b"c")]),
            SMALL,
            "ping 1; ping 2; text abc",
        ),
        ("a message after fragments", all(&[c(0x01, b"a"), c(0x80, b"b"), c(0x81, b"c")]), SMALL, "text ab; text c"),
        ("close in the midst ends it", all(&[c(0x01, b"a"), c(0x88, b"\x03\xe8"), c(0x80, b"b")]), SMALL, "close 1000"),
    ]);
}

#[test]
fn control_frames_keep_their_rules() {
    let c = client;
    let long = "a control frame is longer than 125 bytes";
    check(&[
        ("empty ping", c(0x89, b""), SMALL, "ping"),
        ("empty pong", c(0x8a, b""), SMALL, "pong"),
        ("binary ping", c(0x89, b"\x00\xff"), SMALL, "ping \0\u{fffd}"),
        ("ping of 125", c(0x89, &[b'x'; 125]), SMALL, "ping 125 bytes"),
        ("ping of 126", c(0x89, &[b'x'; 126]), SMALL, &format!("breach 1002: {long}")),
        ("pong of 126", c(0x8a, &[b'x'; 126]), SMALL, &format!("breach 1002: {long}")),
        ("close of 126", c(0x88, &[b'x'; 126]), SMALL, &format!("breach 1002: {long}")),
        ("fragmented ping", c(0x09, b""), SMALL, "breach 1002: a control frame is fragmented"),
        ("fragmented pong", c(0x0a, b""), SMALL, "breach 1002: a control frame is fragmented"),
        ("fragmented close", c(0x08, b""), SMALL, "breach 1002: a control frame is fragmented"),
        (
            "a ping larger than a tiny max_frame",
            c(0x89, &[b'x'; 125]),
            Limits { max_frame: 8, max_message: 8 },
            "ping 125 bytes",
        ),
        ("ten pings", c(0x89, b"x").repeat(10), SMALL, ["ping x"; 10].join("; ").as_str()),
    ]);
}

#[test]
fn opcodes_bits_masks_and_lengths_keep_their_rules() {
    let c = client;
    let reserved = "breach 1002: a reserved bit is set and no extension was agreed";
    let opcode = "breach 1002: a reserved opcode";
    let wide = "breach 1002: a length takes more bytes than it needs";
    let length = |bytes: &[u8]| [&[0x82], bytes, &[0; 4]].concat();
    check(&[
        ("RSV1", c(0xc1, b"a"), SMALL, reserved),
        ("RSV2", c(0xa1, b"a"), SMALL, reserved),
        ("RSV3", c(0x91, b"a"), SMALL, reserved),
        ("RSV on a ping", c(0xc9, b"a"), SMALL, reserved),
        ("RSV on a continuation", all(&[c(0x01, b"a"), c(0xc0, b"b")]), SMALL, reserved),
        ("RSV after a good message", all(&[c(0x81, b"a"), c(0xf1, b"b")]), SMALL, &format!("text a; {reserved}")),
        ("opcode 3", c(0x83, b""), SMALL, opcode),
        ("opcode 4", c(0x84, b""), SMALL, opcode),
        ("opcode 7", c(0x87, b"a"), SMALL, opcode),
        ("opcode 11", c(0x8b, b""), SMALL, opcode),
        ("opcode 15", c(0x8f, b"a"), SMALL, opcode),
        ("only the first byte of a reserved opcode", vec![0x83], SMALL, opcode),
        ("continuation of nothing", c(0x80, b"a"), SMALL, "breach 1002: a continuation without a message to continue"),
        (
            "continuation after the end",
            all(&[c(0x81, b"a"), c(0x80, b"b")]),
            SMALL,
            "text a; breach 1002: a continuation without a message to continue",
        ),
        (
            "text within text",
            all(&[c(0x01, b"a"), c(0x81, b"b")]),
            SMALL,
            "breach 1002: a new message before the last one ended",
        ),
        (
            "binary within text",
            all(&[c(0x01, b"a"), c(0x02, b"b")]),
            SMALL,
            "breach 1002: a new message before the last one ended",
        ),
        ("no mask", b"\x81\x05Hello".to_vec(), SMALL, "breach 1002: a client's frame is not masked"),
        ("no mask on a ping", b"\x89\x00".to_vec(), SMALL, "breach 1002: a client's frame is not masked"),
        ("a mask of zeros is a mask", b"\x81\x81\0\0\0\0a".to_vec(), SMALL, "text a"),
        ("16 bits for 125", length(&[0xfe, 0, 125]), SMALL, wide),
        ("16 bits for 0", length(&[0xfe, 0, 0]), SMALL, wide),
        ("64 bits for 65535", length(&[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), WIDE, wide),
        ("64 bits for 5", length(&[0xff, 0, 0, 0, 0, 0, 0, 0, 5]), WIDE, wide),
        (
            "the highest bit of 64",
            length(&[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            WIDE,
            "breach 1002: a length has its highest bit set",
        ),
    ]);
}

#[test]
fn sizes_beyond_the_limits_are_refused_before_they_are_kept() {
    let c = client;
    let big = "breach 1009: the message is larger than this endpoint takes";
    let claim = |bytes: &[u8]| [&[0x82], bytes, &[0; 4]].concat();
    check(&[
        ("a frame at the limit", c(0x82, &[0; 200]), SMALL, "binary 200 bytes"),
        ("a frame beyond it", c(0x82, &[0; 201]), SMALL, big),
        ("only its header", c(0x82, &[0; 201])[..8].to_vec(), SMALL, big),
        ("the largest length there is", claim(&[0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255]), WIDE, big),
        ("a message at the limit", all(&[c(0x02, &[0; 200]), c(0x80, &[0; 100])]), SMALL, "binary 300 bytes"),
        ("a message beyond it", all(&[c(0x02, &[0; 200]), c(0x80, &[0; 101])]), SMALL, big),
        (
            "many small fragments beyond it",
            all(&[c(0x02, &[0; 100]), c(0, &[0; 100]), c(0, &[0; 100]), c(0x80, b"x")]),
            SMALL,
            big,
        ),
        (
            "the count starts anew with each message",
            all(&[c(0x82, &[0; 200]), c(0x82, &[0; 200])]),
            SMALL,
            "binary 200 bytes; binary 200 bytes",
        ),
    ]);
}

#[test]
fn text_is_judged_at_every_border() {
    let c = client;
    let bad = "breach 1007: text is not valid UTF-8";
    check(&[
        ("kosme", c(0x81, "κόσμε".as_bytes()), SMALL, "text κόσμε"),
        (
            "each byte of kosme a fragment",
            "κόσμε"
                .bytes()
                .enumerate()
                .flat_map(|(at, byte)| c(u8::from(at == 0), &[byte]))
                .chain(c(0x80, b""))
                .collect(),
            SMALL,
            "text κόσμε",
        ),
        ("four bytes cut in two", all(&[c(0x01, b"\xf0\x9f"), c(0x80, b"\x98\x80")]), SMALL, "text 😀"),
        ("a ping inside a character", all(&[c(0x01, b"\xc3"), c(0x89, b""), c(0x80, b"\xa4")]), SMALL, "ping; text ä"),
        ("the last scalar", c(0x81, "\u{10ffff}".as_bytes()), SMALL, "text \u{10ffff}"),
        ("a NUL", c(0x81, b"\0"), SMALL, "text \0"),
        ("a noncharacter is text", c(0x81, "\u{ffff}".as_bytes()), SMALL, "text \u{ffff}"),
        ("a lone continuation byte", c(0x81, b"\x80"), SMALL, bad),
        ("a wrong second byte", c(0x81, b"\xc3\x28"), SMALL, bad),
        ("an overlong slash", c(0x81, b"\xc0\xaf"), SMALL, bad),
        ("an overlong NUL of three", c(0x81, b"\xe0\x80\x80"), SMALL, bad),
        ("a surrogate", c(0x81, b"\xed\xa0\x80"), SMALL, bad),
        ("beyond U+10FFFF", c(0x81, b"\xf4\x90\x80\x80"), SMALL, bad),
        ("five bytes", c(0x81, b"\xf8\x88\x80\x80\x80"), SMALL, bad),
        ("FF", c(0x81, b"\xff"), SMALL, bad),
        ("a character cut by the end", c(0x81, b"\xce"), SMALL, bad),
        ("cut by the end of the last fragment", all(&[c(0x01, b"a"), c(0x80, b"\xe2\x82")]), SMALL, bad),
        ("found in the first fragment, before the end", c(0x01, b"\xf4\x90"), SMALL, bad),
        ("found in a frame that has not ended", c(0x81, b"ab\xffcdefgh")[..9].to_vec(), SMALL, bad),
        ("the state starts anew", all(&[c(0x81, b"ok"), c(0x81, b"\xa4")]), SMALL, &format!("text ok; {bad}")),
    ]);
}

#[test]
fn close_codes_and_reasons_keep_their_rules() {
    let close = |code: u16, reason: &[u8]| client(0x88, &[&code.to_be_bytes()[..], reason].concat());
    let bad = "breach 1002: a close code that may not be sent";
    let mut table = vec![
        ("no payload", client(0x88, b""), SMALL, "close none".to_owned()),
        ("half a code", client(0x88, b"\x03"), SMALL, "breach 1002: a close frame holds half a code".to_owned()),
        ("a reason", close(1000, b"bye"), SMALL, "close 1000 bye".to_owned()),
        ("a reason of 123", close(1000, &[b'x'; 123]), SMALL, format!("close 1000 {}", "x".repeat(123))),
        (
            "a reason that is not UTF-8",
            close(1000, b"\xc3\x28"),
            SMALL,
            "breach 1007: text is not valid UTF-8".to_owned(),
        ),
        ("a reason cut in a character", close(1000, b"\xc3"), SMALL, "breach 1007: text is not valid UTF-8".to_owned()),
        ("what follows is thrown away", [close(1001, b""), vec![0xff; 40]].concat(), SMALL, "close 1001".to_owned()),
    ];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999] {
        table.push(("a code that may be sent", close(code, b""), SMALL, format!("close {code}")));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        table.push(("a code that may not", close(code, b""), SMALL, bad.to_owned()));
    }
    let table: Vec<_> =
        table.iter().map(|(name, input, limits, said)| (*name, input.clone(), *limits, said.as_str())).collect();
    check(&table);
}

#[test]
fn a_client_reads_unmasked_frames_and_refuses_masked_ones() {
    assert_eq!(outcome(Role::Client, b"\x81\x05Hello\x88\x02\x03\xe8", SMALL), "text Hello; close 1000");
    assert_eq!(outcome(Role::Client, &client(0x81, b"a"), SMALL), "breach 1002: a server's frame is masked");
}
