//! Closing a connection on which the client may still be sending.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::wire::Link;

/// How long a client that is told of the end may go on sending, and how much of it is read: long enough for an answer to cross
/// the world before the reset that unread bytes cause (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(5);
const DROPPED: usize = 16 * 1024 * 1024;

/// Sends what is queued, as long as the client takes something of it; ends our side, and drops what still arrives until the
/// client ends its own or the time is over.
pub async fn linger(link: &Rc<Link>) {
    let wait = || link.reading.set(link.reading.now().after(LINGER));
    wait();
    let (mut is_shut, mut has_ended) = (false, false);
    let mut dropped = 0;
    poll_fn(|context| {
        if !is_shut {
            let before = link.waiting();
            match link.poll_drained(context) {
                Poll::Ready(Ok(())) => {
                    link.shut_down();
                    is_shut = true;
                    wait();
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending if link.waiting() < before => wait(),
                Poll::Pending => {}
            }
        }
        while !has_ended {
            let here = link.inflow().len();
            dropped += here;
            link.inflow_mut().consume(here);
            if dropped > DROPPED {
                return Poll::Ready(());
            }
            match link.poll_fill(context) {
                Poll::Ready(Ok(0)) => has_ended = true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if is_shut && has_ended {
            return Poll::Ready(());
        }
        link.reading.poll(context)
    })
    .await;
}
