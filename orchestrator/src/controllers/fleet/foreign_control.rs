//! Fleets that another controller or CRD changes: AIBrix's CRD in the place of ours, which drops the ledger from whatever is written, and AIBrix's own
//! controller. Then nothing is changed and nothing written; the gates of what this replica knew are looked after from memory. What was lost
//! is noticed before anything is decided from it. Taking over what AIBrix made, once its user says so, begins here too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use rayfleet_api::spec::RayClusterFleetSpec;
use rayfleet_api::{RayClusterFleet, ValidFleet, names};
use rayfleet_core::{Effect, ReconcileInput, decide};
use tracing::warn;

use super::deletion::LONGEST_UNKNOWN;
use super::effects::Outcome;
use super::foreign_owner::ForeignOwner;
use super::{FleetReconciler, split};
use crate::clock;
use crate::kubernetes::{Key, Records, Snapshot, WriteError, groups_of, owned_clusters};

/// Time until somebody is asked again whether the others have gone.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// What is known of other controllers on one fleet.
#[derive(Debug, Default)]
pub(super) struct ForeignControl {
    /// The fleet as it was when nobody else had touched it, or as its history has it, and since then as it is looked after.
    whole: Option<Arc<RayClusterFleet>>,
    /// Why nothing is done, and when that was found.
    held: Option<(ForeignOwner, Instant)>,
    /// Generation and consent when the API server was asked last, and how it answered.
    asked: Option<(Option<i64>, bool)>,
    answer: Answer,
    /// The answer to a write lacked the ledger.
    pub(super) doubt: bool,
    /// AIBrix's CRD was there when that was asked last.
    pub(super) foreign: bool,
    /// The newest generation that may have lost fields to it.
    pruned: Option<i64>,
}

/// Who was answered when it was asked for RayClusterReplicaSets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    /// This fleet.
    #[default]
    Own,
    /// Another fleet, a while ago.
    Shared,
    /// Nobody; asked at this time.
    Failed(Instant),
}

impl ForeignControl {
    /// A write met a version that this replica did not know: somebody else may have acted on the fleet since it was asked.
    pub(super) fn forget_answer(&mut self) {
        self.asked = None;
    }

    /// When somebody is asked again although nothing changes.
    pub(super) fn ask_again(&self) -> Option<Timestamp> {
        matches!(self.answer, Answer::Failed(_)).then(|| rayfleet_api::valid::after(clock::now(), AGAIN))
    }

    /// A pass over a fleet that nobody else had touched has ended; `owns`: RayClusters of it are there. What this program wrote counts, an
    /// empty ledger too. What came meanwhile from others, a spec or a ledger that is none, is for the next pass to look at.
    pub(super) fn remember(
        &mut self,
        began: &Arc<RayClusterFleet>,
        ended: &Arc<RayClusterFleet>,
        owns: bool,
    ) {
        let is_same =
            Arc::ptr_eq(began, ended) || began.metadata.uid == ended.metadata.uid && began.spec == ended.spec;
        let lost = is_bare(ended) && !is_bare(began) && owns;
        self.whole = Some(if is_same && !lost { ended.clone() } else { began.clone() });
    }

    /// What is stored elsewhere of a fleet whose ledger is gone and that this replica never saw whole: its history has template and
    /// model. Its groups are found by the labels of their RayClusters, and what they run by their gates.
    fn recollect(&mut self, stored: &RayClusterFleet, records: &Records<'_>) {
        if self.known(stored).is_none() {
            self.whole = records.newest(stored).map(Arc::new);
        }
    }

    /// The fleet as it was before others touched it.
    fn known(&self, stored: &RayClusterFleet) -> Option<&Arc<RayClusterFleet>> {
        self.whole.as_ref().filter(|whole| whole.metadata.uid == stored.metadata.uid)
    }

    /// How long the fleet may drain, as it said before others touched it; ten minutes if that is not known.
    pub(super) fn drain_timeout(&self, stored: &RayClusterFleet) -> Duration {
        let known = self.known(stored).and_then(|whole| ValidFleet::recorded(whole).ok());
        known.map_or(LONGEST_UNKNOWN, |fleet| fleet.drain_timeout)
    }

    /// The ledger is gone that this replica knows.
    fn lost_ledger(&self, stored: &RayClusterFleet) -> bool {
        self.known(stored).is_some_and(|whole| !is_bare(whole) && is_bare(stored))
    }

    /// The ledger as this replica knew it, where somebody else's write has dropped it.
    pub(super) fn restored(&self, mut raw: RayClusterFleet) -> RayClusterFleet {
        if self.lost_ledger(&raw) {
            raw.status = self.known(&raw).and_then(|whole| whole.status.clone());
        }
        raw
    }

    /// A fleet that has lost fields, with those that are remembered.
    pub(super) fn with_lost_fields(&self, mut raw: RayClusterFleet) -> RayClusterFleet {
        if let Some(whole) = self.known(&raw) {
            raw.spec = whole.spec.clone();
        }
        raw
    }

    /// What this program has written of a fleet that has lost fields is no loss.
    pub(super) fn remember_status(&mut self, written: Option<&RayClusterFleet>) {
        if let Some((whole, written)) = self.whole.as_mut().zip(written) {
            Arc::make_mut(whole).status.clone_from(&written.status);
        }
    }

    /// Fields that AIBrix's CRD does not have, and that are gone without anybody having taken them out.
    fn lost_fields(&self, stored: &RayClusterFleet) -> Vec<&'static str> {
        let Some(whole) = self.known(stored) else { return Vec::new() };
        let generation = stored.metadata.generation;
        if generation != whole.metadata.generation && generation > self.pruned {
            return Vec::new();
        }
        let pairs = fields(&whole.spec).into_iter().zip(fields(&stored.spec));
        pairs.filter(|((_, before), (_, now))| *before && !now).map(|((name, _), _)| name).collect()
    }
}

fn is_bare(fleet: &RayClusterFleet) -> bool {
    fleet.status.as_ref().is_none_or(|status| status.groups.is_empty())
}

/// Fields of the spec that AIBrix's CRD does not have, and whether they are set.
fn fields(spec: &RayClusterFleetSpec) -> [(&'static str, bool); 6] {
    let strategy = spec.strategy.as_ref();
    [
        ("spec.model", spec.model.is_some()),
        ("spec.drain", spec.drain.is_some()),
        ("spec.failurePolicy", spec.failure_policy.is_some()),
        ("spec.strategy.whenNoRoom", strategy.is_some_and(|strategy| strategy.when_no_room.is_some())),
        ("spec.strategy.pendTimeout", strategy.is_some_and(|strategy| strategy.pend_timeout.is_some())),
        ("spec.strategy.onFailure", strategy.is_some_and(|strategy| strategy.on_failure.is_some())),
    ]
}

/// Whether the fleet's user lets its RayClusterReplicaSets be taken over.
fn consents(fleet: &RayClusterFleet) -> bool {
    fleet.annotations().get(names::ANNOTATION_TAKE_OVER).is_some_and(|value| value == "true")
}

impl FleetReconciler {
    /// Who else controls a fleet, and the cure. RayClusters that its user lets be taken over are taken over here.
    pub(super) async fn others(
        &self,
        stored: &RayClusterFleet,
        others: &mut ForeignControl,
    ) -> Result<Option<ForeignOwner>, WriteError> {
        let now = clock::monotonic();
        let owns = is_bare(stored) && !self.index.read(|known| owned_clusters(known, stored)).is_empty();
        if owns {
            self.index.read(|known| others.recollect(stored, &Records::of(stored, &known.revisions)));
        }
        let lost = others.doubt
            || others.foreign
            || owns
            || others.lost_ledger(stored)
            || !others.lost_fields(stored).is_empty();
        let asks = (stored.metadata.generation, consents(stored));
        let due = match &others.held {
            Some((_, since)) => now.saturating_duration_since(*since) >= AGAIN,
            None => {
                lost || matches!(others.answer, Answer::Failed(at) if now.saturating_duration_since(at) >= AGAIN)
            }
        };
        if !due && others.answer != Answer::Shared && others.asked == Some(asks) {
            return Ok(others.held.as_ref().map(|(owner, _)| owner.clone()));
        }
        // What another fleet's question found may be older than AIBrix. It is good enough for a fleet without a status: AIBrix can act on
        // a new fleet just after any question as well, and the question is asked again.
        let asks_itself = lost
            || others.held.is_some()
            || others.asked.map_or_else(|| stored.status.is_some(), |before| before != asks);
        let (found, answer) = self.look_for_others(stored, lost, asks_itself, others).await?;
        (others.asked, others.answer) = (Some(asks), answer);
        let known = others.held.take().map(|(owner, _)| owner);
        if let Some(owner) = found.as_ref().filter(|owner| known.as_ref() != Some(*owner)) {
            warn!(reason = owner.reason, message = %owner.message, "another controller or CRD changes this fleet");
            self.executor.record_event(stored, true, owner.reason, &owner.message);
        }
        others.held = found.clone().map(|owner| (owner, now));
        Ok(found)
    }

    async fn look_for_others(
        &self,
        stored: &RayClusterFleet,
        lost: bool,
        asks_itself: bool,
        others: &mut ForeignControl,
    ) -> Result<(Option<ForeignOwner>, Answer), WriteError> {
        let (sets, answer) = match self.executor.replica_sets(stored, asks_itself).await {
            Ok(Some(sets)) => (sets, Answer::Own),
            Ok(None) => (Vec::new(), Answer::Shared),
            Err(error) => {
                let held = others.held.as_ref().map(|(owner, _)| owner.clone());
                if let Some(owner) = held.filter(|owner| !owner.loses_fields()) {
                    warn!(%error, "RayClusterReplicaSets cannot be listed; those that were known are assumed");
                    return Ok((Some(owner), Answer::Failed(clock::monotonic())));
                }
                if error.status().is_some_and(|status| status.code == 403) {
                    (Vec::new(), Answer::Own)
                } else if is_bare(stored) {
                    // What serves is looked after whatever else fails; of a fleet without groups nothing is made before this is known.
                    return Err(error);
                } else {
                    warn!(%error, "RayClusterReplicaSets cannot be listed; none is assumed");
                    (Vec::new(), Answer::Failed(clock::monotonic()))
                }
            }
        };
        if let Some(set) = sets.first() {
            if !consents(stored) {
                return Ok((Some(ForeignOwner::of_aibrix(&stored.name_any(), &set.name_any())), answer));
            }
            // One that is being deleted was made before.
            let newest = sets.iter().find(|set| set.metadata.deletion_timestamp.is_none());
            if let Some(set) = newest.filter(|set| self.is_made_again(stored, set)) {
                return Ok((Some(ForeignOwner::still_of_aibrix(&set.name_any())), answer));
            }
            self.executor.take_over(stored, &sets).await?;
        }
        if lost {
            let ours = self.executor.keeps_ledger(stored).await?;
            if others.foreign && ours {
                others.pruned = stored.metadata.generation;
            }
            (others.foreign, others.doubt) = (!ours, false);
            if !ours {
                return Ok((Some(ForeignOwner::foreign_crd()), answer));
            }
        }
        let gone = others.lost_fields(stored);
        Ok(((!gone.is_empty()).then(|| ForeignOwner::lost_fields(&gone)), answer))
    }

    /// Whether a RayClusterReplicaSet is younger than a RayCluster of the fleet's own: then AIBrix's controller made it beside us.
    fn is_made_again(&self, fleet: &RayClusterFleet, set: &DynamicObject) -> bool {
        let owned = self.index.read(|known| owned_clusters(known, fleet));
        owned.into_iter().flatten().min().is_some_and(|oldest| {
            set.metadata.creation_timestamp.as_ref().is_some_and(|created| created.0 > oldest)
        })
    }

    /// Keeps the gates of a fleet that others control, as it was known, and does nothing else.
    pub(super) async fn keep_gates(
        &self,
        stored: &RayClusterFleet,
        owner: &ForeignOwner,
        others: &mut ForeignControl,
    ) -> Result<Option<Timestamp>, WriteError> {
        self.index.unprotect(&Key::of(stored));
        let again = rayfleet_api::valid::after(clock::now(), AGAIN);
        let before = stored.status.clone().unwrap_or_default();
        if let Some(status) = owner.status(&before, clock::now()) {
            self.executor.write_status(stored, status).await?;
        }
        let key = Key::of(stored);
        let Some(mut raw) = others.known(stored).map(|whole| RayClusterFleet::clone(whole)) else {
            return Ok(Some(again));
        };
        let Ok(fleet) = ValidFleet::recorded(&raw) else { return Ok(Some(again)) };
        // Nothing is on its way anywhere while nothing can be written.
        let fleet = ValidFleet { paused: true, ..fleet };
        let before = raw.status.clone().unwrap_or_default();
        let (observed, agents, capacity) = self.index.read(|known| {
            let (observed, agents) = split(groups_of(known, &raw));
            (observed, agents, Snapshot::of(known, &fleet))
        });
        let world = ReconcileInput {
            fleet: &fleet,
            stable: None,
            held: None,
            failed_writes: &[],
            status: &before,
            groups: &observed,
            capacity: capacity.as_ref().map(|capacity| capacity as _),
            now: clock::now(),
        };
        let decision = decide(&world);
        self.executor.writer.may("look after engines")?;
        self.assign(&key, &fleet, &decision.status.groups, &agents);
        // A group that drains goes by a decision, which would have to be written first.
        let may_be_set = |effect: &Effect| {
            matches!(effect, Effect::SetGate { open: true, .. }) || effect.ends_traffic_of_the_dead()
        };
        let gates = decision.effects.into_iter().filter(may_be_set).collect();
        let mut outcome = Outcome::default();
        self.together(&key, gates, &mut outcome).await;
        raw.status = Some(decision.status);
        others.whole = Some(Arc::new(raw));
        outcome.result()?;
        Ok(decision.wake.into_iter().chain([again]).min())
    }
}

#[cfg(test)]
mod tests {
    use rayfleet_api::RayClusterFleetStatus;
    use rayfleet_api::status::GroupStatus;

    use super::*;
    use crate::fixtures::raw_fleet;

    fn fleet(groups: usize, edit: impl FnOnce(&mut RayClusterFleet)) -> Arc<RayClusterFleet> {
        let mut fleet = raw_fleet();
        let groups = vec![GroupStatus::default(); groups];
        fleet.status = Some(RayClusterFleetStatus { groups, ..RayClusterFleetStatus::default() });
        edit(&mut fleet);
        Arc::new(fleet)
    }

    /// Groups and model that are remembered after a pass over a fleet with two groups and a model.
    fn remembered(ended: &Arc<RayClusterFleet>, owns: bool) -> (usize, bool) {
        let mut others = ForeignControl::default();
        others.remember(&fleet(2, |_| {}), ended, owns);
        let whole = others.whole.unwrap();
        (whole.status.as_ref().unwrap().groups.len(), whole.spec.model.is_some())
    }

    #[test]
    fn a_ledger_that_this_program_has_written_is_remembered_an_empty_one_too() {
        assert_eq!(remembered(&fleet(3, |_| {}), true), (3, true));
        assert_eq!(remembered(&fleet(0, |_| {}), false), (0, true));
    }

    #[test]
    fn fields_dropped_during_a_pass_are_remembered() {
        assert_eq!(remembered(&fleet(0, |_| {}), true), (2, true), "its RayClusters are there");
        assert_eq!(remembered(&fleet(0, |fleet| fleet.spec.model = None), false), (2, true));
    }
}
