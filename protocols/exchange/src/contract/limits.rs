//! Limits hold: to the byte, and before more than that was read.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::{FakeUpstream, Watch, describe, worker};
use crate::{Body, Class, Exchange, FaultKind, Frame, Response, Size};

const PIECE: usize = 100;

/// A body of as many bytes as the inbound gathers is looked into, one more byte is refused: a declared one before it is read, one
/// without end before much more is. `open` makes an exchange with this body. Every inbound that gathers owes this.
pub fn too_much_is_refused(open: impl Fn(Body) -> Exchange, bound: usize) {
    let watch = Watch::default();
    let of_size = |count: usize, size: Size| {
        let content = bytes(count);
        let frames = content.chunks(PIECE).map(|piece| Ok(Frame::Data(Bytes::copy_from_slice(piece))));
        watch.frames(frames.collect(), size)
    };
    let exact = |count: usize| Size::Exact(u64::try_from(count).expect("a bound of tests"));

    for body in [Body::whole(bytes(bound)), of_size(bound, exact(bound)), of_size(bound, Size::Unknown)] {
        let shown = format!("{body:?}");
        let refused = refusal(open(body), bound);
        assert_ne!(refused, Some(FaultKind::BodyTooLarge), "{bound} bytes as {shown}");
    }

    let before = watch.read();
    let declared = [Body::whole(bytes(bound + 1)), of_size(bound + 1, exact(bound + 1))];
    for body in declared {
        let shown = format!("{body:?}");
        assert_eq!(refusal(open(body), bound), Some(FaultKind::BodyTooLarge), "one byte too many as {shown}");
    }
    assert_eq!(watch.read(), before, "what declares itself too long is refused unread");

    for body in [of_size(bound + 1, Size::Unknown), watch.endless(PIECE)] {
        let before = watch.read();
        assert_eq!(refusal(open(body), bound), Some(FaultKind::BodyTooLarge), "too long, as only its end would tell");
        let read = watch.read() - before;
        assert!(read <= bound + PIECE, "{read} bytes were read where {bound} are allowed");
    }
    assert_eq!(watch.held(), 0, "bodies that outlive their refusal");
}

fn bytes(count: usize) -> Vec<u8> {
    vec![b' '; count]
}

/// How it is refused, if it is; the refusal has its status in the response.
fn refusal(mut exchange: Exchange, bound: usize) -> Option<FaultKind> {
    let inbound = exchange.route.inbound.clone();
    assert_eq!(inbound.gathers(&exchange), Some(bound), "how much the inbound gathers");
    let fault = describe(&worker(), &mut exchange).err()?;
    let kind = fault.kind();
    assert_eq!(inbound.render(&exchange, Err(fault)).status, kind.status(), "the status of `{}`", kind.code());
    Some(kind)
}

/// An answer without end that must be gathered is given up near this bound, in bytes, as a fault of the upstream. `open` makes an
/// exchange that calls this upstream. Every outbound that translates owes this in place of a stream.
pub fn an_endless_answer_is_refused(open: impl Fn(Arc<FakeUpstream>) -> Exchange, bound: usize) {
    const PIECE: usize = 64 * 1024;
    let watch = Watch::default();
    let of_the_upstream = watch.clone();
    let upstream = FakeUpstream::answering(move |_| {
        let mut response = Response::new(200);
        response.body = of_the_upstream.endless(PIECE);
        Ok(response)
    });
    let mut exchange = open(upstream);
    let outbound = exchange.route.outbound.clone();
    let answer = outbound.call(&worker(), &mut exchange).now_or_never().expect("all that is read is ready");
    let class = answer.as_ref().err().map(|fault| fault.kind().class());
    assert_eq!(class, Some(Class::Upstream), "an answer without end: {answer:?}");
    let read = watch.read();
    assert!(read > 0 && read <= bound + PIECE, "{read} bytes were read where {bound} are allowed");
    assert_eq!(watch.held(), 0, "an answer that outlives its refusal");
}
