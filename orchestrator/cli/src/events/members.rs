//! What belongs to a fleet: by which an event about any object is told to be of it. No call and no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rayfleet_api::names::{LABEL_FLEET, LABEL_GROUP, RAY_LABEL_CLUSTER};

use super::entry::Object;
use crate::watch::{Change, Kept, Key};

/// Letters of a pod revision in a group's name.
const REVISION: usize = 6;

/// A fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fleet {
    created: Option<Timestamp>,
    /// Nodes by group.
    groups: BTreeMap<String, BTreeSet<String>>,
}

/// A pod, as far as it says what belongs together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pod {
    fleet: String,
    group: String,
    node: String,
}

/// All fleets that are shown, and what they have.
#[derive(Debug, Default)]
pub(super) struct Members {
    fleets: Kept<Fleet>,
    /// Fleet by RayCluster.
    clusters: Kept<String>,
    pods: Kept<Pod>,
}

impl Members {
    /// Applies a change of the fleets: their groups and the nodes that these name.
    pub(super) fn fleet(&mut self, change: Change) {
        self.fleets.apply(change, |object| {
            let groups = object["status"]["groups"].as_array().into_iter().flatten();
            let named = groups.filter_map(|group| {
                let nodes = group["nodes"].as_array().into_iter().flatten();
                let nodes = nodes.filter_map(|node| node.as_str().map(str::to_owned)).collect();
                Some((group["name"].as_str()?.to_owned(), nodes))
            });
            let created = object["metadata"]["creationTimestamp"].as_str().and_then(|time| time.parse().ok());
            Some(Fleet { created, groups: named.collect() })
        });
    }

    /// Applies a change of their RayClusters.
    pub(super) fn cluster(&mut self, change: Change) {
        self.clusters
            .apply(change, |object| object["metadata"]["labels"][LABEL_FLEET].as_str().map(str::to_owned));
    }

    /// Applies a change of their pods.
    pub(super) fn pod(&mut self, change: Change) {
        self.pods.apply(change, |object| {
            let labels = &object["metadata"]["labels"];
            let group =
                [RAY_LABEL_CLUSTER, LABEL_GROUP].into_iter().find_map(|label| labels[label].as_str())?;
            Some(Pod {
                fleet: labels[LABEL_FLEET].as_str()?.to_owned(),
                group: group.to_owned(),
                node: object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            })
        });
    }

    /// Nodes that hold a group's pods.
    pub(super) fn nodes(&self) -> BTreeSet<String> {
        let of_pods = self.pods.known.values().map(|pod| pod.node.clone());
        let of_groups = self.fleets.known.values().flat_map(|fleet| fleet.groups.values()).flatten().cloned();
        of_pods.chain(of_groups).filter(|node| !node.is_empty()).collect()
    }

    /// The fleets that an object belongs to, each with the groups; none if it is nobody's.
    pub(super) fn of(&self, object: &Object) -> Vec<(Key, Vec<String>)> {
        if object.kind == "node" {
            return self.of_node(&object.name);
        }
        let fleets = self.fleets.known.keys().filter(|(namespace, _)| *namespace == object.namespace);
        let found = fleets.filter_map(|key| {
            if object.name == key.1 {
                return Some((key.clone(), Vec::new()));
            }
            let group = self.group_of(key, object)?;
            Some((key.clone(), vec![group]))
        });
        // A fleet's name may begin like another's: the one whose group is named longest is meant.
        found.max_by_key(|(_, groups)| groups.first().map_or(usize::MAX, String::len)).into_iter().collect()
    }

    /// Whether something happened before there was the fleet: of a node that is nothing of the fleet's.
    pub(super) fn is_before(&self, fleet: &Key, at: Timestamp) -> bool {
        self.fleets.known.get(fleet).and_then(|fleet| fleet.created).is_some_and(|created| at < created)
    }

    fn of_node(&self, node: &str) -> Vec<(Key, Vec<String>)> {
        let mut all: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
        for ((namespace, _), pod) in self.pods.known.iter().filter(|(_, pod)| pod.node == node) {
            all.entry((namespace.clone(), pod.fleet.clone())).or_default().insert(pod.group.clone());
        }
        for (key, fleet) in &self.fleets.known {
            for (group, _) in fleet.groups.iter().filter(|(_, nodes)| nodes.contains(node)) {
                all.entry(key.clone()).or_default().insert(group.clone());
            }
        }
        let known = all.into_iter().filter(|(key, _)| self.fleets.known.contains_key(key));
        known.map(|(key, groups)| (key, groups.into_iter().collect())).collect()
    }

    /// The group of a fleet that an object is of: by its pods and RayClusters, else by its name.
    fn group_of(&self, fleet: &Key, object: &Object) -> Option<String> {
        let key = (object.namespace.clone(), object.name.clone());
        if let Some(pod) = self.pods.known.get(&key).filter(|_| object.kind == "pod") {
            return (pod.fleet == fleet.1).then(|| pod.group.clone());
        }
        let begins = |group: &str| {
            object.name.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let of_status = self.fleets.known.get(fleet).into_iter().flat_map(|fleet| fleet.groups.keys());
        let of_clusters = self
            .clusters
            .known
            .iter()
            .filter(|((namespace, _), of)| *namespace == fleet.0 && **of == fleet.1);
        let known = of_status.chain(of_clusters.map(|((_, name), _)| name)).filter(|group| begins(group));
        known.max_by_key(|group| group.len()).cloned().or_else(|| by_name(&fleet.1, &object.name))
    }
}

/// The group that a name begins with, `<fleet>-<revision>-<slot>` and perhaps `-<attempt>`, though it may be gone.
fn by_name(fleet: &str, name: &str) -> Option<String> {
    let rest = name.strip_prefix(fleet)?.strip_prefix('-')?;
    let mut parts = rest.split('-');
    let revision = parts.next().filter(|part| {
        part.len() == REVISION && part.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
    })?;
    let number =
        |part: &&str| !part.is_empty() && part.len() <= 4 && part.bytes().all(|it| it.is_ascii_digit());
    let slot = parts.next().filter(number)?;
    match parts.next().filter(number) {
        Some(attempt) => Some(format!("{fleet}-{revision}-{slot}-{attempt}")),
        None => Some(format!("{fleet}-{revision}-{slot}")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::watch::Raw;

    /// The sample fleet with a pod, and one whose name begins like it.
    pub(in crate::events) fn members() -> Members {
        let mut members = Members::default();
        let fleet = |name: &str, groups: Value| {
            Change::Is(Raw::new(
                json!({"metadata": {"name": name, "namespace": "serving"}, "status": {"groups": groups}}),
            ))
        };
        members.fleet(fleet(
            "llama",
            json!([{"name": "llama-bcdfgh-0", "nodes": ["node-a", "node-b"]}, {"name": 7}, null]),
        ));
        members.fleet(fleet("llama-bcdfgh", json!("odd")));
        members.pod(Change::Is(Raw::new(json!({
            "metadata": {
                "name": "adopted-head", "namespace": "serving",
                "labels": {LABEL_FLEET: "llama", "ray.io/cluster": "adopted"}
            },
            "spec": {"nodeName": "node-c"}
        }))));
        members.cluster(Change::Is(Raw::new(json!({
            "metadata": {"name": "adopted", "namespace": "serving", "labels": {LABEL_FLEET: "llama"}}
        }))));
        members
    }

    fn of(kind: &str, namespace: &str, name: &str) -> Vec<(String, Vec<String>)> {
        let object = Object { kind: kind.into(), namespace: namespace.into(), name: name.into() };
        members().of(&object).into_iter().map(|((_, fleet), groups)| (fleet, groups)).collect()
    }

    #[test]
    fn an_object_is_of_the_fleet_that_its_name_or_label_says() {
        for (kind, name, fleet, group) in [
            ("rayclusterfleet", "llama", "llama", None),
            ("raycluster", "llama-bcdfgh-0", "llama", Some("llama-bcdfgh-0")),
            ("pod", "llama-bcdfgh-0-head-x2b4f", "llama", Some("llama-bcdfgh-0")),
            // Gone since.
            ("pod", "llama-zxwvtr-3-head-x2b4f", "llama", Some("llama-zxwvtr-3")),
            ("pod", "llama-zxwvtr-3-1-workers-worker-x2b4f", "llama", Some("llama-zxwvtr-3-1")),
            ("pod", "llama-bcdfgh-zxwvtr-0-head-x2b4f", "llama-bcdfgh", Some("llama-bcdfgh-zxwvtr-0")),
            ("endpoints", "llama-bcdfgh-0-head-svc", "llama", Some("llama-bcdfgh-0")),
            ("pod", "adopted-head", "llama", Some("adopted")),
            ("service", "adopted-head-svc", "llama", Some("adopted")),
        ] {
            let groups = group.map(str::to_owned).into_iter().collect::<Vec<_>>();
            assert_eq!(of(kind, "serving", name), [(fleet.to_owned(), groups)], "{name}");
        }
        for other in ["llama2", "llama-web-0", "llama-webapp-x", "llama-BCDFGH-0", "web", ""] {
            assert_eq!(of("pod", "serving", other), [], "{other}");
        }
        assert_eq!(of("pod", "other", "llama-bcdfgh-0-head-x2b4f"), []);
    }

    #[test]
    fn a_node_belongs_to_the_groups_on_it() {
        assert_eq!(of("node", "", "node-b"), [("llama".to_owned(), vec!["llama-bcdfgh-0".to_owned()])]);
        assert_eq!(of("node", "", "node-c"), [("llama".to_owned(), vec!["adopted".to_owned()])]);
        assert_eq!(of("node", "", "node-d"), []);
        assert_eq!(members().nodes().len(), 3);
    }
}
