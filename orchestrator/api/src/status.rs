//! `status` of a RayClusterFleet. It is what users read and also the ledger of decisions: a group is
//! entered here before its RayCluster is created, so that no crash can double or lose one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::FieldError;
use crate::launch_id::LaunchId;
use crate::named::named;
pub use crate::rank_count::RankCount;
use crate::revision::Revision;
use crate::{EngineRevision, GroupName, NodeName, PodName, PodRevision};

/// Observed state of the fleet.
// It can be read whatever is in it: see `crate::tolerant`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RayClusterFleetStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Groups that exist, whatever their revision.
    #[serde(default)]
    pub replicas: i32,
    /// Groups of the current revision (pods and engine).
    #[serde(default)]
    pub updated_replicas: i32,
    /// Groups that take traffic.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Groups that have been ready for `minReadySeconds`.
    #[serde(default)]
    pub available_replicas: i32,
    /// Groups missing to `replicas` available ones.
    #[serde(default)]
    pub unavailable_replicas: i32,
    /// Kept for AIBrix's clients; Rayfleet never sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    /// Selector of the head pods, for `kubectl scale` and autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling_target_selector: Option<String>,
    /// Available, Progressing, ReplicaFailure, Stalled, PlacementVerified, and Suspended while a group is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<FleetCondition>,
    /// One entry for each group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupStatus>,
    /// What the current rollout is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// How long groups of this fleet take to come up, as far as it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_times: Option<StartupTimes>,
    /// How long they take to end, as far as it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending_times: Option<EndingTimes>,
    /// Kubernetes nodes that groups of this fleet have failed on within the last hour.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_failures: Vec<NodeFailures>,
    /// What could not be read of all that, and is left out. Nothing that an API server knows.
    #[serde(skip)]
    pub unreadable: Vec<FieldError>,
}

/// What this fleet has against a node.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFailures {
    /// Kubernetes node.
    pub node: NodeName,
    /// Failures of groups that came from it, until an hour has passed without one.
    pub failures: u32,
    /// When the last one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,
    /// What the last one was.
    #[serde(default)]
    pub cause: String,
    /// Whether new groups are kept off it.
    #[serde(default)]
    pub avoided: bool,
}

/// How long groups take to come up. Each time that is seen counts for a half, those before it for the other.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartupTimes {
    /// What was loaded: `<source> <tensor>x<pipeline>`, with data parallelism and `x<data>`. Empty when the pods start the engine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model: String,
    /// Seconds from a group's entry in the ledger to its engine's launch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_seconds: Option<u32>,
    /// Seconds from the launch to Ready; without `spec.model` from the entry in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<u32>,
}

/// How long groups take to end. Each time that is seen counts for a half, those before it for the other.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndingTimes {
    /// Seconds from the start of a drain until its engine may be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_seconds: Option<u32>,
    /// Seconds from the end of a drain until the next engine may be launched on the same pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_seconds: Option<u32>,
    /// Seconds from the end of a drain until the RayCluster and its pods are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_seconds: Option<u32>,
}

/// A condition, with AIBrix's (Deployment's) fields.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FleetCondition {
    /// Type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When it was last written with another reason or message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// One word for programs.
    #[serde(default)]
    pub reason: String,
    /// Object, field and cure, for people.
    #[serde(default)]
    pub message: String,
}

impl FleetCondition {
    /// What a condition is to say from `now` on: it keeps the times of the one of its type `before`, as far as it says the same.
    pub fn next(
        before: &[Self],
        type_: &str,
        status: &str,
        reason: &str,
        message: String,
        now: Time,
    ) -> Self {
        let old = before.iter().find(|old| old.type_ == type_ && old.status == status);
        let same = old.filter(|old| old.reason == reason && old.message == message);
        Self {
            type_: type_.to_owned(),
            status: status.to_owned(),
            last_update_time: same.map_or_else(|| Some(now.clone()), |old| old.last_update_time.clone()),
            last_transition_time: old.map_or(Some(now), |old| old.last_transition_time.clone()),
            reason: reason.to_owned(),
            message,
        }
    }
}

named! {
    /// Phase of a group's life.
    #[derive(Default, JsonSchema)]
    pub enum Phase {
        /// Entered in the status; its RayCluster is about to be created.
        #[default]
        Pending = "Pending",
        /// The pods are being scheduled and started.
        Provisioning = "Provisioning",
        /// The pods run; the Ray nodes are joining.
        Forming = "Forming",
        /// The engine is launched; placement group and ranks are being placed.
        Placing = "Placing",
        /// The ranks are placed; the engine loads the model.
        Loading = "Loading",
        /// The engine is healthy; the probe prompt is being answered.
        Probing = "Probing",
        /// It takes traffic.
        Ready = "Ready",
        /// It takes no new traffic; requests in flight are finishing.
        Draining = "Draining",
        /// The engine or the pods are being ended.
        Stopping = "Stopping",
        /// It cannot serve; `message` says why and what is tried next.
        Failed = "Failed",
        /// Its RayCluster is suspended (`spec.suspend`, as Kueue does it), so it has no pods. That is no failure: it comes up
        /// again when it is resumed.
        Suspended = "Suspended",
    }
}

named! {
    /// Kind of a group's failure. Where `ray-bridge` finds it, it has the same name there.
    pub enum FailureKind {
        /// Ranks died while their nodes live.
        RankDied = "RankDied",
        /// The engine's own processes died or gave up.
        EngineDied = "EngineDied",
        /// The engine's job ended, and nothing is known of what died before.
        JobEnded = "JobEnded",
        /// A node is lost: its kubelet, or its Ray node.
        NodeLost = "NodeLost",
        /// Ray's head is lost, or was restarted and has forgotten the engine.
        HeadLost = "HeadLost",
        /// A pod is gone or ends.
        PodLost = "PodLost",
        /// A pod does not end, so it is not replaced.
        PodStuck = "PodStuck",
        /// Its RayCluster has several head pods.
        SeveralHeads = "SeveralHeads",
        /// Requests wait, and the engine makes no step.
        Hung = "Hung",
        /// The engine says that it is not healthy.
        Unhealthy = "Unhealthy",
        /// Ranks are not where the plan has them.
        WrongPlacement = "WrongPlacement",
        /// The probe prompt was not answered as expected.
        ProbeFailed = "ProbeFailed",
        /// Pods and Ray nodes were not up in time, nor an engine that the template starts.
        FormationTimedOut = "FormationTimedOut",
        /// Ray did not take the engine's launch until its time was over.
        LaunchRefused = "LaunchRefused",
        /// The engine was not ready in time.
        StartTimedOut = "StartTimedOut",
        /// What had served was not ready again in time.
        NotReady = "NotReady",
        /// The engine does not end.
        StopTimedOut = "StopTimedOut",
        /// The Ray dashboard does not answer, so that it is not known whether an engine has ended.
        DashboardUnreachable = "DashboardUnreachable",
    }
}

/// A failure of a group.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupFailure {
    /// Its kind in a word, such as `RankDied`.
    // No enum in the schema: it would refuse the writes of a version that knows more kinds.
    #[schemars(with = "String")]
    pub kind: FailureKind,
    /// When it was.
    pub time: Time,
}

/// What has been decided about a group.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Goal {
    /// Bring it up and keep it serving.
    #[default]
    Serve,
    /// Drain it and replace its engine on the same pods.
    SwapEngine,
    /// Drain it and delete its RayCluster.
    Retire,
}

/// One group: what users see, and what has been decided about it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// Name of the RayCluster.
    pub name: GroupName,
    /// Slot: the lowest number that was free when the group was entered here.
    pub slot: u32,
    /// Attempt at this slot; a group that is recreated after a failure gets the next number.
    #[serde(default)]
    pub attempt: u32,
    /// UID of the RayCluster once it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Pod revision: hash of the template that its pods are made from.
    pub revision: PodRevision,
    /// Engine revision: hash of the model block that its engine runs or is to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_revision: Option<EngineRevision>,
    /// Phase of its life: `Pending` until its RayCluster is created, `Provisioning` while its pods start, `Forming`
    /// while its Ray nodes join, `Placing` while the ranks are placed, `Loading` while the engine loads the model,
    /// `Probing` while the probe prompt is answered, `Ready` while it takes traffic, `Draining` while its last
    /// requests end, `Stopping` while engine or pods are ended, `Failed` when it cannot serve: `message` says what
    /// is tried next; `Suspended` while its RayCluster is suspended, as by Kueue.
    pub phase: Phase,
    /// When it entered that phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<Time>,
    /// While it comes up: when it was entered here, or its engine last launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it became ready, while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Time>,
    /// What has been decided about it: `Serve`, `SwapEngine` (drain it and replace its engine on the same pods) or
    /// `Retire` (drain it and delete its RayCluster).
    #[serde(default)]
    pub goal: Goal,
    /// Why that was decided; while it recovers from a failure, that failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal_reason: Option<String>,
    /// Number of the engine launch on this RayCluster; part of the submission id.
    #[serde(default)]
    pub launch: u32,
    /// The engine must be ready by then, or the launch counts as failed. Unset while it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline: Option<Time>,
    /// Since when its pods are to be up and in Ray, while they are not. Later than that by what it had to wait for room,
    /// images or KubeRay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forming_since: Option<Time>,
    /// Since when it waits for room, an image or KubeRay, while it does: that time does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Time>,
    /// Since when neither Ray nor the engine has answered, while they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<Time>,
    /// Since when it does not serve although it did, while that may pass by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready_since: Option<Time>,
    /// When the group left the endpoints for its drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_endpoints_at: Option<Time>,
    /// Not to be tried again before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Time>,
    /// When its RayCluster was last set back to the size that it was made with, after somebody else changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired_at: Option<Time>,
    /// While its pods wait for nodes that an autoscaler may add (`whenNoRoom: Pend`): when it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pend_until: Option<Time>,
    /// Name of the head pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<PodName>,
    /// Kubernetes nodes of its pods, the head's first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
    /// Ranks placed as planned, of all ranks: `4/4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ranks: Option<RankCount>,
    /// Where each rank is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placement: Vec<RankPlacement>,
    /// Every difference between the plan and where Ray reports the ranks, while there is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misplaced: Vec<String>,
    /// Nodes that its pods are kept off, because the fleet's groups failed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub avoid_nodes: Vec<NodeName>,
    /// Requests in flight when last looked; while it serves this is written every 10 s at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// When `inFlight` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight_at: Option<Time>,
    /// Engine restarts after failures since it was last stable.
    #[serde(default)]
    pub restarts: u32,
    /// Times that the whole group was recreated after failures since its slot was last stable.
    #[serde(default)]
    pub failures: u32,
    /// Launches in a row that never came to serve. More than `failurePolicy.engineRestarts` of them speak
    /// against the revision.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_starts: u32,
    /// The last failure, of this group or of the one that it stands in for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<GroupFailure>,
    /// What it waits for, or why it failed and what helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl GroupStatus {
    /// What its pods are made from and its engine runs.
    pub fn revisions(&self) -> Revision {
        Revision { pod: self.revision.clone(), engine: self.engine_revision.clone() }
    }

    /// The launch that it stands at.
    pub fn launch_id(&self) -> LaunchId {
        LaunchId { group: self.name.clone(), engine: self.engine_revision.clone(), number: self.launch }
    }
}

/// Where one rank is.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RankPlacement {
    /// Rank: (data-parallel rank × stages + stage) × tensor size + tensor rank.
    pub rank: u32,
    /// Data-parallel rank; only with data parallelism.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<u32>,
    /// Tensor rank.
    pub tensor: u32,
    /// Pipeline stage.
    pub stage: u32,
    /// Kubernetes node.
    pub node: NodeName,
}

named! {
    /// Step of a rollout.
    #[derive(Default)]
    pub enum RolloutStep {
        /// Groups are missing, or not available yet.
        #[default]
        StartingGroups = "Starting groups",
        /// Groups of an older pod revision are being replaced.
        ReplacingGroups = "Replacing groups",
        /// Engines of an older revision are being replaced.
        SwappingEngines = "Swapping engines",
        /// Groups that are not wanted any more go.
        RemovingGroups = "Removing groups",
        /// Nothing is left to do.
        Complete = "Complete",
        /// The fleet goes back from a revision that failed.
        RollingBack = "Rolling back",
        /// It has gone back.
        RolledBack = "Rolled back",
        /// `spec.paused` holds it.
        Paused = "Paused",
        /// Nothing under way will free the room that it needs.
        WaitingForRoom = "Waiting for room",
        /// A surge group waits for nodes (`whenNoRoom: Pend`). That wait has an end of its own.
        WaitingForNodes = "Waiting for nodes",
        /// It only waits for groups that somebody has suspended.
        Suspended = "Suspended",
        /// The spec breaks a rule.
        InvalidSpec = "InvalidSpec",
        /// KubeRay's CRD refuses the template.
        InvalidTemplate = "InvalidTemplate",
        /// There is no RayCluster CRD.
        KubeRayMissing = "KubeRayMissing",
        /// The API server does not take the RayCluster now: a policy, a right that is missing, a webhook that is down.
        CreateRefused = "CreateRefused",
    }
}

/// What the rollout is doing.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The current step in a few words; `Complete` when there is none.
    // No enum in the schema: it would refuse the writes of a version that knows more steps.
    #[schemars(with = "String")]
    pub step: RolloutStep,
    /// Why this step, or what is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Revision (`<pod>/<engine>`) that is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Revision>,
    /// Revision that is being rolled out.
    #[schemars(with = "String")]
    pub to: Revision,
    /// Number of the ControllerRevision of `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_number: Option<i64>,
    /// Revision that all groups had when a rollout was complete last: what a partition keeps, and what
    /// `onFailure: Rollback` goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub stable: Option<Revision>,
    /// The rollback in force, if a revision failed. It ends when the fleet asks for another revision or for
    /// `onFailure: Hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackStatus>,
    /// Revision for which surge groups waited for nodes in vain (`whenNoRoom: Pend`), until the spec changes or the rollout is
    /// complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub pend_failed_revision: Option<Revision>,
    /// How often they did, as far as waits grow with it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pend_failures: u32,
    /// Before this time no other surge group waits for nodes. With `maxUnavailable` above 0 one does only for a group that has to leave its nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pend_retry_after: Option<Time>,
    /// Last time that something moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_progress: Option<Time>,
    /// Requests that were cut off by drain deadlines, since the fleet exists.
    #[serde(default)]
    pub lost_requests: i64,
}

/// A revision that failed, while the fleet goes back to the one before or has done so.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStatus {
    /// The revision that failed; the fleet still asks for it.
    #[schemars(with = "String")]
    pub failed: Revision,
    /// Why it counts as failed.
    pub cause: String,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
