//! A request's body as it arrives.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use portolan_config::snapshot::ExpectContinue;
use portolan_exchange::{Body, BodyError, BodyStream, Frame, Request, Size, exchange, upgrade};
use portolan_http1::connection::Serving;
use portolan_http1::{CONTINUE, Decoder, Framing, Limits, RequestHead};

use super::{Client, Door};
use crate::edge::pace::Pace;
use crate::wire::{Link, Upgrades, buffers, content, strip_hop};

/// A request that arrived, and what is still to come of it.
pub struct Arrival {
    /// The request.
    pub request: Request,
    /// What is still to come of its body; nothing where all of it is here.
    pub intake: Option<Rc<Intake>>,
    /// Counts its content as it is read.
    pub counters: Rc<exchange::Bytes>,
    /// What its answer depends on.
    pub serving: Serving,
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
    pace: Cell<Pace>,
}

impl Arrival {
    /// The request of this head.
    pub fn new(client: &Client<'_>, head: RequestHead) -> Self {
        let serving = Serving::new(&head);
        let RequestHead { method, target, authority, version, mut fields, framing, expects_continue, upgrade, .. } =
            head;
        let upgrade = upgrade.map(|protocol| Box::new(Wish(protocol)) as Box<dyn upgrade::Upgrading>);
        // Before any policy: what a client lists in `Connection` must not take away what a policy sets.
        strip_hop(&mut fields, if upgrade.is_some() { Upgrades::Keep } else { Upgrades::Strip });
        let awaits_continue = expects_continue && client.door.settings.expect_continue == ExpectContinue::Answer;
        if awaits_continue {
            fields.remove("expect");
        }
        let counters = client.counters.clone();
        let (body, intake) = match content::whole(client.link, framing) {
            Some(bytes) => {
                counters.received.set(bytes.len() as u64);
                (Body::whole(bytes), None)
            }
            None => {
                let intake = Intake::new(client, framing, counters.clone(), awaits_continue);
                (Body::stream(Received { intake: intake.clone() }), Some(intake))
            }
        };
        let request = Request { method, target, authority, version, fields, body, upgrade };
        Self { request, intake, counters, serving }
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
            pace: Cell::new(Pace::new()),
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

    /// Whether somebody waits for more of it, and so meets its end.
    pub fn is_waited_for(&self) -> bool {
        self.pace.get().is_waited_for()
    }

    /// Whether nobody reads it any more.
    pub fn is_dropped(&self) -> bool {
        self.dropped.get()
    }

    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if self.decoder.borrow().has_ended() {
                self.arrives(0);
                return Poll::Ready(None);
            }
            match self.decode() {
                Ok(Some(frame)) => {
                    self.arrives(if let Frame::Data(data) = &frame { data.len() } else { 0 });
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
        let frame = content::decode(&self.link, &mut self.decoder.borrow_mut(), &self.limits)?;
        if let Some(Frame::Data(data)) = &frame {
            let received = &self.counters.received;
            received.set(received.get() + data.len() as u64);
        }
        Ok(frame)
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
        self.link.inflow_mut().cool();
        let mut pace = self.pace.get();
        let late = pace.poll_late(&self.door.settings, &self.link.reading, context);
        self.pace.set(pace);
        if late.is_ready() { self.fail(BodyError::Late) } else { Poll::Pending }
    }

    /// So many bytes are read, or nobody waits for any.
    fn arrives(&self, bytes: usize) {
        let mut pace = self.pace.get();
        pace.arrives(bytes, &self.link.reading);
        self.pace.set(pace);
    }

    fn fail(&self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.arrives(0);
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
        self.intake.arrives(0);
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
