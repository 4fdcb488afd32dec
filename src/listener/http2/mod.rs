//! HTTP/2 towards clients, by the library: each stream's request goes to the engine, its answer back.

mod prefixed;
mod pulse;
mod wire;

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use portolan_exchange::client::Connection;
use portolan_exchange::{Clock, FaultKind, Method};
use portolan_http1::{Refusal, Trace};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::door::Door;
use super::http1::fault_of;
use crate::gateway::DRAIN;
use crate::pipeline::Arrived;
use prefixed::Prefixed;
use pulse::{Flat, Pulse};
use wire::Outgoing;

// Streams one HTTP/2 connection may have open at a time.
const MAX_STREAMS: u32 = 128;
// How long an idle client has to take in that its connection ends.
const GOODBYE: Duration = Duration::from_secs(1);

/// Serves a connection to its end. `received` are the bytes by which it was known.
pub async fn serve(
    door: &Rc<Door>,
    connection: Connection,
    stream: TcpStream,
    received: Vec<u8>,
    stop: CancellationToken,
) {
    let settings = &door.settings;
    let clock = door.worker.clock.clone();
    let pulse = Pulse::new(clock.clone(), settings.clone());
    let stream = Prefixed::new(received, stream, pulse.clone());
    let service = service_fn({
        let (door, pulse) = (door.clone(), pulse.clone());
        move |request| answer(door.clone(), connection, pulse.clone(), request)
    });
    let mut builder = hyper::server::conn::http2::Builder::new(OnThisWorker);
    builder
        .timer(ClockTimer(clock.clone()))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(settings.max_head).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.idle_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    drain(pin!(connection), |connection| connection.graceful_shutdown(), &pulse, &clock, stop).await;
}

/// Drives a connection; when the gateway stops, lets what is under way end within its time. One that has no pulse is cut,
/// which cancels what is under way on it.
async fn drain<C, E>(
    mut connection: Pin<&mut C>,
    tell: impl Fn(Pin<&mut C>),
    pulse: &Pulse,
    clock: &Clock,
    stop: CancellationToken,
) where
    C: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break Some(ended),
            // What is under way on it goes on, and has its own times.
            () = pulse.no_room() => tell(connection.as_mut()),
            why = pulse.flat() => match why {
                Flat::Idle => {
                    tell(connection.as_mut());
                    break clock.timeout(GOODBYE, connection).await.ok();
                }
                Flat::Write => {
                    tracing::debug!(?why, "connection cut");
                    break None;
                }
            },
            () = stop.cancelled() => {
                tell(connection.as_mut());
                break clock.timeout(DRAIN, connection).await.ok();
            }
        }
    };
    if let Some(Err(error)) = ended {
        // Clients break off all the time; what concerns an exchange is in its line of the access log.
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    door: Rc<Door>,
    connection: Connection,
    pulse: Arc<Pulse>,
    received: http::Request<Incoming>,
) -> Result<http::Response<Outgoing>, Infallible> {
    let Door { worker, engine, .. } = &*door;
    let beat = pulse.begin();
    let fields = wire::fields(&received);
    // As it came: what a client lists in `Connection` must not take away what a proxy says.
    let asked = door.ask(&connection, &fields);
    let arrival = wire::request_in(received, fields, &door).and_then(|arrival| {
        let is_refused = arrival.request.method == Method::Trace && door.rules.trace == Trace::Refuse;
        if is_refused { Err(fault_of(Refusal::Trace)) } else { Ok(arrival) }
    });
    let arrival = match arrival {
        Ok(arrival) => arrival,
        Err(fault) => {
            let response = engine.refuse_unread(worker, connection.peer.ip(), &fault);
            return Ok(wire::response_out(response, None, beat));
        }
    };
    let client = match asked {
        Ok(client) => client,
        Err(refused) => {
            if refused.fault.kind() == FaultKind::Overloaded {
                pulse.has_no_room();
            }
            let response = engine.refuse(worker, refused.address, &arrival.request, &refused.fault);
            return Ok(wire::response_out(response, None, beat));
        }
    };
    let arrived = Arrived { client, bytes: arrival.counters, queue: Duration::ZERO, interim: None };
    let (response, tail) = engine.run(engine.begin(worker, arrival.request, arrived)).await;
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
