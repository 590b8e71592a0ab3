//! The scheduler: finds a node for every pod that has none, the oldest first, and says why there is none. A pod that did
//! not fit is tried again when something that matters changed, with Kubernetes' growing waits.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use rayfleet_api::valid::after;
use serde_json::{Value, json};

use super::drive::{Simulator, earlier};
use super::fit::{Objection, Place, objection};
use super::object::{condition, has_ended, is_deleting, items, key, name, node_of, set_condition, uid};
use crate::api::{ApiServer, Kind};

/// First wait of a pod that did not fit, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// A pod that did not fit.
#[derive(Clone, Copy)]
struct Waiting {
    /// What the nodes looked like.
    saw: u64,
    wait: Duration,
    not_before: Timestamp,
}

/// The scheduler.
pub(super) struct Scheduler {
    rng: Rng,
    /// Pods without a node by UID, in the order in which they were seen.
    queue: BTreeMap<String, u64>,
    seen: u64,
    waiting: BTreeMap<String, Waiting>,
}

impl Scheduler {
    pub(super) fn new(seed: u64) -> Self {
        let (queue, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { rng: Rng::with_seed(seed), queue, seen: 0, waiting }
    }

    /// Pods without a node, the oldest first.
    fn queued<'p>(&mut self, pods: &'p [Value]) -> Vec<&'p Value> {
        let homeless = |pod: &&Value| node_of(pod).is_none() && !is_deleting(pod) && !has_ended(pod);
        let mut queued: Vec<&Value> = pods.iter().filter(homeless).collect();
        self.queue.retain(|id, _| queued.iter().any(|pod| uid(pod) == id));
        self.waiting.retain(|id, _| queued.iter().any(|pod| uid(pod) == id));
        for pod in &queued {
            if !self.queue.contains_key(uid(pod)) {
                self.seen += 1;
                self.queue.insert(uid(pod).to_owned(), self.seen);
            }
        }
        queued.sort_by_key(|pod| self.queue.get(uid(pod)).copied());
        queued
    }

    fn choose<'a>(&mut self, pod: &Value, places: &[Place<'a>]) -> Result<&'a str, Vec<Objection>> {
        let mut best: Vec<&'a str> = Vec::new();
        let mut most = i128::MIN;
        let mut objections = Vec::new();
        for place in places {
            if let Some(objection) = objection(pod, place, places) {
                objections.push(objection);
                continue;
            }
            let score = place.score(pod);
            if score > most {
                best.clear();
                most = score;
            }
            if score == most {
                best.push(place.name());
            }
        }
        self.rng.choice(best).ok_or(objections)
    }
}

impl Simulator for Scheduler {
    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let (nodes, pods) = (api.list(&Kind::NODE), api.list(&Kind::POD));
        let mut places: Vec<Place<'_>> = nodes.iter().map(Place::new).collect();
        for pod in pods.iter().filter(|pod| !has_ended(pod)) {
            if let Some(place) = places.iter_mut().find(|place| node_of(pod) == Some(place.name())) {
                place.put(pod);
            }
        }
        let picture = picture(&nodes, &pods);
        let mut wake = None;
        for pod in self.queued(&pods) {
            if let Some(waiting) = self.waiting.get(uid(pod)) {
                if waiting.saw == picture {
                    continue;
                }
                if now < waiting.not_before {
                    wake = earlier(wake, Some(waiting.not_before));
                    continue;
                }
            }
            match self.choose(pod, &places) {
                Ok(node) => {
                    if bind(api, pod, node, now) {
                        self.waiting.remove(uid(pod));
                        if let Some(place) = places.iter_mut().find(|place| place.name() == node) {
                            place.put(pod);
                        }
                    }
                }
                Err(objections) => {
                    tell(api, pod, &message(nodes.len(), &objections), now);
                    let wait = self.waiting.get(uid(pod)).map_or(BACKOFF.0, |before| before.wait * 2).min(BACKOFF.1);
                    let waiting = Waiting { saw: picture, wait, not_before: after(now, wait) };
                    self.waiting.insert(uid(pod).to_owned(), waiting);
                }
            }
        }
        wake
    }
}

/// What decides whether pods fit, in short: nodes as they are, and who is on them.
fn picture(nodes: &[Value], pods: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for node in nodes {
        name(node).hash(&mut hasher);
        for part in [&node["metadata"]["labels"], &node["spec"], &node["status"]["allocatable"]] {
            part.to_string().hash(&mut hasher);
        }
    }
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        if let Some(node) = node_of(pod) {
            (uid(pod), node).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn bind(api: &ApiServer, pod: &Value, node: &str, now: Timestamp) -> bool {
    let (namespace, name) = key(pod);
    let bound = api.merge_patch(&Kind::POD, &namespace, &name, &json!({"spec": {"nodeName": node}}));
    let Ok(bound) = bound else { return false };
    scheduled(api, &bound, json!({"type": "PodScheduled", "status": "True"}), now);
    true
}

fn scheduled(api: &ApiServer, pod: &Value, wanted: Value, now: Timestamp) {
    let mut conditions = items(&pod["status"]["conditions"]).to_vec();
    set_condition(&mut conditions, wanted, now);
    let (namespace, name) = key(pod);
    let patch = json!({"status": {"phase": "Pending", "conditions": conditions}});
    drop(api.merge_patch_status(&Kind::POD, &namespace, &name, &patch));
}

/// Says why there is no node, unless that is what the pod says already.
fn tell(api: &ApiServer, pod: &Value, message: &str, now: Timestamp) {
    if condition(pod, "PodScheduled").is_some_and(|told| told["status"] == "False" && told["message"] == message) {
        return;
    }
    let wanted = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
    });
    scheduled(api, pod, wanted, now);
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient nvidia.com/gpu. preemption: ...`
fn message(nodes: usize, objections: &[Objection]) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let reasons = objections.iter().flat_map(|objection| objection.reasons.iter().map(String::as_str));
    let helpless = objections.iter().map(|objection| {
        if objection.passing {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    });
    format!(
        "0/{nodes} nodes are available: {}. preemption: 0/{nodes} nodes are available: {}.",
        counted(reasons),
        counted(helpless)
    )
}

fn counted<'r>(reasons: impl Iterator<Item = &'r str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut words: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    words.sort();
    words.join(", ")
}
