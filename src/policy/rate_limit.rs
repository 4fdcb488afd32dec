//! Holds callers to their limits.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portolan_config::snapshot::{Counts, Name, Per, Plan, RateLimit};
use portolan_exchange::client::AddressText;
use portolan_exchange::limits::{Draw, Level, PerDraw, Quota, Refused, Reserve, Store};
use portolan_exchange::{Exchange, Fault, FaultKind, Fields, LocalBoxFuture, Phase, Policy, Step, Worker};

/// The limits of a route and of the plans its callers subscribed under: all of them are drawn, or none.
///
/// What was drawn stays drawn, whatever becomes of the exchange, so nothing is kept of it.
pub struct RateLimits {
    store: Arc<dyn Store>,
    own: Vec<Limit>,
    plans: Vec<OfPlan>,
    /// What is told where no plan adds limits.
    policy: Box<[u8]>,
}

/// The limits of a plan.
struct OfPlan {
    name: Name,
    limits: Vec<Limit>,
    /// What is told of the route's limits and of these.
    policy: Box<[u8]>,
}

/// The limits that an exchange is held to: the route's, then its plan's.
#[derive(Clone, Copy)]
struct Held<'a> {
    own: &'a [Limit],
    of_plan: &'a [Limit],
    policy: &'a [u8],
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

/// A limit, with all that is the same for each request.
struct Limit {
    settings: RateLimit,
    quota: Quota,
    /// What the names of its buckets begin with: `api/orders/default/`.
    beginning: Box<str>,
    /// Its number, as `X-RateLimit-Limit` tells it.
    most: Box<[u8]>,
}

impl RateLimits {
    /// The policy of these limits.
    pub fn new(store: Arc<dyn Store>, limits: Vec<Scoped>, plans: Vec<Arc<Plan>>) -> Self {
        let own: Vec<_> = limits.into_iter().map(|own| Limit::new(&own.scope, own.limit)).collect();
        let of_plan = |plan: &Arc<Plan>| {
            let scope = format!("plan/{}", plan.name);
            let limits: Vec<_> = plan.rate_limits.iter().map(|limit| Limit::new(&scope, limit.clone())).collect();
            let policy = told(own.iter().chain(&limits));
            OfPlan { name: plan.name.clone(), limits, policy }
        };
        let plans = plans.iter().map(of_plan).collect();
        let policy = told(&own);
        Self { store, own, plans, policy }
    }

    fn held(&self, exchange: &Exchange) -> Held<'_> {
        let plan = exchange.subscription.as_ref().and_then(|subscription| subscription.plan.as_ref());
        match plan.and_then(|name| self.plans.iter().find(|plan| plan.name == *name)) {
            Some(plan) => Held { own: &self.own, of_plan: &plan.limits, policy: &plan.policy },
            None => Held { own: &self.own, of_plan: &[], policy: &self.policy },
        }
    }

    /// Draws on the buckets of all limits that an exchange is held to; `None` where there is no limit.
    fn reserve(&self, worker: &Worker, exchange: &Exchange) -> Option<Reserve> {
        let held = self.held(exchange);
        // One text for all names: each ends where the next one begins.
        let (mut names, mut ends) = (String::with_capacity(128), PerDraw::<usize>::new());
        for limit in held.limits() {
            limit.name(exchange, &mut names);
            ends.push(names.len());
        }
        let (mut draws, mut from) = (PerDraw::<Draw<'_>>::new(), 0);
        for (limit, to) in held.limits().zip(ends) {
            let cost = limit.settings.weight.saturating_mul(counted(&limit.settings, exchange));
            draws.push(Draw { key: &names[from..to], quota: limit.quota, cost });
            from = to;
        }
        (!draws.is_empty()).then(|| self.store.reserve(&draws, worker.clock.now()))
    }

    fn settle(&self, exchange: &mut Exchange, reserve: Reserve) -> Step {
        let held = self.held(exchange);
        match reserve {
            Reserve::Reserved(reservation) => {
                tell(&mut exchange.answer_fields, held, reservation.levels());
                Step::Next
            }
            Reserve::Refused(refused) => {
                tell(&mut exchange.answer_fields, held, &refused.levels);
                let limit = held.limits().nth(refused.index).expect("a refusal names one of the draws");
                Step::fault(fault(&limit.settings, exchange, &refused))
            }
            Reserve::Wait(_) => Step::Wait,
        }
    }
}

impl<'a> Held<'a> {
    fn limits(self) -> impl Iterator<Item = &'a Limit> {
        self.own.iter().chain(self.of_plan)
    }
}

impl Limit {
    fn new(scope: &str, settings: RateLimit) -> Self {
        let RateLimit { limit, every, burst, .. } = settings;
        Self {
            quota: Quota { limit, every, burst },
            beginning: format!("{scope}/{}/", settings.name).into(),
            most: limit.to_string().into_bytes().into(),
            settings,
        }
    }

    /// Adds the name of its bucket, of which whom it counts is part; a caller who cannot be told apart by it shares the bucket
    /// of its address.
    fn name(&self, exchange: &Exchange, names: &mut String) {
        names.push_str(&self.beginning);
        let consumer = exchange.identity.as_ref().map(|identity| &identity.consumer);
        let subscription = exchange.subscription.as_ref().map(|subscription| &subscription.id);
        match (self.settings.per, consumer, subscription) {
            (Per::Route, ..) => names.push_str("all"),
            (Per::Subscription, _, Some(subscription)) => {
                names.push_str("subscription/");
                names.push_str(subscription);
            }
            (Per::Consumer | Per::Subscription, Some(consumer), _) => {
                names.push_str("consumer/");
                names.push_str(consumer);
            }
            _ => {
                names.push_str("address/");
                names.push_str(AddressText::of(network(exchange.client.address)).as_str());
            }
        }
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
        match self.reserve(worker, exchange) {
            Some(reserve) => self.settle(exchange, reserve),
            None => Step::Next,
        }
    }

    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        async move {
            let Some(mut reserve) = self.reserve(worker, exchange) else { return Step::Next };
            while let Reserve::Wait(lease) = reserve {
                reserve = lease.await;
            }
            self.settle(exchange, reserve)
        }
        .boxed_local()
    }
}

/// How much of what a limit counts an exchange is: at least 1.
fn counted(limit: &RateLimit, exchange: &Exchange) -> u64 {
    match limit.counts {
        Counts::Requests => exchange.operations,
        Counts::Cost => exchange.cost,
    }
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

fn fault(limit: &RateLimit, exchange: &Exchange, refused: &Refused) -> Fault {
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

/// `RateLimit-Policy` for these limits.
fn told<'a>(limits: impl IntoIterator<Item = &'a Limit>) -> Box<[u8]> {
    let mut list = Vec::new();
    for Limit { settings, .. } in limits {
        item(&mut list, &settings.name, [(b'q', settings.limit), (b'w', whole_seconds(settings.every).max(1))]);
    }
    list.into()
}

/// Tells the caller how it stands: `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11), and the
/// older `X-RateLimit-*` of the limit that has least left, its reset in seconds from now.
fn tell(fields: &mut Fields, held: Held<'_>, levels: &[Level]) {
    let mut state = Vec::with_capacity(64);
    let mut tightest = None;
    for (limit, level) in held.limits().zip(levels) {
        let numbers =
            item(&mut state, &limit.settings.name, [(b'r', level.remaining), (b't', whole_seconds(level.reset))]);
        if tightest.as_ref().is_none_or(|(_, least, _)| level.remaining < *least) {
            tightest = Some((limit, level.remaining, numbers));
        }
    }
    let Some((limit, _, [remaining, reset])) = tightest else { return };
    // All five with numbers of usual length, so that they are allocated for once.
    fields.reserve(5, 192);
    fields.push(b"ratelimit-policy", held.policy);
    fields.push(b"ratelimit", &state);
    fields.push(b"x-ratelimit-limit", &limit.most);
    fields.push(b"x-ratelimit-remaining", &state[remaining]);
    fields.push(b"x-ratelimit-reset", &state[reset]);
}

/// Adds an item of a list with its parameters: `"name";q=5;w=60` (RFC 9651, section 3.1.2). Names are made of letters, digits and
/// `-_.`, so nothing is escaped. Where the numbers stand.
fn item(list: &mut Vec<u8>, name: &str, parameters: [(u8, u64); 2]) -> [Range<usize>; 2] {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.push(b'"');
    list.extend_from_slice(name.as_bytes());
    list.push(b'"');
    parameters.map(|(parameter, value)| {
        list.extend_from_slice(&[b';', parameter, b'=']);
        let from = list.len();
        list.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        from..list.len()
    })
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
