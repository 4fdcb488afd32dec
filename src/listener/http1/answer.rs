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
use portolan_exchange::{Body, Client as Asks, Fields, Frame, Method, Request, Response, Size, Version};
use portolan_http1::{self as http1, Framing, Persistence};

use super::body::{Arrival, Intake};
use super::{After, Client};
use crate::pipeline::{Arrived, Tail};
use crate::wire::content::{Framer, Miscounted};
use crate::wire::{HIGH_WATER, Link, buffers};

// A client that sends ahead while it waits is read up to here; beyond, nobody looks whether it is still there.
const AHEAD: usize = 64 * 1024;

/// An exchange's answer on its way to the client.
pub struct Answering<'a> {
    client: &'a Client<'a>,
    intake: Option<Rc<Intake>>,
    persistence: Persistence,
    version: Version,
    is_head: bool,
    // The client has ended its side, and may still take an answer.
    half_closed: Cell<bool>,
}

impl<'a> Answering<'a> {
    /// The answer to a request of this client, the request, and how it arrived.
    pub fn new(client: &'a Client<'a>, arrival: Arrival, asks: Asks) -> (Self, Request, Arrived) {
        let Arrival { request, intake, counters, persistence } = arrival;
        let interim = Interims { link: client.link.clone(), version: request.version };
        let arrived = Arrived { client: asks, bytes: counters, queue: client.queued, interim: Some(Rc::new(interim)) };
        let answering = Self {
            client,
            intake,
            persistence,
            version: request.version,
            is_head: request.method == Method::Head,
            half_closed: Cell::new(false),
        };
        (answering, request, arrived)
    }

    /// Waits for the response and sends it to its last byte, as long as the client is there.
    pub async fn answer(&self, mut running: Pin<&mut impl Future<Output = (Response, Option<Tail>)>>) -> After {
        let response = poll_fn(|context| {
            if let Poll::Ready(response) = running.as_mut().poll(context) {
                return Poll::Ready(Some(response));
            }
            self.poll_gone(context).map(|()| None)
        });
        let queued = match response.await {
            Some((response, tail)) => self.queue(response, tail),
            // Whoever asked is gone; dropping the exchange has cancelled it.
            None => return After::Close,
        };
        let (announced, whole) = match queued {
            Queued::Whole(announced) => (announced, true),
            // Boxed, so that answers that are here whole carry nothing of it.
            Queued::Streaming(announced, streaming) => (announced, Box::pin(self.stream(streaming)).await),
            Queued::Upgraded(tunnel) => return After::Upgraded(tunnel),
        };
        self.client.link.defer();
        if !whole {
            // Part of an answer must not look like a whole one.
            return After::Close;
        }
        if announced == Announced::KeepAlive && !self.is_unread() {
            // A client that asks on and takes nothing gets no more answers queued.
            let is_full = self.client.link.waiting() >= HIGH_WATER;
            return if is_full && self.client.taken().await.is_err() { After::Close } else { After::Reuse };
        }
        self.end().await
    }

    /// Ready when the client went away while it waits.
    fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let link = self.client.link;
        if link.poll_trouble(context).is_ready() {
            return Poll::Ready(());
        }
        // While a body is still to come, whoever reads it meets its end.
        let reads_on = self.intake.as_ref().is_none_or(|intake| intake.has_ended());
        if !reads_on || self.half_closed.get() {
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
            self.upgrade(&response);
            return Queued::Upgraded(tunnel);
        }
        let content = Content::of(&response, self.is_head, self.version);
        let reading = if matches!(response.body, Body::Stream(_)) { Reading::MayGoOn } else { Reading::Over };
        let announced = self.announced(content, reading);
        let link = self.client.link;
        link.queue_head(content.write_head(&response, announced.field(self.version)));
        match (content, response.body) {
            (Content::Framed(framing), body @ Body::Stream(_)) => {
                return Queued::Streaming(announced, Streaming { body, framer: Framer::new(framing), tail });
            }
            (Content::Framed(_), Body::Whole(bytes)) => whole(link, bytes, tail),
            (Content::None, _) | (Content::Framed(_), Body::Empty) => complete(tail),
        }
        Queued::Whole(announced)
    }

    /// Whether the answer says that the connection ends with it.
    fn announced(&self, content: Content, reading: Reading) -> Announced {
        let door = self.client.door;
        let is_last = door.settings.max_requests.is_some_and(|most| self.client.served >= most);
        // An answer that is here whole waits for no more of the request: what is still to come of it will not be read. One that
        // streams may go on reading.
        let given_up = self
            .intake
            .as_ref()
            .is_some_and(|intake| intake.is_given_up() || (reading == Reading::Over && !intake.has_ended()));
        let ends = self.persistence == Persistence::Close
            || is_last
            || given_up
            || door.turn.is_stopping()
            || content.ends_with_connection();
        if ends { Announced::Close } else { Announced::KeepAlive }
    }

    /// Whether the client may still be sending what nobody will read.
    fn is_unread(&self) -> bool {
        self.intake.as_ref().is_some_and(|intake| !intake.has_ended())
    }

    /// The end of a connection that serves no further request.
    async fn end(&self) -> After {
        if self.is_unread() {
            return After::Linger;
        }
        match self.client.taken().await {
            Ok(()) => After::Linger,
            Err(_) => After::Close,
        }
    }

    /// The head behind which the connection is another protocol's.
    fn upgrade(&self, response: &Response) {
        let mut head = buffers::head();
        http1::write_response(&mut head, response.status, &response.fields, Framing::None, None);
        self.client.link.queue_head(head);
        self.client.link.defer();
    }

    /// Sends a body piece by piece; false when it broke off.
    async fn stream(&self, mut streaming: Streaming) -> bool {
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
    fn poll_send(&mut self, answering: &Answering<'_>, context: &mut Context<'_>) -> Poll<bool> {
        let link = answering.client.link;
        loop {
            if link.waiting() >= HIGH_WATER || self.framer.has_ended() {
                match answering.client.poll_taken(context) {
                    Poll::Ready(Ok(())) if self.framer.has_ended() => {
                        complete(self.tail.take());
                        return Poll::Ready(true);
                    }
                    Poll::Ready(Ok(())) => {}
                    // The exchange ends as one whose client left.
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
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
                    return Poll::Ready(false);
                }
            };
            let queued = match frame {
                Some(Ok(frame)) => self.queue(link, frame).map_err(|miscounted| miscounted.to_string()),
                // What broke off was the client's own part: it is gone, and nobody else is to blame.
                Some(Err(_)) if answering.intake.as_ref().is_some_and(|intake| intake.has_failed()) => {
                    return Poll::Ready(false);
                }
                Some(Err(error)) => Err(error.to_string()),
                None => self.framer.end(link, None).map_err(|miscounted| miscounted.to_string()),
            };
            if let Err(why) = queued {
                self.broke(&why);
                return Poll::Ready(false);
            }
        }
    }

    /// Nothing to send now: what was queued goes out, and the client is watched.
    fn poll_quiet(&mut self, answering: &Answering<'_>, context: &mut Context<'_>) -> Poll<bool> {
        match answering.client.poll_taken(context) {
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        answering.poll_gone(context).map(|()| false)
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

/// Whether anybody may still read of the request once its answer has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    MayGoOn,
    Over,
}

/// What is said of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    KeepAlive,
    Close,
}

impl Announced {
    /// The `Connection` field, where the version does not say it already (RFC 9112, section 9.3).
    fn field(self, version: Version) -> Option<&'static str> {
        match (self, version) {
            (Self::Close, _) => Some("close"),
            (Self::KeepAlive, Version::Http10) => Some("keep-alive"),
            (Self::KeepAlive, _) => None,
        }
    }
}

/// How the content of an answer is framed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// There is none on the wire, whatever the head says of it (RFC 9112, section 6.3).
    None,
    /// It follows the head.
    Framed(Framing),
}

impl Content {
    fn of(response: &Response, is_head: bool, version: Version) -> Self {
        if is_head || matches!(response.status, 204 | 304) {
            return Self::None;
        }
        Self::Framed(match (response.body.size(), version) {
            (Size::Exact(length), _) => Framing::Length(length),
            (Size::Unknown, Version::Http10) => Framing::UntilClose,
            (Size::Unknown, _) => Framing::Chunked,
        })
    }

    fn ends_with_connection(self) -> bool {
        self == Self::Framed(Framing::UntilClose)
    }

    fn write_head(self, response: &Response, connection: Option<&'static str>) -> Vec<u8> {
        let mut head = buffers::head();
        let Response { status, fields, body, .. } = response;
        match (self, body.size()) {
            (Self::Framed(framing), _) => http1::write_response(&mut head, *status, fields, framing, connection),
            // A HEAD is told what a GET would get, also where the answer is our own.
            (Self::None, Size::Exact(length)) if length > 0 && !matches!(*status, 204 | 304) => {
                http1::write_response(&mut head, *status, fields, Framing::Length(length), connection);
            }
            (Self::None, _) => http1::write_response_without_content(&mut head, *status, fields, connection),
        }
        head
    }
}

/// Heads before the answer's own: 103, and 100 where the upstream gives it.
struct Interims {
    link: Rc<Link>,
    version: Version,
}

impl Interim for Interims {
    fn send(&self, status: u16, fields: &Fields) {
        // HTTP/1.0 knows none (RFC 9110, section 15.2).
        if self.version == Version::Http10 {
            return;
        }
        let mut head = buffers::head();
        http1::write_response(&mut head, status, fields, Framing::None, None);
        self.link.queue_head(head);
        self.link.defer();
    }
}

/// Answers what could not be read, and gives up the connection.
pub fn refuse(link: &Rc<Link>, response: Response, method: Option<&Method>) -> After {
    let content = Content::of(&response, method == Some(&Method::Head), Version::Http11);
    link.queue_head(content.write_head(&response, Some("close")));
    if let (Content::Framed(_), Body::Whole(bytes)) = (content, response.body) {
        link.queue_bytes(bytes);
    }
    link.defer();
    After::Linger
}
