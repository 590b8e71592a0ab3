//! The ledger of groups (`status.groups`) held against what exists: UIDs are entered, RayClusters that it
//! lacks are adopted, entries whose group is gone are struck out. Also the names of new entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{GroupName, ValidFleet, names};

use crate::effect::Effect;
use crate::observed::{ObservedGroup, ObservedPod, ObservedRayCluster};
use crate::time;

/// An entry whose RayCluster or whose pods were never observed is kept this long after it was retired: a create that timed
/// out may still have been applied, and its objects must count until the watches would have shown them.
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

/// Entries by name, for whoever holds all of them against others.
pub(crate) fn by_name(groups: &[GroupStatus]) -> HashMap<&GroupName, &GroupStatus> {
    groups.iter().map(|group| (&group.name, group)).collect()
}

/// Holds the entries against what exists.
pub(crate) fn settle(
    fleet: &ValidFleet,
    entries: &[GroupStatus],
    observed: &BTreeMap<GroupName, ObservedGroup>,
    now: Timestamp,
) -> Ledger {
    let mut ledger = Ledger::default();
    let nothing = ObservedGroup::default();
    for entry in entries {
        let observed = observed.get(&entry.name).unwrap_or(&nothing);
        ledger.keep_or_strike(entry.clone(), observed, now);
    }
    let known: BTreeSet<&GroupName> = entries.iter().map(|entry| &entry.name).collect();
    for (name, observed) in observed {
        if let Some(cluster) = observed.cluster.as_ref().filter(|_| !known.contains(name)) {
            ledger.adopt(fleet, name, cluster, observed, now);
        }
    }
    ledger.groups.sort_by(|a, b| (a.slot, a.attempt, &a.name).cmp(&(b.slot, b.attempt, &b.name)));
    ledger
}

impl Ledger {
    fn keep_or_strike(&mut self, mut entry: GroupStatus, observed: &ObservedGroup, now: Timestamp) {
        if let Some(cluster) = &observed.cluster {
            enter_uid(&mut entry, cluster);
            self.groups.push(entry);
        } else if observed.taken.is_some() && entry.uid.is_none() && entry.goal == Goal::Retire {
            // What is there under its name is somebody else's.
            self.strike(entry, &[]);
        } else if observed.pods.iter().any(ObservedPod::holds) {
            // It exists as long as it holds hardware: what takes its place must find that free.
            self.groups.push(entry);
        } else if !observed.pods.is_empty() || entry.uid.is_some() && !entry.nodes.is_empty() {
            // It was there, and so were its pods.
            self.strike(entry, &observed.pods);
        } else if entry.goal == Goal::Retire && entry.phase == Phase::Stopping {
            let end = time::end_of(entry.phase_since.as_ref(), UNSEEN);
            if end.is_none_or(|end| end <= now) {
                self.strike(entry, &[]);
            } else {
                self.wake = time::earliest(self.wake, end);
                self.groups.push(entry);
            }
        } else {
            self.groups.push(entry);
        }
    }

    /// Strikes an entry out. Pods that are left of it hold nothing that can be used.
    fn strike(&mut self, entry: GroupStatus, left: &[ObservedPod]) {
        if let Some(pod) = left.iter().find(|pod| pod.node_lost && !pod.over) {
            let (name, node) = (&pod.name, pod.node.as_deref().unwrap_or("no node"));
            self.effects.push(Effect::Event {
                warning: true,
                reason: "PodsLeft",
                message: format!(
                    "group {} is gone but for {} pods on lost nodes, such as {name} on {node}: they count no more; \
                     once that machine is off for good, `kubectl delete node {node}` removes them",
                    entry.name,
                    left.len(),
                ),
            });
        }
        if entry.goal != Goal::Retire {
            self.effects.push(Effect::Event {
                warning: true,
                reason: "GroupDeleted",
                message: format!(
                    "RayCluster {} was deleted from outside; another group takes its place",
                    entry.name
                ),
            });
        }
        self.removed.push(entry);
    }

    fn adopt(
        &mut self,
        fleet: &ValidFleet,
        name: &GroupName,
        cluster: &ObservedRayCluster,
        observed: &ObservedGroup,
        now: Timestamp,
    ) {
        let slot = cluster.slot.unwrap_or_else(|| free_slot(&self.groups));
        let mut entry = GroupStatus {
            name: name.clone(),
            slot,
            attempt: cluster.attempt,
            uid: Some(cluster.uid.clone()),
            revision: cluster.pod_revision.clone(),
            // What it runs is not written on it. If this is wrong, the launch that follows finds out.
            engine_revision: fleet.revision.engine.clone(),
            phase_since: Some(time::began(now)),
            ..GroupStatus::default()
        };
        // A gate that is open names the engine that it was opened for: that one serves, and nothing is to be restarted.
        let heads = observed.pods.iter().filter(|pod| pod.head && !pod.deleting);
        let mut launches = heads.filter_map(|head| head.opened_for.as_ref());
        if let Some(launch) = launches.find(|launch| launch.group == *name) {
            entry.engine_revision.clone_from(&launch.engine);
            entry.launch = launch.number;
            // Whatever it is to do next, its requests end first.
            entry.phase = Phase::Ready;
        }
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
fn enter_uid(entry: &mut GroupStatus, cluster: &ObservedRayCluster) {
    let other = entry.uid.as_ref().is_some_and(|uid| *uid != cluster.uid);
    if other && entry.goal == Goal::Serve {
        entry.phase = Phase::Pending;
        entry.phase_since = None;
        entry.launch = entry.launch.saturating_add(1);
        entry.start_deadline = None;
        (entry.forming_since, entry.waiting_since) = (None, None);
        entry.ranks = None;
    }
    entry.uid = Some(cluster.uid.clone());
}

/// The lowest slot that no entry has.
fn free_slot(groups: &[GroupStatus]) -> u32 {
    let taken: BTreeSet<u32> = groups.iter().map(|group| group.slot).collect();
    (0..=u32::MAX).find(|slot| !taken.contains(slot)).unwrap_or_default()
}

/// The attempt number for a new group at a slot: one above every name that is or just was in use.
///
/// Pods that are still ending count: KubeRay takes pods of the same cluster name for the new group's.
pub(crate) fn next_attempt<'a>(
    fleet: &ValidFleet,
    slot: u32,
    in_use: impl IntoIterator<Item = &'a GroupName>,
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
    use crate::testing::{at, entry, fleet, healthy, pod, ready_entry, with_goal};

    #[test]
    fn attempts_are_read_from_names() {
        assert_eq!(attempt_of("f-abc-1", "f-abc-1"), Some(0));
        assert_eq!(attempt_of("f-abc-1", "f-abc-1-7"), Some(7));
        assert_eq!(attempt_of("f-abc-1", "f-abc-10"), None);
        assert_eq!(attempt_of("f-abc-1", "f-abc-1-x"), None);
    }

    fn settled(entry: GroupStatus, observed: ObservedGroup, seconds: i64) -> Ledger {
        let observed = BTreeMap::from([(entry.name.clone(), observed)]);
        settle(&fleet(1), &[entry], &observed, at(seconds))
    }

    #[test]
    fn a_group_is_struck_out_once_its_cluster_is_gone_and_no_pod_of_it_holds_anything() {
        let nodes = vec!["node-0".into(), "node-1".into()];
        let group = GroupStatus { nodes, ..ready_entry(&fleet(1), 0) };
        let never_seen = entry(&fleet(1), 0);
        let nothing = ObservedGroup::default();
        let one = |edit: &dyn Fn(&mut ObservedPod)| {
            let mut pod = pod(&group, 0);
            edit(&mut pod);
            ObservedGroup { pods: vec![pod], ..ObservedGroup::default() }
        };
        let cases: [(&str, ObservedGroup, bool); 5] = [
            ("it runs", one(&|_| {}), true),
            ("it ends", one(&|pod| pod.deleting = true), true),
            (
                "it has ended, and somebody's finalizer keeps it",
                one(&|pod| (pod.deleting, pod.over) = (true, true)),
                false,
            ),
            ("it ends on a lost node", one(&|pod| (pod.deleting, pod.node_lost) = (true, true)), false),
            ("it never had a node", one(&|pod| (pod.deleting, pod.node) = (true, None)), false),
        ];
        for (what, observed, kept) in cases {
            for entry in [&group, &never_seen] {
                assert_eq!(
                    settled(entry.clone(), observed.clone(), 100).groups.len(),
                    usize::from(kept),
                    "{what}"
                );
            }
        }
        assert_eq!(settled(group, nothing.clone(), 100).groups.len(), 0);
        assert_eq!(settled(never_seen, nothing, 100).groups.len(), 1);
    }

    #[test]
    fn pods_that_are_left_on_a_lost_node_are_reported() {
        let group = with_goal(ready_entry(&fleet(1), 0), Goal::Retire);
        let left = ObservedPod { deleting: true, node_lost: true, ..pod(&group, 1) };
        let ledger = settled(group, ObservedGroup { pods: vec![left], ..ObservedGroup::default() }, 100);
        let [Effect::Event { warning: true, reason: "PodsLeft", message }] = &ledger.effects[..] else {
            panic!("{:?}", ledger.effects)
        };
        assert!(message.contains("llama-pods1-0-w on node-1"), "{message}");
    }

    /// KubeRay may have made pods that the watch has not shown yet.
    #[test]
    fn a_group_whose_pods_were_never_seen_is_kept_for_a_moment() {
        let group =
            GroupStatus { phase: Phase::Stopping, ..with_goal(ready_entry(&fleet(1), 0), Goal::Retire) };
        let kept = |seconds| settled(group.clone(), ObservedGroup::default(), seconds).groups.len();
        assert_eq!((kept(9), kept(10)), (1, 0));
    }

    #[test]
    fn only_what_was_retired_and_stops_is_struck_out_unseen() {
        let kept = |goal, phase, seconds| {
            let entry = GroupStatus { goal, phase, ..entry(&fleet(1), 0) };
            let ledger = settled(entry, ObservedGroup::default(), seconds);
            (ledger.groups.len(), ledger.wake)
        };
        assert_eq!(kept(Goal::Retire, Phase::Stopping, 9), (1, Some(at(10))));
        assert_eq!(kept(Goal::Retire, Phase::Stopping, 10), (0, None));
        assert_eq!(kept(Goal::Retire, Phase::Failed, 10), (1, None));
        assert_eq!(kept(Goal::Serve, Phase::Stopping, 10), (1, None));
    }

    #[test]
    fn only_a_deletion_from_outside_is_reported() {
        let reported = |goal| {
            let nodes = vec!["node-0".into()];
            let entry = GroupStatus { goal, nodes, ..ready_entry(&fleet(1), 0) };
            settled(entry, ObservedGroup::default(), 1).effects.len()
        };
        assert_eq!((reported(Goal::Serve), reported(Goal::Retire)), (1, 0));
    }

    #[test]
    fn a_cluster_of_another_uid_starts_from_the_beginning() {
        let nine = Some(time::began(at(9)));
        let group =
            GroupStatus { start_deadline: nine.clone(), forming_since: nine, ..ready_entry(&fleet(1), 0) };
        let of = |uid: &str, goal| {
            let entry = GroupStatus { goal, ..group.clone() };
            let mut observed = healthy(&entry, at(0));
            observed.cluster.as_mut().unwrap().uid = uid.to_owned();
            settled(entry, observed, 1).groups.remove(0)
        };
        assert_eq!(of("uid", Goal::Serve), group);
        let again = of("other", Goal::Serve);
        assert_eq!((again.phase, again.launch, again.uid.as_deref()), (Phase::Pending, 2, Some("other")));
        assert_eq!(
            (again.phase_since, again.start_deadline, again.forming_since, again.ranks),
            (None, None, None, None)
        );
        assert_eq!(of("other", Goal::Retire).phase, Phase::Ready, "nothing is started on it");
    }

    #[test]
    fn an_unknown_cluster_is_adopted_as_what_it_is() {
        let group = GroupStatus { attempt: 3, ..ready_entry(&fleet(1), 2) };
        let adopted = |deleting| {
            let mut observed = healthy(&group, at(0));
            observed.cluster.as_mut().unwrap().deleting = deleting;
            settle(&fleet(1), &[], &BTreeMap::from([(group.name.clone(), observed)]), at(7)).groups.remove(0)
        };
        let expected = GroupStatus {
            name: group.name.clone(),
            slot: 2,
            attempt: 3,
            uid: Some("uid".to_owned()),
            revision: "pods1".into(),
            engine_revision: Some("eng1".into()),
            phase_since: Some(time::began(at(7))),
            ..GroupStatus::default()
        };
        assert_eq!(adopted(false), expected);
        assert_eq!(adopted(true), GroupStatus { goal: Goal::Retire, phase: Phase::Stopping, ..expected });
    }

    #[test]
    fn a_group_is_adopted_with_the_launch_that_its_gate_is_open_for() {
        let group =
            GroupStatus { launch: 4, engine_revision: Some("old1".into()), ..ready_entry(&fleet(1), 0) };
        let adopted = |opened_for: Option<&str>| {
            let mut observed = healthy(&group, at(0));
            observed.pods[0].opened_for = opened_for.map(|launch| launch.parse().unwrap());
            let entry = settle(&fleet(1), &[], &BTreeMap::from([(group.name.clone(), observed)]), at(7))
                .groups
                .remove(0);
            (entry.engine_revision, entry.launch)
        };
        let own = (fleet(1).revision.engine, 0);
        assert_eq!(adopted(Some(&format!("{}.old1.4", group.name))), (Some("old1".into()), 4));
        assert_eq!(adopted(Some(&format!("{}..0", group.name))), (None, 0), "an engine of the template");
        assert_eq!(adopted(None), own);
        assert_eq!(adopted(Some("another-0.old1.4")), own, "the launch of another group");
    }

    #[test]
    fn an_entry_whose_name_is_somebody_else_s_is_struck_out_once_it_is_given_up() {
        let kept = |goal, uid: Option<&str>| {
            let entry = GroupStatus { goal, uid: uid.map(str::to_owned), ..entry(&fleet(1), 0) };
            let pods = vec![pod(&entry, 0)];
            let observed =
                ObservedGroup { pods, taken: Some("another's".into()), ..ObservedGroup::default() };
            settled(entry, observed, 1).groups.len()
        };
        assert_eq!(
            (kept(Goal::Serve, None), kept(Goal::Retire, None), kept(Goal::Retire, Some("u"))),
            (1, 0, 1)
        );
    }

    #[test]
    fn after_the_last_attempt_the_first_free_one_comes() {
        let next = |used: &[&str]| {
            let used: Vec<GroupName> = used.iter().map(Into::into).collect();
            next_attempt(&fleet(1), 1, &used)
        };
        assert_eq!(next(&[]), 0);
        assert_eq!(next(&["llama-pods1-1", "llama-pods1-0-7"]), 1);
        assert_eq!(next(&["llama-pods1-1-998"]), 999);
        assert_eq!(next(&["llama-pods1-1", "llama-pods1-1-999"]), 1);
        assert_eq!(next(&["llama-pods1-1-1000"]), 0, "no attempt has such a number");
        assert_eq!(next(&["llama-pods1-1-5", "llama-pods1-1-1000"]), 6);
    }

    #[test]
    fn the_lowest_slot_is_taken_first() {
        let at = |slot| GroupStatus { slot, ..GroupStatus::default() };
        assert_eq!(free_slot(&[]), 0);
        assert_eq!(free_slot(&[at(0), at(2)]), 1);
    }
}
