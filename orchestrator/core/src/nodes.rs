//! What a fleet has against nodes: failures that came from one and the same node are counted, and a node with too many
//! is avoided for a while. Only the count; who is kept off it is the planner's business.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::revision::Revision;
use rayfleet_api::status::{GroupStatus, NodeFailures, Phase};
use rayfleet_api::valid::after;
use rayfleet_api::{NodeName, ValidFleet};

use crate::effect::Effect;
use crate::group::{Blamed, GroupDecision};
use crate::{text, time};

/// A node without a failure for this long has left its earlier ones behind.
pub(crate) const MEMORY: Duration = Duration::from_hours(1);

/// Nodes that are remembered at most: those with the most failures.
pub(crate) const MOST: usize = 64;

/// Failures by node after this pass, and the events about them.
pub(crate) struct Nodes {
    pub(crate) failures: Vec<NodeFailures>,
    pub(crate) effects: Vec<Effect>,
    /// When the next node is forgiven.
    pub(crate) wake: Option<Timestamp>,
}

impl Nodes {
    /// Enters what the groups' steps blame nodes for, and forgets what is too old.
    pub(crate) fn settle(
        fleet: &ValidFleet,
        proven: Option<&Revision>,
        before: &[NodeFailures],
        steps: &[GroupDecision],
        now: Timestamp,
    ) -> Self {
        let kept = before.iter().filter(|entry| end(entry).is_some_and(|end| now < end));
        let mut entries: BTreeMap<NodeName, NodeFailures> =
            kept.map(|entry| (entry.node.clone(), entry.clone())).collect();
        let mut effects = Vec::new();
        for step in steps {
            let Some(blamed) =
                step.blamed.as_ref().filter(|blamed| counts(blamed, &step.group, steps, proven))
            else {
                continue;
            };
            for node in &blamed.nodes {
                let entry = entries
                    .entry(node.clone())
                    .or_insert_with(|| NodeFailures { node: node.clone(), ..NodeFailures::default() });
                entry.failures = entry.failures.saturating_add(1);
                entry.last_failure_time = Some(time::began(now));
                entry.cause = text::bounded(format!("group {}: {}", step.group.name, blamed.cause));
                if !entry.avoided && enough(fleet, entry.failures) {
                    effects.push(announce(entry));
                }
            }
        }
        let mut failures: Vec<NodeFailures> = entries.into_values().collect();
        for entry in &mut failures {
            entry.avoided = enough(fleet, entry.failures);
        }
        if failures.len() > MOST {
            failures.sort_by_key(|entry| {
                (Reverse(entry.failures), Reverse(entry.last_failure_time.as_ref().map(|last| last.0)))
            });
            failures.truncate(MOST);
            failures.sort_by(|one, other| one.node.cmp(&other.node));
        }
        let wake = failures.iter().filter_map(end).min();
        Self { failures, effects, wake }
    }
}

fn end(entry: &NodeFailures) -> Option<Timestamp> {
    entry.last_failure_time.as_ref().map(|last| after(last.0, MEMORY))
}

/// Whether it is the node that failed, and not a spec or model that fails everywhere: the group had served, another
/// one of the same revisions does, or all groups once were of it and served.
fn counts(blamed: &Blamed, group: &GroupStatus, steps: &[GroupDecision], proven: Option<&Revision>) -> bool {
    let alike = |other: &GroupStatus| {
        other.revision == group.revision && other.engine_revision == group.engine_revision
    };
    let was_proven = proven.is_some_and(|proven| *proven == group.revisions());
    blamed.served
        || was_proven
        || steps.iter().any(|step| step.group.phase == Phase::Ready && alike(&step.group))
}

fn enough(fleet: &ValidFleet, failures: u32) -> bool {
    let limit = fleet.failure.avoid_node_after;
    limit > 0 && failures >= limit
}

fn announce(entry: &NodeFailures) -> Effect {
    let message = format!(
        "node {} is avoided for groups of this fleet: {} failures came from it, the last: {}; look at the node, or set spec.failurePolicy.avoidNodeAfter",
        entry.node, entry.failures, entry.cause
    );
    Effect::Event { warning: true, reason: "NodeAvoided", message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, entry, fleet, ready_entry};

    fn step(group: GroupStatus, blamed: Option<Blamed>) -> GroupDecision {
        GroupDecision { group, effects: Vec::new(), wake: None, lost_requests: 0, failure: None, blamed }
    }

    fn blamed(node: &str, served: bool) -> Blamed {
        Blamed { nodes: vec![node.into()], cause: "rank 1 died".to_owned(), served }
    }

    #[test]
    fn a_node_that_fails_repeatedly_is_avoided_and_named_once() {
        let fleet = fleet(2);
        let mut failures = Vec::new();
        let mut reported = 0;
        for second in 0..5 {
            let steps = [step(entry(&fleet, 0), Some(blamed("node-1", true)))];
            let nodes = Nodes::settle(&fleet, None, &failures, &steps, at(second));
            assert_eq!(nodes.failures[0].avoided, second >= 2, "{second}");
            reported += nodes.effects.len();
            failures = nodes.failures;
        }
        assert_eq!((failures[0].failures, reported), (5, 1));
    }

    #[test]
    fn a_node_is_forgiven_after_an_hour_without_a_failure() {
        let fleet = fleet(1);
        let steps = [step(entry(&fleet, 0), Some(blamed("node-1", true)))];
        let nodes = Nodes::settle(&fleet, None, &[], &steps, at(0));
        assert_eq!(nodes.wake, Some(at(3600)));
        assert_eq!(Nodes::settle(&fleet, None, &nodes.failures, &[], at(3599)).failures.len(), 1);
        assert!(Nodes::settle(&fleet, None, &nodes.failures, &[], at(3600)).failures.is_empty());
    }

    #[test]
    fn a_revision_that_never_served_accuses_no_node() {
        let fleet = fleet(2);
        let alone = [step(entry(&fleet, 0), Some(blamed("node-1", false))), step(entry(&fleet, 1), None)];
        assert!(Nodes::settle(&fleet, None, &[], &alone, at(0)).failures.is_empty());
        let beside =
            [step(entry(&fleet, 0), Some(blamed("node-1", false))), step(ready_entry(&fleet, 1), None)];
        assert_eq!(Nodes::settle(&fleet, None, &[], &beside, at(0)).failures[0].failures, 1);
        let other_engine = GroupStatus { engine_revision: Some("eng0".into()), ..ready_entry(&fleet, 1) };
        let other_pods = GroupStatus { revision: "pods0".into(), ..ready_entry(&fleet, 1) };
        for other in [other_engine, other_pods] {
            let beside = [step(entry(&fleet, 0), Some(blamed("node-1", false))), step(other, None)];
            assert!(Nodes::settle(&fleet, None, &[], &beside, at(0)).failures.is_empty());
        }
    }

    #[test]
    fn a_revision_that_was_complete_once_is_not_at_fault() {
        let fleet = fleet(1);
        let steps = [step(entry(&fleet, 0), Some(blamed("node-1", false)))];
        let failures = |proven: &str| {
            Nodes::settle(&fleet, Some(&Revision::from(proven)), &[], &steps, at(0)).failures.len()
        };
        assert_eq!((failures("pods1/eng1"), failures("pods0/eng1")), (1, 0));
    }

    #[test]
    fn zero_avoids_no_node() {
        let mut fleet = fleet(1);
        fleet.failure.avoid_node_after = 0;
        let steps = [step(entry(&fleet, 0), Some(blamed("node-1", true)))];
        assert!(!Nodes::settle(&fleet, None, &[], &steps, at(0)).failures[0].avoided);
    }
}
