//! Progress lines for a person while a fleet changes: one for each phase that a group enters and for each
//! step of the rollout. Pure: states in, lines out.
//! step of the rollout. Pure: states in, lines out.

use std::collections::BTreeMap;

use rayfleet_api::status::{GroupStatus, Phase, RolloutStep};
use rayfleet_api::{GroupName, RayClusterFleet};

use super::ready;

/// Remembers what was reported.
#[derive(Debug, Default)]
pub struct Narrator {
    groups: BTreeMap<GroupName, (Phase, u32, u32)>,
    step: Option<RolloutStep>,
}

impl Narrator {
    /// Lines about what has changed since the last call.
    pub fn changes(&mut self, fleet: &RayClusterFleet) -> Vec<String> {
        let mut lines = Vec::new();
        let rollout = fleet.status.as_ref().and_then(|status| status.rollout.as_ref());
        if let Some(rollout) = rollout.filter(|rollout| self.step != Some(rollout.step)) {
            self.step = Some(rollout.step);
            let reason = rollout.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            lines.push(format!("rollout: {}{reason}", rollout.step));
        }
        for group in ready::groups(fleet) {
            let state = (group.phase, group.attempt, group.launch);
            if self.groups.insert(group.name.clone(), state) != Some(state) {
                lines.push(line(group));
            }
        }
        let there = |name: &GroupName| ready::groups(fleet).iter().any(|group| group.name == *name);
        self.groups.retain(|name, _| {
            let keep = there(name);
            if !keep {
                lines.push(format!("{name}  is gone"));
            }
            keep
        });
        lines
    }
}

fn line(group: &GroupStatus) -> String {
    let words = match &group.message {
        _ if group.phase == Phase::Ready => {
            format!(
                "ranks {} on {}",
                group.ranks.map_or_else(|| "-".to_owned(), |ranks| ranks.to_string()),
                group.nodes.join(", ")
            )
        }
        Some(message) => message.lines().next().unwrap_or_default().to_owned(),
        None => String::new(),
    };
    format!("{}  {:<12} {words}", group.name, group.phase.as_str()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fleet(groups: &Value) -> RayClusterFleet {
        serde_json::from_value(json!({
            "apiVersion": "orchestration.aibrix.ai/v1alpha1", "kind": "RayClusterFleet", "metadata": {"name": "f"},
            "spec": {"selector": {}, "template": {"spec": {}}},
            "status": {"groups": groups, "rollout": {"step": "Replacing groups", "reason": "1 of 2", "to": "a"}},
        }))
        .unwrap()
    }

    #[test]
    fn each_change_is_reported_once() {
        let mut narrator = Narrator::default();
        let group =
            |phase| json!([{"name": "f-0", "slot": 0, "revision": "a", "phase": phase, "message": "m"}]);
        let reported = narrator.changes(&fleet(&group("Forming")));
        assert_eq!(reported, ["rollout: Replacing groups (1 of 2)", "f-0  Forming      m"]);
        assert_eq!(narrator.changes(&fleet(&group("Forming"))), Vec::<String>::new());
        assert_eq!(narrator.changes(&fleet(&group("Placing"))), ["f-0  Placing      m"]);
        assert_eq!(narrator.changes(&fleet(&json!([]))), ["f-0  is gone"]);
    }
}
