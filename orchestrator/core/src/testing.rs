//! Fleets and observations that tests start from: two pods with one GPU each, pipeline parallel 2.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::ValidFleet;
use rayfleet_api::names;
use rayfleet_api::revision::Revision;
use rayfleet_api::spec::{EngineType, OnFailure, Parallelism, RayClusterTemplate, StrategyType, WhenNoRoom};
use rayfleet_api::status::{FailureKind, Goal, GroupStatus, Phase, RankCount};
use rayfleet_api::valid::{
    GroupShape, PodShape, ValidFailurePolicy, ValidModel, ValidPlacement, ValidProbe, ValidStrategy,
};
use serde_json::{Value, json};

use crate::capacity::{Capacity, NodeRoom, Resources, Share};
use crate::observed::{
    EngineFailure, ObservedEngine, ObservedGroup, ObservedJob, ObservedLoad, ObservedPod, ObservedProbe,
    ObservedRank, ObservedRay, ObservedRayCluster, RayReport, Reach,
};
use crate::time;

/// The moment at which tests begin.
pub(crate) fn t0() -> Timestamp {
    at(0)
}

/// So many seconds after the beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// A pod spec that asks for GPUs and keeps the pods of a group on nodes of their own.
pub(crate) fn gpu_pod(gpus: u32) -> Value {
    json!({
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
        ]}},
        "containers": [{"name": "ray", "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}}}],
    })
}

pub(crate) fn shape() -> GroupShape {
    let pod = |role: &str| PodShape {
        role: role.to_owned(),
        count: 1,
        gpus: 1,
        labels: Arc::default(),
        spec: gpu_pod(1).into(),
    };
    GroupShape { roles: vec![pod("head"), pod("w")] }
}

/// So many GPUs.
pub(crate) fn gpus(count: u32) -> Resources {
    Resources::from([("nvidia.com/gpu".to_owned(), i128::from(count) * 1_000)])
}

/// Nodes with so many free GPUs each.
pub(crate) fn nodes(free: &[u32]) -> Capacity {
    let node = |(number, gpus): (usize, &u32)| NodeRoom {
        name: format!("node-{number}").into(),
        ready: true,
        shares: BTreeMap::from([
            ("nvidia.com/gpu".into(), Share { allocatable: i128::from(*gpus) * 1_000, requested: 0 }),
            ("pods".into(), Share { allocatable: 110_000, requested: 0 }),
        ]),
        ..NodeRoom::default()
    };
    Capacity { nodes: free.iter().enumerate().map(node).collect(), ..Capacity::default() }
}

pub(crate) fn fleet(replicas: u32) -> ValidFleet {
    ValidFleet {
        namespace: "default".to_owned(),
        name: "llama".to_owned(),
        uid: "fleet-uid".to_owned(),
        generation: 1,
        deleting: false,
        replicas,
        revision: Revision::from("pods1/eng1"),
        template: RayClusterTemplate::default(),
        shape: shape(),
        strategy: ValidStrategy {
            kind: StrategyType::RollingUpdate,
            max_surge: 1,
            max_unavailable: 0,
            partition: 0,
            when_no_room: WhenNoRoom::Replace,
            pend_timeout: Duration::from_mins(2),
            on_failure: OnFailure::Hold,
        },
        min_ready: Duration::ZERO,
        history_limit: 10,
        paused: false,
        progress_deadline: Some(Duration::from_mins(10)),
        drain_timeout: Duration::from_mins(1),
        failure: ValidFailurePolicy {
            engine_restarts: 2,
            backoff_initial: Duration::from_secs(5),
            backoff_max: Duration::from_mins(5),
            hung_after: Duration::from_mins(1),
            avoid_node_after: 3,
        },
        model: Some(model()),
        own_engine_port: None,
    }
}

fn model() -> ValidModel {
    ValidModel {
        name: "llama".to_owned(),
        source: "/models/llama".to_owned(),
        engine: EngineType::Vllm,
        entrypoint: None,
        args: Vec::new(),
        env: Vec::new(),
        parallelism: Parallelism { tensor: 1, pipeline: 2, data: None },
        placement: ValidPlacement::default(),
        port: 8000,
        start_timeout: Duration::from_mins(10),
        probe: ValidProbe { prompt: "Hello".to_owned(), max_tokens: 1, expect: None },
    }
}

/// A fleet whose template starts the engine itself.
pub(crate) fn plain_fleet(replicas: u32) -> ValidFleet {
    let mut fleet = fleet(replicas);
    fleet.model = None;
    fleet.revision.engine = None;
    fleet
}

/// The entry of a new group at the fleet's revision.
pub(crate) fn entry(fleet: &ValidFleet, slot: u32) -> GroupStatus {
    GroupStatus {
        name: names::group_name(&fleet.name, &fleet.revision.pod, slot, 0),
        slot,
        revision: fleet.revision.pod.clone(),
        engine_revision: fleet.revision.engine.clone(),
        phase_since: Some(time::began(t0())),
        ..GroupStatus::default()
    }
}

/// The entry of a group that has been ready since the beginning.
pub(crate) fn ready_entry(fleet: &ValidFleet, slot: u32) -> GroupStatus {
    GroupStatus {
        uid: Some("uid".to_owned()),
        phase: Phase::Ready,
        ready_since: Some(time::began(t0())),
        launch: u32::from(fleet.model.is_some()),
        ranks: fleet.model.as_ref().map(|_| RankCount { placed: 2, total: 2 }),
        ..entry(fleet, slot)
    }
}

pub(crate) fn with_goal(group: GroupStatus, goal: Goal) -> GroupStatus {
    GroupStatus { goal, ..group }
}

pub(crate) fn cluster(group: &GroupStatus) -> ObservedRayCluster {
    ObservedRayCluster {
        uid: "uid".to_owned(),
        resource_version: "7".to_owned(),
        slot: Some(group.slot),
        attempt: group.attempt,
        pod_revision: group.revision.clone(),
        ..ObservedRayCluster::default()
    }
}

pub(crate) fn pod(group: &GroupStatus, number: usize) -> ObservedPod {
    let role = if number == 0 { "head" } else { "w" };
    ObservedPod {
        name: format!("{}-{role}", group.name).into(),
        uid: format!("{}-{role}-uid", group.name),
        head: number == 0,
        node: Some(format!("node-{number}").into()),
        ip: Some(format!("10.0.{}.{number}", group.slot)),
        containers_ready: true,
        ..ObservedPod::default()
    }
}

/// An engine at the current launch of a group that does everything right.
pub(crate) fn engine(group: &GroupStatus) -> ObservedEngine {
    let ip = |number: u32| format!("10.0.{}.{number}", group.slot);
    ObservedEngine {
        launch: Some(group.launch_id()),
        job: Some(ObservedJob::Running),
        ranks_placed: 2,
        ranks: [1, 0]
            .map(|rank| ObservedRank { rank, data: None, tensor: 0, stage: rank, ip: ip(rank) })
            .into(),
        healthy: true,
        answering: true,
        load: Some(ObservedLoad {
            in_flight: 0,
            draining: Some(false),
            kept_connections: 0,
            idle_seconds: Some(9.0),
            stalled_since: None,
            deferred: false,
        }),
        probe: ObservedProbe::Passed,
        ..ObservedEngine::default()
    }
}

/// What Ray says of an engine that is broken for good.
pub(crate) fn rank_died(evidence: &str, nodes: &[&str]) -> EngineFailure {
    let nodes = nodes.iter().map(ToString::to_string).collect();
    EngineFailure { kind: FailureKind::RankDied, evidence: evidence.to_owned(), nodes }
}

/// A group as it is when all is well, its gate open.
pub(crate) fn healthy(group: &GroupStatus, now: Timestamp) -> ObservedGroup {
    let mut pods = vec![pod(group, 0), pod(group, 1)];
    pods[0].gate_open = true;
    let nodes = pods.iter().filter_map(|pod| pod.ip.clone()).collect();
    ObservedGroup {
        cluster: Some(cluster(group)),
        pods,
        endpoint_ready: Some(true),
        ray: Some(ObservedRay {
            at: now,
            state: Ok(RayReport { nodes, engine: engine(group) }),
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        }),
        ..ObservedGroup::default()
    }
}

/// What Ray says of a group, to be changed.
pub(crate) fn ray_mut(observed: &mut ObservedGroup) -> &mut RayReport {
    observed.ray.as_mut().unwrap().state.as_mut().unwrap()
}
