//! Comparing how long things took.
//!
//! Owns the statistics. Must not know what was timed.

use std::fmt;
use std::time::Duration;

/// Samples that are drawn anew from what was measured.
const RESAMPLES: usize = 1_000;

/// The value below which this share lies; zero of nothing.
pub fn quantile(of: &[Duration], share: f64) -> Duration {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

/// The ratio of two medians, and where it lies with a confidence of 95 % (percentile bootstrap).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// As measured.
    pub value: f64,
    /// Not below this.
    pub low: f64,
    /// Not above this.
    pub high: f64,
}

impl Ratio {
    /// How many times longer `one` takes than `other`.
    pub fn of(one: &[Duration], other: &[Duration], rng: &mut fastrand::Rng) -> Self {
        let ratio = |one: &[Duration], other: &[Duration]| {
            quantile(one, 0.5).as_secs_f64() / quantile(other, 0.5).as_secs_f64()
        };
        let mut drawn: Vec<f64> =
            (0..RESAMPLES).map(|_| ratio(&resampled(one, rng), &resampled(other, rng))).collect();
        drawn.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| drawn[(share * (RESAMPLES - 1) as f64).round() as usize];
        Self { value: ratio(one, other), low: at(0.025), high: at(0.975) }
    }

    /// Whether it is further from 1 than this, either way.
    pub fn is_beyond(self, factor: f64) -> bool {
        !(1.0 / factor..=factor).contains(&self.value)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} [{:.3}, {:.3}]", self.value, self.low, self.high)
    }
}

fn resampled(of: &[Duration], rng: &mut fastrand::Rng) -> Vec<Duration> {
    (0..of.len()).map(|_| of[rng.usize(..of.len())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(micros: u64, rng: &mut fastrand::Rng) -> Vec<Duration> {
        (0..200).map(|_| Duration::from_micros(micros + rng.u64(..20))).collect()
    }

    #[test]
    fn a_difference_is_told_from_none() {
        let mut rng = fastrand::Rng::with_seed(7);
        let (short, alike, long) =
            (around(100, &mut rng), around(100, &mut rng), around(200, &mut rng));
        let same = Ratio::of(&alike, &short, &mut rng);
        assert!(!same.is_beyond(1.1) && same.low <= 1.0 && same.high >= 1.0, "{same}");
        let twice = Ratio::of(&long, &short, &mut rng);
        assert!(twice.is_beyond(1.5) && twice.low > 1.5 && twice.high < 2.5, "{twice}");
        assert!(Ratio::of(&short, &long, &mut rng).is_beyond(1.5));
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let of: Vec<Duration> = (0..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&of, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&of, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
