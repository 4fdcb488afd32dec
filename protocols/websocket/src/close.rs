//! Why a session ended: the codes of RFC 6455, section 7.4, and which of them may stand on the wire.

use bytes::Bytes;

/// A close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The purpose was fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: it stops, or the API was removed.
    pub const AWAY: Self = Self(1001);
    /// The peer broke the framing.
    pub const PROTOCOL: Self = Self(1002);
    /// A kind of data this endpoint does not take, such as binary where text is spoken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Text that is not UTF-8.
    pub const NOT_UTF8: Self = Self(1007);
    /// A policy forbids it.
    pub const POLICY: Self = Self(1008);
    /// A message larger than this endpoint takes.
    pub const TOO_BIG: Self = Self(1009);
    /// A bug or an outage of ours.
    pub const INTERNAL: Self = Self(1011);
    /// A planned restart: come back a little later (IANA registry).
    pub const RESTART: Self = Self(1012);
    /// Overload: come back later (IANA registry).
    pub const TRY_LATER: Self = Self(1013);

    /// Whether the code may stand in a close frame: registered codes and the ranges for libraries and applications.
    /// 1004 is reserved; 1005, 1006 and 1015 are for an endpoint's own use only (RFC 6455, sections 7.4.1 and 7.4.2;
    /// 1012 to 1014 come from the IANA registry).
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Absent when the frame had no payload.
    pub code: Option<Code>,
    /// Valid UTF-8, at most 123 bytes.
    pub reason: Bytes,
}

impl Close {
    /// The reason as text.
    pub fn reason(&self) -> &str {
        std::str::from_utf8(&self.reason).expect("the decoder lets only valid UTF-8 through")
    }
}
