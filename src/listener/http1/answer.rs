//! Sends the answer to a request, and says what becomes of the connection.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use portolan_config::snapshot::HalfClose;
use portolan_exchange::protocol::Interim;
use portolan_exchange::upgrade::Tunnel;
use portolan_exchange::{Body, Client as Asks, Fields, Frame, Request, Response};
use portolan_http1::connection::{After, Announced, Content, Progress, Rest, Serving};
use portolan_http1::{self as http1, Framing, Persistence};

use super::body::{Arrival, Intake};
use super::{Client, Then};
use crate::pipeline::{Arrived, Tail};
use crate::wire::content::{Framer, Miscounted};
use crate::wire::{HIGH_WATER, Link, buffers};

// A client that sends ahead while it waits is read up to here; beyond, nobody looks whether it is still there.
const AHEAD: usize = 64 * 1024;

/// An exchange's answer on its way to the client.
pub struct Answering<'a> {
    client: &'a Client<'a>,
    intake: Option<Rc<Intake>>,
    serving: Serving,
    // The client has ended its side, and may still take an answer.
    half_closed: Cell<bool>,
}

impl<'a> Answering<'a> {
    /// The answer to a request of this client, the request, and how it arrived.
    pub fn new(client: &'a Client<'a>, arrival: Arrival, asks: Asks) -> (Self, Request, Arrived) {
        let Arrival { request, intake, counters, serving } = arrival;
        let interim = serving.knows_interims().then(|| client.link.clone() as Rc<dyn Interim>);
        let arrived = Arrived { client: asks, bytes: counters, queue: client.queued, interim };
        (Self { client, intake, serving, half_closed: Cell::new(false) }, request, arrived)
    }

    /// Waits for the response and sends it to its last byte, as long as the client is there.
    pub async fn answer(&self, mut running: Pin<&mut impl Future<Output = (Response, Option<Tail>)>>) -> Then {
        let response = poll_fn(|context| {
            if let Poll::Ready(response) = running.as_mut().poll(context) {
                return Poll::Ready(Some(response));
            }
            self.poll_gone(context).map(|()| None)
        });
        let queued = match response.await {
            Some((response, tail)) => self.queue(response, tail),
            // Whoever asked is gone; dropping the exchange has cancelled it.
            None => return Then::Http(After::Close),
        };
        let (announced, sent) = match queued {
            Queued::Whole(announced) => (announced, Progress::Ended),
            // Boxed, so that answers that are here whole carry nothing of it.
            Queued::Streaming(announced, streaming) => (announced, Box::pin(self.stream(streaming)).await),
            Queued::Upgraded(tunnel) => return Then::Upgraded(tunnel),
        };
        let link = self.client.link;
        link.defer();
        let rest = self.rest(sent);
        let after = announced.after(rest, sent);
        let waits = match after {
            // A client that asks on and takes nothing gets no more answers queued.
            After::Reuse => link.waiting() >= HIGH_WATER,
            // What a client still sends has to be read while it takes its answer, which lingering does.
            After::Linger => rest == Rest::None,
            After::Close => false,
        };
        Then::Http(if waits && self.client.taken().await.is_err() { After::Close } else { after })
    }

    /// Ready when the client went away while it waits.
    fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let link = self.client.link;
        if link.poll_trouble(context).is_ready() {
            return Poll::Ready(());
        }
        // Whoever waits for more of the body meets its end; where nobody does, the connection is read ahead.
        if self.half_closed.get() || self.intake.as_ref().is_some_and(|intake| intake.is_waited_for()) {
            return Poll::Pending;
        }
        while link.inflow().len() < AHEAD {
            match link.poll_fill(context) {
                Poll::Ready(Ok(0)) if self.client.door.settings.half_close == HalfClose::Answer => {
                    self.half_closed.set(true);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    link.inflow_mut().cool();
                    return Poll::Pending;
                }
            }
        }
        Poll::Pending
    }

    /// Queues the head and what is here of the body.
    fn queue(&self, mut response: Response, tail: Option<Tail>) -> Queued {
        if let Some(tunnel) = response.tunnel.take() {
            queue_bare_head(self.client.link, response.status, &response.fields);
            return Queued::Upgraded(tunnel);
        }
        let rest = self.rest(if matches!(response.body, Body::Stream(_)) { Progress::Open } else { Progress::Ended });
        let announced = self.serving.announce(response.status, response.body.size(), rest, self.persistence());
        let link = self.client.link;
        queue_head(link, &announced, &response);
        match (announced.content, response.body) {
            (Content::Follows(framing), body @ Body::Stream(_)) => {
                return Queued::Streaming(announced, Streaming { body, framer: Framer::new(framing), tail });
            }
            (Content::Follows(_), Body::Whole(bytes)) => whole(link, bytes, tail),
            (Content::None | Content::Told(_), _) | (Content::Follows(_), Body::Empty) => complete(tail),
        }
        Queued::Whole(announced)
    }

    /// What of the request is not read yet, when so much of its answer is here.
    fn rest(&self, answer: Progress) -> Rest {
        match &self.intake {
            Some(intake) if !intake.has_ended() => match answer {
                // An answer that streams may go on reading; one that is here whole waits for no more of the request.
                Progress::Open if !intake.is_dropped() => Rest::Open,
                Progress::Open | Progress::Ended => Rest::Abandoned,
            },
            Some(_) | None => Rest::None,
        }
    }

    /// Whether we would take another request on the connection.
    fn persistence(&self) -> Persistence {
        let Client { door, served, .. } = self.client;
        let is_last = door.settings.max_requests.is_some_and(|most| *served >= most);
        if is_last || door.turn.is_stopping() { Persistence::Close } else { Persistence::KeepAlive }
    }

    /// Sends a body piece by piece, to its end if nothing breaks off.
    async fn stream(&self, mut streaming: Streaming) -> Progress {
        let sent = poll_fn(|context| streaming.poll_send(self, context)).await;
        self.client.link.writing.clear();
        sent
    }
}

/// What was queued of an answer.
enum Queued {
    /// All of it.
    Whole(Announced),
    /// Its head, and this is to come.
    Streaming(Announced, Streaming),
    /// Its head, behind which another protocol takes over.
    Upgraded(Tunnel),
}

/// A body on its way to the client.
struct Streaming {
    body: Body,
    framer: Framer,
    tail: Option<Tail>,
}

impl Streaming {
    /// Reads pieces and writes them at once, as long as the client takes them: its pace is that of the reading.
    fn poll_send(&mut self, answering: &Answering<'_>, context: &mut Context<'_>) -> Poll<Progress> {
        let link = answering.client.link;
        loop {
            if link.waiting() >= HIGH_WATER || self.framer.has_ended() {
                match answering.client.poll_taken(context) {
                    Poll::Ready(Ok(())) if self.framer.has_ended() => {
                        complete(self.tail.take());
                        return Poll::Ready(Progress::Ended);
                    }
                    Poll::Ready(Ok(())) => {}
                    // The exchange ends as one whose client left.
                    Poll::Ready(Err(_)) => return Poll::Ready(Progress::Open),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let polled = catch_unwind(AssertUnwindSafe(|| self.body.poll_frame(context)));
            let frame = match polled {
                Ok(Poll::Ready(frame)) => frame,
                Ok(Poll::Pending) => return self.poll_quiet(answering, context),
                Err(panic) => {
                    self.body = Body::Empty;
                    if let Some(tail) = self.tail.take() {
                        tail.panicked(&crate::pipeline::panic_text(panic.as_ref()));
                    }
                    return Poll::Ready(Progress::Open);
                }
            };
            let queued = match frame {
                Some(Ok(frame)) => self.queue(link, frame).map_err(|miscounted| miscounted.to_string()),
                // What broke off was the client's own part: it is gone, and nobody else is to blame.
                Some(Err(_)) if answering.intake.as_ref().is_some_and(|intake| intake.has_failed()) => {
                    return Poll::Ready(Progress::Open);
                }
                Some(Err(error)) => Err(error.to_string()),
                None => self.framer.end(link, None).map_err(|miscounted| miscounted.to_string()),
            };
            if let Err(why) = queued {
                self.broke(&why);
                return Poll::Ready(Progress::Open);
            }
        }
    }

    /// Nothing to send now: what was queued goes out, and the client is watched.
    fn poll_quiet(&mut self, answering: &Answering<'_>, context: &mut Context<'_>) -> Poll<Progress> {
        match answering.client.poll_taken(context) {
            Poll::Ready(Err(_)) => return Poll::Ready(Progress::Open),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        answering.poll_gone(context).map(|()| Progress::Open)
    }

    fn queue(&mut self, link: &Link, frame: Frame) -> Result<(), Miscounted> {
        if let (Some(tail), Frame::Data(data)) = (&mut self.tail, &frame) {
            tail.sent(data.len());
        }
        self.framer.queue(link, frame)
    }

    fn broke(&mut self, why: &str) {
        if let Some(tail) = self.tail.take() {
            tail.broke(&why);
        }
    }
}

fn complete(tail: Option<Tail>) {
    if let Some(tail) = tail {
        tail.complete();
    }
}

fn whole(link: &Link, bytes: bytes::Bytes, tail: Option<Tail>) {
    if let Some(mut tail) = tail {
        tail.sent(bytes.len());
        tail.complete();
    }
    link.queue_bytes(bytes);
}

fn queue_head(link: &Link, announced: &Announced, response: &Response) {
    let mut head = buffers::head();
    announced.write_head(&mut head, response.status, &response.fields);
    link.queue_head(head);
}

/// Heads before the answer's own: 103, and 100 where the upstream gives it.
impl Interim for Link {
    fn send(self: Rc<Self>, status: u16, fields: &Fields) {
        queue_bare_head(&self, status, fields);
    }
}

/// A head that announces nothing and has no content behind it: an interim one, or the last one of HTTP before another protocol.
fn queue_bare_head(link: &Rc<Link>, status: u16, fields: &Fields) {
    let mut head = buffers::head();
    http1::write_response(&mut head, status, fields, Framing::None, None);
    link.queue_head(head);
    link.defer();
}

/// Answers what is not let in, and gives up the connection.
pub fn refuse(link: &Rc<Link>, response: Response, serving: Serving) -> After {
    let announced = serving.announce(response.status, response.body.size(), Rest::Abandoned, Persistence::Close);
    queue_head(link, &announced, &response);
    if let (Content::Follows(_), Body::Whole(bytes)) = (announced.content, response.body) {
        link.queue_bytes(bytes);
    }
    link.defer();
    announced.after(Rest::Abandoned, Progress::Ended)
}
