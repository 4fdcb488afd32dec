//! The life of a request: route, exchange, phases, call, and back.

mod course;
mod gather;
mod guard;
mod record;
mod tail;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portolan_exchange::exchange::{Bytes, Exchange, Place, RequestId};
use portolan_exchange::protocol::Interim;
use portolan_exchange::worker::Runner;
use portolan_exchange::{Answer, Client, Fault, Fields, LocalBoxFuture, Method, Request, Response, Target, Worker};

use crate::access_log::AccessLog;
use crate::metrics::WorkerMetrics;
use crate::plan::{Plan, Plans};
use crate::policy::cors;
use course::Course;

pub use gather::held;
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

/// The plan in force, looked up without touching what other threads share while it stays the same.
type Current = arc_swap::Cache<Arc<arc_swap::ArcSwap<Plan>>, Arc<Plan>>;

/// How a request arrived.
#[derive(Default)]
pub struct Arrived {
    /// Who asks.
    pub client: Client,
    /// Counts its content as it passes.
    pub bytes: Rc<Bytes>,
    /// How long its head took to arrive.
    pub queue: Duration,
    /// Where an upstream's heads before the answer go.
    pub interim: Option<Rc<dyn Interim>>,
}

/// An exchange that was opened; or what its request is answered without one.
pub struct Begun(Result<Course, Box<Response>>);

/// Runs exchanges on one worker.
pub struct Engine {
    current: Rc<RefCell<Current>>,
    // What requests come in by; nothing for the worker's own.
    listener: Option<Arc<str>>,
    waiting: Waiting,
    pub(crate) metrics: Rc<WorkerMetrics>,
    pub(crate) log: AccessLog,
    ids: Rc<Cell<u128>>,
}

impl Engine {
    /// An engine on this plan. `seed` makes the request ids of this worker differ from those of others.
    pub fn new(plans: &Plans, waiting: Waiting, metrics: Rc<WorkerMetrics>, log: AccessLog, seed: u128) -> Rc<Self> {
        let current = Rc::new(RefCell::new(arc_swap::Cache::new(plans.current.clone())));
        Rc::new(Self { current, listener: None, waiting, metrics, log, ids: Rc::new(Cell::new(seed)) })
    }

    /// The same engine for what comes in by this listener.
    pub fn of_listener(&self, name: Arc<str>) -> Rc<Self> {
        let Self { current, listener: _, waiting, metrics, log, ids } = self;
        let (current, metrics, log, ids) = (current.clone(), metrics.clone(), log.clone(), ids.clone());
        Rc::new(Self { current, listener: Some(name), waiting: *waiting, metrics, log, ids })
    }

    /// The plan in force. A request keeps the one it began with.
    pub fn plan(&self) -> Arc<Plan> {
        self.current.borrow_mut().load().clone()
    }

    /// Opens the exchange of a request, to be run by [`Engine::run`]. Done at once, so that what runs holds it by a pointer, and
    /// neither the request nor how it arrived.
    pub fn begin(self: &Rc<Self>, worker: &Rc<Worker>, request: Request, arrived: Arrived) -> Begun {
        Begun(self.open(worker, request, arrived))
    }

    /// Answers one request. Dropping the future cancels the exchange; a panic in its own code is an answer too.
    pub async fn run(&self, begun: Begun) -> (Response, Option<Tail>) {
        match begun.0 {
            Ok(course) => self.run_course(course).await,
            Err(refused) => (*refused, None),
        }
    }

    /// Finds the route, and opens the exchange; or what is answered where there is none.
    fn open(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        mut request: Request,
        arrived: Arrived,
    ) -> Result<Course, Box<Response>> {
        let id = self.next_id();
        let started = worker.clock.now();
        let mut current = self.current.borrow_mut();
        let plan = current.load();
        let cors = self.cors(plan);
        let (target, parameters) = match plan.find(&mut request, cors.as_deref()) {
            Ok(found) => found,
            Err(fault) => {
                drop(current);
                let address = arrived.client.address;
                return Err(Box::new(self.refuse_unrouted(worker, id, address, &request, &fault)));
            }
        };
        let mut exchange = Box::new(Exchange::counted(id, target.route.clone(), request, started, arrived.bytes));
        exchange.operation = target.operation.clone();
        exchange.path_parameters = parameters;
        exchange.client = arrived.client;
        exchange.record.queue = arrived.queue;
        exchange.interim = arrived.interim;
        if let Some(cors) = cors {
            exchange.tickets.put(cors::OfListener(cors));
        }
        Ok(Course::new(self.clone(), worker.clone(), exchange))
    }

    async fn run_course(&self, mut course: Course) -> (Response, Option<Tail>) {
        let id = course.exchange().id;
        let travelled = guard::guarded(pin!(Some(course.travel()))).await;
        let answer = match travelled {
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
    pub fn refuse_unread(&self, worker: &Worker, client: IpAddr, fault: &Fault) -> Response {
        self.refuse(worker, client, &Request::new(Method::Other("-".into()), Target::new("-")), fault)
    }

    /// Answers a request that goes no further.
    pub fn refuse(&self, worker: &Worker, client: IpAddr, request: &Request, fault: &Fault) -> Response {
        self.refuse_unrouted(worker, self.next_id(), client, request, fault)
    }

    fn refuse_unrouted(
        &self,
        worker: &Worker,
        id: RequestId,
        client: IpAddr,
        request: &Request,
        fault: &Fault,
    ) -> Response {
        let text = id.to_string();
        let mut told = Fields::new();
        let asked = self.cors(&self.plan()).map(|rules| rules.tell(request, &mut told));
        // Whoever asks whether it may is let: so it reads what its request is refused with.
        let fault = (asked != Some(cors::Asked::Preflight)).then_some(fault);
        let mut response = fault.map_or_else(|| Response::new(204), |fault| fault.response(&text));
        response.fields.append(&told);
        response.fields.push(b"x-request-id", text.as_bytes());
        self.metrics.unrouted(response.status, fault.map(Fault::kind));
        self.log.write(|line| unrouted_line(line, worker, &text, client, request, response.status, fault));
        response
    }

    /// What pages of other origins are told where a route says nothing.
    fn cors(&self, plan: &Plan) -> Option<Arc<cors::Rules>> {
        plan.cors_of(self.listener.as_deref()?)
    }

    /// An id that no other request of this process has.
    pub fn next_id(&self) -> RequestId {
        // A Weyl sequence: never the same twice on a worker, and without order to guess the next worker's from.
        let next = self.ids.get().wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.ids.set(next);
        RequestId::new(next)
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
            let mut course = Course::new(engine.clone(), worker, Box::new(child));
            let whole = async {
                let answer = course.travel().await;
                course.gather_reply(answer, CHILD_REPLY).await
            };
            let travelled = guard::guarded(pin!(Some(whole))).await;
            let answer = match travelled {
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
