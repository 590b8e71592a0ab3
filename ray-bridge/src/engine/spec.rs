//! The specification of one engine to start, and what Ray and the launcher receive of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::json;

use super::args::{ArgRefused, check_args, check_env};
use super::probe::Probe;
use super::record::{LaunchRecord, PLAN_METADATA, RECORD_METADATA};
use super::vllm;
use crate::SubmissionId;
use crate::placement::{Placement, RankSlot, Shape};

/// The command of the job, in the launch package. `exec` makes the launcher a child of Ray's supervisor. With
/// a shell in between it would stay a zombie if the container's first process does not reap it, as `ray start
/// --block` does not, and Ray would wait its full 3 s for a process that has already ended.
pub const LAUNCHER_ENTRYPOINT: &str = "exec python -u rayfleet_launcher.py";

/// The kind of engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineKind {
    /// vLLM's OpenAI-compatible server.
    Vllm,
    /// A callable that is importable on every node and takes the same arguments as vLLM.
    Custom {
        /// `module:callable`.
        entrypoint: String,
    },
}

/// One engine. Its `Debug` shows the names of environment variables, not their values.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineSpec {
    /// Which engine.
    pub kind: EngineKind,
    /// Submission id of its job and name of its placement group; no name is started twice.
    pub name: SubmissionId,
    /// The model's name in requests.
    pub model_name: String,
    /// The model as the engine loads it: a path that exists on every node, or a repository id.
    pub source: String,
    /// More arguments of the engine; see [`check_args`].
    pub args: Vec<String>,
    /// Environment of the API server and all ranks; see [`check_env`]. Ray shows it to everyone who may read
    /// the job.
    pub env: BTreeMap<String, String>,
    /// Data × tensor × pipeline parallelism.
    pub shape: Shape,
    /// Port of the API server on the head node.
    pub port: u16,
    /// How long the placement group may be pending before the job fails.
    pub placement_timeout: Duration,
    /// The probe that the launcher's middleware may send if the engine wants a key; `None` without a probe.
    pub probe: Option<Probe>,
}

impl EngineSpec {
    /// Refuses an impossible specification before anything is sent.
    pub fn check(&self) -> Result<(), ArgRefused> {
        let refuse = |what: &str, reason| Err(ArgRefused { what: what.to_owned(), reason });
        if self.source.is_empty() || self.source.starts_with('-') {
            return refuse("source", "must be a path or repository id that does not begin with '-'");
        }
        if self.model_name.is_empty() || self.model_name.starts_with('-') {
            return refuse("model name", "must not be empty and must not begin with '-'");
        }
        if self.port == 0 {
            return refuse("port", "must be 1 to 65535");
        }
        if let EngineKind::Custom { entrypoint } = &self.kind
            && !is_callable(entrypoint)
        {
            return refuse("entrypoint", "must be module:callable, both Python names");
        }
        check_args(&self.args)?;
        check_env(&self.env)
    }

    /// The engine's command line after its own name: source, the bridge's options, then the user's arguments.
    pub fn argv(&self) -> Vec<String> {
        vllm::argv(self)
    }

    /// Environment of the job: the user's, and the specification for the launcher.
    pub(crate) fn job_env(&self, placement: &Placement) -> BTreeMap<String, String> {
        let bundle = |slot: &RankSlot| json!({"rank": slot.rank, "nodeId": slot.node_id});
        let mut spec = json!({
            "name": self.name,
            "engine": "vllm",
            "bundles": placement.ranks.iter().map(bundle).collect::<Vec<_>>(),
            "apiServerNodeId": placement.api_server_node,
            "tensor": self.shape.tensor(),
            "pipeline": self.shape.pipeline(),
            "port": self.port,
            "argv": self.argv(),
            "placementTimeoutSeconds": self.placement_timeout.as_secs_f64(),
        });
        if self.shape.data() > 1 {
            spec["data"] = json!(self.shape.data());
        }
        if let EngineKind::Custom { entrypoint } = &self.kind {
            spec["engine"] = json!("custom");
            spec["entrypoint"] = json!(entrypoint);
        }
        if let Some(probe) = &self.probe {
            spec["probe"] = probe.bodies();
        }
        let mut env = self.env.clone();
        env.insert("RAYFLEET_SPEC".to_owned(), spec.to_string());
        env
    }

    /// Metadata of the job: what a later reader needs to compare the report with the plan.
    pub(crate) fn metadata(&self, placement: &Placement) -> BTreeMap<String, String> {
        // `json!` panics at what cannot be serialized: neither has a map, and nothing in them refuses.
        let pairs = [
            (PLAN_METADATA, json!(placement).to_string()),
            (RECORD_METADATA, json!(LaunchRecord::of(self)).to_string()),
            ("rayfleet.io/model", self.model_name.clone()),
            ("rayfleet.io/shape", self.shape.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

fn is_callable(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.split_once(':').is_some_and(|(module, callable)| module.split('.').all(is_name) && is_name(callable))
}

impl fmt::Debug for EngineSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSpec")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("model_name", &self.model_name)
            .field("source", &self.source)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("shape", &self.shape)
            .field("port", &self.port)
            .field("placement_timeout", &self.placement_timeout)
            .field("probe", &self.probe)
            .finish()
    }
}
