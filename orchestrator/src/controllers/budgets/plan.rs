//! The `PodDisruptionBudgets` of groups that are to be held, against those that are there. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rayfleet_api::{GroupName, ValidFleet, names};

use crate::kubernetes::{Key, Protected, Store, controls, metadata};

/// What has to be written so that the budgets are right.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Budgets {
    /// Create these.
    pub(super) create: Vec<PodDisruptionBudget>,
    /// Delete these, by name.
    pub(super) delete: Vec<String>,
}

impl Budgets {
    /// What is missing, and what is too much or otherwise than it should be.
    pub(super) fn change(wanted: &Protected, store: &Store) -> Self {
        let Protected { fleet, groups: wanted } = wanted;
        let mut change = Self::default();
        let there = store.budgets.range(Key::<String>::new(&fleet.namespace, "")..);
        let there = there.take_while(|(key, _)| key.namespace == fleet.namespace);
        let owned = there.filter(|(_, budget)| controls(&fleet.uid, &***budget));
        let owned: BTreeMap<&str, &PodDisruptionBudget> =
            owned.map(|(key, budget)| (key.name.as_str(), &**budget)).collect();
        for (group, pods) in wanted {
            let budget = of_group(fleet, group, *pods);
            match owned.get(group.as_str()) {
                None => change.create.push(budget),
                Some(there) if !same(there, &budget) => change.delete.push(group.to_string()),
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
fn of_group(fleet: &ValidFleet, group: &GroupName, pods: usize) -> PodDisruptionBudget {
    let labels = [(names::RAY_LABEL_CLUSTER.to_owned(), group.to_string())];
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
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::fleet;
    use crate::kubernetes::Index;

    #[test]
    fn budgets_come_and_go_with_what_they_hold() {
        let index = Index::default();
        let change = |held: &[(&str, usize)]| {
            let groups = held.iter().map(|(name, pods)| ((*name).into(), *pods)).collect();
            let wanted = Protected { fleet: Arc::new(fleet()), groups };
            index.read(|store| Budgets::change(&wanted, store))
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
