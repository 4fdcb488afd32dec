//! Calls end when they are dropped, and at the deadline of their exchange.
//!
//! What can be promised at this level: the pipeline runs each call under the deadline of its exchange and drops it when that
//! has come. So an outbound needs no timer; it owes that the deadline goes unchanged to the upstream, which bounds its
//! own steps by it, and that nothing of a call outlives its drop: no request, no body, no timer, no errand. A reply
//! that streams has met the deadline with its head.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;

use super::{FakeUpstream, Watch, worker};
use crate::{Body, Content, Exchange, FaultKind, Response, Worker};

/// A call that waits for an answer is dropped with all it holds. `watch` is of a counterpart that never answers, such as
/// [`FakeUpstream::silent`]. Every outbound owes this.
pub fn dropping_the_call_reaches_the_upstream(mut exchange: Exchange, watch: &Watch) {
    let (worker, sent) = (worker(), Watch::default());
    let outbound = exchange.route.outbound.clone();
    if matches!(exchange.request.body, Body::Empty) && outbound.gathers(&exchange).is_none() {
        exchange.request.body = sent.stuck();
    }
    let mut call = outbound.call(&worker, &mut exchange);
    assert!(poll(&mut call).is_pending(), "the call ended although nobody answered it");
    assert!(watch.held() > 0, "the call waits, and not for its upstream");
    drop(call);
    assert_eq!(watch.held(), 0, "the call was dropped, and its upstream was not told");
    nothing_is_left(&worker);
    drop(exchange);
    assert_eq!(sent.held(), 0, "the request's body outlives its exchange");
}

/// A reply that nobody reads on is dropped with its source; where the call still gathers it, with the call. `open` makes an
/// exchange that calls this upstream. Every outbound that calls an upstream owes this.
pub fn dropping_the_reply_reaches_the_upstream(open: impl Fn(Arc<FakeUpstream>) -> Exchange) {
    let (worker, watch) = (worker(), Watch::default());
    let mut exchange = open(answering_without_end(&watch));
    let outbound = exchange.route.outbound.clone();
    let mut call = outbound.call(&worker, &mut exchange);
    let answer = poll(&mut call);
    assert_eq!(watch.held(), 1, "the answer was dropped before its time: {answer:?}");
    drop(answer);
    drop(call);
    assert_eq!(watch.held(), 0, "the reply was dropped, its source lives on");
    nothing_is_left(&worker);
}

/// The upstream is asked under the deadline of the exchange, and at this deadline the call has ended, whether the upstream's
/// head did not come or the rest of an answer that is gathered. Every outbound that calls an upstream owes this.
pub fn the_deadline_travels(open: impl Fn(Arc<FakeUpstream>) -> Exchange) {
    let upstream = FakeUpstream::silent();
    let exchange = open(upstream.clone());
    let deadline = exchange.deadline;
    the_deadline_ends_the_call(exchange, upstream.watch());
    let deadlines: Vec<_> = upstream.seen().into_iter().map(|seen| seen.deadline).collect();
    assert!(!deadlines.is_empty(), "the upstream was not asked");
    let late = deadlines.iter().any(|asked| *asked > deadline);
    assert!(!late, "the upstream was asked until {deadlines:?}, the exchange ends at {deadline:?}");

    let watch = Watch::default();
    the_deadline_ends_the_call(open(answering_without_end(&watch)), &watch);
}

/// Run as the pipeline runs it, a call has ended at its deadline and left nothing behind. `watch` is of a counterpart that never
/// answers. Every outbound owes this.
pub fn the_deadline_ends_the_call(mut exchange: Exchange, watch: &Watch) {
    let worker = worker();
    let (outbound, deadline) = (exchange.route.outbound.clone(), exchange.deadline);
    let mut call = Box::pin(worker.clock.until(deadline, outbound.call(&worker, &mut exchange)));
    match poll(&mut call) {
        // Its head was in time; idle and stall rules hold from here on.
        Poll::Ready(Ok(Ok(reply))) if matches!(reply.content, Content::Bytes(Body::Stream(_))) => drop(reply),
        Poll::Ready(answer) => panic!("the call ended although nobody answered it: {answer:?}"),
        Poll::Pending => {
            assert!(watch.held() > 0, "the call waits, and not for its upstream");
            worker.clock.advance(deadline.since(worker.clock.now()));
            let timely = match poll(&mut call) {
                Poll::Ready(Err(_)) => true,
                Poll::Ready(Ok(Err(fault))) => {
                    matches!(fault.kind(), FaultKind::DeadlineExceeded | FaultKind::UpstreamTimeout)
                }
                Poll::Ready(Ok(Ok(_))) | Poll::Pending => false,
            };
            assert!(timely, "the deadline came and the call did not end with it");
        }
    }
    drop(call);
    assert_eq!(watch.held(), 0, "the call is over, and its upstream was not told");
    assert_eq!(exchange.deadline, deadline, "a call does not move the deadline of its exchange");
    nothing_is_left(&worker);
}

fn nothing_is_left(worker: &Worker) {
    let left = (worker.clock.sleepers(), worker.errands.running());
    assert_eq!(left, (0, 0), "timers and errands that outlive their call");
}

/// One look at a future: these tests move everything by hand.
fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Answers the head at once and never a byte of the body.
fn answering_without_end(watch: &Watch) -> Arc<FakeUpstream> {
    let watch = watch.clone();
    FakeUpstream::answering(move |_| {
        let mut response = Response::new(200);
        response.body = watch.stuck();
        Ok(response)
    })
}
