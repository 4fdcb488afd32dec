//! HTTP/2 with prior knowledge takes the same path: the same policies, the same record, on the same port and worker.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_exchange::{Phase, Step};
use serde_json::{Value, json};

use super::plain;
use super::scout::{Notes, Scout, who};
use crate::kit::{FakeUpstream, RawUpstream, Reply, TestGateway};

/// What curl got: version, status and body.
fn curl(gateway: &TestGateway, path: &str, more: &[&str]) -> (String, u16, String) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "20", "--noproxy", "*"])
        .args(["--write-out", "\n%{http_version} %{response_code}"])
        .args(more)
        .arg(format!("http://{}{path}", gateway.address()))
        .output()
        .expect("the test command installs curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, told) = text.rsplit_once('\n').unwrap();
    let (version, status) = told.split_once(' ').unwrap();
    (version.to_owned(), status.parse().unwrap(), body.to_owned())
}

#[test]
fn a_foreign_client_is_answered_as_over_http_1() {
    let notes = Notes::default();
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), Scout::in_each_phase(&notes));
    let sent = ["--data-binary", "hello", "--header", "content-type: text/plain"];
    assert_eq!(curl(&gateway, "/echo?q=1", &sent), ("2".to_owned(), 200, "hello".to_owned()));
    let over_http_2 = notes.of("/echo");
    let line_2 = gateway.log(1).remove(0);
    gateway.call("POST", "/echo?q=1").header("content-type", "text/plain").body("hello").send().assert_status(200);
    let mut line_1 = gateway.log(2).remove(1);
    assert_eq!(notes.of("/echo"), [over_http_2.clone(), over_http_2].concat());
    assert_ne!(line_1["request_id"], line_2["request_id"]);
    line_1["request_id"] = line_2["request_id"].clone();
    assert_eq!(line_1, line_2);
    let seen = upstream.requests();
    let told = |name| seen.iter().map(|seen| seen.header(name)).collect::<Vec<_>>();
    assert_eq!(told("via"), [Some("2 portolan".to_owned()), Some("1.1 portolan".to_owned())]);
    assert_eq!(told("x-forwarded-host"), [Some(gateway.address().to_string()), Some(gateway.address().to_string())]);
    assert_eq!(
        [&seen[0].method, &seen[0].target, &seen[0].text()],
        [&seen[1].method, &seen[1].target, &seen[1].text()]
    );
}

#[test]
fn a_foreign_client_gets_faults_as_problems() {
    let notes = Notes::default();
    let upstream = FakeUpstream::echo();
    let trap = Scout::new("trap", Phase::Limit, &notes).on_request(|_, exchange| {
        assert!(who(exchange) != "/trap", "walked into the trap");
        Step::Next
    });
    let gateway = plain(&upstream.url(), [trap]);
    let (version, status, body) = curl(&gateway, "/trap", &[]);
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((version.as_str(), status, &problem["code"]), ("2", 500, &json!("internal")));
    assert_eq!(gateway.log(1)[0]["request_id"], problem["request_id"]);
    let (version, status, body) = curl(&gateway, "/sound", &["--data-binary", "sound"]);
    assert_eq!((version.as_str(), status, body.as_str()), ("2", 200, "sound"));
}

#[test]
fn a_trace_is_refused_as_over_http_1_unless_it_is_let_in() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), []);
    let (version, status, body) = curl(&gateway, "/x", &["--request", "TRACE", "--header", "authorization: secret"]);
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((version.as_str(), status, &problem["code"]), ("2", 405, &json!("method_not_allowed")));
    assert_eq!((&gateway.log(1)[0]["fault"], upstream.count()), (&json!("method_not_allowed"), 0));
    let listeners = "listeners: { public: { address: 127.0.0.1:0, trace: allow } }\n";
    let configuration = listeners.to_owned() + &crate::kit::gateway::unindented(super::PLAIN);
    let gateway = TestGateway::with_config(&configuration).with("upstream", upstream.url()).start();
    let (version, status, _) = curl(&gateway, "/x", &["--request", "TRACE"]);
    assert_eq!((version.as_str(), status, upstream.count()), ("2", 200, 1));
}

#[test]
fn a_large_body_passes_both_ways() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), []);
    let body: Vec<u8> = (0..2_000_000_u32).map(|number| b'a' + (number % 23) as u8).collect();
    let file = gateway.folder().join("body");
    std::fs::write(&file, &body).unwrap();
    let (version, status, answer) = curl(&gateway, "/", &["--data-binary", &format!("@{}", file.display())]);
    assert_eq!((version.as_str(), status), ("2", 200));
    assert!(answer.as_bytes() == body, "{} bytes came back of {}", answer.len(), body.len());
}

/// Runs something with a connection on which many requests can be under way.
fn with_connection<B, F>(address: SocketAddr, runs: impl FnOnce(SendRequest<B>) -> F) -> F::Output
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    F: Future,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(async move {
            // What broke is told to the requests.
            let _ = connection.await;
        });
        runs(sender).await
    })
}

fn request(gateway: &TestGateway, path: &str) -> http::Request<Full<Bytes>> {
    http::Request::get(format!("http://{}{path}", gateway.address())).body(Full::default()).unwrap()
}

#[test]
fn a_host_that_would_be_none_over_http_1_is_none_here() {
    let upstream = FakeUpstream::echo();
    let gateway = plain(&upstream.url(), []);
    let asked = |target: &str, host: Option<&str>| {
        let request = http::Request::get(target);
        let request = if let Some(host) = host { request.header("host", host) } else { request };
        request.body(Full::<Bytes>::default()).unwrap()
    };
    let refused = [
        asked("http://user@a/", None),
        asked("http://a!b/", None),
        asked("http://a:99999/", None),
        asked("http://[v1.a]/", None),
        // Without an authority it is the field that tells it.
        asked("/", Some("a!b")),
        asked("/", Some("user@a")),
        asked("/", Some("")),
        asked("/", Some("\u{e9}")),
    ];
    let count = refused.len();
    with_connection(gateway.address(), |mut sender| async move {
        for request in refused {
            let what = format!("{} {:?}", request.uri(), request.headers());
            let answer = sender.send_request(request).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, &problem["code"]), (400, &json!("bad_request")), "{what}");
        }
        for request in [asked("http://a_b.c:80/", None), asked("http://[2001:db8::1]:80/", None), asked("/", Some("a"))]
        {
            assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        }
    });
    let faults: Vec<_> = gateway.log(count + 3).iter().map(|line| line["fault"].clone()).take(count).collect();
    assert_eq!((faults, upstream.count()), (vec![json!("bad_request"); count], 3));
}

#[test]
fn trailers_are_held_to_the_rules_of_http_1() {
    let upstream = RawUpstream::start(|peer| {
        while peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let gateway = plain(&upstream.url(), []);
    let request = |trailers: &[(&'static str, &'static str)]| {
        let trailers = trailers.iter().map(|(name, value)| ((*name).parse().unwrap(), (*value).parse().unwrap()));
        let trailers: http::HeaderMap = trailers.collect();
        // Of no length that is known: what has one is sent so, and nothing behind it.
        let frames = [Frame::data(Bytes::from_static(b"body")), Frame::trailers(trailers)].map(Ok);
        let body = StreamBody::new(stream::iter(frames));
        http::Request::post(format!("http://{}/", gateway.address())).body(body).unwrap()
    };
    with_connection(gateway.address(), |mut sender| async move {
        for name in ["authorization", "content-type", "cookie", "host", "content_length", "proxy-authorization"] {
            let answer = sender.send_request(request(&[("x-sum", "4"), (name, "a")])).await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((status, &problem["code"]), (400, &json!("malformed_body")), "{name}");
        }
        assert_eq!(upstream.requests(), [], "a request ended whose trailers were refused");
        let trailers = [("x-sum", "4"), ("x-forwarded-for", "6.6.6.6"), ("x_sum", "5"), ("x-two", "a")];
        assert_eq!(sender.send_request(request(&trailers)).await.unwrap().status(), 200);
        let seen = upstream.wait_for_requests(1).remove(0);
        let told: Vec<_> = seen.trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((seen.text().as_str(), told), ("body", vec![("x-sum", "4"), ("x-two", "a")]));
    });
}

#[test]
fn requests_on_one_connection_do_not_wait_for_one_another_nor_fall_with_one_another() {
    let notes = Notes::default();
    let service = FakeUpstream::start(|seen| Reply::bytes(200, seen.target.clone()));
    let (slow, feed) = FakeUpstream::fed();
    let setup = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{service}" ] }, slow: { endpoints: [ "{slow}" ] } }
        routes: { all: { path: /**, upstream: service }, slow: { path: /slow, upstream: slow } }
        "#,
    )
    .with("service", service.url())
    .with("slow", slow.url());
    let trap = Scout::new("trap", Phase::Limit, &notes)
        .on_response(|exchange, _| assert!(who(exchange) != "/trap", "walked into the trap"));
    let gateway = setup.policy(trap).start();
    with_connection(gateway.address(), |mut sender| async move {
        let slow = sender.send_request(request(&gateway, "/slow"));
        let trapped = sender.send_request(request(&gateway, "/trap"));
        let sound = sender.send_request(request(&gateway, "/sound"));
        assert_eq!(trapped.await.unwrap().status(), 500);
        let body = sound.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "/sound");
        feed.send("all of it");
        feed.end();
        let body = slow.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "all of it");
        let outcomes: Vec<_> =
            gateway.log(3).iter().map(|line| (line["path"].to_string(), line["outcome"].to_string())).collect();
        assert!(outcomes.contains(&("\"/trap\"".into(), "\"panicked\"".into())), "{outcomes:?}");
        assert_eq!(gateway.metric("portolan_connections"), 1.0);
    });
}

#[test]
fn a_request_that_is_given_up_cancels_its_call_and_not_its_neighbours() {
    let notes = Notes::default();
    let upstream = RawUpstream::start(|peer| {
        while let Some(head) = peer.head() {
            if head.starts_with("GET /hang ") {
                return peer.hang();
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let gateway = plain(&upstream.url(), [Scout::new("outer", Phase::Guard, &notes)]);
    with_connection(gateway.address(), |mut sender| async move {
        let hanging = sender.send_request(request(&gateway, "/hang"));
        let sound = sender.send_request(request(&gateway, "/sound"));
        assert_eq!(sound.await.unwrap().status(), 200);
        upstream.wait_for(2);
        drop(hanging);
        // The runtime of the client must run for the reset to leave.
        sender.send_request(request(&gateway, "/after")).await.unwrap();
        upstream.wait_for_cancelled(1);
        gateway.log(3);
        assert_eq!(notes.of("/hang"), ["outer request", "outer end Cancelled"]);
        assert_eq!(sender.send_request(request(&gateway, "/again")).await.unwrap().status(), 200);
    });
}
