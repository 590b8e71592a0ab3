//! The life of one pod on its node: image pull, init container, running, exit and restart, until it is
//! terminated.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rayfleet_api::valid::after;
use serde_json::Value;

use super::super::drive::earlier;
use super::super::object::{is_deleting, items, namespace, uid};
use super::super::options::Options;
use super::ray::{ProcessState, Processes};
use super::{image, ray};
use crate::api::{ApiServer, Kind};

/// First and longest back-off of a kubelet; each is twice the one before.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(5));
/// A container that ran this long resets its back-off.
const FORGIVEN: Duration = Duration::from_mins(10);
/// From the end of a container to its first restart.
const RESTART: Duration = Duration::from_millis(500);
/// How long a failed pull is reported as `ErrImagePull` before it is reported as backing off.
const TELL: Duration = Duration::from_secs(2);
/// Interval at which the init container asks whether the head answers.
const ASK: Duration = Duration::from_secs(5);
/// Interval at which a kubelet checks for a missing Secret.
const CONFIG: Duration = Duration::from_secs(2);
/// How long Ray's processes take to exit when nothing keeps them.
const STOPPING: Duration = Duration::from_secs(2);

/// The inputs of one step of a pod.
pub(super) struct Plan<'a> {
    pub(super) api: &'a ApiServer,
    pub(super) pods: &'a [Arc<Value>],
    pub(super) pod: &'a Value,
    pub(super) options: &'a Options,
    pub(super) ray: &'a Processes,
    pub(super) now: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) code: i32,
    pub(super) began: Timestamp,
    pub(super) ended: Timestamp,
}

/// Where a pod is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// Sandbox and images are prepared.
    Creating { until: Timestamp },
    /// Its image cannot be pulled. The kubelet reports the failure until `reported`, and the back-off until
    /// `again`.
    NoImage {
        image: String,
        pull_error: image::PullError,
        backing_off: bool,
        reported: Timestamp,
        again: Timestamp,
    },
    /// A Secret that its environment refers to does not exist.
    NoSecret { secret: String, again: Timestamp },
    /// Its init container waits for the head.
    Waiting { since: Timestamp, ask: Timestamp },
    /// It runs. It is ready at `ready` at the earliest.
    Running { since: Timestamp, ready: Timestamp, is_ready: bool },
    /// Its container has ended; it restarts at `again`.
    Down { end: End, again: Timestamp },
    /// It has ended for good.
    Over { end: End },
}

/// A pod on its node.
pub(super) struct Life {
    pub(super) node: String,
    address: String,
    pub(super) stage: PodState,
    pub(super) restarts: u64,
    pub(super) began: Timestamp,
    pub(super) last: Option<End>,
    /// When the init container succeeded.
    pub(super) initialized: Option<Timestamp>,
    attempts: u32,
    /// When its processes are killed, once it was asked to terminate.
    stopping: Option<Timestamp>,
    synced: Option<String>,
    sync: Option<Timestamp>,
}

impl Life {
    /// Starts the life of a pod; its images are pulled, or known not to exist, at `images`.
    pub(super) fn begin(pod: &Value, node: &str, address: String, images: Timestamp, now: Timestamp) -> Self {
        // After a loss of power the pod is the same, and its containers start again.
        let before = pod["status"]["containerStatuses"][0].as_object();
        let ran = before.filter(|before| before.get("started") == Some(&Value::Bool(true)));
        let restarts = ran.and_then(|ran| ran.get("restartCount")?.as_u64()).map_or(0, |count| count + 1);
        let began = pod["status"]["startTime"].as_str().and_then(|time| time.parse().ok()).unwrap_or(now);
        Self {
            node: node.into(),
            address,
            stage: PodState::Creating { until: images },
            restarts,
            began,
            last: None,
            initialized: None,
            attempts: 0,
            stopping: None,
            synced: None,
            sync: None,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether all containers are ready.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.stage, PodState::Running { is_ready: true, .. })
    }

    /// Records that the API server has another version of the pod: the kubelet acts on it at `due`, or when
    /// an earlier change is due. The first version counts as a change.
    pub(super) fn noticed(&mut self, version: &str, due: Timestamp) -> Option<Timestamp> {
        if self.synced.as_deref() == Some(version) {
            self.sync = None;
        } else {
            self.sync = earlier(self.sync, Some(due));
        }
        self.sync
    }

    /// Records that the kubelet has acted on this version of the pod.
    pub(super) fn synced(&mut self, version: String) {
        self.synced = Some(version);
        self.sync = None;
    }

    /// Images that are on the node now because of this pod.
    pub(super) fn pulled(&self, pod: &Value, bad: &[String]) -> Vec<String> {
        if matches!(self.stage, PodState::Creating { .. } | PodState::NoImage { .. }) {
            return Vec::new();
        }
        image::of(pod).filter(|image| !bad.iter().any(|bad| bad == image)).map(str::to_owned).collect()
    }

    /// Since when all of its containers have ended, if they have.
    pub(super) fn over_since(&self) -> Option<Timestamp> {
        match self.stage {
            PodState::Over { end } => Some(end.ended),
            _ => None,
        }
    }

    /// When its next step is due if nothing changes before.
    pub(super) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let stage = match self.stage {
            PodState::Creating { until } => Some(until),
            PodState::NoImage { backing_off, reported, again, .. } => {
                Some(if backing_off { again } else { reported })
            }
            PodState::NoSecret { again, .. } | PodState::Down { again, .. } => Some(again),
            PodState::Waiting { ask, .. } => Some(ask),
            PodState::Running { ready, is_ready: false, .. } if now < ready => Some(ready),
            PodState::Running { .. } | PodState::Over { .. } => None,
        };
        let stage = stage.filter(|_| self.stopping.is_none());
        earlier(earlier(stage, self.sync), self.stopping.filter(|_| self.over_since().is_none()))
    }

    /// Advances as far as time and the Ray world allow. Returns whether its status has to be written.
    pub(super) fn advance(&mut self, plan: &Plan<'_>) -> bool {
        let before = self.stage.clone();
        if let Some(end) = self.stopping {
            if end <= plan.now && self.over_since().is_none() {
                self.finish(plan);
            }
            return before != self.stage;
        }
        match before.clone() {
            PodState::Creating { until } if until <= plan.now => self.created(plan),
            PodState::NoImage { again, .. } if again <= plan.now => self.created(plan),
            PodState::NoImage { image, pull_error, reported, again, .. } if reported <= plan.now => {
                self.stage = PodState::NoImage { image, pull_error, backing_off: true, reported, again };
            }
            PodState::NoSecret { again, .. } if again <= plan.now => self.created(plan),
            PodState::Waiting { since, ask } if ask <= plan.now => {
                if plan.ray.answering_head(plan.api, plan.pods, plan.pod).is_some() {
                    self.initialized = Some(plan.now);
                    self.start(plan);
                } else {
                    self.stage = PodState::Waiting { since, ask: after(plan.now, ASK) };
                }
            }
            PodState::Running { since, ready, .. } => match plan.ray.look(&self.address) {
                ProcessState::Ended(code) => self.down(code, since, plan),
                ProcessState::Runs { answers } if answers && ready <= plan.now => {
                    self.stage = PodState::Running { since, ready, is_ready: true };
                }
                // One failed probe changes nothing.
                ProcessState::Runs { .. } => {}
            },
            PodState::Down { again, .. } if again <= plan.now => self.start(plan),
            _ => {}
        }
        let asks_again = |stage: &PodState| matches!(stage, PodState::Waiting { .. });
        before != self.stage && !(asks_again(&before) && asks_again(&self.stage))
    }

    /// Sandbox and images are ready: goes on to the next stage.
    fn created(&mut self, plan: &Plan<'_>) {
        if let Some((image, pull_error)) = image::pull_error(plan.pod, &plan.options.bad_images) {
            let wait = doubled(self.attempts);
            self.attempts += 1;
            let (image, reported) = (image.to_owned(), after(plan.now, TELL));
            let again = after(reported, wait);
            self.stage = PodState::NoImage { image, pull_error, backing_off: false, reported, again };
        } else if let Err(secret) = ray::token(plan.api, plan.pod) {
            self.stage = PodState::NoSecret { secret, again: after(plan.now, CONFIG) };
        } else if waits_for_head(plan.pod) && self.initialized.is_none() {
            self.stage = PodState::Waiting { since: plan.now, ask: after(plan.now, Duration::from_secs(1)) };
        } else {
            self.start(plan);
        }
    }

    fn start(&mut self, plan: &Plan<'_>) {
        match plan.ray.start(plan.api, plan.pods, plan.pod, &self.address) {
            Ok(()) => {
                if let PodState::Down { end, .. } = self.stage {
                    self.last = Some(end);
                    self.restarts += 1;
                }
                let ready = after(plan.now, plan.options.pod_start);
                self.stage = PodState::Running { since: plan.now, ready, is_ready: false };
            }
            Err(secret) => self.stage = PodState::NoSecret { secret, again: after(plan.now, CONFIG) },
        }
    }

    /// The container has ended by itself.
    fn down(&mut self, code: i32, began: Timestamp, plan: &Plan<'_>) {
        let end = End { code, began, ended: plan.now };
        let policy = plan.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        if policy == "Never" || (policy == "OnFailure" && code == 0) {
            self.stage = PodState::Over { end };
            return;
        }
        if after(began, FORGIVEN) <= plan.now {
            self.attempts = 0;
        }
        // The first restart is immediate; later ones back off.
        let wait = self.attempts.checked_sub(1).map_or(RESTART, doubled);
        self.attempts += 1;
        self.stage = PodState::Down { end, again: after(plan.now, wait) };
    }

    /// Kills the container with SIGKILL. Returns whether it was running.
    pub(super) fn kill(&mut self, plan: &Plan<'_>) -> bool {
        let PodState::Running { since, .. } = self.stage else { return false };
        plan.ray.end(&self.address, false);
        self.down(137, since, plan);
        true
    }

    /// Whether it was asked to terminate.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// The pod is deleted, or its node shuts down: its processes are asked to end. Ray under an engine does
    /// not, and is killed when the grace period is over.
    pub(super) fn terminate(&mut self, plan: &Plan<'_>) {
        let asked = plan.pod["metadata"]["deletionGracePeriodSeconds"].as_u64();
        let grace = asked.or_else(|| plan.pod["spec"]["terminationGracePeriodSeconds"].as_u64());
        let grace = grace.map_or(plan.options.grace_period, Duration::from_secs);
        let last = after(plan.now, grace);
        if let Some(end) = self.stopping {
            self.stopping = Some(end.min(last));
            return;
        }
        let runs = matches!(self.stage, PodState::Running { .. });
        self.stopping = Some(if runs && plan.ray.holds_an_engine(&self.address) {
            last
        } else if runs {
            plan.ray.end(&self.address, is_asked_for(plan));
            last.min(after(plan.now, STOPPING))
        } else {
            plan.now
        });
        if self.stopping == Some(plan.now) {
            self.finish(plan);
        }
    }

    /// Ends everything that runs in the pod.
    fn finish(&mut self, plan: &Plan<'_>) {
        let killed = matches!(plan.ray.look(&self.address), ProcessState::Runs { .. });
        if killed {
            plan.ray.end(&self.address, is_asked_for(plan));
        }
        let began = match self.stage {
            PodState::Running { since, .. } => since,
            PodState::Down { end, .. } | PodState::Over { end } => end.began,
            _ => self.began,
        };
        let code = if killed { 137 } else { 143 };
        self.stage = PodState::Over { end: End { code, began, ended: plan.now } };
    }
}

/// Whether the pod's owner wants it to end: its RayCluster is deleted or suspended. Otherwise somebody else
/// has deleted it.
fn is_asked_for(plan: &Plan<'_>) -> bool {
    let owners = items(&plan.pod["metadata"]["ownerReferences"]);
    let stands = |owner: &Value| {
        let found =
            plan.api.get(&Kind::RAY_CLUSTER, namespace(plan.pod), owner["name"].as_str().unwrap_or_default());
        found.is_some_and(|cluster| {
            owner["uid"] == uid(&cluster) && !is_deleting(&cluster) && cluster["spec"]["suspend"] != true
        })
    };
    !owners.iter().filter(|owner| owner["kind"] == "RayCluster").any(stands)
}

fn doubled(times: u32) -> Duration {
    BACKOFF.0.saturating_mul(2_u32.saturating_pow(times)).min(BACKOFF.1)
}

/// Whether a pod has an init container that waits for the head of its Ray cluster.
fn waits_for_head(pod: &Value) -> bool {
    items(&pod["spec"]["initContainers"]).iter().any(|container| container["name"] == "wait-gcs-ready")
}
