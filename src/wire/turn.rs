//! The end of a worker's turn: the little that its connections have to send is sent once all that was readable is handled.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use portolan_exchange::{Worker, clock};

use super::alarms::{Alarms, remember};
use super::link::Link;

/// The sends that a worker has put off, and its alarms.
pub struct Turn {
    alarms: Rc<Alarms>,
    deferred: RefCell<Vec<Rc<Link>>>,
    driver: RefCell<Option<Waker>>,
    stopping: Cell<bool>,
}

impl Turn {
    /// The turn of this worker.
    pub fn of(worker: &Worker) -> Rc<Self> {
        let own = worker.local(|| {
            Rc::new(Self {
                alarms: Alarms::new(worker.clock.clone()),
                deferred: RefCell::default(),
                driver: RefCell::default(),
                stopping: Cell::new(false),
            })
        });
        Rc::clone(&own)
    }

    /// The alarms of the worker's connections.
    pub fn alarms(&self) -> &Rc<Alarms> {
        &self.alarms
    }

    /// Sends what this connection has queued at the end of the turn.
    pub(super) fn defer(&self, link: &Rc<Link>) {
        let mut deferred = self.deferred.borrow_mut();
        deferred.push(link.clone());
        // Woken by the first, it stands in the queue behind everything that was woken with it.
        if deferred.len() == 1
            && let Some(driver) = self.driver.borrow().as_ref()
        {
            driver.wake_by_ref();
        }
    }

    /// Whether the worker is ending: no connection begins another message.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The worker is ending: whoever waits for a message is woken.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.alarms.wake_all();
    }

    /// Sends what was put off, turn by turn, for as long as the worker lives.
    pub async fn drive(self: Rc<Self>) {
        let mut sending = Vec::new();
        poll_fn(|context| {
            remember(&self.driver, context);
            std::mem::swap(&mut sending, &mut *self.deferred.borrow_mut());
            for link in sending.drain(..) {
                link.send_deferred();
            }
            clock::turn_begins();
            Poll::<()>::Pending
        })
        .await;
    }
}
