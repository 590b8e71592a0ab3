//! A pod of a group that serves is told to go and has time for it: an eviction, `kubectl delete pod`, the shutdown of its node. Its
//! containers run until its grace period is over, so the engine does, too: the group is drained within that time, and
//! another one takes its place. What ends without a warning is a failure, and not here.

use jiff::Timestamp;
use rayfleet_api::status::{Goal, Phase};

use super::context::StepContext;
use super::{ray, requests};
use crate::observed::ObservedPod;
use crate::time;

/// Gives a group up that serves and loses a pod in an orderly way. It is drained then.
pub(super) fn evicted(ctx: &mut StepContext<'_>) -> bool {
    if !ctx.cluster_alive() {
        return false;
    }
    let Some((cause, end)) = announced_end(ctx) else { return false };
    let serves =
        ctx.group.phase == Phase::Ready || (ctx.group.not_ready_since.is_some() && requests::answers(ctx));
    if !serves {
        return false;
    }
    let until = end.map_or_else(String::new, |end| format!(" until {end}"));
    let name = ctx.group.name.clone();
    ctx.event(
        true,
        "GroupEvicted",
        format!("group {name}: {cause}; its requests may end{until}; another group takes its place"),
    );
    ctx.group.goal = Goal::Retire;
    ctx.group.goal_reason = Some(cause);
    true
}

/// What ends a pod in an orderly way, and until when its containers may run, where that is known.
fn announced_end(ctx: &StepContext<'_>) -> Option<(String, Option<Timestamp>)> {
    // It gets no deletion timestamp, and the pod stays for as long as the node does.
    if let Some(pod) = ctx.pods.shut_down() {
        return Some((format!("node {} of pod {} is being shut down", node(pod), pod.name), None));
    }
    if ctx.pods.whole() {
        return None;
    }
    let pod = ctx.pods.in_grace(ctx.now).next()?;
    Some((format!("pod {} on {} is being deleted", pod.name, node(pod)), pod.ends_at))
}

fn node(pod: &ObservedPod) -> &str {
    pod.node.as_deref().unwrap_or("no node")
}

/// A pod of the group is on its way out.
pub(super) fn ends(ctx: &StepContext<'_>) -> bool {
    ctx.pods.leaving().is_some() || ctx.pods.shut_down().is_some()
}

/// What has announced the end of a machine on which a pod of the group is, as a sentence about its node.
pub(super) fn notice(ctx: &StepContext<'_>) -> Option<String> {
    let pod = ctx.pods.live().find(|pod| pod.node_ends() && !pod.node_shuts_down())?;
    Some(format!("node {} {}", node(pod), pod.node_closing.as_ref()?.what))
}

/// A pod that has ended with its machine: nobody answers the group's requests any more. Ray itself takes long to miss a machine.
pub(super) fn lost<'a>(ctx: &StepContext<'a>) -> Option<&'a ObservedPod> {
    let gone = |pod: &&ObservedPod| pod.over || (pod.node_lost || pod.node_ends()) && ray::no_sign(ctx, pod);
    ctx.pods.live().find(gone)
}

/// A pod whose grace period is over.
pub(super) fn overdue<'a>(ctx: &StepContext<'a>) -> Option<&'a ObservedPod> {
    ctx.pods.all().find(|pod| pod.deleting && pod.ends_at.is_some_and(|end| end <= ctx.now))
}

/// The end of a drain, no later than that of the first pod which is going.
pub(super) fn earliest(ctx: &StepContext<'_>, deadline: Option<Timestamp>) -> Option<Timestamp> {
    let first = ctx.pods.all().filter(|pod| pod.deleting).filter_map(|pod| pod.ends_at).min();
    time::earliest(deadline, first)
}
