//! `onFailure: Rollback`: when a revision counts as failed, what happens then, and how it ends.

use std::sync::Arc;

use rayfleet_api::names;
use rayfleet_api::spec::OnFailure;

use super::sim::{Pace, Sim};
use super::sim_group::Fault;
use crate::testing::fleet;

const PACE: Pace = Pace { pods: 2, load: 3, end: 2, request: 4 };

/// Three serving groups; engines of `eng2` and pods of `pods2` fail at launch.
fn up(surge: u32, unavailable: u32, room: usize) -> Sim {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = surge;
    fleet.strategy.max_unavailable = unavailable;
    fleet.strategy.on_failure = OnFailure::Rollback;
    let mut sim = Sim::new(fleet, room, PACE);
    sim.settle();
    sim.bad.extend(["eng2".to_owned(), "pods2".to_owned()]);
    sim.watch();
    sim
}

fn new_engine(sim: &mut Sim, revision: &str) {
    sim.change(|fleet| fleet.revision.engine = Some(revision.into()));
}

fn rolled_back(sim: &mut Sim) {
    sim.until("rolled back", |sim| sim.step() == "Rolled back");
}

fn condition(sim: &Sim, type_: &str) -> (String, String, String) {
    let found = sim.status.conditions.iter().find(|condition| condition.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

fn reported(sim: &Sim) -> usize {
    sim.events.iter().filter(|event| event.starts_with("RolledBack")).count()
}

#[test]
fn a_bad_engine_is_rolled_back_within_the_budget() {
    let mut sim = up(1, 1, 4);
    let before: Vec<String> = sim.names().into_iter().map(str::to_owned).collect();
    new_engine(&mut sim, "eng2");
    rolled_back(&mut sim);
    assert_eq!((sim.status.ready_replicas, sim.fewest_ready), (3, 2));
    assert!(sim.status.groups.iter().all(|group| group.engine_revision.as_deref() == Some("eng1")));
    assert_eq!(sim.status.updated_replicas, 0, "none has the revision that the fleet asks for");
    let kept = sim.names().into_iter().filter(|name| before.iter().any(|old| old == name)).count();
    assert_eq!(kept, 2, "only the group that failed was replaced");
    let (status, reason, message) = condition(&sim, "Stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "RolledBack"));
    for part in ["revision pods1/eng2 failed", "no such model", "serves pods1/eng1", "rollout undo llama"] {
        assert!(message.contains(part), "{message}");
    }
    let (status, reason, _) = condition(&sim, "Progressing");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "RolledBack"));
}

#[test]
fn bad_pods_are_rolled_back_with_a_surge_and_no_outage() {
    let mut sim = up(1, 0, 4);
    sim.change(|fleet| fleet.revision.pod = "pods2".into());
    rolled_back(&mut sim);
    assert_eq!((sim.fewest_ready, sim.most_groups), (3, 4));
    assert!(sim.names().iter().all(|name| name.contains("pods1")), "{:?}", sim.names());
}

#[test]
fn a_rollback_is_reported_once_and_does_not_loop() {
    let mut sim = up(1, 1, 4);
    new_engine(&mut sim, "eng2");
    rolled_back(&mut sim);
    // After ten minutes earlier failures no longer count.
    sim.ticks(700);
    let at_rest = sim.status.clone();
    sim.ticks(5000);
    assert_eq!((sim.status.clone(), reported(&sim)), (at_rest, 1));
    // A failure of the old revision is repaired, and does not change the target.
    sim.bad.insert("eng1".to_owned());
    sim.hit(0, Fault::EngineDies);
    sim.ticks(2000);
    assert_eq!((reported(&sim), sim.step()), (1, "Rolling back"));
    sim.bad.clear();
    rolled_back(&mut sim);
}

#[test]
fn another_revision_ends_a_rollback() {
    let mut sim = up(1, 1, 4);
    new_engine(&mut sim, "eng2");
    rolled_back(&mut sim);
    new_engine(&mut sim, "eng3");
    sim.settle();
    assert!(sim.status.groups.iter().all(|group| group.engine_revision.as_deref() == Some("eng3")));
    assert_eq!(sim.status.rollout.as_ref().unwrap().rollback, None);
    assert_eq!(condition(&sim, "Stalled").0, "False");
}

#[test]
fn hold_retries_the_failed_revision() {
    let mut sim = up(1, 1, 4);
    new_engine(&mut sim, "eng2");
    rolled_back(&mut sim);
    sim.bad.clear();
    sim.change(|fleet| fleet.strategy.on_failure = OnFailure::Hold);
    sim.settle();
    assert!(sim.status.groups.iter().all(|group| group.engine_revision.as_deref() == Some("eng2")));
}

#[test]
fn an_undo_during_a_rollback_completes() {
    let mut sim = up(1, 1, 4);
    new_engine(&mut sim, "eng2");
    sim.until("turned", |sim| sim.step() == "Rolling back");
    new_engine(&mut sim, "eng1");
    sim.settle();
    assert_eq!(sim.status.updated_replicas, 3);
}

#[test]
fn an_exceeded_progress_deadline_starts_a_rollback() {
    let mut sim = up(1, 0, 4);
    sim.bad.clear();
    sim.slow.insert("eng2".to_owned());
    sim.fleet.model.as_mut().unwrap().start_timeout = std::time::Duration::from_hours(10);
    new_engine(&mut sim, "eng2");
    sim.ticks(590);
    assert_eq!(reported(&sim), 0);
    sim.ticks(20);
    assert_eq!(reported(&sim), 1, "{:?}", sim.events);
    let cause = &sim.status.rollout.as_ref().unwrap().rollback.as_ref().unwrap().cause;
    assert!(cause.contains("is still Loading after 600 s"), "{cause}");
}

#[test]
fn a_lack_of_room_does_not_start_a_rollback() {
    let mut sim = up(0, 1, 3);
    sim.bad.clear();
    sim.change(|fleet| {
        fleet.revision.pod = "pods2".into();
        for role in &mut fleet.shape.roles {
            let revision = (names::LABEL_POD_REVISION.to_owned(), "pods2".to_owned());
            role.labels =
                Arc::new(role.labels.iter().map(|(k, v)| (k.clone(), v.clone())).chain([revision]).collect());
        }
        fleet.replicas = 4;
    });
    sim.ticks(1500);
    assert_eq!((reported(&sim), condition(&sim, "Stalled").0.as_str()), (0, "True"));
}

#[test]
fn a_first_revision_has_no_rollback_target() {
    let mut fleet = fleet(1);
    fleet.strategy.on_failure = OnFailure::Rollback;
    let mut sim = Sim::new(fleet, 2, PACE);
    sim.bad.insert("eng1".to_owned());
    sim.ticks(1000);
    assert_eq!(reported(&sim), 0);
    assert_eq!(condition(&sim, "ReplicaFailure").0, "True");
}

#[test]
fn a_rollback_without_its_record_stops_where_it_is() {
    let mut sim = up(1, 1, 4);
    new_engine(&mut sim, "eng2");
    sim.until("turned", |sim| sim.step() == "Rolling back");
    sim.history_lost = true;
    sim.ticks(2000);
    let reason = sim.status.rollout.as_ref().unwrap().reason.clone().unwrap();
    assert!(sim.status.ready_replicas >= 2, "{reason}");
    assert!(reason.contains("no longer in the history"), "{reason}");
}
