//! Objects as they look when something is wrong, and what is said of it: a world where all is well, which each
//! test breaks in one way.

mod faults;
mod page;
mod shown;
mod simulated;
mod unread;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Answer, List, NoAnswer};
use super::facts::{Facts, FleetFacts};
use super::finding::{Finding, Step};
use super::judge;
use super::objects::{self, Crd, Endpoint, Meta};
use crate::sample;

/// A fleet of two groups over two nodes each, and all that is read beside it.
pub(super) struct World {
    pub(super) fleet: Value,
    pub(super) clusters: Vec<Value>,
    pub(super) pods: Vec<Value>,
    pub(super) events: Vec<Value>,
    pub(super) nodes: BTreeMap<String, Value>,
    pub(super) operators: Vec<Value>,
    pub(super) orchestrators: Vec<Value>,
    pub(super) lease: Value,
    pub(super) replica_sets: Vec<String>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Changes what was answered, at the end.
    pub(super) answers: fn(&mut Facts),
}

/// A group's name.
pub(super) fn group_name(number: usize) -> String {
    format!("llama-bcdfgh-{number}")
}

impl World {
    /// All is well.
    pub(super) fn new() -> Self {
        let mut fleet = json!(sample::upgrading());
        let status = &mut fleet["status"];
        for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
            status[field] = json!(2);
        }
        status["conditions"] = json!([
            condition("Available", "True", "MinimumGroupsAvailable", "2 of 2 groups are available"),
            condition("Progressing", "True", "Complete", "Complete"),
            condition("ReplicaFailure", "False", "NoFailure", ""),
            condition("Stalled", "False", "NotStalled", ""),
            condition("PlacementVerified", "True", "AsPlanned", "all ranks of 2 ready groups are as planned"),
        ]);
        status["rollout"] = json!({
            "step": "Complete", "to": "bcdfgh/zxwvtr", "stable": "bcdfgh/zxwvtr",
            "lastProgress": "2026-03-01T12:05:00Z"
        });
        status["groups"] = json!([ready_group(0), ready_group(1)]);
        let nodes = ["node-a", "node-b", "node-c", "node-d"];
        let mut pods = Vec::new();
        for number in 0..2 {
            for (role, node) in [("head", nodes[number * 2]), ("worker", nodes[number * 2 + 1])] {
                pods.push(pod(number, role, node));
            }
        }
        Self {
            fleet,
            clusters: vec![cluster(0), cluster(1)],
            pods,
            events: Vec::new(),
            nodes: nodes
                .iter()
                .map(|name| ((*name).to_owned(), node(name, "True", "KubeletReady")))
                .collect(),
            operators: vec![system_pod("default", "kuberay-operator-7f9d")],
            orchestrators: vec![system_pod("rayfleet-system", "rayfleet-orchestrator-6b5c")],
            lease: json!({"spec": {
                "holderIdentity": "rayfleet-orchestrator-6b5c", "leaseDurationSeconds": 15,
                "renewTime": "2026-03-01T12:09:58.000000Z"
            }}),
            replica_sets: Vec::new(),
            endpoints: (0..2)
                .map(|number| Endpoint { address: address(number, "head"), ready: true })
                .collect(),
            answers: |_| {},
        }
    }

    pub(super) fn facts(&self) -> Facts {
        let (fleet, written) = objects::fleet(&self.fleet.to_string()).unwrap();
        let nodes = self.nodes.iter();
        let of = FleetFacts {
            fleet,
            written,
            clusters: Ok(list(&self.clusters)),
            pods: Ok(list(&self.pods)),
            events: Ok(list(&self.events)),
            replica_sets: Ok(List::from(
                self.replica_sets.iter().map(|name| named(name)).collect::<Vec<_>>(),
            )),
            service: Ok(objects::Named::default()),
            endpoints: Ok(List::from(self.endpoints.clone())),
        };
        let mut facts = Facts {
            now: now(),
            server: "https://api:6443".to_owned(),
            namespace: "serving".to_owned(),
            asked: Some("llama".to_owned()),
            fleets: Ok(List::from(vec![of])),
            unreadable: Vec::new(),
            fleet_crd: Ok(Crd { keeps_fields: true, deleting: false }),
            rayclusters: Ok(()),
            kuberay: Ok(list(&self.operators)),
            lease: Ok(from(&self.lease)),
            renews: None,
            orchestrators: Ok(list(&self.orchestrators)),
            nodes: nodes
                .map(|(name, node)| {
                    let read = objects::node(&node.to_string());
                    (name.clone(), read.filter(|_| !node.is_null()).ok_or(NoAnswer::Missing))
                })
                .collect(),
        };
        (self.answers)(&mut facts);
        facts
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        judge::judge(&self.facts())
    }

    /// The step of the first finding.
    pub(super) fn first(&self) -> Option<(Step, Finding)> {
        let steps = self.steps();
        steps.into_iter().find_map(|step| Some((step.clone(), step.finding?)))
    }

    pub(super) fn group(&mut self, number: usize) -> &mut Value {
        &mut self.fleet["status"]["groups"][number]
    }

    /// Sets fields of a group's entry; a null takes one out.
    pub(super) fn enter(&mut self, number: usize, fields: &Value) {
        for (field, value) in fields.as_object().unwrap() {
            self.group(number)[field] = value.clone();
        }
        if fields["phase"] != "Ready" {
            self.group(number)["readySince"] = Value::Null;
            let ready = self.fleet["status"]["readyReplicas"].as_i64().unwrap() - 1;
            self.fleet["status"]["readyReplicas"] = json!(ready);
            self.step("Starting groups", "1 of 2 groups are available");
        }
    }

    /// Another step of the rollout.
    pub(super) fn step(&mut self, step: &str, reason: &str) {
        let rollout = &mut self.fleet["status"]["rollout"];
        (rollout["step"], rollout["reason"]) = (json!(step), json!(reason));
    }

    /// Sets a condition of the fleet.
    pub(super) fn says(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let conditions = self.fleet["status"]["conditions"].as_array_mut().unwrap();
        conditions.retain(|condition| condition["type"] != kind);
        conditions.push(condition(kind, status, reason, message));
    }

    /// The RayCluster of group 1 was not made.
    pub(super) fn not_made(&mut self) {
        self.clusters.pop();
        self.pods.truncate(2);
    }

    pub(super) fn pod(&mut self, number: usize, role: &str) -> &mut Value {
        let name = pod_name(number, role);
        self.pods.iter_mut().find(|pod| pod["metadata"]["name"] == *name).unwrap()
    }

    /// The containers of a pod wait, or have ended before.
    pub(super) fn container(&mut self, number: usize, role: &str, state: &Value, last: &Value) {
        let status = &mut self.pod(number, role)["status"];
        status["conditions"] = json!([
            {"type": "PodScheduled", "status": "True"}, {"type": "ContainersReady", "status": "False"}
        ]);
        let container = &mut status["containerStatuses"][0];
        container["state"] = state.clone();
        container["lastState"] = last.clone();
        container["restartCount"] = json!(if last.is_null() { 0 } else { 5 });
    }

    pub(super) fn warn(&mut self, kind: &str, name: &str, reason: &str, message: &str) {
        self.events.push(json!({
            "metadata": {"name": format!("{name}.1"), "creationTimestamp": "2026-03-01T12:09:00Z"},
            "type": "Warning", "reason": reason, "message": message,
            "involvedObject": {"kind": kind, "name": name}, "lastTimestamp": "2026-03-01T12:09:30Z"
        }));
    }
}

pub(super) fn now() -> Timestamp {
    sample::now()
}

fn list<T: serde::de::DeserializeOwned>(objects: &[Value]) -> List<T> {
    List::from(objects.iter().map(from).collect::<Vec<T>>())
}

fn named(name: &str) -> Meta {
    Meta { name: name.to_owned(), ..Meta::default() }
}

/// What may not be listed in the fleet's namespace.
pub(super) fn forbidden<T>(resource: &'static str) -> Answer<T> {
    let (verb, namespace) = ("list", "serving".to_owned());
    Err(NoAnswer::Forbidden { verb, resource, namespace, words: String::new() })
}

fn from<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-03-01T12:05:00Z", "lastUpdateTime": "2026-03-01T12:05:00Z"
    })
}

fn ready_group(number: usize) -> Value {
    json!({
        "name": group_name(number), "slot": number, "revision": "bcdfgh", "engineRevision": "zxwvtr",
        "uid": format!("uid-{number}"), "launch": 1, "phase": "Ready",
        "phaseSince": "2026-03-01T12:05:00Z", "readySince": "2026-03-01T12:05:00Z",
        "goal": "Serve", "ranks": "2/2", "inFlight": 7
    })
}

fn cluster(number: usize) -> Value {
    json!({
        "metadata": {"name": group_name(number), "namespace": "serving", "creationTimestamp": "2026-03-01T12:00:00Z"},
        "spec": sample::template("ray:1")["spec"], "status": {"head": {"podIP": address(number, "head")}, "conditions": []}
    })
}

fn pod_name(number: usize, role: &str) -> String {
    format!("{}-{role}-x2b4f", group_name(number))
}

fn address(number: usize, role: &str) -> String {
    format!("10.0.{number}.{}", if role == "head" { 1 } else { 2 })
}

fn pod(number: usize, role: &str, node: &str) -> Value {
    json!({
        "metadata": {
            "name": pod_name(number, role), "namespace": "serving",
            "creationTimestamp": "2026-03-01T12:00:00Z",
            "labels": {"ray.io/cluster": group_name(number), "ray.io/node-type": role}
        },
        "spec": {"nodeName": node, "containers": [{"name": "ray", "image": "ray:1"}], "readinessGates": [{"conditionType": "rayfleet.io/serving"}]},
        "status": {
            "phase": "Running", "podIP": address(number, role),
            "conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "ContainersReady", "status": "True"},
                {"type": "Ready", "status": "True"}, {"type": "rayfleet.io/serving", "status": "True"}
            ],
            "containerStatuses": [{
                "name": "ray", "image": "registry.example.com/vllm-ray:1", "restartCount": 0,
                "state": {"running": {"startedAt": "2026-03-01T12:01:00Z"}}
            }]
        }
    })
}

pub(super) fn system_pod(namespace: &str, name: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": "node-a"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    })
}

pub(super) fn node(name: &str, ready: &str, reason: &str) -> Value {
    let message = if ready == "True" {
        "kubelet is posting ready status"
    } else {
        "Kubelet stopped posting node status."
    };
    json!({
        "metadata": {"name": name}, "spec": {},
        "status": {"conditions": [{
            "type": "Ready", "status": ready, "reason": reason, "message": message,
            "lastTransitionTime": "2026-03-01T12:08:00Z"
        }]}
    })
}
