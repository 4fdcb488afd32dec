//! HTTP/1.1 on both sides, message by message: what is read, what is written, and what becomes of the connection.

mod bodies;
mod bounds;
mod duplex;
mod early;
mod economy;
mod foreign;
mod hop;
mod idle;
mod interim;
mod parking;
mod persistence;
mod proxied;
mod refused;
mod slow;
mod upgrade;
mod upstream_faults;
mod vanish;

use std::time::Duration;

use crate::kit::{Message, RawClient, RawUpstream, TestGateway};

const SECOND: Duration = Duration::from_secs(1);

/// One worker, one upstream, and one route to it that takes everything: a connection that is kept is the one used next.
const PLAIN: &str = r#"
    workers: 1
    upstreams: { service: { endpoints: [ "{upstream}" ], breaker: off } }
    routes: { all: { path: /**, upstream: service } }
"#;

/// A gateway that passes everything on to this upstream.
fn plain(upstream: &str) -> TestGateway {
    TestGateway::with_config(PLAIN).with("upstream", upstream).start()
}

/// Like [`plain`], with these settings of its listener.
fn listening(listener: &str, upstream: &str) -> TestGateway {
    with_listener(listener, PLAIN).with("upstream", upstream).start()
}

/// A gateway of this configuration, with these settings of its listener.
fn with_listener(listener: &str, configuration: &str) -> crate::kit::gateway::Setup {
    let listeners = format!("listeners: {{ public: {{ address: 127.0.0.1:0, {listener} }} }}\n");
    TestGateway::with_config(&(listeners + &crate::kit::gateway::unindented(configuration)))
}

/// An upstream that gives back the body of every request.
fn echo() -> RawUpstream {
    RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len()).into_bytes();
            if !request.start.starts_with("HEAD ") {
                answer.extend_from_slice(&request.body);
            }
            if !peer.send(answer) {
                return;
            }
        }
    })
}

/// An upstream that answers each request with its path.
fn naming() -> RawUpstream {
    RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let path = request.start.split(' ').nth(1).expect("a request line has a target");
            if !peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len())) {
                return;
            }
        }
    })
}

/// A `GET` of this path.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// The next answer, without what differs from run to run: the request's id, which every answer names, and the date.
#[track_caller]
fn answer(client: &mut RawClient, method: &str) -> Message {
    let mut answer = client.answer_to(method);
    let id = answer.take("x-request-id").unwrap_or_else(|| panic!("no request id in {answer:?}"));
    assert!(is_id(&id), "{id}");
    answer.take("date");
    answer
}

/// So many bytes of which no piece is like its neighbours.
fn pattern(size: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..=250).collect();
    let mut bytes = period.repeat(size / period.len() + 1);
    bytes.truncate(size);
    bytes
}

fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// An answer of this status line, with this body and its length.
fn whole(start: &str, body: &str) -> Message {
    Message::new(start, &[("content-length", &body.len().to_string())], body)
}

/// An answer of 200 with this body.
fn ok(body: &str) -> Message {
    whole("HTTP/1.1 200 OK", body)
}

/// A request as an upstream saw it, without what the gateway tells of itself and of the client.
fn bare(mut request: Message) -> Message {
    for name in ["x-request-id", "host", "via"] {
        assert!(request.take(name).is_some(), "no {name} in {request:?}");
    }
    request.fields.retain(|(name, _)| !name.starts_with("x-forwarded-"));
    request
}

/// A request as it is expected there.
fn request(start: &str, body: &str) -> Message {
    let length = body.len().to_string();
    let fields = [("content-length", length.as_str())];
    Message::new(start, if body.is_empty() { &[] } else { &fields }, body)
}
