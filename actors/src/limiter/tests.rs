//! Buckets against a model, under threads, at their bound, and under an actor that panics.

use portolan_exchange::Moment;
use portolan_exchange::limits::{Draw, Found, Level, Quota, Refund, Refused, Reservation, Reserve, Store};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::supervision::Status;
use crate::testing::{advance_until, control, until};

const MINUTE: Duration = Duration::from_secs(60);

fn quota(limit: u64, burst: u64) -> Quota {
    Quota { limit, every: MINUTE, burst }
}

fn store() -> Arc<MemoryStore> {
    MemoryStore::new(Settings::default())
}

fn at(seconds: u64) -> Moment {
    Moment::default().after(Duration::from_secs(3_600 + seconds))
}

fn reserve(store: &MemoryStore, draws: &[(&str, Quota, u64)], now: Moment) -> Result<Reservation, Refused> {
    let draws: Vec<_> =
        draws.iter().map(|(key, quota, cost)| Draw { key, quota: *quota, cost: *cost, found: None }).collect();
    answer(store, &draws, now)
}

fn answer(store: &MemoryStore, draws: &[Draw<'_>], now: Moment) -> Result<Reservation, Refused> {
    match store.reserve(draws, now) {
        Reserve::Reserved(reservation) => Ok(reservation),
        Reserve::Refused(refused) => Err(refused),
        Reserve::Wait(_) => panic!("memory never waits"),
    }
}

#[test]
fn a_bucket_gives_its_burst_and_then_says_when_there_is_more() {
    let store = store();
    let acme = [("acme", quota(6, 3), 1)];
    let levels: Vec<_> = (0..3).map(|_| reserve(&store, &acme, at(0)).unwrap().levels()[0]).collect();
    let level = |remaining, seconds| Level { remaining, reset: Duration::from_secs(seconds) };
    assert_eq!(levels, [level(2, 10), level(1, 20), level(0, 30)]);
    let refused = Refused { index: 0, retry_after: Some(Duration::from_secs(6)), levels: vec![level(0, 26)] };
    assert_eq!(reserve(&store, &acme, at(4)).unwrap_err(), refused);
    assert!(reserve(&store, &acme, at(10)).is_ok());
    assert_eq!(store.refused_total(), 1);
}

#[test]
fn a_draw_for_good_is_made_or_refused_like_any_other() {
    let store = store();
    let draw = |cost| {
        let drawn = store.draw(&Draw { key: "acme", quota: quota(6, 3), cost, found: None }, at(0));
        drawn.expect("memory can always say")
    };
    let level = |remaining, seconds| Level { remaining, reset: Duration::from_secs(seconds) };
    let refused = |retry_after, level| {
        Err(Refused { index: 0, retry_after: Option::map(retry_after, Duration::from_secs), levels: vec![level] })
    };
    assert_eq!(draw(2), Ok(level(1, 20)));
    assert_eq!(draw(2), refused(Some(10), level(1, 20)));
    assert_eq!(draw(1), Ok(level(0, 30)));
    assert_eq!(draw(4), refused(None, level(0, 30)));
    assert_eq!((store.len(), store.refused_total()), (1, 2));
}

#[test]
fn all_buckets_are_drawn_upon_or_none_and_the_longest_wait_is_told() {
    let store = store();
    let (minute, narrow, wide) = (quota(60, 10), quota(6, 1), quota(600, 100));
    reserve(&store, &[("narrow", narrow, 1), ("minute", minute, 10)], at(0)).unwrap();
    let refused =
        reserve(&store, &[("wide", wide, 5), ("minute", minute, 4), ("narrow", narrow, 1)], at(1)).unwrap_err();
    assert_eq!((refused.index, refused.retry_after), (2, Some(Duration::from_secs(9))));
    assert_eq!(store.level("wide", wide, at(1)), Level { remaining: 100, reset: Duration::ZERO });
    assert_eq!(store.level("minute", minute, at(1)).remaining, 1);
    // A refused request puts no bucket in.
    assert_eq!(store.len(), 2);
}

#[test]
fn one_bucket_named_twice_in_a_reservation_is_drawn_upon_twice_or_not_at_all() {
    let store = store();
    let twice = [("a", quota(60, 3), 2), ("a", quota(60, 3), 2)];
    let refused = reserve(&store, &twice, at(0)).unwrap_err();
    assert_eq!((refused.index, refused.retry_after), (1, Some(Duration::from_secs(1))));
    assert_eq!(store.level("a", quota(60, 3), at(0)).remaining, 3);
}

#[test]
fn a_cost_above_the_bucket_is_refused_for_good() {
    let refused = reserve(&store(), &[("a", quota(60, 100), 1), ("b", quota(60, 5), 6)], at(0)).unwrap_err();
    assert_eq!((refused.index, refused.retry_after), (1, None));
}

#[test]
fn settling_puts_back_what_was_not_used_and_charges_what_was_overrun() {
    let store = store();
    let quota = quota(60, 10);
    let remaining = || store.level("a", quota, at(0)).remaining;
    let draw = |cost| reserve(&store, &[("a", quota, cost)], at(0)).unwrap();
    draw(8).settle(3);
    assert_eq!(remaining(), 7);
    draw(1).settle(4);
    assert_eq!(remaining(), 3);
    drop(draw(1));
    assert_eq!(remaining(), 2);
    drop(draw(2).on_drop(Refund::GiveBack));
    assert_eq!(remaining(), 2);
    draw(2).settle(12);
    assert_eq!(store.level("a", quota, at(0)), Level { remaining: 0, reset: Duration::from_secs(20) });
    let refused = reserve(&store, &[("a", quota, 1)], at(0)).unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(11)));
}

#[test]
fn full_buckets_are_swept_and_those_in_use_stay() {
    let store = store();
    drop(reserve(&store, &[("idle", quota(60, 10), 1)], at(0)).unwrap());
    drop(reserve(&store, &[("drawn", quota(60, 10), 10)], at(0)).unwrap());
    let held = reserve(&store, &[("held", quota(60, 10), 1)], at(0)).unwrap();
    assert_eq!(store.sweep(at(5)), 1);
    assert_eq!(store.len(), 2);
    // What a reservation held is charged to the bucket that others draw upon.
    held.settle(30);
    assert_eq!(store.level("held", quota(60, 10), at(5)).reset, Duration::from_secs(25));
    assert_eq!(store.sweep(at(60)), 2);
    assert_eq!((store.len(), store.sweep(at(60))), (0, 0));
}

#[test]
fn a_bucket_that_was_found_before_is_the_one_of_its_key_also_after_a_sweep() {
    let store = store();
    let (quota, found) = (quota(60, 10), Found::default());
    let draw = |seconds| {
        let draw = Draw { key: "acme", quota, cost: 1, found: Some(&found) };
        answer(&store, &[draw.clone(), draw], at(seconds)).map(|reservation| reservation.levels()[1].remaining)
    };
    assert_eq!((draw(0), draw(0)), (Ok(8), Ok(6)));
    assert_eq!((store.sweep(at(60)), store.len()), (1, 0));
    assert_eq!((draw(60), store.level("acme", quota, at(60)).remaining), (Ok(8), 8));
    assert_eq!(reserve(&store, &[("acme", quota, 1)], at(60)).unwrap().levels()[0].remaining, 7);
}

#[test]
fn at_the_bound_newcomers_share_buckets_and_nothing_grows() {
    let store = MemoryStore::new(Settings { keys: 10, ..Settings::default() });
    let quota = quota(60, 1);
    for key in 0..10 {
        reserve(&store, &[(&format!("old/{key}"), quota, 1)], at(0)).unwrap();
    }
    let taken = (0..100_000).filter(|key| reserve(&store, &[(&format!("new/{key}"), quota, 1)], at(0)).is_ok()).count();
    assert_eq!((taken, store.len()), (1_024, 10));
    assert!(reserve(&store, &[("old/3", quota, 1)], at(1)).is_ok(), "those who have a bucket notice nothing");
    assert!(store.was_tight() && !store.was_tight());
    assert_eq!(store.sweep(at(60)), 10);
    reserve(&store, &[("new/1", quota, 1)], at(60)).unwrap();
    assert_eq!(store.len(), 1);
}

#[test]
fn threads_draw_exactly_what_there_is_while_buckets_are_swept() {
    let store = store();
    let quota = Quota { limit: 1, every: Duration::from_secs(86_400), burst: 1_000 };
    let taken = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (store, taken) = (&store, &taken);
            scope.spawn(move || {
                // Half of them know where the bucket is, from the second time on.
                let found = Found::default();
                let known = (thread % 2 == 0).then_some(&found);
                for turn in 0..1_000_u64 {
                    let own = format!("{thread}/{turn}");
                    let draw = |key, cost, found| Draw { key, quota, cost, found };
                    if answer(store, &[draw("shared", 1, known), draw(&own, 0, None)], at(1)).is_ok() {
                        taken.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    if turn % 100 == 0 {
                        store.sweep(at(2));
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 1_000);
    store.sweep(at(2));
    assert_eq!(store.len(), 1);
}

#[test]
fn an_empty_bucket_stays_empty_when_the_actor_panics_while_draws_are_held() {
    let control = control();
    let clock = control.clock();
    let limiter = Limiter::start(&control, Settings::default());
    let store = limiter.store();
    let acme = [("acme", quota(1, 2), 1)];
    let kept = reserve(store, &acme, clock.now()).unwrap();
    let returned = reserve(store, &acme, clock.now()).unwrap().on_drop(Refund::GiveBack);
    let registry = control.registry();
    assert!(registry.make_panic("limiter/memory"));
    until("the panic", || registry.status("limiter/memory") == Some(Status::Restarting));
    assert_eq!(reserve(store, &acme, clock.now()).unwrap_err().retry_after, Some(MINUTE));
    clock.advance(Duration::from_millis(50));
    until("the restart", || registry.status("limiter/memory") == Some(Status::Running));
    assert_eq!(store.level("acme", acme[0].1, clock.now()).remaining, 0);
    drop(returned);
    assert_eq!(store.level("acme", acme[0].1, clock.now()).remaining, 1);
    drop(kept);
}

#[test]
fn the_actor_sweeps_and_says_what_there_is() {
    let control = control();
    let clock = control.clock();
    let limiter = Limiter::start(&control, Settings { keys: 5, sweep: Duration::from_secs(10) });
    for key in 0..5 {
        drop(reserve(limiter.store(), &[(&key.to_string(), quota(60, 10), 1)], clock.now()).unwrap());
    }
    reserve(limiter.store(), &[("large", quota(60, 10), 11)], clock.now()).unwrap_err();
    advance_until(clock, Duration::from_secs(1), "a sweep", || limiter.store().is_empty());
    let expected = json!({ "buckets": 0, "bound": 5, "evicted": 5, "refused": 1, "crowded": 1 });
    // They are gone before they are counted.
    until("the count", || control.registry().states()[0]["state"] == expected);
}

/// A bucket as one would write it down: what it holds, and when that was true. In nanoseconds' worth of units.
#[derive(Clone, Copy)]
struct Model {
    unit: u128,
    burst: u128,
    holds: i128,
    when: u64,
}

impl Model {
    fn fill(&mut self, now: u64) {
        let full = (self.burst * self.unit) as i128;
        self.holds = (self.holds + i128::from(now - self.when)).min(full);
        self.when = now;
    }

    fn missing(&self, cost: u64) -> i128 {
        (u128::from(cost) * self.unit) as i128 - self.holds
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_store_agrees_with_a_bucket_that_is_filled_by_hand(
        limits in (1_u64..200, 1_u64..200),
        bursts in (1_u64..50, 1_u64..50),
        steps in proptest::collection::vec((0_u64..20_000, 0_u64..12, 0_u64..12, 0_u8..4, 0_u64..20), 1..80),
    ) {
        let store = store();
        let quotas = [quota(limits.0, bursts.0), quota(limits.1, bursts.1)];
        let mut models = quotas.map(|quota| {
            let unit = 60_000_000_000_u128.div_ceil(u128::from(quota.limit));
            let burst = u128::from(quota.burst);
            Model { unit, burst, holds: (burst * unit) as i128, when: 0 }
        });
        let mut now = 0_u64;
        for (millis, first, second, ending, real) in steps {
            now += millis * 1_000_000;
            let moment = at(0).after(Duration::from_nanos(now));
            let costs = [first, second];
            for model in &mut models {
                model.fill(now);
            }
            let draws = [("a", quotas[0], first), ("b", quotas[1], second)];
            let answer = reserve(&store, &draws, moment);
            let missing = [models[0].missing(first), models[1].missing(second)];
            let never = (0..2).any(|at| u128::from(costs[at]) > models[at].burst);
            if never || missing.iter().any(|missing| *missing > 0) {
                let refused = answer.unwrap_err();
                let wait = missing.iter().max().map(|wait| Duration::from_nanos(*wait as u64));
                prop_assert_eq!(refused.retry_after, if never { None } else { wait });
            } else {
                let reservation = answer.unwrap();
                for at in 0..2 {
                    models[at].holds -= (u128::from(costs[at]) * models[at].unit) as i128;
                }
                // A reservation is kept, given back, or settled with another cost.
                let correction = |cost: u64| match ending {
                    0 | 1 => 0,
                    2 => i128::from(cost),
                    _ => i128::from(cost) - i128::from(real),
                };
                match ending {
                    0 | 1 => drop(reservation),
                    2 => drop(reservation.on_drop(Refund::GiveBack)),
                    _ => reservation.settle(real),
                }
                for at in 0..2 {
                    models[at].holds += correction(costs[at]) * models[at].unit as i128;
                    models[at].fill(now);
                }
            }
            for at in 0..2 {
                let level = store.level(draws[at].0, quotas[at], moment);
                let remaining = models[at].holds.max(0) as u128 / models[at].unit;
                prop_assert_eq!(u128::from(level.remaining), remaining);
                let reset = (models[at].burst * models[at].unit) as i128 - models[at].holds;
                prop_assert_eq!(level.reset, Duration::from_nanos(reset as u64));
            }
            store.sweep(moment);
        }
    }
}
