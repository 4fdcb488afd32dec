//! One direction of a connection from its first byte to its last: reader and decoder joined.

use std::collections::VecDeque;

use bytes::Bytes;
use portolan_exchange::Fields;

use crate::{Asked, Decoder, Limits, Piece, Refusal, RequestHead, RequestReader, ResponseHead, ResponseReader, Rules};

/// What was found in a stream of messages.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The head of a request.
    Request(Box<RequestHead>),
    /// The head of a response. No [`Event::End`] follows an interim one.
    Response(Box<ResponseHead>),
    /// Content; how it is cut depends on how the bytes arrived.
    Data(Bytes),
    /// Trailers.
    Trailers(Fields),
    /// The end of a message.
    End,
    /// Bytes behind `101 (Switching Protocols)`, which are no HTTP.
    Tunnel(Bytes),
    /// A rule was broken: nothing more is read.
    Refused(Refusal),
}

/// Reads the messages of one direction. Drivers that hold their own buffers use reader and decoder by themselves; this
/// one keeps what it must, and at most a head or a trailer section of it.
#[derive(Debug)]
pub struct Messages {
    side: Side,
    limits: Limits,
    state: State,
    /// What came and was not consumed.
    held: Vec<u8>,
}

#[derive(Debug)]
enum Side {
    Requests { reader: RequestReader, rules: Rules },
    Responses { reader: ResponseReader, asked: VecDeque<Asked> },
}

#[derive(Debug)]
enum State {
    Head,
    Body(Decoder),
    Tunnel,
    Refused,
}

impl Messages {
    /// What a client sends.
    pub fn requests(limits: Limits, rules: Rules) -> Self {
        Self::of(Side::Requests { reader: RequestReader::new(), rules }, limits)
    }

    /// What an upstream sends, to whom nothing was sent yet: see [`Messages::ask`].
    pub fn responses(limits: Limits) -> Self {
        Self::of(Side::Responses { reader: ResponseReader::new(), asked: VecDeque::new() }, limits)
    }

    fn of(side: Side, limits: Limits) -> Self {
        Self { side, limits, state: State::Head, held: Vec::new() }
    }

    /// A request was sent: one more response may come.
    pub fn ask(&mut self, asked: Asked) {
        if let Side::Responses { asked: awaited, .. } = &mut self.side {
            awaited.push_back(asked);
        }
    }

    /// Takes the bytes that arrived next; what came of them. Nothing comes of bytes behind a refusal.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        if matches!(self.state, State::Refused) {
            return events;
        }
        self.held.extend_from_slice(bytes);
        let mut held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        if let Err(refusal) = self.advance(&mut rest, &mut events) {
            self.state = State::Refused;
            events.push(Event::Refused(refusal));
            return events;
        }
        let consumed = held.len() - rest.len();
        held.drain(..consumed);
        self.held = held;
        events
    }

    /// The sender closed its side. Between messages that is no refusal.
    pub fn close(&mut self) -> Vec<Event> {
        let end = match &mut self.state {
            State::Head if self.held.is_empty() => return Vec::new(),
            State::Head => Event::Refused(Refusal::CutOff),
            State::Body(decoder) => decoder.close().map_or_else(Event::Refused, |()| Event::End),
            State::Tunnel | State::Refused => return Vec::new(),
        };
        self.state = State::Refused;
        vec![end]
    }

    fn advance(&mut self, rest: &mut &[u8], events: &mut Vec<Event>) -> Result<(), Refusal> {
        loop {
            match &mut self.state {
                State::Head if rest.is_empty() => return Ok(()),
                State::Head => {
                    let Some((event, state, length)) = self.side.head(rest, &self.limits)? else { return Ok(()) };
                    events.push(event);
                    self.state = state;
                    *rest = &rest[length..];
                }
                State::Body(decoder) if decoder.has_ended() => {
                    events.push(Event::End);
                    self.state = State::Head;
                }
                State::Body(decoder) => {
                    let consumed = match decoder.decode(rest, &self.limits)? {
                        Piece::Data { range, consumed } => {
                            events.push(Event::Data(Bytes::copy_from_slice(&rest[range])));
                            consumed
                        }
                        Piece::Trailers { fields, consumed } => {
                            events.push(Event::Trailers(fields));
                            consumed
                        }
                        Piece::End { consumed } => consumed,
                        Piece::More { consumed } => {
                            *rest = &rest[consumed..];
                            return Ok(());
                        }
                    };
                    *rest = &rest[consumed..];
                }
                State::Tunnel => {
                    if !rest.is_empty() {
                        events.push(Event::Tunnel(Bytes::copy_from_slice(rest)));
                        *rest = &[];
                    }
                    return Ok(());
                }
                State::Refused => return Ok(()),
            }
        }
    }
}

impl Side {
    fn head(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<(Event, State, usize)>, Refusal> {
        match self {
            Self::Requests { reader, rules } => {
                let Some((head, length)) = reader.read(bytes, limits, rules)? else { return Ok(None) };
                let body = State::Body(Decoder::new(head.framing));
                Ok(Some((Event::Request(Box::new(head)), body, length)))
            }
            Self::Responses { reader, asked } => {
                let Some(what) = asked.front() else { return Err(Refusal::Unasked) };
                let Some((head, length)) = reader.read(bytes, limits, *what)? else { return Ok(None) };
                let next = match head.status {
                    101 => State::Tunnel,
                    _ if head.is_interim() => State::Head,
                    _ => State::Body(Decoder::new(head.framing)),
                };
                if !head.is_interim() {
                    asked.pop_front();
                }
                Ok(Some((Event::Response(Box::new(head)), next, length)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_exchange::fields::Names;

    use crate::Persistence;

    fn requests(bytes: &str) -> Vec<Event> {
        Messages::requests(Limits::default(), Rules::default()).feed(bytes.as_bytes())
    }

    fn responses(asked: &[Asked], bytes: &str) -> Vec<Event> {
        let mut messages = Messages::responses(Limits::default());
        asked.iter().for_each(|asked| messages.ask(*asked));
        let mut events = messages.feed(bytes.as_bytes());
        events.extend(messages.close());
        events
    }

    /// An event in a line.
    fn told(event: &Event) -> String {
        let lines = |fields: &Fields| {
            let mut out = Vec::new();
            fields.write_lines(&mut out, Names::NONE);
            String::from_utf8_lossy(&out).trim_end().replace("\r\n", "|")
        };
        let text = |data: &Bytes| String::from_utf8_lossy(data).into_owned();
        match event {
            Event::Request(head) => {
                let kept = head.persistence == Persistence::KeepAlive;
                let kept = if kept { "kept" } else { "last" };
                let (method, target, host) = (&head.method, head.target.as_str(), &head.authority);
                format!("{method} {target} at {host}, {:?}, {kept}, {}", head.framing, lines(&head.fields))
            }
            Event::Response(head) => {
                let kept = if head.persistence == Persistence::KeepAlive { "kept" } else { "last" };
                format!("{}, {:?}, {kept}, {}", head.status, head.framing, lines(&head.fields))
            }
            Event::Data(data) => text(data),
            Event::Trailers(fields) => format!("trailers {}", lines(fields)),
            Event::End => "end".into(),
            Event::Tunnel(data) => format!("tunnel {}", text(data)),
            Event::Refused(refusal) => format!("{refusal:?}"),
        }
    }

    fn all(events: &[Event]) -> Vec<String> {
        events.iter().map(told).collect()
    }

    #[test]
    fn requests_that_follow_one_another_are_read_in_order() {
        let bytes = "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nAccept:  x \r\n\r\n\
             \r\nPOST /b HTTP/1.1\r\nHost: b:80\r\nContent-Length: 5\r\n\r\nhello\
             PUT http://C/c HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n\
             3;a=b;c=\"d;\\\"\"\r\nabc\r\nA\r\n0123456789\r\n000\r\nX: 1\r\n\r\n";
        assert_eq!(
            all(&requests(bytes)),
            [
                "GET /a?b=c at example.com, None, kept, Host: example.com|Accept: x",
                "end",
                "POST /b at b:80, Length(5), kept, Host: b:80|Content-Length: 5",
                "hello",
                "end",
                "PUT /c at c, Chunked, last, Host: c|Transfer-Encoding: Chunked|Connection: close",
                "abc",
                "0123456789",
                "trailers X: 1",
                "end",
            ]
        );
    }

    #[test]
    fn what_a_client_asks_of_its_connection_is_told() {
        let bytes = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nUpgrade: h2c\r\n\r\n\
             POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n.\
             GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n";
        let heads: Vec<_> = requests(bytes)
            .into_iter()
            .filter_map(|event| match event {
                Event::Request(head) => Some((head.upgrade, head.expects_continue)),
                _ => None,
            })
            .collect();
        assert_eq!(heads, [(Some("websocket, h2c".into()), false), (None, true), (None, false)]);
    }

    #[test]
    fn responses_are_framed_by_what_was_asked() {
        let (get, head) = (Asked::default(), Asked { head: true, upgrade: false });
        let bytes = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi\
             HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n\
             HTTP/1.0 404 Not Found\r\n\r\nall the rest";
        assert_eq!(
            all(&responses(&[get, head, get, get], bytes)),
            [
                "103, None, kept, Link: </a>",
                "200, Length(2), kept, Content-Length: 2",
                "hi",
                "end",
                "200, None, kept, Content-Length: 9",
                "end",
                "304, None, kept, Content-Length: 9",
                "end",
                "404, UntilClose, last, ",
                "all the rest",
                "end",
            ]
        );
    }

    #[test]
    fn a_switch_of_protocols_that_was_asked_for_ends_http() {
        let upgrade = Asked { head: false, upgrade: true };
        let bytes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nHTTP/1.1 200 OK\r\n";
        assert_eq!(all(&responses(&[upgrade], bytes)), ["101, None, kept, Upgrade: x", "tunnel HTTP/1.1 200 OK\r\n"]);
        assert_eq!(all(&responses(&[Asked::default()], bytes)), ["UnaskedSwitch"]);
    }

    #[test]
    fn bytes_that_nobody_asked_for_are_refused() {
        let bytes = "HTTP/1.1 204 No Content\r\n\r\nHTTP";
        assert_eq!(all(&responses(&[Asked::default()], bytes)), ["204, None, kept, ", "end", "Unasked"]);
    }

    #[test]
    fn a_message_that_ends_too_early_is_cut_off() {
        let asked = [Asked::default()];
        assert_eq!(all(&responses(&asked, "HTTP/1.1 200")), ["CutOff"]);
        let cut = ["200, Length(2), kept, Content-Length: 2", "h", "CutOff"];
        assert_eq!(all(&responses(&asked, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")), cut);
        let cut = ["200, Chunked, kept, Transfer-Encoding: chunked", "h", "CutOff"];
        assert_eq!(
            all(&responses(&asked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\n")),
            cut
        );
    }
}
