//! Which groups are held: while a group takes traffic or drains, none of its pods may be evicted, as that would end the whole group. So
//! `kubectl drain` waits until the group has moved. What does not serve is not held, nor what takes traffic on a machine that ends
//! anyway. One that drains there is held until its last request: an eviction would end its containers at once. Pure.

use std::collections::BTreeMap;

use kube::ResourceExt;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::{GroupName, RayClusterFleet, ValidFleet, names};
use rayfleet_core::observed::{ObservedGroup, ObservedPod};

/// Pods of the groups that are to be held, by group.
pub(super) fn groups(
    raw: &RayClusterFleet,
    fleet: &ValidFleet,
    ledger: &[GroupStatus],
    observed: &BTreeMap<GroupName, ObservedGroup>,
) -> BTreeMap<GroupName, usize> {
    if raw.annotations().get(names::ANNOTATION_DISRUPTION_BUDGET).is_some_and(|value| value == "false") {
        return BTreeMap::new();
    }
    let lost_soon = |group: &GroupStatus| {
        observed.get(&group.name).is_some_and(|observed| observed.pods.iter().any(ObservedPod::node_ends))
    };
    let held = ledger.iter().filter(|group| match group.phase {
        Phase::Ready => !lost_soon(group),
        phase => phase == Phase::Draining,
    });
    let pods = |group: &GroupStatus| {
        let cluster = observed.get(&group.name)?.cluster.as_ref().filter(|cluster| !cluster.deleting)?;
        Some((group.name.clone(), cluster.pods.unwrap_or(fleet.shape.size())))
    };
    held.filter_map(pods).collect()
}

#[cfg(test)]
mod tests {
    use rayfleet_core::capacity::{Closing, Leaving};
    use rayfleet_core::observed::ObservedRayCluster;

    use super::groups as wanted;
    use super::*;
    use crate::fixtures::{fleet, raw_fleet};

    fn group(name: &str, phase: Phase) -> GroupStatus {
        GroupStatus { name: name.into(), phase, ..GroupStatus::default() }
    }

    fn observed(names: &[&str]) -> BTreeMap<GroupName, ObservedGroup> {
        let of = |name: &&str| {
            let cluster = Some(ObservedRayCluster { pods: Some(2), ..ObservedRayCluster::default() });
            ((*name).into(), ObservedGroup { cluster, ..ObservedGroup::default() })
        };
        names.iter().map(of).collect()
    }

    #[test]
    fn only_groups_that_serve_or_drain_are_held() {
        let groups = [
            group("serves", Phase::Ready),
            group("drains", Phase::Draining),
            group("loads", Phase::Loading),
            group("stops", Phase::Stopping),
            group("failed", Phase::Failed),
        ];
        let observed = observed(&["serves", "drains", "loads", "stops", "failed"]);
        let held = wanted(&raw_fleet(), &fleet(), &groups, &observed);
        assert_eq!(held, BTreeMap::from([("drains".into(), 2), ("serves".into(), 2)]));
        let mut without = raw_fleet();
        without.annotations_mut().insert(names::ANNOTATION_DISRUPTION_BUDGET.to_owned(), "false".to_owned());
        assert!(wanted(&without, &fleet(), &groups, &observed).is_empty());
    }

    /// What ends anyway may as well be evicted; what drains keeps its containers until its last request.
    #[test]
    fn a_group_that_serves_on_a_machine_that_ends_is_not_held() {
        let groups = [group("serves", Phase::Ready), group("drains", Phase::Draining)];
        let held = |how: Leaving| {
            let mut observed = observed(&["serves", "drains"]);
            let node_closing = Some(Closing { what: "has a taint".to_owned(), how });
            let pods = vec![ObservedPod::default(), ObservedPod { node_closing, ..ObservedPod::default() }];
            for group in observed.values_mut() {
                group.pods.clone_from(&pods);
            }
            wanted(&raw_fleet(), &fleet(), &groups, &observed).into_keys().collect::<Vec<_>>()
        };
        assert_eq!(held(Leaving::Emptied), ["drains", "serves"]);
        assert_eq!(held(Leaving::Ends), ["drains"]);
    }
}
