//! How long one pass over a very large fleet takes, and what a status costs for each group in fleets of several sizes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rayfleet_api::{GroupName, RayClusterFleetStatus};
use rayfleet_core::observed::ObservedGroup;
use rayfleet_core::{Decision, ReconcileInput, decide, max_write_delay};

use crate::fleet::{Bounds, fleet, now, observed, serving};

const GROUPS: usize = 1_000;
const NODES: usize = 12_500;
const EACH: usize = 12;
const RUNS: usize = 21;

pub(crate) fn print() {
    let bounds = Bounds { replicas: GROUPS, surge: 1, unavailable: 0 };
    let before = fleet(bounds, EACH, "ray:1", &[]);
    let after = fleet(bounds, EACH, "ray:2", &[]);
    let (status, capacity) = serving(&before, NODES - GROUPS * EACH);
    let groups: BTreeMap<GroupName, ObservedGroup> =
        status.groups.iter().map(|group| (group.name.clone(), observed(&before, group))).collect();
    println!("One pass over {GROUPS} groups of {EACH} nodes on {NODES} nodes, {RUNS} runs:");
    for (what, fleet) in
        [("at rest", &before), ("first step of an upgrade, with a surge group placed", &after)]
    {
        let world = ReconcileInput {
            fleet,
            stable: Some(&before),
            held: None,
            failed_writes: &[],
            status: &status,
            groups: &groups,
            capacity: Some(&capacity),
            now: now(),
        };
        let mut took: Vec<Duration> = (0..RUNS).map(|_| time(&world).0).collect();
        took.sort_unstable();
        let made = time(&world).1.status.groups.len() - GROUPS;
        let (median, worst) = (took[RUNS / 2], took[RUNS - 1]);
        println!("  {what}: median {median:.1?}, worst {worst:.1?}; {made} groups made");
    }
}

/// Time for each group of asking how soon a status is worth a write: the same in small and large fleets.
pub(crate) fn print_write_delay() {
    println!("How soon a status is worth a write, for each group, {RUNS} runs:");
    for replicas in [50, 100, 250, 500] {
        let bounds = Bounds { replicas, surge: 1, unavailable: 0 };
        let (status, _) = serving(&fleet(bounds, 2, "ray:1", &[]), 0);
        let mut next = status.clone();
        for group in &mut next.groups {
            group.message = Some("1 of 2 pods are ready".to_owned());
        }
        let mut took: Vec<Duration> = (0..RUNS).map(|_| write_delay(&status, &next)).collect();
        took.sort_unstable();
        let each = took[RUNS / 2] / u32::try_from(replicas).unwrap();
        println!("  {replicas} groups: median {each:.1?} each");
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn write_delay(before: &RayClusterFleetStatus, after: &RayClusterFleetStatus) -> Duration {
    let began = Instant::now();
    assert!(max_write_delay(before, before, after, &[]).is_some());
    began.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn time(world: &ReconcileInput<'_>) -> (Duration, Decision) {
    let began = Instant::now();
    let decision = decide(world);
    (began.elapsed(), decision)
}
