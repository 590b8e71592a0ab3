//! What this replica remembers of each fleet from one pass to the next, in one place: it is all forgotten with the fleet, with the lease,
//! and with a pass that panicked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::foreign_control::ForeignControl;
use super::strays::Strays;
use super::template_dry_run::TemplateDryRun;
use super::validation_cache::ValidationCache;
use super::write_failures::WriteFailures;
use crate::kubernetes::Key;
use crate::pending_status::PendingStatus;

/// What is remembered of one fleet. Nothing in it is needed for being right, but that it was read.
#[derive(Debug, Default)]
pub(super) struct FleetState {
    /// Its ledger has been read from the API server itself since this replica leads.
    pub(super) is_fresh: bool,
    /// Generation of its spec in the pass before.
    pub(super) generation: Option<Option<i64>>,
    /// Its status, where that waits for a write.
    pub(super) unwritten: PendingStatus,
    /// Its template that KubeRay's CRD was asked about.
    pub(super) templates: TemplateDryRun,
    /// The fleet as it was checked.
    pub(super) checked: ValidationCache,
    /// What could not be written.
    pub(super) obstacles: WriteFailures,
    /// Pods that only look like its groups', as they were reported last.
    pub(super) strays: Strays,
    /// When its finalizer could not be set.
    pub(super) unheld: Option<Instant>,
    /// When its `PodDisruptionBudgets` could not be written.
    pub(super) unprotected: Option<Instant>,
    /// What is known of others' hands on it.
    pub(super) others: ForeignControl,
}

/// What is remembered of all fleets. A pass takes its fleet's out, as there is never more than one at a time.
#[derive(Debug, Default)]
pub(super) struct States {
    of: Mutex<BTreeMap<Key, FleetState>>,
}

impl States {
    /// Takes out what is remembered of a fleet.
    pub(super) fn take(&self, key: &Key) -> FleetState {
        self.lock().remove(key).unwrap_or_default()
    }

    /// Puts it back.
    pub(super) fn put(&self, key: &Key, state: FleetState) {
        self.lock().insert(key.clone(), state);
    }

    /// Forgets everything: another replica has led meanwhile.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, FleetState>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
