//! Rollouts that a reader can follow, from the change to the end.

use rayfleet_api::spec::{StrategyType, WhenNoRoom};
use rayfleet_api::status::{FleetCondition, Goal, Phase};

use super::sim::{Pace, Sim};
use super::sim_group::Fault;
use crate::testing::{fleet, plain_fleet};

const PACE: Pace = Pace { pods: 2, load: 3, end: 2, request: 4 };

/// A serving fleet with room for `room` groups.
fn up(replicas: u32, surge: u32, unavailable: u32, room: usize) -> Sim {
    let mut fleet = fleet(replicas);
    fleet.strategy.max_surge = surge;
    fleet.strategy.max_unavailable = unavailable;
    let mut sim = Sim::new(fleet, room, PACE);
    sim.settle();
    sim.watch();
    sim
}

fn condition<'s>(sim: &'s Sim, type_: &str) -> &'s FleetCondition {
    sim.status.conditions.iter().find(|condition| condition.type_ == type_).unwrap()
}

fn new_pods(sim: &mut Sim, revision: &str) {
    sim.change(|fleet| fleet.revision.pod = revision.into());
}

fn new_engine(sim: &mut Sim, revision: &str) {
    sim.change(|fleet| fleet.revision.engine = Some(revision.into()));
}

fn owned(set: &std::collections::BTreeSet<&str>) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

#[test]
fn a_new_fleet_comes_up_and_then_makes_no_writes() {
    let mut sim = up(2, 1, 0, 2);
    assert_eq!(sim.names(), ["llama-pods1-0", "llama-pods1-1"]);
    assert_eq!(
        (sim.status.ready_replicas, sim.status.available_replicas, sim.status.updated_replicas),
        (2, 2, 2)
    );
    for (type_, status) in [
        ("Available", "True"),
        ("Progressing", "True"),
        ("ReplicaFailure", "False"),
        ("Stalled", "False"),
        ("PlacementVerified", "True"),
    ] {
        assert_eq!(condition(&sim, type_).status, status, "{type_}");
    }
    sim.ticks(12);
    let before = sim.status.clone();
    sim.ticks(1000);
    assert_eq!(sim.status, before, "an idle fleet is not written");
}

#[test]
fn a_surge_keeps_all_groups_serving() {
    let mut sim = up(3, 1, 0, 4);
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert_eq!((sim.fewest_ready, sim.most_groups), (3, 4));
    assert!(sim.names().iter().all(|name| name.starts_with("llama-pods2-")), "{:?}", sim.names());
    assert_eq!(sim.status.rollout.as_ref().unwrap().lost_requests, 0);
}

#[test]
fn groups_are_replaced_in_place_within_max_unavailable() {
    let mut sim = up(3, 0, 1, 3);
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert_eq!((sim.fewest_ready, sim.most_groups), (2, 3));
}

#[test]
fn surge_and_unavailability_go_together() {
    let mut sim = up(4, 2, 1, 6);
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert_eq!((sim.fewest_ready >= 3, sim.most_groups), (true, 6));
}

#[test]
fn without_room_for_a_surge_group_one_is_replaced() {
    let mut sim = up(3, 1, 1, 3);
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert_eq!(sim.fewest_ready, 2);
    assert_eq!(sim.names().len(), 3);
}

/// A fleet of two with a surge of one that may pend, on nodes for `room` groups.
fn pending(unavailable: u32, room: usize) -> Sim {
    let mut sim = up(2, 1, unavailable, room);
    sim.change(|fleet| fleet.strategy.when_no_room = WhenNoRoom::Pend);
    sim.settle();
    sim.watch();
    new_pods(&mut sim, "pods2");
    sim.ticks(10);
    sim
}

#[test]
fn a_surge_group_pends_until_an_autoscaler_has_added_nodes() {
    let mut sim = pending(1, 2);
    assert_eq!((sim.step(), sim.fewest_ready, sim.names().len()), ("Waiting for nodes", 2, 3));
    let reason = sim.status.rollout.as_ref().unwrap().reason.clone().unwrap();
    assert!(reason.contains("for nodes (strategy.whenNoRoom: Pend)"), "{reason}");
    assert_eq!(condition(&sim, "Stalled").status, "False");
    sim.add_nodes(2);
    sim.settle();
    assert_eq!((sim.fewest_ready >= 1, sim.most_groups), (true, 3));
    assert_eq!(sim.status.rollout.as_ref().unwrap().pend_failed_revision, None);
}

#[test]
fn a_group_is_replaced_if_no_nodes_are_added_in_time() {
    let mut sim = pending(1, 2);
    sim.ticks(105);
    assert_eq!((sim.step(), sim.fewest_ready), ("Waiting for nodes", 2), "no group is given up before that");
    sim.until("given up", |sim| sim.status.rollout.as_ref().unwrap().pend_failed_revision.is_some());
    sim.settle();
    assert_eq!((sim.fewest_ready, sim.most_groups), (1, 3));
    // The next change may let a group pend again.
    new_pods(&mut sim, "pods3");
    sim.ticks(10);
    assert_eq!(sim.step(), "Waiting for nodes");
}

#[test]
fn without_nodes_and_without_budget_the_rollout_holds_with_a_message() {
    let mut sim = pending(0, 2);
    sim.until("held", |sim| sim.step() == "Waiting for room");
    let stalled = condition(&sim, "Stalled");
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "NoRoom"));
    let again = sim.status.rollout.as_ref().unwrap().pend_retry_after.clone().unwrap();
    let reported = format!(
        "(none were added within strategy.pendTimeout, 120 s; pods wait for them again from {})",
        again.0
    );
    assert!(stalled.message.contains(&reported) && stalled.message.contains("needs 2 nodes"), "{stalled:?}");
    // Nodes that are added meanwhile are used all the same.
    sim.add_nodes(2);
    sim.settle();
    assert_eq!(sim.fewest_ready, 2);
    assert_eq!(sim.status.rollout.as_ref().unwrap().pend_failed_revision, None);
}

/// Seconds until one more group pends, or none does.
fn seconds_until(sim: &mut Sim, pends: bool) -> i64 {
    let started = sim.now;
    let waits = |sim: &Sim| sim.status.groups.iter().any(|group| group.pend_until.is_some());
    for _ in 0..10_000 {
        if waits(sim) == pends {
            break;
        }
        sim.ticks(1);
    }
    sim.now - started
}

#[test]
fn without_budget_nodes_are_requested_again_with_growing_backoff() {
    let mut sim = pending(0, 2);
    seconds_until(&mut sim, false);
    for (turn, wait) in [120, 240, 480].into_iter().enumerate() {
        let waited = seconds_until(&mut sim, true);
        assert!((wait - 5..=wait + 5).contains(&waited), "try {turn} came after {waited} s, not {wait}");
        // The fleet is stalled all the time: the condition does not change with each attempt.
        let stalled = condition(&sim, "Stalled");
        assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "NoRoom"), "try {turn}");
        assert!(stalled.message.contains("pods wait for them again until"), "{}", stalled.message);
        let tried = seconds_until(&mut sim, false);
        assert!((115..=130).contains(&tried), "try {turn} took {tried} s");
    }
    assert_eq!((sim.fewest_ready, sim.most_groups), (2, 3));
    seconds_until(&mut sim, true);
    sim.add_nodes(2);
    sim.settle();
    assert_eq!((sim.fewest_ready, condition(&sim, "Stalled").status.as_str()), (2, "False"));
    assert_eq!(
        sim.status.rollout.as_ref().unwrap().pend_failed_revision,
        None,
        "the next rollout pends at once"
    );
}

#[test]
fn failed_waits_for_nodes_are_no_progress() {
    let mut sim = pending(0, 2);
    sim.fleet.progress_deadline = Some(std::time::Duration::from_mins(20));
    sim.until("held", |sim| sim.step() == "Waiting for room");
    let held = sim.status.rollout.as_ref().unwrap().last_progress.clone();
    for pends in [true, false, true, false] {
        seconds_until(&mut sim, pends);
    }
    assert_eq!(sim.status.rollout.as_ref().unwrap().last_progress, held);
    sim.until("overdue", |sim| condition(sim, "Progressing").reason == "ProgressDeadlineExceeded");
    sim.add_nodes(2);
    sim.settle();
    assert_eq!(condition(&sim, "Progressing").reason, "Complete");
}

#[test]
fn without_room_and_without_budget_the_rollout_holds_with_a_message() {
    let mut sim = up(2, 1, 0, 2);
    new_pods(&mut sim, "pods2");
    sim.ticks(50);
    assert_eq!((sim.step(), sim.fewest_ready), ("Waiting for room", 2));
    let stalled = condition(&sim, "Stalled");
    assert_eq!((stalled.status.as_str(), stalled.reason.as_str()), ("True", "NoRoom"));
    assert!(
        stalled.message.contains("set strategy.rollingUpdate.maxUnavailable: 1 or add nodes"),
        "{}",
        stalled.message
    );
    assert!(
        stalled.message.contains("needs 2 nodes x 1 nvidia.com/gpu; best free: 0 + 0 + 0 + 0"),
        "{}",
        stalled.message
    );
    // The default bounds of a fleet of one to three groups end here: the message names the cure.
    assert!(
        stalled.message.contains("or strategy.whenNoRoom: Pend to let a node autoscaler"),
        "{}",
        stalled.message
    );
    sim.change(|fleet| fleet.strategy.max_unavailable = 1);
    sim.settle();
    assert_eq!(condition(&sim, "Stalled").status, "False");
}

#[test]
fn wait_holds_where_replace_would_continue() {
    let mut sim = up(2, 1, 1, 2);
    sim.fleet.strategy.when_no_room = WhenNoRoom::Wait;
    new_pods(&mut sim, "pods2");
    sim.ticks(50);
    assert_eq!((sim.step(), sim.fewest_ready), ("Waiting for room", 2));
    assert!(condition(&sim, "Stalled").message.contains("set strategy.whenNoRoom: Replace"));
}

#[test]
fn a_fleet_of_one_has_no_outage_with_a_surge() {
    let mut sim = up(1, 1, 0, 2);
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert_eq!((sim.fewest_ready, sim.most_groups), (1, 2));
}

#[test]
fn a_new_engine_keeps_the_pods() {
    let mut sim = up(3, 1, 1, 3);
    let before = owned(&sim.uids());
    new_engine(&mut sim, "eng2");
    sim.settle();
    assert_eq!(owned(&sim.uids()), before);
    assert_eq!(sim.fewest_ready, 2);
    assert!(sim.status.groups.iter().all(|group| group.engine_revision.as_deref() == Some("eng2")));
}

#[test]
fn an_engine_change_without_an_outage_uses_one_surge_group() {
    let mut sim = up(2, 1, 0, 3);
    let before = owned(&sim.uids());
    new_engine(&mut sim, "eng2");
    sim.settle();
    assert_eq!((sim.fewest_ready, sim.most_groups), (2, 3));
    assert_eq!(owned(&sim.uids()), before, "the surge group is removed");
}

#[test]
fn pods_and_engine_change_together() {
    let mut sim = up(2, 1, 1, 3);
    new_engine(&mut sim, "eng2");
    sim.ticks(2);
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert!(sim.fewest_ready >= 1);
    assert!(sim.names().iter().all(|name| name.starts_with("llama-pods2-")));
}

#[test]
fn scaling_works_during_a_rollout() {
    let mut sim = up(2, 1, 0, 6);
    new_pods(&mut sim, "pods2");
    sim.ticks(3);
    sim.change(|fleet| fleet.replicas = 4);
    sim.settle();
    assert_eq!((sim.status.replicas, sim.status.ready_replicas), (4, 4));
    new_pods(&mut sim, "pods3");
    sim.ticks(3);
    sim.change(|fleet| fleet.replicas = 1);
    sim.settle();
    assert_eq!(sim.status.replicas, 1);
    assert!(sim.fewest_ready >= 1);
}

#[test]
fn scaling_down_removes_groups_that_do_not_serve_first() {
    let mut sim = up(3, 1, 0, 3);
    sim.hit(0, Fault::EngineDies);
    sim.change(|fleet| fleet.replicas = 2);
    sim.settle();
    assert_eq!(sim.names(), ["llama-pods1-1", "llama-pods1-2"]);
    assert_eq!(sim.fewest_ready, 2);
    sim.change(|fleet| fleet.replicas = 1);
    sim.settle();
    assert_eq!(sim.names(), ["llama-pods1-1"]);
    sim.change(|fleet| fleet.replicas = 0);
    sim.settle();
    assert_eq!(sim.names(), Vec::<&str>::new());
}

#[test]
fn scaling_up_cancels_a_drain() {
    let mut sim = up(2, 1, 0, 2);
    sim.change(|fleet| fleet.replicas = 1);
    sim.ticks(2);
    assert_eq!(sim.status.groups[1].phase, Phase::Draining);
    sim.change(|fleet| fleet.replicas = 2);
    sim.settle();
    assert_eq!(sim.names(), ["llama-pods1-0", "llama-pods1-1"]);
    assert!(sim.status.groups.iter().all(|group| group.launch == 1), "no engine was launched again");
}

#[test]
fn broken_groups_go_first_and_cost_no_budget() {
    let mut sim = up(3, 1, 1, 4);
    sim.bad.insert("eng1".to_owned());
    sim.hit(0, Fault::EngineDies);
    sim.ticks(1);
    new_pods(&mut sim, "pods2");
    sim.change(|fleet| fleet.revision.engine = Some("eng2".into()));
    sim.ticks(1);
    let goals: Vec<_> = sim
        .status
        .groups
        .iter()
        .filter(|group| group.revision == "pods1")
        .map(|group| (group.slot, group.goal))
        .collect();
    assert_eq!(
        goals,
        [(0, Goal::Retire), (1, Goal::Serve), (2, Goal::Serve)],
        "the broken one uses up the budget"
    );
    sim.settle();
}

#[test]
fn a_completely_broken_fleet_is_replaced_at_once() {
    let mut fleet = fleet(3);
    fleet.strategy.max_surge = 0;
    fleet.strategy.max_unavailable = 1;
    let mut sim = Sim::new(fleet, 3, PACE);
    sim.bad.insert("eng1".to_owned());
    sim.ticks(20);
    assert_eq!(sim.status.ready_replicas, 0);
    sim.change(|fleet| fleet.revision.engine = Some("eng2".into()));
    sim.settle();
    assert_eq!(sim.status.ready_replicas, 3);
}

#[test]
fn a_pause_stops_the_rollout_and_nothing_else() {
    let mut sim = up(3, 1, 1, 4);
    sim.fleet.paused = true;
    new_pods(&mut sim, "pods2");
    sim.ticks(30);
    assert_eq!((sim.step(), sim.status.updated_replicas, sim.fewest_ready), ("Paused", 0, 3));
    assert_eq!(condition(&sim, "Progressing").reason, "Paused");
    sim.change(|fleet| fleet.replicas = 2);
    sim.until("scaled down", |sim| sim.names().len() == 2);
    sim.change(|fleet| fleet.paused = false);
    sim.settle();
    assert_eq!(sim.status.updated_replicas, 2);
}

#[test]
fn recreate_ends_all_groups_before_it_creates_new_ones() {
    let mut sim = up(2, 1, 0, 8);
    sim.fleet.strategy.kind = StrategyType::Recreate;
    new_pods(&mut sim, "pods2");
    sim.until("all old groups are gone", |sim| !sim.names().iter().any(|name| name.contains("pods1")));
    assert!(!sim.names().iter().any(|name| name.contains("pods2")), "none was created before");
    sim.settle();
    assert_eq!(sim.status.updated_replicas, 2);
}

#[test]
fn the_partition_keeps_the_lowest_slots() {
    let mut sim = up(3, 1, 1, 4);
    sim.fleet.strategy.partition = 2;
    new_pods(&mut sim, "pods2");
    sim.settle();
    sim.ticks(20);
    let revisions: Vec<_> =
        sim.status.groups.iter().map(|group| (group.slot, group.revision.as_str())).collect();
    assert_eq!(revisions.iter().filter(|(_, revision)| *revision == "pods1").count(), 2);
    assert_eq!(&revisions[..2], [(0, "pods1"), (1, "pods1")]);
    let reason = sim.status.rollout.as_ref().unwrap().reason.clone().unwrap();
    assert!(reason.contains("keeps 2 groups"), "{reason}");
    sim.change(|fleet| fleet.strategy.partition = 0);
    sim.settle();
    assert!(sim.status.groups.iter().all(|group| group.revision == "pods2"));
}

#[test]
fn an_undo_during_a_rollout_goes_back() {
    let mut sim = up(3, 1, 1, 4);
    new_pods(&mut sim, "pods2");
    sim.ticks(2);
    new_pods(&mut sim, "pods1");
    sim.settle();
    assert!(sim.names().iter().all(|name| name.starts_with("llama-pods1-")));
    assert!(sim.fewest_ready >= 2);
}

#[test]
fn a_bad_engine_stops_the_rollout_within_the_budget() {
    let mut sim = up(3, 1, 1, 4);
    sim.bad.insert("eng2".to_owned());
    new_engine(&mut sim, "eng2");
    sim.ticks(400);
    assert_eq!((sim.fewest_ready, sim.status.ready_replicas), (2, 2));
    let failure = condition(&sim, "ReplicaFailure");
    assert_eq!(failure.status, "True");
    assert!(failure.message.contains("no such model"), "{}", failure.message);
    new_engine(&mut sim, "eng1");
    sim.settle();
    assert_eq!(sim.status.ready_replicas, 3);
}

#[test]
fn recreations_of_a_bad_group_back_off() {
    let mut sim = up(1, 0, 1, 2);
    sim.bad.insert("eng1".to_owned());
    sim.hit(0, Fault::EngineDies);
    sim.ticks(1000);
    let entry = &sim.status.groups[0];
    assert!((3..=12).contains(&entry.failures), "{} recreations", entry.failures);
    assert!(sim.events.len() < 60, "{} events", sim.events.len());
}

#[test]
fn a_group_deleted_by_somebody_else_is_recreated_with_another_name() {
    let mut sim = up(2, 1, 0, 2);
    sim.hit(0, Fault::ClusterDeleted);
    sim.until("the slot is filled", |sim| sim.names().contains(&"llama-pods1-0-1"));
    sim.settle();
    assert_eq!(sim.names(), ["llama-pods1-0-1", "llama-pods1-1"]);
    assert!(sim.events.iter().any(|event| event.starts_with("GroupDeleted")), "{:?}", sim.events);
}

#[test]
fn lost_pods_are_waited_for_and_the_engine_is_launched_again() {
    let mut sim = up(1, 1, 0, 2);
    sim.hit(0, Fault::PodsReplaced);
    sim.until("not ready", |sim| sim.status.ready_replicas == 0);
    sim.settle();
    assert_eq!((sim.names(), sim.status.groups[0].launch), (vec!["llama-pods1-0"], 2));
}

#[test]
fn a_rollout_without_progress_is_overdue() {
    let mut sim = up(1, 1, 0, 1);
    sim.change(|fleet| fleet.replicas = 2);
    sim.ticks(599);
    assert_eq!(condition(&sim, "Stalled").status, "False");
    sim.ticks(3);
    assert_eq!(condition(&sim, "Progressing").reason, "ProgressDeadlineExceeded");
    let stalled = condition(&sim, "Stalled");
    assert_eq!(stalled.status, "True");
    assert!(stalled.message.contains("no node has room for it"), "{}", stalled.message);
}

#[test]
fn min_ready_seconds_slow_the_rollout_down() {
    let mut sim = up(2, 1, 0, 3);
    sim.fleet.min_ready = std::time::Duration::from_secs(20);
    sim.ticks(30);
    let start = sim.now;
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert!(sim.now - start > 40, "{}", sim.now - start);
}

#[test]
fn a_fleet_without_a_model_is_rolled_out_too() {
    let mut fleet = plain_fleet(2);
    fleet.strategy.max_unavailable = 1;
    let mut sim = Sim::new(fleet, 2, PACE);
    sim.settle();
    sim.watch();
    assert!(!sim.status.conditions.iter().any(|condition| condition.type_ == "PlacementVerified"));
    new_pods(&mut sim, "pods2");
    sim.settle();
    assert_eq!(sim.fewest_ready, 1);
}

#[test]
fn a_deleted_fleet_drains_and_creates_nothing() {
    let mut sim = up(2, 1, 0, 2);
    sim.change(|fleet| (fleet.deleting, fleet.paused) = (true, true));
    sim.hit(0, Fault::ClusterDeleted);
    sim.until("all groups are gone", |sim| sim.status.groups.is_empty() && sim.groups.is_empty());
    assert!(!sim.events.iter().any(|event| event.contains("cut off")), "{:?}", sim.events);
}

#[test]
fn a_group_that_misses_a_probe_while_others_load_is_kept() {
    let mut sim = up(2, 1, 1, 3);
    sim.pace.load = 60;
    new_pods(&mut sim, "pods2");
    let serves = |sim: &Sim| sim.status.groups.iter().position(|group| group.ready_since.is_some());
    sim.until("one old group serves alone", |sim| sim.status.ready_replicas == 1);
    let last = sim.status.groups[serves(&sim).unwrap()].name.clone();
    let at = sim.groups.keys().position(|name| *name == last).unwrap();
    sim.hit(at, Fault::ProbeMissed);
    sim.until("it is not ready", |sim| sim.status.ready_replicas == 0);
    sim.until("it serves again", |sim| sim.status.ready_replicas == 1);
    assert_eq!(sim.status.groups[serves(&sim).unwrap()].name, last);
    sim.settle();
    assert!(sim.names().iter().all(|name| name.starts_with("llama-pods2-")), "{:?}", sim.names());
}

/// When groups left the ledger as soon as their pods were terminating, such a fleet had up to 71 groups with
/// pods.
#[test]
fn max_surge_limits_groups_with_terminating_pods() {
    let mut fleet = fleet(30);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable) = (6, 6);
    let mut sim = Sim::new(fleet, 80, Pace { pods: 2, load: 5, end: 4, request: 0 });
    sim.settle();
    sim.change(|fleet| fleet.replicas = 60);
    sim.settle();
    sim.change(|fleet| fleet.revision.pod = "pods2".into());
    // Without a violation: never more than 66 groups with pods.
    sim.settle();
    assert_eq!(sim.most_hardware, 66);
}
