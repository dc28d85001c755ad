//! Whether memory stays level: a straight line through samples, by least squares.

/// How a figure changes with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slope {
    /// Units of the figure a minute.
    pub(crate) per_minute: f64,
    /// The standard error of that, as if samples were independent of each other; those of a program's memory are not quite.
    pub(crate) error: f64,
}

impl Slope {
    /// Of samples, each at a time in seconds. None where three samples at different times are not there.
    pub(crate) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let count = samples.len() as f64;
        let freedom = samples.len().checked_sub(2).filter(|freedom| *freedom > 0)? as f64;
        let mean = |figure: fn(&(f64, f64)) -> f64| samples.iter().map(figure).sum::<f64>() / count;
        let (time, value) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let spread: f64 = samples.iter().map(|(at, _)| (at - time).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = samples.iter().map(|(at, figure)| (at - time) * (figure - value)).sum::<f64>() / spread;
        let left: f64 = samples.iter().map(|(at, figure)| (figure - value - slope * (at - time)).powi(2)).sum();
        Some(Self { per_minute: slope * 60.0, error: (left / freedom / spread).sqrt() * 60.0 })
    }

    /// Whether it is above the limit beyond doubt: by three standard errors.
    pub(crate) fn exceeds(self, limit_per_minute: f64) -> bool {
        self.per_minute - 3.0 * self.error > limit_per_minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that wavers by 16 up and down and grows by so much a minute, every five seconds of five minutes.
    fn samples(growth: f64) -> Vec<(f64, f64)> {
        let at = |number: u32| {
            let seconds = f64::from(number) * 5.0;
            (seconds, 8000.0 + growth * seconds / 60.0 + if number.is_multiple_of(2) { 16.0 } else { -16.0 })
        };
        (0..60).map(at).collect()
    }

    #[test]
    fn a_leak_is_found_and_a_wavering_level_is_none() {
        let (level, leak) = (Slope::of(&samples(0.0)).unwrap(), Slope::of(&samples(100.0)).unwrap());
        assert!(level.per_minute.abs() < 1.0 && level.error > 0.0 && !level.exceeds(64.0), "{level:?}");
        assert!((leak.per_minute - 100.0).abs() < 1.0 && leak.exceeds(64.0), "{leak:?}");
        assert!(!Slope::of(&samples(60.0)).unwrap().exceeds(64.0));
    }

    #[test]
    fn a_line_needs_samples_at_three_times() {
        assert_eq!(Slope::of(&[]), None);
        assert_eq!(Slope::of(&[(0.0, 1.0), (5.0, 2.0)]), None);
        assert_eq!(Slope::of(&[(5.0, 1.0); 9]), None);
    }

    #[test]
    fn an_exact_line_has_no_error() {
        let slope = Slope::of(&[(0.0, 1.0), (60.0, 3.0), (120.0, 5.0)]).unwrap();
        assert!((slope.per_minute - 2.0).abs() < 1e-9 && slope.error < 1e-9, "{slope:?}");
    }
}
