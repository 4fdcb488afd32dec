//! The middleware shape: each policy is a boxed future around all that lies behind it.

use super::finish;
use super::model::{Exchange, Kind, Later, LocalBoxFuture, POLICIES, Work, boxed};

trait Policy {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange, behind: Behind<'a>) -> LocalBoxFuture<'a, Option<u64>>;
}

/// The policies that are still to come.
struct Behind<'a>(&'a [Box<dyn Policy>]);

impl Behind<'_> {
    async fn run(self, exchange: &mut Exchange) -> Option<u64> {
        match self.0.split_first() {
            Some((policy, rest)) => policy.handle(exchange, Behind(rest)).await,
            None => {
                exchange.call();
                None
            }
        }
    }
}

impl Policy for Work {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange, behind: Behind<'a>) -> LocalBoxFuture<'a, Option<u64>> {
        boxed(async move {
            if self.kind == Kind::Waits {
                Later::default().await;
            }
            if let Some(answer) = Work::request(self, exchange) {
                return Some(answer);
            }
            let answer = behind.run(&mut *exchange).await;
            Work::response(self, exchange);
            answer
        })
    }
}

/// The chain, ready to run.
pub fn shape(kinds: [Kind; POLICIES]) -> Box<dyn Fn(u64) -> u64> {
    let policies = Work::chain(kinds).into_iter().map(|work| Box::new(work) as Box<dyn Policy>);
    let chain: Vec<Box<dyn Policy>> = policies.collect();
    Box::new(move |number| {
        let mut exchange = Exchange::open(number);
        let answer = finish(std::pin::pin!(Behind(&chain).run(&mut exchange)));
        answer.unwrap_or_else(|| exchange.digest())
    })
}
