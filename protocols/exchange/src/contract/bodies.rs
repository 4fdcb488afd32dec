//! Bodies stream: what nobody needs to look into is read by nobody on its way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::{FakeUpstream, SentBody, Watch, worker};
use crate::{Body, BodyError, Content, Exchange, Fields, Frame, Reply, Response, Size};

const PIECE: usize = 1_000;

/// A reply of bytes is rendered with its status and fields and without a look at its body: each piece is read when
/// the client takes it, trailers and errors arrive behind what came before them, and who drops the response drops the source.
/// Every inbound owes this.
pub fn a_reply_streams(exchange: &Exchange) {
    let watch = Watch::default();
    let mut response = rendered(exchange, watch.endless(PIECE));
    let head = (response.status, response.fields.get_str("x-of-the-upstream"), response.body.size());
    assert_eq!(head, (203, Some("1"), Size::Unknown), "the head of a reply");
    assert_eq!(watch.read(), 0, "rendering read the body");
    for piece in 1..=3 {
        let frame = response.body.frame().now_or_never();
        assert!(matches!(&frame, Some(Some(Ok(Frame::Data(data)))) if data.len() == PIECE), "piece {piece}: {frame:?}");
        assert_eq!(watch.read(), piece * PIECE, "the body was read ahead");
    }
    drop(response);
    assert_eq!(watch.held(), 0, "the response was dropped, its source lives on");

    let mut response = rendered(exchange, watch.stuck());
    assert!(response.body.frame().now_or_never().is_none(), "a piece came of a body that gave none");

    let mut trailers = Fields::new();
    trailers.push(b"x-sum", b"9");
    let data = || Ok(Frame::Data(Bytes::from_static(b"ab")));
    let with_trailers = watch.frames(vec![data(), Ok(Frame::Trailers(trailers.clone()))], Size::Exact(2));
    let response = rendered(exchange, with_trailers);
    assert_eq!(response.body.size(), Size::Exact(2), "the size that the source declared");
    let gathered =
        response.body.collect(10).now_or_never().expect("all frames are ready").expect("a body of two bytes");
    assert_eq!((&gathered.bytes[..], gathered.trailers), (&b"ab"[..], Some(trailers)), "content and trailers");

    let broken = BodyError::Broken("cut off".to_owned());
    let mut response = rendered(exchange, watch.frames(vec![data(), Err(broken.clone())], Size::Unknown));
    assert!(
        matches!(response.body.frame().now_or_never(), Some(Some(Ok(Frame::Data(_))))),
        "what came before the break"
    );
    let end = response.body.frame().now_or_never().expect("the break is ready");
    assert_eq!(end.and_then(Result::err), Some(broken), "a body that breaks off must not end as if it were whole");
}

fn rendered(exchange: &Exchange, body: Body) -> Response {
    let mut fields = Fields::new();
    fields.push(b"x-of-the-upstream", b"1");
    exchange.route.inbound.render(exchange, Ok(Reply { status: 203, fields, content: Content::Bytes(body) }))
}

/// Where the same protocol is spoken on both sides, the bodies of request and reply pass through a call unread. `open` makes
/// an exchange that calls this upstream; it gets a body here. Not owed by an outbound that translates.
pub fn bytes_pass_unread(open: impl Fn(Arc<FakeUpstream>) -> Exchange) {
    let (sent, answered) = (Watch::default(), Watch::default());
    let of_the_upstream = answered.clone();
    let upstream = FakeUpstream::answering(move |_| {
        let mut response = Response::new(200);
        response.body = of_the_upstream.endless(PIECE);
        Ok(response)
    });
    let mut exchange = open(upstream.clone());
    exchange.request.body = sent.endless(PIECE);
    let outbound = exchange.route.outbound.clone();
    assert_eq!(outbound.gathers(&exchange), None, "the outbound wants a body gathered that it only passes on");
    let answer = outbound.call(&worker(), &mut exchange).now_or_never().expect("the call waits for a body");
    let reply = answer.expect("the upstream answered");
    let sent_bodies: Vec<_> = upstream.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(sent_bodies, [SentBody::Stream], "the request's body on its way to the upstream");
    assert!(matches!(reply.content, Content::Bytes(Body::Stream(_))), "the reply is {:?}", reply.content);
    assert_eq!((sent.read(), answered.read()), (0, 0), "bytes read of request and reply on their way");
    drop((reply, exchange));
    assert_eq!((sent.held(), answered.held()), (0, 0), "bodies of request and reply that outlive their exchange");
}
