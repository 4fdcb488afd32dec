//! How much work reading is: counted in bytes looked at, since a busy machine says nothing by its clock.

use proptest::prelude::*;

use crate::scan::take_looked;
use crate::{Asked, Limits, Messages, Rules};

/// Every byte is looked at when it comes, once before that where its line may be plain, once more where a line that ended is judged,
/// and once by each resumption.
const LOOKS: usize = 5;
/// The versions of first lines are compared from their beginning.
const BESIDES: usize = 64;

fn looks(mut messages: Messages, bytes: &[u8], piece: usize) -> usize {
    take_looked();
    for piece in bytes.chunks(piece) {
        messages.feed(piece);
    }
    take_looked()
}

fn check(bytes: &[u8], starts: usize) {
    for piece in [1, 2, 7, bytes.len().max(1)] {
        let requests = Messages::requests(Limits::default(), Rules::default());
        let mut responses = Messages::responses(Limits::default());
        (0..starts).for_each(|_| responses.ask(Asked::default()));
        for messages in [requests, responses] {
            let looks = looks(messages, bytes, piece);
            let most = LOOKS * bytes.len() + BESIDES * starts;
            assert!(looks <= most, "{looks} looks at {} bytes in pieces of {piece}", bytes.len());
        }
    }
}

#[test]
fn what_takes_long_to_end_is_not_looked_at_again_with_every_piece() {
    let request = "POST /a HTTP/1.1\r\nHost: a\r\n";
    let chunked = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = [
        format!("GET /{}", "a".repeat(9000)),
        "A".repeat(9000),
        format!("{request}{}", "A".repeat(20_000)),
        format!("{request}A: {}\r\n\r\n", "b".repeat(16_000)),
        format!("{request}A:{}b\r\n\r\n", " ".repeat(16_000)),
        format!("{request}A: b{}c\r\n\r\n", "\t".repeat(16_000)),
        format!("{request}A: b{}\r\n\r\n", " \t".repeat(8_000)),
        format!("{request}Connection: {}\r\n\r\n", "a,".repeat(8_000)),
        format!("{request}Content-Length: {}1\r\n\r\n.", "0".repeat(16_000)),
        format!("{request}Transfer-Encoding: {}chunked\r\n\r\n", "a,".repeat(8_000)),
        format!("{chunked}{}", "1;a=\"b\"\r\n.\r\n".repeat(3_000)),
        format!("{chunked}0\r\n{}", "A: bcdef\r\n".repeat(99)),
        format!("{chunked}0\r\nA: {}\r\n\r\n", "b".repeat(8_000)),
        format!("HTTP/1.1 200 {}", "a".repeat(9000)),
        format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(16_000)),
    ];
    for text in long {
        check(text.as_bytes(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_work_is_linear_in_what_comes(words in prop::collection::vec(prop::sample::select(&[
        "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n", "HTTP/1.1 200 OK\r\n", "A: b \r\n", "a", ":", " ", "\t", "\r", "Connection: a, b\r\n",
        "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n", "0\r\n", ";a=b",
    ][..]), 0..40)) {
        check(words.concat().as_bytes(), 20);
    }
}
