//! New groups. Up to `replicas` they are always added, even if they must wait for room; above that only if a
//! whole group fits on the nodes.

use rayfleet_api::spec::{MOST_GROUPS, StrategyType, WhenNoRoom};
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::valid::after;
use rayfleet_api::{GroupName, ValidFleet, names};

use super::blocked::Blocked;
use super::classify::{RevisionMatch, is_retained, revision_match};
use super::planner::{Planner, count};
use super::{avoid, pend};
use crate::capacity::Room;
use crate::observed::ObservedPod;
use crate::{group, ledger, text, time};

/// The most groups that one pass adds; the next pass follows at once.
const EACH_PASS: usize = 32;

/// Where the pods of a group that may exist will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On nodes with room for all of them, or, for a group below `replicas`, wherever there is room later.
    Any,
    /// On nodes that an autoscaler may add.
    Pends,
}

pub(super) fn create(planner: &mut Planner<'_>) {
    let mut room = None;
    planner.blocked = None;
    // A name reserved for a refused group would only block the next one.
    if planner.inputs.held.is_some_and(|held| !held.creates) {
        return;
    }
    while wanted(planner) {
        if planner.made == EACH_PASS {
            planner.more = true;
            return;
        }
        match may_create(planner, &mut room) {
            Ok(place) => reserve(planner, place),
            Err(blocked) => {
                planner.blocked = Some(blocked);
                return;
            }
        }
        planner.made += 1;
    }
}

/// Whether one more group is wanted: below `replicas` always, above if the rollout can use it.
fn wanted(planner: &Planner<'_>) -> bool {
    let replicas = planner.fleet.replicas;
    let active = planner.active_count();
    if active < replicas {
        return true;
    }
    let changed = |group: &&GroupStatus| {
        planner.age(group) != RevisionMatch::PodsOutdated && !planner.kept.contains(&group.name)
    };
    let current = count(planner.active().filter(changed));
    let useful = if planner.to_change(RevisionMatch::PodsOutdated).next().is_some() {
        current < planner.current_target()
    } else {
        planner.to_swap()
    };
    // A pause holds revisions, but not groups on nodes that are being drained.
    let useful = useful && !planner.fleet.paused || planner.moves();
    active < replicas.saturating_add(planner.surge()) && useful
}

/// Whether it may be created now.
fn may_create<'a>(planner: &Planner<'a>, room: &mut Option<Room<'a>>) -> Result<Place, Blocked> {
    let fleet = planner.fleet;
    let recreate = fleet.strategy.kind == StrategyType::Recreate;
    if recreate && old_ones_exist(planner) {
        return Err(Blocked::Leaving);
    }
    if planner.existing_count() < fleet.replicas {
        return Ok(Place::Any);
    }
    let surge = if recreate { 0 } else { fleet.strategy.max_surge };
    // More groups would not fit into the status.
    if planner.existing_count() >= fleet.replicas.saturating_add(surge).min(MOST_GROUPS) {
        return Err(Blocked::Leaving);
    }
    if room.is_none() {
        *room = planner.room();
    }
    let Some(room) = room.as_mut() else {
        // Whoever lets groups pend leaves it to the cluster whether there is room.
        return if pend::when_no_room(planner) == WhenNoRoom::Pend {
            Ok(Place::Pends)
        } else {
            Err(Blocked::Unknown)
        };
    };
    match room.place(&planner.next_fleet().shape) {
        Ok(_) => Ok(Place::Any),
        // No node helps against a quota.
        Err(no_room) if pend::when_no_room(planner) == WhenNoRoom::Pend && !no_room.quota => Ok(Place::Pends),
        Err(no_room) => Err(Blocked::NoRoom(no_room)),
    }
}

/// `Recreate` waits until no group of an older revision uses anything, terminating pods included.
fn old_ones_exist(planner: &Planner<'_>) -> bool {
    let fleet = planner.fleet;
    let prefix = format!("{}-{}-", fleet.name, fleet.revision.pod);
    let observed = planner.inputs.observed.iter();
    let mut left = observed
        .filter(|(_, observed)| observed.cluster.is_some() || observed.pods.iter().any(ObservedPod::holds));
    // The ledger records the revision of its groups, whatever their names: adopted groups keep theirs.
    let known = |name: &GroupName| planner.groups.iter().any(|group| group.name == *name);
    left.any(|(name, _)| !name.starts_with(&prefix) && !known(name))
        || planner.groups.iter().any(|group| revision_match(fleet, group) == RevisionMatch::PodsOutdated)
}

/// Adds a new group to the ledger, which fixes its name.
fn reserve(planner: &mut Planner<'_>, place: Place) {
    let fleet = planner.next_fleet();
    let now = planner.inputs.now;
    let slot = planner.take_slot();
    let attempt = ledger::next_attempt(fleet, slot, names_in_use(planner));
    let failed = failed_before(planner, fleet);
    let failures = failed.map_or(0, |group| group.failures);
    let last_failure = failed.and_then(|group| group.last_failure.clone());
    let retry = failed.map(|_| after(now, group::backoff(&fleet.failure, failures)));
    let reason = failed.map(|group| {
        let cause = group.goal_reason.as_deref().unwrap_or("failed");
        text::bounded(format!("stands in for {}: {cause}", group.name))
    });
    let avoid_nodes = avoid::for_new_group(planner);
    let pend_until = (place == Place::Pends).then(|| time::not_before(pend::until(planner)));
    let name = names::group_name(&fleet.name, &fleet.revision.pod, slot, attempt);
    if fleet.revision != planner.fleet.revision {
        planner.kept.insert(name.clone());
    }
    planner.groups.push(GroupStatus {
        name,
        slot,
        attempt,
        revision: fleet.revision.pod.clone(),
        engine_revision: fleet.revision.engine.clone(),
        phase: Phase::Pending,
        phase_since: Some(time::began(now)),
        failures,
        last_failure,
        retry_after: retry.map(time::not_before),
        goal_reason: reason,
        avoid_nodes,
        pend_until,
        ..GroupStatus::default()
    });
    planner.groups.sort_by(|a, b| (a.slot, a.attempt, &a.name).cmp(&(b.slot, b.attempt, &b.name)));
}

/// Names that a new group must not have: those in the ledger, just removed from it, or still observed.
fn names_in_use<'b>(planner: &'b Planner<'_>) -> impl Iterator<Item = &'b GroupName> {
    let observed = planner.inputs.observed.iter();
    let there = observed.filter(|(_, observed)| {
        observed.cluster.is_some() || !observed.pods.is_empty() || observed.taken.is_some()
    });
    let entries = planner.groups.iter().chain(planner.inputs.removed).map(|group| &group.name);
    entries.chain(there.map(|(name, _)| name))
}

/// The failed group that the new one replaces: of the same revisions, and being deleted or just gone. Its
/// failures still count, so that waits grow however often a group is re-created.
fn failed_before<'b>(planner: &'b Planner<'_>, fleet: &ValidFleet) -> Option<&'b GroupStatus> {
    let leaving = planner.groups.iter().filter(|group| !is_retained(group));
    let gone = leaving.chain(planner.inputs.removed);
    let failed =
        gone.filter(|group| group.failures > 0 && revision_match(fleet, group) == RevisionMatch::UpToDate);
    failed.max_by_key(|group| group.failures)
}
