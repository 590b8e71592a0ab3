//! What a silence of the network means. It is no evidence against a group that Kubernetes holds well: the fault may be on this
//! side. Nothing here looks at what Ray or the engine say.

use std::time::Duration;

use rayfleet_api::valid::after;

use super::stage::Stage;
use crate::pace;
use crate::seen::{GroupSeen, Reach};
use crate::{text, time};

/// Reason of the event and type of the condition.
pub(crate) const UNREACHABLE: &str = "Unreachable";

/// Nothing is heard of the group, nor of any other of its namespace, while Kubernetes holds its pods well: nobody knows how it is.
pub(crate) fn unknown(seen: &GroupSeen) -> bool {
    let reach = seen.ray.as_ref().map(|ray| ray.reach);
    matches!(reach, Some(Reach::Unsure | Reach::Deaf)) && seen.pods_are_well()
}

/// The same, after long enough to say so.
pub(crate) fn deaf(seen: &GroupSeen) -> bool {
    unknown(seen) && seen.ray.as_ref().is_some_and(|ray| ray.reach == Reach::Deaf)
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
pub(super) fn bear(stage: &mut Stage<'_>) {
    if !unknown(stage.seen) {
        return;
    }
    stage.group.unreachable_since = None;
    // Taken off again by `patience`.
    if stage.group.due_since.is_some() {
        stage.group.held_since.get_or_insert_with(|| time::began(stage.now));
    }
    // No deadline comes while nobody is heard; moved rarely, as each time is a write.
    let patience = stage.fleet.failure.hung_after;
    let near = after(stage.now, patience);
    if stage.group.deadline.as_ref().is_some_and(|deadline| deadline.0 < near) {
        stage.group.deadline = Some(time::not_before(after(near, patience)));
    }
}

/// What a group has to say of that, in the place of anything else. It is reported once.
pub(super) fn note(stage: &mut Stage<'_>) -> Option<String> {
    if !deaf(stage.seen) {
        return None;
    }
    let message = text::bounded(in_words(&stage.fleet.namespace));
    if stage.group.message.as_ref() != Some(&message) {
        stage.tell(true, UNREACHABLE, message.clone());
    }
    Some(message)
}

/// Nothing is heard of the group although others of its namespace are, and that is all there is against it.
pub(super) fn silence_alone(stage: &Stage<'_>) -> bool {
    stage.seen.ray.as_ref().is_some_and(|ray| ray.reach == Reach::Silent) && stage.seen.pods_are_well()
}

/// How long a group may be silent before it counts as failed: as long as one takes to come up, where silence is all there is against
/// it. What is really dead Kubernetes misses before that.
pub(super) fn patience(stage: &Stage<'_>) -> Duration {
    let hung_after = stage.fleet.failure.hung_after;
    if silence_alone(stage) { hung_after.max(pace::by_size(stage.fleet)) } else { hung_after }
}
