//! Alternating rounds, and what comes out of them: a median and its spread for each figure.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::policy::Proxy;

/// What is asked for in one row of the table.
pub(super) struct Case<'a> {
    pub(super) name: &'static str,
    /// For the client's `throughput`.
    pub(super) arguments: Vec<&'a str>,
}

pub(super) fn cases(proxy: &Proxy) -> [Case<'_>; 4] {
    let case = |name, path, more: &[&'static str]| Case { name, arguments: [&["--path", path], more].concat() };
    [
        case("small GET", &proxy.small, &[]),
        case("POST of 1 kB", &proxy.write, &["--post", "1000"]),
        case("answer of 100 kB", &proxy.large, &[]),
        case("small GET, new connection", &proxy.small, &["--new-connections"]),
    ]
}

/// What the client prints of one round.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(super) struct Load {
    pub(super) requests: u64,
    pub(super) failed: u64,
    seconds: f64,
    p50_us: u64,
    p99_us: u64,
}

/// One program in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    pub(super) load: Load,
    pub(super) cpu_microseconds: u64,
    pub(super) memory_kilobytes: u64,
}

impl Round {
    fn per_second(&self) -> f64 {
        self.load.requests as f64 / self.load.seconds.max(f64::EPSILON)
    }
}

/// One program in one case: its rounds, in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) case: &'static str,
    pub(super) program: String,
    pub(super) rounds: Vec<Round>,
}

/// The middle, the lowest and the highest of several figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (low, high) = (figures.first().copied().unwrap_or_default(), figures.last().copied().unwrap_or_default());
        let (left, right) = (figures.len().saturating_sub(1) / 2, figures.len() / 2);
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        Self { median: f64::midpoint(at(left), at(right)), low, high }
    }
}

impl Row {
    pub(super) fn per_second(&self) -> Spread {
        Spread::of(self.rounds.iter().map(Round::per_second))
    }

    /// Requests a second as a share of another program's in the same round.
    pub(super) fn ratio(&self, beside: &Self) -> Spread {
        let pairs = self.rounds.iter().zip(&beside.rounds);
        Spread::of(pairs.map(|(own, other)| own.per_second() / other.per_second().max(f64::EPSILON)))
    }

    pub(super) fn p50_ms(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.load.p50_us as f64 / 1000.0))
    }

    pub(super) fn p99_ms(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|round| round.load.p99_us as f64 / 1000.0))
    }

    /// Over all rounds: the kernel counts in hundredths of a second.
    pub(super) fn cpu_microseconds(&self) -> f64 {
        let cpu: u64 = self.rounds.iter().map(|round| round.cpu_microseconds).sum();
        let requests: u64 = self.rounds.iter().map(|round| round.load.requests).sum();
        cpu as f64 / (requests as f64).max(1.0)
    }

    pub(super) fn memory_megabytes(&self) -> f64 {
        self.rounds.iter().map(|round| round.memory_kilobytes).max().unwrap_or_default() as f64 / 1024.0
    }

    pub(super) fn evidence(&self) -> Value {
        let spread = |spread: Spread| json!({ "median": spread.median, "low": spread.low, "high": spread.high });
        json!({
            "case": self.case, "program": self.program, "per_second": spread(self.per_second()),
            "p50_ms": spread(self.p50_ms()), "p99_ms": spread(self.p99_ms()),
            "cpu_microseconds": self.cpu_microseconds(), "memory_megabytes": self.memory_megabytes(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn row(program: &str, per_second: &[u64]) -> Row {
        let round = |requests: &u64| Round {
            load: Load { requests: *requests, failed: 0, seconds: 1.0, p50_us: 1000, p99_us: 2500 },
            cpu_microseconds: requests * 30,
            memory_kilobytes: 9216,
        };
        Row { case: "small GET", program: program.to_owned(), rounds: per_second.iter().map(round).collect() }
    }

    #[test]
    fn a_ratio_is_that_of_each_round_and_not_of_the_medians() {
        let (nginx, gateway) = (row("nginx", &[100, 200, 400]), row("gateway", &[100, 300, 400]));
        assert_eq!(gateway.ratio(&nginx), Spread { median: 1.0, low: 1.0, high: 1.5 });
        assert_eq!(nginx.per_second(), Spread { median: 200.0, low: 100.0, high: 400.0 });
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()).median, 2.5);
        assert_eq!(Spread::of(std::iter::empty()).median, 0.0);
    }

    #[test]
    fn processor_time_is_by_request() {
        assert_eq!(row("x", &[100, 300]).cpu_microseconds(), 30.0);
        assert_eq!(row("x", &[]).cpu_microseconds(), 0.0);
    }

    #[test]
    fn what_the_client_prints_is_a_load() {
        let text = r#"{"failed":0,"p50_us":1,"p99_us":2,"requests":3,"seconds":0.5}"#;
        assert_eq!(serde_json::from_str::<Load>(text).unwrap().requests, 3);
    }
}
