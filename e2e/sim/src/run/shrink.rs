//! Makes a failing run smaller: fewer faults, then fewer steps, as long as it still fails.

use super::faults::Plan;
use super::scenario::{Scenario, Step};

/// The smallest scenario and plan that were found for which `fails` still holds.
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

/// Leaves out one after the other, from the end, what is not needed.
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
    fn only_what_is_needed_is_left() {
        let all = [1, 2, 3, 4, 5];
        assert_eq!(fewer(&all, |left| left.contains(&2) && left.contains(&4)), [2, 4]);
        assert_eq!(fewer(&all, |_| true), Vec::<i32>::new());
        assert_eq!(fewer(&all, |left| left.len() == 5), all);
    }
}
