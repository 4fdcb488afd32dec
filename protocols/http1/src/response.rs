//! Reads the heads of responses (RFC 9112, section 4), as strictly as those of requests.

use portolan_exchange::{Fields, Version};

use crate::facts::{Facts, Sender};
use crate::section::{Section, VERSION_LENGTH, Window, field_bounds, line_bounds, version};
use crate::{Asked, Framing, Limits, Persistence, Refusal, scan};

/// The head of a response, as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseHead {
    /// Its status, 100 to 599. Below 200, and not 101, it is an interim response: another head follows.
    pub status: u16,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, those of one hop included.
    pub fields: Fields,
    /// How the end of the content is found.
    pub framing: Framing,
    /// Whether the connection can be used again after this message.
    pub persistence: Persistence,
}

impl ResponseHead {
    /// Whether another head follows this one (RFC 9110, section 15.2).
    pub const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Reads one head after another. It can stop at any byte and go on when more have come; it holds none of them.
#[derive(Debug)]
pub struct ResponseReader {
    stage: Stage,
    /// The next byte to look at.
    at: usize,
    version: Version,
    status: u16,
    section: Section,
    facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Version,
    Status,
    Reason,
    Fields,
}

/// Where the three digits of the status begin and end: `HTTP/1.1 200`.
const STATUS: usize = VERSION_LENGTH + 1;
const STATUS_END: usize = STATUS + 3;

impl ResponseReader {
    /// A reader of the next head; it allocates nothing before the first field.
    pub fn new() -> Self {
        Self {
            stage: Stage::Version,
            at: 0,
            version: Version::Http11,
            status: 0,
            section: Section::new(0),
            facts: Facts::default(),
        }
    }

    /// Reads on in `bytes`: all that was received of this head from its first byte, which only grows between calls. No
    /// empty line may stand before a response. Gives the head and its length, or `None` where more is needed; after a head
    /// or a refusal the reader is ready for the next head.
    ///
    /// # Errors
    /// As soon as a rule or a limit is broken.
    pub fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        asked: Asked,
    ) -> Result<Option<(ResponseHead, usize)>, Refusal> {
        let read = self.advance(bytes, limits, asked);
        if !matches!(read, Ok(None)) {
            *self = Self::new();
        }
        read
    }

    fn advance(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        asked: Asked,
    ) -> Result<Option<(ResponseHead, usize)>, Refusal> {
        if self.stage != Stage::Fields {
            let start = match self.plain_line(bytes, limits) {
                Some(start) => start,
                None => match self.status_line(bytes, limits, asked)? {
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
            .read(bytes, &bounds, limits.fields, Facts::OF, |field| facts.note(Sender::Server, version, field))?;
        match read {
            Some(end) => self.head(bytes, end, asked).map(|head| Some((head, end))),
            None => Ok(None),
        }
    }

    /// Reads the first line where it is one of nearly all: in HTTP/1.1, with a status from 200 on and a phrase, here whole. Gives the
    /// place behind it; every other line is read step by step.
    #[inline]
    fn plain_line(&mut self, bytes: &[u8], limits: &Limits) -> Option<usize> {
        if self.stage != Stage::Version {
            return None;
        }
        let (line, _) = bytes.split_first_chunk::<{ STATUS_END + 1 }>()?;
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', class @ b'2'..=b'5', tens, ones, b' '] = *line
        else {
            return None;
        };
        let end = scan::visible(bytes, STATUS_END + 1);
        scan::looked(end);
        let is_one = tens.is_ascii_digit() && ones.is_ascii_digit() && bytes.get(end..)?.first_chunk() == Some(b"\r\n");
        if !is_one || end > limits.line || end + 2 > limits.head {
            return None;
        }
        let digit = |digit: u8| u16::from(digit - b'0');
        self.status = 100 * digit(class) + 10 * digit(tens) + digit(ones);
        Some(end + 2)
    }

    /// Reads the first line; gives the place behind it.
    fn status_line(&mut self, bytes: &[u8], limits: &Limits, asked: Asked) -> Result<Option<usize>, Refusal> {
        let window = line_bounds(limits).window(bytes, 0);
        if self.stage == Stage::Version {
            let Some(version) = version(&window, 0)? else { return Ok(None) };
            match window.bytes.get(VERSION_LENGTH) {
                None => return window.more(),
                Some(b' ') => {}
                Some(_) => return window.misplaced(VERSION_LENGTH, Refusal::StatusLine),
            }
            self.version = version;
            self.stage = Stage::Status;
        }
        if self.stage == Stage::Status {
            let Some(status) = status(&window)? else { return Ok(None) };
            if status == 101 && !asked.upgrade {
                return Err(Refusal::UnaskedSwitch);
            }
            self.status = status;
            match window.bytes.get(STATUS_END) {
                None => return window.more(),
                // Some servers leave out the space before an empty reason. There is no second way to read that.
                Some(b' ' | b'\r') => self.at = STATUS_END,
                Some(_) => return window.misplaced(STATUS_END, Refusal::StatusLine),
            }
            self.stage = Stage::Reason;
        }
        self.at = scan::text(window.bytes, self.at);
        match window.bytes.get(self.at) {
            None => window.more(),
            Some(b'\r') => window.next_line(self.at),
            Some(_) => window.misplaced(self.at, Refusal::ControlByte),
        }
    }

    /// Judges what only the whole head tells, and gives it.
    fn head(&mut self, bytes: &[u8], end: usize, asked: Asked) -> Result<ResponseHead, Refusal> {
        if self.status < 200 && self.facts.announces_content() {
            return Err(Refusal::InterimContent);
        }
        // RFC 9112, section 6.3, in its order.
        let framing = match self.status {
            ..200 | 204 | 304 => Framing::None,
            _ if asked.head => Framing::None,
            _ => self.facts.framing().unwrap_or(Framing::UntilClose),
        };
        let persistence = match self.status {
            // It has none, but says it has some: whatever comes next may be meant as that.
            204 if self.facts.announces_content() => Persistence::Close,
            _ => self.facts.persistence(self.version, framing),
        };
        Ok(ResponseHead {
            status: self.status,
            version: self.version,
            fields: self.section.fields(bytes, end),
            framing,
            persistence,
        })
    }
}

impl Default for ResponseReader {
    fn default() -> Self {
        Self::new()
    }
}

/// The three digits of the status, when they are there. Judged from the left: the first that is wrong decides.
fn status(window: &Window<'_>) -> Result<Option<u16>, Refusal> {
    let mut status = 0;
    for at in STATUS..STATUS_END {
        scan::looked(1);
        match window.bytes.get(at) {
            None => return window.more(),
            Some(b'0' | b'6'..=b'9') if at == STATUS => return Err(Refusal::Status),
            Some(digit @ b'0'..=b'9') => status = status * 10 + u16::from(digit - b'0'),
            Some(_) => return window.misplaced(at, Refusal::StatusLine),
        }
    }
    Ok(Some(status))
}
