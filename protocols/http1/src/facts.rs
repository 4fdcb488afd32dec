//! What the fields of a head say about its framing and its connection, gathered while they are read.

use std::ops::Range;

use portolan_exchange::Version;
use portolan_exchange::fields::{Name, Names, is_token};

use crate::authority::is_authority;
use crate::section::FieldLine;
use crate::{Framing, Persistence, Refusal, elements, lists_tokens, scan};

/// Who sent the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// What was found in the fields so far.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// `Content-Length`.
    pub length: Option<u64>,
    /// Whether there was a `Transfer-Encoding`, which can only be `chunked`.
    pub chunked: bool,
    /// The place of `Host`.
    pub host: Option<Range<usize>>,
    /// Whether `Expect` holds 100-continue.
    pub expects_continue: bool,
    /// Whether there was an `Upgrade`.
    pub upgrade: bool,
    connection: Connection,
}

/// The options of `Connection` that matter here.
#[derive(Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl Facts {
    /// The fields that tell some; most heads are made of others.
    pub(crate) const OF: Names = Names::of(&[
        Name::Connection,
        Name::ContentLength,
        Name::Expect,
        Name::Host,
        Name::TransferEncoding,
        Name::Underscored,
        Name::Upgrade,
    ]);

    /// Takes note of a field.
    pub(crate) fn note(&mut self, sender: Sender, version: Version, field: FieldLine<'_>) -> Result<(), Refusal> {
        debug_assert!(Self::OF.has(field.known), "what tells nothing is not shown");
        match field.known {
            Name::Host if sender == Sender::Client => self.host(&field),
            Name::Expect if sender == Sender::Client => self.expect(version, field.value()),
            Name::Upgrade => {
                self.upgrade = true;
                Ok(())
            }
            Name::Connection => self.connection(field.value()),
            Name::ContentLength => self.length(&field),
            Name::TransferEncoding => self.coding(version, &field),
            Name::Underscored if is_disguised(field.name()) => Err(Refusal::DisguisedFraming),
            _ => Ok(()),
        }
    }

    /// Whether the connection can be used again after a message of this framing (RFC 9112, section 9.3): `close` wins,
    /// HTTP/1.0 must ask for more.
    pub(crate) fn persistence(&self, version: Version, framing: Framing) -> Persistence {
        let asked = match version {
            Version::Http10 => self.connection.keep_alive,
            _ => true,
        };
        if asked && !self.connection.close && framing != Framing::UntilClose {
            Persistence::KeepAlive
        } else {
            Persistence::Close
        }
    }

    /// The framing that the fields announce, if they announce any.
    pub(crate) fn framing(&self) -> Option<Framing> {
        if self.chunked { Some(Framing::Chunked) } else { self.length.map(Framing::Length) }
    }

    /// Whether the fields announce content of at least one byte.
    pub(crate) fn announces_content(&self) -> bool {
        self.chunked || self.length.is_some_and(|length| length > 0)
    }

    /// Whether another protocol is asked for: only in HTTP/1.1, and only when `Connection` says so too (RFC 9110, section
    /// 7.8).
    pub(crate) fn asks_upgrade(&self, version: Version) -> bool {
        self.upgrade && self.connection.upgrade && version == Version::Http11
    }

    fn host(&mut self, field: &FieldLine<'_>) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(Refusal::RepeatedHost);
        }
        if !is_authority(field.value()) {
            return Err(Refusal::MalformedHost);
        }
        self.host = Some(field.value_place());
        Ok(())
    }

    // HTTP/1.0 knows no expectations (RFC 9110, section 10.1.1).
    fn expect(&mut self, version: Version, value: &[u8]) -> Result<(), Refusal> {
        if version == Version::Http10 {
            return Ok(());
        }
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        self.expects_continue = true;
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        scan::looked(value.len());
        for option in elements(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.connection.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.connection.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.connection.keep_alive = true,
                _ if is_token(option) => {}
                _ => return Err(Refusal::MalformedConnection),
            }
        }
        Ok(())
    }

    // A tab beside the value is space (RFC 9110, section 5.5), but llhttp, and so all of Node, reads on over it: a coding with a
    // tab behind it is none to it, and a response of such chunks goes on to the end of the connection.
    fn length(&mut self, field: &FieldLine<'_>) -> Result<(), Refusal> {
        let value = field.value();
        if self.length.is_some() {
            return Err(Refusal::RepeatedLength);
        }
        if self.chunked {
            return Err(Refusal::LengthAndCoding);
        }
        scan::looked(value.len());
        // What is too large for a number stays at its largest, which is too large as well.
        let read = |number: u64, digit: &u8| {
            digit.is_ascii_digit().then(|| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
        };
        let is_plain = !value.is_empty() && !field.has_tab_beside();
        let number = value.iter().try_fold(0, read).filter(|_| is_plain).ok_or(Refusal::MalformedLength)?;
        if i64::try_from(number).is_err() {
            return Err(Refusal::LengthTooLarge);
        }
        self.length = Some(number);
        Ok(())
    }

    fn coding(&mut self, version: Version, field: &FieldLine<'_>) -> Result<(), Refusal> {
        let value = field.value();
        if version == Version::Http10 {
            return Err(Refusal::CodingInOldVersion);
        }
        if self.length.is_some() {
            return Err(Refusal::LengthAndCoding);
        }
        if self.chunked {
            return Err(Refusal::MalformedCoding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(wrong_coding(value));
        }
        if field.has_tab_beside() {
            return Err(Refusal::MalformedCoding);
        }
        self.chunked = true;
        Ok(())
    }
}

/// Whether a field that frames nothing is taken for one that does by who takes `_` for `-`.
#[cold]
fn is_disguised(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content_length") || name.eq_ignore_ascii_case(b"transfer_encoding")
}

/// Why a `Transfer-Encoding` that is not `chunked` alone is refused.
#[cold]
fn wrong_coding(value: &[u8]) -> Refusal {
    scan::looked(value.len());
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if !lists_tokens(value) {
        return Refusal::MalformedCoding;
    }
    match (elements(value).filter(|coding| is_chunked(coding)).count(), elements(value).last()) {
        (0, _) => Refusal::CodingNotChunked,
        // An empty element beside it: `chunked` is not what stands here.
        (1, Some(last)) if is_chunked(last) && elements(value).count() == 1 => Refusal::MalformedCoding,
        (1, Some(last)) if is_chunked(last) => Refusal::CodingUnsupported,
        (1, _) => Refusal::CodingNotChunked,
        _ => Refusal::MalformedCoding,
    }
}
