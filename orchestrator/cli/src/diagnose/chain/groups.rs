//! The groups of a fleet, each followed along its links up to the first one that does not hold. Groups that
//! stop for the same cause share one finding; a link that all have passed is one line.

use rayfleet_api::names::{KIND, RAY_LABEL_CLUSTER, RAY_LABEL_NODE_TYPE};
use rayfleet_api::status::{Goal, GroupStatus, Phase};

use super::{clusters, engine, failure, nodes, not_read, pods, ray, traffic};
use crate::diagnose::facts::{Cluster, Event, Pod};
use crate::diagnose::finding::{Finding, Link, Step, Subject, Verdict};
use crate::diagnose::judge::Case;

/// Groups that are named in a finding; the ledger has all.
const NAMED: usize = 5;
/// Evidence that is shown of one finding.
const MOST: usize = 10;

type Check = fn(&Group<'_>) -> Stop;

/// The links of a group in order, each with its check.
const CHAIN: [(Link, Check); 7] = [
    (Link::RayClusters, clusters::made),
    (Link::Nodes, nodes::alive),
    (Link::Pods, pods::started),
    (Link::Ray, ray::formed),
    (Link::Engine, engine::launched),
    (Link::Placement, engine::placed),
    (Link::Traffic, traffic::flows),
];

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
    fn new(case: &Case<'a>, status: &'a GroupStatus) -> Self {
        let clusters = case.of.clusters.as_deref().unwrap_or_default();
        let cluster = clusters.iter().find(|cluster| status.name == cluster.metadata.name);
        let pods = case.of.pods.as_deref().unwrap_or_default().iter();
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

    pub(super) fn leaves(&self) -> bool {
        self.status.goal == Goal::Retire
    }

    /// Warnings about an object, the newest first.
    pub(super) fn warnings(&self, kind: &str, name: &str) -> Vec<&'a Event> {
        let about = |event: &&Event| event.involved_object.kind == kind && event.involved_object.name == name;
        let mut all: Vec<&Event> = self.case.of.events.iter().flatten().filter(about).collect();
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
        message.map_or_else(|| phase.to_string(), |message| super::quoted(&format!("{phase}: {message}")))
    }

    /// Where it stops. A wait of a group that recovers is about its failure.
    fn stop(&self) -> Option<(Link, Stop)> {
        let stop = CHAIN.iter().find_map(|(link, check)| match check(self) {
            Stop::No => None,
            stop => Some((*link, stop)),
        });
        match stop {
            Some((_, Stop::Waits(_))) if failure::recovers(self.status) => {
                Some((Link::Engine, Stop::Wrong(failure::trouble(self))))
            }
            stop => stop,
        }
    }
}

/// A step for each link of the groups of a fleet.
pub(crate) fn steps(case: &Case<'_>) -> Vec<Step> {
    let key = case.key();
    let ledger = case.of.fleet.status.iter().flat_map(|status| &status.groups);
    let groups: Vec<Group<'_>> = ledger.map(|status| Group::new(case, status)).collect();
    let mut left: Vec<(&Group<'_>, Option<(Link, Stop)>)> =
        groups.iter().map(|group| (group, group.stop())).collect();
    let mut steps = Vec::new();
    for (link, _) in CHAIN {
        if left.is_empty() {
            break;
        }
        let (here, on): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, stop)| stop.as_ref().is_some_and(|(at, _)| *at == link));
        let passed = on.len();
        left = on;
        let stopped = here.into_iter().filter_map(|(group, stop)| Some((group, stop?.1)));
        steps.push(verdict(case, link, stopped.collect(), passed).step(link, Some(&key)));
    }
    steps
}

fn verdict(case: &Case<'_>, link: Link, stops: Vec<(&Group<'_>, Stop)>, passed: usize) -> Verdict {
    let mut waits = Vec::new();
    let mut wrong: Vec<(Trouble, Vec<&str>)> = Vec::new();
    for (group, stop) in stops {
        let name = group.status.name.as_str();
        match stop {
            Stop::No => {}
            Stop::Waits(words) => waits.push(format!("{name} {words}")),
            Stop::Wrong(trouble) => match wrong.iter_mut().find(|(first, _)| first.key == trouble.key) {
                Some((first, names)) => {
                    names.push(name);
                    first.evidence.extend(trouble.evidence);
                }
                None => wrong.push((trouble, vec![name])),
            },
        }
    }
    if !wrong.is_empty() {
        return Verdict::Wrong(merged(wrong));
    }
    if !waits.is_empty() {
        let more = waits.len().saturating_sub(NAMED);
        waits.truncate(NAMED);
        let more = if more > 0 { format!("; {more} groups more") } else { String::new() };
        return Verdict::Waits(waits.join("; ") + &more);
    }
    let unread = match link {
        Link::RayClusters => case.of.clusters.as_ref().err(),
        Link::Pods | Link::Nodes => case.of.pods.as_ref().err(),
        Link::Traffic => case.of.endpoints.as_ref().err(),
        _ => None,
    };
    match unread {
        Some(none) => Verdict::Unknown(not_read(none)),
        None => Verdict::Ok(format!("{passed} group{}", if passed == 1 { "" } else { "s" })),
    }
}

/// The finding of the first cause, with the names of all groups that have it.
fn merged(wrong: Vec<(Trouble, Vec<&str>)>) -> Finding {
    let others: Vec<String> =
        wrong.iter().skip(1).map(|(trouble, names)| format!("{}: {}", named(names), trouble.what)).collect();
    let mut wrong = wrong.into_iter();
    let (trouble, names) = wrong.next().unwrap_or_else(|| (Trouble::nothing(), Vec::new()));
    let Trouble { subject, about, what, mut evidence, cure, .. } = trouble;
    // The same lines come from each group.
    let mut known = std::collections::BTreeSet::new();
    evidence.retain(|line| known.insert(line.clone()));
    evidence.truncate(MOST);
    evidence = evidence.iter().map(|line| super::quoted(line)).collect();
    evidence.extend(others.into_iter().take(NAMED).map(|other| format!("beside it, {other}")));
    Finding { subject, about, what: format!("{}: {what}", named(&names)), evidence, cure }
}

fn named(names: &[&str]) -> String {
    match names {
        [one] => format!("group {one}"),
        all if all.len() <= NAMED => format!("{} groups ({})", all.len(), all.join(", ")),
        all => {
            let first: Vec<&str> = all.iter().take(NAMED).copied().collect();
            format!("{} groups ({}, …)", all.len(), first.join(", "))
        }
    }
}

impl Trouble {
    fn nothing() -> Self {
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
