//! Reads the heads of requests (RFC 9112, section 3).

use portolan_exchange::{Fields, Method, Target, Version};

use crate::authority::is_authority;
use crate::facts::{Facts, Sender};
use crate::section::{Section, VERSION_LENGTH, field_bounds, line_bounds, version};
use crate::{Framing, Limits, Persistence, Refusal, Rules, Trace, scan};

/// The head of a request, as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestHead {
    /// What is to be done. Never CONNECT.
    pub method: Method,
    /// Path and query, or `*`; what came as an absolute URI is reduced to them.
    pub target: Target,
    /// The host asked for, as written, with its port where one was given; empty only in HTTP/1.0.
    pub authority: Box<str>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, those of one hop included.
    pub fields: Fields,
    /// How the end of the content is found. Never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client wants to use the connection again.
    pub persistence: Persistence,
    /// Whether the client waits for `100 (Continue)` before it sends the content. Not without content, and not in
    /// HTTP/1.0 (RFC 9110, section 10.1.1).
    pub expects_continue: bool,
    /// The protocols that the client would rather speak, in lower case: only where `Connection` asks for it too.
    pub upgrade: Option<Box<str>>,
}

/// Reads one head after another. It can stop at any byte and go on when more have come; it holds none of them.
#[derive(Debug)]
pub struct RequestReader {
    stage: Stage,
    /// The next byte to look at.
    at: usize,
    /// The first byte of the request line: an empty line may stand before it.
    line: usize,
    method_end: usize,
    target_end: usize,
    version: Version,
    section: Section,
    facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    EmptyLine,
    Method,
    Target,
    Version,
    LineEnd,
    Fields,
}

impl RequestReader {
    /// A reader of the next head; it allocates nothing before the first field.
    pub fn new() -> Self {
        Self {
            stage: Stage::EmptyLine,
            at: 0,
            line: 0,
            method_end: 0,
            target_end: 0,
            version: Version::Http11,
            section: Section::new(0),
            facts: Facts::default(),
        }
    }

    /// Reads on in `bytes`: all that was received of this head from its first byte, which only grows between calls. One
    /// empty line before the request line is skipped and belongs to the head (RFC 9112, section 2.2). Gives the head and
    /// its length, or `None` where more is needed; after a head or a refusal the reader is ready for the next head.
    ///
    /// # Errors
    /// As soon as a rule or a limit is broken.
    pub fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        rules: &Rules,
    ) -> Result<Option<(RequestHead, usize)>, Refusal> {
        let read = self.advance(bytes, limits, rules);
        if !matches!(read, Ok(None)) {
            *self = Self::new();
        }
        read
    }

    fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        rules: &Rules,
    ) -> Result<Option<(RequestHead, usize)>, Refusal> {
        if self.stage != Stage::Fields {
            let start = match self.plain_line(bytes, limits) {
                Some(start) => start,
                None => match self.request_line(bytes, limits, rules)? {
                    Some(start) => start,
                    None => return Ok(None),
                },
            };
            self.section = Section::new(start);
            self.stage = Stage::Fields;
        }
        let (facts, version) = (&mut self.facts, self.version);
        let bounds = field_bounds(limits);
        let read = self
            .section
            .read(bytes, &bounds, limits.fields, Facts::OF, |field| facts.note(Sender::Client, version, field))?;
        match read {
            Some(end) => self.head(bytes, end).map(|head| Some((head, end))),
            None => Ok(None),
        }
    }

    /// Reads the first line where it is one of nearly all: GET or POST, of a path, in HTTP/1.1, here whole. Gives the place behind it;
    /// every other line is read step by step.
    #[inline]
    fn plain_line(&mut self, bytes: &[u8], limits: &Limits) -> Option<usize> {
        const END: &[u8; 11] = b" HTTP/1.1\r\n";
        if self.stage != Stage::EmptyLine {
            return None;
        }
        let method = match bytes {
            [b'G', b'E', b'T', b' ', b'/', ..] => b"GET".len(),
            [b'P', b'O', b'S', b'T', b' ', b'/', ..] => b"POST".len(),
            _ => return None,
        };
        let target = scan::target(bytes, method + 1);
        let start = target + END.len();
        if bytes.get(target..)?.first_chunk() != Some(END) || start - 2 > limits.line || start > limits.head {
            return None;
        }
        (self.method_end, self.target_end) = (method, target);
        Some(start)
    }

    /// Reads the first line; gives the place behind it.
    fn request_line(&mut self, bytes: &[u8], limits: &Limits, rules: &Rules) -> Result<Option<usize>, Refusal> {
        let bounds = line_bounds(limits);
        let mut window = bounds.window(bytes, self.line);
        if self.stage == Stage::EmptyLine {
            match window.bytes.first() {
                None => return window.more(),
                Some(b'\r') => {
                    let Some(next) = window.next_line(0)? else { return Ok(None) };
                    (self.line, self.at) = (next, next);
                    window = bounds.window(bytes, self.line);
                }
                Some(_) => {}
            }
            self.stage = Stage::Method;
        }
        if self.stage == Stage::Method {
            self.at = scan::token(window.bytes, self.at);
            match window.bytes.get(self.at) {
                None => return window.more(),
                Some(b' ') if self.at > self.line => {}
                Some(b'\r') => return window.misplaced(self.at, Refusal::RequestLine),
                Some(_) => return window.misplaced(self.at, Refusal::Method),
            }
            is_served(&bytes[self.line..self.at], rules)?;
            self.method_end = self.at;
            self.at += 1;
            self.stage = Stage::Target;
        }
        if self.stage == Stage::Target {
            self.at = scan::target(window.bytes, self.at);
            match window.bytes.get(self.at) {
                None => return window.more(),
                Some(b' ') if self.at > self.method_end + 1 => {}
                Some(b' ' | b'\t' | b'\r') => return window.misplaced(self.at, Refusal::RequestLine),
                Some(_) => return window.misplaced(self.at, Refusal::Target),
            }
            form_of(&bytes[self.method_end + 1..self.at], &bytes[self.line..self.method_end])?;
            self.target_end = self.at;
            self.at += 1;
            self.stage = Stage::Version;
        }
        if self.stage == Stage::Version {
            let Some(version) = version(&window, self.at)? else { return Ok(None) };
            self.version = version;
            self.at += VERSION_LENGTH;
            self.stage = Stage::LineEnd;
        }
        match window.bytes.get(self.at) {
            None => window.more(),
            Some(b'\r') => window.next_line(self.at),
            Some(b' ' | b'\t') => Err(Refusal::RequestLine),
            Some(_) => window.misplaced(self.at, Refusal::Version),
        }
    }

    /// Judges what only the whole head tells, and gives it.
    fn head(&mut self, bytes: &[u8], end: usize) -> Result<RequestHead, Refusal> {
        let method = &bytes[self.line..self.method_end];
        let target = &bytes[self.method_end + 1..self.target_end];
        let form = form_of(target, method)?;
        let host = self.facts.host.clone().map(|place| &bytes[place]);
        let authority = match (host, form) {
            (Some(host), Form::Absolute { authority, .. }) if !authority.eq_ignore_ascii_case(host) => {
                return Err(Refusal::TargetDiffers);
            }
            (Some(host), _) => host,
            (None, _) if self.version == Version::Http11 => return Err(Refusal::MissingHost),
            (None, Form::Absolute { authority, .. }) => authority,
            (None, Form::Origin | Form::Asterisk) => b"",
        };
        let framing = self.facts.framing().unwrap_or(Framing::None);
        let fields = self.section.fields(bytes, end);
        Ok(RequestHead {
            method: method_of(method),
            target: Target::new(form.reduced(target, method)),
            authority: text(authority),
            version: self.version,
            framing,
            persistence: self.facts.persistence(self.version, framing),
            expects_continue: self.facts.expects_continue && self.facts.announces_content(),
            upgrade: self.facts.asks_upgrade(self.version).then(|| protocols(&fields)),
            fields,
        })
    }
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

/// The form of a target (RFC 9112, section 3.2). The fourth, the bare authority, is for CONNECT alone.
#[derive(Debug, Clone, Copy)]
enum Form<'a> {
    /// `/path?query`
    Origin,
    /// `http://authority/path?query`
    Absolute { authority: &'a [u8], rest: &'a [u8] },
    /// `*`
    Asterisk,
}

impl Form<'_> {
    /// The target as path and query, or `*`.
    fn reduced(self, target: &[u8], method: &[u8]) -> Box<str> {
        match self {
            Form::Origin | Form::Asterisk => text(target),
            // RFC 9112, section 3.2.4: to the host itself, not to a path on it.
            Form::Absolute { rest: b"", .. } if method == b"OPTIONS" => "*".into(),
            Form::Absolute { rest, .. } if rest.first() == Some(&b'/') => text(rest),
            Form::Absolute { rest, .. } => ["/", &text(rest)].concat().into(),
        }
    }
}

#[inline]
fn form_of<'a>(target: &'a [u8], method: &[u8]) -> Result<Form<'a>, Refusal> {
    match target {
        [b'/', ..] => Ok(Form::Origin),
        b"*" if method == b"OPTIONS" => Ok(Form::Asterisk),
        _ => absolute(target),
    }
}

#[cold]
fn absolute(target: &[u8]) -> Result<Form<'_>, Refusal> {
    scan::looked(target.len());
    let is = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(scheme) = [&b"http://"[..], b"https://"].into_iter().find(|scheme| is(scheme)) else {
        return Err(Refusal::TargetForm);
    };
    let rest = &target[scheme.len()..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(Refusal::MalformedHost);
    }
    Ok(Form::Absolute { authority, rest })
}

/// The method of this name, without a look at its text where it is a common one.
fn method_of(name: &[u8]) -> Method {
    match name {
        b"GET" => Method::Get,
        b"POST" => Method::Post,
        other => Method::of(&text(other)),
    }
}

fn is_served(method: &[u8], rules: &Rules) -> Result<(), Refusal> {
    match method {
        b"CONNECT" => Err(Refusal::Connect),
        b"TRACE" if rules.trace == Trace::Refuse => Err(Refusal::Trace),
        _ => Ok(()),
    }
}

/// The protocols that `Upgrade` lists, in one line and in lower case.
fn protocols(fields: &Fields) -> Box<str> {
    let mut protocols = String::new();
    for value in fields.get_all("upgrade") {
        if !protocols.is_empty() {
            protocols.push_str(", ");
        }
        protocols.push_str(&String::from_utf8_lossy(value));
    }
    protocols.make_ascii_lowercase();
    protocols.into()
}

/// What was scanned as a token, a target or a host.
fn text(bytes: &[u8]) -> Box<str> {
    const ASCII: &str = "tokens, targets and hosts were found to be ASCII";
    let mut aligned = Aligned([0; SHORT]);
    match aligned.0.get_mut(..bytes.len()) {
        Some(place) => {
            place.copy_from_slice(bytes);
            let blocks = bytes.len().next_multiple_of(BLOCK);
            std::str::from_utf8(&aligned.0[..blocks]).expect(ASCII)[..bytes.len()].into()
        }
        None => std::str::from_utf8(bytes).expect(ASCII).into(),
    }
}

/// Bytes of a short text and zeros behind them. The library checks a block of bytes at once where it begins at a multiple of its own
/// length, and others one by one: twice the time of all the rest, for most texts.
#[repr(align(16))]
struct Aligned([u8; SHORT]);

const BLOCK: usize = 16;
const SHORT: usize = 8 * BLOCK;
