//! Drives one connection: tells what is spoken, hands each request to the engine, its answer to the wire.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portolan_config::snapshot::Listener as Settings;
use portolan_exchange::upgrade::Tunnel;
use portolan_exchange::{Clock, Worker};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::prefix::{Prefixed, Spoken};
use super::wire::{self, Outgoing};
use crate::pipeline::Engine;

// A head with more fields than this is refused; the peers' usual bound.
const MAX_FIELDS: usize = 100;
// Streams one HTTP/2 connection may have open at a time.
const MAX_STREAMS: u32 = 128;
// How long open exchanges may go on once the gateway stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves a connection to its end.
pub async fn connection(
    worker: Rc<Worker>,
    engine: Rc<Engine>,
    settings: &Arc<Settings>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let told = worker.clock.timeout(settings.idle_timeout, Prefixed::tell(stream));
    let told = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        told = told => told,
    };
    // A client that says nothing, or breaks off before its first request, is answered by closing.
    let Ok(Ok((stream, spoken))) = told else { return };
    let clock = worker.clock.clone();
    let handover = Handover::default();
    let service = service_fn({
        let worker = worker.clone();
        let handover = handover.clone();
        move |request| answer(worker.clone(), engine.clone(), peer, handover.clone(), request)
    });
    match spoken {
        Spoken::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                .timer(ClockTimer(clock.clone()))
                .header_read_timeout(settings.head_timeout.max(settings.idle_timeout))
                .max_headers(MAX_FIELDS)
                .max_buf_size(settings.max_head.max(8 * 1024));
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            drain(pin!(connection), |connection| connection.graceful_shutdown(), &clock, stop).await;
        }
        Spoken::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(OnThisWorker);
            builder
                .timer(ClockTimer(clock.clone()))
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX))
                .keep_alive_interval(settings.idle_timeout);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            drain(pin!(connection), |connection| connection.graceful_shutdown(), &clock, stop).await;
        }
    }
    // A session runs in the place of its connection: it counts as one, and ends with it.
    if let Some((promise, tunnel)) = handover.take()
        && let Ok(upgraded) = promise.await
    {
        tunnel.run(Box::pin(TokioIo::new(upgraded))).await;
    }
}

/// Where an upgraded connection waits for the wire library to let go of it.
type Handover = Rc<Cell<Option<(hyper::upgrade::OnUpgrade, Tunnel)>>>;

/// Drives a connection; when the gateway stops, lets what is under way end within its time.
async fn drain<C, E>(
    mut connection: Pin<&mut C>,
    tell: impl FnOnce(Pin<&mut C>),
    clock: &Clock,
    stop: CancellationToken,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            tell(connection.as_mut());
            match clock.timeout(DRAIN, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        // Clients break off all the time; what concerns an exchange is in its line of the access log.
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    worker: Rc<Worker>,
    engine: Rc<Engine>,
    peer: SocketAddr,
    handover: Handover,
    received: http::Request<Incoming>,
) -> Result<http::Response<Outgoing>, Infallible> {
    let arrival = match wire::request_in(received, peer) {
        Ok(arrival) => arrival,
        Err(fault) => {
            let mut response = fault.response(&engine.next_id().to_string());
            response.fields.push(b"connection", b"close");
            return Ok(wire::response_out(response, None));
        }
    };
    let (mut response, tail) = engine.serve(&worker, arrival.request, arrival.counters).await;
    if let Some(tunnel) = response.tunnel.take()
        && let Some(promise) = arrival.promise
    {
        handover.set(Some((promise, tunnel)));
    }
    Ok(wire::response_out(response, tail))
}

/// Runs HTTP/2 streams on the worker of their connection.
#[derive(Clone, Copy)]
struct OnThisWorker;

impl<F> hyper::rt::Executor<F> for OnThisWorker
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The wire library's timers, on our clock.
#[derive(Clone)]
pub struct ClockTimer(pub Clock);

impl hyper::rt::Timer for ClockTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(ClockSleep(self.0.sleep(duration)))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the library hands over a deadline on its own axis; only the distance counts"
    )]
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

struct ClockSleep(portolan_exchange::clock::Sleep);

impl Future for ClockSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl hyper::rt::Sleep for ClockSleep {}
