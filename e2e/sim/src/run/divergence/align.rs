//! Alignment of two sequences with the smallest possible unmatched part. Pure functions.

use std::time::Duration;

use super::LOOK;

/// An entry and how long it lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lasted {
    pub(super) what: String,
    pub(super) length: Duration,
}

impl Lasted {
    /// Whether it was too short to be observed reliably.
    fn passing(&self) -> bool {
        self.length < LOOK
    }
}

/// Indices of the entries without a counterpart that lasted long enough to be observed: in the first, and
/// in the second sequence.
pub(super) fn unmatched(one: &[Lasted], other: &[Lasted]) -> (Vec<usize>, Vec<usize>) {
    let cost = |list: &[Lasted], at: usize| u32::from(!may_miss(list, at));
    // best[i][j]: least cost of aligning what follows the first i entries of one and the first j of the
    // other.
    let mut best = vec![vec![0_u32; other.len() + 1]; one.len() + 1];
    let of = |best: &[Vec<u32>], i: usize, j: usize| {
        best.get(i).and_then(|row| row.get(j)).copied().unwrap_or(u32::MAX)
    };
    let same = |i: usize, j: usize| match (one.get(i), other.get(j)) {
        (Some(a), Some(b)) => a.what == b.what,
        _ => false,
    };
    for i in (0..=one.len()).rev() {
        for j in (0..=other.len()).rev() {
            let skip_one = (i < one.len()).then(|| of(&best, i + 1, j) + cost(one, i));
            let skip_other = (j < other.len()).then(|| of(&best, i, j + 1) + cost(other, j));
            let both = same(i, j).then(|| of(&best, i + 1, j + 1));
            let least = [both, skip_one, skip_other].into_iter().flatten().min().unwrap_or_default();
            if let Some(entry) = best.get_mut(i).and_then(|row| row.get_mut(j)) {
                *entry = least;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
    while i < one.len() || j < other.len() {
        let here = of(&best, i, j);
        if same(i, j) && of(&best, i + 1, j + 1) == here {
            (i, j) = (i + 1, j + 1);
        } else if i < one.len() && of(&best, i + 1, j).saturating_add(cost(one, i)) == here {
            of_one.extend((!may_miss(one, i)).then_some(i));
            i += 1;
        } else {
            of_other.extend((!may_miss(other, j)).then_some(j));
            j += 1;
        }
    }
    (of_one, of_other)
}

/// Whether an entry may lack a counterpart: it was short, or it continues the entry before a short one.
fn may_miss(list: &[Lasted], at: usize) -> bool {
    let Some(entry) = list.get(at) else { return true };
    let mut before = list.get(..at).unwrap_or_default().iter().rev();
    let goes_on = before.find(|earlier| !earlier.passing() || earlier.what == entry.what);
    entry.passing() || at > 0 && goes_on.is_some_and(|earlier| earlier.what == entry.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(written: &[(&str, u64)]) -> Vec<Lasted> {
        let entry = |(what, seconds): &(&str, u64)| Lasted {
            what: (*what).to_owned(),
            length: Duration::from_secs(*seconds),
        };
        written.iter().map(entry).collect()
    }

    #[test]
    fn a_short_entry_may_be_missing_on_either_side() {
        let one =
            list(&[("Provisioning", 20), ("Placing", 9), ("Loading", 6), ("Probing", 0), ("Ready", 60)]);
        let other =
            list(&[("Provisioning", 40), ("Forming", 1), ("Placing", 5), ("Loading", 2), ("Ready", 90)]);
        assert_eq!(unmatched(&one, &other), (vec![], vec![]));
        assert_eq!(unmatched(&other, &one), (vec![], vec![]));
    }

    #[test]
    fn a_missing_long_entry_and_another_order_are_reported() {
        let one = list(&[("Ready", 20), ("Draining", 9), ("Stopping", 6)]);
        assert_eq!(unmatched(&one, &list(&[("Ready", 20), ("Stopping", 6)])), (vec![1], vec![]));
        assert_eq!(
            unmatched(&list(&[("Ready", 20), ("Stopping", 6)]), &list(&[("Ready", 20), ("Failed", 5)])),
            (vec![1], vec![1])
        );
        let (gone, new) = unmatched(&one, &list(&[("Ready", 20), ("Stopping", 6), ("Draining", 9)]));
        assert_eq!(gone.len() + new.len(), 2);
    }

    #[test]
    fn a_phase_with_a_short_interruption_counts_once() {
        let whole = list(&[("Loading", 20), ("Ready", 9)]);
        let broken = list(&[("Loading", 10), ("Failed", 1), ("Loading", 9), ("Ready", 9)]);
        assert_eq!(unmatched(&whole, &broken), (vec![], vec![]));
        let again = list(&[("Loading", 10), ("Failed", 8), ("Loading", 9), ("Ready", 9)]);
        assert_eq!(unmatched(&whole, &again).1.len(), 2);
    }
}
