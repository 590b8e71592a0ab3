//! What stands between the orchestrator and the storage for a while: quotas, policies, a CRD that is not known. Pure.

use std::time::Duration;

use rayfleet_sim_kube::api::{Call, Kind, Verb, Verdict};
use serde::Deserialize;

/// Why something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// A ResourceQuota for the number of such objects.
    Quota,
    /// A `ValidatingAdmissionPolicy`.
    Policy,
    /// A webhook that cannot be reached.
    Webhook,
    /// The kind is not known.
    Absent,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Of which kinds; empty for all that fleets own.
    pub kinds: Vec<Kind>,
    /// Why.
    pub why: Why,
    /// For a quota: how many there may be.
    pub limit: usize,
    /// Until when, if it ends by itself.
    pub until: Option<Duration>,
}

impl Obstacle {
    /// What comes of a call; `there` says how many objects of its kind there are. `None`: nothing.
    pub(super) fn verdict(&self, call: &Call, there: impl Fn(&Kind) -> usize) -> Option<Verdict> {
        if !self.kinds.contains(&call.kind) {
            return None;
        }
        let creates = call.verb == Verb::Create;
        match self.why {
            Why::Absent => Some(Verdict::Unknown),
            Why::Quota if creates && there(&call.kind) >= self.limit => Some(Verdict::Deny {
                code: 403,
                reason: "Forbidden",
                words: "exceeded quota: team, requested: 1, used: all, limited: all",
            }),
            Why::Policy if creates => Some(Verdict::Deny {
                code: 422,
                reason: "Invalid",
                words: "ValidatingAdmissionPolicy 'labels' with binding 'labels' denied request: label team is missing",
            }),
            Why::Webhook if creates => Some(Verdict::Deny {
                code: 500,
                reason: "InternalError",
                words: "failed calling webhook \"check.example\": connection refused",
            }),
            Why::Quota | Why::Policy | Why::Webhook => None,
        }
    }

    /// Whether a watch that is under way ends.
    pub(super) fn breaks(&self, kind: &Kind) -> bool {
        self.why == Why::Absent && self.kinds.contains(kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_obstacle_stands_in_the_way_of_what_it_is_about() {
        let call = |verb, kind| Call {
            number: 1,
            who: String::new(),
            verb,
            kind,
            namespace: String::new(),
            name: "x".to_owned(),
            subresource: None,
            body: Value::Null,
            dry_run: false,
        };
        let says = |why, verb, kind, there: usize| {
            let obstacle = Obstacle { kinds: vec![Kind::RAY_CLUSTER], why, limit: 2, until: None };
            obstacle.verdict(&call(verb, kind), |_| there).map(|verdict| match verdict {
                Verdict::Deny { code, .. } => code,
                _ => 404,
            })
        };
        let made = |why, there| says(why, Verb::Create, Kind::RAY_CLUSTER, there);
        assert_eq!((made(Why::Quota, 1), made(Why::Quota, 2)), (None, Some(403)));
        assert_eq!(
            (made(Why::Policy, 0), made(Why::Webhook, 0), made(Why::Absent, 0)),
            (Some(422), Some(500), Some(404))
        );
        assert_eq!(says(Why::Absent, Verb::List, Kind::RAY_CLUSTER, 0), Some(404));
        assert_eq!(says(Why::Policy, Verb::Delete, Kind::RAY_CLUSTER, 0), None);
        assert_eq!(says(Why::Policy, Verb::Create, Kind::POD, 0), None);
    }
}
