//! HTTP/1.1 towards clients: one connection, its messages one after the other.

mod answer;
mod body;
mod head;
mod linger;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use portolan_exchange::client::Connection;
use portolan_exchange::upgrade::Tunnel;
use portolan_exchange::{Fault, Moment, Response, exchange};
use portolan_http1::connection::{After, Serving};
use portolan_http1::{Refusal, RequestHead};

use super::door::{Door, Refused};
use crate::pipeline::Begun;
use crate::wire::{Link, NotTaken, Pipe};
use answer::Answering;
use body::Arrival;

/// How a connection ended, as far as HTTP/1.1 is spoken on it.
pub enum Ended {
    /// It is over.
    Closed,
    /// The client speaks HTTP/2: what was received so far is still there.
    Http2,
    /// It was quiet for so long that it can wait elsewhere: nothing of a request is here, nothing waits to be sent.
    Idle(Idle),
}

/// A connection that waits for its next request.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// How many requests it has brought.
    pub served: u64,
    /// Until when it may be idle.
    pub until: Moment,
}

/// What becomes of a connection behind an exchange.
enum Then {
    /// What HTTP/1.1 says.
    Http(After),
    /// Another protocol takes over.
    Upgraded(Tunnel),
}

/// A connection of a client.
struct Client<'a> {
    door: &'a Rc<Door>,
    link: &'a Rc<Link>,
    connection: Connection,
    served: u64,
    // Until when it may be idle, where that began before it was taken up.
    idle_until: Option<Moment>,
    // How long the head at hand took to arrive.
    queued: Duration,
    // Counts the content of the request at hand.
    counters: Rc<exchange::Bytes>,
}

/// Serves a connection to its end, or until it is idle for so long that it is parked; `idle` is what it was before. Dropping the
/// future cancels what is under way on it.
pub fn serve<'a>(
    door: &'a Rc<Door>,
    link: &'a Rc<Link>,
    connection: Connection,
    idle: Option<Idle>,
) -> impl Future<Output = Ended> + use<'a> {
    let (served, idle_until) = idle.map_or((0, None), |Idle { served, until }| (served, Some(until)));
    let mut client =
        Client { door, link, connection, served, idle_until, queued: Duration::ZERO, counters: Rc::default() };
    // What an idle connection holds is what this future holds, and an `async fn` holds its arguments twice.
    async move {
        loop {
            let then = match client.next().await {
                head::Next::Request(head) => {
                    client.served += 1;
                    client.count_anew();
                    match client.begin(head) {
                        // Boxed, so that an idle connection holds none of what an exchange needs.
                        Ok((answering, begun)) => Box::pin(client.exchange(answering, begun)).await,
                        Err(refused) => {
                            let (serving, response) = *refused;
                            Then::Http(answer::refuse(client.link, response, serving))
                        }
                    }
                }
                head::Next::Refused(fault) => Then::Http(client.refuse(&fault)),
                head::Next::Http2 => return Ended::Http2,
                head::Next::Idle(until) => return Ended::Idle(Idle { served: client.served, until }),
                head::Next::Over => {
                    // The last answers may still be on their way.
                    let _ = client.taken().await;
                    return Ended::Closed;
                }
            };
            match then {
                Then::Http(After::Reuse) => {}
                Then::Http(After::Linger) => {
                    Box::pin(linger::linger(client.link)).await;
                    return Ended::Closed;
                }
                Then::Http(After::Close) => return Ended::Closed,
                Then::Upgraded(tunnel) => {
                    tunnel.run(Box::pin(Pipe::new(client.link.clone()))).await;
                    return Ended::Closed;
                }
            }
        }
    }
}

impl Client<'_> {
    /// Counts from nothing again; with other counters where somebody still holds those of the last request.
    fn count_anew(&mut self) {
        match Rc::get_mut(&mut self.counters) {
            Some(counters) => *counters = exchange::Bytes::default(),
            None => self.counters = Rc::default(),
        }
    }

    /// The request of this head and the way of its answer; or what is answered where there is no room for it, or where it is not
    /// clear whose it is. The connection goes with that: an idle one takes room as well.
    fn begin(&self, head: RequestHead) -> Result<(Answering<'_>, Begun), Box<(Serving, Response)>> {
        // Before what a client lists in `Connection` is removed: that must not take away what a proxy says.
        let asked = self.door.ask(&self.connection, &head.fields);
        let arrival = Arrival::new(self, head);
        match asked {
            Ok(asks) => {
                let (answering, request, arrived) = Answering::new(self, arrival, asks);
                let begun = self.door.engine.begin(&self.door.worker, request, arrived);
                Ok((answering, begun))
            }
            Err(refused) => {
                let Refused { address, fault } = *refused;
                let response = self.door.engine.refuse(&self.door.worker, address, &arrival.request, &fault);
                Err(Box::new((arrival.serving, response)))
            }
        }
    }

    /// One request to the last byte of its answer.
    async fn exchange(&self, answering: Answering<'_>, begun: Begun) -> Then {
        let running = pin!(self.door.engine.run(begun));
        answering.answer(running).await
    }

    /// Answers what could not be read as a request; what follows on the connection could be read in more than one way.
    fn refuse(&self, fault: &Fault) -> After {
        let response = self.door.engine.refuse_unread(&self.door.worker, self.connection.peer.ip(), fault);
        answer::refuse(self.link, response, Serving::UNREAD)
    }

    /// Waits until the client has taken what is queued, as long as it takes something at all.
    async fn taken(&self) -> Result<(), NotTaken> {
        poll_fn(|context| self.poll_taken(context)).await
    }

    /// As [`Client::taken`].
    fn poll_taken(&self, context: &mut Context<'_>) -> Poll<Result<(), NotTaken>> {
        self.link.poll_taken(context, self.door.settings.write_timeout)
    }
}

/// What a client is told of a head or a body that breaks a rule.
pub(super) fn fault_of(refusal: Refusal) -> Fault {
    use portolan_exchange::FaultKind;
    let kind = match refusal.status() {
        405 => FaultKind::MethodNotAllowed,
        414 => FaultKind::TargetTooLong,
        417 => FaultKind::ExpectationFailed,
        431 => FaultKind::HeadTooLarge,
        501 => FaultKind::NotImplemented,
        505 => FaultKind::VersionUnsupported,
        _ => FaultKind::BadRequest,
    };
    let fault = Fault::new(kind, refusal.sentence());
    if kind == FaultKind::MethodNotAllowed {
        return fault.field("allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    fault
}
