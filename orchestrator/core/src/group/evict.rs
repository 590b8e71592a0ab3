//! A pod of a group that serves is told to go and has time for it: an eviction, a spot notice, `kubectl delete pod`. Its
//! containers run until its grace period is over, so the engine does, too: the group is drained within that time, and
//! another one takes its place. What ends without a warning is a failure, and not here.

use jiff::Timestamp;
use rayfleet_api::status::{Goal, Phase};

use super::drain;
use super::stage::Stage;
use crate::seen::PodSeen;
use crate::time;

/// Gives a group up that serves and loses a pod in an orderly way. It is drained then.
pub(super) fn evicted(stage: &mut Stage<'_>) -> bool {
    if stage.pods.whole() || !stage.cluster_alive() {
        return false;
    }
    let Some(pod) = stage.pods.in_grace(stage.now).next() else { return false };
    let serves =
        stage.group.phase == Phase::Ready || (stage.group.wavers_since.is_some() && drain::answers(stage));
    if !serves {
        return false;
    }
    let node = pod.node.as_deref().unwrap_or("no node");
    let until = pod.ends_at.map_or_else(String::new, |end| format!(" until {end}"));
    let cause = format!("pod {} on {node} is being deleted", pod.name);
    let name = stage.group.name.clone();
    stage.tell(
        true,
        "GroupEvicted",
        format!("group {name}: {cause}; its requests may end{until}; another group takes its place"),
    );
    stage.group.goal = Goal::Retire;
    stage.group.goal_reason = Some(cause);
    true
}

/// A pod of the group is on its way out.
pub(super) fn ends(stage: &Stage<'_>) -> bool {
    stage.pods.leaving().is_some()
}

/// A pod whose grace period is over.
pub(super) fn overdue<'a>(stage: &Stage<'a>) -> Option<&'a PodSeen> {
    stage.pods.all().find(|pod| pod.deleting && pod.ends_at.is_some_and(|end| end <= stage.now))
}

/// The end of a drain, no later than that of the first pod which is going.
pub(super) fn earliest(stage: &Stage<'_>, deadline: Option<Timestamp>) -> Option<Timestamp> {
    let first = stage.pods.all().filter(|pod| pod.deleting).filter_map(|pod| pod.ends_at).min();
    time::earliest(deadline, first)
}
