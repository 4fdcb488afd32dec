//! What becomes of a connection: decided from what was read and written on it, without knowing the connection.
//!
//! Towards a client, [`Serving`] is an exchange whose request was read. Once it is known how it is answered it becomes
//! [`Announced`], which writes the head, and says what follows and what becomes of the connection. Towards an upstream,
//! [`Calling`] goes with a connection from one request to the next. A driver tells them what happened and does what they
//! say; its own reasons to close (time-outs, an error of the socket) come on top.

use portolan_exchange::{Fields, Method, Size, Version};

use crate::{Framing, Persistence, RequestHead, ResponseHead, write_response, write_response_without_content};

/// What becomes of a client's connection when an exchange on it is over.
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

/// What of a request is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    None,
    /// Something that may be read yet.
    Open,
    /// Something that nobody will read.
    Abandoned,
}

/// What the head of an answer says of its content, and whether that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// None follows, whatever the fields say (RFC 9112, section 6.3).
    None,
    /// None follows, but GET would be answered with so many bytes.
    Told(u64),
    /// It follows, framed so.
    Follows(Framing),
}

/// An exchange on a client's connection, whose request was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving {
    version: Version,
    wanted: Wanted,
    persistence: Persistence,
}

/// An exchange on a client's connection, whose answer is about to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// What follows the head.
    pub content: Content,
    version: Version,
    persistence: Persistence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Content,
    HeadOnly,
}

impl Serving {
    /// What came is no request, and there is no telling where the next one begins.
    pub const UNREAD: Self =
        Self { version: Version::Http11, wanted: Wanted::Content, persistence: Persistence::Close };

    /// The exchange of this request.
    pub const fn new(head: &RequestHead) -> Self {
        let wanted = if matches!(head.method, Method::Head) { Wanted::HeadOnly } else { Wanted::Content };
        Self { version: head.version, wanted, persistence: head.persistence }
    }

    /// Whether heads may be sent before the answer's own: HTTP/1.0 knows none (RFC 9110, section 15.2).
    pub const fn knows_interims(self) -> bool {
        !matches!(self.version, Version::Http10)
    }

    /// It is answered with this status and a body of this size. The connection ends with it where the client or we (`ours`)
    /// want that, where nobody will read the rest of the request, or where the client knows no chunks and nothing else
    /// could end the content.
    #[inline]
    pub const fn announce(self, status: u16, size: Size, rest: Rest, ours: Persistence) -> Announced {
        let content = match (status, self.wanted, size, self.version) {
            (..200 | 204 | 304, ..) | (_, Wanted::HeadOnly, Size::Exact(0) | Size::Unknown, _) => Content::None,
            (_, Wanted::HeadOnly, Size::Exact(length), _) => Content::Told(length),
            (_, Wanted::Content, Size::Exact(length), _) => Content::Follows(Framing::Length(length)),
            (_, Wanted::Content, Size::Unknown, Version::Http10) => Content::Follows(Framing::UntilClose),
            (_, Wanted::Content, Size::Unknown, _) => Content::Follows(Framing::Chunked),
        };
        let persistence = match (self.persistence, ours, rest, content) {
            (_, _, _, Content::Follows(Framing::UntilClose)) => Persistence::Close,
            (Persistence::KeepAlive, Persistence::KeepAlive, Rest::None | Rest::Open, _) => Persistence::KeepAlive,
            (Persistence::Close, ..) | (_, Persistence::Close, ..) | (_, _, Rest::Abandoned, _) => Persistence::Close,
        };
        Announced { content, version: self.version, persistence }
    }
}

impl Announced {
    /// Writes the head of the answer, with what it says of its content and of the connection.
    pub fn write_head(&self, out: &mut Vec<u8>, status: u16, fields: &Fields) {
        let connection = self.connection();
        match self.content {
            Content::Follows(framing) => write_response(out, status, fields, framing, connection),
            Content::Told(length) => write_response(out, status, fields, Framing::Length(length), connection),
            Content::None => write_response_without_content(out, status, fields, connection),
        }
    }

    /// The exchange is over, with this left of its request: an answer that did not come to its end is followed by nothing, and
    /// what is left could be taken for the next request.
    pub const fn after(&self, rest: Rest, answer: Progress) -> After {
        match (answer, rest, self.persistence) {
            // Part of an answer must not look like a whole one.
            (Progress::Open, ..) => After::Close,
            (Progress::Ended, Rest::None, Persistence::KeepAlive) => After::Reuse,
            (Progress::Ended, Rest::None, Persistence::Close) | (Progress::Ended, Rest::Open | Rest::Abandoned, _) => {
                After::Linger
            }
        }
    }

    /// The `Connection` field, where the version does not say it already (RFC 9112, section 9.3).
    const fn connection(&self) -> Option<&'static str> {
        match (self.persistence, self.version) {
            (Persistence::Close, _) => Some("close"),
            (Persistence::KeepAlive, Version::Http10) => Some("keep-alive"),
            (Persistence::KeepAlive, _) => None,
        }
    }
}

/// Whether bytes stand behind a message that were read with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surplus {
    /// There are none.
    None,
    /// There are some.
    Some,
}

/// Whether a request may be sent again on another connection, if this one ends before the first byte of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It may: the upstream closed a connection that had been idle, and the method promises that twice does no more than once.
    May,
    /// It may not.
    MustNot,
}

/// A connection to an upstream, from one request to the next.
#[derive(Debug, Default)]
pub struct Calling {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Nothing has come on it.
    #[default]
    Fresh,
    /// Nothing has come on it since it was kept.
    Kept,
    /// Bytes of an answer came.
    Heard,
    /// The head of the answer came, and says this of the connection.
    Answered(Persistence),
}

impl Calling {
    /// Whether a request of this method may be sent again, if the connection ends now (RFC 9110, section 9.2.2). That its
    /// content can be replayed is for the caller to know.
    pub const fn repeat(&self, method: &Method) -> Repeat {
        match self.state {
            State::Kept if is_idempotent(method) => Repeat::May,
            State::Kept | State::Fresh | State::Heard | State::Answered(_) => Repeat::MustNot,
        }
    }

    /// Bytes of an answer came.
    pub const fn heard(&mut self) {
        self.state = State::Heard;
    }

    /// Whether bytes of an answer came.
    pub const fn has_heard(&self) -> bool {
        matches!(self.state, State::Heard | State::Answered(_))
    }

    /// The head of the answer came.
    pub const fn answered(&mut self, head: &ResponseHead) {
        self.state = State::Answered(head.persistence);
    }

    /// The answer has come to its end: whether the connection is kept for another request. Only where all of the request
    /// was sent, which the next one would wait for, and nothing stands behind the answer, which would be read as the next.
    pub const fn keep(&mut self, request: Progress, surplus: Surplus) -> Persistence {
        match (self.state, request, surplus) {
            (State::Answered(Persistence::KeepAlive), Progress::Ended, Surplus::None) => {
                self.state = State::Kept;
                Persistence::KeepAlive
            }
            (State::Fresh | State::Kept | State::Heard | State::Answered(_), ..) => Persistence::Close,
        }
    }
}

/// Whether asking twice does no more than asking once (RFC 9110, section 9.2.2).
const fn is_idempotent(method: &Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Limits, RequestReader, ResponseReader, Rules};

    fn serving(head: &str) -> Serving {
        let read = RequestReader::new().read(head.as_bytes(), &Limits::default(), &Rules::default());
        Serving::new(&read.unwrap().unwrap().0)
    }

    fn response(head: &str) -> ResponseHead {
        ResponseReader::new().read(head.as_bytes(), &Limits::default(), Asked::default()).unwrap().unwrap().0
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    const OLD: &str = "GET / HTTP/1.0\r\n\r\n";
    const OLD_KEPT: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const OLD_HEAD: &str = "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    const KEEP: Persistence = Persistence::KeepAlive;

    /// What is said of the connection, and becomes of it where nothing is left of the request.
    fn served(head: &str, size: Size, rest: Rest, ours: Persistence) -> (Option<&'static str>, After) {
        let announced = serving(head).announce(200, size, rest, ours);
        (announced.connection(), announced.after(Rest::None, Progress::Ended))
    }

    #[test]
    fn a_client_is_kept_as_its_version_and_its_wish_say() {
        let one = Size::Exact(1);
        assert_eq!(served(GET, one, Rest::None, KEEP), (None, After::Reuse));
        assert_eq!(served(OLD_KEPT, one, Rest::None, KEEP), (Some("keep-alive"), After::Reuse));
        assert_eq!(served(OLD, one, Rest::None, KEEP), (Some("close"), After::Linger));
        let closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n";
        assert_eq!(served(closing, one, Rest::None, KEEP), (Some("close"), After::Linger));
    }

    #[test]
    fn a_client_is_not_kept_past_its_last_request_or_an_answer_without_another_end() {
        assert_eq!(served(GET, Size::Unknown, Rest::None, Persistence::Close), (Some("close"), After::Linger));
        assert_eq!(served(GET, Size::Unknown, Rest::None, KEEP), (None, After::Reuse));
        assert_eq!(served(OLD_KEPT, Size::Unknown, Rest::None, KEEP), (Some("close"), After::Linger));
        assert_eq!(served(GET, Size::Exact(0), Rest::Abandoned, KEEP), (Some("close"), After::Linger));
    }

    #[test]
    fn an_answer_before_the_end_of_the_request_is_followed_by_a_lingering_close() {
        let post = serving("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
        let announced = post.announce(200, Size::Exact(0), Rest::Open, KEEP);
        assert_eq!(announced.connection(), None);
        assert_eq!(announced.after(Rest::Open, Progress::Ended), After::Linger);
        assert_eq!(announced.after(Rest::Abandoned, Progress::Ended), After::Linger);
        assert_eq!(announced.after(Rest::Open, Progress::Open), After::Close);
        assert_eq!(announced.after(Rest::None, Progress::Open), After::Close);
        assert_eq!(announced.after(Rest::None, Progress::Ended), After::Reuse);
    }

    #[test]
    fn what_is_no_request_is_answered_with_content_and_a_lingering_close() {
        let announced = Serving::UNREAD.announce(400, Size::Exact(3), Rest::Abandoned, KEEP);
        assert_eq!((announced.content, announced.connection()), (Content::Follows(Framing::Length(3)), Some("close")));
        assert_eq!(announced.after(Rest::Abandoned, Progress::Ended), After::Linger);
        assert_eq!(announced.after(Rest::None, Progress::Ended), After::Linger);
    }

    #[test]
    fn an_answer_is_framed_for_the_version_of_its_client() {
        let content = |head, status, size| serving(head).announce(status, size, Rest::None, KEEP).content;
        assert_eq!(content(GET, 200, Size::Exact(3)), Content::Follows(Framing::Length(3)));
        assert_eq!(content(GET, 200, Size::Exact(0)), Content::Follows(Framing::Length(0)));
        assert_eq!(content(GET, 200, Size::Unknown), Content::Follows(Framing::Chunked));
        assert_eq!(content(OLD_KEPT, 200, Size::Unknown), Content::Follows(Framing::UntilClose));
        for (status, size) in [(204, Size::Unknown), (204, Size::Exact(3)), (304, Size::Exact(3))] {
            assert_eq!(content(GET, status, size), Content::None, "{status}");
            assert_eq!(content(HEAD, status, size), Content::None, "{status}");
        }
    }

    #[test]
    fn a_head_is_told_what_a_get_would_get_and_its_connection_stays() {
        let announced = |head, size| serving(head).announce(200, size, Rest::None, KEEP);
        assert_eq!(announced(HEAD, Size::Exact(3)).content, Content::Told(3));
        assert_eq!(announced(HEAD, Size::Exact(0)).content, Content::None);
        assert_eq!(announced(HEAD, Size::Unknown).content, Content::None);
        assert_eq!(announced(OLD_HEAD, Size::Unknown).connection(), Some("keep-alive"));
    }

    #[test]
    fn the_head_of_an_answer_says_what_was_announced() {
        let written = |head, status, size, ours| {
            let mut fields = Fields::new();
            fields.push(b"content-length", b"9");
            let mut out = Vec::new();
            serving(head).announce(status, size, Rest::None, ours).write_head(&mut out, status, &fields);
            String::from_utf8(out).unwrap()
        };
        let three = Size::Exact(3);
        assert_eq!(written(GET, 200, three, KEEP), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(written(HEAD, 200, three, KEEP), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(written(HEAD, 200, Size::Unknown, KEEP), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
        assert_eq!(
            written(GET, 304, three, Persistence::Close),
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(
            written(OLD_KEPT, 200, three, KEEP),
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n"
        );
    }

    #[test]
    fn only_a_client_of_http_1_1_is_sent_heads_before_the_answer() {
        assert!(serving(GET).knows_interims());
        assert!(!serving(OLD_KEPT).knows_interims());
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    fn kept() -> Calling {
        let mut calling = Calling::default();
        calling.heard();
        calling.answered(&response(OK));
        assert_eq!(calling.keep(Progress::Ended, Surplus::None), Persistence::KeepAlive);
        calling
    }

    #[test]
    fn an_upstream_is_kept_only_when_nothing_is_open_and_nothing_is_left() {
        let keep = |head: Option<&str>, request, surplus| {
            let mut calling = kept();
            calling.heard();
            if let Some(head) = head {
                calling.answered(&response(head));
            }
            calling.keep(request, surplus)
        };
        assert_eq!(keep(Some(OK), Progress::Ended, Surplus::None), Persistence::KeepAlive);
        assert_eq!(keep(Some(OK), Progress::Ended, Surplus::Some), Persistence::Close);
        assert_eq!(keep(Some(OK), Progress::Open, Surplus::None), Persistence::Close);
        assert_eq!(keep(None, Progress::Ended, Surplus::None), Persistence::Close);
        let without_end = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(keep(Some(without_end), Progress::Ended, Surplus::None), Persistence::Close);
        let closing = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_eq!(keep(Some(closing), Progress::Ended, Surplus::None), Persistence::Close);
    }

    #[test]
    fn only_an_idempotent_request_on_a_used_connection_that_heard_nothing_is_sent_again() {
        let fresh = Calling::default();
        assert_eq!((fresh.repeat(&Method::Get), fresh.has_heard()), (Repeat::MustNot, false));
        let mut calling = kept();
        assert!(!calling.has_heard());
        assert_eq!(calling.repeat(&Method::Get), Repeat::May);
        assert_eq!(calling.repeat(&Method::Post), Repeat::MustNot);
        assert_eq!(calling.repeat(&Method::Other("get".into())), Repeat::MustNot);
        calling.heard();
        assert_eq!((calling.repeat(&Method::Get), calling.has_heard()), (Repeat::MustNot, true));
        calling.answered(&response(OK));
        assert_eq!((calling.repeat(&Method::Get), calling.has_heard()), (Repeat::MustNot, true));
    }
}
