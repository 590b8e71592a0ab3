//! One group of a forecast: pods, engine and gate, and its observable state at a given time.

use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::valid::{GroupShape, after};
use rayfleet_api::{GroupName, LaunchId, NodeName};

use super::Pace;
use crate::observed::{
    ObservedEngine, ObservedGroup, ObservedJob, ObservedLoad, ObservedPod, ObservedProbe, ObservedRay,
    ObservedRayCluster, PodProblem, RayReport, Reach,
};

/// A group whose RayCluster exists or whose pods are still terminating.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) shape: &'a GroupShape,
    pub(super) uid: String,
    /// Node of each pod, once they are scheduled.
    pub(super) nodes: Vec<NodeName>,
    /// When its pods are running.
    pub(super) up_at: Option<Timestamp>,
    /// When its pods will have ended, if its RayCluster was deleted.
    pub(super) gone_at: Option<Timestamp>,
    /// Launch of its engine, and when that can serve. No launch in compatibility mode.
    pub(super) engine: Option<(Option<LaunchId>, Timestamp)>,
    /// When its engine will have ended, if it is being stopped.
    pub(super) stopped_at: Option<Timestamp>,
    pub(super) gate: bool,
    /// When its last request will have ended.
    pub(super) idle_at: Timestamp,
}

impl<'a> Group<'a> {
    /// A group that was just created.
    pub(super) fn new(shape: &'a GroupShape, entry: &GroupStatus, now: Timestamp) -> Self {
        Self {
            shape,
            uid: entry.uid.clone().unwrap_or_else(|| entry.name.to_string()),
            nodes: Vec::new(),
            up_at: None,
            gone_at: None,
            engine: None,
            stopped_at: None,
            gate: false,
            idle_at: now,
        }
    }

    /// A group from the ledger; `None` if nothing of it exists yet.
    pub(super) fn of(shape: &'a GroupShape, entry: &GroupStatus, pace: Pace, now: Timestamp) -> Option<Self> {
        entry.uid.as_ref()?;
        let mut group = Self::new(shape, entry, now);
        let since = entry.started_at.as_ref().or(entry.phase_since.as_ref()).map_or(now, |time| time.0);
        let at = |wait: Duration| after(since, wait).max(now);
        if entry.nodes.len() == shape.size() {
            group.nodes.clone_from(&entry.nodes);
        }
        let launch = launch(entry);
        match entry.phase {
            Phase::Pending | Phase::Provisioning | Phase::Forming => {
                group.up_at = (!group.nodes.is_empty()).then(|| at(pace.pods));
            }
            Phase::Placing | Phase::Loading | Phase::Probing => {
                group.up_at = Some(now);
                group.engine = Some((launch, at(pace.start)));
            }
            Phase::Ready | Phase::Draining => {
                group.up_at = Some(now);
                group.engine = Some((launch, now));
                group.gate = entry.phase == Phase::Ready;
                group.idle_at = if group.gate { Timestamp::MAX } else { at(pace.drain) };
            }
            Phase::Stopping | Phase::Failed => group.up_at = Some(now),
            // Predicted as if it were resumed now: when it will be resumed is not known here.
            Phase::Suspended => {}
        }
        Some(group)
    }

    pub(super) fn is_up(&self, now: Timestamp) -> bool {
        self.gone_at.is_none() && self.up_at.is_some_and(|up| up <= now)
    }

    /// Its observable state.
    pub(super) fn observed(
        &self,
        entry: Option<&GroupStatus>,
        name: &GroupName,
        now: Timestamp,
    ) -> ObservedGroup {
        let up = self.is_up(now);
        let cluster = self.gone_at.is_none().then(|| ObservedRayCluster {
            uid: self.uid.clone(),
            pods: Some(self.shape.size()),
            ..ObservedRayCluster::default()
        });
        let pods: Vec<ObservedPod> =
            (0..self.shape.size()).map(|number| self.pod(name, number, up)).collect();
        let addresses = pods.iter().filter_map(|pod| pod.ip.clone()).collect();
        let engine = self.engine_seen(entry, now);
        let state = Ok(RayReport { nodes: addresses, engine });
        let ray = up.then_some(ObservedRay {
            at: now,
            state,
            unreachable_ips: Vec::new(),
            reach: Reach::Reachable,
        });
        ObservedGroup {
            cluster,
            pods,
            endpoint_ready: Some(self.gate && up),
            ray,
            ..ObservedGroup::default()
        }
    }

    fn pod(&self, name: &GroupName, number: usize, up: bool) -> ObservedPod {
        ObservedPod {
            name: format!("{name}-{number}").into(),
            head: number == 0,
            node: self.nodes.get(number).cloned(),
            ip: up.then(|| format!("{name}-{number}")),
            deleting: self.gone_at.is_some(),
            containers_ready: up,
            gate_open: number == 0 && self.gate,
            problem: (self.nodes.is_empty() && self.gone_at.is_none()).then(|| PodProblem {
                reason: "Unschedulable".to_owned(),
                message: "not all pods of the group fit on the nodes".to_owned(),
                ..PodProblem::default()
            }),
            ..ObservedPod::default()
        }
    }

    fn engine_seen(&self, entry: Option<&GroupStatus>, now: Timestamp) -> ObservedEngine {
        let want = entry.and_then(launch);
        let running = self.engine.as_ref().filter(|(launch, _)| *launch == want);
        let healthy = running.is_some_and(|(_, serves_at)| *serves_at <= now);
        let ranks = self.shape.gpus();
        ObservedEngine {
            launch: want,
            job: running.map(|_| ObservedJob::Running),
            ranks_placed: if running.is_some() { ranks } else { 0 },
            healthy,
            answering: healthy,
            load: healthy.then(|| ObservedLoad {
                in_flight: u32::from(self.idle_at > now),
                ..ObservedLoad::default()
            }),
            probe: ObservedProbe::Passed,
            ..ObservedEngine::default()
        }
    }
}

/// The launch of a group's engine; `None` if the pods start the engine.
fn launch(entry: &GroupStatus) -> Option<LaunchId> {
    entry.engine_revision.as_ref().map(|_| entry.launch_id())
}
