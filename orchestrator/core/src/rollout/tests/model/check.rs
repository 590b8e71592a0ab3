//! Invariants of every pass, and of the state that a fleet settles in.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use rayfleet_api::spec::StrategyType;
use rayfleet_api::status::{Goal, GroupStatus, Phase};
use rayfleet_api::{GroupName, RayClusterFleetStatus, ValidFleet};

use super::Case;
use super::world::{State, now};
use crate::decide::Decision;
use crate::rollout::tests::{is_own_decision, is_replaced};

/// Rounds within which every fleet of the model settles.
const ROUNDS: usize = 60;

impl Case {
    /// Checks the guarantees of one pass.
    pub(super) fn check(&self, state: &mut State, decision: &Decision) {
        let fleet = state.fleet(&self.fleet);
        let breach = [
            floor(state, &fleet, decision),
            ceiling(state, &fleet, decision),
            broken_first(state, &fleet, decision),
            surge_has_room(self, state, &fleet, decision),
            pends(state, &fleet, decision),
        ];
        if let Some(breach) = breach.into_iter().flatten().next() {
            state.breach.get_or_insert(breach);
        }
    }

    /// One round without faults: a pass, then every step in progress advances. Returns whether anything
    /// changed.
    pub(super) fn go_on(&self, state: &mut State) -> bool {
        let before = state.clone();
        self.pass(state, true);
        for at in 0..state.status.groups.len() {
            state.wait_is_over(at);
        }
        let names: Vec<GroupName> = state.groups.keys().cloned().collect();
        for name in names {
            if state.can_advance(&name, self.room) {
                state.advance(&name);
            }
        }
        *state != before
    }

    /// Without further faults the fleet reaches its spec, or reports what blocks it.
    pub(super) fn comes_to_rest(&self, from: &State) -> Result<(), String> {
        let mut state = from.clone();
        (state.before, state.breach) = (None, None);
        let mut passed = Vec::new();
        for _ in 0..ROUNDS {
            let mark = fingerprint(&state);
            if self.rests.lock().unwrap().contains(&mark) {
                break;
            }
            passed.push(mark);
            if !self.go_on(&mut state) {
                self.is_at_rest(&state)?;
                break;
            }
            if let Some(breach) = &state.breach {
                return Err(format!("a promise is broken on the way to rest: {breach}"));
            }
            if passed.len() == ROUNDS {
                return Err(format!("never at rest: {state:#?}"));
            }
        }
        self.rests.lock().unwrap().extend(passed);
        Ok(())
    }

    fn is_at_rest(&self, state: &State) -> Result<(), String> {
        let decision = self.decide(state, &state.groups);
        let status = &decision.status;
        let step = status.rollout.as_ref().map_or("", |rollout| rollout.step.as_str());
        let wanted = usize::try_from(state.spec.replicas).unwrap();
        let serving = state.groups.values().filter(|group| group.serves()).count();
        let whole = serving == wanted && state.groups.len() == wanted && status.groups.len() == wanted;
        let done = match step {
            "Complete" => whole && revisions_are_right(state, &self.fleet, status),
            "Rolled back" => whole && stalled(status).is_some(),
            "Paused" => state.spec.paused,
            "Waiting for room" => stalled(status).is_some_and(|why| why.contains("needs 2 nodes")),
            // Groups up to `replicas` wait for room as pending pods; the progress deadline would report it.
            _ => wanted > self.room && state.groups.len() <= wanted,
        };
        if done { Ok(()) } else { Err(format!("at rest at `{step}` with {serving} serving: {state:#?}")) }
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    state.fixed_part().hash(&mut hasher);
    hasher.finish()
}

fn stalled(status: &RayClusterFleetStatus) -> Option<&str> {
    let stalled = status.conditions.iter().find(|condition| condition.type_ == "Stalled")?;
    (stalled.status == "True" && !stalled.message.is_empty()).then_some(stalled.message.as_str())
}

/// All groups have the wanted revision, except those of the partition if there was an older one.
fn revisions_are_right(state: &State, fleet: &ValidFleet, status: &RayClusterFleetStatus) -> bool {
    let recreate = fleet.strategy.kind == StrategyType::Recreate;
    let kept = if recreate { 0 } else { state.spec.partition.min(state.spec.replicas) };
    let new = |group: &&GroupStatus| {
        group.revision == state.spec.pods && group.engine_revision.as_deref() == Some(state.spec.engine)
    };
    let new = status.groups.iter().filter(new).count();
    new >= usize::try_from(state.spec.replicas - kept).unwrap()
}

/// A serving group that the planner takes out of service in this pass.
fn taken<'d>(state: &State, fleet: &ValidFleet, decision: &'d Decision) -> Option<&'d GroupStatus> {
    decision.status.groups.iter().find(|new| {
        let by_planner = is_own_decision(fleet, decision, new);
        let old = state.status.groups.iter().find(|old| old.name == new.name);
        let in_service = old.is_some_and(|old| old.goal == Goal::Serve && old.phase == Phase::Ready);
        let serves = state.groups.get(&new.name).is_some_and(super::world::Group::serves);
        in_service && serves && new.goal != Goal::Serve && by_planner
    })
}

/// The planner never takes the number of serving groups below `replicas - maxUnavailable`.
fn floor(state: &State, fleet: &ValidFleet, decision: &Decision) -> Option<String> {
    let floor = fleet.replicas.saturating_sub(fleet.strategy.max_unavailable);
    let ready = u32::try_from(decision.status.ready_replicas).unwrap();
    let group = taken(state, fleet, decision)?;
    let broken = ready < floor && fleet.strategy.kind == StrategyType::RollingUpdate;
    broken.then(|| format!("{} was taken with {ready} ready, {floor} needed", group.name))
}

/// The number of existing groups never exceeds `replicas + maxSurge`.
fn ceiling(state: &State, fleet: &ValidFleet, decision: &Decision) -> Option<String> {
    let most = usize::try_from(fleet.replicas + fleet.strategy.max_surge).unwrap();
    // Terminating pods hold their nodes, whatever the ledger says.
    let there = |groups: &[GroupStatus]| {
        let entered = groups.iter().map(|group| group.name.clone());
        entered.chain(state.groups.keys().cloned()).collect::<BTreeSet<GroupName>>().len()
    };
    let (before, after) = (there(&state.status.groups), there(&decision.status.groups));
    (after > most.max(before)).then(|| format!("{after} groups, at most {most}"))
}

/// No serving group is replaced while a broken one of an old revision is unchanged.
fn broken_first(state: &State, fleet: &ValidFleet, decision: &Decision) -> Option<String> {
    let taken = taken(state, fleet, decision)?;
    if !is_replaced(decision, taken) {
        return None;
    }
    let to = decision.status.rollout.as_ref().map(|rollout| &rollout.to);
    let old = |group: &GroupStatus| to != Some(&group.revisions());
    let left = decision.status.groups.iter().filter(|group| {
        old(group) && group.goal == Goal::Serve && group.phase != Phase::Ready && group.launch <= 1
    });
    // The partition may keep broken groups: they are repaired.
    let kept = usize::try_from(fleet.strategy.partition).unwrap();
    (left.count() > kept).then(|| format!("{} was taken before a broken group", taken.name))
}

/// A group above `replicas` is only created if a whole group has room.
fn surge_has_room(case: &Case, state: &State, fleet: &ValidFleet, decision: &Decision) -> Option<String> {
    let new = |group: &&GroupStatus| !state.status.groups.iter().any(|old| old.name == group.name);
    let groups = &decision.status.groups;
    let made = groups.iter().filter(new).count();
    let surplus = groups.len() > usize::try_from(fleet.replicas).unwrap();
    // An entry to be deleted whose RayCluster was never created takes no room.
    // Pods that wait for an autoscaler's nodes take no existing ones.
    let pends = |name: &GroupName| {
        let entry = groups.iter().find(|group| group.name == *name);
        entry.is_some_and(|group| group.pend_until.is_some()) && state.waits_for_nodes(name)
    };
    let there = state.groups.keys().filter(|name| !pends(name));
    let to_come = groups.iter().filter(|group| {
        group.goal != Goal::Retire && !state.groups.contains_key(&group.name) && !pends(&group.name)
    });
    let taking = there.count() + to_come.count();
    (made > 0 && surplus && taking > case.room).then(|| format!("{taking} groups, room for {}", case.room))
}

/// A pending group has no nodes and a time limit, and no serving group is given up for it meanwhile.
fn pends(state: &State, fleet: &ValidFleet, decision: &Decision) -> Option<String> {
    let groups = &decision.status.groups;
    let mut pending = groups.iter().filter(|group| group.pend_until.is_some() && group.goal != Goal::Retire);
    let one = pending.clone().next()?;
    if let Some(group) = pending.clone().find(|group| !state.waits_for_nodes(&group.name)) {
        return Some(format!("{} has nodes and pends", group.name));
    }
    if let Some(group) = pending.find(|group| group.pend_until.as_ref().is_some_and(|end| end.0 <= now())) {
        return Some(format!("{} pends beyond its end", group.name));
    }
    let taken = taken(state, fleet, decision)?;
    is_replaced(decision, taken).then(|| format!("{} was taken while {} pends", taken.name, one.name))
}
