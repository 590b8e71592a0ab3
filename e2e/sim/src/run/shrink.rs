//! Reduces a failing run: fewer faults, then fewer steps, as long as it still fails.

use std::collections::BTreeSet;

use super::faults::Plan;
use super::scenario::{Scenario, Step};

/// The failures of a run, without numbers and names: a smaller run fails in the same way if it has one of
/// these in common.
pub fn kinds(failures: &[String]) -> BTreeSet<String> {
    let is_word = |word: &&str| !word.contains(|c: char| c.is_ascii_digit() || "/:,-".contains(c));
    failures
        .iter()
        .map(|failure| failure.split(' ').filter(is_word).take(3).collect::<Vec<_>>().join(" "))
        .collect()
}

/// The smallest scenario and plan found for which `fails` still holds.
pub fn shrink(
    scenario: &Scenario,
    plan: &Plan,
    fails: impl Fn(&Scenario, &Plan) -> bool,
) -> (Scenario, Plan) {
    let faults = fewer(&plan.0, |faults| fails(scenario, &Plan(faults.to_vec())));
    let plan = Plan(faults);
    let steps = fewer(&scenario.steps, |steps: &[Step]| fails(&with(scenario, steps), &plan));
    (with(scenario, &steps), plan)
}

fn with(scenario: &Scenario, steps: &[Step]) -> Scenario {
    Scenario { steps: steps.to_vec(), ..scenario.clone() }
}

/// Removes items that are not needed, one by one, from the end.
fn fewer<T: Clone>(all: &[T], fails: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut left = all.to_vec();
    for index in (0..all.len()).rev() {
        let mut without = left.clone();
        without.remove(index);
        if fails(&without) {
            left = without;
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_matched_without_numbers_and_names() {
        let kinds = |failure: &str| kinds(&[failure.to_owned()]);
        let here = kinds("2 writes at rest: update RayClusterFleet/status light; create Event GroupReady");
        assert_eq!(here, kinds("1 writes at rest: update RayClusterFleet/status light"));
        assert_ne!(here, kinds("no request was answered"));
        assert_eq!(
            kinds("4 groups exist, at most 3 allowed: light-a-0, light-a-1, light-a-2, light-a-3"),
            kinds("3 groups exist, at most 2 allowed: light-b-0, light-a-1, light-c-2")
        );
    }

    #[test]
    fn only_needed_items_are_left() {
        let all = [1, 2, 3, 4, 5];
        assert_eq!(fewer(&all, |left| left.contains(&2) && left.contains(&4)), [2, 4]);
        assert_eq!(fewer(&all, |_| true), Vec::<i32>::new());
        assert_eq!(fewer(&all, |left| left.len() == 5), all);
    }
}
