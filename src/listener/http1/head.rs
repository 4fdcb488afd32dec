//! Waits for the head of a client's next request.

use std::future::poll_fn;
use std::task::{Context, Poll};

use portolan_exchange::{Fault, FaultKind, Moment};
use portolan_http1::{RequestHead, RequestReader};

use super::{Client, fault_of};
use crate::listener::parking;

/// What a client begins an HTTP/2 connection with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What came next on a connection.
pub enum Next {
    /// A request.
    Request(RequestHead),
    /// What is no request, or one that came too late.
    Refused(Fault),
    /// The preface of HTTP/2, which stays unread.
    Http2,
    /// Nothing for a while, on a connection that may be idle until then.
    Idle(Moment),
    /// Nothing: the client left, or was quiet for too long, or the gateway is ending.
    Over,
}

/// How a head arrives.
struct Waiting {
    // How long it may take for its first bytes.
    until: Moment,
    // When its first bytes were seen, if they were not all of it.
    since: Option<Moment>,
    looked_at: usize,
    // How far it is read, if that is not to its end; most are here whole at once.
    reader: Option<Box<RequestReader>>,
}

impl Client<'_> {
    /// Waits for the next request. While nothing of it is here, the connection holds no buffer.
    pub(super) async fn next(&mut self) -> Next {
        let now = self.door.worker.clock.now();
        let until = self.idle_until.take().unwrap_or_else(|| now.after(self.door.settings.idle_timeout));
        let mut waiting = Waiting { until, since: None, looked_at: 0, reader: None };
        self.link.reading.set(parking::due(now).min(waiting.until));
        let next = poll_fn(|context| self.poll_next(context, &mut waiting)).await;
        self.link.reading.clear();
        self.queued = waiting.since.map(|since| self.door.worker.clock.now().since(since)).unwrap_or_default();
        next
    }

    fn poll_next(&self, context: &mut Context<'_>, waiting: &mut Waiting) -> Poll<Next> {
        loop {
            if let Some(next) = self.look(waiting) {
                return Poll::Ready(next);
            }
            if self.link.poll_trouble(context).is_ready() || (self.door.turn.is_stopping() && waiting.since.is_none()) {
                return Poll::Ready(Next::Over);
            }
            // A client that sends ahead and takes nothing waits for its own answers.
            if self.link.waiting() > crate::wire::HIGH_WATER && self.link.poll_drained(context).is_pending() {
                return self.late(context, waiting);
            }
            match self.link.poll_fill(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Over),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.late(context, waiting),
            }
        }
    }

    /// Looks for a head in what is here.
    fn look(&self, waiting: &mut Waiting) -> Option<Next> {
        let mut inflow = self.link.inflow_mut();
        let bytes = inflow.bytes();
        if bytes.len() == waiting.looked_at {
            return None;
        }
        waiting.looked_at = bytes.len();
        if self.served == 0 && begins_http2(bytes) {
            if bytes.len() >= PREFACE.len() {
                return Some(Next::Http2);
            }
        } else {
            let mut fresh = RequestReader::new();
            let reader = waiting.reader.as_deref_mut().unwrap_or(&mut fresh);
            match reader.read(bytes, &self.door.limits, &self.door.rules) {
                Ok(Some((head, consumed))) => {
                    inflow.consume(consumed);
                    return Some(Next::Request(head));
                }
                Ok(None) if waiting.reader.is_none() => waiting.reader = Some(Box::new(fresh)),
                Ok(None) => {}
                Err(refusal) => return Some(Next::Refused(fault_of(refusal))),
            }
        }
        if waiting.since.is_none() {
            let now = self.door.worker.clock.now();
            waiting.since = Some(now);
            self.link.reading.set(now.after(self.door.settings.head_timeout));
        }
        None
    }

    /// Nothing more is here: waits, within its time.
    fn late(&self, context: &mut Context<'_>, waiting: &Waiting) -> Poll<Next> {
        while self.link.reading.poll(context).is_ready() {
            if waiting.since.is_none() && self.door.worker.clock.now() < waiting.until {
                if self.link.is_at_rest() {
                    return Poll::Ready(Next::Idle(waiting.until));
                }
                // Its client takes its time with the last answer.
                self.link.reading.set(waiting.until);
                continue;
            }
            return Poll::Ready(match waiting.since {
                None => Next::Over,
                Some(_) => Next::Refused(Fault::new(FaultKind::RequestTimeout, "the head did not arrive in time")),
            });
        }
        self.link.inflow_mut().cool();
        Poll::Pending
    }
}

fn begins_http2(bytes: &[u8]) -> bool {
    let known = bytes.len().min(PREFACE.len());
    bytes[..known] == PREFACE[..known]
}
