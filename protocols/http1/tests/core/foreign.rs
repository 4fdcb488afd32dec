//! Whatever the core takes, two parsers of others read alike: h11 (Python) and llhttp (Node). Where they could read one message
//! in two ways, a request could be smuggled past one of them.
//!
//! Both are asked in one go: a script reads lines, one message each, and answers each with a line of what it read, event by
//! event: `request METHOD TARGET VERSION`, `response STATUS VERSION`, `field NAME VALUE`, `data BYTES`, `trailer NAME VALUE`, `end`,
//! `tunnel BYTES`, and `refused` or `unread` where it stopped; all texts in hexadecimal digits.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use portolan_exchange::{Fields, Version};
use portolan_http1::{Asked, Event, Rules};

use crate::generator;
use crate::table::{Case, End, Sender, cases};
use crate::told::escaped;

/// How long a script may take for its next answer, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A parser of others.
struct Parser {
    name: &'static str,
    /// How it stops where the core goes on, and why it may: it is then held to what it read before. What no message shows any more
    /// is to be taken out.
    stops: &'static [(&'static str, &'static str)],
}

const LLHTTP: Parser = Parser {
    name: "llhttp",
    stops: &[
        ("refused HPE_INVALID_METHOD", "it knows a list of methods and no others"),
        ("refused HPE_CLOSED_CONNECTION", "it takes nothing behind a message that was the last on its connection"),
        ("unread", "it leaves to others what stands behind the head of an upgrade"),
    ],
};

const H11: Parser =
    Parser { name: "h11", stops: &[("refused no request line received", "it takes no empty line before a request")] };

#[test]
fn h11_reads_alike_whatever_the_core_takes() {
    #[expect(clippy::disallowed_methods, reason = "the test command says where its foreign parts are")]
    let python = std::env::var("PORTOLAN_TEST_PYTHON")
        .expect("PORTOLAN_TEST_PYTHON is not set; `scripts/test` installs what the tests need and sets it");
    check(H11, Command::new(python).arg(script("h11_reader.py")));
}

#[test]
fn llhttp_reads_alike_whatever_the_core_takes() {
    check(LLHTTP, Command::new("node").arg("--no-deprecation").arg(script("llhttp_reader.js")));
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/foreign").join(name)
}

fn check(parser: Parser, command: &mut Command) {
    let taken: Vec<(Case, Vec<Event>)> = messages()
        .map(|case| (case.events([case.bytes.as_slice()]), case))
        .filter(|(events, case)| is_complete(events) && !has_more(case))
        .map(|(events, case)| (case, events))
        .collect();
    assert!(taken.len() > 6_000, "{} messages are taken", taken.len());
    let answers = ask(command, taken.iter().map(|(case, _)| question(case)).collect());
    let (mut wrong, mut seen) = (Vec::new(), Vec::new());
    for ((case, events), answer) in taken.iter().zip(answers) {
        let ours = lines(events);
        let theirs = normal(&answer);
        if theirs == ours {
            continue;
        }
        let stop = theirs.last().and_then(|last| parser.stops.iter().find(|(stop, _)| last.starts_with(stop)));
        if let Some(stop) = stop
            && is_beginning(&theirs, &ours)
        {
            seen.push(stop);
            continue;
        }
        let bytes = escaped(&case.bytes);
        wrong.push(format!("{}\n  {bytes}\n  ours   {ours:?}\n  theirs {theirs:?}", case.name));
    }
    let few: Vec<_> = wrong.iter().take(10).cloned().collect();
    assert!(
        wrong.is_empty(),
        "{} reads {} of {} otherwise:\n{}",
        parser.name,
        wrong.len(),
        taken.len(),
        few.join("\n")
    );
    for stop in parser.stops {
        assert!(seen.contains(&stop), "no message shows that {} stops: {}", parser.name, stop.1);
    }
}

/// The table and what fuzzing keeps, what small changes make of them, and what the generator makes of a fixed seed.
fn messages() -> impl Iterator<Item = Case> {
    let known: Vec<_> = cases().into_iter().chain(kept()).collect();
    let changed: Vec<_> = generator::changes(&known, 40_000).collect();
    known.into_iter().chain(changed).chain(generator::cases(8_000))
}

/// What fuzzing keeps, in the words of its targets: the first byte says what was asked, the second how it is cut.
fn kept() -> impl Iterator<Item = Case> {
    let of = |target, sender: fn(u8) -> Sender| {
        kept_files(target).into_iter().filter_map(move |file| {
            let bytes = fs::read(&file).unwrap();
            let [mode, _, rest @ ..] = bytes.as_slice() else { return None };
            let (name, bytes) = (file.display().to_string(), rest.to_vec());
            Some(Case { name, sender: sender(*mode), bytes, end: End::Open, expected: Vec::new() })
        })
    };
    let asked = |mode: u8| {
        let asked =
            |number| Asked { head: mode & 2 != 0 && number % 2 == 0, upgrade: mode & 4 != 0 && number % 2 == 1 };
        Sender::Server((0..8).map(asked).collect())
    };
    of("http1-requests", |_| Sender::Client(Rules::default())).chain(of("http1-responses", asked))
}

fn kept_files(target: &str) -> Vec<PathBuf> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let folders = ["corpus", "regressions"].map(|folder| fuzz.join(folder).join(target));
    let mut files: Vec<_> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "the seeds of {target} have moved");
    files
}

/// Whether all was taken, up to the end of a message.
fn is_complete(events: &[Event]) -> bool {
    !events.iter().any(|event| matches!(event, Event::Refused(_)))
        && match events.last() {
            Some(Event::End | Event::Tunnel(_)) => true,
            Some(Event::Response(head)) => head.status == 101,
            _ => false,
        }
}

/// Whether something was begun behind the last message: an empty line that could still become one.
fn has_more(case: &Case) -> bool {
    let mut messages = case.sender.messages();
    messages.feed(&case.bytes);
    matches!(messages.close().last(), Some(Event::Refused(_)))
}

fn question(case: &Case) -> String {
    let closed = if case.end == End::Closed { " closed" } else { "" };
    match &case.sender {
        Sender::Client(_) => format!("client {}{closed}", hex(&case.bytes)),
        Sender::Server(asked) => {
            let words: Vec<_> = asked
                .iter()
                .map(|asked| match asked {
                    Asked { head: true, .. } => "head",
                    Asked { upgrade: true, .. } => "upgrade",
                    _ => "get",
                })
                .collect();
            format!("server {} {}{closed}", words.join(","), hex(&case.bytes))
        }
    }
}

/// Asks all in one go; one answer for each.
fn ask(command: &mut Command, questions: Vec<String>) -> Vec<String> {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`scripts/install test` installs what the tests need");
    let (mut input, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
    let count = questions.len();
    let writer = thread::spawn(move || input.write_all((questions.join("\n") + "\n").as_bytes()));
    let (tell, told) = channel();
    let reader = thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).all(|line| tell.send(line).is_ok());
    });
    let answers: Vec<String> = (0..count).map_while(|_| told.recv_timeout(PATIENCE).ok()).collect();
    if answers.len() < count {
        let _ = process.kill();
    }
    let status = process.wait().unwrap();
    assert!(status.success(), "{status} after {} of {count} answers", answers.len());
    writer.join().unwrap().unwrap();
    reader.join().unwrap();
    answers
}

fn lines(events: &[Event]) -> Vec<String> {
    let mut all = Vec::new();
    for event in events {
        match event {
            Event::Request(head) => {
                let (method, target) = (hex(head.method.as_str().as_bytes()), hex(head.target.as_str().as_bytes()));
                all.push(format!("request {method} {target} {}", version(head.version)));
                all.extend(field_lines("field", &head.fields));
            }
            Event::Response(head) => {
                all.push(format!("response {} {}", head.status, version(head.version)));
                all.extend(field_lines("field", &head.fields));
            }
            Event::Data(bytes) => push_bytes(&mut all, "data", &hex(bytes)),
            Event::Tunnel(bytes) => push_bytes(&mut all, "tunnel", &hex(bytes)),
            Event::Trailers(fields) => all.extend(field_lines("trailer", fields)),
            Event::End => all.push("end".into()),
            Event::Refused(refusal) => all.push(format!("refused {refusal:?}")),
        }
    }
    all
}

/// Bytes in several pieces are one line.
fn push_bytes(lines: &mut Vec<String>, word: &str, digits: &str) {
    match lines.last_mut() {
        Some(last) if last.starts_with(word) => last.push_str(digits),
        _ => lines.push(format!("{word} {digits}")),
    }
}

fn field_lines(word: &str, fields: &Fields) -> Vec<String> {
    fields.iter().map(|(name, value)| field_line(word, name, value)).collect()
}

/// A name without its case; the coding too, which h11 gives in lower case.
fn field_line(word: &str, name: &[u8], value: &[u8]) -> String {
    let name = name.to_ascii_lowercase();
    let value = if name == b"transfer-encoding" { value.to_ascii_lowercase() } else { value.to_vec() };
    format!("{word} {} {}", hex(&name), hex(&value))
}

/// An answer in the form of our own lines.
fn normal(answer: &str) -> Vec<String> {
    let mut all = Vec::new();
    for line in answer.split('\t').filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["data" | "tunnel", digits] => push_bytes(&mut all, words[0], digits),
            ["field" | "trailer", name, value] => all.push(field_line(words[0], &unhex(name), &unhex(value))),
            ["request", method, target, version] => {
                let target = reduced(&unhex(target), &unhex(method));
                all.push(format!("request {method} {} {version}", hex(&target)));
            }
            _ => all.push(line.to_owned()),
        }
    }
    all
}

/// An absolute target as path and query, which only we make of it.
fn reduced(target: &[u8], method: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(target.to_vec()).unwrap();
    let Some((scheme, rest)) = text.split_once("://") else { return target.to_vec() };
    if scheme.starts_with('/') {
        return target.to_vec();
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match &rest[end..] {
        "" if method == b"OPTIONS" => b"*".to_vec(),
        path if path.starts_with('/') => path.as_bytes().to_vec(),
        query => [b"/", query.as_bytes()].concat(),
    }
}

/// Whether they stopped within what we read, having read the same until there.
fn is_beginning(theirs: &[String], ours: &[String]) -> bool {
    let Some((_, before)) = theirs.split_last() else { return false };
    let alike = |(their, our): (&String, &String)| {
        their == our || (their.starts_with("data ") && our.starts_with(their.as_str()))
    };
    before.len() <= ours.len() && before.iter().zip(ours).all(alike)
}

fn version(version: Version) -> &'static str {
    if version == Version::Http10 { "1.0" } else { "1.1" }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
