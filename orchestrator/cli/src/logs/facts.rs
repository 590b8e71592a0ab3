//! What is read of a fleet and its pods for their logs, as plain data. Whatever somebody writes into an object, the rest is read. No
//! call here.

use std::collections::{BTreeMap, BTreeSet};

use ray_bridge::placement::Shape;
use rayfleet_api::LaunchId;
use rayfleet_api::names::{LABEL_GROUP, RAY_LABEL_CLUSTER, RAY_LABEL_NODE_TYPE};
use serde_json::Value;

use crate::view::{Fleet, Rank};

/// Port of Ray's dashboard unless the head is told another one.
const DASHBOARD_PORT: u16 = 8265;

/// A fleet and its pods, at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    /// Groups of the status, by name.
    pub(crate) groups: BTreeMap<String, Group>,
    /// Pods with the fleet's label, by name.
    pub(crate) pods: BTreeMap<String, Pod>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// The launch that it stands at, if Rayfleet launches its engine.
    pub(crate) launch: Option<LaunchId>,
    /// Whether Rayfleet launches its engine, now or later.
    pub(crate) has_engine: bool,
    /// Parallel sizes of what is placed; `None` before that.
    pub(crate) shape: Option<Shape>,
    /// Ranks by Kubernetes node.
    pub(crate) ranks: BTreeMap<String, BTreeSet<u32>>,
}

/// A pod of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) group: String,
    pub(crate) head: bool,
    pub(crate) node: String,
    pub(crate) ip: String,
    pub(crate) ending: bool,
    /// Containers in order, those that end before the others begin first.
    pub(crate) containers: Vec<Container>,
    /// Port of Ray's dashboard, of a head.
    pub(crate) dashboard: u16,
    /// Secret with the Ray token, if Ray asks for one.
    pub(crate) secret: Option<String>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) restarts: i64,
    /// Whether it has a log: it runs or has ended.
    pub(crate) started: bool,
    pub(crate) running: bool,
}

fn shape(placement: &[Rank]) -> Option<Shape> {
    let last = |of: fn(&Rank) -> i64| u32::try_from(placement.iter().map(of).max()?).ok()?.checked_add(1);
    let first = placement.iter().filter(|rank| rank.stage == 0 && rank.data.unwrap_or(0) == 0);
    let tensor = u32::try_from(first.count()).ok()?;
    Shape::of(last(|rank| rank.data.unwrap_or(0))?, tensor, last(|rank| rank.stage)?).ok()
}

impl World {
    /// Groups of a fleet; the pods are [`Pod::read`] one by one.
    pub(crate) fn groups(fleet: &Fleet) -> BTreeMap<String, Group> {
        let groups = fleet.groups.iter().map(|group| {
            let number = u32::try_from(group.launch).ok().filter(|number| *number > 0);
            let launch = number.zip(group.revision.engine.clone()).map(|(number, engine)| LaunchId {
                group: group.name.clone(),
                engine: Some(engine),
                number,
            });
            let mut ranks: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
            for rank in &group.placement {
                if let Ok(number) = u32::try_from(rank.number) {
                    ranks.entry(rank.node.to_string()).or_default().insert(number);
                }
            }
            (
                group.name.to_string(),
                Group {
                    launch,
                    has_engine: group.revision.engine.is_some(),
                    shape: shape(&group.placement),
                    ranks,
                },
            )
        });
        groups.collect()
    }

    /// The head pod of a group: the one that stays, if there are two.
    pub(crate) fn head(&self, group: &str) -> Option<(&str, &Pod)> {
        let heads = self.pods.iter().filter(|(_, pod)| pod.head && pod.group == group);
        heads.min_by_key(|(_, pod)| (pod.ending, pod.ip.is_empty())).map(|(name, pod)| (name.as_str(), pod))
    }

    /// Ranks that run in a pod, as far as its node says so: only if no other pod of the group is on it.
    pub(crate) fn ranks_of(&self, pod: &Pod) -> Option<&BTreeSet<u32>> {
        let there = self.pods.values().filter(|other| other.group == pod.group && other.node == pod.node);
        if there.count() > 1 {
            return None;
        }
        self.groups.get(&pod.group)?.ranks.get(&pod.node)
    }
}

impl Pod {
    /// A pod from its object; `None` if it belongs to no group.
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let (labels, spec, status) = (&object["metadata"]["labels"], &object["spec"], &object["status"]);
        let group = [RAY_LABEL_CLUSTER, LABEL_GROUP].into_iter().find_map(|label| labels[label].as_str())?;
        let all = |field: &str| spec[field].as_array().into_iter().flatten();
        let variables = || all("containers").flat_map(|it| it["env"].as_array().into_iter().flatten());
        let variable = |name: &str| variables().find(|it| it["name"] == name);
        let secret = variable("RAY_AUTH_TOKEN")
            .and_then(|it| it["valueFrom"]["secretKeyRef"]["name"].as_str())
            .filter(|_| variable("RAY_AUTH_MODE").is_none_or(|mode| mode["value"] == "token"));
        let command = variable("KUBERAY_GEN_RAY_START_CMD").and_then(|it| it["value"].as_str());
        let port = command.and_then(|command| {
            command.split_whitespace().find_map(|word| word.strip_prefix("--dashboard-port=")?.parse().ok())
        });
        let containers = |kind: &str, statuses: &str| -> Vec<Container> {
            all(kind).filter_map(|container| Container::read(container, &status[statuses])).collect()
        };
        Some(Self {
            group: group.to_owned(),
            head: labels[RAY_LABEL_NODE_TYPE] == "head",
            node: text(&spec["nodeName"]),
            ip: text(&status["podIP"]),
            ending: !object["metadata"]["deletionTimestamp"].is_null(),
            containers: [
                containers("initContainers", "initContainerStatuses"),
                containers("containers", "containerStatuses"),
            ]
            .concat(),
            dashboard: port.unwrap_or(DASHBOARD_PORT),
            secret: secret.map(str::to_owned),
        })
    }

    /// The container of a name.
    pub(crate) fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|container| container.name == name)
    }
}

impl Container {
    fn read(container: &Value, statuses: &Value) -> Option<Self> {
        let name = container["name"].as_str()?;
        let status = statuses.as_array().into_iter().flatten().find(|status| status["name"] == name);
        let state = status.map(|status| &status["state"]);
        let is = |kind: &str| state.is_some_and(|state| !state[kind].is_null());
        let restarts = status.and_then(|status| status["restartCount"].as_i64()).unwrap_or_default();
        Some(Self {
            name: name.to_owned(),
            restarts,
            // One that waits after a crash has the log of the time before.
            started: is("running") || is("terminated") || restarts > 0,
            running: is("running"),
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample;

    /// A pod of a group of the sample fleet.
    pub(in crate::logs) fn pod(group: &str, role: &str, node: &str) -> Value {
        json!({
            "metadata": {
                "name": format!("{group}-{role}-x2b4f"), "namespace": "serving",
                "labels": {
                    "ray.io/cluster": group, "ray.io/node-type": role,
                    "orchestration.aibrix.ai/raycluster-fleet-name": "llama"
                }
            },
            "spec": {"nodeName": node, "containers": [{"name": "ray", "image": "ray:1"}]},
            "status": {
                "podIP": "10.0.0.1",
                "containerStatuses": [{"name": "ray", "restartCount": 0, "state": {"running": {}}}]
            }
        })
    }

    #[test]
    fn a_pod_says_where_its_dashboard_is_and_which_token_it_wants() {
        let mut object = pod("g", "head", "node-a");
        let read = |object: &Value| Pod::read(object).unwrap();
        let plain = read(&object);
        assert_eq!((plain.dashboard, plain.secret.as_deref(), plain.head), (8265, None, true));
        assert!(plain.containers[0].running);
        object["spec"]["containers"][0]["env"] = json!([
            {"name": "RAY_AUTH_MODE", "value": "token"},
            {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "g", "key": "auth_token"}}},
            {"name": "KUBERAY_GEN_RAY_START_CMD", "value": "ray start --head  --dashboard-port=9000  --block"}
        ]);
        let with_token = read(&object);
        assert_eq!((with_token.dashboard, with_token.secret.as_deref()), (9000, Some("g")));
        object["spec"]["containers"][0]["env"][0]["value"] = json!("disabled");
        assert_eq!(read(&object).secret, None);
    }

    #[test]
    fn odd_pods_are_read_without_panic() {
        for object in [json!(null), json!({}), json!({"metadata": {"labels": {"ray.io/cluster": 7}}})] {
            assert_eq!(Pod::read(&object), None, "{object}");
        }
        let mut object = pod("g", "worker", "node-a");
        object["spec"]["containers"] = json!([7, {"name": "a", "env": {}}, {"name": "b", "env": [3]}]);
        object["status"] = json!({"containerStatuses": {"name": "a"}, "podIP": 3});
        let read = Pod::read(&object).unwrap();
        assert_eq!(read.containers.len(), 2);
        assert!(!read.containers[0].started);
    }

    #[test]
    fn a_container_that_waits_after_a_crash_has_a_log() {
        let mut object = pod("g", "worker", "node-a");
        let status = &mut object["status"]["containerStatuses"][0];
        status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        assert!(!Pod::read(&object).unwrap().containers[0].started);
        object["status"]["containerStatuses"][0]["restartCount"] = json!(2);
        assert!(Pod::read(&object).unwrap().containers[0].started);
    }

    #[test]
    fn ranks_belong_to_the_pod_that_is_alone_on_their_node() {
        let mut world = World { groups: World::groups(&sample::upgrading_fleet()), ..World::default() };
        let put = |world: &mut World, role: &str, node: &str| {
            world.pods.insert(role.to_owned(), Pod::read(&pod("llama-bcdfgh-0", role, node)).unwrap());
        };
        put(&mut world, "head", "node-a");
        put(&mut world, "worker", "node-b");
        let ranks = |world: &World, role: &str| world.ranks_of(&world.pods[role]).cloned();
        assert_eq!(ranks(&world, "worker"), Some(BTreeSet::from([1])));
        put(&mut world, "other", "node-b");
        assert_eq!(ranks(&world, "worker"), None);
        assert_eq!(world.head("llama-bcdfgh-0").unwrap().0, "head");
        assert_eq!(world.head("llama-bcdfgh-1"), None);
    }
}
