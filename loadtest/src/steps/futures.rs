//! The plain asynchronous shape: each policy is asked through a boxed future, on both ways.

use super::finish;
use super::model::{Exchange, Kind, Later, LocalBoxFuture, POLICIES, Work, boxed};

trait Policy {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Option<u64>>;
    fn response<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, ()>;
}

impl Policy for Work {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Option<u64>> {
        boxed(async {
            if self.kind == Kind::Waits {
                Later::default().await;
            }
            Work::request(self, exchange)
        })
    }

    fn response<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, ()> {
        boxed(async { Work::response(self, exchange) })
    }
}

/// The chain, ready to run.
pub fn shape(kinds: [Kind; POLICIES]) -> Box<dyn Fn(u64) -> u64> {
    let policies = Work::chain(kinds).into_iter().map(|work| Box::new(work) as Box<dyn Policy>);
    let chain: Vec<Box<dyn Policy>> = policies.collect();
    // The outer future lives on the connection's own, so it costs no box.
    Box::new(move |number| finish(std::pin::pin!(run(&chain, Exchange::open(number)))))
}

async fn run(chain: &[Box<dyn Policy>], mut exchange: Exchange) -> u64 {
    for policy in chain {
        if let Some(answer) = policy.request(&mut exchange).await {
            return answer;
        }
    }
    exchange.call();
    for policy in chain.iter().rev() {
        policy.response(&mut exchange).await;
    }
    exchange.digest()
}
