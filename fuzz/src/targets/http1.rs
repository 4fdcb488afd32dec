//! What stands at the beginning of every request, and of every answer of an upstream: HTTP/1.1.

use std::mem;

use portolan_exchange::{Fields, Version, fields};
use portolan_http1::{
    Asked, CHUNK_END, Event, Framing, Limits, Messages, Rules, Trace, write_chunk_head, write_last_chunk,
    write_request, write_response, write_response_without_content,
};

use crate::signature::Signature;
use crate::target::Target;

use super::linear;

const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 \r\n\r\n",
    "HTTP/1.0",
    "\r\n\r\n",
    "\r",
    "\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Upgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    ";a=\"b\"",
    "http://a",
];

/// The first byte chooses the limits and whether TRACE is allowed, the second how the bytes are cut.
pub(super) const REQUESTS: Target = Target {
    name: "http1-requests",
    about: "the core on a client's bytes: any cut gives the same, limits hold, what was read can be written and read again",
    run: requests,
    words: WORDS,
    seeds: &[],
    // Beyond the longest head.
    longest: 40 * 1024,
    memory: linear(8_192),
};

/// The first byte chooses the limits and what was asked, the second how the bytes are cut.
pub(super) const RESPONSES: Target = Target {
    name: "http1-responses",
    about: "the core on an upstream's bytes: any cut gives the same, limits hold, what was read can be written and read again",
    run: responses,
    ..REQUESTS
};

/// So small that short inputs reach them.
const SMALL: Limits = Limits { line: 40, field: 30, head: 120, fields: 4, chunk_line: 8, trailers: 40 };

fn limits(mode: u8) -> Limits {
    if mode & 1 == 0 { Limits::default() } else { SMALL }
}

fn requests(input: &[u8]) -> Signature {
    let [mode, cut, bytes @ ..] = input else { return Signature::of("nothing") };
    let rules = Rules { trace: if mode & 2 == 0 { Trace::Refuse } else { Trace::Allow } };
    check(bytes, *cut, limits(*mode), &|limits| Messages::requests(limits, rules))
}

fn responses(input: &[u8]) -> Signature {
    let [mode, cut, bytes @ ..] = input else { return Signature::of("nothing") };
    // Eight requests, of which each bit makes the odd or the even ones something else than GET.
    let asked =
        |number: u8| Asked { head: mode & 2 != 0 && number & 1 == 0, upgrade: mode & 4 != 0 && number & 1 == 1 };
    check(bytes, *cut, limits(*mode), &|limits| {
        let mut messages = Messages::responses(limits);
        (0..8).for_each(|number| messages.ask(asked(number)));
        messages
    })
}

fn check(bytes: &[u8], cut: u8, limits: Limits, messages: &dyn Fn(Limits) -> Messages) -> Signature {
    let whole = feed(messages(limits), [bytes]);
    assert_eq!(feed(messages(limits), bytes.chunks(usize::from(cut).max(1))), whole, "a cut changed what was read");
    if bytes.len() < 1024 {
        assert_eq!(feed(messages(limits), bytes.chunks(1)), whole, "byte by byte something else is read");
    }
    whole.iter().for_each(|event| check_event(event, limits));
    let (again, meant) = (feed(messages(Limits::default()), [written(&whole).as_slice()]), comparable(whole.clone()));
    let ends = usize::from(matches!(whole.last(), Some(Event::Refused(_))));
    let complete =
        meant.iter().rposition(|event| matches!(event, Event::End)).map_or(0, |at| at + 1).min(meant.len() - ends);
    if !whole.iter().any(is_old) {
        assert_eq!(
            &comparable(again)[..complete],
            &meant[..complete],
            "what was read cannot be written and read again"
        );
    }
    whole.iter().fold(Signature::of("stream").size("events", whole.len()), |signature, event| match event {
        Event::Request(head) => {
            signature.told(&format!("request {:?}", head.framing)).size("fields", head.fields.len())
        }
        Event::Response(head) => {
            signature.told(&format!("response {:?}", head.framing)).size("status", usize::from(head.status))
        }
        Event::Data(_) => signature.told("data"),
        Event::Trailers(_) => signature.told("trailers"),
        Event::End => signature.told("end"),
        Event::Tunnel(_) => signature.told("tunnel"),
        Event::Refused(refusal) => signature.told(&format!("refused {refusal:?}")),
    })
}

/// What comes of the pieces, with neighbouring data in one.
fn feed<'a>(mut messages: Messages, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let (mut events, mut data, mut tunnel) = (Vec::new(), Vec::new(), Vec::new());
    for event in pieces.into_iter().flat_map(|piece| messages.feed(piece)) {
        match event {
            Event::Data(more) => data.extend_from_slice(&more),
            Event::Tunnel(more) => tunnel.extend_from_slice(&more),
            event => {
                if !data.is_empty() {
                    events.push(Event::Data(mem::take(&mut data).into()));
                }
                events.push(event);
            }
        }
    }
    // Nothing comes behind what has no end of its own.
    events.extend((!data.is_empty()).then(|| Event::Data(data.into())));
    events.extend((!tunnel.is_empty()).then(|| Event::Tunnel(tunnel.into())));
    events
}

fn check_event(event: &Event, limits: Limits) {
    let received = match event {
        Event::Request(head) => {
            assert!(!head.authority.is_empty() || head.version == Version::Http10, "a request for no host");
            assert!(head.framing != Framing::UntilClose, "a request without an end");
            &head.fields
        }
        Event::Response(head) => {
            assert!((100..600).contains(&head.status), "status {}", head.status);
            &head.fields
        }
        Event::Trailers(fields) => fields,
        _ => return,
    };
    assert!(received.len() <= limits.fields, "{} fields", received.len());
    for (name, value) in received.iter() {
        assert!(fields::is_token(name) && fields::is_field_value(value), "a field that cannot be written");
        assert!(name.len() + value.len() < limits.field, "a field of {} bytes", name.len() + value.len() + 1);
        assert_eq!(value, value.trim_ascii(), "space around a value");
    }
}

/// We answer in HTTP/1.1 only: the reading of what is of HTTP/1.0 is another one afterwards.
fn is_old(event: &Event) -> bool {
    match event {
        Event::Request(head) => head.version == Version::Http10,
        Event::Response(head) => head.version == Version::Http10,
        _ => false,
    }
}

/// Events whose heads leave open where among their fields the framing stands, which a writer decides; and whether the
/// connection may be used again, since a 204 that was written does no longer say that it has content.
fn comparable(events: Vec<Event>) -> Vec<Event> {
    let unframed = |fields: &mut Fields| {
        fields.remove("content-length");
        fields.remove("transfer-encoding");
    };
    let each = |mut event| {
        match &mut event {
            Event::Request(head) => unframed(&mut head.fields),
            Event::Response(head) => {
                unframed(&mut head.fields);
                head.persistence = portolan_http1::Persistence::Close;
            }
            _ => {}
        }
        event
    };
    events.into_iter().map(each).collect()
}

/// The messages as a gateway that changes nothing writes them.
fn written(events: &[Event]) -> Vec<u8> {
    let (mut out, mut framing, mut trailers) = (Vec::new(), Framing::None, None);
    for event in events {
        match event {
            Event::Request(head) => {
                framing = head.framing;
                write_request(&mut out, &head.method, &head.target, &head.fields, framing);
            }
            Event::Response(head) => {
                framing = head.framing;
                if framing == Framing::None && !head.is_interim() && head.status != 101 {
                    write_response_without_content(&mut out, head.status, &head.fields, None);
                } else {
                    write_response(&mut out, head.status, &head.fields, framing, None);
                }
            }
            Event::Data(data) if framing == Framing::Chunked => {
                write_chunk_head(&mut out, data.len());
                out.extend_from_slice(data);
                out.extend_from_slice(CHUNK_END);
            }
            Event::Data(data) | Event::Tunnel(data) => out.extend_from_slice(data),
            Event::Trailers(fields) => trailers = Some(fields),
            Event::End if framing == Framing::Chunked => write_last_chunk(&mut out, trailers.take()),
            Event::End | Event::Refused(_) => {}
        }
    }
    out
}
