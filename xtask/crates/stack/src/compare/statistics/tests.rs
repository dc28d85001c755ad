use proptest::prelude::*;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::*;

const LIMITS: Limits = Limits { share: 0.1, floor: 0.0, more_is_better: false };
const DOUBT: f64 = 0.05;

fn of(pairs: &[(f64, f64)]) -> Compared {
    compare(pairs, &LIMITS, DOUBT).unwrap()
}

/// Before it is 100 with some noise, afterwards `factor` times as much with another.
fn rounds(factor: f64) -> Vec<(f64, f64)> {
    [(98.0, 101.0), (102.0, 99.0), (100.0, 100.0), (99.0, 100.0), (101.0, 98.0), (100.0, 102.0)]
        .map(|(before, after)| (before, after * factor))
        .to_vec()
}

#[test]
fn student_t_is_that_of_a_library() {
    for degrees in (1..=60).chain([200, 1000]) {
        let oracle = StudentsT::new(0.0, 1.0, f64::from(degrees)).unwrap();
        for probability in [0.5, 0.6, 0.9, 0.95, 0.975, 0.995, 0.9995, 0.999_95] {
            let (own, theirs) = (student_t(probability, degrees), oracle.inverse_cdf(probability));
            assert!((own - theirs).abs() < 1e-6 * theirs.max(1.0), "{probability} {degrees}: {own} {theirs}");
        }
    }
    // As printed in every table.
    assert!((student_t(0.975, 3) - 3.182).abs() < 0.001);
}

#[test]
fn noise_is_no_difference_and_a_third_more_is_worse() {
    assert_eq!(of(&rounds(1.0)).verdict, Verdict::NoDifference);
    let worse = of(&rounds(1.3));
    assert_eq!(worse.verdict, Verdict::Worse);
    assert!(worse.low > 0.1 && worse.low < 0.3 && worse.high > 0.3, "{worse:?}");
    assert_eq!(of(&rounds(1.0 / 1.3)).verdict, Verdict::Better);
}

#[test]
fn of_requests_a_second_more_is_better() {
    let more = Limits { more_is_better: true, ..LIMITS };
    let verdict = |factor| compare(&rounds(factor), &more, DOUBT).unwrap().verdict;
    assert_eq!((verdict(1.3), verdict(1.0 / 1.3)), (Verdict::Better, Verdict::Worse));
}

#[test]
fn a_change_below_the_limit_or_below_the_floor_is_no_difference_however_sure_it_is() {
    let pairs = [(100.0, 109.0); 4];
    assert_eq!(of(&pairs).verdict, Verdict::NoDifference);
    let pairs = [(100.0, 130.0); 4];
    assert_eq!(of(&pairs).verdict, Verdict::Worse);
    let limits = Limits { floor: 30.1, ..LIMITS };
    assert_eq!(compare(&pairs, &limits, DOUBT).unwrap().verdict, Verdict::NoDifference);
}

#[test]
fn an_interval_that_reaches_back_over_the_limit_is_no_difference() {
    let wild = [(100.0, 105.0), (100.0, 200.0), (100.0, 110.0), (100.0, 160.0)];
    let compared = of(&wild);
    assert!(compared.change > 0.3 && compared.low < 0.1, "{compared:?}");
    assert_eq!(compared.verdict, Verdict::NoDifference);
    assert!(compared.smallest.unwrap() > 0.5, "so noisy a run sees only large changes: {compared:?}");
}

#[test]
fn the_smallest_visible_change_grows_with_the_noise_and_is_never_below_the_limit() {
    let calm = compare(&[(100.0, 100.0), (100.0, 101.0), (100.0, 100.0)], &LIMITS, DOUBT).unwrap();
    assert!(
        calm.smallest.unwrap() >= 0.1 && calm.smallest < of(&[(100.0, 90.0), (100.0, 110.0), (100.0, 99.0)]).smallest
    );
    assert!((of(&[(5.0, 5.0); 3]).smallest.unwrap() - 0.1).abs() < 1e-9, "without noise it is the limit");
    let floor = Limits { floor: 50.0, ..LIMITS };
    assert!((compare(&[(100.0, 100.0); 3], &floor, DOUBT).unwrap().smallest.unwrap() - 0.5).abs() < 1e-9);
    let more = Limits { floor: 150.0, more_is_better: true, ..LIMITS };
    assert_eq!(compare(&[(100.0, 100.0); 3], &more, DOUBT).unwrap().smallest, None, "it cannot fall by more than all");
}

#[test]
fn what_was_not_there_before_is_seen_and_next_to_nothing_is_not() {
    let limits = Limits { floor: 10.0, ..LIMITS };
    let verdict = |before, after| compare(&[(before, after); 3], &limits, DOUBT).unwrap().verdict;
    assert_eq!((verdict(0.0, 100.0), verdict(100.0, 0.0)), (Verdict::Worse, Verdict::Better));
    assert_eq!((verdict(0.0, 9.0), verdict(0.0, 0.0)), (Verdict::NoDifference, Verdict::NoDifference));
}

#[test]
fn one_round_says_nothing() {
    assert_eq!(compare(&[(1.0, 2.0)], &LIMITS, DOUBT), None);
    assert_eq!(compare(&[], &LIMITS, DOUBT), None);
}

/// Normal noise from a generator with a fixed seed: the test is the same every time.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn rounds(&mut self, count: usize, factor: f64, sigma: f64) -> Vec<(f64, f64)> {
        let mut one = |mean: f64| mean * (sigma * self.normal()).exp();
        (0..count).map(|_| (one(100.0), one(100.0 * factor))).collect()
    }
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say_and_the_smallest_change_is_seen_as_often() {
    let mut noise = Noise(7);
    let runs = 4000;
    for count in [4, 8] {
        let held = (0..runs).filter(|_| {
            let compared = of(&noise.rounds(count, 1.2, 0.05));
            compared.low < 0.2 && compared.high > 0.2
        });
        let share = held.count() as f64 / f64::from(runs);
        assert!((share - 0.95).abs() < 0.015, "{count} rounds: {share}");
    }
    // The mean of what runs said that they could see, done to others like them.
    let told = |noise: &mut Noise| of(&noise.rounds(8, 1.0, 0.03)).smallest.unwrap();
    let smallest = (0..runs).map(|_| told(&mut noise)).sum::<f64>() / f64::from(runs);
    let seen = (0..runs).filter(|_| of(&noise.rounds(8, 1.0 + smallest, 0.03)).verdict == Verdict::Worse);
    let share = seen.count() as f64 / f64::from(runs);
    assert!((0.8..0.97).contains(&share), "a change by {smallest} was seen in {share}");
}

proptest! {
    #[test]
    fn swapping_the_sets_swaps_the_verdict(pairs in proptest::collection::vec((1.0..1e6_f64, 1.0..1e6_f64), 2..12)) {
        let swapped: Vec<_> = pairs.iter().map(|(before, after)| (*after, *before)).collect();
        let (one, other) = (of(&pairs), of(&swapped));
        let opposite = match one.verdict {
            Verdict::Better => Verdict::Worse,
            Verdict::Worse => Verdict::Better,
            Verdict::NoDifference => Verdict::NoDifference,
        };
        prop_assert_eq!(other.verdict, opposite);
        // Nearer to −1 a share has lost the digits that this would need.
        if one.low > -0.99 {
            prop_assert!(((1.0 + one.low) * (1.0 + other.high) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn the_unit_does_not_matter(pairs in proptest::collection::vec((1.0..1e3_f64, 1.0..1e3_f64), 2..12), unit in 0.001..1000.0_f64) {
        let other: Vec<_> = pairs.iter().map(|(before, after)| (before * unit, after * unit)).collect();
        let (one, other) = (of(&pairs), of(&other));
        prop_assert!((one.change - other.change).abs() < 1e-6 * one.change.abs().max(1.0));
        prop_assert_eq!(one.verdict, other.verdict);
    }

    #[test]
    fn a_verdict_needs_the_whole_interval_beyond_the_limit(pairs in proptest::collection::vec((1.0..100.0_f64, 1.0..100.0_f64), 2..12)) {
        let compared = of(&pairs);
        prop_assert!(compared.low <= compared.change && compared.change <= compared.high);
        match compared.verdict {
            Verdict::Worse => prop_assert!(compared.low > 0.1),
            Verdict::Better => prop_assert!(1.0 / (1.0 + compared.high) > 1.1),
            Verdict::NoDifference => prop_assert!(compared.low <= 0.1 && 1.0 / (1.0 + compared.high) <= 1.1),
        }
    }
}
