//! What the rounds of a load come to: a ratio, how far it can be trusted, and the line that says so.

use crate::load::Round;
use crate::statistics::{median, spread};

/// Two rounds, one right behind the other.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Of the proxy under test.
    pub subject: Round,
    /// Of the one it is compared with.
    pub baseline: Round,
}

/// What a scenario came to. It has at least one pair.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// The name of the proxy under test.
    pub subject: &'static str,
    /// The name of the one it is compared with.
    pub baseline: &'static str,
    /// In the order they ran.
    pub pairs: Vec<Pair>,
}

/// How long answers took at a fixed rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// The median of the pairs' ratios of the 99th percentile.
    pub p99_ratio: f64,
    /// How far the middle half of these ratios lies apart.
    pub p99_spread: f64,
    /// Medians over the rounds of the subject, in microseconds: half, 99 of 100, 999 of 1,000.
    pub subject: [f64; 3],
    /// The same of the baseline.
    pub baseline: [f64; 3],
}

impl Round {
    /// CPU-microseconds that the proxy spent on a request. Every round has answered one.
    pub fn micros(&self) -> f64 {
        self.proxy_ns as f64 / 1000.0 / self.requests as f64
    }

    /// Requests that were not answered rightly.
    pub fn failed(&self) -> u64 {
        self.errors + self.wrong
    }

    /// Whether the proxy waited for the load side rather than the other way round.
    pub fn load_bound(&self) -> bool {
        let elapsed = self.elapsed_ns as f64;
        (self.load_idle_ns as f64) < elapsed * 0.05 && (self.proxy_core_ns as f64) < elapsed * 0.95
    }

    /// Whether fewer requests were answered than the fixed rate asked for.
    pub fn rate_missed(&self) -> bool {
        let asked = self.rate as f64 * self.elapsed_ns as f64 / 1e9;
        (self.requests as f64) < asked * 0.99
    }

    /// Whether somebody else took more than a twentieth of the proxy's core, and so of its caches.
    pub fn disturbed(&self) -> bool {
        self.proxy_core_ns.saturating_sub(self.proxy_ns) as f64 > self.elapsed_ns as f64 * 0.05
    }

    /// Whether the proxy dropped lines of its access log, and with them a part of its work. The lines of the warm-up
    /// hide as many that were dropped later.
    pub fn log_dropped(&self) -> bool {
        self.logged.is_some_and(|lines| lines < self.requests)
    }
}

impl Pair {
    /// CPU per request of the subject over that of the baseline.
    pub fn ratio(&self) -> f64 {
        self.subject.micros() / self.baseline.micros()
    }

    fn p99_ratio(&self) -> f64 {
        self.subject.p99_ns as f64 / self.baseline.p99_ns as f64
    }

    /// Both rounds in words, for whoever watches.
    pub fn told(&self, subject: &str, baseline: &str) -> String {
        let told = |round: &Round| {
            let share = |nanos: u64| 100.0 * nanos as f64 / round.elapsed_ns as f64;
            let p99 = if round.rate > 0 { format!(", p99 {:.0} us", round.p99_ns as f64 / 1e3) } else { String::new() };
            format!(
                "{:.2} us, {:.0}/s, proxy {:.0} % of its core's {:.0} %, load {:.0} %, idle {:.0} %{p99}",
                round.micros(),
                round.requests as f64 * 1e9 / round.elapsed_ns as f64,
                share(round.proxy_ns),
                share(round.proxy_core_ns),
                share(round.load_ns),
                share(round.load_idle_ns),
            )
        };
        format!("ratio {:.3}; {subject} {}; {baseline} {}", self.ratio(), told(&self.subject), told(&self.baseline))
    }
}

impl Outcome {
    /// The median of the pairs' ratios: below 1 the subject needs less CPU than the baseline.
    pub fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(Pair::ratio))
    }

    /// How far the middle half of the pairs' ratios lies apart.
    pub fn spread(&self) -> f64 {
        spread(self.pairs.iter().map(Pair::ratio))
    }

    /// Median CPU-microseconds per request of the subject.
    pub fn subject_micros(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.subject.micros()))
    }

    /// Median CPU-microseconds per request of the baseline.
    pub fn baseline_micros(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.baseline.micros()))
    }

    /// How long answers took; none where the load was saturated, which makes every answer wait for others.
    pub fn latency(&self) -> Option<Latency> {
        if self.rounds().any(|round| round.rate == 0) {
            return None;
        }
        let of = |pick: fn(&Pair) -> &Round| {
            let micros = |part: fn(&Round) -> u64| median(self.pairs.iter().map(|pair| part(pick(pair)) as f64 / 1e3));
            [micros(|round| round.p50_ns), micros(|round| round.p99_ns), micros(|round| round.p999_ns)]
        };
        Some(Latency {
            p99_ratio: median(self.pairs.iter().map(Pair::p99_ratio)),
            p99_spread: spread(self.pairs.iter().map(Pair::p99_ratio)),
            subject: of(|pair| &pair.subject),
            baseline: of(|pair| &pair.baseline),
        })
    }

    /// Right answers, of both proxies in all pairs.
    pub fn requests(&self) -> u64 {
        self.rounds().map(|round| round.requests).sum()
    }

    /// What went otherwise, of both proxies in all pairs.
    pub fn failed(&self) -> u64 {
        self.rounds().map(Round::failed).sum()
    }

    /// What makes the figures worth less, in words of `name=count/rounds`; empty if nothing does.
    pub fn marks(&self) -> Vec<String> {
        let all = self.rounds().count();
        let mark = |name: &str, holds: fn(&Round) -> bool| {
            let count = self.rounds().filter(|round| holds(round)).count();
            (count > 0).then(|| format!("{name}={count}/{all}"))
        };
        let marks = [
            mark("load-bound", Round::load_bound),
            mark("rate-missed", Round::rate_missed),
            mark("disturbed", Round::disturbed),
            mark("log-dropped", Round::log_dropped),
        ];
        marks.into_iter().flatten().collect()
    }

    /// The one line on standard output.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{} cpu_ratio={:.2} {}_us={:.2} {}_us={:.2} spread={:.2}",
            self.name,
            self.ratio(),
            self.subject,
            self.subject_micros(),
            self.baseline,
            self.baseline_micros(),
            self.spread(),
        );
        if let Some(latency) = self.latency() {
            line.push_str(&format!(
                " p99_ratio={:.2} p99_spread={:.2} {}_p99_us={:.0} {}_p99_us={:.0}",
                latency.p99_ratio,
                latency.p99_spread,
                self.subject,
                latency.subject[1],
                self.baseline,
                latency.baseline[1],
            ));
        }
        line.push_str(&format!(" pairs={} requests={} errors={}", self.pairs.len(), self.requests(), self.failed()));
        for mark in self.marks() {
            line.push(' ');
            line.push_str(&mark);
        }
        line
    }

    /// What went wrong first, if anything did.
    pub fn trouble(&self) -> Option<String> {
        let of = |name: &str, round: &Round| {
            let reason = round.first_error.as_deref()?;
            Some(format!("{}: {name} failed {} times; {reason}", self.name, round.failed()))
        };
        self.pairs.iter().find_map(|pair| of(self.subject, &pair.subject).or_else(|| of(self.baseline, &pair.baseline)))
    }

    fn rounds(&self) -> impl Iterator<Item = &Round> {
        self.pairs.iter().flat_map(|pair| [&pair.subject, &pair.baseline])
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A second of `requests`, each of `micros`, on cores that do nothing else.
    fn steady(requests: u64, micros: u64) -> Round {
        let proxy_ns = requests * micros * 1000;
        Round {
            requests,
            elapsed_ns: 1_000_000_000,
            proxy_ns,
            load_ns: 800_000_000,
            proxy_core_ns: proxy_ns,
            load_idle_ns: 200_000_000,
            ..Round::default()
        }
    }

    /// Three pairs whose ratios are 0.8, 0.9 and 1.2.
    pub fn outcome() -> Outcome {
        let pair = |micros| Pair { subject: steady(10_000, micros), baseline: steady(10_000, 10) };
        Outcome {
            name: "small-get/plain".to_owned(),
            subject: "portolan",
            baseline: "nginx",
            pairs: vec![pair(8), pair(12), pair(9)],
        }
    }

    #[test]
    fn a_line_tells_medians_spread_and_sums() {
        assert_eq!(
            outcome().line(),
            "small-get/plain cpu_ratio=0.90 portolan_us=9.00 nginx_us=10.00 spread=0.20 pairs=3 requests=60000 errors=0"
        );
    }

    #[test]
    fn at_a_fixed_rate_a_line_tells_latencies_too() {
        let mut outcome = outcome();
        for (at, pair) in outcome.pairs.iter_mut().enumerate() {
            (pair.subject.rate, pair.baseline.rate) = (10_000, 10_000);
            (pair.subject.p99_ns, pair.baseline.p99_ns) = (300_000 + 100_000 * at as u64, 400_000);
        }
        let latency = outcome.latency().unwrap();
        assert_eq!((latency.p99_ratio, latency.p99_spread), (1.0, 0.25));
        assert_eq!((latency.subject[1], latency.baseline[1]), (400.0, 400.0));
        let told = " p99_ratio=1.00 p99_spread=0.25 portolan_p99_us=400 nginx_p99_us=400 pairs=3 ";
        assert!(outcome.line().contains(told), "{}", outcome.line());
    }

    #[test]
    fn a_line_says_when_the_load_side_was_the_bottleneck() {
        let mut outcome = outcome();
        outcome.pairs[1].subject.load_idle_ns = 40_000_000;
        outcome.pairs[1].subject.proxy_core_ns = 120_000_000;
        assert_eq!(outcome.marks(), ["load-bound=1/6"]);
        outcome.pairs[1].subject.proxy_core_ns = 990_000_000;
        assert_eq!(outcome.marks(), ["disturbed=1/6"]);
        assert!(outcome.line().ends_with(" errors=0 disturbed=1/6"), "{}", outcome.line());
    }

    #[test]
    fn a_rate_that_was_not_kept_is_marked() {
        let mut outcome = outcome();
        outcome.pairs[0].baseline.rate = 10_050;
        assert!(outcome.marks().is_empty());
        outcome.pairs[0].baseline.rate = 10_200;
        assert_eq!(outcome.marks(), ["rate-missed=1/6"]);
    }

    #[test]
    fn an_access_log_with_fewer_lines_than_requests_is_marked() {
        let mut outcome = outcome();
        outcome.pairs[0].subject.logged = Some(10_001);
        outcome.pairs[1].subject.logged = Some(9_999);
        assert_eq!(outcome.marks(), ["log-dropped=1/6"]);
    }

    #[test]
    fn failed_requests_are_counted_and_told() {
        let mut outcome = outcome();
        assert_eq!(outcome.trouble(), None);
        let round = &mut outcome.pairs[2].baseline;
        (round.wrong, round.errors, round.first_error) = (2, 1, Some("an answer had status 502".to_owned()));
        assert_eq!(outcome.failed(), 3);
        let told = "small-get/plain: nginx failed 3 times; an answer had status 502";
        assert_eq!(outcome.trouble().as_deref(), Some(told));
    }
}
