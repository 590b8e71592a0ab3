//! When each fleet was ready: by its pods, and by its status. Whose pods they are is said by their names, which begin with the fleet's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;
use serde_json::Value;

use crate::numbers::Spread;

/// All fleets.
pub(crate) struct Progress {
    /// Pods that one has.
    pods: usize,
    fleets: BTreeMap<String, Fleet>,
}

#[derive(Debug, Default)]
struct Fleet {
    created: Option<Instant>,
    /// Its pods that are Ready.
    ready: BTreeSet<String>,
    /// Since when all of its pods have been, and since when its status has said so.
    by_pods: Option<Instant>,
    by_status: Option<Instant>,
}

/// Seconds of a scenario that has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Times {
    /// From the first creation until the last fleet was ready.
    pub(crate) by_pods: f64,
    pub(crate) by_status: f64,
    /// From a fleet's creation until its status said that it is ready.
    pub(crate) fleet: Option<Spread>,
    /// From all pods of a fleet being Ready until its status said so.
    pub(crate) status_behind_pods: Option<Spread>,
}

impl Progress {
    /// Of fleets of these names, none of which is there yet.
    pub(crate) fn new(names: impl Iterator<Item = String>, pods: usize) -> Self {
        Self { pods, fleets: names.map(|name| (name, Fleet::default())).collect() }
    }

    /// A fleet is about to be made.
    pub(crate) fn created(&mut self, name: &str, now: Instant) {
        if let Some(fleet) = self.fleets.get_mut(name) {
            fleet.created = Some(now);
        }
    }

    /// A pod is there and Ready, or not.
    pub(crate) fn pod_is(&mut self, pod: &Pod, ready: bool, now: Instant) {
        let Some(name) = &pod.metadata.name else { return };
        let fleet = name.split_once('-').and_then(|(fleet, _)| self.fleets.get_mut(fleet));
        let Some(fleet) = fleet else { return };
        if ready {
            fleet.ready.insert(name.clone());
        } else {
            fleet.ready.remove(name);
        }
        keep(&mut fleet.by_pods, fleet.ready.len() >= self.pods, now);
    }

    /// A fleet has changed.
    pub(crate) fn fleet(&mut self, name: &str, object: &Value, now: Instant) {
        if let Some(fleet) = self.fleets.get_mut(name) {
            keep(&mut fleet.by_status, is_ready(object), now);
        }
    }

    /// How many are ready by pods and by status.
    pub(crate) fn ready(&self) -> (usize, usize) {
        let count = |of: fn(&Fleet) -> Option<Instant>| {
            self.fleets.values().filter(|fleet| of(fleet).is_some()).count()
        };
        (count(|fleet| fleet.by_pods), count(|fleet| fleet.by_status))
    }

    pub(crate) fn is_done(&self) -> bool {
        self.ready() == (self.fleets.len(), self.fleets.len())
    }

    /// How long it took; only once all is done.
    pub(crate) fn times(&self) -> Option<Times> {
        let first = self.fleets.values().filter_map(|fleet| fleet.created).min()?;
        let last = |of: fn(&Fleet) -> Option<Instant>| {
            Some(seconds(first, self.fleets.values().filter_map(of).max()?))
        };
        let spread = |from: fn(&Fleet) -> Option<Instant>| {
            let each = self.fleets.values().filter_map(|fleet| Some(seconds(from(fleet)?, fleet.by_status?)));
            Spread::of(each.collect())
        };
        Some(Times {
            by_pods: last(|fleet| fleet.by_pods)?,
            by_status: last(|fleet| fleet.by_status)?,
            fleet: spread(|fleet| fleet.created),
            status_behind_pods: spread(|fleet| fleet.by_pods),
        })
    }
}

/// Whether a pod is Ready and stays: its readiness gates, if it has any, are in its condition.
pub(crate) fn is_ready_pod(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

/// Since when something has been so without a break.
fn keep(since: &mut Option<Instant>, so: bool, now: Instant) {
    *since = so.then(|| since.unwrap_or(now));
}

/// As fleets, deployments and `LeaderWorkerSets` say it.
fn is_ready(object: &Value) -> bool {
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    object["status"]["readyReplicas"].as_u64().is_some_and(|ready| ready >= wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: &str) -> Pod {
        let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
        serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the start of a test's time")]
    fn a_status_is_behind_its_last_pod() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut progress = Progress::new(["f1".to_owned()].into_iter(), 2);
        progress.created("f1", at(0));
        let mut of = |name: &str, ready: &str, now| {
            let pod = pod(name, ready);
            progress.pod_is(&pod, is_ready_pod(&pod), now);
        };
        of("f1-a-head", "True", at(3));
        of("f1-a-worker", "True", at(4));
        of("f1-a-head", "False", at(5));
        of("f1-a-head", "True", at(6));
        of("other-a", "True", at(6));
        assert_eq!(progress.ready(), (1, 0));
        assert!(progress.times().is_none());
        progress.fleet("f1", &json!({"spec": {"replicas": 1}, "status": {"readyReplicas": 0}}), at(7));
        assert!(!progress.is_done());
        progress.fleet("f1", &json!({"spec": {"replicas": 1}, "status": {"readyReplicas": 1}}), at(8));
        assert!(progress.is_done());
        let times = progress.times().unwrap();
        assert_eq!(times.status_behind_pods.map(|spread| spread.median), Some(2.0));
        assert_eq!(times.fleet.map(|spread| spread.median), Some(8.0));
    }
}
