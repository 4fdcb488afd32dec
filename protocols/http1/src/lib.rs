//! Reads and writes HTTP/1.1 (RFC 9112) and knows nothing of sockets: bytes in, heads and pieces of bodies out, and the
//! reverse. The same core reads what clients ask and what upstreams answer.
//!
//! A message is read in exactly one way or refused: where two readers of the same bytes could come to two messages, a
//! [`Refusal`] names the rule that was broken. Whatever is refused is refused at the first byte that breaks a rule, so
//! that it makes no difference in how many pieces the bytes arrive.
//!
//! [`RequestReader`] and [`ResponseReader`] read heads, a [`Decoder`] the body that a head announced ([`Framing`]).
//! [`write_request`] and its neighbours write into a caller's buffer. [`connection`] says how an answer is framed, and
//! what becomes of a connection behind it. [`Messages`] is reader and decoder joined, for whoever has a whole stream of
//! bytes.

#![deny(missing_docs)]

mod authority;
pub mod connection;
mod decoder;
mod facts;
mod messages;
mod refusal;
mod request;
mod response;
mod scan;
mod section;
#[cfg(test)]
mod work;
mod write;

use portolan_exchange::fields::{Name, Names, is_token};

pub use authority::is_authority;
pub use decoder::{Decoder, EXTENSIONS, Piece, is_allowed_in_trailers};
pub use messages::{Event, Messages};
pub use refusal::Refusal;
pub use request::{RequestHead, RequestReader};
pub use response::{ResponseHead, ResponseReader};
pub use write::{
    CHUNK_END, CONTINUE, write_chunk_head, write_last_chunk, write_request, write_response,
    write_response_without_content,
};

/// What is too much, in bytes unless said otherwise. CRLF counts towards a whole, not towards its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The request line or the status line.
    pub line: usize,
    /// One field line: name, colon and value, of a head or of trailers.
    pub field: usize,
    /// The whole head: first line and fields with all line ends.
    pub head: usize,
    /// How many fields a head may have, and how many a trailer section.
    pub fields: usize,
    /// The line before a chunk: its size and its extensions. See [`EXTENSIONS`] for those of a whole body.
    pub chunk_line: usize,
    /// The whole trailer section with all line ends.
    pub trailers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line: 8 << 10, field: 16 << 10, head: 32 << 10, fields: 100, chunk_line: 256, trailers: 8 << 10 }
    }
}

/// What an operator may choose about requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Whether TRACE is let in.
    pub trace: Trace,
}

/// What becomes of a TRACE request: its answer repeats the request, credentials included, to whoever could make a
/// client send it (RFC 9110, section 9.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trace {
    /// It is refused.
    #[default]
    Refuse,
    /// It is read like any other.
    Allow,
}

/// What was asked on the connection on which a response is read: it decides how the response is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The request was a HEAD: the answer has no content, whatever its fields say.
    pub head: bool,
    /// The request asked for another protocol: 101 may come.
    pub upgrade: bool,
}

/// How the end of a message's content is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no content.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, each with its size, and perhaps trailers.
    Chunked,
    /// All up to the end of the connection: responses only.
    UntilClose,
}

/// Whether a message lets its connection serve another one (RFC 9112, section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It may.
    KeepAlive,
    /// It is the last.
    Close,
}

/// Whether a field speaks of one connection alone and is never passed on (RFC 9110, section 7.6.1). Those that
/// `Connection` names besides are for the caller to take out.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    Names::OF_ONE_HOP.has(Name::of(name))
}

/// The elements of a comma-separated list without the space around them; empty ones are left out (RFC 9110, section
/// 5.6.1.2).
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether a list holds nothing but tokens.
fn lists_tokens(value: &[u8]) -> bool {
    elements(value).all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_of_one_connection_is_known_whatever_its_case() {
        let of_one = [
            "TE",
            "Upgrade",
            "Trailer",
            "Connection",
            "Keep-Alive",
            "Proxy-Connection",
            "Transfer-Encoding",
            "Proxy-Authenticate",
            "Proxy-Authorization",
        ];
        for name in of_one {
            assert!(is_hop_by_hop(name.as_bytes()) && is_hop_by_hop(name.to_lowercase().as_bytes()), "{name}");
        }
        for name in ["Host", "Content-Length", "ET", "Trailers", "Via", "Authorization", ""] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }
}
