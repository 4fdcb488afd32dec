//! A body of a policy's own making that is not as long as it says.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use portolan_exchange::protocol::Content;
use portolan_exchange::{Body, BodyError, BodyStream, Frame, Phase, Size, Step};

use super::plain;
use super::scout::{Notes, Scout, who};
use crate::kit::{RawClient, RawUpstream};

/// A body that says that it has ten bytes, and gives so many pieces of four.
struct Lying {
    pieces: usize,
}

impl BodyStream for Lying {
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(left) = self.pieces.checked_sub(1) else { return Poll::Ready(None) };
        self.pieces = left;
        Poll::Ready(Some(Ok(Frame::Data(Bytes::from_static(b"four")))))
    }

    fn size(&self) -> Size {
        Size::Exact(10)
    }
}

#[test]
fn a_body_that_is_shorter_or_longer_than_it_says_is_not_taken_for_the_next_request() {
    for pieces in [2, 3] {
        // It answers heads, and would read a request that follows wherever the one before it ended.
        let upstream = RawUpstream::start(|peer| {
            while peer.head().is_some() && peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") {}
        });
        let liar = Scout::new("liar", Phase::Transform, &Notes::default()).on_request(move |_, exchange| {
            if who(exchange) == "/lying" {
                exchange.request.body = Body::stream(Lying { pieces });
            }
            Step::Next
        });
        let gateway = plain(&upstream.url(), [liar]);
        gateway.call("POST", "/lying").send().assert_problem(500, "internal");
        assert_eq!(gateway.get("/sound").assert_status(200).text(), "ok");
        let heads = upstream.wait_for(1);
        let [.., last] = &heads[..] else { panic!("nothing came") };
        assert!(last.starts_with("GET /sound HTTP/1.1\r\n"), "{heads:?}");
    }
}

#[test]
fn an_answer_that_is_shorter_or_longer_than_it_says_is_not_followed_by_another() {
    for pieces in [2, 3] {
        let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        let liar = Scout::new("liar", Phase::Transform, &Notes::default()).on_response(move |_, answer| {
            if let Ok(reply) = answer {
                reply.content = Content::Bytes(Body::stream(Lying { pieces }));
            }
        });
        let gateway = plain(&upstream.url(), [liar]);
        let mut client = RawClient::connect(gateway.address());
        client.send("GET /lying HTTP/1.1\r\nhost: a\r\n\r\nGET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        let told = String::from_utf8(client.rest().1).unwrap();
        assert!(told.starts_with("HTTP/1.1 200 OK\r\n") && told.ends_with("\r\n\r\nfourfour"), "{told}");
        assert_eq!(upstream.count(), 1);
    }
}
