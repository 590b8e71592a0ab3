//! Who is heard from here, over all groups: does a pod's address take connections, or keep one? The kernel answers for those, so a busy
//! pod does not count as dead, and a machine without power is missed long before Ray or Kubernetes miss it. Whoever hears nobody at all may be
//! cut off himself, so a silence counts against a machine only beside somebody who was heard meanwhile. No calls; no decision about
//! a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rayfleet_core::observed::Reach;
use tokio::sync::Notify;

use crate::kubernetes::GroupKey;

/// Time between questions to one machine.
pub(super) const ASK: Duration = Duration::from_secs(2);
/// A machine that is silent for this long, and has not answered so many questions in a row, is gone, if there is a witness.
const SILENCE: Duration = Duration::from_secs(5);
const MISSED: u32 = 2;
/// A witness has been heard without a break for this long. More than the time between two questions: when everything falls silent at
/// once, the one that was asked last is no witness against the others.
const WITNESS: Duration = Duration::from_secs(3);
/// By then a witness would have been heard, if there were one.
const NO_REPLY: Duration = Duration::from_secs(10);
/// An engine whose watch brought nothing for this long is asked: its signs of life come every two seconds.
const WATCHED: Duration = Duration::from_millis(2500);
/// So many groups of each namespace are asked even where connections could be kept: what they answer is of that moment, and without that
/// nobody is a witness.
const WITNESSES: usize = 4;
/// A group that nobody has asked for this long counts for nothing.
const ASKED: Duration = Duration::from_secs(30);

/// What was heard of all groups.
#[derive(Debug, Default)]
pub(crate) struct Reachability(Mutex<Table>);

/// What is to be said of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupReachability {
    /// Addresses that took connections before and are gone.
    pub no_sign: Vec<String>,
    /// The group as a whole.
    pub reach: Reach,
}

#[derive(Debug, Default)]
struct Table {
    groups: BTreeMap<GroupKey, Group>,
    /// When a machine was last heard that had been so for a while, by namespace: network policies are a namespace's.
    witnesses: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Group {
    /// When it was first asked, and last.
    first: Instant,
    asked: Instant,
    /// Kubernetes holds all of its pods ready, on nodes that are.
    well: bool,
    /// By address. A policy may forbid the port: who was never heard is not gone.
    machines: BTreeMap<String, Contact>,
    /// What its dashboard and engine answer.
    answers: Contact,
    /// When the watch of its engine last brought a sign of life.
    watched: Option<Instant>,
    /// A machine that answered before has not answered.
    doubt: Arc<Notify>,
}

/// A machine: when it was last heard, since when without a break, and how many questions it has not answered since.
#[derive(Clone, Copy, Debug, Default)]
struct Contact {
    last: Option<Instant>,
    since: Option<Instant>,
    missed: u32,
}

impl Contact {
    /// Enters a question of this moment. Says whether it was answered by a witness.
    fn enter(&mut self, answered: bool, now: Instant) -> bool {
        if !answered {
            self.since = None;
            self.missed = self.missed.saturating_add(1);
            return false;
        }
        self.missed = 0;
        self.last = self.last.max(Some(now));
        now.saturating_duration_since(*self.since.get_or_insert(now)) >= WITNESS
    }
}

impl Group {
    fn new(now: Instant) -> Self {
        Self {
            first: now,
            asked: now,
            well: false,
            machines: BTreeMap::new(),
            answers: Contact::default(),
            watched: None,
            doubt: Arc::default(),
        }
    }

    fn last(&self) -> Option<Instant> {
        self.machines.values().chain([&self.answers]).filter_map(|run| run.last).max()
    }
}

impl Reachability {
    /// A group's machines are about to be asked: these addresses; and whether Kubernetes holds all of them well.
    pub(crate) fn probing(&self, group: &GroupKey, ips: &[String], well: bool, now: Instant) {
        let mut table = self.0.lock();
        let entry = table.groups.entry(group.clone()).or_insert_with(|| Group::new(now));
        (entry.asked, entry.well) = (now, well);
        entry.machines.retain(|ip, _| ips.contains(ip));
        for ip in ips {
            entry.machines.entry(ip.clone()).or_default();
        }
    }

    /// Waits until a machine of this group does not answer.
    pub(crate) async fn doubted(&self, group: &GroupKey) {
        let doubt = self.0.lock().groups.get(group).map(|entry| entry.doubt.clone());
        match doubt {
            Some(doubt) => doubt.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Whether a machine took or refused a connection that was tried at `asked`.
    pub(crate) fn record_connection(&self, group: &GroupKey, ip: &str, answered: bool, asked: Instant) {
        let mut table = self.0.lock();
        table.enter(group, answered, asked, |group| group.machines.get_mut(ip));
        if !answered {
            table.doubt(group, ip);
        }
    }

    /// Whether connections to a group's machines may be kept instead of asking them.
    pub(crate) fn may_hold(&self, group: &GroupKey) -> bool {
        let table = self.0.lock();
        let first = GroupKey::new(&group.namespace, "");
        let mut of_namespace = table.groups.range(first..).take(WITNESSES);
        of_namespace.all(|(key, _)| key.namespace == group.namespace && key != group)
    }

    /// The connection to a machine is still kept. It is no witness: it may have fallen silent a moment ago.
    pub(crate) fn record_held(&self, group: &GroupKey, ip: &str, now: Instant) {
        let mut table = self.0.lock();
        if let Some(run) = table.groups.get_mut(group).and_then(|entry| entry.machines.get_mut(ip)) {
            *run = Contact { last: run.last.max(Some(now)), since: None, missed: 0 };
        }
    }

    /// The connection to a machine has ended, since it was not heard after `last`.
    pub(crate) fn record_silence(&self, group: &GroupKey, ip: &str, last: Instant) {
        let mut table = self.0.lock();
        if let Some(run) = table.groups.get_mut(group).and_then(|entry| entry.machines.get_mut(ip)) {
            // The kernel's own question was not answered.
            let missed = run.missed.saturating_add(1);
            *run = Contact { last: run.last.map(|heard| heard.min(last)), since: None, missed };
        }
        table.doubt(group, ip);
    }

    /// Whether dashboard or engine sent anything at all.
    pub(crate) fn record_answer(&self, group: &GroupKey, answered: bool, now: Instant) {
        self.0.lock().enter(group, answered, now, |group| Some(&mut group.answers));
    }

    /// The watch of the engine on this machine brought something, if it is a new one.
    pub(crate) fn record_line(&self, group: &GroupKey, ip: Option<&str>, at: Instant) {
        let mut table = self.0.lock();
        if let Some(entry) = table.groups.get_mut(group) {
            entry.watched = Some(at);
        }
        table.enter(group, true, at, |group| Some(&mut group.answers));
        if let Some(ip) = ip {
            table.enter(group, true, at, |group| group.machines.get_mut(ip));
        }
    }

    /// Until when the signs of life that the watch of a group's engine brings are enough; `None` if they are not.
    pub(crate) fn watched_until(&self, group: &GroupKey, now: Instant) -> Option<Instant> {
        let last = self.0.lock().groups.get(group).and_then(|entry| entry.watched);
        last.map(|last| last + WATCHED).filter(|until| *until > now)
    }

    /// Whether every machine of a group has answered the last question, and no judgement on it changes by the mere passing of time.
    pub(crate) fn is_clear(&self, group: &GroupKey, now: Instant) -> bool {
        let table = self.0.lock();
        let Some(entry) = table.groups.get(group) else { return false };
        let judged = table.judge(group, entry, now);
        // Whose port a policy forbids never answers, and is no doubt.
        let answers = |run: &Contact| run.missed == 0 || run.last.is_none();
        judged.reach == Reach::Reachable && judged.no_sign.is_empty() && entry.machines.values().all(answers)
    }

    /// What is to be said of a group now.
    pub(crate) fn of(&self, group: &GroupKey, now: Instant) -> GroupReachability {
        let table = self.0.lock();
        table
            .groups
            .get(group)
            .map_or_else(GroupReachability::default, |entry| table.judge(group, entry, now))
    }

    /// For how long no pod of any group has been heard. `None`: one was a moment ago, or there is none that Kubernetes holds well.
    pub(crate) fn no_reply_for(&self, now: Instant) -> Option<Duration> {
        let table = self.0.lock();
        let current = || {
            let asked = move |group: &&Group| now.saturating_duration_since(group.asked) < ASKED;
            table.groups.values().filter(asked)
        };
        let first = current().filter(|group| group.well).map(|group| group.first).min()?;
        let since = current().filter_map(Group::last).max().map_or(first, |last| last.max(first));
        Some(now.saturating_duration_since(since)).filter(|length| *length >= NO_REPLY)
    }

    /// A group is no longer asked.
    pub(crate) fn forget(&self, group: &GroupKey) {
        self.0.lock().groups.remove(group);
    }
}

impl Table {
    fn enter(
        &mut self,
        group: &GroupKey,
        answered: bool,
        now: Instant,
        run: impl FnOnce(&mut Group) -> Option<&mut Contact>,
    ) {
        let Some(run) = self.groups.get_mut(group).and_then(run) else { return };
        if run.enter(answered, now) {
            let last = self.witnesses.entry(group.namespace.clone()).or_insert(now);
            *last = now.max(*last);
        }
    }

    /// A machine has not answered. One that never did is no news.
    fn doubt(&self, group: &GroupKey, ip: &str) {
        let Some(entry) = self.groups.get(group) else { return };
        if entry.machines.get(ip).is_some_and(|run| run.last.is_some()) {
            entry.doubt.notify_one();
        }
    }

    fn judge(&self, key: &GroupKey, group: &Group, now: Instant) -> GroupReachability {
        let silent = |last: Instant| now.saturating_duration_since(last) >= SILENCE;
        // A machine is no witness against itself: it was not heard after it was heard last.
        let witness = self.witnesses.get(&key.namespace);
        let against = |last: Instant| witness.is_some_and(|heard| *heard >= last + WITNESS);
        let gone = |run: &Contact| {
            run.missed >= MISSED && run.last.is_some_and(|last| silent(last) && against(last))
        };
        let no_sign = group.machines.iter().filter(|(_, run)| gone(run)).map(|(ip, _)| ip.clone()).collect();
        let last = group.last();
        let since = last.unwrap_or(group.first);
        let reach = if last.is_some() && !silent(since) {
            Reach::Reachable
        } else if against(since) {
            Reach::Silent
        } else if now.saturating_duration_since(since) >= NO_REPLY {
            Reach::AllSilent
        } else {
            Reach::Unsure
        };
        GroupReachability { no_sign, reach }
    }
}

#[cfg(test)]
mod tests;
