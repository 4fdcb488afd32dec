//! The life of a request: route, exchange, phases, call, and back.

mod course;
mod guard;
mod record;
mod tail;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portolan_exchange::exchange::{Bytes, Exchange, Place, RequestId};
use portolan_exchange::protocol::Interim;
use portolan_exchange::worker::Runner;
use portolan_exchange::{Answer, Fault, LocalBoxFuture, Method, Request, Response, Target, Worker};

use crate::access_log::AccessLog;
use crate::metrics::WorkerMetrics;
use crate::plan::{Plan, Plans};
use course::Course;

pub use guard::text as panic_text;
use record::unrouted_line;
pub use tail::Tail;

/// Whether policies may answer at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Waiting {
    /// A policy that can decide at once does.
    #[default]
    WhereNeeded,
    /// Every policy is made to wait: the test switch under which the whole suite must pass as well.
    Forced,
}

/// How a request arrived.
#[derive(Default)]
pub struct Arrived {
    /// Counts its content as it passes.
    pub bytes: Rc<Bytes>,
    /// How long its head took to arrive.
    pub queue: Duration,
    /// Where an upstream's heads before the answer go.
    pub interim: Option<Rc<dyn Interim>>,
}

/// Runs exchanges on one worker.
pub struct Engine {
    current: RefCell<arc_swap::Cache<Arc<arc_swap::ArcSwap<Plan>>, Arc<Plan>>>,
    waiting: Waiting,
    pub(crate) metrics: Rc<WorkerMetrics>,
    pub(crate) log: AccessLog,
    ids: Cell<u128>,
}

impl Engine {
    /// An engine on this plan. `seed` makes the request ids of this worker differ from those of others.
    pub fn new(plans: &Plans, waiting: Waiting, metrics: Rc<WorkerMetrics>, log: AccessLog, seed: u128) -> Rc<Self> {
        let current = RefCell::new(arc_swap::Cache::new(plans.current.clone()));
        Rc::new(Self { current, waiting, metrics, log, ids: Cell::new(seed) })
    }

    /// The plan in force. A request keeps the one it began with.
    pub fn plan(&self) -> Arc<Plan> {
        self.current.borrow_mut().load().clone()
    }

    /// Answers one request. Dropping the future cancels the exchange; a panic in its
    /// own code is an answer too.
    pub async fn serve(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        mut request: Request,
        arrived: Arrived,
    ) -> (Response, Option<Tail>) {
        let id = self.next_id();
        let started = worker.clock.now();
        let plan = self.plan();
        let (target, parameters) = match plan.find(&mut request) {
            Ok(found) => found,
            Err(fault) => return (self.refuse_unrouted(worker, id, &request, &fault), None),
        };
        drop(plan);
        let mut exchange = Exchange::new(id, target.route.clone(), request, started);
        exchange.operation = target.operation.clone();
        exchange.path_parameters = parameters;
        exchange.record.bytes = arrived.bytes;
        exchange.record.queue = arrived.queue;
        exchange.interim = arrived.interim;
        let mut course = Course::new(self.clone(), worker.clone(), exchange);
        let answer = match guard::guarded(course.travel()).await {
            Ok(answer) => answer,
            Err(panic) => {
                tracing::error!(request_id = %id, panic, "request panicked");
                course.panicked("the gateway failed while it handled this request", panic)
            }
        };
        let response = catch_unwind(AssertUnwindSafe(|| course.respond(answer))).unwrap_or_else(|panic| {
            let panic = panic_text(panic.as_ref());
            tracing::error!(request_id = %id, panic, "answer panicked");
            course.respond_to_panic(panic)
        });
        course.leave(response)
    }

    /// Answers a request of which nothing but the fault could be read.
    pub fn refuse_unread(&self, worker: &Worker, peer: SocketAddr, fault: &Fault) -> Response {
        let mut request = Request::new(Method::Other("-".into()), Target::new("-"));
        request.peer = peer;
        self.refuse_unrouted(worker, self.next_id(), &request, fault)
    }

    fn refuse_unrouted(&self, worker: &Worker, id: RequestId, request: &Request, fault: &Fault) -> Response {
        let text = id.to_string();
        let mut response = fault.response(&text);
        response.fields.push(b"x-request-id", text.as_bytes());
        self.metrics.unrouted(fault.kind());
        self.log.write(|line| unrouted_line(line, worker, &text, request, fault));
        response
    }

    /// An id that no other request of this process has.
    pub fn next_id(&self) -> RequestId {
        // A Weyl sequence: never the same twice on a worker, and without order to guess the next worker's from.
        let next = self.ids.get().wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.ids.set(next);
        RequestId(next)
    }
}

/// Runs the children of batches and sessions.
pub struct ChildRunner(pub Rc<Engine>);

/// A child's reply is gathered up to so many bytes: nobody streams a part of a batch.
const CHILD_REPLY: usize = 8 * 1024 * 1024;

impl Runner for ChildRunner {
    fn run(&self, worker: &Rc<Worker>, child: Exchange) -> LocalBoxFuture<'static, (Exchange, Answer)> {
        debug_assert_ne!(child.place, Place::Request, "requests are served, children are run");
        let (engine, worker) = (self.0.clone(), worker.clone());
        async move {
            let mut course = Course::new(engine.clone(), worker, child);
            let whole = async {
                let answer = course.travel().await;
                course.gather_reply(answer, CHILD_REPLY).await
            };
            let answer = match guard::guarded(whole).await {
                Ok(answer) => answer,
                Err(panic) => {
                    tracing::error!(request_id = %course.exchange().id, panic, "child exchange panicked");
                    course.panicked("the gateway failed while it handled this operation", panic)
                }
            };
            course.finish(answer)
        }
        .boxed_local()
    }
}
