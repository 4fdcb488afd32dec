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
use super::pulse::{Flat, Pulse};
use super::wire::{self, Outgoing};
use crate::gateway::DRAIN;
use crate::pipeline::Engine;

// A head with more fields than this is refused; the peers' usual bound.
const MAX_FIELDS: usize = 100;
// Streams one HTTP/2 connection may have open at a time.
const MAX_STREAMS: u32 = 128;
// How long an idle client has to take in that its connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub async fn connection(
    worker: Rc<Worker>,
    engine: Rc<Engine>,
    settings: &Arc<Settings>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: CancellationToken,
) {
    let pulse = Pulse::new(worker.clock.clone(), settings);
    let told = tokio::select! {
        biased;
        () = stop.cancelled() => return,
        told = Prefixed::tell(stream, pulse.clone()) => told,
        _ = pulse.flat() => return,
    };
    // A client that says nothing, or breaks off before its first request, is answered by closing.
    let Ok((stream, spoken)) = told else { return };
    let clock = worker.clock.clone();
    let handover = Handover::default();
    let service = service_fn({
        let worker = worker.clone();
        let handover = handover.clone();
        let pulse = pulse.clone();
        move |request| answer(worker.clone(), engine.clone(), peer, pulse.clone(), handover.clone(), request)
    });
    match spoken {
        Spoken::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder
                // The pulse looks after heads: with a timer of the library's each request would pay for one.
                .header_read_timeout(None)
                .max_headers(MAX_FIELDS)
                .max_buf_size(settings.max_head.max(8 * 1024));
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            drain(pin!(connection), |connection| connection.graceful_shutdown(), &pulse, &clock, stop).await;
        }
        Spoken::Http2 => {
            let mut builder = hyper::server::conn::http2::Builder::new(OnThisWorker);
            builder
                .timer(ClockTimer(clock.clone()))
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX))
                .keep_alive_interval(settings.idle_timeout);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            drain(pin!(connection), |connection| connection.graceful_shutdown(), &pulse, &clock, stop).await;
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

/// Drives a connection; when the gateway stops, lets what is under way end within its time. One that has no pulse is cut,
/// which cancels what is under way on it.
async fn drain<C, E>(
    mut connection: Pin<&mut C>,
    tell: impl FnOnce(Pin<&mut C>),
    pulse: &Pulse,
    clock: &Clock,
    stop: CancellationToken,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        why = pulse.flat() => match why {
            Flat::Idle => {
                tell(connection.as_mut());
                clock.timeout(GOODBYE, connection).await.ok()
            }
            Flat::Head | Flat::Write | Flat::Body => {
                tracing::debug!(?why, "connection cut");
                None
            }
        },
        () = stop.cancelled() => {
            tell(connection.as_mut());
            clock.timeout(DRAIN, connection).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        // Clients break off all the time; what concerns an exchange is in its line of the access log.
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    worker: Rc<Worker>,
    engine: Rc<Engine>,
    peer: SocketAddr,
    pulse: Arc<Pulse>,
    handover: Handover,
    received: http::Request<Incoming>,
) -> Result<http::Response<Outgoing>, Infallible> {
    let beat = pulse.begin();
    let arrival = match wire::request_in(received, peer, pulse) {
        Ok(arrival) => arrival,
        Err(fault) => {
            let mut response = engine.refuse_unread(&worker, peer, &fault);
            response.fields.push(b"connection", b"close");
            return Ok(wire::response_out(response, None, beat));
        }
    };
    let (mut response, tail) = engine.serve(&worker, arrival.request, arrival.counters, beat.waited).await;
    if arrival.unread.get() {
        // What is left of the body would have to be read before the next request; the client is told that nobody will.
        response.fields.push(b"connection", b"close");
    }
    if let Some(tunnel) = response.tunnel.take()
        && let Some(promise) = arrival.promise
    {
        handover.set(Some((promise, tunnel)));
    }
    Ok(wire::response_out(response, tail, beat))
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
