//! Closing a connection on which the client may still be sending.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use portolan_exchange::Moment;

use crate::wire::Link;

/// How long a client that is told of the end may go on sending, and how much of it is read: long enough for an answer to cross
/// the world before the reset that unread bytes cause (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(5);
const DROPPED: usize = 16 * 1024 * 1024;

/// Sends what is queued, ends our side, and drops what still arrives until the client ends its own or the time is over.
pub async fn linger(link: &Rc<Link>, now: Moment) {
    link.reading.set(now.after(LINGER));
    let mut shut = false;
    let mut dropped = 0;
    poll_fn(|context| {
        if !shut && link.poll_drained(context).is_ready() {
            link.shut_down();
            shut = true;
        }
        loop {
            let here = link.inflow().len();
            dropped += here;
            link.inflow_mut().consume(here);
            if dropped > DROPPED {
                return Poll::Ready(());
            }
            match link.poll_fill(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return link.reading.poll(context),
            }
        }
    })
    .await;
}
