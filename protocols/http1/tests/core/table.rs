//! Reads the table of messages in `cases/`. An entry is a few lines, and an empty line ends it:
//!
//! ```text
//! what this is
//! ? get head         the requests that were sent, for what a server answers: get, head or upgrade; or `trace`, for
//!                    requests where TRACE is allowed
//! > GET / HTTP/1.1\r\nHost: a\r\n\r\n<close>
//! = GET / HTTP/1.1 of a, None, KeepAlive [Host: a]
//! = end
//! ```
//!
//! Two lines stand for two messages each, a request and a response: what is behind `+` follows a head in chunks, what is behind
//! `*` follows a first line and one field. `\r`, `\n`, `\t`, `\\` and `\xHH` stand for bytes, `<<text*9>>` for a text nine times,
//! `<close>` for the end of the connection. What comes of it is written as in `told.rs`; the status behind what is refused
//! answers a request alone.

use std::fs;
use std::path::Path;

use portolan_http1::{Asked, Event, Limits, Messages, Rules, Trace};

use crate::told::told;

/// An entry of the table.
pub struct Case {
    pub name: String,
    pub sender: Sender,
    pub bytes: Vec<u8>,
    pub end: End,
    /// What must come of it, line by line.
    pub expected: Vec<String>,
}

/// Who sends the bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Sender {
    Client(Rules),
    /// Was asked so.
    Server(Vec<Asked>),
}

/// What follows the bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    Open,
    Closed,
}

impl Sender {
    /// A reader of what it sends.
    pub fn messages(&self) -> Messages {
        match self {
            Self::Client(rules) => Messages::requests(Limits::default(), *rules),
            Self::Server(asked) => {
                let mut messages = Messages::responses(Limits::default());
                asked.iter().for_each(|asked| messages.ask(*asked));
                messages
            }
        }
    }
}

impl Case {
    /// What comes of the bytes when they arrive in these pieces.
    pub fn events<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
        let mut messages = self.sender.messages();
        let mut events: Vec<Event> = pieces.into_iter().flat_map(|piece| messages.feed(piece)).collect();
        if self.end == End::Closed {
            events.extend(messages.close());
        }
        events
    }

    /// The same, line by line.
    pub fn told<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        told(&self.events(pieces))
    }
}

/// All entries of all files.
pub fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| entries(file)).collect()
}

fn entries(file: &Path) -> Vec<Case> {
    let text = fs::read_to_string(file).unwrap();
    let file = file.file_stem().unwrap().to_string_lossy();
    text.split("\n\n")
        .map(|entry| entry.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>())
        .filter(|lines| !lines.is_empty())
        .flat_map(|lines| entry(&file, &lines))
        .collect()
}

/// What stands before the lines of `+` and `*`.
struct Before {
    /// Added to the name of an entry.
    side: &'static str,
    sender: fn() -> Sender,
    chunked: &'static [u8],
    chunked_told: &'static str,
    begun: &'static [u8],
}

const OF_A_REQUEST: Before = Before {
    side: "",
    sender: || Sender::Client(Rules::default()),
    chunked: b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    chunked_told: "POST / HTTP/1.1 of a, Chunked, KeepAlive [Host: a|Transfer-Encoding: chunked]",
    begun: b"POST / HTTP/1.1\r\nHost: a\r\n",
};

const OF_A_RESPONSE: Before = Before {
    side: ", in a response",
    sender: || Sender::Server(vec![Asked::default()]),
    chunked: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    chunked_told: "200 HTTP/1.1, Chunked, KeepAlive [Transfer-Encoding: chunked]",
    begun: b"HTTP/1.1 200 OK\r\nServer: a\r\n",
};

fn entry(file: &str, lines: &[&str]) -> Vec<Case> {
    if lines.iter().any(|line| line.starts_with(['+', '*'])) {
        return [OF_A_REQUEST, OF_A_RESPONSE].iter().map(|before| case(file, lines, before)).collect();
    }
    vec![case(file, lines, &OF_A_REQUEST)]
}

fn case(file: &str, lines: &[&str], before: &Before) -> Case {
    let mut case = Case {
        name: format!("{file}: {}{}", lines[0], before.side),
        sender: (before.sender)(),
        bytes: Vec::new(),
        end: End::Open,
        expected: Vec::new(),
    };
    for line in &lines[1..] {
        let (kind, rest) = line.split_at(1);
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "?" => case.sender = sender(rest),
            "=" => {
                let words: Vec<_> = rest.split(' ').collect();
                case.expected.push(match (&case.sender, words.as_slice()) {
                    // What a refused response is answered with is not decided by how it was refused.
                    (Sender::Server(_), ["refused", rule, ..]) => format!("refused {rule}"),
                    _ => repeated(rest),
                });
            }
            ">" | "+" | "*" => {
                match kind {
                    "+" => {
                        case.bytes.extend_from_slice(before.chunked);
                        case.expected.push(before.chunked_told.into());
                    }
                    "*" => case.bytes.extend_from_slice(before.begun),
                    _ => {}
                }
                let text = rest.strip_suffix("<close>");
                case.end = if text.is_some() { End::Closed } else { End::Open };
                case.bytes.extend(unescaped(&repeated(text.unwrap_or(rest))));
            }
            _ => panic!("{}: what is `{line}`?", case.name),
        }
    }
    assert!(!case.expected.is_empty(), "{}: nothing is expected", case.name);
    case
}

/// Whoever was asked so, or a client.
pub fn sender(words: &str) -> Sender {
    if words == "trace" {
        return Sender::Client(Rules { trace: Trace::Allow });
    }
    let asked = words.split_whitespace().map(|word| match word {
        "get" => Asked::default(),
        "head" => Asked { head: true, upgrade: false },
        "upgrade" => Asked { head: false, upgrade: true },
        _ => panic!("nobody asks `{word}`"),
    });
    Sender::Server(asked.collect())
}

fn repeated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("<<") else { return text.into() };
    let (within, after) = rest.split_once(">>").unwrap();
    let (repeated_text, times) = within.rsplit_once('*').unwrap();
    before.to_owned() + &repeated_text.repeat(times.parse().unwrap()) + &repeated(after)
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let (byte, length) = match (first, tail) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b't', ..]) => (b'\t', 1),
            (b'\\', [b'\\', ..]) => (b'\\', 1),
            (b'\\', [b'x', digits @ ..]) => {
                (u8::from_str_radix(std::str::from_utf8(&digits[..2]).unwrap(), 16).unwrap(), 3)
            }
            (b'\\', _) => panic!("no such escape in `{text}`"),
            (byte, _) => (*byte, 0),
        };
        bytes.push(byte);
        rest = &tail[length..];
    }
    bytes
}
