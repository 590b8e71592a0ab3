//! Medians and other figures of many.

use serde::Serialize;

/// What is shown of many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of these; `None` of none.
    pub(crate) fn of(mut seconds: Vec<f64>) -> Option<Self> {
        seconds.sort_by(f64::total_cmp);
        let at =
            |percent: usize| seconds.get((seconds.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { median: at(50)?, p99: at(99)?, most: at(100)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let all = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Spread::of(all), Some(Spread { median: 100.0, p99: 198.0, most: 200.0 }));
        assert_eq!(Spread::of(vec![3.0]), Some(Spread { median: 3.0, p99: 3.0, most: 3.0 }));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
