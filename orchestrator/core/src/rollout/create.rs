//! New groups. Up to `replicas` they are always entered, even where they have to wait for room; above that
//! only when a whole group fits on the nodes.

use rayfleet_api::ValidFleet;
use rayfleet_api::names;
use rayfleet_api::spec::{MOST_GROUPS, StrategyType, WhenNoRoom};
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::valid::after;

use super::classify::{RevisionMatch, is_retained, revision_match};
use super::planner::{Planner, count};
use super::{avoid, pend};
use crate::capacity::{NoRoom, Room};
use crate::observed::ObservedPod;
use crate::{group, ledger, text, time};

/// Groups that one pass enters at most; the next pass follows at once.
const EACH_PASS: usize = 32;

/// Nodes, or pods of other namespaces, may not be read.
pub(super) const ROOM_UNKNOWN: &str = "what the nodes have room for is not known: bind ClusterRole rayfleet-capacity to the orchestrator's account";

/// Why a group that is wanted is not created now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blocked {
    /// No whole group fits.
    NoRoom(NoRoom),
    /// What the nodes have may not be read.
    Unknown,
    /// Groups on their way out still count.
    Leaving,
}

/// Where the pods of a group that may exist will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// On nodes that have room for all of them, or as a group below `replicas` wherever room comes.
    Any,
    /// On nodes that an autoscaler may add.
    Pends,
}

pub(super) fn create(planner: &mut Planner<'_>) {
    let mut room = None;
    planner.blocked = None;
    // A name that is reserved for what is refused would only be in the way of what comes next.
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

/// One more group is wanted: below `replicas` always, above when a rollout can use it.
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
    // A pause holds revisions, not groups on nodes that are to be emptied.
    let useful = useful && !planner.fleet.paused || planner.moves();
    active < replicas.saturating_add(planner.surge()) && useful
}

/// Whether it may exist now.
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
        return if planner.when_no_room() == WhenNoRoom::Pend {
            Ok(Place::Pends)
        } else {
            Err(Blocked::Unknown)
        };
    };
    match room.place(&planner.next_fleet().shape) {
        Ok(_) => Ok(Place::Any),
        // No node helps against a quota.
        Err(no_room) if planner.when_no_room() == WhenNoRoom::Pend && !no_room.quota => Ok(Place::Pends),
        Err(no_room) => Err(Blocked::NoRoom(no_room)),
    }
}

/// Recreate waits until nothing of an older revision is left that holds anything, pods that are ending included.
fn old_ones_exist(planner: &Planner<'_>) -> bool {
    let fleet = planner.fleet;
    let prefix = format!("{}-{}-", fleet.name, fleet.revision.pod);
    let observed = planner.inputs.observed.iter();
    let mut left = observed
        .filter(|(_, observed)| observed.cluster.is_some() || observed.pods.iter().any(ObservedPod::holds));
    // Of what the ledger has it says the revision, whatever its name: groups taken over keep theirs.
    let known = |name: &str| planner.groups.iter().any(|group| group.name == name);
    left.any(|(name, _)| !name.starts_with(&prefix) && !known(name))
        || planner.groups.iter().any(|group| revision_match(fleet, group) == RevisionMatch::PodsOutdated)
}

/// Enters a new group into the ledger: from here on its name is fixed.
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

/// Names that a new group must not have: of the ledger, just struck out of it, or still to be observed.
fn names_in_use<'b>(planner: &'b Planner<'_>) -> impl Iterator<Item = &'b str> {
    let observed = planner.inputs.observed.iter();
    let there = observed.filter(|(_, observed)| {
        observed.cluster.is_some() || !observed.pods.is_empty() || observed.taken.is_some()
    });
    let entries = planner.groups.iter().chain(planner.inputs.removed).map(|group| group.name.as_str());
    entries.chain(there.map(|(name, _)| name.as_str()))
}

/// The group that failed and that the new one stands in for: of the same revisions, on its way out or
/// just gone. Its failures go on counting, so that waits grow however often a group is recreated.
fn failed_before<'b>(planner: &'b Planner<'_>, fleet: &ValidFleet) -> Option<&'b GroupStatus> {
    let leaving = planner.groups.iter().filter(|group| !is_retained(group));
    let gone = leaving.chain(planner.inputs.removed);
    let failed =
        gone.filter(|group| group.failures > 0 && revision_match(fleet, group) == RevisionMatch::UpToDate);
    failed.max_by_key(|group| group.failures)
}
