//! A group that somebody wants replaced goes by the rules of a rollout, whatever its revision, a partition or a pause.

use rayfleet_api::ValidFleet;
use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, Phase};

use super::sim::{Pace, Sim};
use super::sim_group::Fault;
use crate::testing::fleet;

const PACE: Pace = Pace { pods: 2, load: 3, end: 2, request: 4 };

/// Two groups that serve, on nodes with room for `room`, of which the first is to be replaced.
fn asked(room: usize, edit: impl FnOnce(&mut ValidFleet)) -> Sim {
    let mut sim = Sim::new(fleet(2), room, PACE);
    sim.settle();
    sim.change(edit);
    sim.settle();
    sim.watch();
    sim.hit(0, Fault::Replaced);
    sim
}

fn settled(sim: &Sim) -> bool {
    sim.complete() && !sim.names().contains(&"llama-pods1-0") && sim.status.ready_replicas == 2
}

fn stalled(sim: &Sim) -> Option<&str> {
    let condition = sim.status.conditions.iter().find(|condition| condition.type_ == "Stalled")?;
    (condition.status == "True").then_some(condition.message.as_str())
}

#[test]
fn with_room_another_group_serves_before_it_goes() {
    for paused in [false, true] {
        let mut sim = asked(3, |fleet| fleet.paused = paused);
        sim.until("replaced", settled);
        assert_eq!((sim.fewest_ready, sim.most_groups), (2, 3), "paused: {paused}");
        assert_eq!(sim.names(), ["llama-pods1-1", "llama-pods1-2"]);
    }
}

#[test]
fn without_room_it_is_replaced_in_its_place_within_the_budget() {
    for surge in [0, 1] {
        let mut sim = asked(2, |fleet| {
            (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (surge, 1);
        });
        sim.until("replaced", settled);
        assert_eq!((sim.fewest_ready, sim.most_groups), (1, 2), "maxSurge: {surge}");
    }
}

#[test]
fn without_room_and_budget_it_stays_and_that_is_reported() {
    let mut sim = asked(2, |_| {});
    sim.ticks(60);
    assert_eq!((sim.status.ready_replicas, sim.names().len()), (2, 2));
    let said = stalled(&sim).unwrap();
    assert!(
        said.starts_with("no room for a surge group: set strategy.rollingUpdate.maxUnavailable: 1"),
        "{said}"
    );
    sim.add_nodes(2);
    sim.until("replaced", settled);
    assert_eq!(sim.fewest_ready, 2);
}

#[test]
fn one_that_the_partition_keeps_is_replaced_by_one_of_its_revision() {
    let mut sim = asked(4, |fleet| {
        (fleet.strategy.partition, fleet.strategy.max_unavailable) = (1, 1);
        fleet.revision.pod = "pods2".into();
    });
    let old = |sim: &Sim| {
        sim.names().into_iter().filter(|name| name.contains("pods1")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = old(&sim);
    assert_eq!(before.len(), 1);
    sim.until("replaced", |sim| sim.complete() && sim.status.ready_replicas == 2 && old(sim) != before);
    assert_eq!(old(&sim).len(), 1, "{:?}", sim.names());
}

/// The partition keeps all three groups; one of them is to be replaced, with room for one more.
#[test]
fn what_stands_in_for_a_kept_group_is_kept_too() {
    for paused in [false, true] {
        let mut fleet = fleet(3);
        (fleet.strategy.partition, fleet.strategy.max_unavailable) = (3, 1);
        let mut sim = Sim::new(fleet, 4, PACE);
        sim.settle();
        sim.change(|fleet| (fleet.revision.pod, fleet.paused) = ("pods2".into(), paused));
        sim.ticks(5);
        sim.hit(0, Fault::Replaced);
        sim.until("replaced", |sim| {
            sim.status.ready_replicas == 3 && !sim.names().contains(&"llama-pods1-0")
        });
        sim.ticks(5);
        let names = ["llama-pods1-1", "llama-pods1-2", "llama-pods1-3"];
        assert_eq!(sim.names(), names, "paused: {paused}");
    }
}

#[test]
fn with_recreate_they_are_replaced_one_after_the_other() {
    let mut sim = asked(2, |fleet| fleet.strategy.kind = StrategyType::Recreate);
    sim.hit(1, Fault::Replaced);
    sim.until("replaced", |sim| {
        let old = |name: &&&str| ["llama-pods1-0", "llama-pods1-1"].contains(*name);
        sim.complete() && sim.status.ready_replicas == 2 && sim.names().iter().find(old).is_none()
    });
    assert_eq!((sim.fewest_ready, sim.most_groups), (1, 2));
}

#[test]
fn one_that_drains_serves_again_when_that_is_taken_back() {
    let mut sim = asked(2, |fleet| {
        (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (0, 1);
    });
    sim.until("draining", |sim| sim.status.groups[0].phase == Phase::Draining);
    assert_eq!(
        sim.status.groups[0].goal_reason.as_deref(),
        Some("somebody asked to replace it (annotation rayfleet.io/replace)")
    );
    for group in sim.groups.values_mut() {
        group.replace = false;
    }
    sim.settle();
    assert_eq!(sim.names(), ["llama-pods1-0", "llama-pods1-1"]);
    assert_eq!(sim.status.groups[0].goal, Goal::Serve);
}
