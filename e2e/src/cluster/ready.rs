//! Checks of a fleet's status against its spec. Pure functions.

use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::{GroupStatus, Phase, RolloutStep};

/// The groups in a fleet's status.
pub fn groups(fleet: &RayClusterFleet) -> &[GroupStatus] {
    fleet.status.as_ref().map_or(&[], |status| &status.groups)
}

/// Whether the fleet matches its spec: the status is of this generation, and exactly the wanted groups
/// exist, are of the current revision and ready.
pub fn settled(fleet: &RayClusterFleet) -> bool {
    unsettled(fleet).is_none()
}

/// What does not match the spec yet, for people; `None` if everything does.
pub fn unsettled(fleet: &RayClusterFleet) -> Option<String> {
    let wanted = fleet.spec.replicas.unwrap_or(1);
    let Some(status) = &fleet.status else { return Some("there is no status yet".into()) };
    if status.observed_generation != fleet.metadata.generation {
        return Some("the status is of an earlier spec".into());
    }
    for (count, what) in [
        (status.replicas, "groups exist"),
        (status.updated_replicas, "groups are updated"),
        (status.ready_replicas, "groups are ready"),
        (status.available_replicas, "groups are available"),
    ] {
        if count != wanted {
            return Some(format!("{count} of {wanted} {what}"));
        }
    }
    if let Some(group) = status.groups.iter().find(|group| group.phase != Phase::Ready) {
        return Some(format!("group {} is {}", group.name, group.phase.as_str()));
    }
    match status.rollout.as_ref().map(|rollout| rollout.step) {
        Some(RolloutStep::Complete) => None,
        Some(step) => Some(format!("the rollout is at `{step}`")),
        None => Some("there is no rollout yet".into()),
    }
}

/// Whether as many groups as wanted exist and take traffic, whatever their revision.
pub fn whole(fleet: &RayClusterFleet) -> bool {
    let wanted = fleet.spec.replicas.unwrap_or(1);
    fleet.status.as_ref().is_some_and(|status| {
        (status.replicas, status.ready_replicas, status.available_replicas) == (wanted, wanted, wanted)
    })
}

/// One line for each group.
pub fn lines(fleet: &RayClusterFleet) -> Vec<String> {
    groups(fleet)
        .iter()
        .map(|group| {
            let message = group.message.as_deref().unwrap_or_default();
            let ranks = group.ranks.map_or_else(|| "-".to_owned(), |ranks| ranks.to_string());
            format!("{} {} ranks {ranks} {message}", group.name, group.phase.as_str())
        })
        .collect()
}

/// A fleet's status for people: conditions, groups and rollout.
pub fn words(fleet: &RayClusterFleet) -> String {
    let Some(status) = &fleet.status else { return String::new() };
    let mut words: Vec<String> = status
        .conditions
        .iter()
        .map(|c| format!("condition {}={} {}: {}", c.type_, c.status, c.reason, c.message))
        .collect();
    words.extend(lines(fleet).into_iter().map(|line| format!("group {line}")));
    if let Some(rollout) = &status.rollout {
        words.push(format!("rollout {}: {}", rollout.step, rollout.reason.as_deref().unwrap_or_default()));
    }
    words.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fleet(status: &serde_json::Value) -> RayClusterFleet {
        serde_json::from_value(json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet",
            "metadata": {"name": "f", "generation": 3},
            "spec": {"replicas": 1, "selector": {}, "template": {"spec": {}}},
            "status": status,
        }))
        .unwrap()
    }

    fn good() -> serde_json::Value {
        json!({
            "observedGeneration": 3, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "groups": [{"name": "f-0", "slot": 0, "revision": "a", "phase": "Ready"}],
            "rollout": {"step": "Complete", "to": "a"},
        })
    }

    #[test]
    fn a_fleet_is_settled_only_if_every_condition_holds() {
        assert_eq!(unsettled(&fleet(&good())), None);
        for (pointer, value) in [
            ("/observedGeneration", json!(2)),
            ("/replicas", json!(2)),
            ("/updatedReplicas", json!(0)),
            ("/readyReplicas", json!(0)),
            ("/groups/0/phase", json!("Draining")),
            ("/rollout/step", json!("Replacing groups")),
        ] {
            let mut status = good();
            *status.pointer_mut(pointer).unwrap() = value;
            assert!(unsettled(&fleet(&status)).is_some(), "{pointer}");
        }
    }
}
