//! The groups and nodes of a forecast, and how effects and time change them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rayfleet_api::status::GroupStatus;
use rayfleet_api::valid::{GroupShape, PodShape, after};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet, names};

use super::group::Group;
use super::{Pace, Question};
use crate::capacity::{self, Capacity, Labels, Neighbour, NodeRoom, PendingPod, requests};
use crate::effect::Effect;
use crate::ledger;
use crate::observed::ObservedGroup;

pub(super) struct ForecastState<'a> {
    fleet: &'a ValidFleet,
    stable: Option<&'a ValidFleet>,
    pace: Pace,
    groups: BTreeMap<GroupName, Group<'a>>,
    /// Order in which groups were created: the scheduler places their pods in it.
    made: Vec<GroupName>,
    /// Waiting pods of others.
    others: Vec<PendingPod>,
    capacity: Capacity,
}

impl<'a> ForecastState<'a> {
    pub(super) fn new(question: &'a Question<'a>) -> Self {
        let fleet = question.fleet;
        let mut world = Self {
            fleet,
            stable: question.stable,
            pace: question.pace,
            groups: BTreeMap::new(),
            made: Vec::new(),
            others: question.capacity.pending.clone(),
            capacity: question.capacity.clone(),
        };
        for entry in &question.status.groups {
            let shape = world.shape(entry);
            if let Some(group) = Group::of(shape, entry, question.pace, question.now) {
                // From here on its pods wait as the group's.
                let prefix = format!("{}/{}-", fleet.namespace, entry.name);
                world.others.retain(|pod| !pod.name.starts_with(&prefix));
                world.groups.insert(entry.name.clone(), group);
                world.made.push(entry.name.clone());
            }
        }
        world
    }

    fn shape(&self, entry: &GroupStatus) -> &'a GroupShape {
        let stable = self.stable.filter(|stable| {
            stable.revision.pod == entry.revision && self.fleet.revision.pod != entry.revision
        });
        &stable.unwrap_or(self.fleet).shape
    }

    /// GPUs of pods that have nodes.
    pub(super) fn gpus(&self) -> u32 {
        let placed = self.groups.values().filter(|group| !group.nodes.is_empty());
        placed.map(|group| group.shape.gpus()).fold(0, u32::saturating_add)
    }

    pub(super) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    pub(super) fn observed(
        &self,
        status: &RayClusterFleetStatus,
        now: Timestamp,
    ) -> BTreeMap<GroupName, ObservedGroup> {
        let entries = ledger::by_name(&status.groups);
        let see = |(name, group): (&GroupName, &Group<'_>)| {
            (name.clone(), group.observed(entries.get(name).copied(), name, now))
        };
        self.groups.iter().map(see).collect()
    }

    /// Advances to a point in time: engines end, pods end, and others take their room.
    pub(super) fn advance(&mut self, now: Timestamp) {
        for group in self.groups.values_mut() {
            if group.stopped_at.is_some_and(|stopped| stopped <= now) {
                (group.engine, group.stopped_at) = (None, None);
            }
        }
        let is_gone = |group: &Group<'_>| group.gone_at.is_some_and(|gone| gone <= now);
        for (name, group) in self.groups.extract_if(.., |_, group| is_gone(group)) {
            // Other pods may take the room; those of the fleet come first.
            each_pod(&mut self.capacity.nodes, &group, |node, pod| {
                node.give_back(&requests(&pod.spec));
                node.forget_group(&self.fleet.namespace, &name);
            });
            self.made.retain(|made| *made != name);
        }
        // The scheduler has tried those of others already.
        self.capacity.pending.clear();
        for name in self.made.clone() {
            self.schedule(&name, now);
        }
        self.capacity.pending = self.others.iter().cloned().chain(self.waiting()).collect();
    }

    /// Pods of groups without nodes.
    fn waiting(&self) -> impl Iterator<Item = PendingPod> {
        let waiting =
            self.groups.iter().filter(|(_, group)| group.nodes.is_empty() && group.gone_at.is_none());
        waiting.flat_map(|(name, group)| {
            let pods = group.shape.pods();
            pods.map(|pod| PendingPod {
                name: name.to_string(),
                spec: pod.spec.clone(),
                pod: neighbour(&self.fleet.namespace, name, pod),
            })
        })
    }

    /// Assigns nodes to the pods of a group, if all of them fit.
    fn schedule(&mut self, name: &GroupName, now: Timestamp) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if !group.nodes.is_empty() || group.gone_at.is_some() {
            return;
        }
        if let Ok(nodes) = capacity::fits(group.shape, &self.capacity) {
            group.nodes = nodes;
            group.up_at = Some(after(now, self.pace.pods));
            if self.fleet.model.is_none() {
                group.engine = Some((None, after(now, self.pace.pods + self.pace.start)));
            }
            let namespace = self.fleet.namespace.as_str();
            each_pod(&mut self.capacity.nodes, group, |node, pod| {
                node.take(&requests(&pod.spec));
                node.pods.add(&neighbour(namespace, name, pod), 1);
            });
        }
    }

    /// The time of the next change that happens by itself.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let moments = self.groups.values().flat_map(|group| {
            let serves_at = group.engine.as_ref().map(|(_, serves_at)| *serves_at);
            let idle_at = (!group.gate && group.engine.is_some()).then_some(group.idle_at);
            [group.up_at, group.gone_at, serves_at, idle_at, group.stopped_at]
        });
        moments.flatten().filter(|moment| *moment > now).min()
    }

    /// Performs an effect. Returns whether anything changed.
    pub(super) fn perform(&mut self, effect: Effect, now: Timestamp) -> bool {
        match effect {
            Effect::CreateCluster { group } => {
                if self.groups.contains_key(&group.name) {
                    return false;
                }
                let shape = self.shape(&group);
                self.made.push(group.name.clone());
                self.groups.insert(group.name.clone(), Group::new(shape, &group, now));
                true
            }
            Effect::DeleteCluster { name, .. } => self.change(&name, |group, pace| {
                group.gate = false;
                group.gone_at.get_or_insert(after(now, pace.end));
            }),
            Effect::SetGate { launch, open, .. } => self.change(&launch.group, |group, pace| {
                group.gate = open;
                // There is always a request in flight until the gate is closed.
                group.idle_at = if open { Timestamp::MAX } else { after(now, pace.drain) };
            }),
            Effect::LaunchEngine { launch } => self.change(&launch.group.clone(), |group, pace| {
                if group.engine.as_ref().is_none_or(|(running, _)| running.as_ref() != Some(&launch)) {
                    (group.engine, group.stopped_at) = (Some((Some(launch), after(now, pace.start))), None);
                }
            }),
            Effect::StopEngine { launch } => {
                // Asked for in every pass until the engine has ended.
                let runs = |group: &&mut Group<'_>| group.engine.is_some() && group.stopped_at.is_none();
                let Some(group) = self.groups.get_mut(&launch.group).filter(runs) else { return false };
                group.stopped_at = Some(after(now, self.pace.stop));
                true
            }
            // Engines of a forecast need no drain request: their requests end by themselves.
            Effect::SetDraining { .. }
            | Effect::Probe { .. }
            | Effect::RepairCluster { .. }
            | Effect::Event { .. } => false,
        }
    }

    fn change(&mut self, name: &GroupName, change: impl FnOnce(&mut Group<'a>, Pace)) -> bool {
        self.groups.get_mut(name).map(|group| change(group, self.pace)).is_some()
    }
}

/// A pod of a group as other pods' rules match it.
fn neighbour(namespace: &str, group: &GroupName, pod: &PodShape) -> Arc<Neighbour> {
    let labels = pod.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let labels = Labels::of(labels.chain([(names::LABEL_GROUP, group.as_str())]));
    Arc::new(Neighbour::of(namespace, labels, &pod.spec))
}

/// Applies a function to each pod of a group on its node.
fn each_pod(nodes: &mut [NodeRoom], group: &Group<'_>, what: impl Fn(&mut NodeRoom, &PodShape)) {
    for (pod, name) in group.shape.pods().zip(&group.nodes) {
        if let Some(node) = nodes.iter_mut().find(|node| node.name == *name) {
            what(node, pod);
        }
    }
}
