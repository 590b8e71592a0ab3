//! How long one pass over a very large fleet takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rayfleet_core::seen::GroupSeen;
use rayfleet_core::{Decision, World, decide};

use crate::fleet::{Bounds, fleet, now, seen, serving};

const GROUPS: usize = 1_000;
const NODES: usize = 12_500;
const EACH: usize = 12;
const RUNS: usize = 21;

pub(crate) fn print() {
    let bounds = Bounds { replicas: GROUPS, surge: 1, unavailable: 0 };
    let before = fleet(bounds, EACH, "ray:1", &[]);
    let after = fleet(bounds, EACH, "ray:2", &[]);
    let (status, capacity) = serving(&before, NODES - GROUPS * EACH);
    let groups: BTreeMap<String, GroupSeen> =
        status.groups.iter().map(|group| (group.name.clone(), seen(&before, group))).collect();
    println!("One pass over {GROUPS} groups of {EACH} nodes on {NODES} nodes, {RUNS} runs:");
    for (what, fleet) in
        [("at rest", &before), ("first step of an upgrade, with a surge group placed", &after)]
    {
        let world = World {
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

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn time(world: &World<'_>) -> (Duration, Decision) {
    let began = Instant::now();
    let decision = decide(world);
    (began.elapsed(), decision)
}
