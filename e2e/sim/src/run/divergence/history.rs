//! What a fleet's status reported during a run: the phases of each group, and the steps of the rollout,
//! each with its time.

use std::time::Duration;

use rayfleet_api::RayClusterFleet;
use rayfleet_api::status::{GroupStatus, Phase};

/// Something that began at a time, and lasted until the next one of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered<T> {
    /// The phase or step.
    pub what: T,
    /// Time since the start of the run.
    pub at: Duration,
}

/// A group, from its first appearance in the status to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Name of the group.
    pub name: String,
    /// Slot.
    pub slot: u32,
    /// Revision that it was created with: `<pod>/<engine>`.
    pub revision: String,
    /// Its phases, in order.
    pub phases: Vec<Entered<Phase>>,
    /// When it was first observed to be gone.
    pub gone: Option<Duration>,
}

/// Everything that the status reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Groups, in the order of their first appearance. One that appears again under its name is a new
    /// entry.
    pub lives: Vec<Life>,
    /// Steps of the rollout, in order.
    pub steps: Vec<Entered<String>>,
    /// Time of the last observation.
    pub until: Duration,
}

impl History {
    /// Records that nothing has changed until `at`.
    pub fn lasts(&mut self, at: Duration) {
        self.until = at;
    }

    /// Records a state of the fleet, or that it does not exist. States must be given in order of time.
    pub fn take(&mut self, fleet: Option<&RayClusterFleet>, at: Duration) {
        self.until = at;
        let status = fleet.and_then(|fleet| fleet.status.as_ref());
        let groups = status.map(|status| status.groups.as_slice()).unwrap_or_default();
        for life in self.lives.iter_mut().filter(|life| life.gone.is_none()) {
            if !groups.iter().any(|group| group.name == life.name) {
                life.gone = Some(at);
            }
        }
        for group in groups {
            let open = |life: &&mut Life| life.gone.is_none() && group.name == life.name;
            if let Some(life) = self.lives.iter_mut().find(open) {
                enter(&mut life.phases, group.phase, at);
            } else {
                self.lives.push(started(group, at));
            }
        }
        if let Some(rollout) = status.and_then(|status| status.rollout.as_ref()) {
            enter(&mut self.steps, rollout.step.to_string(), at);
        }
    }

    /// How long each entry of a list lasted, where `end` is the end of the last one.
    pub fn lasted<T>(list: &[Entered<T>], end: Duration) -> Vec<Duration> {
        let ends = list.iter().skip(1).map(|next| next.at).chain([end]);
        list.iter().zip(ends).map(|(entered, end)| end.saturating_sub(entered.at)).collect()
    }
}

fn started(group: &GroupStatus, at: Duration) -> Life {
    Life {
        name: group.name.to_string(),
        slot: group.slot,
        revision: group.revisions().to_string(),
        phases: vec![Entered { what: group.phase, at }],
        gone: None,
    }
}

fn enter<T: PartialEq>(list: &mut Vec<Entered<T>>, what: T, at: Duration) {
    if list.last().is_none_or(|last| last.what != what) {
        list.push(Entered { what, at });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fleet(step: &str, groups: &Value) -> RayClusterFleet {
        serde_json::from_value(json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "metadata": {"name": "f"},
            "spec": {"selector": {}, "template": {"spec": {}}},
            "status": {"groups": groups, "rollout": {"step": step, "to": "a"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_group_that_reappears_is_a_new_entry() {
        let group = |phase: &str| json!([{"name": "f-0", "slot": 0, "revision": "a", "engineRevision": "b", "phase": phase}]);
        let mut history = History::default();
        let looks = [
            ("Starting groups", group("Pending")),
            ("Starting groups", group("Loading")),
            ("Starting groups", group("Loading")),
            ("Complete", group("Ready")),
            ("Complete", json!([])),
            ("Complete", group("Pending")),
        ];
        for (seconds, (step, groups)) in (0..).zip(looks) {
            history.take(Some(&fleet(step, &groups)), Duration::from_secs(seconds));
        }
        history.take(None, Duration::from_secs(9));
        let [first, second] = history.lives.as_slice() else { panic!("{history:?}") };
        let phases: Vec<Phase> = first.phases.iter().map(|entered| entered.what).collect();
        assert_eq!(phases, [Phase::Pending, Phase::Loading, Phase::Ready]);
        assert_eq!(first.revision, "a/b");
        assert_eq!(first.gone, Some(Duration::from_secs(4)));
        assert_eq!(second.gone, Some(Duration::from_secs(9)));
        let lasted = History::lasted(&first.phases, Duration::from_secs(4));
        assert_eq!(lasted.iter().map(Duration::as_secs).collect::<Vec<_>>(), [1, 2, 1]);
        let steps: Vec<&str> = history.steps.iter().map(|entered| entered.what.as_str()).collect();
        assert_eq!(steps, ["Starting groups", "Complete"]);
    }
}
