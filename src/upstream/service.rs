//! One service: its endpoints, its breaker, and calls to it.

mod faults;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use portolan_actors::breaker::Breaker;
use portolan_actors::health::{Health, HealthView};
use portolan_config::snapshot as settings;
use portolan_exchange::clock::Elapsed;
use portolan_exchange::{
    Body, Exchange, Fault, FaultKind, LocalBoxFuture, Method, Moment, Request, Response, Upstream, Worker,
};
use portolan_http1::{Framing, Limits, ResponseHead};
use tokio::sync::Semaphore;

use super::attempt::Attempt;
use super::call::{Call, Failed, Timing};
use super::endpoint::{Endpoint, connect};
use super::idle::Connection;
use super::pool::Pools;
use super::returning::{Return, Returning};
use super::seats::{Seat, Waiting};
use super::upload::Upload;
use super::{hop, through};
use crate::edge::admission::Account;
use crate::wire::{Link, Turn, Upgrades, strip_hop};

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
        self.prepare(exchange, endpoint, &mut request);
        exchange.record.calling = Some(now);
        let attempt = Attempt { permit, worker, deadline: exchange.deadline };
        let outcome = self.exchange(worker, endpoint, exchange, request).await;
        attempt.settle(&outcome);
        exchange.record.calling = None;
        exchange.record.upstream_time += worker.clock.now().since(now);
        outcome
    }

    /// Makes of the request that came the one that goes on.
    fn prepare(&self, exchange: &Exchange, endpoint: &Endpoint, request: &mut Request) {
        // The only protocol that is passed through: whatever else a client would like to speak, the service is not asked.
        request.upgrade = request.upgrade.take().filter(|upgrade| upgrade.protocol() == "websocket");
        strip_hop(&mut request.fields, Upgrades::Strip);
        let to =
            hop::To { endpoint: &endpoint.authority, host: self.settings.host, forwarded: self.settings.forwarded };
        hop::tell(request, &exchange.client, &to);
        request.fields.remove("x-request-id");
        request.fields.push(b"x-request-id", &exchange.id.digits());
        if request.upgrade.is_some() {
            request.fields.push(b"connection", b"upgrade");
            request.fields.push(b"upgrade", b"websocket");
        }
    }

    /// Sends the request on a connection kept or made, and waits for the head of the response.
    async fn exchange(
        &self,
        worker: &Rc<Worker>,
        endpoint: &Endpoint,
        exchange: &Exchange,
        mut request: Request,
    ) -> Result<Response, Fault> {
        let pools = worker.local(Pools::default);
        let now = worker.clock.now();
        let timeouts = &self.settings.timeouts;
        let timing = Timing {
            limit: now.after(timeouts.request).min(exchange.deadline),
            first_byte: timeouts.first_byte,
            write: timeouts.write,
        };
        let seat = self.seat(worker, timing.limit).await?;
        let mut body = std::mem::take(&mut request.body);
        if let Some(kept) = pools.take(endpoint.id, now) {
            let again = again(&body);
            let mut call = Call::begin(&kept.link, &request, body, exchange, &LIMITS, timing);
            match call.head().await {
                Ok(head) => {
                    let upload = call.upload;
                    return Ok(self.response(exchange, &request, head, kept, upload, pools, seat));
                }
                // Closed while it was idle, or before the first byte of an answer: what is idempotent, and here to be sent, is
                // sent once more (RFC 9110, section 9.2.2).
                Err(Failed::NoAnswer(how)) => match again.filter(|_| is_idempotent(&request.method)) {
                    Some(again) => body = again,
                    None => return Err(self.failed(endpoint, exchange, timing, &call, Failed::NoAnswer(how))),
                },
                Err(failed) => return Err(self.failed(endpoint, exchange, timing, &call, failed)),
            }
        }
        let fresh = pools.fresh(endpoint.id, self.connect(worker, endpoint, timing.limit).await?);
        let mut call = Call::begin(&fresh.link, &request, body, exchange, &LIMITS, timing);
        match call.head().await {
            Ok(head) => {
                let upload = call.upload;
                Ok(self.response(exchange, &request, head, fresh, upload, pools, seat))
            }
            Err(failed) => Err(self.failed(endpoint, exchange, timing, &call, failed)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that a call has brought together, handed over once")]
    fn response(
        &self,
        exchange: &Exchange,
        request: &Request,
        head: ResponseHead,
        connection: Connection,
        upload: Upload,
        pools: Rc<Pools>,
        seat: Seat,
    ) -> Response {
        let ResponseHead { status, mut fields, framing, persistence, .. } = head;
        strip_hop(&mut fields, Upgrades::Strip);
        let mut response = Response::new(status);
        if status == 101 {
            fields.push(b"connection", b"upgrade");
            fields.push(b"upgrade", b"websocket");
            response.fields = fields;
            response.tunnel =
                Some(through::tunnel(connection.link, seat, self.settings.timeouts.idle, exchange.counters()));
            return response;
        }
        response.fields = fields;
        let idle = self.settings.timeouts.idle;
        let place = Return {
            connection,
            upload,
            persistence,
            pools,
            bound: self.settings.pool.idle_per_worker,
            idle,
            _seat: seat,
        };
        debug_assert!(request.method != Method::Head || framing == Framing::None, "a HEAD is answered without content");
        response.body = match whole(&place.connection.link, framing) {
            Some(bytes) => {
                let now = place.connection.link.reading.now();
                // An upload that goes on is not waited for: its answer is complete.
                place.put(now);
                Body::whole(bytes)
            }
            None => Body::stream(Returning::new(place, framing, LIMITS, idle)),
        };
        response
    }

    /// A place among the calls that this upstream is given at a time; waited for where none is free, by as many as may wait.
    async fn seat(&self, worker: &Worker, deadline: Moment) -> Result<Seat, Fault> {
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
        let limit = worker.clock.now().after(self.settings.timeouts.connect).min(deadline);
        let seat = worker.clock.until(limit, self.seats.clone().acquire_owned()).await.map_err(|Elapsed| full())?;
        Ok(Seat::of(seat.expect("the seats of a service are never closed")))
    }

    async fn connect(&self, worker: &Rc<Worker>, endpoint: &Endpoint, deadline: Moment) -> Result<Rc<Link>, Fault> {
        let limit = worker.clock.now().after(self.settings.timeouts.connect).min(deadline);
        let (host, port) = endpoint.address();
        let connecting = connect(host, port);
        let file = Account::of(worker).admission().file().map_err(|refused| {
            let fault = Fault::new(FaultKind::Overloaded, "the gateway has no room for another connection now");
            fault.because(refused).retry_after(Duration::from_secs(1))
        })?;
        match worker.clock.until(limit, connecting).await {
            Ok(Ok(stream)) => {
                let link = Link::new(stream, &Turn::of(worker));
                link.keep(file);
                Ok(link)
            }
            Ok(Err(error)) => Err(self.unreachable(endpoint, error)),
            Err(_) => Err(self.unreachable(endpoint, "no connection within its time")),
        }
    }
}

/// What is read of an upstream's answers at most; heads of services are larger than those of clients now and then.
pub const LIMITS: Limits =
    Limits { line: 8 << 10, field: 32 << 10, head: 64 << 10, fields: 128, chunk_line: 256, trailers: 16 << 10 };

/// The whole body, where it is here already.
fn whole(link: &Link, framing: Framing) -> Option<bytes::Bytes> {
    match framing {
        Framing::None | Framing::Length(0) => Some(bytes::Bytes::new()),
        Framing::Length(length) => {
            let mut inflow = link.inflow_mut();
            let length = usize::try_from(length).ok().filter(|length| *length <= inflow.len())?;
            Some(inflow.take(0..length, length))
        }
        Framing::Chunked | Framing::UntilClose => None,
    }
}

/// The body once more, where there is none or all of it is here.
fn again(body: &Body) -> Option<Body> {
    match body {
        Body::Empty => Some(Body::Empty),
        Body::Whole(bytes) => Some(Body::Whole(bytes.clone())),
        Body::Stream(_) => None,
    }
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

/// Methods whose request may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(method, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
}
