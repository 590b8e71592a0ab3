//! The state that is explored: the spec, the ledger, and the actual objects. There is no clock: a wait is
//! either pending or over, and each ends with its own event.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::{GroupName, LaunchId, PodRevision, RayClusterFleetStatus, ValidFleet};

use crate::capacity::{Capacity, PendingPod};
use crate::observed::{
    ObservedEngine, ObservedGroup, ObservedJob, ObservedLoad, ObservedPod, ObservedProbe, ObservedRay,
    ObservedRayCluster, RayReport, Reach,
};
use crate::testing::{at, gpu_pod, nodes};

/// The time of every pass.
pub(super) fn now() -> Timestamp {
    at(0)
}

/// A time before which all waits are over.
fn long_ago() -> Time {
    Time(at(-86_400))
}

/// What the fleet's spec asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Spec {
    pub(super) generation: i64,
    pub(super) replicas: u32,
    pub(super) partition: u32,
    pub(super) pods: &'static str,
    pub(super) engine: &'static str,
    pub(super) paused: bool,
}

/// State of a group's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pods {
    /// They have no nodes yet.
    Waiting,
    /// They run, and Ray lists their nodes.
    Up,
    /// The RayCluster is gone and they are terminating.
    Ending,
}

/// State of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Engine {
    Loading,
    Healthy,
    Dead,
}

/// The actual state of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) slot: u32,
    pub(super) attempt: u32,
    pub(super) revision: PodRevision,
    pub(super) pods: Pods,
    /// The engine's job, by launch.
    pub(super) job: Option<(LaunchId, Engine)>,
    pub(super) gate: bool,
}

impl Group {
    pub(super) fn serves(&self) -> bool {
        self.pods == Pods::Up && self.gate && matches!(self.job, Some((_, Engine::Healthy)))
    }
}

/// How many more events are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) changes: u8,
    pub(super) faults: u8,
    pub(super) crashes: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) spec: Spec,
    pub(super) status: RayClusterFleetStatus,
    pub(super) groups: BTreeMap<GroupName, Group>,
    /// The state before the last event, for a controller with late observations.
    pub(super) before: Option<BTreeMap<GroupName, Group>>,
    pub(super) left: Left,
    /// A violated guarantee on the way here.
    pub(super) breach: Option<String>,
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fixed_part().hash(state);
        (&self.before, self.left, &self.breach).hash(state);
    }
}

impl State {
    /// Everything that later states depend on without further events.
    pub(super) fn fixed_part(&self) -> (&Spec, String, &BTreeMap<GroupName, Group>) {
        (&self.spec, serde_json::to_string(&self.status).unwrap(), &self.groups)
    }

    /// The fleet with its current spec.
    pub(super) fn fleet(&self, of: &ValidFleet) -> ValidFleet {
        let mut fleet = of.clone();
        fleet.generation = self.spec.generation;
        fleet.replicas = self.spec.replicas;
        fleet.strategy.partition = self.spec.partition;
        fleet.paused = self.spec.paused;
        fleet.revision.pod = self.spec.pods.into();
        fleet.revision.engine = Some(self.spec.engine.into());
        fleet
    }

    /// Stores a decision's status without messages and redundant parts.
    pub(super) fn enter(&mut self, mut status: RayClusterFleetStatus) {
        status.conditions.clear();
        (status.startup_times, status.ending_times) = (None, None);
        for group in &mut status.groups {
            let waits = matches!(group.phase, Phase::Stopping | Phase::Failed);
            let over = |time: &mut Option<Time>| {
                if time.is_some() {
                    *time = Some(long_ago());
                }
            };
            if !waits {
                over(&mut group.phase_since);
            }
            over(&mut group.ready_since);
            over(&mut group.in_flight_at);
            (group.forming_since, group.waiting_since) = (None, None);
            group.started_at = None;
            (group.message, group.last_failure) = (None, None);
        }
        if let Some(rollout) = &mut status.rollout {
            rollout.reason = None;
            // It only determines the length of the next wait.
            rollout.pend_failures = rollout.pend_failures.min(1);
        }
        self.status = status;
    }

    /// Groups of the ledger that wait for a time.
    pub(super) fn waiting(&self) -> impl Iterator<Item = usize> {
        let groups = self.status.groups.iter().enumerate();
        groups.filter(|(_, group)| *group != &waited(group)).map(|(at, _)| at)
    }

    /// Whether no surge group may pend before a later time.
    pub(super) fn pends_later(&self) -> bool {
        let rollout = self.status.rollout.as_ref();
        rollout
            .and_then(|rollout| rollout.pend_retry_after.as_ref())
            .is_some_and(|again| *again != long_ago())
    }

    /// That time has passed.
    pub(super) fn may_pend_again(&mut self) {
        if let Some(rollout) = &mut self.status.rollout {
            rollout.pend_retry_after = Some(long_ago());
        }
    }

    /// Whether its pods have no nodes, by the actual state.
    pub(super) fn waits_for_nodes(&self, name: &GroupName) -> bool {
        self.groups.get(name).is_none_or(|group| group.pods == Pods::Waiting)
    }

    /// The time for which a group waits has passed.
    pub(super) fn wait_is_over(&mut self, at: usize) {
        if let Some(group) = self.status.groups.get_mut(at) {
            *group = waited(group);
        }
    }

    /// Number of groups whose pods hold nodes.
    fn placed(&self) -> usize {
        self.groups.values().filter(|group| group.pods != Pods::Waiting).count()
    }

    /// Whether a group's step in progress can complete now.
    pub(super) fn can_advance(&self, name: &GroupName, room: usize) -> bool {
        self.groups.get(name).is_some_and(|group| match group.pods {
            Pods::Waiting => self.placed() < room,
            Pods::Up => matches!(group.job, Some((_, Engine::Loading))),
            Pods::Ending => true,
        })
    }

    /// Completes a group's step in progress. Engines of the revision `bad` end instead of serving.
    pub(super) fn advance(&mut self, name: &GroupName) {
        let Some(group) = self.groups.get_mut(name) else { return };
        match (group.pods, &mut group.job) {
            (Pods::Waiting, _) => group.pods = Pods::Up,
            (Pods::Up, Some((launch, engine))) => {
                *engine = if launch.to_string().contains("bad") { Engine::Dead } else { Engine::Healthy };
            }
            (Pods::Up, None) => {}
            (Pods::Ending, _) => drop(self.groups.remove(name)),
        }
    }

    /// What a controller observes of `groups`.
    pub(super) fn observed(&self, groups: &BTreeMap<GroupName, Group>) -> BTreeMap<GroupName, ObservedGroup> {
        let entry = |name: &GroupName| self.status.groups.iter().find(|entry| entry.name == *name);
        groups.iter().map(|(name, group)| (name.clone(), see(name, group, entry(name)))).collect()
    }

    pub(super) fn capacity(&self, room: usize) -> Capacity {
        let placed = 2 * self.placed();
        let free: Vec<u32> = (0..2 * room).map(|node| u32::from(node >= placed)).collect();
        let waiting = self.groups.iter().filter(|(_, group)| group.pods == Pods::Waiting);
        let pod = |name: &GroupName| PendingPod {
            name: name.to_string(),
            spec: gpu_pod(1).into(),
            ..PendingPod::default()
        };
        let pending = waiting.flat_map(|(name, _)| [pod(name), pod(name)]).collect();
        Capacity { pending, ..nodes(&free) }
    }
}

/// A group after its wait.
fn waited(group: &GroupStatus) -> GroupStatus {
    let past = |time: &Option<Time>| time.as_ref().map(|_| long_ago());
    GroupStatus {
        phase_since: past(&group.phase_since),
        left_endpoints_at: past(&group.left_endpoints_at),
        retry_after: past(&group.retry_after),
        pend_until: past(&group.pend_until),
        ..group.clone()
    }
}

fn see(name: &GroupName, group: &Group, entry: Option<&GroupStatus>) -> ObservedGroup {
    let ending = group.pods == Pods::Ending;
    let up = group.pods == Pods::Up;
    let cluster = (!ending).then(|| ObservedRayCluster {
        uid: name.to_string(),
        resource_version: "1".to_owned(),
        slot: Some(group.slot),
        attempt: group.attempt,
        pod_revision: group.revision.clone(),
        ..ObservedRayCluster::default()
    });
    let pod = |number: usize| ObservedPod {
        name: format!("{name}-{number}").into(),
        uid: format!("{name}-{number}"),
        head: number == 0,
        node: (group.pods != Pods::Waiting).then(|| format!("node-{number}").into()),
        ip: up.then(|| format!("10.{}.{}.{number}", group.slot, group.attempt)),
        deleting: ending,
        containers_ready: up,
        gate_open: number == 0 && group.gate,
        ..ObservedPod::default()
    };
    let pods = vec![pod(0), pod(1)];
    let addresses = pods.iter().filter_map(|pod| pod.ip.clone()).collect();
    let state = Ok(RayReport { nodes: addresses, engine: engine(group, entry) });
    ObservedGroup {
        cluster,
        pods,
        endpoint_ready: Some(group.gate && up),
        ray: up.then_some(ObservedRay {
            at: now(),
            state,
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        }),
        ..ObservedGroup::default()
    }
}

fn engine(group: &Group, entry: Option<&GroupStatus>) -> ObservedEngine {
    let Some(entry) = entry else { return ObservedEngine::default() };
    let launch = entry.launch_id();
    let state = group.job.as_ref().filter(|(of, _)| *of == launch).map(|(_, engine)| *engine);
    let healthy = state == Some(Engine::Healthy);
    ObservedEngine {
        launch: Some(launch),
        job: state.map(|engine| match engine {
            Engine::Dead => ObservedJob::Ended("killed".to_owned()),
            Engine::Loading | Engine::Healthy => ObservedJob::Running,
        }),
        ranks_placed: 2,
        healthy,
        answering: healthy,
        load: healthy.then_some(ObservedLoad::default()),
        probe: ObservedProbe::Passed,
        ..ObservedEngine::default()
    }
}
