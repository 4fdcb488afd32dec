//! What becomes of a connection: decided from what was read and written on it, without knowing the connection.
//!
//! A driver tells [`ServerSide`] or [`ClientSide`] what happened and does what [`After`] says. Its own reasons to close
//! (time-outs, an error of the socket, a gateway that ends) come on top.

use portolan_exchange::{Method, Size, Version};

use crate::{Framing, Persistence, RequestHead, ResponseHead};

/// What becomes of a connection when an exchange on it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The next exchange may begin.
    Reuse,
    /// It is closed for writing, and what still comes is read and thrown away for a while: closed at once, the answer could
    /// be lost to a reset before the client reads it (RFC 9112, section 9.6).
    Linger,
    /// It is closed at once.
    Close,
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Up to its end.
    Ended,
    /// Not yet, or never.
    Open,
}

/// Whether bytes stand behind a message that were read with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surplus {
    /// There are none.
    None,
    /// There are some.
    Some,
}

/// Whether the rest of a request's content will be read, while its answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// It was read to its end, or somebody reads it.
    Read,
    /// Nobody will.
    Abandoned,
}

/// The connection of a client, seen from here.
#[derive(Debug)]
pub struct ServerSide {
    /// How many more requests are taken after this one.
    left: u32,
    version: Version,
    head_only: bool,
    persistence: Persistence,
}

impl ServerSide {
    /// A fresh connection that may serve so many requests; at least one.
    pub const fn new(requests: u32) -> Self {
        Self { left: requests, version: Version::Http11, head_only: false, persistence: Persistence::KeepAlive }
    }

    /// A request began.
    pub fn requested(&mut self, head: &RequestHead) {
        self.left = self.left.saturating_sub(1);
        self.version = head.version;
        self.head_only = head.method == Method::Head;
        self.persistence = if self.left == 0 { Persistence::Close } else { head.persistence };
    }

    /// A head was refused: there is no telling where the next one begins.
    pub fn refused(&mut self) {
        self.close();
        (self.version, self.head_only) = (Version::Http11, false);
    }

    /// This exchange is to be the last: the gateway ends, or the client did something that no connection survives.
    pub fn close(&mut self) {
        self.persistence = Persistence::Close;
    }

    /// How an answer of this status and size is framed for the client. One of unknown length ends with the connection where
    /// the client knows no chunks.
    pub const fn framing(&self, status: u16, size: Size) -> Framing {
        match (status, size) {
            (..200 | 204 | 304, _) => Framing::None,
            (_, Size::Exact(length)) => Framing::Length(length),
            (_, Size::Unknown) if matches!(self.version, Version::Http10) => Framing::UntilClose,
            (_, Size::Unknown) => Framing::Chunked,
        }
    }

    /// Whether the answer is to a HEAD: its head says what GET's would, and no content follows.
    pub const fn is_head_only(&self) -> bool {
        self.head_only
    }

    /// The final answer's head is about to be written: what its `Connection` says. Where nobody will read the rest of the
    /// request, no other can follow it.
    pub fn answered(&mut self, framing: Framing, content: Content) -> Option<&'static str> {
        let ends_with_connection = framing == Framing::UntilClose && !self.head_only;
        if ends_with_connection || content == Content::Abandoned {
            self.close();
        }
        match (self.persistence, self.version) {
            (Persistence::Close, _) => Some("close"),
            (Persistence::KeepAlive, Version::Http10) => Some("keep-alive"),
            (Persistence::KeepAlive, _) => None,
        }
    }

    /// The exchange is over: an answer that did not come to its end cannot be followed by another, and neither can a request
    /// of which something is still to come.
    pub fn after(&self, request: Progress, response: Progress, surplus: Surplus) -> After {
        match (response, request, self.persistence) {
            (Progress::Open, ..) => After::Close,
            (Progress::Ended, Progress::Ended, Persistence::KeepAlive) => After::Reuse,
            (Progress::Ended, Progress::Ended, Persistence::Close) if surplus == Surplus::None => After::Close,
            (Progress::Ended, ..) => After::Linger,
        }
    }
}

/// The connection to an upstream, seen from here.
#[derive(Debug)]
pub struct ClientSide {
    exchanges: u32,
    answer: Answer,
    persistence: Persistence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Awaited,
    Begun,
}

/// Whether a request may be sent again on another connection, when this one ended before the first byte of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It may: the upstream closed a connection that had been idle, and the method promises that twice does no more than once.
    May,
    /// It may not.
    MustNot,
}

impl ClientSide {
    /// A fresh connection.
    pub const fn new() -> Self {
        Self { exchanges: 0, answer: Answer::Awaited, persistence: Persistence::KeepAlive }
    }

    /// A request is about to be sent.
    pub fn asked(&mut self) {
        self.exchanges = self.exchanges.saturating_add(1);
        self.answer = Answer::Awaited;
        self.persistence = Persistence::KeepAlive;
    }

    /// Bytes of an answer came.
    pub fn heard(&mut self) {
        self.answer = Answer::Begun;
    }

    /// A head came.
    pub fn answered(&mut self, head: &ResponseHead) {
        self.heard();
        if head.persistence == Persistence::Close || head.status == 101 {
            self.persistence = Persistence::Close;
        }
    }

    /// The connection ended: whether the request may be sent once more (RFC 9110, section 9.2.2). That its content can be
    /// replayed is for the caller to know.
    pub fn repeat(&self, method: &Method) -> Repeat {
        let was_idle = self.exchanges > 1;
        if was_idle && self.answer == Answer::Awaited && is_idempotent(method) { Repeat::May } else { Repeat::MustNot }
    }

    /// The exchange is over. Only a connection on which both messages came to their end and nothing stands behind them is
    /// used again: whatever is behind an answer would be read as the answer to the next request.
    pub fn after(&self, request: Progress, response: Progress, surplus: Surplus) -> After {
        let both = request == Progress::Ended && response == Progress::Ended;
        if both && surplus == Surplus::None && self.persistence == Persistence::KeepAlive {
            After::Reuse
        } else {
            After::Close
        }
    }
}

impl Default for ClientSide {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether asking twice does no more than asking once (RFC 9110, section 9.2.2).
pub const fn is_idempotent(method: &Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Limits, RequestReader, ResponseReader, Rules};

    fn request(head: &str) -> RequestHead {
        let read = RequestReader::new().read(head.as_bytes(), &Limits::default(), &Rules::default());
        read.unwrap().unwrap().0
    }

    fn response(head: &str) -> ResponseHead {
        ResponseReader::new().read(head.as_bytes(), &Limits::default(), Asked::default()).unwrap().unwrap().0
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
    const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const ENDED: (Progress, Progress) = (Progress::Ended, Progress::Ended);

    fn served(head: &str, requests: u32, framing: Framing, content: Content) -> (Option<&'static str>, After) {
        let mut side = ServerSide::new(requests);
        side.requested(&request(head));
        let connection = side.answered(framing, content);
        (connection, side.after(ENDED.0, ENDED.1, Surplus::None))
    }

    #[test]
    fn a_client_is_kept_as_its_version_and_its_wish_say() {
        let length = Framing::Length(1);
        assert_eq!(served(GET, 9, length, Content::Read), (None, After::Reuse));
        assert_eq!(served(OLD_KEPT, 9, length, Content::Read), (Some("keep-alive"), After::Reuse));
        assert_eq!(served(OLD, 9, length, Content::Read), (Some("close"), After::Close));
        let closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n";
        assert_eq!(served(closing, 9, length, Content::Read), (Some("close"), After::Close));
    }

    #[test]
    fn a_client_is_not_kept_past_its_last_request_or_an_answer_without_another_end() {
        assert_eq!(served(GET, 1, Framing::Chunked, Content::Read), (Some("close"), After::Close));
        assert_eq!(served(GET, 2, Framing::Chunked, Content::Read), (None, After::Reuse));
        assert_eq!(served(OLD_KEPT, 9, Framing::UntilClose, Content::Read), (Some("close"), After::Close));
        assert_eq!(served(GET, 9, Framing::Length(0), Content::Abandoned), (Some("close"), After::Close));
    }

    #[test]
    fn an_answer_before_the_end_of_the_request_is_followed_by_a_lingering_close() {
        let mut side = ServerSide::new(9);
        side.requested(&request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"));
        assert_eq!(side.answered(Framing::Length(0), Content::Read), None);
        assert_eq!(side.after(Progress::Open, Progress::Ended, Surplus::None), After::Linger);
        assert_eq!(side.after(Progress::Open, Progress::Open, Surplus::None), After::Close);
        assert_eq!(side.after(Progress::Ended, Progress::Ended, Surplus::Some), After::Reuse);
        side.refused();
        assert_eq!(side.answered(Framing::Length(0), Content::Abandoned), Some("close"));
        assert_eq!(side.after(Progress::Open, Progress::Ended, Surplus::Some), After::Linger);
        assert_eq!(side.after(Progress::Ended, Progress::Ended, Surplus::Some), After::Linger);
    }

    #[test]
    fn an_answer_is_framed_for_the_version_of_its_client() {
        let mut side = ServerSide::new(9);
        side.requested(&request(GET));
        assert_eq!(side.framing(200, Size::Exact(3)), Framing::Length(3));
        assert_eq!(side.framing(200, Size::Unknown), Framing::Chunked);
        assert_eq!(side.framing(204, Size::Unknown), Framing::None);
        side.requested(&request(OLD_KEPT));
        assert_eq!(side.framing(200, Size::Unknown), Framing::UntilClose);
        side.requested(&request("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        assert!(side.is_head_only());
        assert_eq!(side.answered(Framing::UntilClose, Content::Read), Some("keep-alive"));
    }

    #[test]
    fn an_upstream_is_kept_only_when_nothing_is_open_and_nothing_is_left() {
        let mut side = ClientSide::new();
        side.asked();
        side.answered(&response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(side.after(ENDED.0, ENDED.1, Surplus::None), After::Reuse);
        assert_eq!(side.after(ENDED.0, ENDED.1, Surplus::Some), After::Close);
        assert_eq!(side.after(Progress::Open, Progress::Ended, Surplus::None), After::Close);
        assert_eq!(side.after(Progress::Ended, Progress::Open, Surplus::None), After::Close);
        side.asked();
        side.answered(&response("HTTP/1.1 200 OK\r\n\r\n"));
        assert_eq!(side.after(ENDED.0, ENDED.1, Surplus::None), After::Close);
    }

    #[test]
    fn only_an_idempotent_request_on_a_used_connection_that_heard_nothing_is_sent_again() {
        let mut side = ClientSide::new();
        side.asked();
        assert_eq!(side.repeat(&Method::Get), Repeat::MustNot);
        side.answered(&response("HTTP/1.1 204 No Content\r\n\r\n"));
        side.asked();
        assert_eq!(side.repeat(&Method::Get), Repeat::May);
        assert_eq!(side.repeat(&Method::Post), Repeat::MustNot);
        assert_eq!(side.repeat(&Method::Other("get".into())), Repeat::MustNot);
        side.heard();
        assert_eq!(side.repeat(&Method::Get), Repeat::MustNot);
    }
}
