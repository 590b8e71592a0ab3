//! What is decided about: the fleet as it is asked for, or, where that is refused, the last of its revisions that was not. A refusal
//! holds the change, never the care of what is there.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use rayfleet_api::revision::Revision;
use rayfleet_api::{RayClusterFleet, ValidFleet};
use rayfleet_core::HoldReason;

use super::FleetReconciler;
use super::state::FleetState;
use crate::kubernetes::{KubeRay, Records, WriteError};
use crate::refusal;

/// What is decided about.
#[derive(Clone, Debug)]
pub(super) struct TargetSpec {
    /// The fleet.
    pub(super) fleet: Arc<ValidFleet>,
    /// Why it does not become what it asks for, if so.
    pub(super) held: Option<HoldReason>,
}

impl FleetReconciler {
    /// What is to be decided about; the refusal, if of all that the fleet ever asked for nothing valid is known.
    pub(super) async fn basis(
        &self,
        raw: &RayClusterFleet,
        state: &mut FleetState,
    ) -> Result<Result<TargetSpec, HoldReason>, WriteError> {
        let fleet = match state.checked.fleet(raw) {
            Ok(fleet) => fleet,
            Err(problems) => return Ok(self.stand_in(raw, state, refusal::invalid(&problems), None)),
        };
        let problems = fleet.launch_problems();
        if !problems.is_empty() {
            return Ok(self.stand_in(raw, state, refusal::invalid(&problems), Some(fleet)));
        }
        if let Some(held) = self.no_kuberay() {
            return Ok(Ok(TargetSpec { fleet, held: Some(held) }));
        }
        // What runs needs no leave, and a quota or a policy of today says nothing about it.
        if runs(raw, &fleet.revision) {
            return Ok(Ok(TargetSpec { fleet, held: None }));
        }
        if let Ok(meanwhile) =
            self.stand_in(raw, state, refusal::not_now("its template is being checked"), None)
        {
            self.close_gates_of_the_dead(raw, &meanwhile).await;
        }
        let held = match state.templates.check(&self.executor, &self.admitted, &fleet).await? {
            Some(held) => held,
            None => match self.off_record(raw, &fleet, state).await? {
                None => return Ok(Ok(TargetSpec { fleet, held: None })),
                Some(words) => refusal::not_now(&words),
            },
        };
        Ok(self.stand_in(raw, state, held, Some(fleet)))
    }

    fn no_kuberay(&self) -> Option<HoldReason> {
        match self.index.read(|known| known.kuberay.clone()) {
            KubeRay::Missing(words) => Some(refusal::no_kuberay(&words)),
            KubeRay::Unknown | KubeRay::Installed => None,
        }
    }

    /// The fleet at the revision that was complete last, or at one that groups run, in place of one that is refused. Else what can be
    /// read of it: then what is there is looked after, and nothing is made.
    fn stand_in(
        &self,
        raw: &RayClusterFleet,
        state: &mut FleetState,
        held: HoldReason,
        refused: Option<Arc<ValidFleet>>,
    ) -> Result<TargetSpec, HoldReason> {
        let creates = self.no_kuberay().is_none();
        let asked = refused.as_ref().map(|fleet| &fleet.revision);
        let known = known_revisions(raw).into_iter().filter(|revision| Some(revision) != asked);
        let found = self.index.read(|index| {
            let records = Records::of(raw, &index.revisions);
            known.into_iter().find_map(|revision| state.checked.at(&records, raw, &revision))
        });
        if let Some(fleet) = found {
            return Ok(TargetSpec { fleet, held: Some(HoldReason { creates, ..held }) });
        }
        let generation = raw.metadata.generation.unwrap_or_default();
        let before =
            || state.checked.last_valid().map(|fleet| ValidFleet { generation, ..(**fleet).clone() });
        match refused.or_else(|| before().map(Arc::new)) {
            Some(fleet) => Ok(TargetSpec { fleet, held: Some(HoldReason { creates: false, ..held }) }),
            None => Err(held),
        }
    }
}

/// Whether a group of this template is there.
fn runs(raw: &RayClusterFleet, revision: &Revision) -> bool {
    let groups = raw.status.iter().flat_map(|status| &status.groups);
    groups.filter(|group| group.uid.is_some()).any(|group| group.revision == revision.pod)
}

/// Revisions that were good for something: the one that was complete last, then those of groups, most of them first.
fn known_revisions(raw: &RayClusterFleet) -> Vec<Revision> {
    let Some(status) = &raw.status else { return Vec::new() };
    let mut groups: BTreeMap<Revision, usize> = BTreeMap::new();
    for group in status.groups.iter().filter(|group| group.uid.is_some()) {
        *groups.entry(group.revisions()).or_default() += 1;
    }
    let mut of_groups: Vec<(Revision, usize)> = groups.into_iter().collect();
    of_groups.sort_by_key(|(_, count)| Reverse(*count));
    let stable = status.rollout.as_ref().and_then(|rollout| rollout.stable.clone());
    stable.into_iter().chain(of_groups.into_iter().map(|(revision, _)| revision)).collect()
}
