//! Groups of one fleet by their pods: how many exist, how many are ready, and the extremes of both while the fleet is upgraded.

use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use crate::numbers::Spread;
use crate::rollout::is_marked;

/// Labels of which the first that a pod has says its group: `KubeRay`'s, and that of `LeaderWorkerSet`.
const LABELS: [&str; 2] = ["ray.io/cluster", "leaderworkerset.sigs.k8s.io/group-index"];

/// All groups.
pub(crate) struct Groups {
    /// Pods that one has.
    pods: usize,
    /// By their name and whether they are of the new template: a set makes the new group under the name of the old one.
    all: BTreeMap<(String, bool), Group>,
    /// Seconds from a group's first pod until all were Ready, for each template.
    starts: [Vec<f64>; 2],
    /// Seconds from an old group no longer being ready until it did not exist.
    ends: Vec<f64>,
    upgrade: Option<Watched>,
}

#[derive(Debug)]
struct Group {
    began: Instant,
    has_started: bool,
    /// Since when it has not been ready after it was.
    unready: Option<Instant>,
    /// Its pods that are there and not terminating, and whether they are Ready.
    here: BTreeMap<String, bool>,
}

/// How many groups there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) ready: usize,
    /// Of the ready ones, those of the new template.
    pub(crate) ready_new: usize,
    /// All that have a pod which is not terminating.
    pub(crate) existing: usize,
    existing_new: usize,
}

/// An upgrade that has begun.
#[derive(Debug, Clone, Copy)]
struct Watched {
    began: Instant,
    /// Since when all groups, and only they, have been of the new template and ready.
    done: Option<Instant>,
    wanted: usize,
    lowest_ready: usize,
    most_existing: usize,
}

/// What was observed of an upgrade that has ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Upgraded {
    /// From the change of the template until all groups, and only they, were of the new one and ready; in seconds.
    pub(crate) makespan: f64,
    pub(crate) lowest_ready: usize,
    pub(crate) most_existing: usize,
    /// Seconds from a new group's first pod until all were Ready.
    pub(crate) group_start: Option<Spread>,
    /// Seconds from an old group no longer being ready until all its pods were terminating or gone.
    pub(crate) group_end: Option<Spread>,
}

impl Groups {
    /// Of so many pods each, none of which is there yet.
    pub(crate) fn new(pods: usize) -> Self {
        Self { pods, all: BTreeMap::new(), starts: [Vec::new(), Vec::new()], ends: Vec::new(), upgrade: None }
    }

    /// A pod is there and Ready, or not; or it is gone.
    pub(crate) fn pod(&mut self, pod: &Pod, is_ready: bool, is_gone: bool, now: Instant) {
        let meta = &pod.metadata;
        let label = |key: &&str| meta.labels.as_ref()?.get(*key).cloned();
        let Some((name, group)) = meta.name.clone().zip(LABELS.iter().find_map(label)) else { return };
        let is_new = is_marked(pod);
        let started = || Group { began: now, has_started: false, unready: None, here: BTreeMap::new() };
        let key = (group, is_new);
        let group = self.all.entry(key.clone()).or_insert_with(started);
        if is_gone || meta.deletion_timestamp.is_some() {
            group.here.remove(&name);
        } else {
            if group.here.is_empty() {
                *group = started();
            }
            group.here.insert(name, is_ready);
        }
        if group.is_ready(self.pods) {
            if !group.has_started {
                self.starts[usize::from(is_new)].push(seconds(group.began, now));
            }
            (group.has_started, group.unready) = (true, None);
        } else if group.has_started {
            let since = *group.unready.get_or_insert(now);
            if group.here.is_empty() {
                group.has_started = false;
                if self.upgrade.is_some() && !is_new {
                    self.ends.push(seconds(since, now));
                }
            }
        }
        if group.here.is_empty() {
            self.all.remove(&key);
        }
        let count = self.count();
        if let Some(watched) = &mut self.upgrade {
            watched.count(count, now);
        }
    }

    /// How many there are now.
    pub(crate) fn count(&self) -> Count {
        let mut count = Count { ready: 0, ready_new: 0, existing: 0, existing_new: 0 };
        for ((_, is_new), group) in &self.all {
            let (exists, ready) =
                (usize::from(!group.here.is_empty()), usize::from(group.is_ready(self.pods)));
            count.existing += exists;
            count.ready += ready;
            if *is_new {
                count.existing_new += exists;
                count.ready_new += ready;
            }
        }
        count
    }

    /// Seconds from a group's first pod until all were Ready, of the first template.
    pub(crate) fn first_starts(&self) -> Option<Spread> {
        Spread::of(self.starts[0].clone())
    }

    /// The template is about to be changed.
    pub(crate) fn upgrade(&mut self, wanted: usize, now: Instant) {
        let Count { ready, existing, .. } = self.count();
        self.upgrade =
            Some(Watched { began: now, done: None, wanted, lowest_ready: ready, most_existing: existing });
    }

    /// What the upgrade was; only once it is done.
    pub(crate) fn upgraded(&self) -> Option<Upgraded> {
        let watched = self.upgrade?;
        Some(Upgraded {
            makespan: seconds(watched.began, watched.done?),
            lowest_ready: watched.lowest_ready,
            most_existing: watched.most_existing,
            group_start: Spread::of(self.starts[1].clone()),
            group_end: Spread::of(self.ends.clone()),
        })
    }
}

impl Group {
    fn is_ready(&self, pods: usize) -> bool {
        self.here.len() >= pods && self.here.values().all(|ready| *ready)
    }
}

impl Watched {
    fn count(&mut self, count: Count, now: Instant) {
        self.lowest_ready = self.lowest_ready.min(count.ready);
        self.most_existing = self.most_existing.max(count.existing);
        let done = count.ready_new == self.wanted
            && count.existing_new == self.wanted
            && count.existing == self.wanted;
        self.done = done.then(|| self.done.unwrap_or(now));
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn pod(name: &str, label: &str, group: &str, is_new: bool) -> Pod {
        let env = if is_new { json!([{"name": "SCALE_TEMPLATE"}]) } else { json!([]) };
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {label: group}},
            "spec": {"containers": [{"name": "ray", "env": env}]}
        }))
        .unwrap()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the start of a test's time")]
    fn the_extremes_of_an_upgrade_are_kept() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut groups = Groups::new(2);
        let head = |group: &str, is_new| pod(&format!("{group}-head"), LABELS[0], group, is_new);
        let worker = |group: &str, is_new| pod(&format!("{group}-worker"), LABELS[0], group, is_new);
        for group in ["a", "b"] {
            groups.pod(&head(group, false), false, false, at(0));
            groups.pod(&worker(group, false), true, false, at(1));
            groups.pod(&head(group, false), true, false, at(3));
        }
        assert_eq!(groups.first_starts().map(|spread| spread.median), Some(3.0));
        groups.upgrade(2, at(10));
        groups.pod(&head("c", true), true, false, at(11));
        groups.pod(&worker("c", true), true, false, at(12));
        groups.pod(&head("a", false), false, false, at(13));
        let mut terminating = worker("a", false);
        terminating.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-11-30T00:00:00Z")).unwrap());
        groups.pod(&terminating, true, false, at(14));
        groups.pod(&head("b", false), true, true, at(15));
        groups.pod(&worker("b", false), true, true, at(15));
        groups.pod(&head("d", true), true, false, at(16));
        groups.pod(&worker("d", true), true, false, at(17));
        assert!(groups.upgraded().is_none(), "the old head is still there");
        groups.pod(&head("a", false), false, true, at(18));
        let upgraded = groups.upgraded().unwrap();
        assert_eq!((upgraded.lowest_ready, upgraded.most_existing), (1, 3));
        assert!((upgraded.makespan - 8.0).abs() < 1e-9, "{upgraded:?}");
        assert_eq!(upgraded.group_start.map(|spread| spread.median), Some(1.0));
        assert_eq!(upgraded.group_end.map(|spread| (spread.median, spread.most)), Some((0.0, 5.0)));
        assert_eq!(groups.all.len(), 2, "nothing is kept of those that are gone");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the start of a test's time")]
    fn a_group_of_a_set_is_another_one_with_the_new_template() {
        let now = Instant::now();
        let mut groups = Groups::new(1);
        groups.pod(&pod("f-0", LABELS[1], "0", false), true, false, now);
        groups.upgrade(1, now);
        groups.pod(&pod("f-0", LABELS[1], "0", false), true, true, now);
        groups.pod(&pod("f-0", LABELS[1], "0", true), true, false, now);
        groups.pod(&pod("other", "app", "0", true), true, false, now);
        assert_eq!(groups.count(), Count { ready: 1, ready_new: 1, existing: 1, existing_new: 1 });
        assert_eq!(groups.upgraded().map(|upgraded| upgraded.lowest_ready), Some(0));
    }
}
