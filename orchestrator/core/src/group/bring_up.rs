//! From nothing to a whole Ray cluster: the RayCluster, its pods, its Ray nodes. Each function says
//! whether its part is there; if not, it has entered the phase that waits for it.

use std::time::Duration;

use rayfleet_api::status::{Goal, Phase};
use rayfleet_api::valid::after;

use super::stage::Stage;
use super::{engine, fail, patience, ray, reach, repair, serve};
use crate::effect::Effect;
use crate::seen::PodSeen;
use crate::{text, time};

/// A pod that takes longer to end holds its whole group up: KubeRay makes no replacement while the
/// old pod object is there, and on a lost node it stays for ever. A group of another name is free of it.
const STUCK: Duration = Duration::from_mins(1);

/// KubeRay's operator has had the time to see a RayCluster and to make its pods.
const KUBERAY: Duration = Duration::from_secs(30);

/// The RayCluster is there.
pub(super) fn cluster(stage: &mut Stage<'_>) -> bool {
    if stage.seen.cluster.is_some() {
        return true;
    }
    if let Some(whose) = stage.seen.taken.clone().filter(|_| stage.group.uid.is_none()) {
        taken(stage, &whose);
        return false;
    }
    if !stage.seen.pods.is_empty() {
        stage.enter(Phase::Pending, "its pods are there, its RayCluster is not seen yet".to_owned());
        return false;
    }
    let wait = stage.group.retry_after.as_ref().map(|time| time.0);
    if wait.is_some() && !stage.reached(wait) {
        let until = wait.map_or_else(String::new, |time| time.to_string());
        let why = stage.group.goal_reason.clone().unwrap_or_default();
        stage.enter(Phase::Pending, format!("is created at {until}; {why}"));
        return false;
    }
    let doing = || "the RayCluster is being created".to_owned();
    stage.enter(Phase::Pending, stage.seen.refused.clone().unwrap_or_else(doing));
    let group = stage.group.clone();
    stage.act(Effect::CreateCluster { group });
    false
}

/// Its name is somebody else's: nothing was made of it, and the next attempt has another name.
fn taken(stage: &mut Stage<'_>, whose: &str) {
    let cause = format!("RayCluster {} exists and is {whose}", stage.group.name);
    let cure = "delete it if nobody needs it: it may hold GPUs; a group of another name is made";
    stage.tell(true, "RayClusterExists", format!("{cause}: {cure}"));
    stage.group.goal = Goal::Retire;
    stage.group.goal_reason = Some(cause.clone());
    stage.enter(Phase::Stopping, cause);
}

/// No pod is on a node that is lost. Kubernetes keeps such a pod for minutes, and its object for ever; a group of another
/// name is free of it. Ray is asked too: a kubelet may be cut off while its containers run and serve.
pub(super) fn on_living_nodes(stage: &mut Stage<'_>) -> bool {
    let ray = ray::ray(stage);
    let gone = |pod: &PodSeen| match &ray {
        ray::Ray::Alive(alive) => !ray::is_in(stage, alive, pod),
        ray::Ray::Silent(_) => true,
        ray::Ray::Unknown => false,
    };
    // Beside a whole group, what still ends on a lost node is only a leftover.
    let counts = |pod: &&PodSeen| !pod.deleting || !stage.pods.whole();
    let lost = stage.pods.all().filter(counts).find(|pod| pod.node_lost && gone(pod));
    let Some(pod) = lost else { return true };
    let node = pod.node.as_deref().unwrap_or("its node");
    let cause = format!("node {node} is lost, and with it pod {}", pod.name);
    fail::give_up(stage, &cause);
    false
}

/// All pods are there with their containers ready.
pub(super) fn pods(stage: &mut Stage<'_>) -> bool {
    if stage.pods.ready() {
        return true;
    }
    if engine::started(stage) && !stage.pods.whole() {
        let (cause, _) = stage.pods.trouble();
        fail::fail(stage, &format!("a pod of the group is gone: {cause}"));
        return false;
    }
    if stuck(stage) || serve::out_of_time(stage) {
        return false;
    }
    let message = pod_message(stage);
    serve::fall_back(stage, Phase::Provisioning, message.clone());
    patience::over(stage, &message);
    false
}

/// What the pods wait for. Kubernetes words one trouble in changing ways, so the text stays until
/// the cause changes; that is also when people are told.
fn pod_message(stage: &mut Stage<'_>) -> String {
    if let Some(refusal) = kuberay_refusal(stage) {
        return refusal;
    }
    if let Some(changed) = repair::in_words(stage) {
        return changed;
    }
    if let Some(message) = no_pods(stage) {
        return message;
    }
    let (cause, details) = stage.pods.trouble();
    let known = stage.group.message.as_ref().filter(|message| text::tells(Some(message), &cause));
    if details.is_empty() {
        return cause;
    }
    if let Some(known) = known {
        return known.clone();
    }
    let message = format!("{cause}: {details}");
    stage.tell(true, "PodProblem", format!("group {}: {message}", stage.group.name));
    message
}

/// KubeRay makes pods within moments. Where it does not, its operator is down, and no other group would fare better.
fn no_pods(stage: &mut Stage<'_>) -> Option<String> {
    let missing = stage.pods.missing()?;
    let since = stage.group.since.clone().filter(|_| stage.group.phase == Phase::Provisioning);
    let since = since.unwrap_or_else(|| time::began(stage.now));
    stage.reached(Some(after(since.0, KUBERAY))).then(|| {
        format!(
            "KubeRay has not made {missing} of {} pods: does its operator run? See `kubectl get pods -A -l \
             app.kubernetes.io/name=kuberay-operator` and its log",
            stage.pods.wanted()
        )
    })
}

/// KubeRay could not make the pods, or does not accept the template.
fn kuberay_refusal(stage: &mut Stage<'_>) -> Option<String> {
    let cluster = stage.seen.cluster.as_ref()?;
    let name = &stage.group.name;
    let message = match (&cluster.managed_by, cluster.replica_failure.as_ref().or(cluster.warning.as_ref())) {
        (Some(other), _) => format!(
            "RayCluster {name}: its managedBy is {other}, so KubeRay makes no pods here: delete it, and keep Kueue's MultiKueue \
             off this namespace or queue"
        ),
        (None, cause) => format!("RayCluster {name}: KubeRay says: {}", cause?),
    };
    let message = text::bounded(message);
    if !text::tells(stage.group.message.as_ref(), &message) {
        stage.tell(true, "RayClusterProblem", message.clone());
    }
    Some(message)
}

/// A pod does not end, so its replacement never comes: the group is recreated under another name.
fn stuck(stage: &mut Stage<'_>) -> bool {
    let Some(pod) = stage.pods.leaving() else { return false };
    if stage.group.phase != Phase::Provisioning {
        return false;
    }
    // Nothing is stuck that still has time to end.
    let told = stage.group.since.as_ref().map(|since| pod.ends_at.map_or(since.0, |end| end.max(since.0)));
    if !stage.reached(told.map(|told| after(told, STUCK))) {
        return false;
    }
    let node = pod.node.as_deref().unwrap_or("no node");
    fail::give_up(stage, &format!("pod {} on {node} does not end, so KubeRay does not replace it", pod.name));
    true
}

/// All Ray nodes are alive.
pub(super) fn ray_nodes(stage: &mut Stage<'_>) -> bool {
    match ray::ray(stage) {
        ray::Ray::Alive(alive) => {
            let (joined, wanted) = (ray::joined(stage, alive), stage.pods.to_join());
            if joined >= wanted {
                return true;
            }
            let silent = silent_pods(stage);
            forming(stage, &format!("{joined} of {wanted} Ray nodes are in{silent}"))
        }
        // Nobody knows: no reason to close a gate.
        ray::Ray::Unknown if under_way(stage.group.phase) || serve::is_open(stage) => {
            if let Some(note) = reach::note(stage) {
                stage.enter(stage.group.phase, note);
            }
            false
        }
        ray::Ray::Unknown => {
            if !serve::out_of_time(stage) {
                let note = reach::note(stage);
                let message = note.unwrap_or_else(|| "waits for the Ray dashboard's first answer".to_owned());
                serve::fall_back(stage, Phase::Forming, message);
            }
            false
        }
        ray::Ray::Silent(_) if stage.pods.head().is_some_and(|head| ray::no_sign(stage, head)) => {
            let silent = silent_pods(stage);
            forming(stage, &format!("the head is gone{silent}"))
        }
        ray::Ray::Silent(_) if under_way(stage.group.phase) && !ray::silent_too_long(stage) => false,
        ray::Ray::Silent(cause) => forming(stage, &format!("the Ray dashboard does not answer: {cause}")),
    }
}

/// Pods whose machines give no sign of life, for a message.
fn silent_pods(stage: &Stage<'_>) -> String {
    let silent = stage.pods.live().filter(|pod| ray::no_sign(stage, pod));
    let names: Vec<String> =
        silent.map(|pod| format!("{} on {}", pod.name, pod.node.as_deref().unwrap_or("no node"))).collect();
    if names.is_empty() { String::new() } else { format!("; no sign of life from pod {}", names.join(", ")) }
}

/// Past Forming: a missing answer alone does not set the group back.
fn under_way(phase: Phase) -> bool {
    matches!(phase, Phase::Placing | Phase::Loading | Phase::Probing | Phase::Ready)
}

fn forming(stage: &mut Stage<'_>, message: &str) -> bool {
    if !serve::out_of_time(stage) {
        serve::fall_back(stage, Phase::Forming, message.to_owned());
        patience::over(stage, message);
    }
    false
}
