//! What is recorded of an exchange, once, at its very end: metrics into this worker's cells, a line into the access log.

use std::net::IpAddr;
use std::time::Duration;

use portolan_exchange::exchange::{Exchange, Place};
use portolan_exchange::{Fault, Kind, Outcome, Request, Worker};

use super::Engine;
use crate::access_log::Line;

/// Records an exchange that ended.
pub fn record(engine: &Engine, worker: &Worker, exchange: &mut Exchange, outcome: Outcome) {
    let now = worker.clock.look();
    // A call that was cut short took its time, too.
    if let Some(began) = exchange.record.calling.take() {
        exchange.record.upstream_time += now.since(began);
    }
    let took = now.since(exchange.started);
    let upstream = exchange.record.upstream_time;
    let gateway = took.saturating_sub(upstream);
    engine.metrics.exchange(exchange, outcome, gateway);
    engine.log.write(|line| write_line(line, worker, exchange, outcome, gateway));
}

fn write_line(line: &mut Line<'_>, worker: &Worker, exchange: &Exchange, outcome: Outcome, gateway: Duration) {
    let record = &exchange.record;
    let id = exchange.id.digits();
    line.time("time", worker.clock.wall());
    line.text("request_id", std::str::from_utf8(&id).expect("hexadecimal digits are text"));
    line.text("route", &exchange.route.name);
    if let Some(operation) = &exchange.operation {
        line.text("operation", &operation.id);
        if operation.kind != Kind::Call {
            line.text("kind", operation.kind.as_str());
        }
    }
    if exchange.place == Place::Request {
        line.text("method", exchange.request.method.as_str());
        line.text("path", shortened(exchange.request.target.path()));
    }
    line.text("protocol", exchange.route.inbound.protocol());
    if let Some(identity) = &exchange.identity {
        line.text("consumer", &identity.consumer);
    }
    line.address("client", exchange.client.address);
    line.number("status", u64::from(record.status));
    line.text("outcome", word(outcome));
    line.number("bytes_in", record.bytes.received.get());
    line.number("bytes_out", record.bytes.sent.get());
    line.micros("queue_us", record.queue);
    line.micros("gateway_us", gateway);
    line.micros("upstream_us", record.upstream_time);
    if let Some(upstream) = &record.upstream {
        line.text("upstream", upstream);
    }
    if let Some(endpoint) = &record.endpoint {
        line.text("endpoint", endpoint);
    }
    if let Some(fault) = record.fault {
        line.text("fault", fault.code());
    }
    if let Some(cause) = &record.cause {
        line.text("cause", cause);
    }
}

/// The line of a request that no route took: refused, or a preflight that was answered all the same.
pub fn unrouted_line(
    line: &mut Line<'_>,
    worker: &Worker,
    id: &str,
    client: IpAddr,
    request: &Request,
    status: u16,
    fault: Option<&Fault>,
) {
    line.time("time", worker.clock.wall());
    line.text("request_id", id);
    line.text("method", request.method.as_str());
    line.text("path", shortened(request.target.path()));
    line.address("client", client);
    line.number("status", u64::from(status));
    line.text("outcome", word(fault.map_or(Outcome::Completed, |fault| Outcome::Faulted(fault.kind()))));
    if let Some(fault) = fault {
        line.text("fault", fault.kind().code());
    }
}

/// A path as far as a log needs it: the queue is bounded in lines, so a line must be bounded, too.
fn shortened(path: &str) -> &str {
    const MOST: usize = 2_048;
    &path[..path.floor_char_boundary(MOST)]
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Completed => "completed",
        Outcome::Faulted(_) => "faulted",
        Outcome::Cancelled => "cancelled",
        Outcome::Panicked => "panicked",
    }
}
