//! The scheduler: finds a node for every unscheduled pod, the oldest first, or reports why there is none. A
//! pod that did not fit is retried after a relevant change, with Kubernetes' growing back-off.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use rayfleet_api::valid::after;
use serde_json::{Value, json};

use super::drive::{Simulator, earlier};
use super::fit::{Objection, Place, objection};
use super::object::{condition, has_ended, is_deleting, items, key, name, node_of, set_condition, uid};
use crate::api::{ApiServer, Kind};

/// First and longest back-off of a pod that did not fit.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// A pod that did not fit.
#[derive(Clone, Copy)]
struct Waiting {
    /// Hash of nodes and pods at the last attempt.
    saw: u64,
    wait: Duration,
    not_before: Timestamp,
}

pub(super) struct Scheduler {
    rng: Rng,
    /// Unscheduled pods by UID, in the order in which they were first observed.
    queue: BTreeMap<String, u64>,
    seen: u64,
    waiting: BTreeMap<String, Waiting>,
}

impl Scheduler {
    pub(super) fn new(seed: u64) -> Self {
        let (queue, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { rng: Rng::with_seed(seed), queue, seen: 0, waiting }
    }

    /// Unscheduled pods, the oldest first.
    fn queued<'p>(&mut self, pods: &'p [Arc<Value>]) -> Vec<&'p Value> {
        let homeless = |pod: &&Value| node_of(pod).is_none() && !is_deleting(pod) && !has_ended(pod);
        let mut queued: Vec<&Value> = pods.iter().map(Arc::as_ref).filter(homeless).collect();
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
    fn kinds(&self) -> &'static [Kind] {
        &[Kind::NODE, Kind::POD]
    }

    fn step(&mut self, api: &ApiServer, now: Timestamp) -> Option<Timestamp> {
        let pods = api.list(&Kind::POD);
        let queued = self.queued(&pods);
        if queued.is_empty() {
            return None;
        }
        let nodes = api.list(&Kind::NODE);
        let mut places: Vec<Place<'_>> = nodes.iter().map(|node| Place::new(node)).collect();
        for pod in pods.iter().filter(|pod| !has_ended(pod)) {
            if let Some(place) = places.iter_mut().find(|place| node_of(pod) == Some(place.name())) {
                place.put(pod);
            }
        }
        let picture = picture(&nodes, &pods);
        let mut wake = None;
        for pod in queued {
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
                    report(api, pod, &message(nodes.len(), &objections), now);
                    let wait =
                        self.waiting.get(uid(pod)).map_or(BACKOFF.0, |before| before.wait * 2).min(BACKOFF.1);
                    let waiting = Waiting { saw: picture, wait, not_before: after(now, wait) };
                    self.waiting.insert(uid(pod).to_owned(), waiting);
                }
            }
        }
        wake
    }
}

/// Hash of what decides whether pods fit: the nodes, and the pods on them.
fn picture(nodes: &[Arc<Value>], pods: &[Arc<Value>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for node in nodes {
        name(node).hash(&mut hasher);
        for part in [&node["metadata"]["labels"], &node["spec"], &node["status"]["allocatable"]] {
            part.hash(&mut hasher);
        }
    }
    for pod in pods.iter().filter(|pod| !has_ended(pod)) {
        if let Some(node) = node_of(pod) {
            (uid(pod), node).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Binds a pod; returns whether that succeeded. A real binding sets node and condition at once. The
/// condition comes first here, so that no pod has a node and still reports that there is none.
fn bind(api: &ApiServer, pod: &Value, node: &str, now: Timestamp) -> bool {
    scheduled(api, pod, json!({"type": "PodScheduled", "status": "True"}), now);
    let (namespace, name) = key(pod);
    api.merge_patch(&Kind::POD, &namespace, &name, &json!({"spec": {"nodeName": node}})).is_ok()
}

fn scheduled(api: &ApiServer, pod: &Value, wanted: Value, now: Timestamp) {
    let mut conditions = items(&pod["status"]["conditions"]).to_vec();
    set_condition(&mut conditions, wanted, now);
    let (namespace, name) = key(pod);
    let patch = json!({"status": {"phase": "Pending", "conditions": conditions}});
    drop(api.merge_patch_status(&Kind::POD, &namespace, &name, &patch));
}

/// Reports why there is no node, unless the pod's condition says so already.
fn report(api: &ApiServer, pod: &Value, message: &str, now: Timestamp) {
    if condition(pod, "PodScheduled")
        .is_some_and(|reported| reported["status"] == "False" && reported["message"] == message)
    {
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

#[cfg(test)]
mod tests {
    use super::super::nodes::Nodes;
    use super::super::options::Options;
    use super::super::testing::{Bench, status_of, text};
    use super::*;

    async fn bench() -> Bench {
        let mut bench = Bench::new(Options::default());
        bench.run(Nodes::new(bench.options.clone(), bench.switches.clone()));
        bench.wait(0.1).await;
        bench.run(Scheduler::new(3));
        bench
    }

    fn pod(name: &str, gpus: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": "n"},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"nvidia.com/gpu": gpus}}}]}
        })
    }

    fn said(bench: &Bench, name: &str) -> String {
        condition(&bench.pod(name), "PodScheduled")
            .map(|reported| text(&reported["message"]))
            .unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn an_unschedulable_pod_is_reported_in_the_schedulers_words() {
        let bench = bench().await;
        bench.create(&Kind::POD, pod("big", "64"));
        bench.wait(0.1).await;
        let big = bench.pod("big");
        assert_eq!(
            (&*status_of(&big, "PodScheduled"), &big["status"]["phase"]),
            ("False", &json!("Pending"))
        );
        assert_eq!(
            said(&bench, "big"),
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: \
             3 Preemption is not helpful for scheduling."
        );
        bench.api.merge_patch(&Kind::NODE, "", "node-a", &json!({"spec": {"unschedulable": true}})).unwrap();
        bench.wait(20.0).await;
        let words = said(&bench, "big");
        assert!(
            words.starts_with("0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient"),
            "{words}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pending_pod_is_scheduled_when_another_ends() {
        let bench = bench().await;
        for name in ["a", "b", "c"] {
            bench.create(&Kind::POD, pod(name, "2"));
        }
        bench.wait(0.1).await;
        bench.create(&Kind::POD, pod("late", "1"));
        bench.wait(0.1).await;
        assert!(said(&bench, "late").contains("3 No preemption victims found for incoming pod"));
        // Terminating pods still hold their place.
        bench.api.delete(&Kind::POD, "n", "b").unwrap();
        bench.wait(60.0).await;
        assert_eq!(status_of(&bench.pod("late"), "PodScheduled"), "False");
        let node = bench.pod("b")["spec"]["nodeName"].clone();
        bench.api.remove(&Kind::POD, "n", "b").unwrap();
        bench.wait(11.0).await;
        assert_eq!(bench.pod("late")["spec"]["nodeName"], node);
        assert_eq!(status_of(&bench.pod("late"), "PodScheduled"), "True");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unschedulable_pod_is_retried_after_a_back_off() {
        let bench = bench().await;
        for name in ["a", "b", "c"] {
            bench.create(&Kind::POD, pod(name, "2"));
        }
        bench.wait(0.1).await;
        bench.create(&Kind::POD, pod("late", "1"));
        bench.wait(0.1).await;
        bench.api.remove(&Kind::POD, "n", "b").unwrap();
        bench.wait(0.5).await;
        assert_eq!(status_of(&bench.pod("late"), "PodScheduled"), "False");
        bench.wait(0.6).await;
        assert_eq!(status_of(&bench.pod("late"), "PodScheduled"), "True");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_node_gets_no_more_pods() {
        let bench = bench().await;
        for name in ["node-a", "node-b"] {
            bench.switches.lose(name, bench.api.now());
        }
        bench.wait(51.0).await;
        for name in ["p", "q"] {
            bench.create(&Kind::POD, pod(name, "1"));
        }
        bench.wait(0.1).await;
        for name in ["p", "q"] {
            assert_eq!(bench.pod(name)["spec"]["nodeName"], "node-c");
        }
        bench.create(&Kind::POD, pod("r", "1"));
        bench.wait(0.1).await;
        assert!(
            said(&bench, "r").contains("1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint(s)")
        );
    }
}
