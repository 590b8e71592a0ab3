//! How soon a new status is worth a write to the API server. What anything else follows from is written at once; what
//! only people read waits for more of its kind. No status is made here.

mod alike;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rayfleet_api::RayClusterFleetStatus;

use crate::effect::Effect;
use alike::{same_but_text, without_reported_fields};

/// How long a phase, a count or a condition may wait. People who watch do not notice; a load on the API server is
/// halved where several groups move at a time.
const PHASE_DELAY: Duration = Duration::from_secs(1);

/// How long words may wait: `1 of 2 pods are ready`. As long as a kubelet keeps the status of its node to itself.
const TEXT_DELAY: Duration = Duration::from_secs(10);

/// How long the step from one status to the next may stay unwritten; `None`: for ever, as it is no step. `written` is what the
/// API server has, which may be behind `before`.
///
/// Zero when an effect is to follow that must not be ahead of the ledger, or when losing the difference in a crash could lead
/// to another decision. No effect waits for words.
pub fn max_write_delay(
    written: &RayClusterFleetStatus,
    before: &RayClusterFleetStatus,
    after: &RayClusterFleetStatus,
    effects: &[Effect],
) -> Option<Duration> {
    let follows = effects.iter().any(|effect| !may_be_ahead(effect));
    if follows && !same_but_text(written, after) {
        return Some(Duration::ZERO);
    }
    if before == after {
        return None;
    }
    if *before != without_reported_fields(before, after) {
        return Some(Duration::ZERO);
    }
    // Whoever reads of a trouble in an event looks at the status next.
    let warned = effects.iter().any(|effect| matches!(effect, Effect::Event { warning: true, .. }));
    Some(if same_but_text(before, after) && !warned { TEXT_DELAY } else { PHASE_DELAY })
}

/// Whether an effect may come before the ledger says why. After a crash the probe prompt is asked again, an event may be reported again, and
/// an open gate tells itself what it was opened for.
fn may_be_ahead(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Probe { .. } | Effect::SetGate { open: true, .. } | Effect::Event { warning: false, .. }
    )
}
