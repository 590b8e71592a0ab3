//! Whom to ask: the groups of a fleet with their heads and the port of their engine, and the pods of its Ray nodes. Pure.

use kube::core::DynamicObject;
use ray_bridge_model::DEFAULT_PORT;
use rayfleet_api::names::{RAY_LABEL_CLUSTER, RAY_LABEL_NODE_TYPE};
use rayfleet_api::{RayClusterFleet, ValidFleet};
use serde::Deserialize;
use serde_json::Value;

use crate::view::{Fleet, Group};

/// Port of Ray's metrics where KubeRay starts Ray, and the name that it gives the port.
const RAY_METRICS: (u16, &str) = (8080, "metrics");

/// A group, and where its engine is asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) fleet: String,
    pub(crate) group: Group,
    /// Port of the engine on the head; `None` if nobody says it.
    pub(crate) port: Option<u16>,
}

/// A pod of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RayPod {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) node: String,
    pub(crate) is_head: bool,
    /// Port of Ray's metrics.
    pub(crate) port: u16,
}

impl Target {
    /// The groups of a fleet.
    pub(crate) fn all(object: &DynamicObject) -> Vec<Self> {
        let (fleet, port) = (Fleet::read(object), port(object));
        let of = |group| Self { namespace: fleet.namespace.clone(), fleet: fleet.name.clone(), group, port };
        fleet.groups.clone().into_iter().map(of).collect()
    }

    /// Pod and port of its engine, or why there is none to ask.
    pub(crate) fn engine(&self) -> Result<(&str, u16), String> {
        let group = &self.group;
        if matches!(group.phase.as_str(), "Pending" | "Provisioning" | "Forming" | "Suspended") {
            return Err(group.message.clone().unwrap_or_else(|| "it has no engine yet".to_owned()));
        }
        let head = group.head.as_deref().ok_or("it has no head pod")?;
        let port = self.port.ok_or("its fleet names no port of an engine")?;
        Ok((head, port))
    }
}

/// That of `spec.model`, else what the template says of itself.
fn port(object: &DynamicObject) -> Option<u16> {
    let model = &object.data["spec"]["model"];
    if model.is_object() {
        return match &model["port"] {
            Value::Null => Some(DEFAULT_PORT),
            port => port.as_u64().and_then(|port| u16::try_from(port).ok()),
        };
    }
    let fleet: RayClusterFleet = serde_json::from_value(serde_json::to_value(object).ok()?).ok()?;
    ValidFleet::recorded(&fleet).ok()?.own_engine_port
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Pod {
    metadata: Metadata,
    spec: PodSpec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    labels: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<String>,
    containers: Vec<Container>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Option<Vec<Port>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    name: Option<String>,
    container_port: u16,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: Option<String>,
}

/// A pod from its text, if it runs and belongs to a group, else none; `None` if it cannot be read.
pub(crate) fn ray_pods(text: &str) -> Option<Vec<RayPod>> {
    let pod: Pod = serde_json::from_str(text).ok()?;
    let Some(group) = pod.metadata.labels[RAY_LABEL_CLUSTER].as_str() else { return Some(Vec::new()) };
    let Some(node) = pod.spec.node_name.filter(|_| pod.status.phase.as_deref() == Some("Running")) else {
        return Some(Vec::new());
    };
    let ports = pod.spec.containers.iter().filter_map(|container| container.ports.as_deref()).flatten();
    let mut named = ports.filter(|port| port.name.as_deref() == Some(RAY_METRICS.1));
    Some(vec![RayPod {
        name: pod.metadata.name,
        group: group.to_owned(),
        node,
        is_head: pod.metadata.labels[RAY_LABEL_NODE_TYPE] == "head",
        port: named.next().map_or(RAY_METRICS.0, |port| port.container_port),
    }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    fn engines(change: impl Fn(&mut Value)) -> Vec<Result<(String, u16), String>> {
        let mut object = json!(sample::upgrading());
        change(&mut object);
        let targets = Target::all(&serde_json::from_value(object).unwrap());
        targets.iter().map(|it| it.engine().map(|(pod, port)| (pod.to_owned(), port))).collect()
    }

    #[test]
    fn an_engine_is_asked_at_its_head_and_port() {
        let head =
            |number: usize| ["llama-bcdfgh-0-head-x2b4f", "llama-bcdfgh-1-head-9wz8k"][number].to_owned();
        assert_eq!(engines(|_| {}), [Ok((head(0), 8000)), Ok((head(1), 8000))]);
        let other = engines(|fleet| fleet["spec"]["model"]["port"] = json!(9001));
        assert_eq!(other[0], Ok((head(0), 9001)));
        let own = engines(|fleet| {
            fleet["spec"]["model"] = Value::Null;
            fleet["metadata"]["labels"] = json!({"model.aibrix.ai/port": "8001"});
        });
        assert_eq!(own[0], Ok((head(0), 8001)));
    }

    #[test]
    fn a_group_without_an_engine_says_why() {
        let why = engines(|fleet| {
            fleet["spec"]["model"]["port"] = json!(-1);
            fleet["status"]["groups"][1]["phase"] = json!("Provisioning");
        });
        let waits = "waiting for 3 requests, 9m18s left".to_owned();
        assert_eq!(why, [Err("its fleet names no port of an engine".to_owned()), Err(waits)]);
        let why = engines(|fleet| fleet["status"]["groups"][0]["head"] = Value::Null);
        assert_eq!(why[0], Err("it has no head pod".to_owned()));
    }

    #[test]
    fn pods_that_run_are_asked_at_the_port_that_they_name() {
        let pod = |phase: &str, ports: Value| {
            let pod = json!({
                "metadata": {"name": "p", "labels": {"ray.io/cluster": "g", "ray.io/node-type": "head"}},
                "spec": {"nodeName": "n", "containers": [{"ports": ports}]}, "status": {"phase": phase}
            });
            ray_pods(&pod.to_string()).unwrap().pop()
        };
        assert_eq!(pod("Running", Value::Null).unwrap().port, 8080);
        let named =
            pod("Running", json!([{"containerPort": 1}, {"name": "metrics", "containerPort": 9}])).unwrap();
        assert!(named.port == 9 && named.is_head && named.group == "g" && named.node == "n");
        assert_eq!(pod("Pending", Value::Null), None);
        assert_eq!(ray_pods("{}"), Some(Vec::new()));
        assert_eq!(ray_pods("{\"metadata\": 1}"), None);
    }
}
