//! A small simulation: groups that take time to start, engines with requests in flight, endpoints that follow
//! the gate, pods that take time to end, nodes with room for a number of groups. One tick is one second and
//! one pass. Every violation of an invariant is recorded.

use std::collections::{BTreeMap, BTreeSet};

use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use super::is_own_decision;
use super::sim_group::{Fault, Job, SimGroup};
use crate::capacity::{Capacity, PendingPod};
use crate::decide::{Decision, ReconcileInput, decide};
use crate::effect::Effect;
use crate::observed::ObservedGroup;
use crate::testing::{at, gpu_pod, nodes};

/// Durations, in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Until the containers are ready.
    pub(super) pods: i64,
    /// Until the engine is healthy.
    pub(super) load: i64,
    /// Until pods have ended.
    pub(super) end: i64,
    /// Until a request has ended.
    pub(super) request: i64,
}

/// A fault of one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// None.
    Good,
    /// The status could not be written, so nothing is done.
    Conflict,
    /// The controller crashes between the status and the effects.
    Crash,
}

#[derive(Clone, Debug)]
pub(super) struct Sim {
    pub(super) fleet: ValidFleet,
    pub(super) status: RayClusterFleetStatus,
    pub(super) groups: BTreeMap<GroupName, SimGroup>,
    pub(super) now: i64,
    pub(super) breaches: Vec<String>,
    /// Engine or pod revisions whose engines fail at launch.
    pub(super) bad: BTreeSet<String>,
    /// Engine or pod revisions whose engines never become healthy.
    pub(super) slow: BTreeSet<String>,
    /// Lowest number of ready groups since the last [`Sim::watch`].
    pub(super) fewest_ready: i32,
    /// Highest number of groups since the last [`Sim::watch`].
    pub(super) most_groups: usize,
    /// Highest number of groups with pods.
    pub(super) most_hardware: usize,
    pub(super) events: Vec<String>,
    pub(super) pace: Pace,
    /// The record of the last complete revision is gone.
    pub(super) history_lost: bool,
    nodes: usize,
    uids: u32,
}

impl Sim {
    /// A simulation with room for `room` groups.
    pub(super) fn new(fleet: ValidFleet, room: usize, pace: Pace) -> Self {
        Self {
            fleet,
            status: RayClusterFleetStatus::default(),
            groups: BTreeMap::new(),
            now: 0,
            breaches: Vec::new(),
            bad: BTreeSet::new(),
            slow: BTreeSet::new(),
            fewest_ready: 0,
            most_groups: 0,
            most_hardware: 0,
            events: Vec::new(),
            pace,
            history_lost: false,
            nodes: room * 2,
            uids: 0,
        }
    }

    /// Restarts the counts of fewest ready and most groups.
    pub(super) fn watch(&mut self) {
        self.fewest_ready = self.status.ready_replicas;
        self.most_groups = self.names().len();
    }

    pub(super) fn step(&self) -> &str {
        self.status.rollout.as_ref().map_or("", |rollout| rollout.step.as_str())
    }

    pub(super) fn complete(&self) -> bool {
        self.step() == "Complete" && self.status.observed_generation == Some(self.fleet.generation)
    }

    /// Ticks until a condition holds; panics with the state if it never does.
    pub(super) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            self.tick(Pass::Good);
            if done(self) {
                assert_eq!(self.breaches, Vec::<String>::new());
                return;
            }
        }
        panic!("never {what}: {}", serde_json::to_string_pretty(&self.status).unwrap());
    }

    /// A node autoscaler adds nodes.
    pub(super) fn add_nodes(&mut self, count: usize) {
        self.nodes += count;
    }

    pub(super) fn settle(&mut self) {
        self.until("complete", Self::complete);
    }

    pub(super) fn ticks(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.tick(Pass::Good);
        }
        assert_eq!(self.breaches, Vec::<String>::new());
    }

    pub(super) fn change(&mut self, edit: impl FnOnce(&mut ValidFleet)) {
        edit(&mut self.fleet);
        self.fleet.generation += 1;
    }

    /// Names of the RayClusters that exist.
    pub(super) fn names(&self) -> Vec<&str> {
        let there = self.groups.iter().filter(|(_, group)| group.uid.is_some());
        there.map(|(name, _)| name.as_str()).collect()
    }

    pub(super) fn uids(&self) -> BTreeSet<&str> {
        self.groups.values().filter_map(|group| group.uid.as_deref()).collect()
    }

    /// One second and one pass.
    pub(super) fn tick(&mut self, pass: Pass) {
        self.now += 1;
        self.advance();
        let observed = self.observed();
        let capacity = self.capacity(&observed);
        let decision = self.decide(&self.status, &observed, &capacity);
        self.check(&decision, &observed, &capacity);
        if pass == Pass::Conflict {
            return;
        }
        // The API server stores whole seconds.
        let stored = serde_json::to_value(&decision.status).unwrap();
        self.status = serde_json::from_value(stored).unwrap();
        if self.status != decision.status {
            self.breaches.push("the status does not survive being stored".to_owned());
        }
        self.fewest_ready = self.fewest_ready.min(self.status.ready_replicas);
        if pass == Pass::Good {
            for effect in decision.effects {
                self.perform(effect);
            }
        }
        self.most_groups = self.most_groups.max(self.names().len());
    }

    pub(super) fn decide(
        &self,
        status: &RayClusterFleetStatus,
        groups: &BTreeMap<GroupName, ObservedGroup>,
        capacity: &Capacity,
    ) -> Decision {
        let stable = self.stable(status);
        decide(&ReconcileInput {
            fleet: &self.fleet,
            stable: stable.as_ref(),
            held: None,
            failed_writes: &[],
            status,
            groups,
            capacity: Some(capacity),
            now: at(self.now),
        })
    }

    /// The fleet at its last complete revision, as its history has it.
    fn stable(&self, status: &RayClusterFleetStatus) -> Option<ValidFleet> {
        let stable = status.rollout.as_ref()?.stable.clone().filter(|_| !self.history_lost)?;
        Some(ValidFleet { revision: stable, ..self.fleet.clone() })
    }

    /// Checks the invariants of a pass.
    fn check(
        &mut self,
        decision: &Decision,
        observed: &BTreeMap<GroupName, ObservedGroup>,
        capacity: &Capacity,
    ) {
        let strategy = &self.fleet.strategy;
        let floor = self.fleet.replicas.saturating_sub(strategy.max_unavailable);
        let taken = self.status.groups.iter().find(|old| {
            let new = decision.status.groups.iter().find(|new| new.name == old.name);
            let by_planner = |new: &GroupStatus| is_own_decision(&self.fleet, decision, new);
            old.goal == Goal::Serve
                && old.phase == Phase::Ready
                && old.ready_since.is_some()
                && self.groups.get(&old.name).is_some_and(|group| group.healthy(self.now, self.pace))
                && new.is_some_and(|new| new.goal != Goal::Serve && by_planner(new))
        });
        let ready = u32::try_from(decision.status.ready_replicas).unwrap();
        if let Some(group) = taken
            && ready < floor
            && strategy.kind == StrategyType::RollingUpdate
            && !self.fleet.deleting
        {
            self.breaches
                .push(format!("{}: took {} with {ready} ready, {floor} needed", self.now, group.name));
        }
        let most = usize::try_from(self.fleet.replicas + strategy.max_surge).unwrap();
        if decision.status.groups.len() > most.max(self.status.groups.len()) {
            self.breaches.push(format!(
                "{}: {} groups, at most {most}",
                self.now,
                decision.status.groups.len()
            ));
        }
        let again = self.decide(&decision.status, observed, capacity);
        // A cancelled drain makes a group available, which the next pass may use.
        let taken_back = self.status.groups.iter().any(|old| {
            let now_ready = |new: &GroupStatus| new.name == old.name && new.phase == Phase::Ready;
            old.phase == Phase::Draining && decision.status.groups.iter().any(now_ready)
        });
        if again.status != decision.status && !taken_back {
            let differences = differences(&decision.status, &again.status);
            self.breaches.push(format!("{}: a second pass differs: {differences}", self.now));
        }
        let reported = again.effects.iter().find(|effect| matches!(effect, Effect::Event { .. }));
        if let Some(event) = reported {
            self.breaches.push(format!("{}: reported twice: {event:?}", self.now));
        }
    }

    fn advance(&mut self) {
        let now = self.now;
        self.groups.retain(|_, group| group.ends.is_none_or(|ends| ends > now));
        let waits = |group: &SimGroup| group.nodes.is_none() && group.ends.is_none();
        let mut waiting: Vec<_> = self.groups.iter().filter(|(_, group)| waits(group)).collect();
        waiting.sort_by_key(|(_, group)| group.pods_since);
        let waiting: Vec<GroupName> = waiting.into_iter().map(|(name, _)| name.clone()).collect();
        for name in waiting {
            let taken = self.taken();
            let mut free = (0..self.nodes).filter(|node| !taken.contains(node));
            if let (Some(one), Some(other)) = (free.next(), free.next()) {
                let group = self.groups.get_mut(&name).unwrap();
                (group.nodes, group.pods_since) = (Some((one, other)), now);
            }
        }
        for group in self.groups.values_mut() {
            group.endpoint = group.gate && group.ends.is_none();
            if group.endpoint && group.healthy(now, self.pace) {
                group.served_at = Some(now);
            }
        }
    }

    fn taken(&self) -> BTreeSet<usize> {
        self.groups.values().filter_map(|group| group.nodes).flat_map(|(one, other)| [one, other]).collect()
    }

    fn capacity(&self, observed: &BTreeMap<GroupName, ObservedGroup>) -> Capacity {
        let taken = self.taken();
        let free: Vec<u32> = (0..self.nodes).map(|node| u32::from(!taken.contains(&node))).collect();
        let pods = observed.values().flat_map(|observed| &observed.pods);
        let pending = pods.filter(|pod| pod.node.is_none() && !pod.deleting);
        let pending = pending
            .map(|pod| PendingPod {
                name: pod.name.to_string(),
                spec: gpu_pod(1).into(),
                ..PendingPod::default()
            })
            .collect();
        Capacity { pending, ..nodes(&free) }
    }

    fn observed(&self) -> BTreeMap<GroupName, ObservedGroup> {
        let see = |(name, group): (&GroupName, &SimGroup)| {
            let entry = self.status.groups.iter().find(|entry| entry.name == *name);
            (name.clone(), group.observed(entry, self))
        };
        self.groups.iter().map(see).collect()
    }

    fn perform(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::CreateCluster { group } => self.create(group),
            Effect::DeleteCluster { name, uid, .. } => {
                let group = self.groups.get_mut(&name).filter(|group| group.uid.as_ref() == Some(&uid));
                let Some(group) = group else { return };
                if group.serves(now, self.pace) {
                    self.breaches.push(format!("{now}: {name} was deleted with requests in flight"));
                }
                group.end(now + self.pace.end);
            }
            Effect::RepairCluster { .. } => {}
            Effect::SetGate { launch, open, .. } => self.groups.get_mut(&launch.group).unwrap().gate = open,
            Effect::LaunchEngine { launch } => {
                let text = launch.to_string();
                let among = |set: &BTreeSet<String>| set.iter().any(|of| text.contains(of.as_str()));
                let (bad, slow) = (among(&self.bad), among(&self.slow));
                let group = self.groups.get_mut(&launch.group).unwrap();
                if group.jobs.iter().any(|(id, job)| job.ended.is_none() && *id != launch) {
                    self.breaches.push(format!("{now}: {launch} was launched beside another"));
                }
                group.draining = false;
                let ended = bad.then(|| "no such model".to_owned());
                group.jobs.entry(launch).or_insert(Job { started: now, ended, slow, probed: false });
            }
            Effect::SetDraining { group, draining } => {
                self.groups.get_mut(&group).unwrap().draining = draining;
            }
            Effect::StopEngine { launch } => {
                let sim = self.groups.get_mut(&launch.group).unwrap();
                if sim.serves(now, self.pace) {
                    self.breaches.push(format!("{now}: {launch} was stopped with requests in flight"));
                }
                if sim.jobs.contains_key(&launch) {
                    sim.kill("stopped");
                }
            }
            Effect::Probe { launch } => {
                let jobs = &mut self.groups.get_mut(&launch.group).unwrap().jobs;
                if let Some(job) = jobs.get_mut(&launch) {
                    job.probed = true;
                }
            }
            Effect::Event { reason, message, .. } => self.events.push(format!("{reason}: {message}")),
        }
    }

    fn create(&mut self, entry: GroupStatus) {
        let now = self.now;
        self.uids += 1;
        let uid = Some(format!("uid-{}", self.uids));
        match self.groups.get(&entry.name) {
            Some(group) if group.uid.is_some() => {}
            Some(_) => self.breaches.push(format!("{now}: {} has pods that still end", entry.name)),
            None => {
                let group = SimGroup {
                    uid,
                    pods_since: now,
                    nodes: None,
                    ends: None,
                    jobs: BTreeMap::new(),
                    gate: false,
                    endpoint: false,
                    draining: false,
                    served_at: None,
                    blinks_until: 0,
                    replace: false,
                    entry,
                };
                self.groups.insert(group.entry.name.clone(), group);
                self.hardware();
            }
        }
    }

    /// A group holds its nodes until its pods have ended, and counts as long. Pods to be deleted without a
    /// node hold nothing.
    fn hardware(&mut self) {
        let most = usize::try_from(self.fleet.replicas + self.fleet.strategy.max_surge).unwrap();
        // An entry from before a scale-down is still created, because it is in the ledger.
        let most = most.max(self.status.groups.len());
        let holds = |group: &SimGroup| group.nodes.is_some() || group.ends.is_none();
        let names: Vec<&GroupName> =
            self.groups.iter().filter(|(_, group)| holds(group)).map(|(name, _)| name).collect();
        self.most_hardware = self.most_hardware.max(names.len());
        if names.len() > most {
            self.breaches.push(format!("{}: pods of {names:?} exist, at most {most} groups may", self.now));
        }
    }

    /// Injects a fault into one of the groups.
    pub(super) fn hit(&mut self, which: usize, fault: Fault) {
        let (now, end) = (self.now, self.pace.end);
        let count = self.groups.len().max(1);
        let Some(group) = self.groups.values_mut().nth(which % count) else { return };
        match fault {
            _ if group.uid.is_none() => {}
            Fault::EngineDies => group.kill("killed"),
            Fault::PodsReplaced => {
                group.pods_since = now;
                group.gate = false;
                group.jobs.clear();
                group.served_at = None;
            }
            Fault::ProbeMissed => group.blinks_until = now + 5,
            Fault::ClusterDeleted => group.end(now + end),
            Fault::Replaced => group.replace = true,
        }
    }
}

/// The differences of two statuses, line by line.
fn differences(one: &RayClusterFleetStatus, other: &RayClusterFleetStatus) -> String {
    let lines = |status| -> Vec<String> {
        serde_json::to_string_pretty(status).unwrap().lines().map(str::to_owned).collect()
    };
    let (one, other) = (lines(one), lines(other));
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|line| !those.contains(line)).cloned().collect::<Vec<_>>().join(" ")
    };
    format!("{} became {}", only(&one, &other), only(&other, &one))
}
