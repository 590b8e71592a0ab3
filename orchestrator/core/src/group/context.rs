//! The bench that the parts of a step work on: the entry as it becomes, and the effects so far.
//! Only what every part needs; no rule of a phase.

use jiff::Timestamp;
use rayfleet_api::status::{FailureKind, Goal, GroupStatus, Phase};
use rayfleet_api::{NodeName, ValidFleet};

use super::pods::Pods;
use crate::effect::Effect;
use crate::observed::ObservedGroup;
use crate::{text, time};

/// Nodes that a failure came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blamed {
    /// Kubernetes nodes, sorted.
    pub nodes: Vec<NodeName>,
    /// What failed.
    pub cause: String,
    /// Whether the group had served with this launch: then neither spec nor model can be at fault.
    pub served: bool,
}

/// What follows for one group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupDecision {
    /// Its entry in the ledger.
    pub group: GroupStatus,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// When to look again although nothing happened.
    pub wake: Option<Timestamp>,
    /// Requests that a drain deadline cut off in this step.
    pub lost_requests: u32,
    /// The kind of a failure in this step.
    pub failure: Option<FailureKind>,
    /// Nodes that this failure came from.
    pub blamed: Option<Blamed>,
}

pub(super) struct StepContext<'a> {
    pub(super) fleet: &'a ValidFleet,
    pub(super) observed: &'a ObservedGroup,
    pub(super) pods: Pods<'a>,
    pub(super) now: Timestamp,
    pub(super) group: GroupStatus,
    pub(super) lost_requests: u32,
    pub(super) failure: Option<FailureKind>,
    pub(super) blamed: Option<Blamed>,
    effects: Vec<Effect>,
    wake: Option<Timestamp>,
}

impl<'a> StepContext<'a> {
    pub(super) fn new(
        fleet: &'a ValidFleet,
        group: &GroupStatus,
        observed: &'a ObservedGroup,
        now: Timestamp,
    ) -> Self {
        let pods = Pods::new(&fleet.shape, observed.cluster.as_ref(), &observed.pods);
        let group = group.clone();
        Self {
            fleet,
            observed,
            pods,
            now,
            group,
            lost_requests: 0,
            failure: None,
            blamed: None,
            effects: Vec::new(),
            wake: None,
        }
    }

    /// Enters a phase, or stays in it with another message.
    pub(super) fn set_phase(&mut self, phase: Phase, message: impl Into<Option<String>>) {
        if self.group.phase != phase || self.group.phase_since.is_none() {
            self.group.phase = phase;
            self.group.phase_since = Some(time::began(self.now));
        }
        if phase != Phase::Ready {
            self.group.ready_since = None;
        }
        self.group.message = message.into().map(text::bounded);
    }

    pub(super) fn act(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn event(&mut self, warning: bool, reason: &'static str, message: String) {
        self.act(Effect::Event { warning, reason, message });
    }

    /// Whether the group's message is this one already.
    pub(super) fn is_reported(&self, message: &str) -> bool {
        text::is_kept(self.group.message.as_ref(), message)
    }

    pub(super) fn wake_at(&mut self, moment: Option<Timestamp>) {
        self.wake = time::earliest(self.wake, moment);
    }

    /// Has this moment come? If not, be back by then.
    pub(super) fn reached(&mut self, moment: Option<Timestamp>) -> bool {
        let reached = moment.is_some_and(|moment| moment <= self.now);
        if !reached {
            self.wake_at(moment);
        }
        reached
    }

    /// Sets the serving gate, unless it is so already or is being set.
    pub(super) fn gate(&mut self, open: bool, reason: &'static str) {
        let Some(head) = self.pods.any_head().filter(|head| head.gate_open != open) else { return };
        let set = |effect: &Effect| matches!(effect, Effect::SetGate { .. });
        if open && head.deleting || self.effects.iter().any(set) {
            return;
        }
        self.act(Effect::SetGate {
            pod: head.name.clone(),
            pod_uid: head.uid.clone(),
            open,
            launch: self.group.launch_id(),
            reason,
        });
    }

    /// Rayfleet launches its engine; else the command of its pods starts one. By what the group runs: the fleet may ask for
    /// the other by now.
    pub(super) fn launched(&self) -> bool {
        self.group.engine_revision.is_some()
    }

    /// The RayCluster exists and nobody has deleted it.
    pub(super) fn cluster_alive(&self) -> bool {
        self.observed.cluster.as_ref().is_some_and(|cluster| !cluster.deleting)
    }

    /// Somebody else deleted the RayCluster: nothing can bring it back, so the group is given up and the
    /// planner fills its slot again.
    pub(super) fn retire_if_deleted(&mut self) {
        // Its UID may never have been entered: then pods that end tell of it.
        let ends = self.observed.cluster.is_none() && self.pods.all_end();
        let known = self.group.uid.is_some() || ends;
        if self.group.goal == Goal::Retire || !known || self.cluster_alive() {
            return;
        }
        let reason = format!("RayCluster {} was deleted from outside", self.group.name);
        self.event(true, "GroupDeleted", format!("{reason}; another group takes its place"));
        self.group.goal = Goal::Retire;
        self.group.goal_reason = Some(reason);
    }

    pub(super) fn into_decision(self) -> GroupDecision {
        GroupDecision {
            group: self.group,
            effects: self.effects,
            wake: self.wake,
            lost_requests: self.lost_requests,
            failure: self.failure,
            blamed: self.blamed,
        }
    }
}
