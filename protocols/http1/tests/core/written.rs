//! What is written is read as it was meant, and what was read can be written again.

use bytes::Bytes;
use portolan_exchange::{Fields, Method, Target};
use portolan_http1::{
    Asked, CHUNK_END, Event, Framing, Limits, Messages, Rules, write_chunk_head, write_last_chunk, write_request,
    write_response, write_response_without_content,
};
use proptest::prelude::*;

use crate::table::{End, cases};
use crate::told::told;

fn unframed(fields: &Fields) -> Fields {
    let mut fields = fields.clone();
    fields.remove("content-length");
    fields.remove("transfer-encoding");
    fields
}

/// The same events with heads that leave open where among their fields the framing stands.
fn without_framing_fields(events: Vec<Event>) -> Vec<Event> {
    let bare = |event| match event {
        Event::Request(mut head) => {
            head.fields = unframed(&head.fields);
            Event::Request(head)
        }
        Event::Response(mut head) => {
            head.fields = unframed(&head.fields);
            Event::Response(head)
        }
        other => other,
    };
    events.into_iter().map(bare).collect()
}

/// Writes what was read, as a gateway that changes nothing would.
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
                if framing == Framing::None {
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

#[test]
fn what_was_read_from_the_table_can_be_written_and_read_again() {
    let mut checked = 0;
    for case in cases() {
        let lines = case.expected.join("\n");
        // We answer and ask in HTTP/1.1 only; a written 204 says no more that it has content.
        if lines.contains("refused") || lines.contains("HTTP/1.0") || lines.contains("204 HTTP/1.1, None, Close") {
            continue;
        }
        let read = case.events([case.bytes.as_slice()]);
        let mut messages = case.sender.messages();
        let mut again = messages.feed(&written(&read));
        if case.end == End::Closed {
            again.extend(messages.close());
        }
        let (again, read) = (without_framing_fields(again), without_framing_fields(read));
        assert_eq!(told(&again), told(&read), "{}", case.name);
        checked += 1;
    }
    assert!(checked > 50, "{checked} were checked");
}

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}"
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    // No space at either end: it would be no part of the value.
    let byte = prop_oneof![8 => 0x21..=0x7e_u8, 1 => 0x80..=0xff_u8, 1 => Just(b' '), 1 => Just(b'\t')];
    prop::collection::vec(byte, 0..40).prop_map(|value| value.trim_ascii().to_vec())
}

fn fields() -> impl Strategy<Value = Fields> {
    prop::collection::vec((token(), value()), 0..12).prop_map(|all| {
        let mut fields = Fields::new();
        for (name, value) in all {
            // A prefix that no field with a meaning has.
            fields.add(&format!("x{name}"), value).unwrap();
        }
        fields
    })
}

fn target() -> impl Strategy<Value = String> {
    r#"/[A-Za-z0-9._~!$&'()*+,;=:@/%{}"|^-]{0,30}(\?[A-Za-z0-9/?=&]{0,20})?"#
}

#[derive(Debug, Clone)]
struct Content {
    framing: Framing,
    pieces: Vec<Vec<u8>>,
    trailers: Option<Fields>,
}

fn content() -> impl Strategy<Value = Content> {
    let pieces = prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6);
    (pieces, any::<bool>(), prop::option::of(fields())).prop_map(|(pieces, chunked, trailers)| {
        let length: usize = pieces.iter().map(Vec::len).sum();
        let framing = if chunked { Framing::Chunked } else { Framing::Length(length as u64) };
        let trailers = trailers.filter(|fields| chunked && !fields.is_empty());
        Content { framing, pieces, trailers }
    })
}

impl Content {
    fn events(&self) -> Vec<Event> {
        let data = self.pieces.iter().map(|piece| Event::Data(Bytes::copy_from_slice(piece)));
        data.chain(self.trailers.clone().map(Event::Trailers)).chain([Event::End]).collect()
    }

    /// Heads come with whatever their writer chose: only the rest is held against what was meant.
    fn check(&self, events: &[Event]) -> Result<(), TestCaseError> {
        prop_assert_eq!(told(events), told(&self.events()));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_request_is_read_as_it_was_meant(method in token(), target in target(), others in fields(), content in content()) {
        prop_assume!(method != "CONNECT" && method != "TRACE");
        let (method, target, mut fields) = (Method::of(&method), Target::new(target), Fields::new());
        fields.add("Host", "example.com:80").unwrap();
        fields.append(&others);
        fields.add("Content-Length", "77").unwrap();
        let mut out = Vec::new();
        write_request(&mut out, &method, &target, &fields, content.framing);
        let mut events = Messages::requests(Limits::default(), Rules::default()).feed(&[out, written_content(&content)].concat());
        let Event::Request(head) = events.remove(0) else { unreachable!() };
        prop_assert_eq!((head.method, head.target.as_str(), &*head.authority), (method, target.as_str(), "example.com:80"));
        prop_assert_eq!((unframed(&head.fields), head.framing), (unframed(&fields), content.framing));
        content.check(&events)?;
    }

    #[test]
    fn a_written_response_is_read_as_it_was_meant(status in 200..=599_u16, others in fields(), content in content(), close: bool) {
        prop_assume!(status != 204 && status != 304);
        let mut fields = others.clone();
        fields.add("transfer-encoding", "gzip").unwrap();
        let mut out = Vec::new();
        if close {
            fields.add("Connection", "keep-alive").unwrap();
        }
        write_response(&mut out, status, &fields, content.framing, close.then_some("close"));
        let mut messages = Messages::responses(Limits::default());
        messages.ask(Asked::default());
        let mut events = messages.feed(&[out, written_content(&content)].concat());
        let Event::Response(head) = events.remove(0) else { unreachable!() };
        let kept = if close { portolan_http1::Persistence::Close } else { portolan_http1::Persistence::KeepAlive };
        prop_assert_eq!((head.status, head.framing, head.persistence), (status, content.framing, kept));
        prop_assert_eq!(head.fields.get("connection"), close.then_some(&b"close"[..]));
        let mut read = unframed(&head.fields);
        read.remove("connection");
        prop_assert_eq!(read, others);
        content.check(&events)?;
    }
}

fn written_content(content: &Content) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in &content.pieces {
        if content.framing == Framing::Chunked {
            write_chunk_head(&mut out, piece.len());
            out.extend_from_slice(piece);
            out.extend_from_slice(CHUNK_END);
        } else {
            out.extend_from_slice(piece);
        }
    }
    if content.framing == Framing::Chunked {
        write_last_chunk(&mut out, content.trailers.as_ref());
    }
    out
}
