//! An HTTP/1.1 message as it stood on the wire, read without mercy: what a lenient reader would mend is an error here.

use std::fmt;
use std::io;

use serde_json::Value;

/// A message, all of it. Two are equal when their fields are, in whatever order and spelling of names these came.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The first line.
    pub start: String,
    /// Fields, names in lowercase, sorted; fields of one name in the order they came.
    pub fields: Vec<(String, String)>,
    /// The content, out of its chunks.
    pub body: Vec<u8>,
    /// The fields behind the last chunk, like `fields`.
    pub trailers: Vec<(String, String)>,
}

/// Which message comes: it decides whether it has content (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// A request.
    Request,
    /// The answer to a request of this method.
    AnswerTo(&'a str),
}

/// Why no message could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// The other side ended or broke the connection before its end.
    Ended(String),
    /// This is no HTTP/1.1.
    Wrong(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Ended(what) | Self::Wrong(what)) = self;
        f.write_str(what)
    }
}

impl Unread {
    fn within(self, what: &str) -> Self {
        match self {
            Self::Ended(why) => Self::Ended(format!("{why}, {what}")),
            Self::Wrong(why) => Self::Wrong(format!("{why}, {what}")),
        }
    }
}

type Result<T> = std::result::Result<T, Unread>;

fn wrong<T>(what: String) -> Result<T> {
    Err(Unread::Wrong(what))
}

/// Where bytes come from.
pub trait Source {
    /// What was read and not yet asked for.
    fn spare(&mut self) -> &mut Vec<u8>;

    /// Reads some more; zero at the end.
    fn fill(&mut self) -> io::Result<usize>;

    /// A line without its end.
    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = self.spare().iter().position(|byte| *byte == b'\n') {
                let rest = self.spare().split_off(at + 1);
                let mut line = std::mem::replace(self.spare(), rest);
                if !line.ends_with(b"\r\n") {
                    return wrong(format!("a line ends with a bare LF: {:?}", String::from_utf8_lossy(&line)));
                }
                line.truncate(line.len() - 2);
                return String::from_utf8(line).or_else(|error| wrong(format!("a line is not text: {error}")));
            }
            self.some_more("a line")?;
        }
    }

    /// So many bytes.
    fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.spare().len() < count {
            let missing = count - self.spare().len();
            self.some_more(&format!("{missing} bytes of {count}"))?;
        }
        let rest = self.spare().split_off(count);
        Ok(std::mem::replace(self.spare(), rest))
    }

    /// The next chunk; nothing when it is the last, behind which trailers follow.
    fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size =
            usize::from_str_radix(size, 16).or_else(|error| wrong(format!("the chunk's size {line:?}: {error}")))?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly(size)?;
        match self.line()?.as_str() {
            "" => Ok(Some(chunk)),
            more => wrong(format!("{more:?} behind a chunk")),
        }
    }

    /// Fields up to the blank line.
    fn fields(&mut self) -> Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(sorted(fields));
            }
            let Some((name, value)) = line.split_once(':') else { return wrong(format!("no field: {line:?}")) };
            let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_token {
                return wrong(format!("no field's name: {name:?}"));
            }
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }

    /// A whole message.
    fn message(&mut self, expected: Expected<'_>) -> Result<Message> {
        let start = self.line()?;
        let fields = self.fields().map_err(|error| error.within(&format!("behind {start:?}")))?;
        let mut message = Message { start, fields, body: Vec::new(), trailers: Vec::new() };
        match self.content(&mut message, expected) {
            Ok(()) => Ok(message),
            Err(error) => Err(error.within(&format!("in {message:?}"))),
        }
    }

    /// The content of a message whose head was read.
    fn content(&mut self, message: &mut Message, expected: Expected<'_>) -> Result<()> {
        if let Expected::AnswerTo(method) = expected
            && (method == "HEAD" || matches!(message.status(), 100..=199 | 204 | 304))
        {
            return Ok(());
        }
        match (message.field("transfer-encoding").as_deref(), message.field("content-length")) {
            (Some("chunked"), None) => {
                while let Some(chunk) = self.chunk()? {
                    message.body.extend_from_slice(&chunk);
                }
                message.trailers = self.fields()?;
            }
            (None, Some(length)) => {
                let length = length.parse().or_else(|error| wrong(format!("the length {length:?}: {error}")))?;
                message.body = self.exactly(length)?;
            }
            (None, None) => {
                if let Expected::AnswerTo(_) = expected {
                    while self.fill().map_err(|error| Unread::Ended(format!("{error} before the end")))? > 0 {}
                    message.body = std::mem::take(self.spare());
                }
            }
            (Some(coding), length) => return wrong(format!("framed by {coding:?} and {length:?}")),
        }
        Ok(())
    }

    /// Reads some more, which must come.
    fn some_more(&mut self, of_what: &str) -> Result<()> {
        let why = match self.fill() {
            Ok(1..) => return Ok(()),
            Ok(0) => "the end came".to_owned(),
            Err(error) => error.to_string(),
        };
        let after = String::from_utf8_lossy(self.spare()).into_owned();
        Err(Unread::Ended(format!("{why} before {of_what}, after {after:?}")))
    }
}

impl Message {
    /// A message as a test expects it.
    pub fn new(start: &str, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self { start: start.into(), fields: owned(fields), body: body.as_ref().to_vec(), trailers: Vec::new() }
    }

    /// With these fields behind its last chunk.
    pub fn with_trailers(mut self, trailers: &[(&str, &str)]) -> Self {
        self.trailers = owned(trailers);
        self
    }

    /// The status of an answer.
    pub fn status(&self) -> u16 {
        let status =
            self.start.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
        status.unwrap_or_else(|| panic!("no answer begins like this: {:?}", self.start))
    }

    /// The value of a field; several are joined by a comma.
    pub fn field(&self, name: &str) -> Option<String> {
        let values: Vec<_> =
            self.fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    /// Takes a field out: what differs from run to run is looked at on its own.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let value = self.field(name);
        self.fields.retain(|(found, _)| found != name);
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    sorted(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn sorted(mut fields: Vec<(String, String)>) -> Vec<(String, String)> {
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

impl fmt::Debug for Message {
    /// As it is read by people: a line for each field, the body as text and not all of a large one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 1_000;
        writeln!(f, "{}", self.start)?;
        for (name, value) in &self.fields {
            writeln!(f, "  {name}: {value}")?;
        }
        let begin = &self.body[..self.body.len().min(MOST)];
        write!(f, "  {} bytes {:?}", self.body.len(), String::from_utf8_lossy(begin))?;
        for (name, value) in &self.trailers {
            write!(f, "\n  trailer {name}: {value}")?;
        }
        Ok(())
    }
}
