//! How long a rollout takes, against the least that any planner could need with the same promises.

use std::time::Duration;

use rayfleet_core::forecast::{Outcome, Pace, Question, forecast};

use crate::fleet::{Bounds, fleet, now, serving};

/// Seconds that things take: loading is most of it, as with large models.
const PODS: u64 = 60;
const START: u64 = 600;
const DRAIN: u64 = 120;
const END: u64 = 30;

pub(crate) fn print() {
    println!("Upgrade of all groups: pods {PODS} s, engine {START} s, drain {DRAIN} s, pods' end {END} s");
    println!("groups  surge  unavailable  spare groups  seconds  at least  ratio");
    let mut worst: f64 = 0.0;
    for replicas in [1, 2, 4, 8, 16] {
        for (surge, unavailable, spare) in [
            (1, 0, 1),
            (2, 0, 2),
            (0, 1, 0),
            (1, 1, 1),
            (1, 1, 0),
            (2, 1, 2),
            (2, 2, 1),
            (0, 2, 0),
            (4, 0, 2),
        ] {
            let bounds = Bounds { replicas, surge, unavailable };
            let took = upgrade(bounds, spare);
            let least = least(bounds, spare);
            let ratio = seconds(took) / seconds(least);
            worst = worst.max(ratio);
            println!(
                "{replicas:>6}  {surge:>5}  {unavailable:>11}  {spare:>12}  {took:>7}  {least:>8}  {ratio:>5.3}"
            );
        }
    }
    println!("worst ratio: {worst:.3}");
}

fn seconds(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}

/// Seconds until an upgrade of all groups is complete.
fn upgrade(bounds: Bounds, spare: usize) -> u64 {
    let before = fleet(bounds, 2, "ray:1", &[]);
    let after = fleet(bounds, 2, "ray:2", &[]);
    let (status, capacity) = serving(&before, 2 * spare);
    let second = Duration::from_secs;
    let pace = Pace {
        pods: second(PODS),
        start: second(START),
        drain: second(DRAIN),
        stop: Duration::ZERO,
        end: second(END),
        observed: true,
        observed_end: true,
    };
    let question = Question {
        fleet: &after,
        stable: Some(&before),
        status: &status,
        capacity: &capacity,
        pace,
        now: now(),
    };
    let forecast = forecast(&question);
    assert_eq!(forecast.outcome, Outcome::Complete, "{bounds:?}, {spare} spare");
    // The last event: what ends after it holds nothing up.
    forecast.moments.last().map_or(0, |last| u64::try_from(last.seconds).unwrap())
}

/// The least that any planner needs. The k-th group may drain once all but `unavailable` of those before it have a successor
/// that serves, and the k-th successor may start once all but `surge` of those that drained before, and for room all but
/// `spare + unavailable` of them, are gone. As all starts take the same time, and all drains, doing each as early as it may be
/// is best.
fn least(bounds: Bounds, spare: usize) -> u64 {
    let Bounds { replicas, surge, unavailable } = bounds;
    let free = surge.min(spare);
    // When the k-th start and the k-th drain begin. Which is known first is a matter of `free` and `unavailable`.
    let (mut starts, mut drains): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
    while starts.len() < replicas || drains.len() < replicas {
        let served =
            drains.len().checked_sub(unavailable).map(|at| starts.get(at).map(|start| start + PODS + START));
        let gone = starts.len().checked_sub(free).map(|at| drains.get(at).map(|drain| drain + DRAIN + END));
        let (drain, start) = (served.unwrap_or(Some(0)), gone.unwrap_or(Some(0)));
        match (drain.filter(|_| drains.len() < replicas), start.filter(|_| starts.len() < replicas)) {
            (Some(drain), _) => drains.push(drain),
            (None, Some(start)) => starts.push(start),
            (None, None) => unreachable!("the fleet cannot be upgraded: {bounds:?}, {spare} spare"),
        }
    }
    // The last ends need not be waited for: the rollout is complete without them.
    let ready = starts.last().map_or(0, |start| start + PODS + START);
    ready.max(drains.last().map_or(0, |drain| drain + DRAIN))
}
