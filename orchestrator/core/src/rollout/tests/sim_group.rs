//! One group of the simulation: pods, engine jobs, requests in flight, and its observable state.

use std::collections::BTreeMap;

use rayfleet_api::LaunchId;
use rayfleet_api::status::GroupStatus;

use super::sim::{Pace, Sim};
use crate::observed::{
    ObservedEngine, ObservedGroup, ObservedJob, ObservedLoad, ObservedPod, ObservedProbe, ObservedRay,
    ObservedRayCluster, PodProblem, RayReport, Reach,
};
use crate::testing::at;

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) started: i64,
    pub(super) ended: Option<String>,
    /// It never becomes healthy.
    pub(super) slow: bool,
    pub(super) probed: bool,
}

impl Job {
    fn healthy(&self, now: i64, pace: Pace) -> bool {
        self.ended.is_none() && !self.slow && now >= self.started + pace.load
    }
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts, not a state")]
#[derive(Clone, Debug)]
pub(super) struct SimGroup {
    pub(super) entry: GroupStatus,
    pub(super) uid: Option<String>,
    pub(super) pods_since: i64,
    /// Nodes of its pods.
    pub(super) nodes: Option<(usize, usize)>,
    /// When its pods will have ended, if the RayCluster is gone.
    pub(super) ends: Option<i64>,
    pub(super) jobs: BTreeMap<LaunchId, Job>,
    pub(super) gate: bool,
    pub(super) endpoint: bool,
    pub(super) draining: bool,
    /// When it last received a request.
    pub(super) served_at: Option<i64>,
    /// Until when a pod fails its readiness probes.
    pub(super) blinks_until: i64,
    /// Somebody asks for another group in its place.
    pub(super) replace: bool,
}

/// A fault of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    EngineDies,
    PodsReplaced,
    ProbeMissed,
    ClusterDeleted,
    Replaced,
}

impl SimGroup {
    pub(super) fn kill(&mut self, cause: &str) {
        for job in self.jobs.values_mut() {
            job.ended.get_or_insert_with(|| cause.to_owned());
        }
        self.served_at = None;
    }

    pub(super) fn end(&mut self, when: i64) {
        self.uid = None;
        self.ends = Some(when);
        self.jobs.clear();
    }

    pub(super) fn in_flight(&self, now: i64, pace: Pace) -> u32 {
        u32::from(self.served_at.is_some_and(|last| now < last + pace.request))
    }

    pub(super) fn healthy(&self, now: i64, pace: Pace) -> bool {
        self.jobs.values().any(|job| job.healthy(now, pace))
    }

    /// Whether it has an engine that serves.
    pub(super) fn serves(&self, now: i64, pace: Pace) -> bool {
        self.healthy(now, pace) && self.in_flight(now, pace) > 0
    }

    pub(super) fn observed(&self, entry: Option<&GroupStatus>, sim: &Sim) -> ObservedGroup {
        let ready = self.nodes.is_some() && sim.now >= self.pods_since + sim.pace.pods;
        let cluster = self.uid.as_ref().map(|uid| ObservedRayCluster {
            uid: uid.clone(),
            resource_version: "1".to_owned(),
            slot: Some(self.entry.slot),
            attempt: self.entry.attempt,
            pod_revision: self.entry.revision.clone(),
            replace: self.replace,
            ..ObservedRayCluster::default()
        });
        let mut pods = vec![self.pod(0, ready), self.pod(1, ready)];
        pods[1].containers_ready &= sim.now >= self.blinks_until;
        let nodes = pods.iter().filter_map(|pod| pod.ip.clone()).collect();
        let engine = entry.map_or_else(ObservedEngine::default, |entry| self.engine(entry, sim));
        let state = Ok(RayReport { nodes, engine });
        let ray = ready.then_some(ObservedRay {
            at: at(sim.now),
            state,
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        });
        ObservedGroup { cluster, pods, endpoint_ready: Some(self.endpoint), ray, ..ObservedGroup::default() }
    }

    pub(super) fn pod(&self, number: usize, ready: bool) -> ObservedPod {
        let node = self.nodes.map(|(one, other)| if number == 0 { one } else { other });
        ObservedPod {
            name: format!("{}-{number}", self.entry.name).into(),
            uid: format!("{}-{number}-{}", self.entry.name, self.pods_since),
            head: number == 0,
            node: node.map(|node| format!("node-{node}").into()),
            ip: ready.then(|| format!("10.{}.{}.{number}", self.entry.slot, self.entry.attempt)),
            deleting: self.ends.is_some(),
            ends_at: None,
            containers_ready: ready,
            gate_open: number == 0 && self.gate,
            problem: node.is_none().then(|| PodProblem {
                reason: "Unschedulable".to_owned(),
                message: "no node has a free GPU".to_owned(),
                ..PodProblem::default()
            }),
            ..ObservedPod::default()
        }
    }

    pub(super) fn engine(&self, entry: &GroupStatus, sim: &Sim) -> ObservedEngine {
        let launch = entry.launch_id();
        let Some(job) = self.jobs.get(&launch) else {
            return ObservedEngine { launch: Some(launch), ..ObservedEngine::default() };
        };
        let healthy = job.healthy(sim.now, sim.pace);
        ObservedEngine {
            launch: Some(launch),
            job: Some(job.ended.clone().map_or(ObservedJob::Running, ObservedJob::Ended)),
            ranks_placed: if sim.now > job.started { 2 } else { 0 },
            healthy,
            answering: healthy,
            load: healthy.then(|| ObservedLoad {
                in_flight: self.in_flight(sim.now, sim.pace),
                draining: Some(self.draining),
                kept_connections: 0,
                idle_seconds: Some(2.0),
                stalled_since: None,
                deferred: false,
            }),
            probe: if job.probed { ObservedProbe::Passed } else { ObservedProbe::Unknown },
            ..ObservedEngine::default()
        }
    }
}
