//! Holds callers to their limits.

mod buckets;
mod told;

use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use portolan_config::snapshot::{Counts, Name, Per, Plan, RateLimit};
use portolan_exchange::client::AddressText;
use portolan_exchange::limits::{Draw, PerDraw, Quota, Refused, Reserve, Store};
use portolan_exchange::{Exchange, Fault, FaultKind, LocalBoxFuture, Phase, Policy, Step, Worker};

use buckets::{Bucket, Buckets};
use told::Told;

/// The limits of a route and of the plans its callers subscribed under: all of them are drawn, or none.
///
/// What was drawn stays drawn, whatever becomes of the exchange, so nothing is kept of it.
pub struct RateLimits {
    store: Arc<dyn Store>,
    own: Held,
    plans: Vec<(Name, Held)>,
}

/// The limits that an exchange is held to: the route's, then its plan's.
struct Held {
    limits: Box<[Limit]>,
    told: told::Beginning,
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
    told: Told,
    /// What the names of its buckets begin with, by what they count: `api/orders/default/consumer/`.
    by_route: buckets::Beginning,
    by_subscription: buckets::Beginning,
    by_consumer: buckets::Beginning,
    by_address: buckets::Beginning,
}

impl RateLimits {
    /// The policy of these limits.
    pub fn new(store: Arc<dyn Store>, limits: Vec<Scoped>, plans: Vec<Arc<Plan>>) -> Self {
        let own = || limits.iter().map(|own| Limit::new(&own.scope, own.limit.clone()));
        let with_plan = |plan: &Arc<Plan>| {
            let scope = format!("plan/{}", plan.name);
            let of_plan = plan.rate_limits.iter().map(|limit| Limit::new(&scope, limit.clone()));
            (plan.name.clone(), Held::new(own().chain(of_plan)))
        };
        let plans = plans.iter().map(with_plan).collect();
        Self { store, own: Held::new(own()), plans }
    }

    fn held(&self, exchange: &Exchange) -> &Held {
        let plan = exchange.subscription.as_ref().and_then(|subscription| subscription.plan.as_ref());
        let with_plan = plan.and_then(|name| self.plans.iter().find(|(plan, _)| plan == name));
        with_plan.map_or(&self.own, |(_, held)| held)
    }

    /// Draws for an exchange that is held to one limit, as most are, and tells how it stands; `None` where there are more limits, or
    /// the store must ask elsewhere.
    fn draw(&self, worker: &Worker, exchange: &mut Exchange) -> Option<Step> {
        let Held { limits, told } = self.held(exchange);
        let [limit] = &**limits else { return None };
        let bucket = limit.bucket(&Buckets::of(worker), exchange);
        match self.store.draw(&limit.draw(&bucket, exchange), worker.clock.now())? {
            Ok(level) => {
                told.tell(&mut exchange.answer_fields, [(&limit.told, &level)].into_iter());
                Some(Step::Next)
            }
            Err(refused) => Some(self.refuse(exchange, &refused)),
        }
    }

    /// Draws on the buckets of all limits that an exchange is held to; `None` where there is no limit.
    fn reserve(&self, worker: &Worker, exchange: &Exchange) -> Option<Reserve> {
        let limits = &self.held(exchange).limits;
        if limits.is_empty() {
            return None;
        }
        let known = Buckets::of(worker);
        let buckets: PerDraw<_> = limits.iter().map(|limit| limit.bucket(&known, exchange)).collect();
        let each = limits.iter().zip(&buckets);
        let draws: PerDraw<_> = each.map(|(limit, bucket)| limit.draw(bucket, exchange)).collect();
        Some(self.store.reserve(&draws, worker.clock.now()))
    }

    fn settle(&self, exchange: &mut Exchange, reserve: &Reserve) -> Step {
        let Held { limits, told } = self.held(exchange);
        let each = limits.iter().map(|limit| &limit.told);
        match reserve {
            Reserve::Reserved(reservation) => {
                told.tell(&mut exchange.answer_fields, each.zip(reservation.levels()));
                Step::Next
            }
            Reserve::Refused(refused) => self.refuse(exchange, refused),
            Reserve::Wait(_) => Step::Wait,
        }
    }

    fn refuse(&self, exchange: &mut Exchange, refused: &Refused) -> Step {
        let Held { limits, told } = self.held(exchange);
        told.tell(&mut exchange.answer_fields, limits.iter().map(|limit| &limit.told).zip(&refused.levels));
        let limit = limits.get(refused.index).expect("a refusal names one of the draws");
        Step::fault(fault(&limit.settings, exchange, refused))
    }
}

impl Held {
    fn new(limits: impl Iterator<Item = Limit>) -> Self {
        let limits: Box<[_]> = limits.collect();
        let told = told::Beginning::of(limits.iter().map(|limit| (&limit.settings, &limit.told)));
        Self { limits, told }
    }
}

impl Limit {
    fn new(scope: &str, settings: RateLimit) -> Self {
        let RateLimit { limit, every, burst, .. } = settings;
        let by = |what: &str| buckets::Beginning::new(format!("{scope}/{}/{what}", settings.name));
        Self {
            quota: Quota { limit, every, burst },
            told: Told::of(&settings),
            by_route: by(""),
            by_subscription: by("subscription/"),
            by_consumer: by("consumer/"),
            by_address: by("address/"),
            settings,
        }
    }

    /// Its bucket for whom it counts; a caller who cannot be told apart by it shares the bucket of its address.
    fn bucket(&self, buckets: &Buckets, exchange: &Exchange) -> Rc<Bucket> {
        match (self.settings.per, &exchange.identity, &exchange.subscription) {
            (Per::Route, ..) => buckets.get(&self.by_route, "all"),
            (Per::Subscription, _, Some(subscription)) => buckets.get(&self.by_subscription, &subscription.id),
            (Per::Consumer | Per::Subscription, Some(identity), _) => {
                buckets.get(&self.by_consumer, &identity.consumer)
            }
            _ => {
                let address = AddressText::of(network(exchange.client.address));
                buckets.get(&self.by_address, address.as_str())
            }
        }
    }

    fn draw<'a>(&self, bucket: &'a Bucket, exchange: &Exchange) -> Draw<'a> {
        let cost = self.settings.weight.saturating_mul(counted(&self.settings, exchange));
        Draw { key: &bucket.name, quota: self.quota, cost, found: Some(&bucket.found) }
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
        if let Some(step) = self.draw(worker, exchange) {
            return step;
        }
        match self.reserve(worker, exchange) {
            Some(reserve) => self.settle(exchange, &reserve),
            None => Step::Next,
        }
    }

    fn wait<'a>(&'a self, worker: &'a Rc<Worker>, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        async move {
            let Some(mut reserve) = self.reserve(worker, exchange) else { return Step::Next };
            while let Reserve::Wait(lease) = reserve {
                reserve = lease.await;
            }
            self.settle(exchange, &reserve)
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
