//! Which group gets the connections. Pure.

use kube::core::DynamicObject;
use rayfleet_api::status::Phase;
use rayfleet_api::{GroupName, PodName, RayClusterFleet, ValidFleet};
use rayfleet_cli_kit::CliError;

use crate::view::{Fleet, Group};

/// The head of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group: GroupName,
    pub(super) head: PodName,
}

/// The engine's port of a fleet; `None` if its spec says that there is none, or is no valid spec.
pub(super) fn engine_port(fleet: &DynamicObject) -> Option<u16> {
    let mut object = serde_json::to_value(fleet).ok()?;
    object.as_object_mut()?.remove("status");
    let fleet: RayClusterFleet = serde_json::from_value(object).ok()?;
    let valid = ValidFleet::recorded(&fleet).ok()?;
    valid.model.map_or(valid.own_engine_port, |model| Some(model.port))
}

/// Heads of the groups that take traffic by the fleet's status, the best first: that with the fewest requests in
/// flight.
pub(super) fn candidates(fleet: &Fleet, only: Option<&str>) -> Vec<Target> {
    let mut serving: Vec<&Group> = fleet
        .groups
        .iter()
        .filter(|group| only.is_none_or(|only| &*group.name == only) && serves(group))
        .collect();
    serving.sort_by_key(|group| (group.in_flight.unwrap_or(i64::MAX), group.name.clone()));
    serving.into_iter().filter_map(target).collect()
}

fn serves(group: &Group) -> bool {
    group.phase == Phase::Ready.as_str() && group.goal == "Serve"
}

fn target(group: &Group) -> Option<Target> {
    Some(Target { group: group.name.clone(), head: group.head.clone()? })
}

/// Why a group that had the connections does not get new ones; `None` if it does.
pub(super) fn lost(fleet: &Fleet, now: &Target) -> Option<String> {
    let Some(group) = fleet.groups.iter().find(|group| group.name == now.group) else {
        return Some("is gone".to_owned());
    };
    if !serves(group) {
        let phase = if group.phase == Phase::Ready.as_str() { "about to drain" } else { &group.phase };
        return Some(format!("is {phase}"));
    }
    (group.head.as_ref() != Some(&now.head)).then(|| "has another head".to_owned())
}

/// No group can be had.
pub(super) fn none(fleet: &Fleet, only: Option<&str>) -> CliError {
    let cure = format!("see why: kubectl rayfleet diagnose {} -n {}", fleet.name, fleet.namespace);
    let named = |group: &Group| format!("{} is {}", group.name, group.phase);
    if let Some(only) = only {
        let Some(group) = fleet.groups.iter().find(|group| &*group.name == only) else {
            let known: Vec<&str> = fleet.groups.iter().take(MOST).map(|group| &*group.name).collect();
            let message = format!("fleet \"{}\" has no group \"{only}\"", fleet.name);
            return CliError::failed(message, format!("its groups: {}", known.join(", ")));
        };
        return CliError::failed(format!("group \"{only}\" takes no traffic: it is {}", group.phase), cure);
    }
    let states: Vec<String> = fleet.groups.iter().take(MOST).map(named).collect();
    let states = if states.is_empty() { "it has no groups".to_owned() } else { states.join(", ") };
    CliError::failed(format!("no group of fleet \"{}\" takes traffic: {states}", fleet.name), cure)
}

/// Groups that are named in an error.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn names(fleet: &Fleet, only: Option<&str>) -> Vec<String> {
        candidates(fleet, only).into_iter().map(|target| target.group.to_string()).collect()
    }

    #[test]
    fn the_group_with_the_fewest_requests_comes_first() {
        let mut fleet = sample::complete_fleet();
        assert_eq!(names(&fleet, None), ["llama-bcdfgh-1", "llama-bcdfgh-0"]);
        fleet.groups[1].in_flight = None;
        assert_eq!(names(&fleet, None), ["llama-bcdfgh-0", "llama-bcdfgh-1"]);
        assert_eq!(names(&fleet, Some("llama-bcdfgh-1")), ["llama-bcdfgh-1"]);
    }

    #[test]
    fn a_group_that_leaves_or_has_no_head_gets_nothing() {
        let mut fleet = sample::complete_fleet();
        fleet.groups[1].goal = "Retire".to_owned();
        fleet.groups[0].head = None;
        assert!(candidates(&fleet, None).is_empty());
    }

    #[test]
    fn what_happened_to_a_group_is_said() {
        let mut fleet = sample::complete_fleet();
        let now = candidates(&fleet, Some("llama-bcdfgh-0")).remove(0);
        assert_eq!(lost(&fleet, &now), None);
        fleet.groups[0].head = Some("another".into());
        assert_eq!(lost(&fleet, &now).as_deref(), Some("has another head"));
        fleet.groups[0].goal = "SwapEngine".to_owned();
        assert_eq!(lost(&fleet, &now).as_deref(), Some("is about to drain"));
        fleet.groups[0].phase = "Draining".to_owned();
        assert_eq!(lost(&fleet, &now).as_deref(), Some("is Draining"));
        fleet.groups.remove(0);
        assert_eq!(lost(&fleet, &now).as_deref(), Some("is gone"));
    }

    #[test]
    fn the_port_is_that_of_the_model_or_of_the_template() {
        let fleet = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut spec = sample::spec("ray:1", &[]);
            change(&mut spec);
            engine_port(&sample::object(&spec, &json!({"groups": "odd"})))
        };
        assert_eq!(fleet(&|_| ()), Some(8000));
        assert_eq!(fleet(&|spec| spec["model"]["port"] = json!(9001)), Some(9001));
        assert_eq!(fleet(&|spec| spec["replicas"] = json!("many")), None);
    }

    #[test]
    fn errors_say_what_the_groups_do() {
        let mut fleet = sample::complete_fleet();
        fleet.groups[0].phase = "Starting".to_owned();
        fleet.groups[1].phase = "Failed".to_owned();
        insta::assert_snapshot!(none(&fleet, None).to_string(), @r#"
        error: no group of fleet "llama" takes traffic: llama-bcdfgh-0 is Starting, llama-bcdfgh-1 is Failed
        cure:  see why: kubectl rayfleet diagnose llama -n serving
        "#);
        insta::assert_snapshot!(none(&fleet, Some("llama-bcdfgh-0")).to_string(), @r#"
        error: group "llama-bcdfgh-0" takes no traffic: it is Starting
        cure:  see why: kubectl rayfleet diagnose llama -n serving
        "#);
        insta::assert_snapshot!(none(&fleet, Some("other")).to_string(), @r#"
        error: fleet "llama" has no group "other"
        cure:  its groups: llama-bcdfgh-0, llama-bcdfgh-1
        "#);
        fleet.groups.clear();
        insta::assert_snapshot!(none(&fleet, None).to_string(), @r#"
        error: no group of fleet "llama" takes traffic: it has no groups
        cure:  see why: kubectl rayfleet diagnose llama -n serving
        "#);
    }
}
