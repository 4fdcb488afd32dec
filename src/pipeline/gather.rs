//! A body on its way into memory: what has come of it is charged to the worker's account, for as long as its exchange is under
//! way.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use portolan_exchange::exchange::Exchange;
use portolan_exchange::{Body, BodyError, BodyStream, Frame, Size, Worker};

use crate::edge::admission::{Account, Charge};

/// Takes the request's body, to be read into memory.
pub fn charged(worker: &Worker, exchange: &mut Exchange) -> Body {
    let charge = open(worker);
    exchange.tickets.put(OfRequest { _charge: charge.clone() });
    Body::stream(Charged { body: std::mem::take(&mut exchange.request.body), charge })
}

/// An answer's body, to be read into memory.
pub fn held(worker: &Worker, exchange: &mut Exchange, body: Body) -> Body {
    // What is here whole lies in a buffer that is charged, or is small.
    let Body::Stream(_) = &body else { return body };
    let charge = open(worker);
    exchange.tickets.put(OfAnswer { _charge: charge.clone() });
    Body::stream(Charged { body, charge })
}

fn open(worker: &Worker) -> Rc<RefCell<Charge>> {
    Rc::new(RefCell::new(Account::of(worker).open()))
}

/// What the exchange holds of its request in memory.
struct OfRequest {
    _charge: Rc<RefCell<Charge>>,
}

/// What it holds of its answer.
struct OfAnswer {
    _charge: Rc<RefCell<Charge>>,
}

struct Charged {
    body: Body,
    charge: Rc<RefCell<Charge>>,
}

impl BodyStream for Charged {
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = std::task::ready!(self.body.poll_frame(context));
        if let Some(Ok(Frame::Data(data))) = &frame {
            let mut charge = self.charge.borrow_mut();
            let held = charge.bytes() + data.len();
            charge.set(held);
        }
        Poll::Ready(frame)
    }

    fn size(&self) -> Size {
        self.body.size()
    }
}
