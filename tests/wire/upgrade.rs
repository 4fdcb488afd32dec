//! Upgrades that pass through: `websocket` to a service that speaks it, byte for byte both ways.

use std::net::TcpStream;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message as Frame;
use tokio_tungstenite::tungstenite::{self, WebSocket};

use super::{SECOND, answer, get, naming, ok, pattern, plain, whole};
use crate::kit::foreign::WebSocketEcho;
use crate::kit::raw::{End, Peer};
use crate::kit::{Message, RawClient, RawUpstream, TestGateway, wait};

const UPGRADE: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: http://shop.example\r\n\
    Keep-Alive: 5\r\n\r\n";

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\nKeep-Alive: 5\r\n\r\n";

/// What a client is told of [`SWITCHED`].
fn switched() -> Message {
    let fields = [
        ("connection", "upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "b"),
        ("upgrade", "websocket"),
    ];
    Message::new("HTTP/1.1 101 Switching Protocols", &fields, "")
}

/// An answer whose `Connection` is compared without case, as it is meant.
fn upgraded(client: &mut RawClient) -> Message {
    let mut upgraded = answer(client, "GET");
    for (name, value) in &mut upgraded.fields {
        if name == "connection" || name == "upgrade" {
            *value = value.to_ascii_lowercase();
        }
    }
    upgraded
}

/// An upstream that switches and then does this.
fn switching(then: impl Fn(&mut Peer) + Send + Sync + 'static) -> RawUpstream {
    RawUpstream::start(move |peer| {
        if peer.request().is_some() && peer.send(SWITCHED) {
            then(peer);
        }
    })
}

fn websocket(gateway: &TestGateway, path: &str) -> Result<WebSocket<TcpStream>, tungstenite::Error> {
    let stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let request = format!("ws://{}{path}", gateway.address()).into_client_request().unwrap();
    match tungstenite::client::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(error) => panic!("no upgrade: {error}"),
    }
}

#[test]
fn messages_pass_both_ways_between_a_foreign_client_and_a_foreign_service() {
    let echo = WebSocketEcho::start();
    let gateway = plain(&echo.url());
    let mut socket = websocket(&gateway, "/chat").unwrap();
    let texts = ["hello", "", "ü", &"x".repeat(125), &"x".repeat(126), &"x".repeat(70_000)];
    for text in texts {
        socket.send(Frame::text(text)).unwrap();
        assert_eq!(socket.read().unwrap(), Frame::text(text));
    }
    let bytes = pattern(1 << 20);
    socket.send(Frame::binary(bytes.clone())).unwrap();
    assert!(socket.read().unwrap() == Frame::binary(bytes), "a mebibyte came back changed");
    socket.send(Frame::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Frame::Pong("are you there".into()));
    // Many at once, so that frames and reads do not fall together.
    for number in 0..500 {
        socket.write(Frame::text(format!("number {number}"))).unwrap();
    }
    socket.flush().unwrap();
    for number in 0..500 {
        assert_eq!(socket.read().unwrap(), Frame::text(format!("number {number}")));
    }
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let line = &gateway.log(1)[0];
    assert_eq!(
        json!([line["status"], line["outcome"], line["upstream"], line["path"]]),
        json!([101, "completed", "service", "/chat"])
    );
}

#[test]
fn the_service_sees_the_upgrade_and_who_asks_for_it() {
    let echo = WebSocketEcho::start();
    let gateway = plain(&echo.url());
    let mut socket = websocket(&gateway, "/chat").unwrap();
    socket.send(Frame::text("asked")).unwrap();
    let fields = socket.read().unwrap().into_text().unwrap();
    let fields: Vec<(String, String)> = serde_json::from_str::<Value>(&fields)
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()))
        .collect();
    let told = |name: &str| {
        let found: Vec<_> = fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).collect();
        found.join(", ").to_ascii_lowercase()
    };
    assert_eq!((told("connection"), told("upgrade")), ("upgrade".into(), "websocket".into()));
    assert_eq!((told("via"), told("x-forwarded-for")), ("1.1 portolan".into(), "127.0.0.1".into()));
    assert_eq!((told("sec-websocket-version"), told("content-length")), ("13".into(), String::new()));
}

#[test]
fn the_switch_is_told_to_the_letter_and_only_the_upgrade_survives_of_its_hop() {
    let upstream = switching(Peer::hang);
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(UPGRADE);
    assert_eq!(upgraded(&mut client), switched());
    let mut seen = super::bare(upstream.requests().remove(0));
    assert_eq!(seen.take("connection").map(|value| value.to_ascii_lowercase()).as_deref(), Some("upgrade"));
    let fields = [
        ("origin", "http://shop.example"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "a, b"),
        ("sec-websocket-version", "13"),
        ("upgrade", "websocket"),
    ];
    assert_eq!(seen, Message::new("GET /chat?room=1 HTTP/1.1", &fields, ""));
}

#[test]
fn bytes_right_behind_the_switch_and_right_behind_the_request_arrive() {
    let upstream = RawUpstream::start(|peer| {
        if peer.request().is_some() {
            // In one segment with the head of the answer.
            peer.send([SWITCHED.as_bytes(), b"from the service"].concat());
            assert_eq!(peer.read_bytes(15).as_deref(), Some(&b"from the client"[..]));
            peer.send("heard");
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send([UPGRADE.as_bytes(), b"from the client"].concat());
    assert_eq!(upgraded(&mut client), switched());
    assert_eq!(client.read_bytes(21), b"from the serviceheard");
}

#[test]
fn the_end_of_either_side_reaches_the_other_and_the_exchange_is_told_once() {
    let upstream = switching(|peer| {
        peer.send("goodbye");
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(UPGRADE);
    assert_eq!(upgraded(&mut client), switched());
    assert_eq!(client.rest(), (End::Closed, b"goodbye".to_vec()));
    let line = &gateway.log(1)[0];
    assert_eq!(
        json!([line["status"], line["outcome"], line["bytes_in"], line["bytes_out"]]),
        json!([101, "completed", 0, 7])
    );

    let upstream = switching(Peer::hang);
    let gateway = plain(&upstream.url());
    for leave in [drop, RawClient::reset] {
        let mut client = RawClient::connect(gateway.address());
        client.send(UPGRADE);
        assert_eq!(upgraded(&mut client), switched());
        client.send("hello");
        leave(client);
    }
    upstream.wait_for_cancelled(2);
    assert_eq!(gateway.log(2).len(), 2);
}

#[test]
fn a_tunnel_whose_receiver_does_not_read_holds_back_its_sender() {
    const SIZE: usize = 32 << 20;
    let upstream = switching(|peer| peer.stall());
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(UPGRADE);
    assert_eq!(upgraded(&mut client), switched());
    let sent = client.send_until_blocked(&vec![b'x'; SIZE]);
    assert!(sent < SIZE * 3 / 4, "{sent} bytes were taken for a service that does not read");
}

#[test]
fn a_tunnel_ends_when_nothing_has_passed_for_its_time_and_not_while_something_does() {
    let upstream = switching(|peer| {
        while let Some(bytes) = peer.read_bytes(1) {
            peer.send(bytes);
        }
        peer.hang();
    });
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], timeouts: { idle: 10s } } }
        routes: { all: { path: /**, upstream: service, deadline: 1s } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = RawClient::connect(gateway.address());
    client.send(UPGRADE);
    assert_eq!(upgraded(&mut client), switched());
    for _ in 0..5 {
        gateway.advance(6 * SECOND);
        client.send("x");
        assert_eq!(client.read_bytes(1), b"x");
    }
    gateway.advance_until("the upstream is let go", SECOND, || upstream.cancelled() == 1);
    assert_eq!(client.end(), End::Closed);
    let line = &gateway.log(1)[0];
    assert_eq!(json!([line["status"], line["outcome"]]), json!([101, "completed"]));
}

#[test]
fn a_refused_upgrade_is_an_answer_like_another_and_its_connection_goes_on() {
    let upstream = RawUpstream::start(|peer| {
        while let Some(request) = peer.request() {
            let answer = if request.start.starts_with("GET /chat") {
                "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
            };
            peer.send(answer);
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(UPGRADE);
    assert_eq!(answer(&mut client, "GET"), whole("HTTP/1.1 403 Forbidden", "no"));
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
}

#[test]
fn a_foreign_service_that_refuses_is_heard() {
    let echo = WebSocketEcho::start();
    let gateway = plain(&echo.url());
    match websocket(&gateway, "/refused") {
        Err(tungstenite::Error::Http(refused)) => {
            assert_eq!((refused.status().as_u16(), refused.body().as_deref()), (403, Some(&b"not here\n"[..])));
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_upgrade_to_what_is_not_passed_through_is_a_request_like_another() {
    let upstream = naming();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    for asked in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__",
        // Without `Connection` it speaks of no hop that is left.
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ] {
        client.send(format!("GET /plain HTTP/1.1\r\nhost: a\r\n{asked}\r\n\r\n"));
        assert_eq!(answer(&mut client, "GET"), ok("/plain"));
    }
    client.send("GET /old HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(answer(&mut client, "GET").text(), "/old");
    for seen in upstream.requests() {
        assert_eq!((seen.field("upgrade"), seen.field("connection")), (None, None), "{seen:?}");
    }
}
