//! What this replica remembers of a fleet from one pass to the next, in one place: the runtime forgets it all with the fleet, with the
//! lease, and with a pass that panicked.

use std::time::Instant;

use super::foreign_control::ForeignControl;
use super::foreign_pods::ForeignPods;
use super::template_dry_run::TemplateDryRun;
use super::validation_cache::ValidationCache;
use super::write_failures::WriteFailures;
use crate::pending_status::PendingStatus;

/// What is remembered of one fleet. Nothing in it is needed for being right, but that it was read.
#[derive(Debug, Default)]
pub(crate) struct FleetState {
    /// Its ledger has been read from the API server itself since this replica leads.
    pub(super) is_fresh: bool,
    /// The last pass ended by a conflict.
    pub(super) conflicted: bool,
    /// Generation of its spec in the pass before. 0: there was none.
    pub(super) generation: i64,
    /// Its status, where that waits for a write.
    pub(super) pending_status: PendingStatus,
    /// Its template that KubeRay's CRD was asked about.
    pub(super) templates: TemplateDryRun,
    /// The fleet as it was checked.
    pub(super) checked: ValidationCache,
    /// What could not be written.
    pub(super) obstacles: WriteFailures,
    /// Pods that only look like its groups', as they were reported last.
    pub(super) foreign_pods: ForeignPods,
    /// When its finalizer could not be set.
    pub(super) unheld: Option<Instant>,
    /// What is known of other controllers on it.
    pub(super) others: ForeignControl,
}
