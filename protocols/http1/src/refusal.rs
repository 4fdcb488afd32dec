//! Why a message is refused: one name for each rule that can be broken.

use std::fmt;

/// The rule that a message broke. None can be mended by reading on: the connection it came on is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A line feed without a carriage return before it (RFC 9112, section 2.2).
    BareLineFeed,
    /// A carriage return without a line feed behind it (RFC 9112, section 2.2).
    BareCarriageReturn,
    /// A control character where only text may stand (RFC 9110, section 5.5).
    ControlByte,

    /// The request line is not a method, a target and a version with one space between (RFC 9112, section 3).
    RequestLine,
    /// The first line is longer than allowed.
    LineTooLong,
    /// The method is no token (RFC 9110, section 9.1).
    Method,
    /// CONNECT: this is no tunnel.
    Connect,
    /// TRACE, which the operator did not allow (RFC 9110, section 15.5.6).
    Trace,
    /// A character in the target that must be percent-encoded (RFC 3986, section 2).
    Target,
    /// A target of none of the forms that the method allows (RFC 9112, section 3.2).
    TargetForm,
    /// The target names another host than `Host` does (RFC 9112, section 3.2.2).
    TargetDiffers,
    /// No well-formed HTTP version (RFC 9112, section 2.3).
    Version,
    /// An HTTP version that is neither 1.0 nor 1.1.
    VersionUnsupported,

    /// The status line is not a version, a status and a reason (RFC 9112, section 4).
    StatusLine,
    /// The status is not between 100 and 599 (RFC 9110, section 15).
    Status,
    /// 101 was answered to a request that asked for no other protocol (RFC 9110, section 15.2.2).
    UnaskedSwitch,
    /// An interim response that announces content (RFC 9110, section 15.2).
    InterimContent,
    /// Bytes of a response that nobody asked for (RFC 9112, section 9.2).
    Unasked,

    /// The head is longer than allowed.
    HeadTooLong,
    /// There are more fields than allowed.
    TooManyFields,
    /// A field line is longer than allowed.
    FieldTooLong,
    /// The name of a field is empty or no token (RFC 9110, section 5.1).
    FieldName,
    /// A field line without a colon (RFC 9112, section 5).
    MissingColon,
    /// Space between a field's name and its colon (RFC 9112, section 5.1).
    SpaceBeforeColon,
    /// A line that begins with space: the folding of old, or a field before the first (RFC 9112, section 5.2).
    Folded,

    /// No `Host` in a request that needs one (RFC 9112, section 3.2).
    MissingHost,
    /// More than one `Host` (RFC 9112, section 3.2).
    RepeatedHost,
    /// A host that is no name or address with a port (RFC 9110, section 7.2).
    MalformedHost,
    /// A `Connection` that is no list of tokens (RFC 9110, section 7.6.1).
    MalformedConnection,
    /// An expectation that nobody here can meet (RFC 9110, section 10.1.1).
    Expectation,

    /// A `Content-Length` that is not one number, or has a tab beside it (RFC 9110, section 8.6).
    MalformedLength,
    /// More than one `Content-Length`, equal ones included (RFC 9112, section 6.3).
    RepeatedLength,
    /// A length of 2^63 or more, which other readers take for a negative one.
    LengthTooLarge,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112, section 6.3).
    LengthAndCoding,
    /// A `Transfer-Encoding` that is no list of tokens, has a tab beside it, stands twice or names `chunked` twice (RFC 9112,
    /// section 6.1).
    MalformedCoding,
    /// A `Transfer-Encoding` that does not end in `chunked` (RFC 9112, section 6.3).
    CodingNotChunked,
    /// A transfer coding besides `chunked`.
    CodingUnsupported,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112, section 6.1).
    CodingInOldVersion,
    /// `Content_Length` or `Transfer_Encoding`: a name that some upstreams take for the one with a hyphen.
    DisguisedFraming,

    /// A chunk's size is not one to sixteen hexadecimal digits (RFC 9112, section 7.1).
    ChunkSize,
    /// A chunk of 2^63 bytes or more.
    ChunkTooLarge,
    /// A chunk extension that is no `name=value` (RFC 9112, section 7.1.1).
    ChunkExtension,
    /// A chunk's size and extensions are longer than allowed.
    ChunkLineTooLong,
    /// The extensions of a body are longer than allowed, all together.
    ExtensionsTooLong,
    /// A chunk's data is not followed by CRLF (RFC 9112, section 7.1).
    ChunkEnd,
    /// The trailer section is longer than allowed.
    TrailersTooLong,
    /// A trailer that only a head may hold (RFC 9110, section 6.5.1).
    ForbiddenTrailer,
    /// The connection ended before the message did (RFC 9112, section 8).
    CutOff,
}

impl Refusal {
    /// The status that answers a request so refused. A response so refused is the upstream's fault, whatever stands here.
    pub const fn status(self) -> u16 {
        match self {
            Self::Trace => 405,
            Self::LineTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLong | Self::TooManyFields | Self::FieldTooLong | Self::TrailersTooLong => 431,
            Self::Connect | Self::CodingUnsupported => 501,
            Self::StatusLine | Self::Status | Self::UnaskedSwitch | Self::InterimContent | Self::Unasked => 502,
            Self::VersionUnsupported => 505,
            _ => 400,
        }
    }

    /// What is wrong and what helps, for whoever sent the message.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line ends with a line feed alone; end it with CRLF",
            Self::BareCarriageReturn => "a carriage return stands without a line feed behind it; end lines with CRLF",
            Self::ControlByte => "a control character stands where only text may; leave it out or encode it",
            Self::RequestLine => "the request line is not `METHOD TARGET HTTP/1.1` with one space between its parts",
            Self::LineTooLong => "the first line is longer than allowed; shorten the target",
            Self::Method => "the method is not made of letters, digits and !#$%&'*+-.^_`|~",
            Self::Connect => "CONNECT is not served: this is no tunnel",
            Self::Trace => "TRACE is not served here",
            Self::Target => "the target holds a character that must be percent-encoded",
            Self::TargetForm => "the target is neither a path nor an http or https URI; `*` is for OPTIONS alone",
            Self::TargetDiffers => "the target names another host than the Host field; send the same in both",
            Self::Version => "the version is not of the form HTTP/1.1",
            Self::VersionUnsupported => "this version of HTTP is not spoken here; use HTTP/1.1",
            Self::StatusLine => "the status line is not `HTTP/1.1 STATUS REASON`",
            Self::Status => "the status is not between 100 and 599",
            Self::UnaskedSwitch => "the protocol was switched, and nobody had asked for it",
            Self::InterimContent => "an interim response announces content, which it cannot have",
            Self::Unasked => "a response came that nobody had asked for",
            Self::HeadTooLong => "the head is longer than allowed; send fewer or shorter fields",
            Self::TooManyFields => "there are more fields than allowed; send fewer",
            Self::FieldTooLong => "a field is longer than allowed; shorten its value",
            Self::FieldName => "the name of a field is empty or not made of letters, digits and !#$%&'*+-.^_`|~",
            Self::MissingColon => "a field has no colon; write `name: value`",
            Self::SpaceBeforeColon => "space stands between the name of a field and its colon; leave it out",
            Self::Folded => "a line of the head begins with space; write each field on one line",
            Self::MissingHost => "the Host field is missing; name the host that is asked for",
            Self::RepeatedHost => "there is more than one Host field; send one",
            Self::MalformedHost => "the host is not a name or an address with at most a port",
            Self::MalformedConnection => "the Connection field is no list of names",
            Self::Expectation => "the expectation cannot be met; only 100-continue can",
            Self::MalformedLength => "the Content-Length field is not one decimal number",
            Self::RepeatedLength => "there is more than one Content-Length field; send one",
            Self::LengthTooLarge => "the length is 2^63 bytes or more",
            Self::LengthAndCoding => "Content-Length and Transfer-Encoding stand side by side; send one of them",
            Self::MalformedCoding => "the Transfer-Encoding field is not one list of names that holds `chunked` once",
            Self::CodingNotChunked => "the Transfer-Encoding field does not end in `chunked`",
            Self::CodingUnsupported => "no transfer coding but `chunked` is spoken here; use Content-Encoding",
            Self::CodingInOldVersion => "Transfer-Encoding stands in a message of HTTP/1.0; use HTTP/1.1",
            Self::DisguisedFraming => {
                "a field looks like Content-Length or Transfer-Encoding with an underscore; leave it out"
            }
            Self::ChunkSize => "the size of a chunk is not one to sixteen hexadecimal digits",
            Self::ChunkTooLarge => "a chunk is 2^63 bytes or longer",
            Self::ChunkExtension => "a chunk extension is not of the form `;name=value` without space",
            Self::ChunkLineTooLong => "the line before a chunk is longer than allowed; shorten its extensions",
            Self::ExtensionsTooLong => "the chunk extensions of this body are longer than allowed; leave them out",
            Self::ChunkEnd => "the data of a chunk is not followed by CRLF; its size may be wrong",
            Self::TrailersTooLong => "the trailers are longer than allowed; send fewer or shorter ones",
            Self::ForbiddenTrailer => "a trailer holds what only a head may; send it as a header field",
            Self::CutOff => "the connection ended before the message did",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl std::error::Error for Refusal {}
