//! `spec` of a RayClusterFleet as users write it: AIBrix's fields with their meaning, plus
//! `model`, `drain` and `failurePolicy`. Only types; what they default to is in [`crate::valid`].

#![allow(clippy::duplicated_attributes, reason = "each printer column has a name, a type and a path")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
pub use ray_bridge_model::{
    Engine, EngineType, EnvVar, Model, Parallelism, PlacementPolicy, PlacementStrategy, Probe,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::RayClusterFleetStatus;
use crate::{FieldError, Shared, schema};

/// Groups that a fleet may ask for; see [`MOST_GROUPS`].
pub const MOST_REPLICAS: u32 = 500;

/// Groups that a fleet may have at a time, a surge included. etcd takes 1.5 MiB in one request, and the status may have 1 MiB
/// of it. An entry of the status with every field set takes 1.1 kB once what is only shown is left out, so 750 entries
/// take 0.8 MB; 64 nodes with failures and all conditions take 0.1 MB.
pub const MOST_GROUPS: u32 = 750;

/// RayClusterFleet runs N replica groups of one large model. A group is a KubeRay RayCluster (a
/// head and its workers) with one tensor/pipeline-parallel engine inside.
// It can be read whatever is in it: see `crate::tolerant`.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize)]
#[kube(
    group = "orchestration.aibrix.ai",
    version = "v1alpha1",
    kind = "RayClusterFleet",
    namespaced,
    status = "RayClusterFleetStatus",
    shortname = "rcf",
    doc = "N replica groups of one large model: RayClusters with one engine each.",
    category = "all",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.scalingTargetSelector"
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.updatedReplicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.availableReplicas"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.rollout.step"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.rollout.reason", priority = 1),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model.name", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RayClusterFleetSpec {
    /// Number of replica groups. Default 1. No fleet has more than 750 groups at a time, its surge included: the status
    /// has to fit into etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 500))]
    pub replicas: Option<i32>,
    /// Selects the groups of this fleet. It must match the labels of the template and cannot be
    /// changed.
    pub selector: LabelSelector,
    /// The RayCluster that every group is made from.
    pub template: RayClusterTemplate,
    /// How groups are replaced when the template or the model changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Seconds that a group must have been ready before it counts as available. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub min_ready_seconds: Option<i32>,
    /// Number of old revisions that are kept for `rollout undo`, 100 at most. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<i32>,
    /// Stops rollouts where they are. Scaling and repair go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Seconds without progress after which the rollout is reported as stuck. Default: `drain.timeout` plus, if
    /// groups have come up with this model, the larger of 10m and three times what they took; else the larger of
    /// `model.startTimeout` and 10m with 1m more for each GPU of a group. Without `model`, 600 counts as not set:
    /// AIBrix's CRD writes it into every fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub progress_deadline_seconds: Option<i32>,
    /// How in-flight requests end before an engine is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// What is tried when an engine fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_policy: Option<FailurePolicy>,
    /// The model that Rayfleet places and runs on the Ray nodes. Without it the engine is started
    /// by the template's own command, as in AIBrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
    /// What could not be read of all that. Nothing that an API server knows.
    #[serde(skip)]
    pub unreadable: Vec<FieldError>,
}

/// Metadata and spec of the RayClusters.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RayClusterTemplate {
    /// Labels and annotations of every RayCluster. Those of its pods are in the pod templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// A RayClusterSpec of the KubeRay that is installed; its fields are passed on unchanged.
    #[schemars(schema_with = "schema::ray_cluster_spec")]
    pub spec: Shared,
}

/// The part of an object's metadata that a template may set.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::label_map")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How groups are replaced.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// Kind of strategy.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<StrategyType>,
    /// Bounds of a rolling update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
    /// Behaviour when there is no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_no_room: Option<WhenNoRoom>,
    /// With `whenNoRoom: Pend`, how long the pods of a surge group may wait for nodes before the group is given up, as `30m`.
    /// Default 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub pend_timeout: Option<String>,
    /// Behaviour when the new revision fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}

/// How: `RollingUpdate` (default) replaces whole groups within `rollingUpdate`, `Recreate` ends all old groups
/// before it starts new ones.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StrategyType {
    /// Replace groups step by step. AIBrix's controller stores an empty text in fleets that say nothing.
    #[default]
    #[serde(alias = "")]
    RollingUpdate,
    /// End all old groups, then start the new ones.
    Recreate,
}

/// Bounds of a rolling update, in groups or percent of `replicas`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollingUpdate {
    /// Groups that may exist above `replicas`; percentages round up. Default 25%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::groups_or_percent")]
    pub max_surge: Option<IntOrString>,
    /// Groups that may be unavailable; percentages round down. Default 25%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::groups_or_percent")]
    pub max_unavailable: Option<IntOrString>,
    /// Groups that stay on the old revision, also when one of them has to be re-created: a canary is
    /// `replicas - partition` groups. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::groups_or_percent")]
    pub partition: Option<IntOrString>,
}

/// What to do when no whole surge group fits on the nodes: `Replace` (default) a group within
/// `maxUnavailable`, `Wait` until there is room, or `Pend`: make the group all the same, so that a node autoscaler sees its
/// pods. If no nodes have come for it within `pendTimeout` it is given up, and the rollout goes on as with `Replace`, or, with
/// `maxUnavailable` 0, pends again after waits that grow.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WhenNoRoom {
    /// Replace one group within `maxUnavailable`.
    #[default]
    Replace,
    /// Hold until a whole group fits.
    Wait,
    /// Let the group's pods wait for nodes, for a while.
    Pend,
}

/// What to do when a new revision fails, by launches that never come to serve or by the progress deadline:
/// `Hold` (default) the rollout and say so, or `Rollback` to the last revision that was complete.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Stop the rollout and say so.
    #[default]
    Hold,
    /// Go back to the last revision that was complete.
    Rollback,
}

/// How in-flight requests end.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// Longest time that requests in flight get before the engine is stopped, as `90s` or `10m`. With `0s` they are
    /// cut off at once. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration_or_none")]
    pub timeout: Option<String>,
}

/// What is tried when an engine fails.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailurePolicy {
    /// Restarts of the engine on the same RayCluster before the whole group is recreated. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub engine_restarts: Option<i32>,
    /// Wait between attempts; doubles from `initial` to `max`. None before the first restart of what had served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How long a group that served may be without an answer of its engine or of Ray, or without one of its Ray
    /// nodes, before that counts as a failure; its traffic stops long before. Also how long an engine may owe
    /// answers without making a step before it counts as hung. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub hung_after: Option<String>,
    /// Failures of this fleet's groups that came from one node within an hour before that node is avoided: groups
    /// are then recreated without it, as long as there is room elsewhere. 0: never avoid a node. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub avoid_node_after: Option<i32>,
}

/// Exponential wait between attempts: `initial` must not be above `max`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// First wait. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub initial: Option<String>,
    /// Longest wait. Default 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub max: Option<String>,
}
