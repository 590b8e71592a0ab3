//! `PodDisruptionBudgets`: while a group takes traffic or drains, none of its pods may be evicted, as that would end the whole group. So
//! `kubectl drain` waits until the group has moved. What does not serve is not held, nor what takes traffic on a machine that ends
//! anyway. One that drains there is held until its last request: an eviction would end its containers at once. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::{RayClusterFleet, ValidFleet, names};
use rayfleet_core::observed::{ObservedGroup, ObservedPod};

use super::Key;
use super::build::metadata;
use super::index::Store;
use super::owners::controls;

/// What has to be written so that the budgets are right.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Budgets {
    /// Create these.
    pub(crate) create: Vec<PodDisruptionBudget>,
    /// Delete these, by name.
    pub(crate) delete: Vec<String>,
}

/// Pods of the groups that are to be held, by group.
pub(crate) fn wanted(
    raw: &RayClusterFleet,
    fleet: &ValidFleet,
    groups: &[GroupStatus],
    observed: &BTreeMap<String, ObservedGroup>,
) -> BTreeMap<String, usize> {
    if raw.annotations().get(names::ANNOTATION_DISRUPTION_BUDGET).is_some_and(|value| value == "false") {
        return BTreeMap::new();
    }
    let lost_soon = |group: &GroupStatus| {
        observed.get(&group.name).is_some_and(|observed| observed.pods.iter().any(ObservedPod::node_ends))
    };
    let held = groups.iter().filter(|group| match group.phase {
        Phase::Ready => !lost_soon(group),
        phase => phase == Phase::Draining,
    });
    let pods = |group: &GroupStatus| {
        let cluster = observed.get(&group.name)?.cluster.as_ref().filter(|cluster| !cluster.deleting)?;
        Some((group.name.clone(), cluster.pods.unwrap_or(fleet.shape.size())))
    };
    held.filter_map(pods).collect()
}

impl Budgets {
    /// What is missing, and what is too much or otherwise than it should be.
    pub(crate) fn change(fleet: &ValidFleet, wanted: &BTreeMap<String, usize>, store: &Store) -> Self {
        let mut change = Self::default();
        let there = store.budgets.range(Key::new(&fleet.namespace, "")..);
        let there = there.take_while(|(key, _)| key.namespace == fleet.namespace);
        let owned = there.filter(|(_, budget)| controls(&fleet.uid, &***budget));
        let owned: BTreeMap<&str, &PodDisruptionBudget> =
            owned.map(|(key, budget)| (key.name.as_str(), &**budget)).collect();
        for (group, pods) in wanted {
            let budget = of_group(fleet, group, *pods);
            match owned.get(group.as_str()) {
                None => change.create.push(budget),
                Some(there) if !same(there, &budget) => change.delete.push(group.clone()),
                Some(_) => {}
            }
        }
        let surplus = owned.keys().filter(|name| !wanted.contains_key(**name));
        change.delete.extend(surplus.map(|name| (*name).to_owned()));
        change
    }
}

/// Whether two budgets hold the same pods in the same way.
fn same(one: &PodDisruptionBudget, other: &PodDisruptionBudget) -> bool {
    let rule = |budget: &PodDisruptionBudget| {
        let spec = budget.spec.clone().unwrap_or_default();
        (spec.min_available, spec.selector, spec.unhealthy_pod_eviction_policy)
    };
    rule(one) == rule(other)
}

/// A number, not a share: Kubernetes cannot ask a RayCluster how many pods it wants. By the label that KubeRay gives every pod, so that
/// groups taken over are held too. The policy for unhealthy pods is Kubernetes' own: the head of a group that drains is not ready, and
/// has to stay until its last request.
fn of_group(fleet: &ValidFleet, group: &str, pods: usize) -> PodDisruptionBudget {
    let labels = [(names::RAY_LABEL_CLUSTER.to_owned(), group.to_owned())];
    PodDisruptionBudget {
        metadata: metadata(fleet, group, &[(names::LABEL_GROUP, group)]),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(i32::try_from(pods).unwrap_or(i32::MAX))),
            selector: Some(LabelSelector { match_labels: Some(labels.into()), ..LabelSelector::default() }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use rayfleet_core::capacity::{Closing, Leaving};
    use rayfleet_core::observed::ObservedRayCluster;

    use super::*;
    use crate::fixtures::{fleet, raw_fleet};
    use crate::kubernetes::Index;

    fn group(name: &str, phase: Phase) -> GroupStatus {
        GroupStatus { name: name.to_owned(), phase, ..GroupStatus::default() }
    }

    fn observed(names: &[&str]) -> BTreeMap<String, ObservedGroup> {
        let of = |name: &&str| {
            let cluster = Some(ObservedRayCluster { pods: Some(2), ..ObservedRayCluster::default() });
            ((*name).to_owned(), ObservedGroup { cluster, ..ObservedGroup::default() })
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
        assert_eq!(held, BTreeMap::from([("drains".to_owned(), 2), ("serves".to_owned(), 2)]));
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

    #[test]
    fn budgets_come_and_go_with_what_they_hold() {
        let index = Index::default();
        let change = |held: &[(&str, usize)]| {
            let held = held.iter().map(|(name, pods)| ((*name).to_owned(), *pods)).collect();
            index.read(|store| Budgets::change(&fleet(), &held, store))
        };
        let mut made = change(&[("g", 2)]).create;
        let budget = made.pop().unwrap();
        assert_eq!(budget.spec.as_ref().unwrap().min_available, Some(IntOrString::Int(2)));
        index.apply(budget);
        assert_eq!(change(&[("g", 2)]), Budgets::default());
        // One of an earlier version let the unready head of a group that drains go.
        let mut older = index.read(|store| (**store.budgets.values().next().unwrap()).clone());
        older.spec.as_mut().unwrap().unhealthy_pod_eviction_policy = Some("AlwaysAllow".to_owned());
        older.metadata.resource_version = Some("99".to_owned());
        index.apply(older);
        assert_eq!(change(&[("g", 2)]).delete, ["g"]);
        assert_eq!(change(&[("g", 3)]).delete, ["g"]);
        assert_eq!(change(&[]).delete, ["g"]);
    }
}
