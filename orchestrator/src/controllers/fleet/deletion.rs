//! The end of a fleet. Its finalizer keeps it until its groups have drained, for `drain.timeout` and a little more at most; what
//! is left then goes with it, by Kubernetes' garbage collector.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use rayfleet_api::valid::after;
use rayfleet_api::{RayClusterFleet, names};
use tracing::{info, warn};

use super::foreign_control::ForeignControl;
use super::foreign_owner::ForeignOwner;
use super::state::FleetState;
use super::{FleetReconciler, readable};
use crate::clock;
use crate::kubernetes::{Key, WriteError, groups_of, orphans_of, owned_clusters};

/// What a drain needs beside its time-out: endpoints that follow, engines that stop, pods that end.
const MARGIN: Duration = Duration::from_mins(2);
/// Time until a finalizer that could not be set is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// Drain of a fleet of which nobody knows how long it may drain.
pub(super) const LONGEST_UNKNOWN: Duration = Duration::from_mins(10);
/// Time until a fleet of which nothing is left is looked at once more, to let it go.
const SOON: Duration = Duration::from_secs(1);
/// The finalizer of `kubectl delete --cascade=orphan`: the groups are to stay.
const ORPHAN: &str = "orphan";

impl FleetReconciler {
    /// Sees to it that the fleet is not gone before it has drained. Says whether the fleet was changed by that.
    pub(super) async fn hold(
        &self,
        stored: &RayClusterFleet,
        state: &mut FleetState,
    ) -> Result<bool, WriteError> {
        let now = clock::monotonic();
        if is_held(stored) || skips(stored) {
            return Ok(false);
        }
        if state.unheld.is_some_and(|failed| now.saturating_duration_since(failed) < TRY_AGAIN) {
            return Ok(false);
        }
        let mut finalizers = stored.finalizers().to_vec();
        finalizers.push(names::FINALIZER.to_owned());
        let is_set = match self.executor.set_finalizers(stored, &finalizers).await {
            Err(error) if error.is_conflict() => return Err(error),
            Err(error) => {
                // No reason to leave the groups alone: the fleet only can be deleted without a drain.
                warn!(%error, "the finalizer could not be set");
                false
            }
            Ok(is_set) => is_set,
        };
        if !is_set {
            state.unheld = Some(now);
        }
        Ok(is_set)
    }

    /// One look at a fleet that is being deleted. While its ledger is not kept, nothing can be drained by it: its gates are looked after
    /// from memory, and the fleet goes when its time is over.
    pub(super) async fn leave_among_others(
        &self,
        stored: &Arc<RayClusterFleet>,
        others: &mut ForeignControl,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        let raw = others.restored(state.pending_status.overlay(readable(stored)));
        if !is_held(stored) {
            return Ok(None);
        }
        // An answer that does not come is no reason to keep a fleet for ever.
        let answer = self.others(stored, others).await;
        let is_alone = matches!(answer, Ok(None));
        let owner = answer.ok().flatten().filter(ForeignOwner::loses_fields);
        if let Some(owner) = owner.as_ref().filter(|_| others.foreign) {
            let end = end(stored, others.drain_timeout(stored));
            return match may_go(stored, true, end, clock::now()) {
                Some(why) => self.release(stored, why).await,
                None => {
                    Ok(Some(self.keep_gates(stored, owner, others).await?.map_or(end, |wake| wake.min(end))))
                }
            };
        }
        // Nobody applies the manifest of a fleet again that is to go: what it has lost is in memory, and its ledger is kept again.
        let raw = if owner.is_some() { others.with_lost_fields(raw) } else { raw };
        let outcome = self.leave(stored, raw, state).await;
        if is_alone && outcome.is_ok() {
            self.remember(stored, others);
        } else if owner.is_some() && outcome.is_ok() {
            let key = Key::of(&**stored);
            others.remember_status(self.index.read(|known| known.fleets.get(&key).cloned()).as_deref());
        }
        outcome
    }

    /// One look at a fleet that is being deleted and held.
    async fn leave(
        &self,
        stored: &RayClusterFleet,
        raw: RayClusterFleet,
        state: &mut FleetState,
    ) -> Result<Option<Timestamp>, WriteError> {
        // The garbage collector may have let them go before anybody looked here: they are not this fleet's to drain.
        if self.index.read(|known| !orphans_of(known, &raw).is_empty()) {
            return self.release(stored, "its groups were left").await;
        }
        // A spec that is refused is no reason to cut requests off: what stands in for it is drained.
        let Ok(basis) = self.basis(&raw, state).await? else {
            return self.release(stored, "nothing valid is known of it").await;
        };
        let there = self.index.read(|known| groups_of(known, &raw));
        let left = raw.status.as_ref().is_some_and(|status| !status.groups.is_empty())
            || there.values().any(|(observed, _)| observed.cluster.is_some());
        let end = end(stored, basis.fleet.drain_timeout);
        if let Some(why) = may_go(stored, left, end, clock::now()) {
            return self.release(stored, why).await;
        }
        let wake = Box::pin(self.work(stored, raw, &basis, state)).await?;
        // Nothing need happen any more that would have the fleet looked at.
        let wake = if self.is_empty(stored) { Some(after(clock::now(), SOON)) } else { wake };
        Ok(Some(wake.map_or(end, |wake| wake.min(end))))
    }

    /// Nothing is left of its groups, as this pass has written it.
    fn is_empty(&self, stored: &RayClusterFleet) -> bool {
        self.index.read(|known| {
            let ledger = known.fleets.get(&Key::of(stored)).and_then(|fleet| fleet.status.as_ref());
            ledger.is_none_or(|status| status.groups.is_empty()) && owned_clusters(known, stored).is_empty()
        })
    }

    async fn release(&self, stored: &RayClusterFleet, why: &str) -> Result<Option<Timestamp>, WriteError> {
        info!(why, "the fleet may go");
        let mut finalizers = stored.finalizers().to_vec();
        finalizers.retain(|finalizer| finalizer != names::FINALIZER);
        self.executor.set_finalizers(stored, &finalizers).await?;
        Ok(None)
    }
}

/// When a fleet that is being deleted goes, whatever is left of it.
fn end(fleet: &RayClusterFleet, drain: Duration) -> Timestamp {
    let started = fleet.metadata.deletion_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    after(started, drain.saturating_add(MARGIN))
}

/// Why a fleet that is being deleted need not be kept, if so. `left`: there are groups of it.
fn may_go(fleet: &RayClusterFleet, left: bool, end: Timestamp, now: Timestamp) -> Option<&'static str> {
    if skips(fleet) {
        Some("its annotation says not to drain")
    } else if fleet.finalizers().iter().any(|finalizer| finalizer == ORPHAN) {
        Some("its groups are to be left")
    } else if end <= now {
        Some("the time to drain is over")
    } else if !left {
        Some("its groups are gone")
    } else {
        None
    }
}

fn is_held(fleet: &RayClusterFleet) -> bool {
    fleet.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
}

fn skips(fleet: &RayClusterFleet) -> bool {
    fleet.annotations().get(names::ANNOTATION_SKIP_DRAIN).is_some_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::raw_fleet;

    fn deleted(edit: impl FnOnce(&mut RayClusterFleet)) -> RayClusterFleet {
        let mut fleet = raw_fleet();
        fleet.metadata.deletion_timestamp = serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap();
        fleet.finalizers_mut().push(names::FINALIZER.to_owned());
        edit(&mut fleet);
        fleet
    }

    #[test]
    fn a_deleted_fleet_is_kept_while_groups_are_left_and_no_longer_than_its_drain_may_take() {
        let fleet = deleted(|_| {});
        let end = end(&fleet, Duration::from_mins(10));
        assert_eq!(end.to_string(), "2026-01-01T00:12:00Z");
        let before = after(Timestamp::UNIX_EPOCH, Duration::from_secs(1));
        assert_eq!(may_go(&fleet, true, end, before), None);
        assert!(may_go(&fleet, false, end, before).is_some());
        assert!(may_go(&fleet, true, end, end).is_some());
    }

    #[test]
    fn a_fleet_that_is_not_to_drain_or_leaves_its_groups_goes_at_once() {
        let now = Timestamp::UNIX_EPOCH;
        let at_once = |fleet: &RayClusterFleet| may_go(fleet, true, Timestamp::MAX, now).is_some();
        assert!(!at_once(&deleted(|_| {})));
        assert!(at_once(&deleted(|fleet| fleet.finalizers_mut().push(ORPHAN.to_owned()))));
        let skip = |value: &str| {
            let value = value.to_owned();
            deleted(|fleet| {
                drop(fleet.annotations_mut().insert(names::ANNOTATION_SKIP_DRAIN.to_owned(), value));
            })
        };
        assert!(at_once(&skip("true")) && !at_once(&skip("false")));
    }
}
