//! New groups. Up to `replicas` they are always entered, even where they have to wait for room; above that
//! only when a whole group fits on the nodes.

use rayfleet_api::ValidFleet;
use rayfleet_api::names;
use rayfleet_api::spec::{MOST_GROUPS, StrategyType, WhenNoRoom};
use rayfleet_api::status::{GroupStatus, Phase};
use rayfleet_api::valid::after;

use super::board::{Board, count};
use super::view::{Age, active, age};
use super::{avoid, pend};
use crate::capacity::{NoRoom, Room};
use crate::seen::PodSeen;
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

pub(super) fn create(board: &mut Board<'_>) {
    let mut room = None;
    board.blocked = None;
    // A name that is reserved for what is refused would only be in the way of what comes next.
    if board.inputs.held.is_some_and(|held| !held.creates) {
        return;
    }
    while wanted(board) {
        if board.made == EACH_PASS {
            board.more = true;
            return;
        }
        match may_create(board, &mut room) {
            Ok(place) => reserve(board, place),
            Err(blocked) => {
                board.blocked = Some(blocked);
                return;
            }
        }
        board.made += 1;
    }
}

/// One more group is wanted: below `replicas` always, above when a rollout can use it.
fn wanted(board: &Board<'_>) -> bool {
    let replicas = board.fleet.replicas;
    let active = board.active_count();
    if active < replicas {
        return true;
    }
    let changed =
        |group: &&GroupStatus| board.age(group) != Age::OldPods && !board.kept.contains(&group.name);
    let current = count(board.active().filter(changed));
    let useful = if board.to_change(Age::OldPods).next().is_some() {
        current < board.current_target()
    } else {
        board.to_swap()
    };
    // A pause holds revisions, not groups on nodes that are to be emptied.
    let useful = useful && !board.fleet.paused || board.moves();
    active < replicas.saturating_add(board.surge()) && useful
}

/// Whether it may exist now.
fn may_create<'a>(board: &Board<'a>, room: &mut Option<Room<'a>>) -> Result<Place, Blocked> {
    let fleet = board.fleet;
    let recreate = fleet.strategy.kind == StrategyType::Recreate;
    if recreate && old_ones_exist(board) {
        return Err(Blocked::Leaving);
    }
    if board.existing_count() < fleet.replicas {
        return Ok(Place::Any);
    }
    let surge = if recreate { 0 } else { fleet.strategy.max_surge };
    // More groups would not fit into the status.
    if board.existing_count() >= fleet.replicas.saturating_add(surge).min(MOST_GROUPS) {
        return Err(Blocked::Leaving);
    }
    if room.is_none() {
        *room = board.room();
    }
    let Some(room) = room.as_mut() else {
        // Whoever lets groups pend leaves it to the cluster whether there is room.
        return if board.when_no_room() == WhenNoRoom::Pend {
            Ok(Place::Pends)
        } else {
            Err(Blocked::Unknown)
        };
    };
    match room.place(&board.next_fleet().shape) {
        Ok(_) => Ok(Place::Any),
        // No node helps against a quota.
        Err(no_room) if board.when_no_room() == WhenNoRoom::Pend && !no_room.quota => Ok(Place::Pends),
        Err(no_room) => Err(Blocked::NoRoom(no_room)),
    }
}

/// Recreate waits until nothing of an older revision is left that holds anything, pods that are ending included.
fn old_ones_exist(board: &Board<'_>) -> bool {
    let fleet = board.fleet;
    let prefix = format!("{}-{}-", fleet.name, fleet.revision.pod);
    let seen = board.inputs.seen.iter();
    let mut left = seen.filter(|(_, seen)| seen.cluster.is_some() || seen.pods.iter().any(PodSeen::holds));
    // Of what the ledger has it says the revision, whatever its name: groups taken over keep theirs.
    let known = |name: &str| board.groups.iter().any(|group| group.name == name);
    left.any(|(name, _)| !name.starts_with(&prefix) && !known(name))
        || board.groups.iter().any(|group| age(fleet, group) == Age::OldPods)
}

/// Enters a new group into the ledger: from here on its name is fixed.
fn reserve(board: &mut Board<'_>, place: Place) {
    let fleet = board.next_fleet();
    let now = board.inputs.now;
    let slot = board.take_slot();
    let attempt = ledger::next_attempt(fleet, slot, names_in_use(board));
    let failed = failed_before(board, fleet);
    let failures = failed.map_or(0, |group| group.failures);
    let retry = failed.map(|_| after(now, group::backoff(&fleet.failure, failures)));
    let reason = failed.map(|group| {
        let cause = group.goal_reason.as_deref().unwrap_or("failed");
        text::bounded(format!("stands in for {}: {cause}", group.name))
    });
    let avoid_nodes = avoid::for_new_group(board);
    let pend_until = (place == Place::Pends).then(|| time::not_before(pend::until(board)));
    let name = names::group_name(&fleet.name, &fleet.revision.pod, slot, attempt);
    if fleet.revision != board.fleet.revision {
        board.kept.insert(name.clone());
    }
    board.groups.push(GroupStatus {
        name,
        slot,
        attempt,
        revision: fleet.revision.pod.clone(),
        engine_revision: fleet.revision.engine.clone(),
        phase: Phase::Pending,
        since: Some(time::began(now)),
        failures,
        retry_after: retry.map(time::not_before),
        goal_reason: reason,
        avoid_nodes,
        pend_until,
        ..GroupStatus::default()
    });
    board.groups.sort_by(|a, b| (a.slot, a.attempt, &a.name).cmp(&(b.slot, b.attempt, &b.name)));
}

/// Names that a new group must not have: of the ledger, just struck out of it, or still to be seen.
fn names_in_use<'b>(board: &'b Board<'_>) -> impl Iterator<Item = &'b str> {
    let seen = board.inputs.seen.iter();
    let there =
        seen.filter(|(_, seen)| seen.cluster.is_some() || !seen.pods.is_empty() || seen.taken.is_some());
    let entries = board.groups.iter().chain(board.inputs.removed).map(|group| group.name.as_str());
    entries.chain(there.map(|(name, _)| name.as_str()))
}

/// The group that failed and that the new one stands in for: of the same revisions, on its way out or
/// just gone. Its failures go on counting, so that waits grow however often a group is recreated.
fn failed_before<'b>(board: &'b Board<'_>, fleet: &ValidFleet) -> Option<&'b GroupStatus> {
    let leaving = board.groups.iter().filter(|group| !active(group));
    let gone = leaving.chain(board.inputs.removed);
    let failed = gone.filter(|group| group.failures > 0 && age(fleet, group) == Age::Current);
    failed.max_by_key(|group| group.failures)
}
