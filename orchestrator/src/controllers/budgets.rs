//! `PodDisruptionBudgets`: they let `kubectl drain` wait for groups that are to be held, and for no others. Which those are is decided
//! in the passes over their fleets; nothing there waits for what is written here.

mod plan;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use kube::ResourceExt;
use rayfleet_api::{RayClusterFleet, names};
use rayfleet_runtime::{Next, Queue, Reconciler, WriteError};
use tracing::{Span, info_span};

use self::plan::Budgets;
use crate::kubernetes::{Executor, Index, Key};

/// The controller of `PodDisruptionBudgets`.
pub(crate) struct BudgetReconciler {
    index: Arc<Index>,
    executor: Executor,
}

impl BudgetReconciler {
    /// A controller that has looked at nothing yet.
    pub(crate) fn new(index: Arc<Index>, executor: Executor) -> Self {
        Self { index, executor }
    }
}

impl Reconciler for BudgetReconciler {
    /// The fleet.
    type Key = Key;
    /// Why its budgets could not be written, as it was reported.
    type State = Option<String>;
    const PARALLEL: usize = 16;

    fn queue(&self) -> &Queue<Key> {
        &self.index.budget_queue
    }

    fn span(key: &Key) -> Span {
        info_span!("budgets", fleet = %key)
    }

    async fn reconcile(&self, key: &Key, reported: &mut Option<String>) -> Result<Next, WriteError> {
        let (wanted, fleet) = self.index.read(|store| {
            let wanted = store.protected.get(key);
            (
                wanted.map(|wanted| (wanted.fleet.clone(), Budgets::change(wanted, store))),
                store.fleets.get(key).cloned(),
            )
        });
        let fleet = fleet.filter(|fleet| !is_let_go(fleet));
        let Some(((valid, change), fleet)) = wanted.zip(fleet) else { return Ok(Next::Gone) };
        let written = if change == Budgets::default() { Ok(()) } else { self.write(&valid, change).await };
        let Err(error) = written else {
            *reported = None;
            return Ok(Next::WhenMarked);
        };
        let words = error.words();
        if !error.is_conflict() && !error.is_not_leader() && reported.as_ref() != Some(&words) {
            let message = format!(
                "the PodDisruptionBudgets of groups that serve cannot be written, so `kubectl drain` does not wait for \
                 them: {words}; give the orchestrator the right to poddisruptionbudgets, or set the annotation \
                 rayfleet.io/disruption-budget: \"false\""
            );
            self.executor.record_event(&fleet, true, "BudgetFailed", &message);
            *reported = Some(words);
        }
        Err(error)
    }

    /// The passes over the fleets mark what there is to do; some may have been before this.
    fn leads(&self) {
        self.index.mark_protected();
    }
}

/// It goes, and what is left of it is for the garbage collector to delete, or to leave without an owner (`--cascade=orphan`): groups that
/// stay keep their budgets.
fn is_let_go(fleet: &RayClusterFleet) -> bool {
    let has = |wanted: &str| fleet.finalizers().iter().any(|finalizer| finalizer == wanted);
    fleet.metadata.deletion_timestamp.is_some() && (has("orphan") || !has(names::FINALIZER))
}
