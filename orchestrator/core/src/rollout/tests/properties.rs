//! Random fleets, changes, faults and crashes: no rule is ever violated, and in the end the fleet matches its
//! last spec.

use proptest::prelude::*;
use rayfleet_api::ValidFleet;
use rayfleet_api::spec::{OnFailure, StrategyType, WhenNoRoom};
use rayfleet_api::status::Phase;

use super::sim::{Pace, Pass, Sim};
use super::sim_group::Fault;
use crate::testing::fleet;

/// What happens before a tick.
#[derive(Clone, Debug)]
enum Happening {
    Nothing,
    Pods(u8),
    Engine(u8),
    Scale(u32),
    Paused(bool),
    /// Engines of this revision start to fail at launch, or stop doing so.
    Bad(u8, bool),
    Fault(usize, Fault),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => Just(Happening::Nothing),
        1 => (1..3_u8).prop_map(Happening::Pods),
        1 => (1..3_u8).prop_map(Happening::Engine),
        1 => (0..5_u32).prop_map(Happening::Scale),
        1 => any::<bool>().prop_map(Happening::Paused),
        1 => (1..3_u8, any::<bool>()).prop_map(|(number, bad)| Happening::Bad(number, bad)),
        1 => (0..5_usize, fault()).prop_map(|(which, fault)| Happening::Fault(which, fault)),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::EngineDies),
        Just(Fault::PodsReplaced),
        Just(Fault::ProbeMissed),
        Just(Fault::ClusterDeleted),
        Just(Fault::Replaced)
    ]
}

fn outcome() -> impl Strategy<Value = Pass> {
    prop_oneof![8 => Just(Pass::Good), 1 => Just(Pass::Conflict), 1 => Just(Pass::Crash)]
}

prop_compose! {
    fn pace()(pods in 0..4_i64, load in 0..5_i64, end in 0..6_i64, request in 0..20_i64) -> Pace {
        Pace { pods, load, end, request }
    }
}

prop_compose! {
    fn any_fleet()(
        replicas in 0..5_u32,
        max_surge in 0..3_u32,
        max_unavailable in 0..3_u32,
        partition in 0..3_u32,
        min_ready in prop_oneof![3 => Just(0_u64), 1 => 1..10_u64],
        recreate in prop::bool::weighted(0.1),
        when_no_room in prop_oneof![4 => Just(WhenNoRoom::Replace), 2 => Just(WhenNoRoom::Wait), 2 => Just(WhenNoRoom::Pend)],
        back in any::<bool>(),
    ) -> ValidFleet {
        let mut fleet = fleet(replicas);
        let strategy = &mut fleet.strategy;
        strategy.max_surge = max_surge;
        strategy.max_unavailable = if max_surge == 0 { max_unavailable.max(1) } else { max_unavailable };
        strategy.partition = partition;
        strategy.when_no_room = when_no_room;
        strategy.on_failure = if back { OnFailure::Rollback } else { OnFailure::Hold };
        strategy.kind = if recreate { StrategyType::Recreate } else { StrategyType::RollingUpdate };
        fleet.min_ready = std::time::Duration::from_secs(min_ready);
        fleet.failure.engine_restarts = 1;
        fleet.failure.backoff_max = std::time::Duration::from_secs(20);
        fleet
    }
}

fn happen(sim: &mut Sim, happening: &Happening) {
    match happening {
        Happening::Nothing => {}
        Happening::Pods(number) => sim.change(|fleet| fleet.revision.pod = format!("pods{number}").into()),
        Happening::Engine(number) => {
            sim.change(|fleet| fleet.revision.engine = Some(format!("eng{number}").into()));
        }
        Happening::Scale(replicas) => sim.change(|fleet| fleet.replicas = *replicas),
        Happening::Paused(paused) => sim.change(|fleet| fleet.paused = *paused),
        Happening::Bad(number, true) => drop(sim.bad.insert(format!("eng{number}"))),
        Happening::Bad(number, false) => drop(sim.bad.remove(&format!("eng{number}"))),
        Happening::Fault(which, fault) => sim.hit(*which, *fault),
    }
}

/// Advances until the fleet is complete, for at most fifteen minutes.
fn finish(sim: &mut Sim) {
    for _ in 0..900 {
        sim.tick(Pass::Good);
        let observed = sim.status.observed_generation == Some(sim.fleet.generation);
        let done = observed && ["Complete", "Rolled back"].contains(&sim.step()) && converged(sim).is_ok();
        if done || !sim.breaches.is_empty() {
            return;
        }
    }
}

/// The fleet matches its spec, or the reason why not.
fn converged(sim: &Sim) -> Result<(), String> {
    if sim.step() == "Waiting for room" {
        let stalled = sim.status.conditions.iter().find(|condition| condition.type_ == "Stalled");
        return if stalled.is_some_and(|stalled| stalled.status == "True") {
            Ok(())
        } else {
            Err("it waits for room and does not say so".to_owned())
        };
    }
    let fleet = &sim.fleet;
    let ready = sim.status.groups.iter().filter(|group| group.phase == Phase::Ready).count();
    let recreate = fleet.strategy.kind == StrategyType::Recreate;
    let back = sim.step() == "Rolled back";
    let kept = if recreate { 0 } else { fleet.strategy.partition.min(fleet.replicas) };
    let kept = if back { fleet.replicas } else { kept };
    let updated = u32::try_from(sim.status.updated_replicas).unwrap();
    if (back || sim.step() == "Complete")
        && ready == usize::try_from(fleet.replicas).unwrap()
        && sim.groups.len() == ready
        && updated >= fleet.replicas - kept
    {
        Ok(())
    } else {
        Err(serde_json::to_string_pretty(&sim.status).unwrap())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_rule_is_violated_and_the_fleet_converges(
        fleet in any_fleet(),
        spare in 0..3_usize,
        pace in pace(),
        story in prop::collection::vec((happening(), outcome()), 0..150),
    ) {
        // Scaling goes up to four groups: there is always room for all of them.
        let mut sim = Sim::new(fleet, 4 + spare, pace);
        for (happening, pass) in &story {
            happen(&mut sim, happening);
            sim.tick(*pass);
        }
        sim.change(|fleet| fleet.paused = false);
        sim.bad.clear();
        finish(&mut sim);
        prop_assert_eq!(&sim.breaches, &Vec::<String>::new());
        prop_assert!(converged(&sim).is_ok(), "{}", converged(&sim).unwrap_err());
        // The last number of requests in flight is written within ten seconds.
        (0..12).for_each(|_| sim.tick(Pass::Good));
        let at_rest = sim.status.clone();
        sim.tick(Pass::Good);
        prop_assert!(sim.status == at_rest, "an idle fleet writes nothing");
    }

    #[test]
    fn an_upgrade_never_takes_ready_groups_below_the_floor(
        mut fleet in any_fleet(),
        replicas in 1..4_u32,
        spare in 0..3_usize,
        pace in pace(),
        engine_only in any::<bool>(),
    ) {
        fleet.replicas = replicas;
        fleet.strategy.kind = StrategyType::RollingUpdate;
        let floor = i32::try_from(replicas.saturating_sub(fleet.strategy.max_unavailable)).unwrap();
        let most = usize::try_from(replicas + fleet.strategy.max_surge).unwrap();
        let mut sim = Sim::new(fleet, usize::try_from(replicas).unwrap() + spare, pace);
        sim.settle();
        sim.watch();
        let change = if engine_only { Happening::Engine(2) } else { Happening::Pods(2) };
        happen(&mut sim, &change);
        finish(&mut sim);
        prop_assert_eq!(&sim.breaches, &Vec::<String>::new());
        prop_assert!(sim.fewest_ready >= floor, "{} ready, {floor} needed", sim.fewest_ready);
        prop_assert!(sim.status.groups.len() <= most);
        prop_assert!(converged(&sim).is_ok(), "{}", converged(&sim).unwrap_err());
    }
}

/// The scheduler passes over pods that are being deleted: the room that a third group leaves is not theirs.
#[test]
fn a_group_that_ends_without_nodes_counts_for_none() {
    let mut fleet = fleet(2);
    (fleet.strategy.max_surge, fleet.strategy.max_unavailable, fleet.strategy.partition) = (1, 0, 2);
    fleet.strategy.when_no_room = WhenNoRoom::Pend;
    let mut sim = Sim::new(fleet, 4, Pace { pods: 0, load: 0, end: 4, request: 17 });
    sim.ticks(5);
    for happening in [Happening::Engine(2), Happening::Scale(1), Happening::Scale(4)] {
        happen(&mut sim, &happening);
        sim.ticks(1);
    }
    sim.ticks(17);
    happen(&mut sim, &Happening::Pods(2));
    sim.ticks(60);
}
