//! Moves a session's bytes: one future per connection that reads, runs the tasks, takes events from the logs and writes all that
//! is ready in one write.
//!
//! Its own socket, timers and tasks wake it. When a log has grown its worker's shard calls the session, which writes what all
//! sessions share straight to its socket, and wakes this future only where something is left to do. Dropping it cancels the
//! tasks and leaves the table of sessions.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portolan_exchange::clock::Sleep;
use portolan_exchange::events::EventLog;
use portolan_exchange::exchange::{Bytes as Counters, Lineage};
use portolan_exchange::protocol::Content;
use portolan_exchange::sessions::{Seat, Session};
use portolan_exchange::upgrade::ByteStream;
use portolan_exchange::value::Payload;
use portolan_exchange::{Answer, Exchange, Fault, FaultKind, Identity, LocalBoxFuture, Moment, Worker};
use portolan_websocket::Code as CloseCode;
use tokio::io::ReadBuf;

use super::Operations;
use crate::contract::{Channel, Contract};
use crate::outbound::placed;
use crate::session::{Bursts, Machine, Ready, Task};

/// Read at a time; on the stack, so that an idle session holds no buffer.
const READ: usize = 8 * 1024;
/// Turns of reading, running and writing before others on the worker have theirs.
const TURNS: usize = 16;
/// Bursts that the shard lets a session write before others have their turn; it goes on by itself then.
const BURSTS: usize = 2;

/// What a session needs from around it.
pub(super) struct Context {
    pub(super) worker: Rc<Worker>,
    pub(super) lineage: Lineage,
    pub(super) counters: Rc<Counters>,
    pub(super) contract: Arc<Contract>,
    pub(super) operations: Arc<Operations>,
}

/// A session on its connection.
pub(super) struct Drive {
    context: Context,
    seated: Rc<Seated>,
    seat: Seat,
    running: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    /// Read, and not yet taken by the session.
    rest: Vec<u8>,
    timer: Option<(Moment, Pin<Box<Sleep>>)>,
    /// Whether our side of the connection is shut down.
    shut: bool,
}

/// What the shard and the connection share.
struct Seated {
    machine: RefCell<Machine>,
    stream: RefCell<ByteStream>,
    counters: Rc<Counters>,
    bursts: Rc<Bursts>,
    worker: Rc<Worker>,
    waker: RefCell<Option<Waker>>,
    panicked: Cell<bool>,
}

/// A task's end.
struct Done {
    number: u64,
    found: Found,
    answer: Answer,
}

/// What a task was about.
enum Found {
    /// Who the client is, if it was found out.
    Identity(Option<Arc<Identity>>),
    Channel(Arc<Channel>),
}

/// Whether the session's own future has something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Something,
}

impl Session for Seated {
    fn advance(&self, log: &Arc<EventLog>) {
        let mut machine = self.machine.borrow_mut();
        if machine.is_blocked() {
            // Its socket wakes it, not every event that it cannot take.
            machine.fill();
        } else if self.pass_on(&mut machine, log) == Left::Something {
            machine.fill();
            drop(machine);
            self.wake();
        }
    }

    fn fail(&self) {
        self.machine.borrow_mut().fail(self.worker.clock.now());
        self.wake();
    }

    fn close(&self, code: u16, reason: &str) {
        self.machine.borrow_mut().close(CloseCode(code), reason, self.worker.clock.now());
        self.wake();
    }

    fn state(&self) -> serde_json::Value {
        self.machine.borrow().state()
    }
}

impl Seated {
    /// Writes what is ready in the log, from the frames that sessions share to the socket. What that does not take at once
    /// is kept, and left to the session's own future.
    fn pass_on(&self, machine: &mut Machine, log: &Arc<EventLog>) -> Left {
        let waker = self.waker.borrow();
        let Some(waker) = waker.as_ref() else { return Left::Something };
        // Its own: whatever the socket says later is for the session's future.
        let mut cx = TaskContext::from_waker(waker);
        for _ in 0..BURSTS {
            let burst = match machine.ready(log, &self.bursts) {
                Ready::Nothing => return Left::Nothing,
                Ready::Aside => return Left::Something,
                Ready::Burst(burst) => burst,
            };
            let count = self.write(&mut cx, burst.frames());
            machine.passed(&burst, count.unwrap_or(0), self.worker.clock.now());
            if count.is_none() {
                machine.peer_gone();
            }
            if count != Some(burst.frames().len()) {
                return Left::Something;
            }
        }
        Left::Something
    }

    /// Writes once: how many bytes the socket took, none of them where it takes none now; `None` when it never will again.
    fn write(&self, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Option<usize> {
        let mut stream = self.stream.borrow_mut();
        let count = match stream.as_mut().poll_write(cx, bytes) {
            Poll::Ready(Ok(0) | Err(_)) => return None,
            Poll::Ready(Ok(count)) => count,
            Poll::Pending => return Some(0),
        };
        self.counters.sent.set(self.counters.sent.get() + count as u64);
        let flushed = stream.as_mut().poll_flush(cx);
        (!matches!(flushed, Poll::Ready(Err(_)))).then_some(count)
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

impl Drive {
    pub(super) fn new(stream: ByteStream, machine: Machine, context: Context) -> Self {
        let seated = Rc::new(Seated {
            machine: RefCell::new(machine),
            stream: RefCell::new(stream),
            counters: context.counters.clone(),
            bursts: context.worker.local(Bursts::default),
            worker: context.worker.clone(),
            waker: RefCell::new(None),
            panicked: Cell::new(false),
        });
        let seat = context.worker.sessions.enter(seated.clone());
        Self { context, seated, seat, running: FuturesUnordered::new(), rest: Vec::new(), timer: None, shut: false }
    }

    fn now(&self) -> Moment {
        self.context.worker.clock.now()
    }

    /// One turn; whether anything moved.
    fn turn(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut moved = self.finish_tasks(cx);
        moved |= self.read(cx);
        moved |= self.start_tasks();
        {
            let now = self.now();
            let mut machine = self.seated.machine.borrow_mut();
            machine.tick(now);
            machine.fill();
        }
        moved | self.write(cx)
    }

    fn finish_tasks(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut moved = false;
        while let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx) {
            moved = true;
            let now = self.now();
            let mut machine = self.seated.machine.borrow_mut();
            match conclude(done.found, done.answer) {
                Ok(Conclusion::Identified(identity)) => {
                    machine.expires(end_of(&identity, &self.context.worker));
                    self.context.lineage.identity = Some(identity);
                    machine.identified(done.number);
                }
                Ok(Conclusion::Subscribed(channel, log, cursor)) => {
                    self.seat.follow(log.topic());
                    machine.subscribed(done.number, &channel, log, cursor);
                }
                Ok(Conclusion::Published(placed)) => machine.published(done.number, placed),
                Err(fault) => machine.refused(done.number, &fault, now),
            }
        }
        moved
    }

    /// Reads while the session listens. A closing session is read on until the peer's end, so that its last words are not lost
    /// to a reset.
    fn read(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let now = self.now();
        if !self.rest.is_empty() {
            let before = self.rest.len();
            let mut machine = self.seated.machine.borrow_mut();
            let mut input = self.rest.as_slice();
            machine.receive(&mut input, now);
            let left = input.len();
            self.rest.drain(..before - left);
            if self.rest.is_empty() {
                self.rest = Vec::new();
            }
            return left < before;
        }
        if !self.seated.machine.borrow().wants_input() {
            return false;
        }
        let mut space = [const { MaybeUninit::<u8>::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut space);
        let polled = self.seated.stream.borrow_mut().as_mut().poll_read(cx, &mut buffer);
        let mut machine = self.seated.machine.borrow_mut();
        match polled {
            Poll::Pending => false,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let received = &self.seated.counters.received;
                received.set(received.get() + buffer.filled().len() as u64);
                let mut input = buffer.filled();
                machine.receive(&mut input, now);
                self.rest.extend_from_slice(input);
                true
            }
            Poll::Ready(Ok(()) | Err(_)) => {
                machine.peer_gone();
                true
            }
        }
    }

    fn start_tasks(&mut self) -> bool {
        let mut moved = false;
        loop {
            let task = self.seated.machine.borrow_mut().next_task();
            let Some(task) = task else { break };
            moved = true;
            let run = self.run(task);
            self.running.push(run);
        }
        while let Some(topic) = self.seated.machine.borrow_mut().left() {
            self.seat.leave(&topic);
        }
        moved
    }

    /// A task as a child exchange: it goes through the phases from Describe on, a first frame from Guard on.
    fn run(&self, task: Task) -> LocalBoxFuture<'static, Done> {
        let Context { worker, lineage, contract, operations, .. } = &self.context;
        let now = self.now();
        let (number, channel, child) = match task {
            Task::Connect { number, credential } => {
                let running = worker.run(lineage.first_frame(operations.connect.clone(), credential, now));
                return Box::pin(async move {
                    let (exchange, answer) = running.await;
                    Done { number, found: Found::Identity(exchange.identity), answer }
                });
            }
            Task::Subscribe { number, channel } => {
                let child = lineage.child(operations.of(contract, &channel).0.clone(), now);
                (number, channel, child)
            }
            Task::Publish { number, channel, publication } => {
                let mut child: Exchange = lineage.child(operations.of(contract, &channel).1.clone(), now);
                let media_type = publication.media_type.clone().unwrap_or_default();
                child.input = Some(Payload::new(media_type, publication.value.clone()));
                child.tickets.put(publication);
                (number, channel, child)
            }
        };
        let running = worker.run(child);
        Box::pin(async move {
            let (_, answer) = running.await;
            Done { number, found: Found::Channel(channel), answer }
        })
    }

    /// Writes everything that is ready.
    fn write(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let mut moved = false;
        let now = self.context.worker.clock.now();
        let mut machine = self.seated.machine.borrow_mut();
        while !machine.outgoing().is_empty() && !machine.is_over() {
            match self.seated.write(cx, machine.outgoing()) {
                None => machine.peer_gone(),
                Some(0) => {
                    machine.blocked(now);
                    return moved;
                }
                Some(count) => machine.sent(count, now),
            }
            moved = true;
        }
        moved
    }

    /// Shuts down our side once the close frame is out; whether nothing is left to do.
    fn is_done(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let (said, over) = {
            let machine = self.seated.machine.borrow();
            (machine.is_said(), machine.is_over())
        };
        if (said || over) && !self.shut {
            // Pending or not: the system sends what it has, and nobody writes any more.
            self.shut = self.seated.stream.borrow_mut().as_mut().poll_shutdown(cx).is_ready();
        }
        over
    }

    fn await_time(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(moment) = self.seated.machine.borrow().wake_at() else {
            self.timer = None;
            return Poll::Pending;
        };
        if self.timer.as_ref().is_none_or(|(set, _)| *set != moment) {
            self.timer = Some((moment, Box::pin(self.context.worker.clock.sleep_until(moment))));
        }
        let (_, sleep) = self.timer.as_mut().expect("the timer was set above");
        let due = sleep.as_mut().poll(cx);
        if due.is_ready() {
            self.timer = None;
        }
        due
    }

    fn step(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            let moved = self.turn(cx);
            if self.is_done(cx) {
                return Poll::Ready(());
            }
            if !moved && self.await_time(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        match &mut *this.seated.waker.borrow_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        match catch_unwind(AssertUnwindSafe(|| this.step(cx))) {
            Ok(poll) => poll,
            // The first panic is told to the client; a second one would only repeat itself.
            Err(_) if this.seated.panicked.replace(true) => Poll::Ready(()),
            Err(_) => {
                tracing::error!(session = %this.context.lineage.id, "session panicked");
                this.running.clear();
                this.seated.fail();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// When a session ends with the credentials of its client.
pub(super) fn end_of(identity: &Identity, worker: &Worker) -> Option<Moment> {
    let left = identity.expires?.duration_since(worker.clock.wall()).unwrap_or_default();
    Some(worker.clock.now().after(left))
}

/// What a task's answer means to its session.
enum Conclusion {
    Identified(Arc<Identity>),
    Subscribed(Arc<Channel>, Arc<EventLog>, portolan_exchange::events::Cursor),
    Published(portolan_exchange::events::Placed),
}

fn conclude(found: Found, answer: Answer) -> Result<Conclusion, Fault> {
    match (answer?.content, found) {
        (_, Found::Identity(identity)) => identity.map(Conclusion::Identified).ok_or_else(|| {
            let fault = Fault::new(FaultKind::Internal, "the gateway failed to find out who you are");
            fault.because("no policy of the route said who the client is")
        }),
        (Content::Events { log, cursor }, Found::Channel(channel)) => Ok(Conclusion::Subscribed(channel, log, cursor)),
        (Content::Payload(payload), _) => placed(&payload).map(Conclusion::Published).ok_or_else(not_understood),
        _ => Err(not_understood()),
    }
}

fn not_understood() -> Fault {
    Fault::new(FaultKind::UpstreamBroken, "the service's answer was not understood")
        .because("neither events nor a place")
}
