//! The groups of a fleet, each followed along its links up to the first one that does not hold. Groups that
//! stop for the same cause share one finding; a link that all have passed is one line.

use std::collections::BTreeSet;

use rayfleet_api::status::Phase;

use super::group::{Group, Stop, Trouble, comes_up};
use super::words::{missing, quoted, unread};
use super::{clusters, engine, failure, nodes, pods, ray, traffic};
use crate::diagnose::answer::NoAnswer;
use crate::diagnose::case::Case;
use crate::diagnose::finding::{Finding, Link, Step, Verdict};

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

/// Where it stops. A wait of a group that recovers is about its failure.
fn stop(group: &Group<'_>) -> Option<(Link, Stop)> {
    let stop = CHAIN.iter().find_map(|(link, check)| match check(group) {
        Stop::No => None,
        stop => Some((*link, stop)),
    });
    match stop {
        Some((_, Stop::Waits(_))) if failure::recovers(group.status) => {
            Some((Link::Engine, Stop::Wrong(failure::trouble(group))))
        }
        stop => stop,
    }
}

/// A step for each link of the groups of a fleet.
pub(crate) fn steps(case: &Case<'_>) -> Vec<Step> {
    let key = case.key();
    let ledger = case.of.fleet.status.iter().flat_map(|status| &status.groups);
    let groups: Vec<Group<'_>> = ledger.map(|status| Group::new(case, status)).collect();
    let mut left: Vec<(&Group<'_>, Option<(Link, Stop)>)> =
        groups.iter().map(|group| (group, stop(group))).collect();
    let mut steps = Vec::new();
    for (link, _) in CHAIN {
        if left.is_empty() {
            break;
        }
        let come: Vec<&Group<'_>> = left.iter().map(|(group, _)| *group).collect();
        let unread = unread_of(case, link, &come);
        let (here, on): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, stop)| stop.as_ref().is_some_and(|(at, _)| *at == link));
        let passed = on.len();
        let serve = on.iter().filter(|(group, _)| group.status.phase == Phase::Ready).count();
        left = on;
        let stopped = here.into_iter().filter_map(|(group, stop)| Some((group, stop?.1)));
        // Those of a group that takes traffic are not asked for.
        let passed = match (link, passed.saturating_sub(serve)) {
            (Link::Nodes, 0) if serve > 0 => "not looked at: all groups take traffic".to_owned(),
            (Link::Nodes, idle) if serve > 0 => {
                format!("{}; not looked at of the {serve} that take traffic", of_groups(idle))
            }
            _ => of_groups(passed),
        };
        steps.push(verdict(stopped.collect(), passed, unread).step(link, Some(&key)));
    }
    steps
}

/// What was not read of what a link asks about the groups that have come to it.
fn unread_of(case: &Case<'_>, link: Link, groups: &[&Group<'_>]) -> Vec<String> {
    let of = case.of;
    let any = |phase: &dyn Fn(&Group<'_>) -> bool| groups.iter().any(|group| phase(group));
    let events = |asked: bool| asked.then(|| missing("events", &of.events)).flatten();
    let pods = || missing("pods", &of.pods);
    match link {
        Link::RayClusters => {
            let asked = any(&|group| group.status.phase == Phase::Provisioning && group.pods.is_empty());
            let clusters = missing("RayClusters", &of.clusters);
            clusters.into_iter().chain(events(asked)).collect()
        }
        Link::Nodes => {
            let idle = groups.iter().filter(|group| group.status.phase != Phase::Ready);
            let names: BTreeSet<&String> =
                idle.flat_map(|group| &group.pods).filter_map(|pod| pod.spec.node_name.as_ref()).collect();
            let nodes = names.into_iter().filter_map(|name| match case.facts.nodes.get(name)? {
                Ok(_) | Err(NoAnswer::Missing) => None,
                Err(none) => Some(unread("nodes", none)),
            });
            // Mostly the same is the case of all.
            pods().into_iter().chain(nodes.collect::<BTreeSet<String>>().into_iter().take(NAMED)).collect()
        }
        Link::Pods => [pods(), events(any(&|group| comes_up(group.status)))].into_iter().flatten().collect(),
        Link::Engine => events(any(&|group| group.status.phase == Phase::Placing)).into_iter().collect(),
        Link::Traffic => {
            let service = of.service.as_ref().err().filter(|none| **none != NoAnswer::Missing);
            let service = service.map(|none| unread("the Service", none));
            [pods(), service, missing("endpoints", &of.endpoints)].into_iter().flatten().collect()
        }
        _ => Vec::new(),
    }
}

fn of_groups(count: usize) -> String {
    format!("{count} group{}", if count == 1 { "" } else { "s" })
}

fn verdict(stops: Vec<(&Group<'_>, Stop)>, passed: String, unread: Vec<String>) -> Verdict {
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
        return Verdict::Wrong(merged(wrong, unread));
    }
    if !waits.is_empty() {
        let more = waits.len().saturating_sub(NAMED);
        waits.truncate(NAMED);
        waits.extend((more > 0).then(|| format!("{more} groups more")));
        waits.extend(unread.into_iter().map(|what| format!("not checked: {what}")));
        return Verdict::Waits(waits.join("; "));
    }
    if !unread.is_empty() {
        return Verdict::Unknown(unread.join("; "));
    }
    Verdict::Ok(passed)
}

/// The finding of the first cause, with the names of all groups that have it.
fn merged(wrong: Vec<(Trouble, Vec<&str>)>, unread: Vec<String>) -> Finding {
    let others: Vec<String> =
        wrong.iter().skip(1).map(|(trouble, names)| format!("{}: {}", named(names), trouble.what)).collect();
    let mut wrong = wrong.into_iter();
    let (trouble, names) = wrong.next().unwrap_or_else(|| (Trouble::nothing(), Vec::new()));
    let Trouble { subject, about, what, mut evidence, cure, .. } = trouble;
    // The same lines come from each group.
    let mut known = BTreeSet::new();
    evidence.retain(|line| known.insert(line.clone()));
    evidence.truncate(MOST);
    evidence = evidence.iter().map(|line| quoted(line)).collect();
    evidence.extend(others.into_iter().take(NAMED).map(|other| format!("beside it, {other}")));
    evidence.extend(unread.into_iter().map(|what| format!("not checked: {what}")));
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
