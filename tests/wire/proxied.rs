//! Clients behind proxies: whom the gateway believes, what it takes for the client's address, what it tells its upstream.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{answer, echo, get, is_id, listening, ok, with_listener};
use crate::kit::raw::End;
use crate::kit::{Message, RawClient, RawUpstream, TestGateway};

/// What the upstream and the log are told of a request sent as it stands here: the fields of the way, and the client.
fn told(gateway: &TestGateway, upstream: &RawUpstream, bytes: &[u8]) -> (Vec<(String, String)>, String) {
    let before = upstream.requests().len();
    let mut client = RawClient::connect(gateway.address());
    client.send(bytes);
    assert_eq!(answer(&mut client, "GET"), ok(""));
    let mut seen: Message = upstream.wait_for_requests(before + 1).remove(before);
    assert!(seen.take("x-request-id").is_some_and(|id| is_id(&id)));
    seen.fields.retain(|(name, _)| name == "forwarded" || name.starts_with("x-forwarded-"));
    let client = gateway.log(before + 1)[before]["client"].as_str().expect("a line names its client").to_owned();
    (seen.fields, client)
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A `GET` with these fields, of which its client claims what it likes.
fn claiming(claims: &str) -> String {
    get("/").replace("\r\n\r\n", &format!("\r\n{claims}\r\n\r\n"))
}

#[test]
fn a_client_is_not_believed_whatever_it_says_and_whichever_way() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 10.0.0.0/8 ]", &upstream.url());
    let port = gateway.address().port().to_string();
    let expected = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a"),
        ("x-forwarded-port", &port),
        ("x-forwarded-proto", "http"),
    ];
    for claims in [
        "x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\nx-forwarded-port: 6",
        "forwarded: for=6.6.6.6;proto=https;host=evil",
        "x-real-ip: 6.6.6.6\r\nx_forwarded_for: 6.6.6.6",
    ] {
        assert_eq!(
            told(&gateway, &upstream, claiming(claims).as_bytes()),
            (fields(&expected), "127.0.0.1".into()),
            "{claims}"
        );
    }
}

#[test]
fn of_a_trusted_proxys_list_the_first_untrusted_address_from_the_right_is_the_client() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.0/8, 10.0.0.0/8 ]", &upstream.url());
    let claims =
        "x-forwarded-for: 6.6.6.6, 192.0.2.7, 10.1.2.3\r\nx-forwarded-proto: https\r\nx-forwarded-host: shop.example";
    let expected = [
        ("x-forwarded-for", "192.0.2.7, 10.1.2.3, 127.0.0.1"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(told(&gateway, &upstream, claiming(claims).as_bytes()), (fields(&expected), "192.0.2.7".into()));
}

#[test]
fn forwarded_is_read_and_written_where_that_is_wanted() {
    let upstream = echo();
    let gateway = with_listener(
        "trusted_proxies: [ 127.0.0.1 ], forwarded: rfc7239",
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ], forwarded: rfc7239, host: client } }
        routes: { all: { path: /**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let claims =
        "forwarded: for=6.6.6.6, for=\"[2001:db8::7]:4711\";proto=https;host=shop.example\r\nx-forwarded-for: 6.6.6.6";
    let expected =
        [("forwarded", "for=\"[2001:db8::7]:4711\";proto=https;host=shop.example, for=127.0.0.1;host=a;proto=http")];
    assert_eq!(told(&gateway, &upstream, claiming(claims).as_bytes()), (fields(&expected), "2001:db8::7".into()));
    assert_eq!(upstream.requests()[0].field("host").as_deref(), Some("a"));
}

#[test]
fn the_client_that_is_found_is_the_one_that_limits_count() {
    let upstream = echo();
    let gateway = with_listener(
        "trusted_proxies: [ 127.0.0.1 ]",
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { all: { path: /**, upstream: service, rate_limit: { per: address, limit: 1, every: 1m } } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = RawClient::connect(gateway.address());
    let statuses = ["192.0.2.7", "192.0.2.7", "192.0.2.8", "6.6.6.6, 192.0.2.8"].map(|list| {
        client.send(claiming(&format!("x-forwarded-for: {list}")));
        client.answer_to("GET").status()
    });
    assert_eq!(statuses, [200, 429, 200, 429]);
}

#[test]
fn what_a_client_lists_in_connection_takes_no_proxys_word_away() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.0/8 ]", &upstream.url());
    let port = gateway.address().port().to_string();
    let claims = "connection: x-forwarded-for\r\nx-forwarded-for: 192.0.2.7";
    let expected = [
        ("x-forwarded-for", "192.0.2.7, 127.0.0.1"),
        ("x-forwarded-host", "a"),
        ("x-forwarded-port", &port),
        ("x-forwarded-proto", "http"),
    ];
    assert_eq!(told(&gateway, &upstream, claiming(claims).as_bytes()), (fields(&expected), "192.0.2.7".into()));
}

#[test]
fn a_list_that_can_be_read_in_two_ways_is_refused() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.1 ], forwarded: rfc7239", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(claiming("forwarded: for=\"6.6.6.6, for=192.0.2.7"));
    let refused = answer(&mut client, "GET");
    assert_eq!((refused.status(), refused.field("connection").as_deref()), (400, Some("close")));
    assert_eq!((&refused.json()["code"], upstream.count()), (&json!("bad_request"), 0));
    client.rest();
    let line = &gateway.log(1)[0];
    assert_eq!(json!([line["client"], line["path"], line["fault"]]), json!(["127.0.0.1", "/", "bad_request"]));
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

/// Version 2, TCP over IPv4, the addresses of [`V1`].
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb";

#[test]
fn a_proxy_header_of_either_version_tells_the_client_for_all_requests_of_its_connection() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.1 ], proxy_protocol: accept", &upstream.url());
    for header in [V1, V2] {
        let mut client = RawClient::connect(gateway.address());
        // Cut where it hurts: within the header, and within the head behind it.
        let bytes = [header, get("/").as_bytes()].concat();
        client.send_pieces([&bytes[..5], &bytes[5..header.len() + 3], &bytes[header.len() + 3..]]);
        assert_eq!(answer(&mut client, "GET"), ok(""));
        client.send(get("/"));
        assert_eq!(answer(&mut client, "GET"), ok(""));
    }
    // One without a header is taken as it comes.
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok(""));
    let told: Vec<_> = upstream.requests().iter().map(|request| request.field("x-forwarded-for").unwrap()).collect();
    assert_eq!(told, ["192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.7", "127.0.0.1"]);
    let logged: Vec<_> = gateway.log(5).iter().map(|line| line["client"].clone()).collect();
    assert_eq!(json!(logged), json!(told));
}

#[test]
fn behind_a_proxy_header_that_names_nobody_no_head_is_believed() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.1 ], proxy_protocol: accept", &upstream.url());
    let port = gateway.address().port().to_string();
    let claims = claiming("x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil");
    let alone = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "a"),
        ("x-forwarded-port", &port),
        ("x-forwarded-proto", "http"),
    ];
    let (unknown, local, unspecified) =
        (&b"PROXY UNKNOWN\r\n"[..], &b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], &b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"[..]);
    for header in [unknown, local, unspecified] {
        let bytes = [header, claims.as_bytes()].concat();
        assert_eq!(told(&gateway, &upstream, &bytes), (fields(&alone), "127.0.0.1".into()), "{header:?}");
    }
    // The same head of the same proxy without a header is its own word.
    let believed = [
        ("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        ("x-forwarded-host", "evil"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
    ];
    assert_eq!(told(&gateway, &upstream, claims.as_bytes()), (fields(&believed), "6.6.6.6".into()));
}

#[test]
fn whatever_is_spoken_behind_a_proxy_header_its_client_is_told() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.1, 10.0.0.0/8 ], proxy_protocol: require", &upstream.url());
    let ask = |header: &'static [u8], list: &'static str| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
            stream.write_all(header).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let request = http::Request::get("http://a/").header("x-forwarded-for", list);
            let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
            let status = answer.status().as_u16();
            answer.into_body().collect().await.unwrap();
            status
        })
    };
    assert_eq!(ask(V2, "6.6.6.6"), 200);
    // A proxy that is trusted as well stands behind the load balancer.
    assert_eq!(ask(b"PROXY TCP4 10.0.0.9 198.51.100.1 4711 443\r\n", "192.0.2.8"), 200);
    let told: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| ["x-forwarded-for", "x-forwarded-port", "via"].map(|name| request.field(name).unwrap()))
        .collect();
    assert_eq!(json!(told), json!([["192.0.2.7", "443", "2 portolan"], ["192.0.2.8, 10.0.0.9", "443", "2 portolan"]]));
    let clients: Vec<_> = gateway.log(2).iter().map(|line| line["client"].clone()).collect();
    assert_eq!(json!(clients), json!(["192.0.2.7", "192.0.2.8"]));
}

#[test]
fn where_a_proxy_header_is_required_nobody_is_served_without_a_sound_one() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 127.0.0.1 ], proxy_protocol: require", &upstream.url());
    for begin in [
        &b""[..],
        b"PROXY TCP4 192.0.2.7\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
        b"PROXY TCP4 192.0.2.300 198.51.100.1 4711 443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb",
    ] {
        let mut client = RawClient::connect(gateway.address());
        client.try_send([begin, get("/").as_bytes()].concat());
        // What answer would it understand? It is closed.
        assert_eq!(client.rest().1, b"", "{}", String::from_utf8_lossy(begin));
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.metric("portolan_connections_refused_total{listener=\"public\",why=\"proxy_header\"}"), 5.0);
    let mut client = RawClient::connect(gateway.address());
    client.send([V1, get("/").as_bytes()].concat());
    assert_eq!(answer(&mut client, "GET"), ok(""));
}

#[test]
fn a_proxy_header_of_one_who_is_not_trusted_is_no_request() {
    let upstream = echo();
    let gateway = listening("trusted_proxies: [ 10.0.0.0/8 ], proxy_protocol: accept", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.try_send([V1, get("/").as_bytes()].concat());
    assert_eq!(answer(&mut client, "GET").status(), 400);
    client.rest();
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_proxy_header_that_does_not_end_has_the_time_of_a_head() {
    let upstream = echo();
    let gateway =
        listening("trusted_proxies: [ 127.0.0.1 ], proxy_protocol: require, head_timeout: 5s", &upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(&V1[..20]);
    let reading = std::thread::spawn(move || client.end());
    gateway.advance_until("the connection is closed", super::SECOND, || reading.is_finished());
    assert!(matches!(reading.join().unwrap(), End::Closed | End::Reset));
}
