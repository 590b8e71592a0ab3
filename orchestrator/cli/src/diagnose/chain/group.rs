//! One group as its links see it, and what a link says of it. The walk along the links is in `groups`.

use rayfleet_api::names::{KIND, RAY_LABEL_CLUSTER, RAY_LABEL_NODE_TYPE};
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::words::quoted;
use crate::diagnose::answer::items;
use crate::diagnose::case::Case;
use crate::diagnose::finding::Subject;
use crate::diagnose::objects::{Cluster, Event, Pod};

/// One group with what was read of it.
pub(super) struct Group<'a> {
    pub(super) case: Case<'a>,
    pub(super) status: &'a GroupStatus,
    pub(super) cluster: Option<&'a Cluster>,
    pub(super) pods: Vec<&'a Pod>,
}

/// What one check of one group gives.
pub(super) enum Stop {
    /// The link holds.
    No,
    /// It does not hold yet: what is waited for.
    Waits(String),
    /// Something is wrong.
    Wrong(Trouble),
}

/// What is wrong with one group. Groups with the same `key` at the same link have the same cause.
pub(super) struct Trouble {
    pub(super) key: String,
    /// The object that it is about.
    pub(super) subject: Subject,
    pub(super) about: Option<String>,
    /// What is wrong, without the group's name.
    pub(super) what: String,
    pub(super) evidence: Vec<String>,
    pub(super) cure: String,
}

impl<'a> Group<'a> {
    pub(super) fn new(case: &Case<'a>, status: &'a GroupStatus) -> Self {
        let cluster = items(&case.of.clusters).iter().find(|cluster| status.name == cluster.metadata.name);
        let pods = items(&case.of.pods).iter();
        let is_ours = |pod: &&Pod| pod.metadata.label(RAY_LABEL_CLUSTER).is_some_and(|of| status.name == of);
        Self { case: *case, status, cluster, pods: pods.filter(is_ours).collect() }
    }

    pub(super) fn namespace(&self) -> String {
        self.case.namespace()
    }

    pub(super) fn subject(&self) -> Subject {
        Subject::new("RayCluster", &self.namespace(), &self.status.name)
    }

    pub(super) fn pod_subject(&self, pod: &Pod) -> Subject {
        Subject::new("Pod", &self.namespace(), &pod.metadata.name)
    }

    /// Pods that nobody deletes.
    pub(super) fn live(&self) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().copied().filter(|pod| pod.metadata.deletion_timestamp.is_none())
    }

    pub(super) fn head(&self) -> Option<&'a Pod> {
        self.live().find(|pod| pod.metadata.label(RAY_LABEL_NODE_TYPE) == Some("head"))
    }

    /// The head's name; without a head what selects the group's pods, for a command of kubectl.
    pub(super) fn head_name(&self) -> String {
        let name = |head: &Pod| head.metadata.name.clone();
        self.head().map_or_else(|| format!("-l {RAY_LABEL_CLUSTER}={}", self.status.name), name)
    }

    pub(super) fn leaves(&self) -> bool {
        self.status.goal == Goal::Retire
    }

    /// Warnings about an object, the newest first.
    pub(super) fn warnings(&self, kind: &str, name: &str) -> Vec<&'a Event> {
        let about = |event: &&Event| event.involved_object.kind == kind && event.involved_object.name == name;
        let mut all: Vec<&Event> = items(&self.case.of.events).iter().filter(about).collect();
        all.sort_by_key(|event| std::cmp::Reverse(event.at()));
        all
    }

    /// Warnings about the fleet with this reason.
    pub(super) fn fleet_warnings(&self, reason: &str) -> Vec<&'a Event> {
        let mut all = self.warnings(KIND, &self.case.name());
        all.retain(|event| event.reason.as_deref() == Some(reason));
        all
    }

    /// What the orchestrator says that it waits for.
    pub(super) fn message(&self) -> String {
        let phase = self.status.phase;
        let message = self.status.message.as_deref();
        message.map_or_else(|| phase.to_string(), |message| quoted(&format!("{phase}: {message}")))
    }
}

impl Trouble {
    /// No cause at all.
    pub(super) fn nothing() -> Self {
        let (subject, about) = (Subject::default(), None);
        Self {
            key: String::new(),
            subject,
            about,
            what: String::new(),
            evidence: Vec::new(),
            cure: String::new(),
        }
    }
}

/// Whether the group's pods are all that is there of it so far.
pub(super) fn comes_up(status: &GroupStatus) -> bool {
    matches!(status.phase, Phase::Provisioning | Phase::Forming)
}
