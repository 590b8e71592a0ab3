//! One pass over one fleet: adopt what is there, let the planner set goals, let every group take its
//! step, and sum it up in a status. No rule of its own lives here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rayfleet_api::status::{FailureKind, GroupStatus};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use crate::capacity;
use crate::effect::Effect;
use crate::group::{self, GroupDecision};
use crate::held::{FailedWrite, HoldReason};
use crate::ledger::{self, Ledger};
use crate::nodes::Nodes;
use crate::observed::ObservedGroup;
use crate::{rollout, time};

/// Everything that a decision may depend on.
#[derive(Clone, Debug)]
pub struct ReconcileInput<'a> {
    /// The fleet.
    pub fleet: &'a ValidFleet,
    /// The same fleet, but with template and model of the revision `status.rollout.stable`. `None`: there is no
    /// such revision, or the history does not have it any more.
    pub stable: Option<&'a ValidFleet>,
    /// Why nothing is changed now, if so.
    pub held: Option<&'a HoldReason>,
    /// What could not be written beside its groups.
    pub failed_writes: &'a [FailedWrite],
    /// Its status: the ledger of groups.
    pub status: &'a RayClusterFleetStatus,
    /// What was observed, by group name: every group of the ledger and every RayCluster or pod that
    /// the fleet owns.
    pub groups: &'a BTreeMap<GroupName, ObservedGroup>,
    /// What the nodes have room for. `None`: it may not be read, so do not create surge groups.
    pub capacity: Option<&'a dyn capacity::Source>,
    /// Now.
    pub now: Timestamp,
}

/// What is to be done about one fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to write. It must be written, when it differs, before any effect is performed.
    pub status: RayClusterFleetStatus,
    /// What to do then, in this order.
    pub effects: Vec<Effect>,
    /// When to look again although nothing happened.
    pub wake: Option<Timestamp>,
    /// Kinds of the failures that this pass found, one for each group that failed.
    pub failures: Vec<FailureKind>,
}

/// One pass over one fleet.
pub fn decide(world: &ReconcileInput<'_>) -> Decision {
    // A fleet that is being deleted wants no groups: those that serve are drained.
    if world.fleet.deleting && world.fleet.replicas > 0 {
        let fleet = ValidFleet { replicas: 0, paused: false, ..world.fleet.clone() };
        return decide(&ReconcileInput { fleet: &fleet, stable: None, held: None, ..world.clone() });
    }
    let mut target =
        rollout::RolloutTarget::new(world.fleet, world.stable, world.status, world.held.is_some());
    let ledger = ledger::settle(target.fleet(), &world.status.groups, world.groups, world.now);
    let mut steps: Vec<GroupDecision> =
        ledger.groups.iter().map(|entry| step(world, target.fleet(), entry)).collect();
    let groups: Vec<GroupStatus> = steps.iter().map(|step| step.group.clone()).collect();
    // Before the planner: a group that it gives another goal has failed all the same.
    let proven = world.status.rollout.as_ref().and_then(|rollout| rollout.stable.as_ref());
    let nodes = Nodes::settle(world.fleet, proven, &world.status.node_failures, &steps, world.now);
    let turned = target.turn_if_failed(world.status, &groups, world.groups, world.now);
    let fleet = target.fleet();
    let inputs = rollout::Inputs {
        fleet,
        stable: world.stable,
        target: &target,
        held: world.held,
        failed_writes: world.failed_writes,
        observed: world.groups,
        removed: &ledger.removed,
        capacity: world.capacity,
        nodes: &nodes.failures,
        now: world.now,
    };
    let mut planner = rollout::Planner::new(inputs, groups);
    rollout::plan(&mut planner);
    follow(world, fleet, &ledger, &mut planner, &mut steps);
    let mut decision = sum_up(world, &ledger, &mut planner, steps);
    decision.wake = time::earliest(decision.wake, nodes.wake);
    decision.effects.extend(nodes.effects);
    decision.effects.extend(turned);
    hold(world, &mut decision);
    decision
}

/// Makes no RayCluster of what is refused, and reports a refusal once.
fn hold(world: &ReconcileInput<'_>, decision: &mut Decision) {
    let Some(held) = world.held else { return };
    if !held.creates {
        decision.effects.retain(|effect| !matches!(effect, Effect::CreateCluster { .. }));
    }
    let before = world.status.rollout.as_ref();
    let known = before.is_some_and(|before| {
        before.step == held.reason && before.reason.as_deref() == Some(held.message.as_str())
    });
    if !known {
        let message = held.message.clone();
        decision.effects.push(Effect::Event { warning: true, reason: held.reason.as_str(), message });
    }
}

fn step(world: &ReconcileInput<'_>, fleet: &ValidFleet, entry: &GroupStatus) -> GroupDecision {
    let nothing = ObservedGroup::default();
    let observed = world.groups.get(&entry.name).unwrap_or(&nothing);
    group::step(fleet, entry, observed, world.now)
}

/// Groups that the planner gave another goal take their step with that goal instead, from where they were;
/// new groups take their first one.
fn follow(
    world: &ReconcileInput<'_>,
    fleet: &ValidFleet,
    ledger: &Ledger,
    planner: &mut rollout::Planner<'_>,
    steps: &mut Vec<GroupDecision>,
) {
    // A step belongs to the ledger's entry at the same place.
    let entries = ledger.groups.iter().zip(std::mem::take(steps));
    let mut taken: BTreeMap<&GroupName, _> =
        entries.map(|(entry, step)| (&entry.name, (entry, step))).collect();
    for planned in &mut planner.groups {
        let next = match taken.remove(&planned.name) {
            Some((_, step)) if step.group == *planned => {
                steps.push(step);
                continue;
            }
            Some((entry, _)) => step(world, fleet, &with_goal(entry, planned)),
            None => step(world, fleet, planned),
        };
        planned.clone_from(&next.group);
        steps.push(next);
    }
}

fn with_goal(was: &GroupStatus, planned: &GroupStatus) -> GroupStatus {
    GroupStatus {
        goal: planned.goal,
        goal_reason: planned.goal_reason.clone(),
        engine_revision: planned.engine_revision.clone(),
        failures: planned.failures,
        ..was.clone()
    }
}

fn sum_up(
    world: &ReconcileInput<'_>,
    ledger: &Ledger,
    planner: &mut rollout::Planner<'_>,
    steps: Vec<GroupDecision>,
) -> Decision {
    let lost = steps.iter().map(|step| step.lost_requests).sum();
    let failures = steps.iter().filter_map(|step| step.failure).collect();
    let summary = rollout::summarize(planner, world.status, lost);
    let mut effects = ledger.effects.clone();
    let mut wake = time::earliest(ledger.wake, summary.wake);
    for step in steps {
        wake = time::earliest(wake, step.wake);
        effects.extend(step.effects);
    }
    if planner.more() {
        wake = Some(world.now);
    }
    Decision { status: summary.status, effects, wake, failures }
}

#[cfg(test)]
mod tests {
    use rayfleet_api::status::{Goal, NodeFailures, Phase};

    use super::*;
    use crate::capacity::Capacity;
    use crate::testing::{at, entry, fleet, healthy, nodes, ready_entry, t0};

    /// One pass over a fleet with one group, on nodes with room for another.
    fn pass(fleet: &ValidFleet, group: &GroupStatus, node_failures: &[NodeFailures]) -> Decision {
        let status = RayClusterFleetStatus {
            groups: vec![group.clone()],
            node_failures: node_failures.to_vec(),
            ..RayClusterFleetStatus::default()
        };
        let groups = BTreeMap::from([(group.name.clone(), healthy(group, t0()))]);
        let capacity = nodes(&[1; 4]);
        decide(&ReconcileInput {
            fleet,
            stable: None,
            held: None,
            failed_writes: &[],
            status: &status,
            groups: &groups,
            capacity: Some(&capacity),
            now: at(1),
        })
    }

    #[test]
    fn a_group_that_is_not_wanted_goes_in_the_same_pass_and_says_why() {
        let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet(0), 0) };
        let decision = pass(&fleet(0), &group, &[]);
        let reasons: Vec<&str> = decision
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::DeleteCluster { reason, .. } => Some(reason.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, ["more groups than the 0 wanted"]);
    }

    #[test]
    fn an_engine_that_was_not_launched_yet_is_launched_at_the_new_revision() {
        let group = GroupStatus { uid: Some("uid".to_owned()), ..entry(&fleet(1), 0) };
        let mut fleet = fleet(1);
        fleet.revision.engine = Some("eng2".into());
        let launch = Effect::LaunchEngine { launch: "llama-pods1-0.eng2.1".parse().unwrap() };
        assert!(pass(&fleet, &group, &[]).effects.contains(&launch));
    }

    #[test]
    fn a_group_without_an_engine_is_at_once_of_the_new_engine_revision() {
        let mut fleet = fleet(1);
        let group = entry(&fleet, 0);
        fleet.revision.engine = Some("eng2".into());
        let status = RayClusterFleetStatus { groups: vec![group], ..RayClusterFleetStatus::default() };
        let (groups, capacity) = (BTreeMap::new(), nodes(&[1; 4]));
        let decision = decide(&ReconcileInput {
            fleet: &fleet,
            stable: None,
            held: None,
            failed_writes: &[],
            status: &status,
            groups: &groups,
            capacity: Some(&capacity),
            now: at(1),
        });
        assert_eq!(decision.status.groups[0].engine_revision.as_deref(), Some("eng2"));
    }

    /// Room that nobody should ask for.
    #[derive(Debug)]
    struct Unasked;

    impl capacity::Source for Unasked {
        fn capacity(&self) -> &Capacity {
            panic!("a fleet at rest needs to know of no room")
        }
    }

    #[test]
    fn a_fleet_at_rest_asks_for_no_room() {
        let fleet = fleet(2);
        let entries = [0, 1].map(|slot| ready_entry(&fleet, slot));
        let groups = entries.iter().map(|group| (group.name.clone(), healthy(group, t0()))).collect();
        let mut status =
            RayClusterFleetStatus { groups: entries.to_vec(), ..RayClusterFleetStatus::default() };
        for second in 1..3 {
            let world = ReconcileInput {
                fleet: &fleet,
                stable: None,
                held: None,
                failed_writes: &[],
                status: &status,
                groups: &groups,
                capacity: Some(&Unasked),
                now: at(second),
            };
            let decision = decide(&world);
            assert_eq!(decision.effects, []);
            status = decision.status;
        }
        assert_eq!(status.ready_replicas, 2);
    }

    #[test]
    fn leaving_a_node_that_is_avoided_counts_as_a_failure() {
        let group = GroupStatus {
            phase: Phase::Failed,
            retry_after: Some(time::began(at(100))),
            nodes: vec!["node-0".into(), "node-1".into()],
            ..ready_entry(&fleet(1), 0)
        };
        let last = Some(time::began(t0()));
        let against = NodeFailures {
            node: "node-1".into(),
            failures: 3,
            last_failure_time: last,
            avoided: true,
            ..NodeFailures::default()
        };
        let left = &pass(&fleet(1), &group, &[against]).status.groups[0];
        assert_eq!((left.goal, left.failures), (Goal::Retire, 1));
    }
}
