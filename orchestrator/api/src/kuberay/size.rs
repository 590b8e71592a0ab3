//! Numbers of pods, as KubeRay 1.6's and 1.7's `GetWorkerGroupDesiredReplicas` has them (ray-operator/controllers/ray/utils/util.go).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// KubeRay's default of `maxReplicas`.
const NO_MAXIMUM: i64 = i32::MAX as i64;

/// The numbers that a worker group's size is made of, with the defaults of KubeRay's CRD in them: two spellings of one size are equal.
/// Its form in JSON is that of annotations of RayClusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSize {
    /// `replicas`.
    pub replicas: i64,
    /// `minReplicas`.
    pub min: i64,
    /// `maxReplicas`.
    pub max: i64,
    /// `numOfHosts`: pods of each replica.
    pub hosts: i64,
    /// `suspend`: KubeRay keeps no pods of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

impl WorkerSize {
    /// Of a worker group as it is written.
    pub fn of(group: &Value) -> Self {
        Self {
            replicas: number(group, "replicas").unwrap_or(0),
            min: number(group, "minReplicas").unwrap_or(0),
            max: number(group, "maxReplicas").unwrap_or(NO_MAXIMUM),
            hosts: number(group, "numOfHosts").unwrap_or(1),
            suspend: group["suspend"] == true,
        }
    }

    /// Replicas while it is not suspended: `replicas`, kept within `minReplicas` and `maxReplicas`.
    pub fn replicas(&self) -> u64 {
        // In this order, as KubeRay asks: with a minimum above the maximum the minimum counts.
        let wanted = if self.replicas < self.min { self.min } else { self.replicas.min(self.max) };
        u64::try_from(wanted).unwrap_or_default()
    }

    /// Pods: `numOfHosts` for each replica, so none at `numOfHosts: 0`, and none while it is suspended. KubeRay makes a 1 of such a 0
    /// only after it has counted.
    pub fn pods(&self) -> u64 {
        let hosts = u64::try_from(self.hosts).unwrap_or_default();
        if self.suspend { 0 } else { self.replicas().saturating_mul(hosts) }
    }

    /// Most pods that Ray's autoscaler may make.
    pub fn most_pods(&self) -> u64 {
        Self { replicas: self.max, ..*self }.pods()
    }

    /// Fewest pods that Ray's autoscaler may leave.
    pub fn fewest_pods(&self) -> u64 {
        Self { replicas: self.min, ..*self }.pods()
    }
}

/// Pods of a whole RayCluster: the head and all workers. `None` for a spec without a head.
pub fn pods(spec: &Value) -> Option<u64> {
    let groups = spec["workerGroupSpecs"].as_array().into_iter().flatten();
    let sum = groups.map(|group| WorkerSize::of(group).pods()).fold(1_u64, u64::saturating_add);
    spec["headGroupSpec"].is_object().then_some(sum)
}

/// A whole number, however it is spelled: `2`, `2.0`.
fn number(group: &Value, field: &str) -> Option<i64> {
    let value = &group[field];
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an `as` of a float stops at the ends, and those are refused"
    )]
    let of_float = || value.as_f64().filter(|float| float.fract() == 0.0).map(|float| float as i64);
    value.as_i64().or_else(of_float)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_group_has_the_size_that_kuberay_gives_it() {
        let cases = [
            (json!({}), 0),
            (json!({"replicas": null}), 0),
            (json!({"replicas": 3}), 3),
            (json!({"replicas": 3.0}), 3),
            (json!({"replicas": 4, "maxReplicas": 2}), 2),
            (json!({"replicas": 1, "minReplicas": 2}), 2),
            (json!({"minReplicas": 2}), 2),
            (json!({"minReplicas": 2, "maxReplicas": 2_147_483_647}), 2),
            (json!({"replicas": 2, "minReplicas": 1, "maxReplicas": 5}), 2),
            (json!({"replicas": 5, "minReplicas": 4, "maxReplicas": 2}), 2),
            (json!({"replicas": 3, "minReplicas": 4, "maxReplicas": 2}), 4),
            (json!({"replicas": 2, "numOfHosts": 4}), 8),
            (json!({"replicas": 9, "maxReplicas": 2, "numOfHosts": 4}), 8),
            (json!({"replicas": 2, "numOfHosts": 0}), 0),
            (json!({"replicas": 2, "numOfHosts": 2.0}), 4),
            (json!({"replicas": 2, "numOfHosts": -1}), 0),
            (json!({"minReplicas": 2.0, "maxReplicas": 3.0, "replicas": 9}), 3),
            (json!({"replicas": 2, "maxReplicas": -1}), 0),
            (json!({"replicas": 2.5}), 0),
            (json!({"replicas": 2, "suspend": true}), 0),
            (json!({"replicas": 2, "minReplicas": 2, "suspend": true}), 0),
            (json!({"replicas": 2, "suspend": false}), 2),
            (json!({"replicas": -1}), 0),
            (json!({"replicas": 1, "minReplicas": -5}), 1),
            (json!({"replicas": "3"}), 0),
        ];
        for (group, size) in cases {
            assert_eq!(WorkerSize::of(&group).pods(), size, "{group}");
        }
    }

    #[test]
    fn no_number_of_workers_is_too_large_to_be_counted() {
        let much = json!({"replicas": i64::MAX, "maxReplicas": i64::MAX, "numOfHosts": i64::MAX});
        assert_eq!(WorkerSize::of(&much).pods(), u64::MAX);
        assert_eq!(pods(&json!({"headGroupSpec": {}, "workerGroupSpecs": [much, much]})), Some(u64::MAX));
    }

    #[test]
    fn a_cluster_is_a_head_and_all_workers() {
        let groups =
            json!([{"replicas": 3}, {"replicas": 2, "numOfHosts": 2}, {}, {"replicas": 7, "suspend": true}]);
        assert_eq!(pods(&json!({"headGroupSpec": {}, "workerGroupSpecs": groups})), Some(8));
        assert_eq!(pods(&json!({"headGroupSpec": {}})), Some(1));
        assert_eq!(pods(&json!({"workerGroupSpecs": groups})), None);
    }
}
