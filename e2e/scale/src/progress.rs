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
    /// When those that were deleted and are still there were.
    leaving: BTreeMap<String, Instant>,
    /// Of fleets that were deleted.
    ended: Ended,
    /// When nodes were lost, and the fleets that lost pods with them.
    loss: Option<(Instant, BTreeMap<String, Lost>)>,
    /// When a pod of a fleet changed last.
    last_pod: Option<Instant>,
}

/// What the status of a fleet says that has lost pods with their node.
#[derive(Debug, Default)]
struct Lost {
    /// Since when it has said that the fleet is not ready, and since when that it is ready again.
    said: Option<Instant>,
    again: Option<Instant>,
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

/// Seconds of fleets that were deleted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ended {
    /// From a fleet's creation until its status said that it is ready.
    pub(crate) starts: Vec<f64>,
    /// From its deletion until the object was gone.
    pub(crate) ends: Vec<f64>,
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
        let fleets = names.map(|name| (name, Fleet::default())).collect();
        Self { pods, fleets, leaving: BTreeMap::new(), ended: Ended::default(), loss: None, last_pod: None }
    }

    /// A fleet is about to be made.
    pub(crate) fn created(&mut self, name: &str, now: Instant) {
        self.fleets.entry(name.to_owned()).or_default().created = Some(now);
    }

    /// A fleet is about to be deleted.
    pub(crate) fn deleted(&mut self, name: &str, now: Instant) {
        let Some(fleet) = self.fleets.remove(name) else { return };
        let start = fleet.created.zip(fleet.by_status).map(|(from, to)| seconds(from, to));
        self.ended.starts.extend(start);
        self.leaving.insert(name.to_owned(), now);
    }

    /// The fleets that are there, of which a list says all: those that are leaving and not among them are gone.
    pub(crate) fn only(&mut self, are_here: &BTreeSet<String>, now: Instant) {
        let gone = self.leaving.extract_if(.., |name, _| !are_here.contains(name));
        self.ended.ends.extend(gone.map(|(_, since)| seconds(since, now)));
    }

    /// A fleet is gone.
    pub(crate) fn gone(&mut self, name: &str, now: Instant) {
        self.ended.ends.extend(self.leaving.remove(name).map(|since| seconds(since, now)));
    }

    /// How many are leaving.
    pub(crate) fn leaving(&self) -> usize {
        self.leaving.len()
    }

    pub(crate) fn ended(&self) -> Ended {
        self.ended.clone()
    }

    /// Whether a fleet is ready by pods and by status.
    pub(crate) fn is_up(&self, name: &str) -> bool {
        self.fleets.get(name).is_some_and(|fleet| fleet.by_pods.is_some() && fleet.by_status.is_some())
    }

    /// A pod is there and Ready, or not.
    pub(crate) fn pod_is(&mut self, pod: &Pod, ready: bool, now: Instant) {
        let Some(name) = &pod.metadata.name else { return };
        let Some(fleet) = fleet_of(name).and_then(|fleet| self.fleets.get_mut(fleet)) else { return };
        self.last_pod = Some(now);
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
        if let Some(lost) = self.loss.as_mut().and_then(|(_, fleets)| fleets.get_mut(name)) {
            if !is_ready(object) {
                lost.said.get_or_insert(now);
            }
            keep(&mut lost.again, is_ready(object) && lost.said.is_some(), now);
        }
    }

    /// Nodes are about to be lost, and pods of these fleets with them.
    pub(crate) fn lose(&mut self, fleets: impl Iterator<Item = String>, now: Instant) {
        self.loss = Some((now, fleets.map(|name| (name, Lost::default())).collect()));
    }

    /// Seconds from the loss until the status of each of them no longer said ready, and until it did again; of those of which it is so.
    pub(crate) fn found(&self) -> (Vec<f64>, Vec<f64>) {
        let Some((began, fleets)) = &self.loss else { return Default::default() };
        let after = |of: fn(&Lost) -> Option<Instant>| {
            fleets.values().filter_map(|lost| Some(seconds(*began, of(lost)?))).collect()
        };
        (after(|lost| lost.said), after(|lost| lost.again))
    }

    /// Whether all that lost pods have said so, and all fleets are ready.
    pub(crate) fn is_found(&self) -> bool {
        let (_, again) = self.found();
        self.is_done() && self.loss.as_ref().is_some_and(|(_, fleets)| again.len() == fleets.len())
    }

    /// When a pod of a fleet changed last; `None` before the first.
    pub(crate) fn last_pod(&self) -> Option<Instant> {
        self.last_pod
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

/// The fleet that a pod is of, by the pod's name.
pub(crate) fn fleet_of(pod: &str) -> Option<&str> {
    pod.split_once('-').map(|(fleet, _)| fleet)
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

/// Since when something has been so without a break.
fn keep(since: &mut Option<Instant>, so: bool, now: Instant) {
    *since = so.then(|| since.unwrap_or(now));
}

/// As fleets, deployments and `LeaderWorkerSets` say it.
pub(crate) fn is_ready(object: &Value) -> bool {
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

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the start of a test's time")]
    fn a_fleet_that_lost_pods_is_found_once_its_status_has_said_so_and_is_ready_again() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut progress = Progress::new(["f1", "f2"].map(str::to_owned).into_iter(), 1);
        let status = |ready: u32| json!({"status": {"readyReplicas": ready}});
        for name in ["f1", "f2"] {
            progress.pod_is(&pod(&format!("{name}-a"), "True"), true, at(1));
            progress.fleet(name, &status(1), at(1));
        }
        progress.lose(["f1".to_owned()].into_iter(), at(10));
        progress.fleet("f1", &status(1), at(11));
        assert!(!progress.is_found(), "its status has not said it yet");
        progress.fleet("f1", &status(0), at(14));
        progress.fleet("f1", &status(0), at(15));
        progress.fleet("f2", &status(0), at(15));
        progress.fleet("f1", &status(1), at(18));
        assert_eq!(progress.found(), (vec![4.0], vec![8.0]));
        assert!(!progress.is_found(), "the other one is not ready");
        progress.fleet("f2", &status(1), at(19));
        assert!(progress.is_found());
        assert_eq!(progress.last_pod(), Some(at(1)));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the start of a test's time")]
    fn a_deleted_fleet_leaves_its_times_and_nothing_else() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut progress = Progress::new(["f1", "f2"].map(str::to_owned).into_iter(), 1);
        for name in ["f1", "f2", "f3"] {
            progress.created(name, at(0));
            let pod = pod(&format!("{name}-a"), "True");
            progress.pod_is(&pod, true, at(1));
            progress.fleet(name, &json!({"status": {"readyReplicas": 1}}), at(2));
        }
        assert!(progress.is_up("f3"), "one that was not there at first");
        progress.deleted("f1", at(10));
        progress.deleted("f2", at(11));
        assert_eq!((progress.ready(), progress.leaving()), ((1, 1), 2));
        progress.fleet("f1", &json!({"status": {"readyReplicas": 0}}), at(12));
        progress.gone("f1", at(13));
        progress.gone("f3", at(13));
        progress.only(&BTreeSet::from(["f2", "f3"].map(str::to_owned)), at(14));
        progress.only(&BTreeSet::from(["f3".to_owned()]), at(15));
        assert!(progress.is_done() && progress.leaving() == 0);
        let Ended { starts, ends } = progress.ended();
        assert_eq!((starts, ends), (vec![2.0, 2.0], vec![3.0, 4.0]));
    }
}
