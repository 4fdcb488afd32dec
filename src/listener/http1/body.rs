//! A request's body as it arrives.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use portolan_config::snapshot::{ExpectContinue, Listener as Settings};
use portolan_exchange::{Body, BodyError, BodyStream, Frame, Moment, Request, Size, exchange, upgrade};
use portolan_http1::{CONTINUE, Decoder, Framing, Limits, Persistence, Piece, RequestHead};

use super::{Client, Door};
use crate::wire::{Link, Upgrades, buffers, strip_hop};

/// A request that arrived, and what is still to come of it.
pub struct Arrival {
    /// The request.
    pub request: Request,
    /// What is still to come of its body; nothing where all of it is here.
    pub intake: Option<Rc<Intake>>,
    /// Counts its content as it is read.
    pub counters: Rc<exchange::Bytes>,
    /// What the client wants to become of the connection.
    pub persistence: Persistence,
}

/// A body on its way in. It belongs to the connection; who reads it holds it for a while.
pub struct Intake {
    link: Rc<Link>,
    door: Rc<Door>,
    decoder: RefCell<Decoder>,
    limits: Limits,
    counters: Rc<exchange::Bytes>,
    awaits_continue: Cell<bool>,
    dropped: Cell<bool>,
    failed: Cell<bool>,
    // Since when it waits for the client, and for how long it has in all before that.
    waits_since: Cell<Option<Moment>>,
    waited: Cell<Duration>,
}

impl Arrival {
    /// The request of this head.
    pub fn new(client: &Client<'_>, head: RequestHead) -> Self {
        let RequestHead {
            method,
            target,
            authority,
            version,
            mut fields,
            framing,
            persistence,
            expects_continue,
            upgrade,
        } = head;
        let upgrade = upgrade.map(|protocol| Box::new(Wish(protocol)) as Box<dyn upgrade::Upgrading>);
        // Before any policy: what a client lists in `Connection` must not take away what a policy sets.
        strip_hop(&mut fields, if upgrade.is_some() { Upgrades::Keep } else { Upgrades::Strip });
        let awaits_continue = expects_continue && client.door.settings.expect_continue == ExpectContinue::Answer;
        if awaits_continue {
            fields.remove("expect");
        }
        let counters = Rc::new(exchange::Bytes::default());
        let (body, intake) = match whole(client.link, framing) {
            Some(bytes) => {
                counters.received.set(bytes.len() as u64);
                (Body::whole(bytes), None)
            }
            None => {
                let intake = Intake::new(client, framing, counters.clone(), awaits_continue);
                (Body::stream(Received { intake: intake.clone() }), Some(intake))
            }
        };
        let request = Request { method, target, authority, version, fields, body, peer: client.peer, upgrade };
        Self { request, intake, counters, persistence }
    }
}

/// The whole body, where it is here already.
fn whole(link: &Link, framing: Framing) -> Option<Bytes> {
    match framing {
        Framing::None | Framing::Length(0) => Some(Bytes::new()),
        Framing::Length(length) => {
            let mut inflow = link.inflow_mut();
            let length = usize::try_from(length).ok().filter(|length| *length <= inflow.len())?;
            Some(inflow.take(0..length, length))
        }
        Framing::Chunked | Framing::UntilClose => None,
    }
}

impl Intake {
    fn new(client: &Client<'_>, framing: Framing, counters: Rc<exchange::Bytes>, awaits_continue: bool) -> Rc<Self> {
        Rc::new(Self {
            link: client.link.clone(),
            door: client.door.clone(),
            decoder: RefCell::new(Decoder::new(framing)),
            limits: client.door.limits,
            counters,
            awaits_continue: Cell::new(awaits_continue),
            dropped: Cell::new(false),
            failed: Cell::new(false),
            waits_since: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
        })
    }

    /// Whether all of it was read.
    pub fn has_ended(&self) -> bool {
        self.decoder.borrow().has_ended() && !self.failed.get()
    }

    /// Whether its client broke off, or broke its framing.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Whether nobody reads it any more.
    pub fn is_given_up(&self) -> bool {
        self.dropped.get() && !self.has_ended()
    }

    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if self.decoder.borrow().has_ended() {
                self.arrives();
                return Poll::Ready(None);
            }
            match self.decode() {
                Ok(Some(frame)) => {
                    self.arrives();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
            if self.decoder.borrow().has_ended() {
                continue;
            }
            self.invite();
            match self.link.poll_fill(context) {
                Poll::Ready(Ok(0) | Err(_)) => return self.fail(BodyError::Gone),
                Poll::Ready(Ok(_)) => self.awaits_continue.set(false),
                Poll::Pending => return self.wait(context),
            }
        }
    }

    /// The next piece of what is here.
    fn decode(&self) -> Result<Option<Frame>, BodyError> {
        let mut decoder = self.decoder.borrow_mut();
        let mut inflow = self.link.inflow_mut();
        loop {
            if inflow.len() == 0 {
                return Ok(None);
            }
            let piece = decoder
                .decode(inflow.bytes(), &self.limits)
                .map_err(|refusal| BodyError::Broken(refusal.sentence().to_owned()))?;
            match piece {
                Piece::Data { range, consumed } => {
                    let received = &self.counters.received;
                    received.set(received.get() + range.len() as u64);
                    return Ok(Some(Frame::Data(inflow.take(range, consumed))));
                }
                Piece::Trailers { fields, consumed } => {
                    inflow.consume(consumed);
                    return Ok(Some(Frame::Trailers(fields)));
                }
                Piece::End { consumed } => {
                    inflow.consume(consumed);
                    return Ok(None);
                }
                Piece::More { consumed } => {
                    inflow.consume(consumed);
                    if consumed == 0 || inflow.len() == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Tells a client that waits for it to go on (RFC 9110, section 10.1.1), once, when somebody wants the body.
    fn invite(&self) {
        if self.awaits_continue.replace(false) && self.link.inflow().len() == 0 {
            let mut head = buffers::head();
            head.extend_from_slice(CONTINUE);
            self.link.queue_head(head);
            self.link.defer();
        }
    }

    fn wait(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let settings = &self.door.settings;
        if self.waits_since.get().is_none() {
            let now = self.door.worker.clock.now();
            self.waits_since.set(Some(now));
            let by_stall = now.after(settings.body_timeout);
            // Only the time spent waiting for the client counts: a slow upstream is not its doing.
            let by_rate = settings.min_body_rate.map(|rate| {
                let earned = Duration::from_secs(self.counters.received.get() / rate.max(1) as u64);
                now.after((Settings::BODY_GRACE + earned).saturating_sub(self.waited.get()))
            });
            self.link.reading.set(by_rate.map_or(by_stall, |by_rate| by_rate.min(by_stall)));
        }
        self.link.inflow_mut().cool();
        if self.link.reading.poll(context).is_ready() {
            return self.fail(BodyError::Late);
        }
        Poll::Pending
    }

    fn arrives(&self) {
        if let Some(since) = self.waits_since.take() {
            self.waited.set(self.waited.get() + self.door.worker.clock.now().since(since));
            self.link.reading.clear();
        }
    }

    fn fail(&self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.arrives();
        self.failed.set(true);
        Poll::Ready(Some(Err(error)))
    }
}

/// The body as its reader holds it.
struct Received {
    intake: Rc<Intake>,
}

impl BodyStream for Received {
    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        self.intake.poll_frame(context)
    }

    fn size(&self) -> Size {
        self.intake.decoder.borrow().size()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.intake.arrives();
        self.intake.dropped.set(true);
    }
}

#[derive(Debug)]
struct Wish(Box<str>);

impl upgrade::Upgrading for Wish {
    fn protocol(&self) -> &str {
        &self.0
    }
}
