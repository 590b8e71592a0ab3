//! What a job carries in its metadata: the plan of its ranks, and a record of what was launched.

use serde::{Deserialize, Serialize};

use super::spec::{EngineKind, EngineSpec};
use crate::dashboard::Job;
use crate::id::digest;
use crate::placement::Placement;

/// Metadata key of the plan.
pub(crate) const PLAN_METADATA: &str = "rayfleet.io/plan";

/// Metadata key of the record.
pub(crate) const RECORD_METADATA: &str = "rayfleet.io/engine";

/// What was launched, as far as needed to talk to the engine and to compare it with another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchRecord {
    /// The model's name in requests.
    pub model: String,
    /// Port of the API server.
    pub port: u16,
    /// Hash of engine, arguments and environment; equal for equal engines.
    pub digest: String,
}

impl LaunchRecord {
    /// The record of an engine to launch.
    pub fn of(spec: &EngineSpec) -> Self {
        let entrypoint = match &spec.kind {
            EngineKind::Vllm => "",
            EngineKind::Custom { entrypoint } => entrypoint,
        };
        // Strings and maps of strings only, so serialization cannot fail.
        let text = serde_json::to_vec(&(entrypoint, spec.argv(), &spec.env)).unwrap_or_default();
        Self { model: spec.model_name.clone(), port: spec.port, digest: digest(&text) }
    }

    /// The record of a job; `None` if the bridge did not launch it.
    pub fn read(job: &Job) -> Option<Self> {
        serde_json::from_str(job.metadata.get(RECORD_METADATA)?).ok()
    }
}

/// The plan that a job was launched with; `None` if it has none that can be parsed.
pub fn plan_of(job: &Job) -> Option<Placement> {
    let plan: Placement = serde_json::from_str(job.metadata.get(PLAN_METADATA)?).ok()?;
    // A shape has at most 1024 ranks; a list from outside may have any length.
    (u32::try_from(plan.ranks.len()) == Ok(plan.shape.ranks())).then_some(plan)
}
