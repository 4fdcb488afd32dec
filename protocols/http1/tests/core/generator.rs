//! Makes messages, most of them well-formed and some with a byte changed, always the same ones from the same seed.

use portolan_http1::{Asked, Rules};

use crate::table::{Case, End, Sender};

/// So many cases: requests and responses in turn, one to three of them in each.
pub fn cases(count: u64) -> impl Iterator<Item = Case> {
    (0..count).map(|number| {
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        if number % 2 == 0 { requests(&mut random, number) } else { responses(&mut random, number) }
    })
}

/// What so many small changes make of these messages: bytes changed, added or taken out, and what one ends with behind what
/// another begins with.
pub fn changes(messages: &[Case], count: u64) -> impl Iterator<Item = Case> {
    // A long one is long for its own sake, and mostly stays as it is.
    let messages: Vec<_> = messages.iter().filter(|case| case.bytes.len() < 1_024).collect();
    (0..count).map(move |number| {
        let mut random = Random((number + 1).wrapping_mul(0xd134_2543_de82_ef95) | 1);
        let case = messages[random.below(messages.len())];
        let mut bytes = case.bytes.clone();
        if random.one_in(3) {
            let other = &messages[random.below(messages.len())].bytes;
            bytes.truncate(random.below(bytes.len() + 1));
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        for _ in 0..=random.below(2) {
            if !bytes.is_empty() {
                bytes = changed(&mut random, bytes);
            }
        }
        Case {
            name: format!("{}, changed ({number})", case.name),
            sender: case.sender.clone(),
            bytes,
            end: case.end,
            expected: Vec::new(),
        }
    })
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn text(&mut self, most: usize, bytes: &[u8]) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| bytes[self.below(bytes.len())]).collect()
    }
}

fn requests(random: &mut Random, number: u64) -> Case {
    let mut bytes = Vec::new();
    for _ in 0..=random.below(3) {
        if random.one_in(40) {
            bytes.extend_from_slice(b"\r\n");
        }
        request(random, &mut bytes);
    }
    case(number, Sender::Client(Rules::default()), changed(random, bytes), End::Open)
}

fn responses(random: &mut Random, number: u64) -> Case {
    let (mut bytes, mut asked, mut end) = (Vec::new(), Vec::new(), End::Open);
    for _ in 0..=random.below(3) {
        let what = match random.below(8) {
            0 => Asked { head: true, upgrade: false },
            1 => Asked { head: false, upgrade: true },
            _ => Asked::default(),
        };
        asked.push(what);
        end = response(random, &mut bytes, what);
        if end == End::Closed {
            break;
        }
    }
    case(number, Sender::Server(asked), changed(random, bytes), end)
}

fn case(number: u64, sender: Sender, bytes: Vec<u8>, end: End) -> Case {
    Case { name: format!("generated {number}"), sender, bytes, end, expected: Vec::new() }
}

const TARGETS: [&str; 14] = [
    "/",
    "/a/b?c=d",
    "//a",
    "/%2e%2e/",
    "/a;b=c",
    "/?",
    "/a?b?c",
    "/[a]",
    "/{a}|^`",
    "/\"<>\"",
    "/:@!$&'()*+,;=~",
    "http://a",
    "http://A/b",
    "https://a?b",
];

fn request(random: &mut Random, out: &mut Vec<u8>) {
    let old = random.one_in(10);
    let method = if random.one_in(30) {
        "PURGE-ALL"
    } else {
        random.of(&["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"])
    };
    let target = random.of(&TARGETS);
    line(out, &[method, " ", target, if old { " HTTP/1.0" } else { " HTTP/1.1" }]);
    fields(random, out);
    line(out, &[random.of(&["Host", "host", "HOST"]), random.of(&[": a", ":a", ":\ta ", ": A"])]);
    if random.one_in(12) {
        line(out, &["Connection: ", random.of(&["close", "keep-alive", "x, Close", "upgrade", ",x,"])]);
    }
    if random.one_in(20) {
        line(out, &["Upgrade: ", random.of(&["websocket", "h2c, a/1"])]);
    }
    if random.one_in(20) {
        line(out, &["Expect: 100-continue"]);
    }
    fields(random, out);
    content(random, out, old);
}

fn response(random: &mut Random, out: &mut Vec<u8>, asked: Asked) -> End {
    while random.one_in(6) {
        line(out, &["HTTP/1.1 ", random.of(&["100 Continue", "103 Early Hints", "102"])]);
        fields(random, out);
        line(out, &[]);
    }
    if asked.upgrade && random.one_in(2) {
        line(out, &["HTTP/1.1 101 Switching Protocols"]);
        line(out, &["Connection: upgrade"]);
        line(out, &["Upgrade: x"]);
        line(out, &[]);
        out.extend(random.text(20, b"a\r\n\0"));
        return End::Closed;
    }
    let old = random.one_in(10);
    let status = random.of(&[
        "200 OK",
        "200",
        "200 ",
        "404 Not Found",
        "204 No Content",
        "304 Not Modified",
        "500 \u{e9}\t!",
        "599 x",
    ]);
    line(out, &[if old { "HTTP/1.0 " } else { "HTTP/1.1 " }, status]);
    fields(random, out);
    if random.one_in(12) {
        line(out, &["Connection: ", random.of(&["close", "keep-alive", "x, Close", ",x,"])]);
    }
    if status.starts_with("204") {
        line(out, &[]);
        return End::Open;
    }
    if asked.head || status.starts_with("304") {
        if random.one_in(2) {
            line(out, &[random.of(&["Content-Length: 5", "Transfer-Encoding: chunked"])]);
        }
        line(out, &[]);
        return End::Open;
    }
    if random.one_in(4) {
        line(out, &[]);
        out.extend(random.text(30, b"abc\r\n\0\xff"));
        return End::Closed;
    }
    content(random, out, old);
    End::Open
}

const NAME: &[u8] = b"aZ09!#$%&'*+-.^_`|~";
const VALUE: &[u8] = b"aZ09 \t!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\x80\xa0\xff";

fn fields(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        // A prefix that no field with a meaning has.
        out.extend_from_slice(b"x-");
        out.extend(random.text(8, NAME));
        out.extend_from_slice(random.of(&[":", ": ", ":  ", ":\t"]).as_bytes());
        out.extend(random.text(30, VALUE));
        out.extend_from_slice(random.of(&["", "", " ", "\t "]).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn content(random: &mut Random, out: &mut Vec<u8>, old: bool) {
    let data = random.text(40, b"abc\r\n0\0\xff");
    match random.below(3) {
        0 => {
            let length = data.len();
            let written = if random.one_in(4) { format!("{length:05}") } else { length.to_string() };
            line(
                out,
                &[
                    random.of(&["Content-Length: ", "content-length:  "]),
                    &written,
                    random.of(&["", "", "", " ", " ", "\t"]),
                ],
            );
            line(out, &[]);
            out.extend(data);
        }
        1 if !old => {
            line(
                out,
                &[
                    "Transfer-Encoding:",
                    random.of(&[
                        "chunked",
                        " CHUNKED ",
                        "\tchunked",
                        " chunked\t",
                        " chunked",
                        " chunked",
                        " chunked",
                        "   chunked",
                    ]),
                ],
            );
            line(out, &[]);
            let pieces = 1 + random.below(20);
            for piece in data.chunks(pieces) {
                let length = piece.len();
                let size = if random.one_in(2) { format!("{length:x}") } else { format!("{length:04X}") };
                line(out, &[&size, random.of(&["", "", "", ";a", ";a=b", ";a=\"b c\";d=e", ";a=\"\\\"\""])]);
                out.extend_from_slice(piece);
                line(out, &[]);
            }
            line(out, &[random.of(&["0", "00", "0;a=b"])]);
            fields(random, out);
            line(out, &[]);
        }
        _ => line(out, &[]),
    }
}

fn line(out: &mut Vec<u8>, parts: &[&str]) {
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// Every other message has a byte changed, added or taken out: most are refused then, and those that are not are the point.
fn changed(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    const BYTES: &[u8] = b"\r\n\t :;,=\"\\0aA/?#%_-\0\x7f\x80";
    let at = random.below(bytes.len());
    let byte = BYTES[random.below(BYTES.len())];
    match random.below(6) {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => {
            bytes.remove(at);
        }
        _ => {}
    }
    bytes
}
