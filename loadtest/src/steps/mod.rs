//! Times three shapes of a policy chain, to decide which the gateway has (docs/decisions/0002-steps-not-futures.md).
//!
//! The types are models of the gateway's: this crate knows it over the wire only. All shapes do the same work: eight
//! policies read and write the exchange on the way in and, in reverse, on the way out; one leaves a permit in it.

mod futures;
mod model;
mod onion;
mod step;

use std::future::Future;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use clap::Args;

use crate::clock;
use crate::failure::{Failure, Result};
use model::{Exchange, Kind, POLICIES, boxes};

/// The policy that waits, where one does: four have run before it, three come behind it.
const WAITING: usize = 4;

/// How long to measure.
#[derive(Args)]
pub struct Steps {
    /// Requests of each shape in each round.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..))]
    requests: u32,
    /// Rounds over all shapes in turns; the median counts.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
}

/// A shape of the chain, ready to run: takes a request's number, gives a digest of what was done to it.
struct Shape {
    name: &'static str,
    run: Box<dyn Fn(u64) -> u64>,
}

impl Steps {
    /// Prints a line for each shape: nanoseconds and allocations per request.
    pub fn run(self) -> Result<()> {
        let shapes = shapes();
        let mut times = vec![Vec::new(); shapes.len()];
        for _ in 0..self.rounds {
            for (shape, times) in shapes.iter().zip(&mut times) {
                times.push(self.time(shape));
            }
        }
        for (shape, mut times) in shapes.iter().zip(times) {
            times.sort_by(f64::total_cmp);
            let (median, best) = (times[times.len() / 2], times[0]);
            let name = shape.name;
            crate::report(&format!("{name} ns={median:.1} lowest={best:.1} allocations={}", allocations(shape)?));
        }
        crate::report(&format!("sizes step={} exchange={}", size_of::<step::Step>(), size_of::<Exchange>()));
        Ok(())
    }

    fn time(&self, shape: &Shape) -> f64 {
        let start = clock::now();
        for number in 0..self.requests {
            black_box((shape.run)(black_box(u64::from(number))));
        }
        start.elapsed().as_nanos() as f64 / f64::from(self.requests)
    }
}

/// What one request allocates; the same for every request of a shape.
fn allocations(shape: &Shape) -> Result<u64> {
    let count = |number| {
        let before = boxes();
        (shape.run)(number);
        boxes() - before
    };
    let (first, second) = (count(1), count(2));
    if first != second {
        let name = shape.name;
        return Err(Failure::new(format!("{name} allocated {first} times for one request and {second} for another")));
    }
    Ok(first)
}

fn shapes() -> Vec<Shape> {
    let at_once: [Kind; POLICIES] = std::array::from_fn(|at| if at == 2 { Kind::Admits } else { Kind::Touches });
    let one_waits = std::array::from_fn(|at| if at == WAITING { Kind::Waits } else { at_once[at] });
    vec![
        Shape { name: "steps/at-once", run: step::shape(at_once) },
        Shape { name: "boxed-futures/at-once", run: futures::shape(at_once) },
        Shape { name: "onion-of-futures/at-once", run: onion::shape(at_once) },
        Shape { name: "steps/one-waits", run: step::shape(one_waits) },
        Shape { name: "boxed-futures/one-waits", run: futures::shape(one_waits) },
        Shape { name: "onion-of-futures/one-waits", run: onion::shape(one_waits) },
    ]
}

/// Polls to the end, as a worker whose wake-ups cost nothing.
fn finish<T>(mut future: std::pin::Pin<&mut (impl Future<Output = T> + ?Sized)>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shapes_do_the_same_to_an_exchange() {
        for number in [0, 1, 77] {
            let digests: Vec<u64> = shapes().iter().map(|shape| (shape.run)(number)).collect();
            assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        }
        let shape = step::shape([Kind::Touches; POLICIES]);
        assert_ne!(shape(1), shape(2), "a digest that tells nothing apart proves nothing");
    }

    #[test]
    fn what_is_counted_by_hand_is_what_the_allocator_sees() {
        let counted: Vec<(&str, u64)> =
            shapes().iter().map(|shape| (shape.name, allocations(shape).unwrap())).collect();
        let seen: Vec<(&str, u64)> = shapes()
            .iter()
            .map(|shape| (shape.name, allocation_counter::measure(|| _ = black_box((shape.run)(1))).count_total))
            .collect();
        assert_eq!(counted, seen);
        let expected = [
            ("steps/at-once", 0),
            ("boxed-futures/at-once", 16),
            ("onion-of-futures/at-once", 8),
            ("steps/one-waits", 2),
            ("boxed-futures/one-waits", 16),
            ("onion-of-futures/one-waits", 8),
        ];
        assert_eq!(counted, expected);
    }
}
