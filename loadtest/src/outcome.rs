//! What the rounds of a scenario come to: a ratio, how far it can be trusted, and the line that says so.

use crate::load::Round;

/// Two rounds, one right behind the other.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Of the proxy under test.
    pub subject: Round,
    /// Of nginx, doing bare proxying.
    pub nginx: Round,
}

/// What a scenario came to. It has at least one pair.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scenario's name.
    pub name: &'static str,
    /// The name of the proxy under test.
    pub subject: &'static str,
    /// In the order they ran.
    pub pairs: Vec<Pair>,
}

impl Round {
    /// CPU-microseconds that the proxy spent on a request. Every round has answered one.
    pub fn micros(&self) -> f64 {
        self.proxy_ns as f64 / 1000.0 / self.requests as f64
    }

    /// Requests that were answered in another way than with 200.
    pub fn failed(&self) -> u64 {
        self.errors + self.not_200
    }

    /// Whether the proxy waited for the load side rather than the other way round.
    pub fn load_bound(&self) -> bool {
        let full = self.elapsed_ns as f64 * 0.95;
        self.load_core_ns as f64 >= full && (self.proxy_core_ns as f64) < full
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
    /// CPU per request of the subject over that of nginx.
    pub fn ratio(&self) -> f64 {
        self.subject.micros() / self.nginx.micros()
    }

    /// Both rounds in words, for whoever watches.
    pub fn told(&self, subject: &str) -> String {
        let told = |round: &Round| {
            let share = |nanos: u64| 100.0 * nanos as f64 / round.elapsed_ns as f64;
            format!(
                "{:.2} us, {:.0}/s, proxy {:.0} % of its core's {:.0} %, load {:.0} % of {:.0} %",
                round.micros(),
                round.requests as f64 * 1e9 / round.elapsed_ns as f64,
                share(round.proxy_ns),
                share(round.proxy_core_ns),
                share(round.load_ns),
                share(round.load_core_ns),
            )
        };
        format!("ratio {:.3}; {subject} {}; nginx {}", self.ratio(), told(&self.subject), told(&self.nginx))
    }
}

impl Outcome {
    /// The median of the pairs' ratios: below 1 the subject needs less CPU than nginx.
    pub fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(Pair::ratio))
    }

    /// The highest of the pairs' ratios less the lowest.
    pub fn spread(&self) -> f64 {
        let ratios = || self.pairs.iter().map(Pair::ratio);
        ratios().fold(f64::MIN, f64::max) - ratios().fold(f64::MAX, f64::min)
    }

    /// Median CPU-microseconds per request of the subject.
    pub fn subject_micros(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.subject.micros()))
    }

    /// Median CPU-microseconds per request of nginx.
    pub fn nginx_micros(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.nginx.micros()))
    }

    /// Answers with 200, of both proxies in all pairs.
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
            mark("load_bound", Round::load_bound),
            mark("disturbed", Round::disturbed),
            mark("log_dropped", Round::log_dropped),
        ];
        marks.into_iter().flatten().collect()
    }

    /// The one line on standard output.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{} cpu_ratio={:.2} {}_us={:.2} nginx_us={:.2} spread={:.2} requests={} errors={}",
            self.name,
            self.ratio(),
            self.subject,
            self.subject_micros(),
            self.nginx_micros(),
            self.spread(),
            self.requests(),
            self.failed(),
        );
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
        self.pairs.iter().find_map(|pair| of(self.subject, &pair.subject).or_else(|| of("nginx", &pair.nginx)))
    }

    fn rounds(&self) -> impl Iterator<Item = &Round> {
        self.pairs.iter().flat_map(|pair| [&pair.subject, &pair.nginx])
    }
}

/// The middle value, or the mean of the two around it.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
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
            load_core_ns: 800_000_000,
            ..Round::default()
        }
    }

    /// Three pairs whose ratios are 0.8, 0.9 and 1.2.
    pub fn outcome() -> Outcome {
        let pair = |micros| Pair { subject: steady(10_000, micros), nginx: steady(10_000, 10) };
        Outcome { name: "small-get/plain", subject: "portolan", pairs: vec![pair(8), pair(12), pair(9)] }
    }

    #[test]
    fn a_line_tells_medians_spread_and_sums() {
        assert_eq!(
            outcome().line(),
            "small-get/plain cpu_ratio=0.90 portolan_us=9.00 nginx_us=10.00 spread=0.40 requests=60000 errors=0"
        );
    }

    #[test]
    fn a_line_says_when_the_load_side_was_the_bottleneck() {
        let mut outcome = outcome();
        outcome.pairs[1].subject.load_core_ns = 960_000_000;
        outcome.pairs[1].subject.proxy_core_ns = 120_000_000;
        assert_eq!(outcome.marks(), ["load_bound=1/6"]);
        outcome.pairs[1].subject.proxy_core_ns = 990_000_000;
        assert_eq!(outcome.marks(), ["disturbed=1/6"]);
        assert!(outcome.line().ends_with(" errors=0 disturbed=1/6"), "{}", outcome.line());
    }

    #[test]
    fn an_access_log_with_fewer_lines_than_requests_is_marked() {
        let mut outcome = outcome();
        outcome.pairs[0].subject.logged = Some(10_001);
        outcome.pairs[1].subject.logged = Some(9_999);
        assert_eq!(outcome.marks(), ["log_dropped=1/6"]);
    }

    #[test]
    fn failed_requests_are_counted_and_told() {
        let mut outcome = outcome();
        assert_eq!(outcome.trouble(), None);
        let round = &mut outcome.pairs[2].nginx;
        (round.not_200, round.errors, round.first_error) = (2, 1, Some("an answer had status 502".to_owned()));
        assert_eq!(outcome.failed(), 3);
        let told = "small-get/plain: nginx failed 3 times; an answer had status 502";
        assert_eq!(outcome.trouble().as_deref(), Some(told));
    }

    #[test]
    fn a_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([7.0].into_iter()), 7.0);
    }
}
