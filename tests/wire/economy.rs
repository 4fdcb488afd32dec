//! What is not done: no write too many, no byte changed that could stay, no connection woken that could rest, no message handed
//! from one task to another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{echo, get, is_id, plain};
use crate::kit::foreign::{SegmentClient, SegmentService};
use crate::kit::wait::Watched;
use crate::kit::{RawClient, RawUpstream, TestGateway};

#[test]
fn head_and_small_body_of_an_answer_leave_in_one_write() {
    let upstream = echo();
    let gateway = TestGateway::with_config(
        r#"
        workers: 1
        upstreams: { service: { endpoints: [ "{upstream}" ] } }
        routes: { some: { path: /some/**, upstream: service } }
        "#,
    )
    .with("upstream", upstream.url())
    .start();
    let mut client = SegmentClient::connect(gateway.address());
    let post = |framing: &str| format!("POST /some/a HTTP/1.1\r\nhost: a\r\n{framing}");
    for (request, status) in [
        (get("/some/a"), 200),
        (post("content-length: 5\r\n\r\nhello"), 200),
        (post(&format!("content-length: 3000\r\n\r\n{}", "x".repeat(3_000))), 200),
        (post("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 200),
        ("HEAD /some/a HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), 200),
        // The gateway's own answers as well.
        (get("/elsewhere"), 404),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(client.ask(&request), (status, 1), "{request}");
    }
}

#[test]
fn an_answer_in_chunks_of_which_all_is_here_leaves_in_one_write() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n",
    );
    let gateway = plain(&upstream.url());
    assert_eq!(
        SegmentClient::connect(gateway.address()).ask(&get("/").replace("a\r\n", "a\r\nte: trailers\r\n")),
        (200, 1)
    );
}

#[test]
fn head_and_small_body_of_a_request_leave_in_one_write() {
    let mut service = SegmentService::start();
    let gateway = plain(&service.url());
    let mut client = RawClient::connect(gateway.address());
    let large = "x".repeat(3_000);
    for body in ["", "hello", &large] {
        client.send(format!(
            "POST /{} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
            body.len()
        ));
        assert_eq!(client.answer_to("POST").status(), 204);
    }
    client.send(get("/get"));
    assert_eq!(client.answer_to("GET").status(), 204);
    let expected = ["POST /0", "POST /5", "POST /3000", "GET /get"].map(|line| (format!("{line} HTTP/1.1"), 1));
    assert_eq!(service.seen(), expected);
}

/// An upstream that numbers its connections from 0 on, and answers each request with the number of its own. A request for `/hold/N`
/// is answered once `N` is let go.
fn numbering() -> (RawUpstream, Watched<Vec<String>>) {
    let released = Watched::<Vec<String>>::default();
    let (connections, may_answer) = (AtomicUsize::new(0), released.clone());
    let upstream = RawUpstream::start(move |peer| {
        let number = connections.fetch_add(1, Ordering::Relaxed).to_string();
        while let Some(request) = peer.request() {
            let path = request.start.split(' ').nth(1).expect("a request line has a target").to_owned();
            if path.starts_with("/hold/") {
                may_answer.wait(&path, |released| released.contains(&path).then_some(()));
            }
            if !peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{number}", number.len())) {
                return;
            }
        }
    });
    (upstream, released)
}

#[test]
fn of_the_connections_that_a_worker_keeps_the_one_used_last_is_used_next() {
    let (upstream, released) = numbering();
    let gateway = plain(&upstream.url());
    // All of these at once, so that each has a connection of its own.
    let mut clients = BTreeMap::new();
    for (at, path) in ["/hold/a", "/hold/b", "/hold/c", "/hold/d"].into_iter().enumerate() {
        let mut client = RawClient::connect(gateway.address());
        client.send(get(path));
        upstream.wait_for(at + 1);
        clients.insert(path, client);
    }
    // They come free in another order than they were opened in.
    let kept = ["/hold/c", "/hold/a", "/hold/d", "/hold/b"].map(|path| {
        released.change(|released| released.push(path.to_owned()));
        clients.get_mut(path).expect("it was asked").answer_to("GET").text()
    });
    let client = clients.get_mut("/hold/a").expect("it was asked");
    let mut asked = |path: &str| {
        client.send(get(path));
        client.answer_to("GET").text()
    };
    // One after the other, all come on the one used last; the others rest.
    let one_by_one = ["/1", "/2", "/3", "/4", "/5"].map(&mut asked);
    assert_eq!(one_by_one, [(); 5].map(|()| kept[3].clone()), "kept in this order: {kept:?}");
    // While that one is busy it is the turn of the one before.
    let mut holding = RawClient::connect(gateway.address());
    let before = upstream.count();
    holding.send(get("/hold/e"));
    upstream.wait_for(before + 1);
    assert_eq!(["/6", "/7"].map(&mut asked), [kept[2].clone(), kept[2].clone()], "kept in this order: {kept:?}");
    released.change(|released| released.push("/hold/e".to_owned()));
    assert_eq!(holding.answer_to("GET").text(), kept[3]);
    assert_eq!(asked("/8"), kept[3]);
    assert_eq!(upstream.connections(), 4);
}

/// Bytes up to the blank line, as they are.
fn head_of(mut byte: impl FnMut() -> u8) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(byte());
    }
    head
}

/// The lines of a head behind the first, without their ends.
fn lines(head: &[u8]) -> Vec<String> {
    let text: String = head.iter().copied().map(char::from).collect();
    text.trim_end().split("\r\n").skip(1).map(str::to_owned).collect()
}

/// Lines that no rule touches, in which much is unusual: capitals, order, spaces, what is beyond ASCII.
const UNTOUCHED: [&[u8]; 8] = [
    b"X-MiXeD-cAsE: Capitals  and   spaces\tand a tab",
    b"accept: a;q=0.5,  b , ,c",
    b"x-bytes: \xfc\x80\xff \"quoted \\\" \" ;=,",
    b"X-Mixed-Case: again",
    b"COOKIE: a=1; b=2",
    b"x-empty: ",
    b"cookie: c=3",
    b"!#$%&'*+-.^`|~: a name of all signs",
];

/// As [`UNTOUCHED`], with these between them.
fn mixed_with(others: &[&str]) -> Vec<u8> {
    let mut head = Vec::new();
    for (at, line) in UNTOUCHED.iter().enumerate() {
        for line in [Some(*line), others.get(at).map(|line| line.as_bytes())].into_iter().flatten() {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
    }
    head
}

fn untouched() -> Vec<String> {
    UNTOUCHED.iter().map(|line| line.iter().copied().map(char::from).collect()).collect()
}

/// An upstream that answers one request on each connection, and keeps the bytes of its head.
fn keeping_heads() -> (RawUpstream, Watched<Vec<Vec<u8>>>) {
    let heads = Watched::<Vec<Vec<u8>>>::default();
    let seen = heads.clone();
    let upstream = RawUpstream::start(move |peer| {
        let head = head_of(|| peer.read_bytes(1).expect("a head has an end")[0]);
        seen.change(|heads| heads.push(head));
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    (upstream, heads)
}

#[test]
fn the_lines_of_a_request_pass_byte_by_byte_but_for_those_of_its_hop() {
    let (upstream, heads) = keeping_heads();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    let of_hop =
        ["Host: a", "Connection: X-Hop", "X-Hop: 1", "TE: gzip", "x_forwarded_for: 6.6.6.6", "Forwarded: for=6.6.6.6"];
    client.send([b"PATCH /A%20b/c?Q=%2f&&= HTTP/1.1\r\n", &*mixed_with(&of_hop), b"\r\n"].concat());
    assert_eq!(client.answer_to("PATCH").status(), 204);
    let head = heads.wait("a head", |heads| heads.first().cloned());
    assert!(head.starts_with(b"PATCH /A%20b/c?Q=%2f&&= HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&head));
    let mut lines = lines(&head);
    let own = lines.split_off(UNTOUCHED.len());
    assert_eq!(lines, untouched());
    let (port, service) = (gateway.address().port(), upstream.address());
    let id =
        own.iter().find_map(|line| line.strip_prefix("x-request-id: ")).expect("the upstream is told the request's id");
    assert!(is_id(id), "{id}");
    let expected = [
        format!("host: {service}"),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-proto: http".to_owned(),
        "x-forwarded-host: a".to_owned(),
        format!("x-forwarded-port: {port}"),
        "via: 1.1 portolan".to_owned(),
        format!("x-request-id: {id}"),
        "Content-Length: 0".to_owned(),
    ];
    assert_eq!(own, expected);
}

#[test]
fn the_space_around_a_value_is_no_part_of_it_and_one_of_it_stays() {
    let (upstream, heads) = keeping_heads();
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send("GET / HTTP/1.1\r\nX-Tight:a\r\nX-Wide: \t a  b \t\r\nhost:a\r\nX-None:\r\nX-Last: c \r\n\r\n");
    assert_eq!(client.answer_to("GET").status(), 204);
    let head = heads.wait("a head", |heads| heads.first().cloned());
    assert_eq!(lines(&head)[..4], ["X-Tight: a", "X-Wide: a  b", "X-None: ", "X-Last: c"]);
}

#[test]
fn the_lines_of_an_answer_pass_byte_by_byte_but_for_those_of_its_hop() {
    let of_hop = [
        "Connection: X-Hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "Content-Length: 2",
        "X-Request-Id: theirs",
        "Server: theirs",
    ];
    let answer = [b"HTTP/1.1 200 As they like\r\n", &*mixed_with(&of_hop), b"Date: today\r\n\r\nok"].concat();
    let upstream = RawUpstream::answering(answer);
    let gateway = plain(&upstream.url());
    let mut client = RawClient::connect(gateway.address());
    client.send(get("/"));
    let head = head_of(|| client.read_bytes(1)[0]);
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
    let mut lines = lines(&head);
    let own = lines.split_off(UNTOUCHED.len());
    assert_eq!(lines, untouched());
    let id =
        own.iter().find_map(|line| line.strip_prefix("x-request-id: ")).expect("the client is told the request's id");
    assert!(is_id(id), "{id}");
    assert_eq!(own, ["Date: today".to_owned(), format!("x-request-id: {id}"), "Content-Length: 2".to_owned()]);
    assert_eq!(client.read_bytes(2), b"ok");
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_channel_stands_between_the_clients_half_of_an_exchange_and_the_upstreams() {
    // Each would cost a queue, a wake and a turn of the loop for every piece: a body that is sent polls the one that is received.
    const CHANNELS: [&str; 5] = ["mpsc", "oneshot", "broadcast", "sync::watch", "channel("];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<_> = ["listener", "pipeline", "upstream", "wire"].map(|folder| files(&source.join(folder))).concat();
    assert!(files.len() > 20, "these are all there is: {files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let found = CHANNELS.iter().find(|channel| text.contains(**channel));
        assert_eq!(found, None, "{}", file.display());
    }
}
