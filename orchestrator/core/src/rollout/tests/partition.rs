//! A canary: the groups of the partition stay on the last complete revision, whatever happens.

use super::sim::{Pace, Sim};
use super::sim_group::Fault;
use crate::testing::fleet;

const PACE: Pace = Pace { pods: 2, load: 3, end: 2, request: 4 };

/// Three groups, two of which stay on the first revision, with room for one more.
fn canary() -> Sim {
    let mut fleet = fleet(3);
    fleet.strategy.max_unavailable = 1;
    let mut sim = Sim::new(fleet, 4, PACE);
    sim.settle();
    sim.fleet.strategy.partition = 2;
    sim.change(|fleet| fleet.revision.pod = "pods2".into());
    sim.settle();
    sim.watch();
    sim
}

/// Slot, pod revision and engine revision of each group.
fn revisions(sim: &Sim) -> Vec<(u32, &str, &str)> {
    let groups = sim.status.groups.iter();
    groups
        .map(|group| {
            (group.slot, group.revision.as_str(), group.engine_revision.as_deref().unwrap_or_default())
        })
        .collect()
}

fn count(sim: &Sim, pods: &str) -> usize {
    sim.status.groups.iter().filter(|group| group.revision == pods).count()
}

#[test]
fn a_kept_group_that_is_lost_is_recreated_with_the_old_revision() {
    let mut sim = canary();
    assert_eq!((count(&sim, "pods1"), count(&sim, "pods2")), (2, 1));
    sim.hit(0, Fault::ClusterDeleted);
    sim.settle();
    assert_eq!((count(&sim, "pods1"), count(&sim, "pods2")), (2, 1));
    // Its own slot is in use until its pods have ended.
    assert!(sim.names().contains(&"llama-pods1-2"), "{:?}", sim.names());
}

#[test]
fn a_lost_canary_is_recreated_with_the_new_revision() {
    let mut sim = canary();
    let canary = sim.groups.keys().position(|name| name.contains("pods2")).unwrap();
    sim.hit(canary, Fault::ClusterDeleted);
    sim.settle();
    assert_eq!((count(&sim, "pods1"), count(&sim, "pods2")), (2, 1));
}

#[test]
fn additional_replicas_have_the_new_revision() {
    let mut sim = canary();
    sim.change(|fleet| fleet.replicas = 4);
    sim.settle();
    assert_eq!((count(&sim, "pods1"), count(&sim, "pods2")), (2, 2));
}

#[test]
fn scaling_down_removes_the_canary_first() {
    let mut sim = canary();
    sim.change(|fleet| fleet.replicas = 2);
    sim.settle();
    assert_eq!((count(&sim, "pods1"), count(&sim, "pods2")), (2, 0));
}

#[test]
fn a_partition_of_all_groups_keeps_and_repairs_them() {
    let mut sim = canary();
    sim.change(|fleet| {
        fleet.strategy.partition = 3;
        fleet.revision.pod = "pods3".into();
    });
    sim.settle();
    sim.hit(0, Fault::ClusterDeleted);
    sim.settle();
    assert_eq!(count(&sim, "pods3"), 0);
    assert_eq!(sim.status.ready_replicas, 3);
}

#[test]
fn an_engine_is_kept_like_pods() {
    let mut fleet = fleet(2);
    fleet.strategy.max_unavailable = 1;
    let mut sim = Sim::new(fleet, 3, PACE);
    sim.settle();
    sim.fleet.strategy.partition = 1;
    sim.change(|fleet| fleet.revision.engine = Some("eng2".into()));
    sim.settle();
    assert_eq!(revisions(&sim), [(0, "pods1", "eng1"), (1, "pods1", "eng2")]);
    sim.hit(0, Fault::ClusterDeleted);
    sim.settle();
    assert_eq!(revisions(&sim), [(1, "pods1", "eng2"), (2, "pods1", "eng1")]);
}

#[test]
fn without_a_history_a_missing_group_has_the_new_revision() {
    let mut sim = canary();
    sim.history_lost = true;
    sim.hit(0, Fault::ClusterDeleted);
    sim.settle();
    assert_eq!((count(&sim, "pods1"), count(&sim, "pods2")), (1, 2));
}

#[test]
fn a_new_fleet_has_no_older_revision_to_keep() {
    let mut fleet = fleet(2);
    fleet.strategy.partition = 1;
    let mut sim = Sim::new(fleet, 2, PACE);
    sim.settle();
    assert_eq!(count(&sim, "pods1"), 2);
}
