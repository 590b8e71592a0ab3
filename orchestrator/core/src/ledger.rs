//! The ledger of groups (`status.groups`) held against what exists: UIDs are entered, RayClusters that it
//! lacks are adopted, entries whose group is gone are struck out. Also the names of new entries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{ValidFleet, names};

use crate::effect::Effect;
use crate::seen::{ClusterSeen, GroupSeen};
use crate::time;

/// An entry whose RayCluster was never seen is kept this long after it was retired: a create that timed
/// out may still have been applied, and its object must count until the watch would have shown it.
const UNSEEN: Duration = Duration::from_secs(10);

/// Attempt numbers have three digits in a name; after the last one the first is free again.
const ATTEMPTS: u32 = 1000;

/// The ledger after a look at the world.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Entries of groups that exist or are to exist, by slot.
    pub(crate) groups: Vec<GroupStatus>,
    /// Entries that were struck out just now.
    pub(crate) removed: Vec<GroupStatus>,
    /// Events about it.
    pub(crate) effects: Vec<Effect>,
    /// When an unseen entry may be struck out.
    pub(crate) wake: Option<Timestamp>,
}

/// Holds the entries against what exists.
pub(crate) fn settle(
    fleet: &ValidFleet,
    entries: &[GroupStatus],
    seen: &BTreeMap<String, GroupSeen>,
    now: Timestamp,
) -> Ledger {
    let mut ledger = Ledger::default();
    let nothing = GroupSeen::default();
    for entry in entries {
        let seen = seen.get(&entry.name).unwrap_or(&nothing);
        ledger.keep_or_strike(entry.clone(), seen, now);
    }
    let known: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    for (name, seen) in seen {
        if let Some(cluster) = seen.cluster.as_ref().filter(|_| !known.contains(name.as_str())) {
            ledger.adopt(fleet, name, cluster, now);
        }
    }
    ledger.groups.sort_by(|a, b| (a.slot, a.attempt, &a.name).cmp(&(b.slot, b.attempt, &b.name)));
    ledger
}

impl Ledger {
    fn keep_or_strike(&mut self, mut entry: GroupStatus, seen: &GroupSeen, now: Timestamp) {
        if let Some(cluster) = &seen.cluster {
            enter_uid(&mut entry, cluster);
            self.groups.push(entry);
        } else if entry.uid.is_some() || !seen.pods.is_empty() {
            // It was there: seen itself, or by its pods.
            if seen.pods.iter().all(|pod| pod.deleting) {
                self.strike(entry);
            } else {
                self.groups.push(entry);
            }
        } else if entry.goal == Goal::Retire && entry.phase == Phase::Stopping {
            let end = time::end_of(entry.since.as_ref(), UNSEEN);
            if end.is_none_or(|end| end <= now) {
                self.strike(entry);
            } else {
                self.wake = time::earliest(self.wake, end);
                self.groups.push(entry);
            }
        } else {
            self.groups.push(entry);
        }
    }

    fn strike(&mut self, entry: GroupStatus) {
        if entry.goal != Goal::Retire {
            self.effects.push(Effect::Event {
                warning: true,
                reason: "GroupDeleted",
                message: format!(
                    "RayCluster {} was deleted from outside; a new group takes its slot",
                    entry.name
                ),
            });
        }
        self.removed.push(entry);
    }

    fn adopt(&mut self, fleet: &ValidFleet, name: &str, cluster: &ClusterSeen, now: Timestamp) {
        let slot = cluster.slot.unwrap_or_else(|| free_slot(&self.groups));
        let mut entry = GroupStatus {
            name: name.to_owned(),
            slot,
            attempt: cluster.attempt,
            uid: Some(cluster.uid.clone()),
            revision: cluster.pod_revision.clone(),
            // What it runs is not written on it. If this is wrong, the launch that follows finds out.
            engine_revision: fleet.revision.engine.clone(),
            since: Some(time::began(now)),
            ..GroupStatus::default()
        };
        if cluster.deleting {
            entry.goal = Goal::Retire;
            entry.phase = Phase::Stopping;
        }
        self.effects.push(Effect::Event {
            warning: false,
            reason: "GroupAdopted",
            message: format!("RayCluster {name} is of this fleet but was not in its status: adopted"),
        });
        self.groups.push(entry);
    }
}

/// A RayCluster of the same name but another UID has no engine yet, whatever the old one had.
fn enter_uid(entry: &mut GroupStatus, cluster: &ClusterSeen) {
    let other = entry.uid.as_ref().is_some_and(|uid| *uid != cluster.uid);
    if other && entry.goal == Goal::Serve {
        entry.phase = Phase::Pending;
        entry.since = None;
        entry.launch += 1;
        entry.deadline = None;
        entry.ranks = None;
    }
    entry.uid = Some(cluster.uid.clone());
}

/// The lowest slot that no entry has.
pub(crate) fn free_slot(groups: &[GroupStatus]) -> u32 {
    let taken: BTreeSet<u32> = groups.iter().map(|group| group.slot).collect();
    (0..=u32::MAX).find(|slot| !taken.contains(slot)).unwrap_or_default()
}

/// The attempt number for a new group at a slot: one above every name that is or just was in use.
///
/// Pods that are still ending count: KubeRay takes pods of the same cluster name for the new group's.
pub(crate) fn next_attempt<'a>(
    fleet: &ValidFleet,
    slot: u32,
    in_use: impl IntoIterator<Item = &'a str>,
) -> u32 {
    let first = names::group_name(&fleet.name, &fleet.revision.pod, slot, 0);
    let used: BTreeSet<u32> = in_use.into_iter().filter_map(|name| attempt_of(&first, name)).collect();
    let next = used.last().map_or(0, |highest| highest + 1);
    if next < ATTEMPTS { next } else { (0..ATTEMPTS).find(|free| !used.contains(free)).unwrap_or_default() }
}

/// The attempt of a group name, if it is of the slot and revision whose first attempt has the name `first`.
fn attempt_of(first: &str, name: &str) -> Option<u32> {
    let rest = name.strip_prefix(first)?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('-')?.parse().ok().filter(|n| *n < ATTEMPTS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_from_names() {
        assert_eq!(attempt_of("f-abc-1", "f-abc-1"), Some(0));
        assert_eq!(attempt_of("f-abc-1", "f-abc-1-7"), Some(7));
        assert_eq!(attempt_of("f-abc-1", "f-abc-10"), None);
        assert_eq!(attempt_of("f-abc-1", "f-abc-1-x"), None);
    }

    #[test]
    fn the_lowest_slot_is_taken_first() {
        let at = |slot| GroupStatus { slot, ..GroupStatus::default() };
        assert_eq!(free_slot(&[]), 0);
        assert_eq!(free_slot(&[at(0), at(2)]), 1);
    }
}
