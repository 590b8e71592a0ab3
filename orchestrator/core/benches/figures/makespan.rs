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
    let pace =
        Pace { pods: second(PODS), start: second(START), drain: second(DRAIN), end: second(END), seen: true };
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
    u64::try_from(forecast.seconds).unwrap()
}

/// A lower bound. What starts and what drains are together no more than surge and unavailability allow; what
/// starts, drains or ends are no more than spare room and unavailability allow. So every start and every end is a
/// job for one of so many machines.
fn least(bounds: Bounds, spare: usize) -> u64 {
    let by_promise = pack(bounds.replicas, bounds.surge + bounds.unavailable, PODS + START, DRAIN, 0);
    // The last ends need not be waited for: the rollout is complete without them.
    let machines = spare + bounds.unavailable;
    let by_room = pack(bounds.replicas, machines, PODS + START, DRAIN + END, END);
    by_promise.max(by_room)
}

/// The shortest schedule of `jobs` jobs of each of two lengths on so many machines, each of which may be `early`
/// at its end.
fn pack(jobs: usize, machines: usize, one: u64, other: u64, early: u64) -> u64 {
    let lengths = (0..=jobs).flat_map(|a| (0..=jobs).map(move |b| (a, b)));
    let number = |count: usize| u64::try_from(count).unwrap();
    let mut candidates: Vec<u64> =
        lengths.map(|(a, b)| (number(a) * one + number(b) * other).saturating_sub(early)).collect();
    candidates.sort_unstable();
    candidates.dedup();
    let fits = |within: u64| {
        // For each number of jobs of the one kind so far, the most of the other kind.
        let mut most: Vec<Option<usize>> = vec![None; jobs + 1];
        most[0] = Some(0);
        for _ in 0..machines {
            let before = most.clone();
            for (done, others) in before.iter().enumerate() {
                let Some(others) = others else { continue };
                for a in 0..=jobs - done {
                    let Some(left) = (within + early).checked_sub(number(a) * one) else { break };
                    let b = usize::try_from(left / other.max(1)).unwrap();
                    let entry = &mut most[done + a];
                    *entry = (*entry).max(Some((others + b).min(jobs)));
                }
            }
        }
        most[jobs] == Some(jobs)
    };
    candidates.into_iter().find(|within| fits(*within)).unwrap_or(u64::MAX)
}
