//! A histogram of Prometheus as it stands at one moment, what came in between two of them, and quantiles of that.

use crate::text::Sample;

/// Most buckets that are kept: vLLM's histograms have a few dozen.
const MOST: usize = 128;

/// Counts up to bounds. Of several label sets the counts are added up.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Bounds in ascending order, each with what lies below it.
    buckets: Vec<(f64, f64)>,
}

/// Where a quantile lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantile {
    /// About here, in the unit of the histogram.
    At(f64),
    /// Above the largest bound, which is this.
    Above(f64),
}

impl Histogram {
    /// Adds a sample of the series `NAME_bucket`. One without a bound or a count is left out, and so is a bound beyond the first 128.
    pub fn add(&mut self, sample: Sample<'_>) {
        let bound = sample.labels.get("le").and_then(|bound| bound.parse::<f64>().ok());
        let Some(bound) = bound.filter(|bound| !bound.is_nan()) else { return };
        if !sample.value.is_finite() || sample.value < 0.0 {
            return;
        }
        match self.buckets.binary_search_by(|(other, _)| other.total_cmp(&bound)) {
            Ok(at) => {
                if let Some((_, count)) = self.buckets.get_mut(at) {
                    *count = (*count + sample.value).min(f64::MAX);
                }
            }
            Err(at) if self.buckets.len() < MOST => self.buckets.insert(at, (bound, sample.value)),
            Err(_) => {}
        }
    }

    /// What came in since an earlier moment; `None` if it counts less than then: its process began again.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let before = |bound: f64| {
            let found = earlier.buckets.binary_search_by(|(other, _)| other.total_cmp(&bound)).ok();
            found.and_then(|at| earlier.buckets.get(at)).map_or(0.0, |(_, count)| *count)
        };
        let new = self.buckets.iter().map(|(bound, count)| (*bound, count - before(*bound)));
        let buckets: Vec<(f64, f64)> = new.collect();
        let lost = self.buckets.is_empty() && !earlier.buckets.is_empty();
        let fell = buckets.iter().any(|(_, count)| *count < 0.0);
        (!lost && !fell).then_some(Self { buckets })
    }

    /// How many values it has.
    pub fn count(&self) -> f64 {
        self.buckets.iter().map(|(_, count)| *count).fold(0.0, f64::max)
    }

    /// The value that a share, 0 to 1, of all lies below, by a straight line within its bucket, as Prometheus' `histogram_quantile`
    /// has it. `None` without values.
    pub fn quantile(&self, share: f64) -> Option<Quantile> {
        let wanted = self.count() * share.clamp(0.0, 1.0);
        if self.count() <= 0.0 || wanted.is_nan() {
            return None;
        }
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= wanted && *count > below {
                let part = (wanted - below) / (count - below);
                // Not finite in the last bucket, which has no bound.
                let at = low + (bound - low) * part.clamp(0.0, 1.0);
                return Some(if at.is_finite() { Quantile::At(at) } else { Quantile::Above(low) });
            }
            if bound.is_finite() {
                (low, below) = (*bound, count.max(below));
            }
        }
        Some(Quantile::Above(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::samples;

    fn of(buckets: &[(&str, f64)]) -> Histogram {
        let mut histogram = Histogram::default();
        for (bound, count) in buckets {
            let line = format!("a_bucket{{le=\"{bound}\"}} {count}");
            samples(line.as_bytes(), &["a_bucket"]).for_each(|sample| histogram.add(sample));
        }
        histogram
    }

    #[test]
    fn a_quantile_lies_within_its_bucket() {
        let all = of(&[("1", 2.0), ("2", 6.0), ("4", 10.0), ("+Inf", 10.0)]);
        assert_eq!(all.quantile(0.1), Some(Quantile::At(0.5)));
        assert_eq!(all.quantile(0.5), Some(Quantile::At(1.75)));
        assert_eq!(all.quantile(1.0), Some(Quantile::At(4.0)));
        assert_eq!(of(&[("1", 1.0), ("+Inf", 4.0)]).quantile(0.9), Some(Quantile::Above(1.0)));
        assert_eq!(of(&[("+Inf", 4.0)]).quantile(0.5), Some(Quantile::Above(0.0)));
        assert_eq!(of(&[("1", 0.0), ("+Inf", 0.0)]).quantile(0.5), None);
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(all.quantile(f64::NAN), None);
    }

    #[test]
    fn only_what_came_in_since_counts() {
        let before = of(&[("1", 100.0), ("2", 100.0), ("+Inf", 100.0)]);
        let now = of(&[("1", 100.0), ("2", 104.0), ("+Inf", 104.0)]);
        let new = now.since(&before).unwrap();
        assert_eq!((new.count(), new.quantile(0.5)), (4.0, Some(Quantile::At(1.5))));
        assert_eq!(before.since(&now), None, "its process began again");
        assert_eq!(Histogram::default().since(&before), None);
        assert_eq!(now.since(&now).unwrap().quantile(0.5), None, "nothing came in");
    }

    #[test]
    fn counts_of_several_cores_are_added_up_and_what_is_none_is_left_out() {
        let histogram = of(&[
            ("2", 1.0),
            ("1", 1.0),
            ("2", 3.0),
            ("NaN", 7.0),
            ("x", 7.0),
            ("3", f64::NAN),
            ("3", -1.0),
            ("3", f64::INFINITY),
        ]);
        assert_eq!(histogram, of(&[("1", 1.0), ("2", 4.0)]));
        let many: Vec<(String, f64)> = (0..1_000).map(|bound| (bound.to_string(), 1.0)).collect();
        let many: Vec<(&str, f64)> = many.iter().map(|(bound, count)| (bound.as_str(), *count)).collect();
        assert_eq!(of(&many).buckets.len(), MOST);
    }

    #[test]
    fn counts_that_are_no_histogram_give_a_number_or_none() {
        let falling = of(&[("1", 9.0), ("2", 3.0), ("+Inf", 5.0)]);
        for share in [0.0, 0.5, 0.99, 1.0] {
            assert!(matches!(falling.quantile(share), Some(Quantile::At(at)) if at <= 1.0), "{share}");
        }
        let huge = of(&[("1e308", f64::MAX), ("+Inf", f64::MAX)]);
        assert!(huge.quantile(0.5).is_some());
        assert_eq!(of(&[("-Inf", 1.0), ("-1", 2.0)]).quantile(0.9), Some(Quantile::At(-0.9)));
    }
}
