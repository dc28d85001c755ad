//! What paired rounds say of a figure: pure functions, no clock, no file.
//!
//! In each round both sets are measured, one right after the other, so what the machine did meanwhile happened to both. The
//! logarithm of their ratio is one observation: a change by a factor, the same whichever side is the slower. The mean of these
//! has an interval by Student's t. A figure is worse only when the whole of that interval lies beyond the limit, and even its
//! nearer end is a change of more than the floor.

/// What a change of a figure has to be for anybody to care.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// A share: 0.1 is ten per cent.
    pub(super) share: f64,
    /// In the figure's own unit.
    pub(super) floor: f64,
    /// More of it is better, as of requests a second.
    pub(super) more_is_better: bool,
}

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Better,
    Worse,
    NoDifference,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::NoDifference => "no difference",
        }
    }
}

/// A figure of both sets. Changes are shares of what it was before: 0.3 is thirty per cent more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Compared {
    /// The geometric means.
    pub(super) before: f64,
    pub(super) after: f64,
    pub(super) change: f64,
    /// Both ends of the interval.
    pub(super) low: f64,
    pub(super) high: f64,
    /// The smallest change for the worse that such a run would call so nine times out of ten; none when no change could be.
    pub(super) smallest: Option<f64>,
    pub(super) verdict: Verdict,
}

/// How often the smallest visible change would be seen.
const POWER: f64 = 0.9;

/// Compares the figures of paired rounds, before and after. `doubt` is the share of all such intervals that may miss the truth.
/// None with fewer than two rounds.
pub(super) fn compare(pairs: &[(f64, f64)], limits: &Limits, doubt: f64) -> Option<Compared> {
    let degrees = u32::try_from(pairs.len()).ok()?.checked_sub(1).filter(|degrees| *degrees > 0)?;
    // What is below the floor is as good as the floor: a ratio of two figures that nobody cares about means nothing.
    let at_least = limits.floor.max(f64::MIN_POSITIVE);
    let pairs: Vec<_> = pairs.iter().map(|(before, after)| (before.max(at_least), after.max(at_least))).collect();
    let count = pairs.len() as f64;
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
    let base = mean(&mut pairs.iter().map(|(before, _)| before.ln()));
    let log = mean(&mut pairs.iter().map(|(before, after)| (after / before).ln()));
    let spread = pairs.iter().map(|(before, after)| ((after / before).ln() - log).powi(2)).sum::<f64>();
    let error = (spread / f64::from(degrees) / count).sqrt();
    let half = student_t(1.0 - doubt / 2.0, degrees) * error;
    let (low, high) = ((log - half).exp(), (log + half).exp());
    let before = base.exp();
    Some(Compared {
        before,
        after: (base + log).exp(),
        change: log.exp() - 1.0,
        low: low - 1.0,
        high: high - 1.0,
        smallest: smallest(before, limits, half + student_t(POWER, degrees) * error),
        verdict: verdict(before, low, high, limits),
    })
}

/// By the end of the interval that lies nearer to "as before".
fn verdict(before: f64, low: f64, high: f64, limits: &Limits) -> Verdict {
    let beyond =
        |ratio: f64| ratio.max(1.0 / ratio) > 1.0 + limits.share && before * (ratio - 1.0).abs() > limits.floor;
    let (more, less) =
        if limits.more_is_better { (Verdict::Better, Verdict::Worse) } else { (Verdict::Worse, Verdict::Better) };
    if low > 1.0 && beyond(low) {
        more
    } else if high < 1.0 && beyond(high) {
        less
    } else {
        Verdict::NoDifference
    }
}

/// The change for the worse whose interval, `reach` wide on the logarithmic scale, would lie beyond limit and floor.
fn smallest(before: f64, limits: &Limits, reach: f64) -> Option<f64> {
    let change = if limits.more_is_better {
        let left = (1.0 / (1.0 + limits.share)).min(1.0 - limits.floor / before);
        (left > 0.0).then(|| left / reach.exp() - 1.0)
    } else {
        Some((1.0 + limits.share).max(1.0 + limits.floor / before) * reach.exp() - 1.0)
    };
    change.filter(|change| change.is_finite())
}

/// The value that Student's t stays below with this probability (from one half on).
fn student_t(probability: f64, degrees: u32) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while below(high, degrees) < probability && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if below(middle, degrees) < probability { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The probability that Student's t is below `t`, which is not negative: for a whole number of degrees of freedom it is a finite
/// sum (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn below(t: f64, degrees: u32) -> f64 {
    let angle = (t / f64::from(degrees).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let is_odd = degrees % 2 == 1;
    let (mut term, mut sum) = if is_odd { (cosine, cosine) } else { (1.0, 1.0) };
    let mut power = if is_odd { 3 } else { 2 };
    while power < degrees {
        term *= cosine * cosine * f64::from(power - 1) / f64::from(power);
        sum += term;
        power += 2;
    }
    let within = match (is_odd, degrees) {
        (true, 1) => angle * std::f64::consts::FRAC_2_PI,
        (true, _) => (angle + sine * sum) * std::f64::consts::FRAC_2_PI,
        (false, _) => sine * sum,
    };
    f64::midpoint(1.0, within)
}

#[cfg(test)]
mod tests;
