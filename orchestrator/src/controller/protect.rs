//! `PodDisruptionBudgets` of a fleet: kept right after all else, as nothing waits for them.

use std::collections::BTreeMap;
use std::time::Duration;

use rayfleet_api::status::GroupStatus;
use rayfleet_api::{RayClusterFleet, ValidFleet};
use rayfleet_core::observed::ObservedGroup;

use super::Controller;
use super::state::FleetState;
use crate::clock;
use crate::kubernetes::{Budgets, wanted_budgets};

/// Time until budgets that could not be written are tried again.
const TRY_AGAIN: Duration = Duration::from_mins(1);

impl Controller {
    /// Lets `kubectl drain` wait for groups that serve, and for no others.
    pub(super) async fn protect(
        &self,
        raw: &RayClusterFleet,
        fleet: &ValidFleet,
        groups: &[GroupStatus],
        observed: &BTreeMap<String, ObservedGroup>,
        state: &mut FleetState,
    ) {
        let now = clock::monotonic();
        let wanted = wanted_budgets(raw, fleet, groups, observed);
        let change = self.index.read(|known| Budgets::change(fleet, &wanted, known));
        if change == Budgets::default() {
            return;
        }
        if state.unprotected.is_some_and(|failed| now.saturating_duration_since(failed) < TRY_AGAIN) {
            return;
        }
        if let Err(error) = self.executor.write_budgets(fleet, change).await {
            state.unprotected = Some(now);
            if error.is_conflict() || error.is_not_leader() {
                return;
            }
            let message = format!(
                "the PodDisruptionBudgets of groups that serve cannot be written, so `kubectl drain` does not wait for \
                 them: {}; give the orchestrator the right to poddisruptionbudgets, or set the annotation \
                 rayfleet.io/disruption-budget: \"false\"",
                error.words()
            );
            self.executor.tell(raw, true, "BudgetFailed", &message);
        }
    }
}
