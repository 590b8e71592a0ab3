//! History of a Service's ready addresses, for questions asked afterwards. Pure functions.

use std::collections::BTreeSet;

/// Longest time until all nodes have programmed a change of the endpoints.
pub const PROGRAMMED: f64 = 5.0;

/// Observations in order of time. Times are in seconds since a common start.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    seen: Vec<(f64, BTreeSet<String>)>,
}

impl Addresses {
    /// Records the addresses that are ready from `at` on.
    pub fn note(&mut self, at: f64, ready: BTreeSet<String>) {
        if self.seen.last().is_none_or(|(_, last)| *last != ready) {
            self.seen.push((at, ready));
        }
    }

    /// Time from which no request could reach an address any more that was removed after `from`; `None` if
    /// it still can.
    pub fn let_go(&self, address: &str, from: f64) -> Option<f64> {
        let ends = self.seen.iter().skip(1).map(|(at, _)| *at).chain([f64::INFINITY]);
        let mut spans = self.seen.iter().zip(ends).filter(|(_, end)| *end > from);
        let without = spans.find(|((_, ready), _)| !ready.contains(address));
        without.map(|((at, _), _)| at.max(from) + PROGRAMMED)
    }

    /// Whether a request that started at `at` may have found no address: none was ready, or only just
    /// became so.
    pub fn may_be_empty(&self, at: f64) -> bool {
        let ends = self.seen.iter().skip(1).map(|(at, _)| *at).chain([f64::INFINITY]);
        let spans = self.seen.iter().zip(ends);
        self.seen.first().is_none_or(|(first, _)| at < first + PROGRAMMED)
            || spans
                .filter(|((_, ready), _)| ready.is_empty())
                .any(|((started, _), end)| at >= *started && at <= end + PROGRAMMED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(seen: &[(f64, &[&str])]) -> Addresses {
        let mut addresses = Addresses::default();
        for (at, ready) in seen {
            addresses.note(*at, ready.iter().map(|ip| (*ip).to_owned()).collect());
        }
        addresses
    }

    #[test]
    fn an_address_is_released_when_it_is_removed_after_the_death() {
        let seen = addresses(&[(0.0, &["a"]), (10.0, &["a", "b"]), (30.0, &["b"]), (50.0, &["a", "b"])]);
        assert_eq!(seen.let_go("a", 20.0), Some(35.0));
        assert_eq!(seen.let_go("a", 40.0), Some(45.0));
        assert_eq!(seen.let_go("a", 60.0), None);
        assert_eq!(seen.let_go("c", 60.0), Some(65.0));
    }

    #[test]
    fn no_address_is_ready_before_the_first_and_in_gaps() {
        let seen = addresses(&[(0.0, &[]), (10.0, &["a"]), (40.0, &[]), (60.0, &["b"])]);
        for (at, empty) in
            [(5.0, true), (14.0, true), (20.0, false), (41.0, true), (64.0, true), (66.0, false)]
        {
            assert_eq!(seen.may_be_empty(at), empty, "{at}");
        }
        assert!(addresses(&[]).may_be_empty(3.0));
    }
}
