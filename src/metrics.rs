//! Metrics: cells of each worker, written without a lock, read together when somebody asks.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use portolan_exchange::exchange::Exchange;
use portolan_exchange::{FaultKind, Outcome};

/// Upper bounds of the latency buckets, in microseconds: what a gateway adds is far below a millisecond, what upstreams
/// take is above it.
const BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000];

/// All metrics of a gateway. Cardinality is bounded by the configuration: routes times status classes.
#[derive(Default)]
pub struct Metrics {
    workers: Mutex<Vec<Arc<WorkerCells>>>,
}

#[derive(Default)]
struct WorkerCells {
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteCells>>>,
    connections: AtomicU64,
    open: AtomicU64,
    parked: AtomicU64,
}

/// The cells of one route on one worker. Only that worker writes them, so relaxed is enough.
struct RouteCells {
    status: [AtomicU64; 6],
    faults: [AtomicU64; FaultKind::ALL.len()],
    cancelled: AtomicU64,
    panicked: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    gateway: Histogram,
    upstream: Histogram,
}

impl Default for RouteCells {
    fn default() -> Self {
        Self {
            status: Default::default(),
            faults: [const { AtomicU64::new(0) }; FaultKind::ALL.len()],
            cancelled: AtomicU64::default(),
            panicked: AtomicU64::default(),
            received: AtomicU64::default(),
            sent: AtomicU64::default(),
            gateway: Histogram::default(),
            upstream: Histogram::default(),
        }
    }
}

#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        add(&self.buckets[bucket], 1);
        add(&self.micros, micros);
    }
}

/// One worker's end of the metrics.
pub struct WorkerMetrics {
    cells: Arc<WorkerCells>,
    // A route's cells are looked up in this map of the worker's own; the shared one is touched once per route.
    known: RefCell<HashMap<Arc<str>, Arc<RouteCells>>>,
    // Routes asked for lately, each in a place that its name's address says: most requests go to few routes.
    recent: RefCell<[Option<Named>; RECENT]>,
    nowhere: Arc<str>,
}

/// A route's cells, with the name they were asked for by.
type Named = (Arc<str>, Arc<RouteCells>);

/// A power of two.
const RECENT: usize = 16;

impl Metrics {
    /// The end of one worker.
    pub fn worker(&self) -> Rc<WorkerMetrics> {
        let cells = Arc::new(WorkerCells::default());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(cells.clone());
        Rc::new(WorkerMetrics { cells, known: RefCell::default(), recent: RefCell::default(), nowhere: "-".into() })
    }

    /// All of them in the Prometheus text format, version 0.0.4.
    pub fn render(&self, out: &mut String) {
        let routes = self.by_route();
        counter(out, "portolan_requests_total", "Exchanges that ended, by route and status class.", |out| {
            for (route, cells) in &routes {
                for class in 1..6 {
                    let count = sum(cells, |cell| &cell.status[class]);
                    if count > 0 {
                        let _ = writeln!(
                            out,
                            "portolan_requests_total{{route=\"{}\",status=\"{class}xx\"}} {count}",
                            label(route)
                        );
                    }
                }
            }
        });
        counter(
            out,
            "portolan_faults_total",
            "Exchanges that ended with a fault of the gateway, by route and code.",
            |out| {
                for (route, cells) in &routes {
                    for kind in FaultKind::ALL {
                        let count = sum(cells, |cell| &cell.faults[*kind as usize]);
                        if count > 0 {
                            let _ = writeln!(
                                out,
                                "portolan_faults_total{{route=\"{}\",code=\"{}\"}} {count}",
                                label(route),
                                kind.code()
                            );
                        }
                    }
                }
            },
        );
        per_route(out, &routes, "portolan_cancelled_total", "Exchanges whose client went away.", |cell| {
            &cell.cancelled
        });
        per_route(out, &routes, "portolan_panics_total", "Exchanges whose own code panicked.", |cell| &cell.panicked);
        per_route(out, &routes, "portolan_received_bytes_total", "Bytes of content from clients.", |cell| {
            &cell.received
        });
        per_route(out, &routes, "portolan_sent_bytes_total", "Bytes of content to clients.", |cell| &cell.sent);
        histogram(out, &routes, "portolan_gateway_seconds", "Time spent in the gateway.", |cell| &cell.gateway);
        histogram(out, &routes, "portolan_upstream_seconds", "Time until the upstream's head was there.", |cell| {
            &cell.upstream
        });
        self.connections(out);
    }

    fn connections(&self, out: &mut String) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted: u64 = workers.iter().map(|cells| cells.connections.load(Ordering::Relaxed)).sum();
        let open: u64 = workers.iter().map(|cells| cells.open.load(Ordering::Relaxed)).sum();
        counter(out, "portolan_connections_total", "Connections accepted.", |out| {
            let _ = writeln!(out, "portolan_connections_total {accepted}");
        });
        let _ = writeln!(
            out,
            "# HELP portolan_connections Connections open.\n# TYPE portolan_connections gauge\nportolan_connections {open}"
        );
        let parked: u64 = workers.iter().map(|cells| cells.parked.load(Ordering::Relaxed)).sum();
        let _ = writeln!(
            out,
            "# HELP portolan_connections_parked Connections that are open and have been idle for so long that they hold no task.\n\
             # TYPE portolan_connections_parked gauge\nportolan_connections_parked {parked}"
        );
    }

    fn by_route(&self) -> BTreeMap<Arc<str>, Vec<Arc<RouteCells>>> {
        let mut routes: BTreeMap<Arc<str>, Vec<Arc<RouteCells>>> = BTreeMap::new();
        for worker in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (route, cells) in worker.routes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                routes.entry(route.clone()).or_default().push(cells.clone());
            }
        }
        routes
    }
}

impl WorkerMetrics {
    /// An exchange ended.
    pub fn exchange(&self, exchange: &Exchange, outcome: Outcome, gateway: Duration) {
        self.route(&exchange.route.name, |cells| {
            let record = &exchange.record;
            match outcome {
                Outcome::Cancelled => add(&cells.cancelled, 1),
                Outcome::Panicked => add(&cells.panicked, 1),
                Outcome::Completed | Outcome::Faulted(_) => {
                    add(&cells.status[usize::from(record.status / 100).min(5)], 1);
                }
            }
            if let Some(fault) = record.fault {
                add(&cells.faults[fault as usize], 1);
            }
            add(&cells.received, record.bytes.received.get());
            add(&cells.sent, record.bytes.sent.get());
            cells.gateway.observe(gateway);
            if record.upstream.is_some() {
                cells.upstream.observe(record.upstream_time);
            }
        });
    }

    /// A request was refused before it had a route.
    pub fn unrouted(&self, status: u16, fault: Option<FaultKind>) {
        self.route(&self.nowhere, |cells| {
            add(&cells.status[usize::from(status / 100).min(5)], 1);
            if let Some(fault) = fault {
                add(&cells.faults[fault as usize], 1);
            }
        });
    }

    /// A connection was accepted; it counts as open until the guard is dropped.
    pub fn connection(&self) -> OpenConnection {
        add(&self.cells.connections, 1);
        add(&self.cells.open, 1);
        OpenConnection(self.cells.clone())
    }

    /// So many connections of this worker are parked.
    pub fn parked(&self, count: usize) {
        self.cells.parked.store(count as u64, Ordering::Relaxed);
    }

    fn route(&self, name: &Arc<str>, count: impl FnOnce(&RouteCells)) {
        let mut recent = self.recent.borrow_mut();
        // Names are allocated at multiples of 16 and take 32 bytes or more.
        let place = &mut recent[(Arc::as_ptr(name).addr() >> 5) % RECENT];
        if let Some((known, cells)) = place
            && Arc::ptr_eq(known, name)
        {
            return count(cells);
        }
        let known = self.known.borrow().get(name).cloned();
        let cells = known.unwrap_or_else(|| self.make(name));
        let (_, cells) = place.insert((name.clone(), cells));
        count(cells);
    }

    fn make(&self, name: &Arc<str>) -> Arc<RouteCells> {
        let cells = Arc::new(RouteCells::default());
        self.known.borrow_mut().insert(name.clone(), cells.clone());
        self.cells.routes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), cells.clone());
        cells
    }
}

/// A connection that is open.
pub struct OpenConnection(Arc<WorkerCells>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.store(self.0.open.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }
}

/// Adds to a cell of this worker's. Nobody else writes it, so no other core is waited for.
fn add(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

fn sum(cells: &[Arc<RouteCells>], of: impl Fn(&RouteCells) -> &AtomicU64) -> u64 {
    cells.iter().map(|cell| of(cell).load(Ordering::Relaxed)).sum()
}

/// Writes the two lines above a counter, then its samples.
pub fn counter(out: &mut String, name: &str, help: &str, samples: impl FnOnce(&mut String)) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
    samples(out);
}

/// A label's value, escaped as the text format wants it.
pub fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

type ByRoute = BTreeMap<Arc<str>, Vec<Arc<RouteCells>>>;

fn per_route(out: &mut String, routes: &ByRoute, name: &str, help: &str, of: impl Fn(&RouteCells) -> &AtomicU64) {
    counter(out, name, help, |out| {
        for (route, cells) in routes {
            let _ = writeln!(out, "{name}{{route=\"{}\"}} {}", label(route), sum(cells, &of));
        }
    });
}

fn histogram(out: &mut String, routes: &ByRoute, name: &str, help: &str, of: impl Fn(&RouteCells) -> &Histogram) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (route, cells) in routes {
        let route = label(route);
        let mut total = 0;
        for (bucket, bound) in BOUNDS.iter().map(Some).chain([None]).enumerate() {
            total += sum(cells, |cell| &of(cell).buckets[bucket]);
            match bound {
                Some(micros) => {
                    let seconds = Duration::from_micros(*micros).as_secs_f64();
                    let _ = writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"{seconds}\"}} {total}");
                }
                None => {
                    let _ = writeln!(out, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {total}");
                }
            }
        }
        let seconds = Duration::from_micros(sum(cells, |cell| &of(cell).micros)).as_secs_f64();
        let _ = writeln!(out, "{name}_sum{{route=\"{route}\"}} {seconds}\n{name}_count{{route=\"{route}\"}} {total}");
    }
}
