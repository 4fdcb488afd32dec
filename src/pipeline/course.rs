//! One exchange on its way through the phases, and back through the policies it reached.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use portolan_exchange::exchange::{Exchange, Limits, Place};
use portolan_exchange::identity::Subscriptions as _;
use portolan_exchange::protocol::Content;
use portolan_exchange::upgrade::Tunnel;
use portolan_exchange::{
    Answer, Body, BodyError, Described, Fault, FaultKind, Fields, Kind, Method, Outcome, Phase, Policy, Reply,
    Response, Route, Step, Worker,
};

use super::{Engine, Tail, Waiting, guard};

/// Most policies that a route may have.
pub const MAX_POLICIES: usize = 64;

/// The policies of a route that an exchange has reached, by their place.
#[derive(Debug, Clone, Copy, Default)]
struct Reached(u64);

impl Reached {
    fn add(&mut self, index: usize) {
        debug_assert!(index < MAX_POLICIES, "the plan was refused if a route had more");
        self.0 |= 1 << index;
    }

    /// The policies reached, the last one first.
    fn of(self, policies: &[Arc<dyn Policy>]) -> impl Iterator<Item = &Arc<dyn Policy>> {
        policies.iter().enumerate().rev().filter(move |(index, _)| self.0 & (1 << index) != 0).map(|(_, policy)| policy)
    }
}

/// An exchange on its way. Dropping it before its end is its cancellation, which is recorded like any other end.
pub struct Course {
    engine: Rc<Engine>,
    worker: Rc<Worker>,
    // Its own, so that the route is at hand while the exchange is changed.
    route: Arc<Route>,
    // Boxed: it is handed on often, and large.
    exchange: Option<Box<Exchange>>,
    // Which of the route's policies the request has reached: those see the answer and the end.
    reached: Reached,
    first: usize,
    fate: Option<Outcome>,
    ended: bool,
}

impl Course {
    /// A course for an exchange whose route is known.
    pub fn new(engine: Rc<Engine>, worker: Rc<Worker>, exchange: Box<Exchange>) -> Self {
        let first = match exchange.place {
            // A first frame says who the client is, so it passes what its session's upgrade could not.
            Place::Request | Place::FirstFrame => 0,
            // A child starts at Describe: its parent passed what comes before.
            Place::Child => exchange.route.policies.partition_point(|policy| policy.phase() < Phase::Describe),
        };
        let route = exchange.route.clone();
        Self {
            engine,
            worker,
            route,
            exchange: Some(exchange),
            reached: Reached::default(),
            first,
            fate: None,
            ended: false,
        }
    }

    /// The exchange.
    pub fn exchange(&mut self) -> &mut Exchange {
        self.exchange.as_deref_mut().expect("a course has its exchange until it is finished")
    }

    /// The exchange, and what it is changed by.
    fn parts(&mut self) -> (&Rc<Worker>, &Route, &mut Exchange) {
        let exchange = self.exchange.as_deref_mut().expect("a course has its exchange until it is finished");
        (&self.worker, &self.route, exchange)
    }

    /// Says how the exchange ended.
    pub fn fate(&mut self, outcome: Outcome) {
        self.fate = Some(outcome);
    }

    /// Its own code panicked: what its caller is told.
    pub fn panicked(&mut self, detail: &'static str, panic: String) -> Answer {
        self.fate(Outcome::Panicked);
        Err(Fault::new(FaultKind::Internal, detail).because(panic))
    }

    /// The way in, up to an answer. Dropping the future cancels whatever it waits for. What few requests wait for is boxed: the
    /// others shall not carry room for it.
    pub async fn travel(&mut self) -> Answer {
        if self.exchange().place == Place::Child {
            self.identity_still_stands()?;
        }
        let mut described = false;
        for index in self.first..self.route.policies.len() {
            if !described && self.route.policies[index].phase() > Phase::Describe {
                if let Described::Batch(children) = self.describe().await? {
                    return Box::pin(self.batch(index, children)).await;
                }
                described = true;
            }
            let step = match self.ask(index) {
                Step::Wait => Box::pin(self.wait(index)).await,
                step => step,
            };
            if let Step::Answer(answer) = step {
                return *answer;
            }
        }
        if !described && let Described::Batch(children) = self.describe().await? {
            return Box::pin(self.batch(self.route.policies.len(), children)).await;
        }
        self.call().await
    }

    /// A session may outlive the credentials it was opened with.
    fn identity_still_stands(&mut self) -> Result<(), Fault> {
        let now = self.worker.clock.wall();
        let plan = self.engine.plan();
        match &self.exchange().identity {
            Some(identity) if identity.is_expired(now) => {
                Err(Fault::new(FaultKind::CredentialsExpired, "the credentials of this session have expired"))
            }
            Some(identity) if !plan.consumers.stands(identity) => {
                Err(Fault::new(FaultKind::CredentialsInvalid, "the credentials of this session were revoked"))
            }
            _ => Ok(()),
        }
    }

    /// Asks the policy at this place. One that must wait, or that needs the body gathered first, is to be asked by
    /// [`Course::wait`]; asking the others takes no future.
    fn ask(&mut self, index: usize) -> Step {
        let (_, route, exchange) = self.parts();
        let policy = &route.policies[index];
        if exchange.limits == Limits::DrawnByParent && policy.phase() == Phase::Limit {
            return Step::Next;
        }
        match policy.gathers() {
            Some(_) => Step::Wait,
            None => self.request(index),
        }
    }

    fn request(&mut self, index: usize) -> Step {
        self.reached.add(index);
        if self.engine.waiting == Waiting::Forced {
            return Step::Wait;
        }
        let (worker, route, exchange) = self.parts();
        route.policies[index].request(worker, exchange)
    }

    /// Gathers what a policy needs; waits for one that cannot decide at once, until the deadline.
    async fn wait(&mut self, index: usize) -> Step {
        if let Some(cap) = self.route.policies[index].gathers() {
            if let Err(fault) = self.gather(cap).await {
                return Step::fault(fault);
            }
            match self.request(index) {
                Step::Wait => {}
                step => return step,
            }
        }
        if self.engine.waiting == Waiting::Forced {
            tokio::task::yield_now().await;
        }
        let (worker, route, exchange) = self.parts();
        let deadline = exchange.deadline;
        match worker.clock.until(deadline, route.policies[index].wait(worker, exchange)).await {
            Err(_) => Step::fault(out_of_time("a policy was asked")),
            Ok(Step::Wait) => Step::fault(
                Fault::new(FaultKind::Internal, "the gateway failed while it handled this request")
                    .because(format!("policy `{}` waited twice", self.route.policies[index].name())),
            ),
            Ok(step) => step,
        }
    }

    async fn describe(&mut self) -> Result<Described, Fault> {
        let (_, route, exchange) = self.parts();
        if exchange.place == Place::Request
            && let Some(cap) = route.inbound.gathers(exchange)
        {
            self.gather(cap).await?;
        }
        let (worker, route, exchange) = self.parts();
        route.inbound.describe(worker, exchange)
    }

    /// Reads the request's body to its end, within its cap and the deadline.
    async fn gather(&mut self, cap: usize) -> Result<(), Fault> {
        match &self.exchange().request.body {
            Body::Empty => Ok(()),
            Body::Whole(bytes) if bytes.len() <= cap => Ok(()),
            Body::Whole(_) => Err(too_large(cap)),
            Body::Stream(_) => Box::pin(self.collect(cap)).await,
        }
    }

    async fn collect(&mut self, cap: usize) -> Result<(), Fault> {
        let (worker, _, exchange) = self.parts();
        let body = super::gather::charged(worker, exchange);
        let gathered = worker
            .clock
            .until(exchange.deadline, body.collect(cap))
            .await
            .map_err(|_| Fault::new(FaultKind::RequestTimeout, "the body did not arrive in time"))?;
        let fault = match gathered {
            Ok(gathered) => {
                exchange.request.body = Body::whole(gathered.bytes);
                return Ok(());
            }
            Err(BodyError::TooLarge { cap }) => too_large(cap),
            Err(BodyError::Gone) => Fault::new(FaultKind::ClientGone, "the client closed the connection"),
            Err(BodyError::Late) => Fault::new(FaultKind::RequestTimeout, "the body did not arrive in time"),
            Err(BodyError::Broken(what)) => {
                Fault::new(FaultKind::MalformedBody, "the body broke off or its framing was wrong").because(what)
            }
        };
        Err(fault)
    }

    /// Authorizes and limits a batch as a whole, then runs its elements beside one another.
    async fn batch(&mut self, from: usize, mut children: Vec<Exchange>) -> Answer {
        self.exchange().operations = children.iter().map(|child| child.operations).sum();
        self.exchange().cost = children.iter().map(|child| child.cost).sum();
        for index in from..self.route.policies.len() {
            let of_the_whole = matches!(self.route.policies[index].phase(), Phase::Authorize | Phase::Limit);
            if !of_the_whole {
                continue;
            }
            let step = match self.ask(index) {
                Step::Wait => Box::pin(self.wait(index)).await,
                step => step,
            };
            if let Step::Answer(answer) = step {
                return *answer;
            }
        }
        for child in &mut children {
            child.limits = Limits::DrawnByParent;
        }
        let (worker, route, exchange) = self.parts();
        let running = children.into_iter().map(|child| worker.run(child));
        let answers = futures_util::future::join_all(running).await;
        route.inbound.join(exchange, answers)
    }

    async fn call(&mut self) -> Answer {
        if self.exchange().place == Place::FirstFrame {
            // Who the client is was all there was to find out.
            return Ok(Reply { status: 200, fields: Fields::new(), content: Content::Bytes(Body::Empty) });
        }
        let (worker, route, exchange) = self.parts();
        if exchange.operation.as_ref().is_some_and(|operation| operation.kind == Kind::Session) {
            return route.inbound.open(worker, exchange);
        }
        if let Some(cap) = route.outbound.gathers(exchange) {
            self.gather(cap).await?;
        }
        let (worker, route, exchange) = self.parts();
        if route.outbound.keeps_deadline() {
            return route.outbound.call(worker, exchange).await;
        }
        let deadline = exchange.deadline;
        let call = route.outbound.call(worker, exchange);
        Box::pin(worker.clock.until(deadline, call)).await.unwrap_or_else(|_| Err(out_of_time("the service answered")))
    }

    /// The way back, up to the response: through the policies reached, then as the inbound protocol writes it.
    pub fn respond(&mut self, answer: Answer) -> Response {
        let answer = self.back_through_policies(answer);
        self.render(answer)
    }

    /// The response where a policy, or the rendering itself, panicked on the way back. Neither policies nor, if it fails once more,
    /// the protocol is asked again.
    pub fn respond_to_panic(&mut self, panic: String) -> Response {
        const DETAIL: &str = "the gateway failed while it handled this request";
        let answer = self.panicked(DETAIL, panic);
        if let Err(fault) = &answer {
            self.note(fault);
        }
        catch_unwind(AssertUnwindSafe(|| self.render(answer))).unwrap_or_else(|_| {
            let response = Fault::new(FaultKind::Internal, DETAIL).response(&self.exchange().id.to_string());
            self.exchange().record.status = response.status;
            response
        })
    }

    fn render(&mut self, answer: Answer) -> Response {
        let (_, route, exchange) = self.parts();
        let mut response = route.inbound.render(exchange, answer);
        exchange.record.status = response.status;
        response.fields.lay_over(&exchange.answer_fields);
        response.fields.replace("x-request-id", &exchange.id.digits());
        response
    }

    /// Gives the response away, and what is to happen behind its last byte.
    pub fn leave(mut self, mut response: Response) -> (Response, Option<Tail>) {
        if let Some(tunnel) = response.tunnel.take() {
            response.tunnel = Some(self.through(tunnel));
            return (response, None);
        }
        let exchange = self.exchange();
        let fate = exchange.record.fault.map_or(Outcome::Completed, outcome_of);
        // The body of an answer that has none on the wire is never asked for (RFC 9110, section 6.4.1).
        let has_no_content = exchange.request.method == Method::Head || matches!(response.status, 204 | 304);
        let fate = self.fate.unwrap_or(fate);
        if has_no_content || matches!(response.body, Body::Empty) {
            self.fate(fate);
            return (response, None);
        }
        (response, Some(Tail::new(self, fate)))
    }

    /// The tunnel of a session, with the end of the exchange behind it.
    fn through(mut self, tunnel: Tunnel) -> Tunnel {
        Tunnel::new(move |stream| {
            Box::pin(async move {
                match guard::guarded(pin!(Some(tunnel.run(stream)))).await {
                    Ok(()) => self.fate(Outcome::Completed),
                    Err(panic) => {
                        tracing::error!(request_id = %self.exchange().id, panic, "session panicked");
                        self.fate(Outcome::Panicked);
                    }
                }
            })
        })
    }

    /// A child's answer after its policies, whole.
    pub async fn gather_reply(&mut self, answer: Answer, cap: usize) -> Answer {
        let answer = self.back_through_policies(answer)?;
        let Reply { status, fields, content } = answer;
        let content = match content {
            Content::Bytes(body @ Body::Stream(_)) => {
                let deadline = self.exchange().deadline;
                let worker = self.worker.clone();
                let clock = worker.clock.clone();
                let body = super::gather::held(&worker, self.exchange(), body);
                let gathered =
                    clock.until(deadline, body.collect(cap)).await.map_err(|_| out_of_time("its reply was read"))?;
                let gathered = gathered.map_err(|error| {
                    Fault::new(FaultKind::UpstreamBroken, "the service's answer could not be read").because(error)
                })?;
                Content::Bytes(Body::whole(gathered.bytes))
            }
            other => other,
        };
        Ok(Reply { status, fields, content })
    }

    /// Ends the exchange with this answer and gives both away.
    pub fn finish(mut self, answer: Answer) -> (Exchange, Answer) {
        let status = answer.as_ref().map_or_else(|fault| fault.status(), |reply| reply.status);
        self.exchange().record.status = status;
        if let Err(fault) = &answer {
            self.note(fault);
        }
        if self.fate.is_none() {
            self.fate = Some(answer.as_ref().map_or_else(|fault| outcome_of(fault.kind()), |_| Outcome::Completed));
        }
        self.end();
        let exchange = self.exchange.take().expect("a course is finished once");
        (*exchange, answer)
    }

    fn back_through_policies(&mut self, mut answer: Answer) -> Answer {
        let reached = self.reached;
        let (worker, route, exchange) = self.parts();
        for policy in reached.of(&route.policies) {
            if answer.is_ok() || policy.phase().sees_faults() {
                policy.response(worker, exchange, &mut answer);
            }
        }
        if let Err(fault) = &answer {
            self.note(fault);
        }
        answer
    }

    fn note(&mut self, fault: &Fault) {
        let record = &mut self.exchange().record;
        record.fault = Some(fault.kind());
        record.cause = fault.cause().map(str::to_owned);
    }

    /// Exactly once: every policy reached is told how it ended, then it is recorded.
    fn end(&mut self) {
        let Some(exchange) = self.exchange.as_mut() else { return };
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let outcome = match self.fate {
            Some(fate) => fate,
            None if std::thread::panicking() => Outcome::Panicked,
            None => Outcome::Cancelled,
        };
        if outcome == Outcome::Cancelled {
            // Nobody was told of a fault.
            exchange.record.fault = None;
        }
        if exchange.record.status == 0 {
            // There was none before the client left or our code failed: logs have one for either.
            exchange.record.status = match outcome {
                Outcome::Cancelled => FaultKind::ClientGone.status(),
                Outcome::Panicked => FaultKind::Internal.status(),
                Outcome::Completed | Outcome::Faulted(_) => 0,
            };
        }
        for policy in self.reached.of(&self.route.policies) {
            let ended = catch_unwind(AssertUnwindSafe(|| policy.end(&self.worker, exchange, outcome)));
            if let Err(panic) = ended {
                let panic = guard::text(panic.as_ref());
                tracing::error!(request_id = %exchange.id, policy = policy.name(), panic, "policy panicked at the end of an exchange");
            }
        }
        super::record::record(&self.engine, &self.worker, exchange, outcome);
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        // `finish` has taken the exchange; otherwise this is the end of it.
        self.end();
    }
}

/// A request that broke off because its client went away ended with that, whoever noticed it first.
fn outcome_of(fault: FaultKind) -> Outcome {
    match fault {
        FaultKind::ClientGone => Outcome::Cancelled,
        other => Outcome::Faulted(other),
    }
}

fn too_large(cap: usize) -> Fault {
    Fault::new(FaultKind::BodyTooLarge, format!("the body is larger than {cap} bytes")).with("limit", cap)
}

fn out_of_time(before: &str) -> Fault {
    Fault::new(FaultKind::DeadlineExceeded, format!("the time for this request was over before {before}"))
}
