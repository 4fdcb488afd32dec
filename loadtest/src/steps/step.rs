//! The design's shape: a policy answers at once with a step, and only one that waits costs a future.

use std::rc::Rc;

use super::finish;
use super::model::{Exchange, Kind, Later, LocalBoxFuture, POLICIES, Work, boxed};

/// What a policy says. It carries no future, so that saying `Next` writes one word.
pub enum Step {
    /// The next policy.
    Next,
    /// The exchange ends here.
    Answer(Box<u64>),
    /// Ask again, from inside a future that owns the exchange.
    Wait,
}

trait Policy {
    fn request(&self, exchange: &mut Exchange) -> Step;
    fn response(&self, exchange: &mut Exchange) -> Step;
    fn wait<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step>;
}

impl Policy for Work {
    fn request(&self, exchange: &mut Exchange) -> Step {
        if self.kind == Kind::Waits {
            return Step::Wait;
        }
        step(Work::request(self, exchange))
    }

    fn response(&self, exchange: &mut Exchange) -> Step {
        Work::response(self, exchange);
        Step::Next
    }

    fn wait<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Step> {
        boxed(async {
            Later::default().await;
            step(Work::request(self, exchange))
        })
    }
}

fn step(answer: Option<u64>) -> Step {
    answer.map_or(Step::Next, |answer| Step::Answer(Box::new(answer)))
}

type Chain = Rc<[Box<dyn Policy>]>;

/// What a slot of the engine holds between two turns.
enum Slot {
    Done(u64),
    /// Owns the exchange; dropping it cancels.
    Waiting(LocalBoxFuture<'static, u64>),
}

/// The chain, ready to run.
pub fn shape(kinds: [Kind; POLICIES]) -> Box<dyn Fn(u64) -> u64> {
    let policies = Work::chain(kinds).into_iter().map(|work| Box::new(work) as Box<dyn Policy>);
    let chain: Chain = policies.collect();
    Box::new(move |number| match run(&chain, Exchange::open(number)) {
        Slot::Done(digest) => digest,
        Slot::Waiting(mut rest) => finish(rest.as_mut()),
    })
}

/// Runs on the slot while every step answers at once.
fn run(chain: &Chain, mut exchange: Exchange) -> Slot {
    for (at, policy) in chain.iter().enumerate() {
        match policy.request(&mut exchange) {
            Step::Next => {}
            Step::Answer(answer) => return Slot::Done(*answer),
            Step::Wait => return Slot::Waiting(boxed(remainder(Rc::clone(chain), exchange, at))),
        }
    }
    exchange.call();
    for policy in chain.iter().rev() {
        match policy.response(&mut exchange) {
            Step::Next => {}
            Step::Answer(answer) => return Slot::Done(*answer),
            Step::Wait => unreachable!("no policy here waits on the way out"),
        }
    }
    Slot::Done(exchange.digest())
}

/// All that remains, from the policy that waits.
async fn remainder(chain: Chain, mut exchange: Exchange, waiting: usize) -> u64 {
    if let Step::Answer(answer) = chain[waiting].wait(&mut exchange).await {
        return *answer;
    }
    for policy in &chain[waiting + 1..] {
        let step = match policy.request(&mut exchange) {
            Step::Wait => policy.wait(&mut exchange).await,
            step => step,
        };
        if let Step::Answer(answer) = step {
            return *answer;
        }
    }
    exchange.call();
    for policy in chain.iter().rev() {
        if let Step::Answer(answer) = policy.response(&mut exchange) {
            return *answer;
        }
    }
    exchange.digest()
}
