//! Holds callers to their limits.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portolan_config::snapshot::{Counts, Per, Plan, RateLimit};
use portolan_exchange::limits::{Draw, Level, Quota, Refused, Reservation, Reserve, Store};
use portolan_exchange::{Exchange, Fault, FaultKind, Fields, LocalBoxFuture, Outcome, Phase, Policy, Step, Worker};

/// The limits of a route and of the plans its callers subscribed under: all of them are drawn, or none.
pub struct RateLimits {
    store: Arc<dyn Store>,
    limits: Vec<Scoped>,
    plans: Vec<Arc<Plan>>,
}

/// A limit, and what its buckets are named after: `api/orders`, `api/orders/createOrder`, `route/legacy`. All routes of one
/// scope share them.
#[derive(Debug, Clone)]
pub struct Scoped {
    /// The scope.
    pub scope: Arc<str>,
    /// The limit.
    pub limit: RateLimit,
}

/// A limit and the name of the bucket it draws on.
struct Drawn<'a> {
    limit: &'a RateLimit,
    key: String,
}

/// Kept in the exchange until its end.
struct Ticket(#[expect(dead_code, reason = "held: what becomes of the draws is decided by its drop")] Reservation);

impl RateLimits {
    /// The policy of these limits.
    pub fn new(store: Arc<dyn Store>, limits: Vec<Scoped>, plans: Vec<Arc<Plan>>) -> Self {
        Self { store, limits, plans }
    }

    fn drawn<'a>(&'a self, exchange: &Exchange) -> Vec<Drawn<'a>> {
        let own =
            self.limits.iter().map(|own| Drawn { limit: &own.limit, key: key("", &own.scope, &own.limit, exchange) });
        let plan = exchange.subscription.as_ref().and_then(|subscription| subscription.plan.as_ref());
        let plan = plan.and_then(|name| self.plans.iter().find(|plan| plan.name == *name));
        let of_plan = plan.into_iter().flat_map(|plan| {
            plan.rate_limits.iter().map(|limit| Drawn { limit, key: key("plan/", &plan.name, limit, exchange) })
        });
        own.chain(of_plan).collect()
    }

    fn settle(&self, exchange: &mut Exchange, drawn: &[Drawn<'_>], reserve: Reserve) -> Step {
        match reserve {
            Reserve::Reserved(reservation) => {
                tell(&mut exchange.answer_fields, drawn, reservation.levels());
                exchange.tickets.put(Ticket(reservation));
                Step::Next
            }
            Reserve::Refused(refused) => {
                tell(&mut exchange.answer_fields, drawn, &refused.levels);
                Step::fault(fault(&drawn[refused.index], exchange, &refused))
            }
            Reserve::Wait(_) => Step::Wait,
        }
    }

    fn reserve(&self, worker: &Worker, exchange: &Exchange, drawn: &[Drawn<'_>]) -> Reserve {
        let draws: Vec<_> = drawn
            .iter()
            .map(|drawn| Draw {
                key: &drawn.key,
                quota: Quota { limit: drawn.limit.limit, every: drawn.limit.every, burst: drawn.limit.burst },
                cost: drawn.limit.weight.saturating_mul(counted(drawn.limit, exchange)),
            })
            .collect();
        self.store.reserve(&draws, worker.clock.now())
    }
}

impl Policy for RateLimits {
    fn name(&self) -> &'static str {
        "rate_limit"
    }

    fn phase(&self) -> Phase {
        Phase::Limit
    }

    fn request(&self, worker: &Rc<Worker>, exchange: &mut Exchange) -> Step {
        let drawn = self.drawn(exchange);
        if drawn.is_empty() {
            return Step::Next;
        }
        let reserve = self.reserve(worker, exchange, &drawn);
        self.settle(exchange, &drawn, reserve)
    }

    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        async move {
            let drawn = self.drawn(exchange);
            if drawn.is_empty() {
                return Step::Next;
            }
            let mut reserve = self.reserve(worker, exchange, &drawn);
            while let Reserve::Wait(lease) = reserve {
                reserve = lease.await;
            }
            self.settle(exchange, &drawn, reserve)
        }
        .boxed_local()
    }

    fn end(&self, _: &Rc<Worker>, exchange: &mut Exchange, _: Outcome) {
        drop(exchange.tickets.take::<Ticket>());
    }
}

/// How much of what a limit counts an exchange is: at least 1.
fn counted(limit: &RateLimit, exchange: &Exchange) -> u64 {
    match limit.counts {
        Counts::Requests => exchange.operations,
        Counts::Cost => exchange.cost,
    }
}

/// Whom a bucket counts is part of its name; a caller who cannot be told apart by it shares the bucket of its address.
fn key(kind: &str, scope: &str, limit: &RateLimit, exchange: &Exchange) -> String {
    let mut key = String::with_capacity(64);
    let _ = write!(key, "{kind}{scope}/{}/", limit.name);
    let consumer = exchange.identity.as_ref().map(|identity| &identity.consumer);
    let subscription = exchange.subscription.as_ref().map(|subscription| &subscription.id);
    let _ = match (limit.per, consumer, subscription) {
        (Per::Route, ..) => write!(key, "all"),
        (Per::Subscription, _, Some(subscription)) => write!(key, "subscription/{subscription}"),
        (Per::Consumer | Per::Subscription, Some(consumer), _) => write!(key, "consumer/{consumer}"),
        _ => write!(key, "address/{}", network(exchange.client.address)),
    };
    key
}

/// Whom an address stands for: an IPv6 client has a network of 64 bits to itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

fn fault(drawn: &Drawn<'_>, exchange: &Exchange, refused: &Refused) -> Fault {
    let limit = drawn.limit;
    let who = match (limit.per, &exchange.identity) {
        (Per::Route, _) => "this route".to_owned(),
        (Per::Consumer | Per::Subscription, Some(identity)) => format!("consumer `{}`", identity.consumer),
        _ => "this address".to_owned(),
    };
    let unit = match limit.counts {
        Counts::Requests => "requests",
        Counts::Cost => "cost units",
    };
    let period = Period(limit.every);
    match refused.retry_after {
        Some(wait) => {
            let seconds = whole_seconds(wait).max(1);
            let detail = format!("{} {unit} per {period} reached for {who}; retry in {seconds}s", limit.limit);
            Fault::new(FaultKind::RateLimited, detail).with("limit", limit.limit).retry_after(wait)
        }
        None => {
            let detail = format!("this weighs more than the {} {unit} that {who} may draw at once", limit.burst);
            Fault::new(FaultKind::RateLimited, detail).with("limit", limit.burst)
        }
    }
}

/// A period as people say it: `minute`, `10s`.
pub(super) struct Period(pub(super) Duration);

impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs() {
            1 if self.0.subsec_nanos() == 0 => f.write_str("second"),
            60 => f.write_str("minute"),
            3_600 => f.write_str("hour"),
            86_400 => f.write_str("day"),
            _ => write!(f, "{:?}", self.0),
        }
    }
}

/// Tells the caller how it stands: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), and the
/// older `X-RateLimit-*` of the limit that has least left, its reset in seconds from now.
fn tell(fields: &mut Fields, drawn: &[Drawn<'_>], levels: &[Level]) {
    let mut policy = Vec::with_capacity(64);
    let mut state = Vec::with_capacity(64);
    for (drawn, level) in drawn.iter().zip(levels) {
        let limit = drawn.limit;
        item(&mut policy, &limit.name, [(b'q', limit.limit), (b'w', whole_seconds(limit.every).max(1))]);
        item(&mut state, &limit.name, [(b'r', level.remaining), (b't', whole_seconds(level.reset))]);
    }
    fields.push(b"ratelimit-policy", &policy);
    fields.push(b"ratelimit", &state);
    let tightest = drawn.iter().zip(levels).min_by_key(|(_, level)| level.remaining);
    if let Some((drawn, level)) = tightest {
        let mut number = itoa::Buffer::new();
        fields.push(b"x-ratelimit-limit", number.format(drawn.limit.limit).as_bytes());
        fields.push(b"x-ratelimit-remaining", number.format(level.remaining).as_bytes());
        fields.push(b"x-ratelimit-reset", number.format(whole_seconds(level.reset)).as_bytes());
    }
}

/// Adds an item of a list with its parameters: `"name";q=5;w=60` (RFC 9651, section 3.1.2). Names are made of letters, digits and
/// `-_.`, so nothing is escaped.
fn item(list: &mut Vec<u8>, name: &str, parameters: [(u8, u64); 2]) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.push(b'"');
    list.extend_from_slice(name.as_bytes());
    list.push(b'"');
    for (parameter, value) in parameters {
        list.extend_from_slice(&[b';', parameter, b'=']);
        list.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// Rounded up: who comes back at the second named is not refused again.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_cannot_change_its_bucket_within_its_own_network() {
        let of = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(of("10.0.0.1"), "10.0.0.1");
    }
}
