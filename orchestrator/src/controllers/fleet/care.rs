//! Gates of groups that cannot serve, closed before anything is asked of the API server that may take long. Nothing else is done here.

use rayfleet_api::RayClusterFleet;
use rayfleet_core::{Effect, ReconcileInput, decide};

use super::effects::Outcome;
use super::target_spec::TargetSpec;
use super::{FleetReconciler, split};
use crate::clock;
use crate::kubernetes::{Key, groups_of};

impl FleetReconciler {
    /// Goes by a revision that groups run. What it decides beside gates is left to the pass, which decides again. A gate that cannot be
    /// closed is tried again there.
    pub(super) async fn close_gates_of_the_dead(&self, raw: &RayClusterFleet, basis: &TargetSpec) {
        let status = raw.status.clone().unwrap_or_default();
        let (observed, _) = self.index.read(|known| split(groups_of(known, raw)));
        let decision = decide(&ReconcileInput {
            fleet: &basis.fleet,
            stable: None,
            held: basis.held.as_ref(),
            failed_writes: &[],
            status: &status,
            groups: &observed,
            // Nothing is made, so no room is searched for.
            capacity: None,
            now: clock::now(),
        });
        let dead = decision.effects.into_iter().filter(Effect::ends_traffic_of_the_dead).collect();
        self.together(&Key::of(raw), dead, &mut Outcome::default()).await;
    }
}
