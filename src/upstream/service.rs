//! One service: its endpoints, its breaker, and calls to it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use portolan_actors::breaker::{Breaker, Permit, Verdict};
use portolan_actors::health::{Health, HealthView};
use portolan_config::snapshot as settings;
use portolan_exchange::clock::Elapsed;
use portolan_exchange::{
    Body, BodyError, Class, Exchange, Fault, FaultKind, LocalBoxFuture, Method, Moment, Request, Response, Upstream,
    Worker,
};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::hop;
use super::pool::{Connection, Pooled, Pools, Seat, Waiting};
use super::returning::{Return, Returning};
use super::wire::{self, Progress, Sent};
use crate::wire::{Upgrades, fields_in, strip_hop};

/// A service behind the gateway. Lives as long as its settings do not change: reloads do not touch it.
pub struct Service {
    settings: Arc<settings::Upstream>,
    endpoints: Vec<Endpoint>,
    health: Option<Watched>,
    breaker: Option<Breaker>,
    turn: AtomicUsize,
    // Calls that may use a connection at a time, over all workers.
    seats: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// What is known of the endpoints' health, as long as somebody asks them.
struct Watched {
    view: Arc<HealthView>,
    _health: Health,
}

/// One address of a service.
#[derive(Debug)]
pub struct Endpoint {
    /// Tells it from every other endpoint there ever was in this process.
    pub id: u64,
    /// `host:port`, as the `Host` field has it.
    pub authority: Arc<str>,
    host: String,
    port: u16,
}

impl Endpoint {
    /// The endpoint of these settings.
    pub fn new(id: u64, settings: &settings::Endpoint) -> Self {
        Self { id, authority: settings.authority().into(), host: settings.host.clone(), port: settings.port }
    }

    /// Host and port to connect to.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl Service {
    /// A service of these endpoints.
    pub fn new(
        settings: Arc<settings::Upstream>,
        endpoints: Vec<Endpoint>,
        health: Option<Health>,
        breaker: Option<Breaker>,
    ) -> Self {
        let seats = Arc::new(Semaphore::new(settings.pool.max_connections.min(Semaphore::MAX_PERMITS)));
        let health = health.map(|health| Watched { view: health.view(), _health: health });
        Self { settings, endpoints, health, breaker, turn: AtomicUsize::new(0), seats, waiting: Arc::default() }
    }

    /// Its settings.
    pub fn settings(&self) -> &Arc<settings::Upstream> {
        &self.settings
    }

    /// The next endpoint in turn that is not known to be ill.
    fn choose(&self) -> Option<&Endpoint> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.endpoints.len();
        (0..count)
            .map(|step| turn.wrapping_add(step) % count)
            .find(|at| self.is_healthy(*at))
            .map(|at| &self.endpoints[at])
    }

    fn is_healthy(&self, at: usize) -> bool {
        self.health.as_ref().is_none_or(|health| health.view.is_healthy(at))
    }

    async fn call(
        &self,
        worker: &Rc<Worker>,
        exchange: &mut Exchange,
        mut request: Request,
    ) -> Result<Response, Fault> {
        let now = worker.clock.now();
        let permit = match &self.breaker {
            Some(breaker) => Some(breaker.admit(now).map_err(|open| self.circuit_open(open.retry_after))?),
            None => None,
        };
        let endpoint = self.choose().ok_or_else(|| self.no_endpoint())?;
        exchange.record.upstream = Some(self.settings.name.clone());
        exchange.record.endpoint = Some(endpoint.authority.clone());
        strip_hop(&mut request.fields, Upgrades::Strip);
        hop::forward(&mut request, exchange.client, &endpoint.authority);
        request.fields.remove("x-request-id");
        request.fields.push(b"x-request-id", &exchange.id.digits());
        exchange.record.calling = Some(now);
        let attempt = Attempt { permit, worker, deadline: exchange.deadline };
        let outcome = self.exchange(worker, endpoint, exchange.deadline, request).await;
        attempt.settle(&outcome);
        exchange.record.calling = None;
        exchange.record.upstream_time += worker.clock.now().since(now);
        outcome
    }

    /// Sends the request on a connection kept or made, and waits for the head of the response.
    async fn exchange(
        &self,
        worker: &Rc<Worker>,
        endpoint: &Endpoint,
        deadline: Moment,
        request: Request,
    ) -> Result<Response, Fault> {
        let pools = worker.local(Pools::default);
        // Past the deadline of the exchange the whole call is dropped; only an earlier end of its own needs a timer, and a
        // body that still arrives: who is late with it is told so.
        let own = worker.clock.now().after(self.settings.timeouts.request);
        let streams = matches!(request.body, Body::Stream(_));
        let deadline = if streams { Some(own.min(deadline)) } else { Some(own).filter(|own| *own < deadline) };
        let seat = self.seat(worker, deadline).await?;
        let idempotent = is_idempotent(&request.method);
        let mut message = wire::request_out(request).map_err(|cause| {
            Fault::new(FaultKind::BadRequest, "the request cannot be passed on as it is").because(cause)
        })?;
        if let Some(kept) = pools.take(endpoint.id, worker.clock.now()) {
            let again = idempotent.then(|| message.body().again()).flatten().map(|body| copy_of(&message, body));
            let kept = Pooled::new(kept, seat.clone());
            match self.send(worker, &pools, endpoint, deadline, kept, message).await {
                Ok(response) => return Ok(response),
                // The connection was closed while it was idle: nobody has seen the request.
                Err(Failed::Unsent(unsent)) => message = *unsent,
                // Closed before the first byte: what is idempotent may be sent once more (RFC 9110, section 9.2.2).
                Err(Failed::NoAnswer(fault)) => message = again.ok_or(fault)?,
                Err(Failed::Fault(fault)) => return Err(fault),
            }
        }
        let fresh = Pooled::new(self.connect(worker, endpoint, deadline).await?, seat);
        self.send(worker, &pools, endpoint, deadline, fresh, message).await.map_err(|failed| match failed {
            Failed::Unsent(_) => self.unreachable(endpoint, "the connection closed before the request was sent"),
            Failed::NoAnswer(fault) | Failed::Fault(fault) => fault,
        })
    }

    async fn send(
        &self,
        worker: &Rc<Worker>,
        pools: &Rc<Pools>,
        endpoint: &Endpoint,
        deadline: Option<Moment>,
        mut connection: Pooled,
        message: http::Request<Sent>,
    ) -> Result<Response, Failed> {
        let progress = message.body().progress();
        let sending = async {
            if connection.sender().ready().await.is_err() {
                return Err(Failed::Unsent(Box::new(message)));
            }
            connection.sender().try_send_request(message).await.map_err(|mut error| match error.take_message() {
                Some(message) => Failed::Unsent(Box::new(message)),
                None => self.no_answer(endpoint, &error.into_error()),
            })
        };
        // The time for the first byte runs from the end of the request: an upload may take longer than an answer.
        let late = async {
            progress.arrived().await;
            worker.clock.sleep(self.settings.timeouts.first_byte).await;
        };
        let answered = {
            let (sending, late) = (pin!(sending), pin!(late));
            match within(worker, deadline, select(sending, late)).await {
                Ok(Either::Left((received, _))) => received,
                Ok(Either::Right(_)) | Err(_) => Err(Failed::Fault(self.timed_out(endpoint, &progress))),
            }
        };
        let received = answered?;
        let place = Return {
            pools: pools.clone(),
            endpoint: endpoint.id,
            bound: self.settings.pool.idle_per_worker,
            idle: self.settings.timeouts.idle,
            clock: worker.clock.clone(),
            connection,
            progress,
        };
        Ok(self.response_in(received, place))
    }

    fn response_in(&self, received: http::Response<Incoming>, place: Return) -> Response {
        let (head, body) = received.into_parts();
        let mut response = Response::new(head.status.as_u16());
        response.fields = fields_in(&head.headers);
        strip_hop(&mut response.fields, Upgrades::Strip);
        if http_body::Body::is_end_stream(&body) {
            place.put();
        } else {
            response.body = Body::stream(Returning::new(body, place, self.settings.timeouts.idle));
        }
        response
    }

    /// A place among the calls that this upstream is given at a time; waited for where none is free, by as many as may wait.
    async fn seat(&self, worker: &Worker, deadline: Option<Moment>) -> Result<Seat, Fault> {
        if let Ok(seat) = self.seats.clone().try_acquire_owned() {
            return Ok(Seat::of(seat));
        }
        let pool = &self.settings.pool;
        let full = || {
            let detail = format!("all {} connections to `{}` are in use", pool.max_connections, self.settings.name);
            Fault::new(FaultKind::Overloaded, detail).retry_after(Duration::from_secs(1))
        };
        let waiting = Waiting::enter(&self.waiting);
        if waiting.count() > pool.pending {
            return Err(full().because(format!("{} calls wait for one already", pool.pending)));
        }
        let limit = worker.clock.now().after(self.settings.timeouts.connect);
        let limit = deadline.map_or(limit, |deadline| deadline.min(limit));
        let seat = worker.clock.until(limit, self.seats.clone().acquire_owned()).await.map_err(|Elapsed| full())?;
        Ok(Seat::of(seat.expect("the seats of a service are never closed")))
    }

    async fn connect(
        &self,
        worker: &Rc<Worker>,
        endpoint: &Endpoint,
        deadline: Option<Moment>,
    ) -> Result<Connection, Fault> {
        let limit = worker.clock.now().after(self.settings.timeouts.connect);
        let limit = deadline.map_or(limit, |deadline| deadline.min(limit));
        let connecting = connect(&endpoint.host, endpoint.port);
        let stream = match worker.clock.until(limit, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(endpoint, error)),
            Err(_) => return Err(self.unreachable(endpoint, "no connection within its time")),
        };
        let handshake =
            hyper::client::conn::http1::Builder::new().max_headers(MAX_FIELDS).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(|error| self.unreachable(endpoint, error))?;
        tokio::task::spawn_local(async move {
            // What went wrong is told to whoever waits for the answer; an idle connection that breaks is forgotten.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn circuit_open(&self, retry_after: Duration) -> Fault {
        Fault::new(FaultKind::CircuitOpen, format!("`{}` is failing and is left alone for a while", self.settings.name))
            .retry_after(retry_after)
    }

    fn no_endpoint(&self) -> Fault {
        Fault::new(FaultKind::NoEndpoint, format!("no endpoint of `{}` is healthy", self.settings.name))
            .retry_after(self.settings.health.as_ref().map_or(Duration::from_secs(1), |health| health.interval))
    }

    fn unreachable(&self, endpoint: &Endpoint, cause: impl std::fmt::Display) -> Fault {
        Fault::new(FaultKind::UpstreamUnreachable, format!("`{}` could not be reached", self.settings.name))
            .because(format!("{}: {cause}", endpoint.authority))
    }

    fn timed_out(&self, endpoint: &Endpoint, progress: &Progress) -> Fault {
        if !progress.has_arrived() {
            return Fault::new(FaultKind::RequestTimeout, "the body did not arrive in time");
        }
        Fault::new(FaultKind::UpstreamTimeout, format!("`{}` did not answer in time", self.settings.name))
            .because(format!("{}: no head of a response within its time", endpoint.authority))
    }

    fn no_answer(&self, endpoint: &Endpoint, error: &hyper::Error) -> Failed {
        let cause = format!("{}: {error}", endpoint.authority);
        if error.is_parse() {
            let detail = format!("`{}` answered with what is not HTTP", self.settings.name);
            return Failed::Fault(Fault::new(FaultKind::UpstreamBroken, detail).because(cause));
        }
        if error.is_user() {
            // The body of the request broke off, which is its client's doing or ours, and not the upstream's.
            let body = std::error::Error::source(error).and_then(|source| source.downcast_ref::<BodyError>());
            let fault = match body {
                Some(BodyError::Broken(_)) => Fault::new(FaultKind::MalformedBody, "the body's framing was wrong"),
                Some(BodyError::Late) => Fault::new(FaultKind::RequestTimeout, "the body did not arrive in time"),
                Some(BodyError::Gone | BodyError::TooLarge { .. }) => {
                    Fault::new(FaultKind::ClientGone, "the request broke off before its end")
                }
                // The task that sends it is gone, which only a panic of the body does.
                None => Fault::new(FaultKind::Internal, "the gateway failed while it passed this request on"),
            };
            return Failed::Fault(fault.because(cause));
        }
        let detail = format!("`{}` closed the connection before it answered", self.settings.name);
        Failed::NoAnswer(Fault::new(FaultKind::UpstreamBroken, detail).because(cause))
    }
}

// A response with more fields than this is refused as broken.
const MAX_FIELDS: usize = 128;

enum Failed {
    Unsent(Box<http::Request<Sent>>),
    NoAnswer(Fault),
    Fault(Fault),
}

impl Upstream for Service {
    fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    fn send<'a>(
        &'a self,
        worker: &'a Rc<Worker>,
        exchange: &'a mut Exchange,
        request: Request,
    ) -> LocalBoxFuture<'a, Result<Response, Fault>> {
        self.call(worker, exchange, request).boxed_local()
    }
}

/// A call under way, for which the breaker gave its permit.
struct Attempt<'a> {
    permit: Option<Permit>,
    worker: &'a Worker,
    deadline: Moment,
}

impl Attempt<'_> {
    /// Tells the breaker how the call ended. What the service itself calls an error of its own counts like not answering; what
    /// was nobody's fault but the caller's or ours says nothing about the service.
    fn settle(mut self, outcome: &Result<Response, Fault>) {
        let Some(permit) = self.permit.take() else { return };
        match outcome {
            Ok(response) if response.status < 500 => permit.settle(Verdict::Success),
            Ok(_) => permit.settle(Verdict::Failure),
            Err(fault) if fault.kind().class() == Class::Upstream => permit.settle(Verdict::Failure),
            Err(_) => drop(permit),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // Dropped on its way: the client went away, which says nothing, or the time was over, which does.
        if let Some(permit) = self.permit.take()
            && self.worker.clock.now() >= self.deadline
        {
            permit.settle(Verdict::Failure);
        }
    }
}

/// Runs a future within a limit, where there is one.
async fn within<F: Future>(worker: &Worker, limit: Option<Moment>, future: F) -> Result<F::Output, Elapsed> {
    match limit {
        Some(limit) => worker.clock.until(limit, future).await,
        None => Ok(future.await),
    }
}

/// Connects to the first address of a host that takes a connection.
///
/// # Errors
/// What the system says of the last address tried.
pub(super) async fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = match host.parse() {
        Ok(address) => TcpStream::connect(SocketAddr::new(address, port)).await?,
        Err(_) => TcpStream::connect((host, port)).await?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Methods whose request may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
}

fn copy_of(message: &http::Request<Sent>, body: Body) -> http::Request<Sent> {
    let mut copy = http::Request::new(Sent::of(body));
    *copy.method_mut() = message.method().clone();
    *copy.uri_mut() = message.uri().clone();
    *copy.headers_mut() = message.headers().clone();
    copy
}
