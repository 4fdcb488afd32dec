//! What stands at the beginning of a WebSocket: the opening request, then frames.

use portolan_websocket::frame::{self, Opcode};
use portolan_websocket::handshake;
use portolan_websocket::{Breach, Decoder, Limits, Message, Role};

use crate::signature::Signature;
use crate::target::Target;

use super::linear;

/// The first byte chooses role and limits, the second how the bytes are cut. Then follow frames: raw, or as scripts
/// that [`scripted`] makes frames of, so that mutations do not always break the framing.
pub(super) const FRAMES: Target = Target {
    name: "websocket-frames",
    about: "the decoder: any cut gives the same outcome, memory stays bounded, what was read can be written and read again",
    run: frames,
    words: &["\u{1}", "\u{2}", "\u{8}", "\u{9}", "\u{81}", "ä", "€", "😀"],
    seeds: &[],
    // Beyond the largest frame that is usually taken.
    longest: 80 * 1024,
    // Each message of a few bytes stands in buffers of its own.
    memory: linear(512),
};

/// What came of a stream: its messages, and the breach that ended it.
type Outcome = (Vec<Message>, Option<Breach>);

fn frames(input: &[u8]) -> Signature {
    let [mode, cut, rest @ ..] = input else { return Signature::of("nothing") };
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let limits = match mode >> 2 & 3 {
        0 => Limits { max_frame: 400, max_message: 700 },
        1 => Limits { max_frame: 700, max_message: 400 },
        2 => Limits { max_frame: 0, max_message: 0 },
        _ => Limits::default(),
    };
    let stream = if mode & 2 == 0 { rest.to_vec() } else { scripted(rest, role) };

    let whole = feed(role, limits, [stream.as_slice()]);
    assert_eq!(feed(role, limits, stream.chunks(usize::from(*cut).max(1))), whole, "a cut changed the outcome");
    if stream.len() < 1024 {
        assert_eq!(feed(role, limits, stream.chunks(1)), whole, "byte by byte the outcome is another");
    }
    let (messages, breach) = whole;
    check_messages(&messages, limits, stream.len());
    let again = feed(role, limits, [written(&messages, role).as_slice()]);
    // What came in fragments may be longer than one frame may be.
    if limits.max_message <= limits.max_frame {
        assert_eq!(again, (messages.clone(), None), "what was read cannot be read again");
    }

    let signature = Signature::of(if breach.is_some() { "breach" } else { "open" }).size("messages", messages.len());
    let signature = match breach {
        Some(breach) => signature.told(breach.reason()),
        None => signature,
    };
    messages.iter().fold(signature, |signature, message| signature.told(kind(message)))
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Text(_) => "text",
        Message::Binary(_) => "binary",
        Message::Ping(_) => "ping",
        Message::Pong(_) => "pong",
        Message::Close(_) => "close",
    }
}

/// Feeds the pieces one after the other, checking after each what must always hold.
fn feed<'a>(role: Role, limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut decoder, mut messages) = (Decoder::new(role, limits), Vec::new());
    for mut piece in pieces {
        loop {
            match decoder.decode(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(breach) => {
                    assert_eq!(decoder.decode(&mut piece), Err(breach), "a broken connection mended itself");
                    return (messages, Some(breach));
                }
            }
        }
        assert!(piece.is_empty(), "{} bytes were not taken", piece.len());
        // A vector may grow to twice what it holds, and its first growth takes eight bytes.
        let most = 2 * (limits.max_message + frame::CONTROL_MAX) + 16;
        assert!(decoder.held() <= most, "{} bytes are held", decoder.held());
    }
    (messages, None)
}

fn check_messages(messages: &[Message], limits: Limits, length: usize) {
    let mut bytes = 0;
    for (at, message) in messages.iter().enumerate() {
        match message {
            Message::Text(text) => {
                assert!(std::str::from_utf8(text).is_ok(), "text that is not UTF-8 was let through");
                assert!(text.len() <= limits.max_message);
                bytes += text.len();
            }
            Message::Binary(data) => {
                assert!(data.len() <= limits.max_message);
                bytes += data.len();
            }
            Message::Ping(data) | Message::Pong(data) => {
                assert!(data.len() <= frame::CONTROL_MAX);
                bytes += data.len();
            }
            Message::Close(close) => {
                assert_eq!(at + 1, messages.len(), "something follows a close frame");
                assert!(close.code.is_none_or(portolan_websocket::Code::may_be_sent));
                assert!(close.reason().len() <= frame::CONTROL_MAX - 2);
                bytes += close.reason.len();
            }
        }
    }
    assert!(bytes <= length, "{bytes} bytes came out of {length}");
}

/// The messages as the peer would have sent them in whole frames.
fn written(messages: &[Message], role: Role) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        match message {
            Message::Text(text) => put(&mut out, role, Opcode::Text, text),
            Message::Binary(data) => put(&mut out, role, Opcode::Binary, data),
            Message::Ping(data) => put(&mut out, role, Opcode::Ping, data),
            Message::Pong(data) => put(&mut out, role, Opcode::Pong, data),
            Message::Close(close) => {
                let payload = close.code.map(|code| frame::close_payload(code, close.reason())).unwrap_or_default();
                put(&mut out, role, Opcode::Close, &payload);
            }
        }
    }
    out
}

fn put(out: &mut Vec<u8>, role: Role, opcode: Opcode, payload: &[u8]) {
    out.extend_from_slice(&match role {
        Role::Server => frame::masked(opcode, payload, [0x5a, 0, 0xff, 7]),
        Role::Client => frame::unmasked(opcode, payload),
    });
}

/// Makes frames of lines: the first byte of each is that of its frame, the rest its payload.
fn scripted(script: &[u8], role: Role) -> Vec<u8> {
    let mut out = Vec::new();
    for line in script.split(|byte| *byte == b'\n') {
        let [start, payload @ ..] = line else { continue };
        let at = out.len();
        put(&mut out, role, Opcode::Text, payload);
        out[at] = *start;
    }
    out
}

/// Lines of `name: value`, after a line with the method.
pub(super) const HANDSHAKE: Target = Target {
    name: "websocket-handshake",
    about: "the opening request: what is accepted has a key of sixteen bytes and distinct tokens as sub-protocols",
    run: handshake_of,
    words: &["upgrade", "websocket", "13", "keep-alive, Upgrade", "dGhlIHNhbXBsZSBub25jZQ=="],
    seeds: &[],
    longest: 16 * 1024,
    memory: linear(256),
};

fn handshake_of(input: &[u8]) -> Signature {
    let mut lines = input.split(|byte| *byte == b'\n');
    let method = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let fields: Vec<(Vec<u8>, &[u8])> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line[..colon].to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
        })
        .collect();
    let values = |name: &'static str| {
        let of_name = |(known, _): &&(Vec<u8>, &[u8])| known == name.as_bytes();
        fields.iter().filter(of_name).map(|(_, value)| *value).collect::<Vec<_>>().into_iter()
    };
    let opening = match handshake::check(&method, values) {
        Ok(opening) => opening,
        Err(refusal) => {
            assert!((400..500).contains(&refusal.status()));
            return Signature::of("refused").told(refusal.reason());
        }
    };
    assert!(handshake::is_upgrade(values), "a request that does not ask for a WebSocket was accepted");
    let key = values("sec-websocket-key").next().expect("an accepted request has a key");
    assert_eq!(opening.accept, handshake::accept_key(key));
    assert_eq!((key.len(), opening.accept.len()), (24, 28));
    for (at, offered) in opening.offered.iter().enumerate() {
        assert!(!opening.offered[..at].contains(offered), "a sub-protocol is offered twice");
        assert!(!offered.is_empty() && offered.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
        assert_eq!(opening.choose(&[offered.as_str()]), Some(offered.as_str()));
    }
    Signature::of("accepted").size("offered", opening.offered.len())
}
