//! A number over the rounds.

use serde::Serialize;

/// The middle and the extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// The spread of some numbers.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self { median, least: at(0), most: at(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_told_whatever_the_order() {
        let spread = Spread::of(vec![0.7, 0.5, 0.6]);
        assert_eq!(spread, Spread { median: 0.6, least: 0.5, most: 0.7 });
        assert_eq!(Spread::of(vec![3.0, 1.0]).median, 2.0);
    }
}
