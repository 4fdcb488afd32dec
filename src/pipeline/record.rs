//! What is recorded of an exchange, once, at its very end: metrics into this worker's cells, a line into the access log.

use std::net::IpAddr;
use std::time::Duration;

use portolan_exchange::exchange::{Exchange, Place};
use portolan_exchange::{Fault, Kind, Outcome, Request, Worker};

use super::Engine;
use crate::access_log::{Line, member};

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
    engine.log.write(|line| {
        line.time(member!("time"), &worker.clock, now);
        write_line(line, exchange, outcome, gateway);
    });
}

fn write_line(line: &mut Line<'_>, exchange: &Exchange, outcome: Outcome, gateway: Duration) {
    let record = &exchange.record;
    line.word(member!("request_id"), &exchange.id.digits());
    line.word(member!("route"), exchange.route.name.as_bytes());
    if let Some(operation) = &exchange.operation {
        line.text(member!("operation"), &operation.id);
        if operation.kind != Kind::Call {
            line.word(member!("kind"), operation.kind.as_str().as_bytes());
        }
    }
    if exchange.place == Place::Request {
        line.word(member!("method"), exchange.request.method.as_str().as_bytes());
        line.text(member!("path"), shortened(exchange.request.target.path()));
    }
    line.word(member!("protocol"), exchange.route.inbound.protocol().as_bytes());
    if let Some(identity) = &exchange.identity {
        line.word(member!("consumer"), identity.consumer.as_bytes());
    }
    line.address(member!("client"), exchange.client.address);
    line.number(member!("status"), u64::from(record.status));
    line.word(member!("outcome"), word(outcome).as_bytes());
    line.number(member!("bytes_in"), record.bytes.received.get());
    line.number(member!("bytes_out"), record.bytes.sent.get());
    line.micros(member!("queue_us"), record.queue);
    line.micros(member!("gateway_us"), gateway);
    line.micros(member!("upstream_us"), record.upstream_time);
    if let Some(upstream) = &record.upstream {
        line.word(member!("upstream"), upstream.as_bytes());
    }
    if let Some(endpoint) = &record.endpoint {
        line.text(member!("endpoint"), endpoint);
    }
    if let Some(fault) = record.fault {
        line.word(member!("fault"), fault.code().as_bytes());
    }
    if let Some(cause) = &record.cause {
        line.text(member!("cause"), cause);
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
    line.time(member!("time"), &worker.clock, worker.clock.look());
    line.word(member!("request_id"), id.as_bytes());
    line.word(member!("method"), request.method.as_str().as_bytes());
    line.text(member!("path"), shortened(request.target.path()));
    line.address(member!("client"), client);
    line.number(member!("status"), u64::from(status));
    let outcome = fault.map_or(Outcome::Completed, |fault| Outcome::Faulted(fault.kind()));
    line.word(member!("outcome"), word(outcome).as_bytes());
    if let Some(fault) = fault {
        line.word(member!("fault"), fault.kind().code().as_bytes());
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
