//! From nothing to a whole Ray cluster: the RayCluster, its pods, its Ray nodes. Each function says
//! whether its part is there; if not, it has entered the phase that waits for it.

use std::time::Duration;

use rayfleet_api::status::{Goal, Phase};
use rayfleet_api::valid::after;

use super::context::StepContext;
use super::failure::{Failure, several_heads};
use super::pods::PodTrouble;
use super::{fail, formation_timeout, launch, ray, reachability, readiness, repair};
use crate::effect::Effect;
use crate::observed::ObservedPod;
use crate::{text, time};

/// A pod that takes longer to end holds its whole group up: KubeRay makes no replacement while the
/// old pod object is there, and on a lost node it stays for ever. A group of another name is free of it.
const STUCK: Duration = Duration::from_mins(1);

/// KubeRay's operator has had the time to see a RayCluster and to make its pods.
const KUBERAY: Duration = Duration::from_secs(30);

/// How long after the first look several heads are looked at again.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// The RayCluster is there.
pub(super) fn cluster(ctx: &mut StepContext<'_>) -> bool {
    if ctx.observed.cluster.is_some() {
        return true;
    }
    if let Some(whose) = ctx.observed.taken.clone().filter(|_| ctx.group.uid.is_none()) {
        taken(ctx, &whose);
        return false;
    }
    if !ctx.observed.pods.is_empty() {
        ctx.set_phase(Phase::Pending, "its pods are there, its RayCluster is not observed yet".to_owned());
        return false;
    }
    let wait = ctx.group.retry_after.as_ref().map(|time| time.0);
    if wait.is_some() && !ctx.reached(wait) {
        let until = wait.map_or_else(String::new, |time| time.to_string());
        let why = ctx.group.goal_reason.clone().unwrap_or_default();
        ctx.set_phase(Phase::Pending, format!("is created at {until}; {why}"));
        return false;
    }
    let doing = || "the RayCluster is being created".to_owned();
    ctx.set_phase(Phase::Pending, ctx.observed.refused.clone().unwrap_or_else(doing));
    ctx.act(Effect::CreateCluster { group: ctx.group.clone() });
    false
}

/// Its name is somebody else's: nothing was made of it, and the next attempt has another name.
fn taken(ctx: &mut StepContext<'_>, whose: &str) {
    let cause = format!("RayCluster {} exists and is {whose}", ctx.group.name);
    let cure = "delete it if nobody needs it: it may hold GPUs; a group of another name is made";
    ctx.event(true, "RayClusterExists", format!("{cause}: {cure}"));
    ctx.group.goal = Goal::Retire;
    ctx.group.goal_reason = Some(cause.clone());
    ctx.set_phase(Phase::Stopping, cause);
}

/// No pod is on a node that is lost. Kubernetes keeps such a pod for minutes, and its object for ever; a group of another
/// name is free of it. Ray is asked too: a kubelet may be cut off while its containers run and serve.
pub(super) fn on_living_nodes(ctx: &mut StepContext<'_>) -> bool {
    let ray = ray::ray(ctx);
    let gone = |pod: &ObservedPod| match &ray {
        ray::Ray::Alive(alive) => !ray::is_in(ctx, alive, pod),
        ray::Ray::Silent(_) => true,
        ray::Ray::Unknown => false,
    };
    // Beside a whole group, what still ends on a lost node is only a leftover.
    let counts = |pod: &&ObservedPod| !pod.deleting || !ctx.pods.whole();
    let lost = ctx.pods.all().filter(counts).find(|pod| pod.node_lost && gone(pod));
    let Some(pod) = lost else { return true };
    fail::give_up(ctx, &Failure::NodeLost { node: pod.node.clone(), pod: pod.name.clone() });
    false
}

/// It has one head. What serves goes on: a head beside it gets no traffic, as its gate stays closed. Of what does not, workers may
/// join either head, and KubeRay mends it never: another group takes its place. A list that is just being read may show a head
/// that is gone beside its successor, so they are looked at twice.
pub(super) fn one_head(ctx: &mut StepContext<'_>) -> bool {
    let Some(heads) = ctx.pods.too_many_heads() else { return true };
    if ctx.group.phase == Phase::Ready || readiness::is_open(ctx) {
        return true;
    }
    let message = several_heads(&heads);
    if !ctx.is_reported(&message) {
        readiness::fall_back(ctx, Phase::Provisioning, message);
        ctx.wake_at(Some(after(ctx.now, SECOND_LOOK)));
        return false;
    }
    let since = ctx.group.phase_since.as_ref().map(|since| after(since.0, SECOND_LOOK));
    if ctx.reached(since) {
        fail::give_up(ctx, &Failure::SeveralHeads(heads.into_iter().cloned().collect()));
    }
    false
}

/// All pods are there with their containers ready.
pub(super) fn pods(ctx: &mut StepContext<'_>) -> bool {
    if ctx.pods.ready() {
        return true;
    }
    if launch::started(ctx) && !ctx.pods.whole() {
        let PodTrouble { cause, .. } = ctx.pods.trouble();
        fail::fail(ctx, &Failure::PodLost(cause));
        return false;
    }
    if stuck(ctx) || readiness::out_of_time(ctx) {
        return false;
    }
    let message = pod_message(ctx);
    readiness::fall_back(ctx, Phase::Provisioning, message.clone());
    formation_timeout::over(ctx, &message);
    false
}

/// What the pods wait for. Another trouble is reported by an event.
fn pod_message(ctx: &mut StepContext<'_>) -> String {
    if let Some(refusal) = kuberay_refusal(ctx) {
        return refusal;
    }
    if let Some(changed) = repair::in_words(ctx) {
        return changed;
    }
    if let Some(message) = no_pods(ctx) {
        return message;
    }
    let PodTrouble { cause, details } = ctx.pods.trouble();
    if details.is_empty() {
        return cause;
    }
    let message = format!("{cause}: {details}");
    if !ctx.is_reported(&message) {
        ctx.event(true, "PodProblem", format!("group {}: {message}", ctx.group.name));
    }
    message
}

/// KubeRay makes pods within moments. Where it does not, its operator is down, and no other group would fare better.
fn no_pods(ctx: &mut StepContext<'_>) -> Option<String> {
    let missing = ctx.pods.missing()?;
    let since = ctx.group.phase_since.clone().filter(|_| ctx.group.phase == Phase::Provisioning);
    let since = since.unwrap_or_else(|| time::began(ctx.now));
    ctx.reached(Some(after(since.0, KUBERAY))).then(|| {
        format!(
            "KubeRay has not made {missing} of {} pods: does its operator run? See `kubectl get pods -A -l \
             app.kubernetes.io/component=kuberay-operator` and its log",
            ctx.pods.wanted()
        )
    })
}

/// KubeRay could not make the pods, or does not accept the template.
fn kuberay_refusal(ctx: &mut StepContext<'_>) -> Option<String> {
    let cluster = ctx.observed.cluster.as_ref()?;
    let name = &ctx.group.name;
    let message = match (&cluster.managed_by, cluster.replica_failure.as_ref().or(cluster.warning.as_ref())) {
        (Some(other), _) => format!(
            "RayCluster {name}: its managedBy is {other}, so KubeRay makes no pods here: delete it, and keep Kueue's MultiKueue \
             off this namespace or queue"
        ),
        (None, cause) => format!("RayCluster {name}: KubeRay says: {}", cause?),
    };
    let message = text::bounded(message);
    if !ctx.is_reported(&message) {
        ctx.event(true, "RayClusterProblem", message.clone());
    }
    Some(message)
}

/// A pod does not end, so its replacement never comes: the group is recreated under another name.
fn stuck(ctx: &mut StepContext<'_>) -> bool {
    let Some(pod) = ctx.pods.leaving() else { return false };
    if ctx.group.phase != Phase::Provisioning {
        return false;
    }
    // Nothing is stuck that still has time to end.
    let reported =
        ctx.group.phase_since.as_ref().map(|since| pod.ends_at.map_or(since.0, |end| end.max(since.0)));
    if !ctx.reached(reported.map(|reported| after(reported, STUCK))) {
        return false;
    }
    fail::give_up(ctx, &Failure::PodStuck { node: pod.node.clone(), pod: pod.name.clone() });
    true
}

/// All Ray nodes are alive.
pub(super) fn ray_nodes(ctx: &mut StepContext<'_>) -> bool {
    match ray::ray(ctx) {
        ray::Ray::Alive(alive) => {
            let (joined, wanted) = (ray::joined(ctx, alive), ctx.pods.to_join());
            if joined >= wanted {
                return true;
            }
            let silent = silent_pods(ctx);
            forming(ctx, &format!("{joined} of {wanted} Ray nodes are in{silent}"))
        }
        // Nobody knows: no reason to close a gate.
        ray::Ray::Unknown if under_way(ctx.group.phase) || readiness::is_open(ctx) => {
            if let Some(note) = reachability::note(ctx) {
                ctx.set_phase(ctx.group.phase, note);
            }
            false
        }
        ray::Ray::Unknown => {
            if !readiness::out_of_time(ctx) {
                let note = reachability::note(ctx);
                let message = note.unwrap_or_else(|| "waits for the Ray dashboard's first answer".to_owned());
                readiness::fall_back(ctx, Phase::Forming, message);
            }
            false
        }
        ray::Ray::Silent(_) if ctx.pods.head().is_some_and(|head| ray::no_sign(ctx, head)) => {
            let silent = silent_pods(ctx);
            forming(ctx, &format!("the head is gone{silent}"))
        }
        ray::Ray::Silent(_) if under_way(ctx.group.phase) && !ray::silent_too_long(ctx) => false,
        ray::Ray::Silent(cause) => forming(ctx, &format!("the Ray dashboard does not answer: {cause}")),
    }
}

/// Pods whose machines give no sign of life, for a message.
fn silent_pods(ctx: &StepContext<'_>) -> String {
    let silent = ctx.pods.live().filter(|pod| ray::no_sign(ctx, pod));
    let names: Vec<String> =
        silent.map(|pod| format!("{} on {}", pod.name, pod.node.as_deref().unwrap_or("no node"))).collect();
    if names.is_empty() { String::new() } else { format!("; no sign of life from pod {}", names.join(", ")) }
}

/// Past Forming: a missing answer alone does not set the group back.
fn under_way(phase: Phase) -> bool {
    matches!(phase, Phase::Placing | Phase::Loading | Phase::Probing | Phase::Ready)
}

fn forming(ctx: &mut StepContext<'_>, message: &str) -> bool {
    if !readiness::out_of_time(ctx) {
        readiness::fall_back(ctx, Phase::Forming, message.to_owned());
        formation_timeout::over(ctx, message);
    }
    false
}
