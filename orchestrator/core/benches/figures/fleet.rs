//! Fleets that serve, the nodes that they are on, and what is observed of them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::status::{GroupStatus, Phase, RankCount, RolloutStatus, RolloutStep};
use rayfleet_api::{NodeName, RayClusterFleet, RayClusterFleetStatus, ValidFleet, names};
use rayfleet_core::capacity::{Capacity, NodeRoom, Share};
use rayfleet_core::observed::{
    ObservedEngine, ObservedGroup, ObservedJob, ObservedLoad, ObservedPod, ObservedProbe, ObservedRay,
    ObservedRayCluster, RayReport, Reach,
};
use serde_json::{Value, json};

/// The moment at which everything is looked at.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// Bounds of a rollout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) replicas: usize,
    pub(crate) surge: usize,
    pub(crate) unavailable: usize,
}

/// A fleet of groups of so many nodes with 8 GPUs each.
pub(crate) fn fleet(bounds: Bounds, nodes: usize, image: &str, args: &[&str]) -> ValidFleet {
    let pod = |role: &str| -> Value {
        json!({"spec": {
            "nodeSelector": {"pool": "h100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "containers": [{"name": role, "image": image, "resources": {
                "limits": {"nvidia.com/gpu": "8"}, "requests": {"cpu": "32", "memory": "512Gi"}
            }}]
        }})
    };
    let raw = json!({
        "apiVersion": "orchestration.aibrix.ai/v1alpha1",
        "kind": "RayClusterFleet",
        "metadata": {"name": "f", "namespace": "n", "uid": "u", "generation": 2},
        "spec": {
            "replicas": bounds.replicas,
            "selector": {"matchLabels": {"app": "f"}},
            "strategy": {"rollingUpdate": {"maxSurge": bounds.surge, "maxUnavailable": bounds.unavailable}},
            "template": {"metadata": {"labels": {"app": "f"}}, "spec": {
                "headGroupSpec": {"template": pod("head")},
                "workerGroupSpecs": [{"groupName": "w", "replicas": nodes - 1, "template": pod("worker")}]
            }},
            "model": {"name": "m", "source": "/m", "engine": {"args": args},
                      "parallelism": {"tensor": 8, "pipeline": nodes}}
        }
    });
    let raw: RayClusterFleet = serde_json::from_value(raw).unwrap();
    ValidFleet::new(&raw).unwrap()
}

/// All groups of a fleet serve, on the first nodes; `spare` nodes are free.
pub(crate) fn serving(fleet: &ValidFleet, spare: usize) -> (RayClusterFleetStatus, Capacity) {
    let size = fleet.shape.size();
    let groups: Vec<GroupStatus> = (0..fleet.replicas).map(|slot| group(fleet, slot)).collect();
    let used = groups.len() * size;
    let of_eight = |gpus: i128, each: i128| Share { allocatable: 8 * each, requested: gpus * each };
    let shares = |gpus: i128| {
        BTreeMap::from([
            ("nvidia.com/gpu".into(), of_eight(gpus, 1_000)),
            ("cpu".into(), of_eight(gpus, 16_000)),
            ("memory".into(), of_eight(gpus, (128_i128 << 30) * 1_000)),
            ("pods".into(), of_eight(gpus, 10_000)),
        ])
    };
    let node = |number: usize| NodeRoom {
        name: name(number),
        labels: BTreeMap::from([("pool".to_owned(), "h100".to_owned())]),
        ready: true,
        shares: shares(if number < used { 8 } else { 0 }),
        ..NodeRoom::default()
    };
    let count = i32::try_from(groups.len()).unwrap();
    let revision = fleet.revision.clone();
    let status = RayClusterFleetStatus {
        replicas: count,
        updated_replicas: count,
        ready_replicas: count,
        available_replicas: count,
        groups,
        rollout: Some(RolloutStatus {
            step: RolloutStep::Complete,
            stable: Some(revision.clone()),
            to: revision,
            ..RolloutStatus::default()
        }),
        ..RayClusterFleetStatus::default()
    };
    let nodes = (0..used + spare).map(node).collect();
    (status, Capacity { nodes, ..Capacity::default() })
}

fn name(number: usize) -> NodeName {
    format!("node-{number:05}").into()
}

fn group(fleet: &ValidFleet, slot: u32) -> GroupStatus {
    let size = fleet.shape.size();
    let first = usize::try_from(slot).unwrap() * size;
    let long_ago = Some(Time(Timestamp::from_second(1_700_000_000).unwrap()));
    GroupStatus {
        name: names::group_name(&fleet.name, &fleet.revision.pod, slot, 0),
        slot,
        uid: Some(format!("uid-{slot}")),
        revision: fleet.revision.pod.clone(),
        engine_revision: fleet.revision.engine.clone(),
        phase: Phase::Ready,
        phase_since: long_ago.clone(),
        ready_since: long_ago,
        launch: 1,
        ranks: Some(RankCount { placed: fleet.ranks(), total: fleet.ranks() }),
        nodes: (first..first + size).map(name).collect(),
        ..GroupStatus::default()
    }
}

/// What is observed of a group that serves.
pub(crate) fn observed(fleet: &ValidFleet, group: &GroupStatus) -> ObservedGroup {
    let pod = |(number, node): (usize, &NodeName)| ObservedPod {
        name: format!("{}-{number}", group.name).into(),
        uid: format!("{}-{number}", group.name),
        head: number == 0,
        node: Some(node.clone()),
        ip: Some(format!("10.{}.{number}", group.slot)),
        containers_ready: true,
        gate_open: number == 0,
        ..ObservedPod::default()
    };
    let pods: Vec<ObservedPod> = group.nodes.iter().enumerate().map(pod).collect();
    let nodes = pods.iter().filter_map(|pod| pod.ip.clone()).collect();
    let engine = ObservedEngine {
        launch: Some(group.launch_id()),
        job: Some(ObservedJob::Running),
        ranks_placed: fleet.ranks(),
        healthy: true,
        answering: true,
        load: Some(ObservedLoad { in_flight: 3, draining: Some(false), ..ObservedLoad::default() }),
        probe: ObservedProbe::Passed,
        ..ObservedEngine::default()
    };
    ObservedGroup {
        cluster: Some(ObservedRayCluster {
            uid: group.uid.clone().unwrap_or_default(),
            resource_version: "1".to_owned(),
            slot: Some(group.slot),
            pod_revision: group.revision.clone(),
            ..ObservedRayCluster::default()
        }),
        pods,
        endpoint_ready: Some(true),
        ray: Some(ObservedRay {
            at: now(),
            state: Ok(RayReport { nodes, engine }),
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        }),
        ..ObservedGroup::default()
    }
}
