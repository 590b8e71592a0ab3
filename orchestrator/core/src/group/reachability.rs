//! What a silence of the network means. It is no evidence against a group that Kubernetes holds well: the fault may be on this
//! side. Nothing here looks at what Ray or the engine say.

use std::time::Duration;

use rayfleet_api::valid::after;

use super::context::StepContext;
use crate::observed::{ObservedGroup, Reach};
use crate::startup_times;
use crate::{text, time};

/// Reason of the event and type of the condition.
pub(crate) const UNREACHABLE: &str = "Unreachable";

/// Nothing is heard of the group, nor of any other of its namespace, while Kubernetes holds its pods well: nobody knows how it is.
pub(crate) fn unknown(observed: &ObservedGroup) -> bool {
    let reach = observed.ray.as_ref().map(|ray| ray.reach);
    matches!(reach, Some(Reach::Unsure | Reach::AllSilent)) && observed.pods_are_well()
}

/// The same, after long enough to say so.
pub(crate) fn unreachable(observed: &ObservedGroup) -> bool {
    unknown(observed) && observed.ray.as_ref().is_some_and(|ray| ray.reach == Reach::AllSilent)
}

/// What is said of such groups, and what helps.
pub(crate) fn in_words(namespace: &str) -> String {
    format!(
        "no pod in namespace {namespace} answers the orchestrator, although Kubernetes holds them ready: gates stay as they are, nothing is \
         restarted or deleted; see that its NetworkPolicies let the orchestrator's namespace in (manifests/fleet-network-policy.yaml), and \
         look at the network of the node on which the orchestrator's leader runs"
    )
}

/// Bears with a group that nobody can judge: no clock runs against it.
pub(super) fn bear(ctx: &mut StepContext<'_>) {
    if !unknown(ctx.observed) {
        return;
    }
    ctx.group.unreachable_since = None;
    // Taken off again by `patience`.
    if ctx.group.forming_since.is_some() {
        ctx.group.waiting_since.get_or_insert_with(|| time::began(ctx.now));
    }
    // No deadline comes while nobody is heard; moved rarely, as each time is a write.
    let patience = ctx.fleet.failure.hung_after;
    let near = after(ctx.now, patience);
    if ctx.group.start_deadline.as_ref().is_some_and(|deadline| deadline.0 < near) {
        ctx.group.start_deadline = Some(time::not_before(after(near, patience)));
    }
}

/// What a group has to say of that, in the place of anything else. It is reported once.
pub(super) fn note(ctx: &mut StepContext<'_>) -> Option<String> {
    if !unreachable(ctx.observed) {
        return None;
    }
    let message = text::bounded(in_words(&ctx.fleet.namespace));
    if !ctx.is_reported(&message) {
        ctx.event(true, UNREACHABLE, message.clone());
    }
    Some(message)
}

/// Nothing is heard of the group although others of its namespace are, and that is all there is against it.
pub(super) fn silence_alone(ctx: &StepContext<'_>) -> bool {
    ctx.observed.ray.as_ref().is_some_and(|ray| ray.reach == Reach::Silent) && ctx.observed.pods_are_well()
}

/// How long a group may be silent before it counts as failed: as long as one takes to come up, where silence is all there is against
/// it. What is really dead Kubernetes misses before that.
pub(super) fn patience(ctx: &StepContext<'_>) -> Duration {
    let hung_after = ctx.fleet.failure.hung_after;
    if silence_alone(ctx) { hung_after.max(startup_times::by_size(ctx.fleet)) } else { hung_after }
}
