//! Bodies that stream both ways at once.

use std::thread;

use serde_json::json;

use super::{answer, get, ok, plain};
use crate::kit::{RawClient, RawUpstream, TestGateway};

/// Answers at once with chunks, and gives each chunk back as soon as it comes.
fn chunk_by_chunk() -> RawUpstream {
    RawUpstream::start(|peer| {
        while let Some(head) = peer.head() {
            if head.starts_with("GET ") {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while let Some(chunk) = peer.next_chunk() {
                peer.send(format!("{:x}\r\n", chunk.len()));
                peer.send(chunk);
                peer.send("\r\n");
            }
            // The blank line behind the last chunk.
            if peer.read_bytes(2).is_none() || !peer.send("0\r\n\r\n") {
                return;
            }
        }
    })
}

fn begin(gateway: &TestGateway) -> RawClient {
    let mut client = RawClient::connect(gateway.address());
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    let head = client.read_head();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && chunked, "{head}");
    client
}

#[test]
fn question_and_answer_take_turns_within_one_exchange() {
    let upstream = chunk_by_chunk();
    let gateway = plain(&upstream.url());
    let mut client = begin(&gateway);
    for number in 0..100 {
        let word = format!("word {number:03}");
        client.send(format!("8\r\n{word}\r\n"));
        assert_eq!(client.read_bytes(13), format!("8\r\n{word}\r\n").as_bytes());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.read_bytes(5), b"0\r\n\r\n");
    let line = &gateway.log(1)[0];
    assert_eq!(
        json!([line["status"], line["outcome"], line["bytes_in"], line["bytes_out"]]),
        json!([200, "completed", 800, 800])
    );
    // Both connections are whole behind it.
    client.send(get("/"));
    assert_eq!(answer(&mut client, "GET"), ok("ok"));
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn more_than_all_buffers_hold_passes_both_ways_at_once() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 256;
    let upstream = chunk_by_chunk();
    let gateway = plain(&upstream.url());
    let mut client = begin(&gateway);
    let mut sender = client.sender();
    let sending = thread::spawn(move || {
        for number in 0..CHUNKS {
            sender.send(format!("{CHUNK:x}\r\n"));
            sender.send(vec![number as u8; CHUNK]);
            sender.send("\r\n");
        }
        sender.send("0\r\n\r\n");
    });
    let mut back = Vec::new();
    while let Some(chunk) = client.next_chunk() {
        back.extend_from_slice(&chunk);
    }
    sending.join().unwrap();
    assert_eq!(back.len(), CHUNK * CHUNKS);
    let is_in_order = back.chunks(CHUNK).enumerate().all(|(number, chunk)| chunk == vec![number as u8; CHUNK]);
    assert!(is_in_order, "the chunks came back in another order");
}

#[test]
fn a_client_that_leaves_in_the_middle_is_seen_to_leave_by_the_upstream() {
    let upstream = RawUpstream::start(|peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
            peer.next_chunk();
            peer.hang();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = begin(&gateway);
    client.send("1\r\nb\r\n");
    assert_eq!(client.next_chunk().as_deref(), Some(&b"a"[..]));
    drop(client);
    upstream.wait_for_cancelled(1);
    assert_eq!(gateway.log(1)[0]["outcome"], "cancelled");
}

#[test]
fn an_upstream_that_breaks_off_in_the_middle_ends_the_clients_answer_short() {
    let upstream = RawUpstream::start(|peer| {
        if peer.head().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
            peer.next_chunk();
            peer.reset();
        }
    });
    let gateway = plain(&upstream.url());
    let mut client = begin(&gateway);
    assert_eq!(client.next_chunk().as_deref(), Some(&b"a"[..]));
    client.send("1\r\nb\r\n");
    assert_eq!(client.rest().1, b"", "the answer was ended in good order");
    let line = &gateway.log(1)[0];
    assert_eq!((&line["outcome"], &line["fault"]), (&json!("faulted"), &json!("upstream_broken")));
}
