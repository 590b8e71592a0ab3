//! The history and the Service of a fleet. Where one of them cannot be written, that costs a condition of its own: groups are looked
//! after all the same, and only a group of a revision that is not on record is not made.

use rayfleet_api::revision::Revision;
use rayfleet_api::status::{GroupStatus, RolloutStep};
use rayfleet_api::{RayClusterFleet, ValidFleet};

use super::FleetReconciler;
use super::effects::{Outcome, ReconcilePass};
use super::listeners::going_to;
use super::state::FleetState;
use super::write_failures::Object;
use crate::clock;
use crate::kubernetes::{History, HistoryChange, Key, Made, WriteError};

impl FleetReconciler {
    /// Keeps the history and the Service right.
    pub(super) async fn records(
        &self,
        pass: &ReconcilePass<'_>,
        state: &mut FleetState,
        outcome: &mut Outcome,
    ) {
        self.history(pass, state, outcome).await;
        self.service(pass, state, outcome).await;
    }

    /// Puts the revision that is asked for on record, before any group is given up for it; gives why that cannot be now.
    pub(super) async fn off_record(
        &self,
        raw: &RayClusterFleet,
        fleet: &ValidFleet,
        state: &mut FleetState,
    ) -> Result<Option<String>, WriteError> {
        let change = self.index.read(|known| History::new(fleet, &known.revisions).change(raw, &[]));
        if change.create.is_none() {
            return Ok(None);
        }
        if state.obstacles.is_due(&Object::History, clock::monotonic()) {
            let change = HistoryChange { create: change.create, ..HistoryChange::default() };
            let written = self.executor.write_history(fleet, change).await;
            let mut outcome = Outcome::default();
            self.came_to(raw, Object::History, written, state, &mut outcome);
            outcome.result()?;
        }
        Ok(state.obstacles.words(&Object::History))
    }

    async fn history(&self, pass: &ReconcilePass<'_>, state: &mut FleetState, outcome: &mut Outcome) {
        // What is refused is no revision to go back to, and what stands in for it is on record.
        let refused = [RolloutStep::InvalidSpec, RolloutStep::InvalidTemplate, RolloutStep::CreateRefused];
        let held = pass.basis.held.as_ref().is_some_and(|held| refused.contains(&held.reason));
        if held || !state.obstacles.is_due(&Object::History, clock::monotonic()) {
            return;
        }
        let run = pass.groups.iter().map(GroupStatus::revisions);
        // What a partition keeps and a rollback goes back to.
        let status = pass.raw.status.as_ref();
        let stable = status.and_then(|status| status.rollout.as_ref()?.stable.clone());
        let in_use: Vec<Revision> = run.chain(stable).collect();
        let fleet = &pass.basis.fleet;
        let change = self.index.read(|known| History::new(fleet, &known.revisions).change(pass.raw, &in_use));
        let written = self.executor.write_history(fleet, change).await;
        self.came_to(pass.raw, Object::History, written, state, outcome);
    }

    async fn service(&self, pass: &ReconcilePass<'_>, state: &mut FleetState, outcome: &mut Outcome) {
        if !state.obstacles.is_due(&Object::Service, clock::monotonic()) {
            return;
        }
        let (fleet, status) = (&pass.basis.fleet, pass.raw.status.clone().unwrap_or_default());
        let heads = self.listeners(fleet, pass.groups);
        let going_to = going_to(fleet, pass.stable, &status);
        let ensured = self.executor.ensure_service(fleet, &heads, going_to).await;
        self.came_to(pass.raw, Object::Service, ensured, state, outcome);
    }

    /// Notes what a write has come to, and reports it when that is new.
    fn came_to(
        &self,
        raw: &RayClusterFleet,
        object: Object,
        written: Result<Made, WriteError>,
        state: &mut FleetState,
        outcome: &mut Outcome,
    ) {
        let fleet = Key::of(raw);
        let (event, name) = if object == Object::Service {
            ("ServiceFailed", format!("Service {fleet}"))
        } else {
            ("HistoryFailed", format!("ControllerRevision {fleet}-…"))
        };
        let (event, reason, words) = match written {
            Ok(Made::Ours) => {
                outcome.reports_changed |= state.obstacles.over(&object);
                return;
            }
            Ok(Made::Taken(whose)) => {
                let event = if object == Object::Service { "ServiceExists" } else { event };
                let cure = "delete or rename it to let Rayfleet make its own";
                (event, "Exists", format!("{name} is there already and {whose}: it is left alone; {cure}"))
            }
            Err(error) if error.is_not_leader() || error.is_conflict() => return outcome.failed(error),
            Err(error) => (event, error.reason(), format!("{name} cannot be written: {}", error.words())),
        };
        let is_new = state.obstacles.met(object, reason, &words, false, clock::monotonic());
        if is_new {
            outcome.reports_changed = true;
            self.executor.record_event(raw, true, event, &words);
        }
    }
}
