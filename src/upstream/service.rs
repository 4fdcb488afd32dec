//! One service: its endpoints, its breaker, and calls to it.

mod faults;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan_actors::breaker::Breaker;
use portolan_actors::health::{Health, HealthView};
use portolan_config::snapshot as settings;
use portolan_exchange::{
    Answer, Body, Exchange, Fault, FaultKind, Fields, LocalBoxFuture, Moment, Reply, Request, Response, Target,
    Upstream, Worker,
};
use portolan_http1::ResponseHead;

use super::attempt::Attempt;
use super::call::{Answered, Failed, Question, Timing};
use super::caller::Caller;
use super::endpoint::{Endpoint, connect};
use super::place::Place;
use super::returning::Return;
use super::seats::Seats;
use super::{hop, through};
use crate::edge::admission::Account;
use crate::pipeline::held;
use crate::wire::{Link, Turn, Upgrades, strip_hop};

/// A service behind the gateway. Lives as long as its settings do not change: reloads do not touch it.
pub struct Service {
    settings: Arc<settings::Upstream>,
    endpoints: Vec<Endpoint>,
    health: Option<Watched>,
    breaker: Option<Breaker>,
    turn: AtomicUsize,
    seats: Seats,
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
        let seats = Seats::new(settings.pool.max_connections);
        let health = health.map(|health| Watched { view: health.view(), _health: health });
        Self { settings, endpoints, health, breaker, turn: AtomicUsize::new(0), seats }
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
        caller: Caller<'_>,
        request: &mut Request,
        target: Option<&Target>,
    ) -> Result<Response, Fault> {
        let now = caller.worker.clock.now();
        let permit = match &self.breaker {
            Some(breaker) => Some(breaker.admit(now).map_err(|open| self.circuit_open(open.retry_after))?),
            None => None,
        };
        let endpoint = self.choose().ok_or_else(|| self.no_endpoint())?;
        caller.record.upstream = Some(self.settings.name.clone());
        caller.record.endpoint = Some(endpoint.authority.clone());
        self.prepare(&caller, endpoint, request);
        caller.record.calling = Some(now);
        let attempt = Attempt { permit, worker: caller.worker, deadline: caller.deadline };
        let outcome = self.exchange(&caller, now, endpoint, request, target).await;
        attempt.settle(&outcome);
        caller.record.calling = None;
        caller.record.upstream_time += caller.worker.clock.now().since(now);
        outcome
    }

    /// Makes of the request that came the one that goes on.
    fn prepare(&self, caller: &Caller<'_>, endpoint: &Endpoint, request: &mut Request) {
        // The only protocol that is passed through: whatever else a client would like to speak, the service is not asked.
        request.upgrade = request.upgrade.take().filter(|upgrade| upgrade.protocol() == "websocket");
        let to =
            hop::To { endpoint: &endpoint.authority, host: self.settings.host, forwarded: self.settings.forwarded };
        hop::tell(request, caller.client, &to);
        request.fields.replace("x-request-id", &caller.id.digits());
        if request.upgrade.is_some() {
            request.fields.push(b"connection", b"upgrade");
            request.fields.push(b"upgrade", b"websocket");
        }
    }

    /// Asks on a connection kept or made, and waits for the head of the response.
    async fn exchange(
        &self,
        caller: &Caller<'_>,
        now: Moment,
        endpoint: &Endpoint,
        request: &mut Request,
        target: Option<&Target>,
    ) -> Result<Response, Fault> {
        let timing = Timing::new(&self.settings.timeouts, now, caller.deadline);
        let seat = self.seats.take(caller.worker, &self.settings, timing.limit).await?;
        let place = Place::new(seat, caller.worker, endpoint, &self.settings);
        let mut body = std::mem::take(&mut request.body);
        let target = target.unwrap_or(&request.target);
        let question = Question { request, target, interim: caller.interim, timing };
        if let Some(kept) = place.kept(now) {
            let again = question.again(&kept, &body);
            match (question.ask(kept, body).await, again) {
                (Ok(answered), _) => return Ok(self.response(caller, place, answered)),
                // Closed while it was idle, or before the first byte of an answer: what may be, is asked once more.
                (Err(Failed::NoAnswer(_)), Some(again)) => body = again,
                (Err(failed), _) => return Err(self.failed(endpoint, failed)),
            }
        }
        // Boxed: most calls find a connection, and shall not carry room for asking on one that is opened.
        Box::pin(async {
            let fresh = place.fresh(self.connect(caller.worker, endpoint, timing.limit).await?);
            match question.ask(fresh, body).await {
                Ok(answered) => Ok(self.response(caller, place, answered)),
                Err(failed) => Err(self.failed(endpoint, failed)),
            }
        })
        .await
    }

    /// Makes a response of an answer that has begun.
    fn response(&self, caller: &Caller<'_>, place: Place, answered: Answered) -> Response {
        let Answered { head, connection, upload } = answered;
        let ResponseHead { status, mut fields, framing, .. } = head;
        strip_hop(&mut fields, Upgrades::Strip);
        let idle = self.settings.timeouts.idle;
        let mut response = Response::new(status);
        if status == 101 {
            fields.push(b"connection", b"upgrade");
            fields.push(b"upgrade", b"websocket");
            response.tunnel =
                Some(through::tunnel(connection.link, place.into_seat(), idle, caller.record.bytes.clone()));
        } else {
            response.body = Return { connection, upload, place }.body(framing, idle);
        }
        response.fields = fields;
        response
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

impl Upstream for Service {
    fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    fn send<'a>(
        &'a self,
        worker: &'a Rc<Worker>,
        exchange: &'a mut Exchange,
        mut request: Request,
    ) -> LocalBoxFuture<'a, Result<Response, Fault>> {
        // By reference: what is given to an async function by value, its future holds twice.
        Box::pin(async move { self.call(Caller::of(worker, exchange).0, &mut request, None).await })
    }

    fn pass<'a>(
        &'a self,
        worker: &'a Rc<Worker>,
        exchange: &'a mut Exchange,
        target: Option<Target>,
    ) -> LocalBoxFuture<'a, Answer> {
        let (caller, request) = Caller::of(worker, exchange);
        Box::pin(async move {
            let answer = self.call(caller, request, target.as_ref()).await;
            request.fields = Fields::new();
            answer.map(Reply::through)
        })
    }

    fn held(&self, worker: &Worker, exchange: &mut Exchange, body: Body) -> Body {
        held(worker, exchange, body)
    }
}
