//! The specification that the bridge passes to the launcher, and the names that follow from it.

use serde::Deserialize;
use serde_json::Value;

/// The launcher's specification.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) bundles: Vec<Planned>,
    pub(super) api_server_node_id: String,
    pub(super) tensor: u32,
    pub(super) pipeline: u32,
    pub(super) port: u16,
    pub(super) argv: Vec<String>,
    #[serde(default = "a_minute")]
    pub(super) placement_timeout_seconds: f64,
}

fn a_minute() -> f64 {
    60.0
}

/// A rank with the node that it is planned on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Planned {
    pub(super) node_id: String,
}

impl Spec {
    /// The specification of a launch without one.
    pub(super) fn nothing() -> Self {
        Self {
            name: String::new(),
            bundles: Vec::new(),
            api_server_node_id: String::new(),
            tensor: 1,
            pipeline: 1,
            port: 0,
            argv: Vec::new(),
            placement_timeout_seconds: a_minute(),
        }
    }

    pub(super) fn read(runtime_env: &Value) -> Result<Self, String> {
        let text = runtime_env.pointer("/env_vars/RAYFLEET_SPEC").and_then(Value::as_str);
        let text = text.ok_or(
            "RAYFLEET_SPEC is not set: give the launch specification as JSON in this variable".to_owned(),
        )?;
        serde_json::from_str(text).map_err(|error| format!("RAYFLEET_SPEC is not JSON: {error}"))
    }

    /// Planned nodes: one for each rank, and that of the API server.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &String> {
        self.bundles.iter().map(|bundle| &bundle.node_id).chain([&self.api_server_node_id])
    }

    /// The model source that the engine is given.
    pub(super) fn source(&self) -> String {
        self.argv.first().cloned().unwrap_or_default()
    }

    /// The model name that requests give.
    pub(super) fn model(&self) -> Option<String> {
        let at = self.argv.iter().position(|arg| arg == "--served-model-name")?;
        self.argv.get(at + 1).cloned()
    }

    /// Name of a rank's actor; vLLM leaves out dimensions that are not parallel.
    pub(super) fn rank_name(&self, engine: i64, rank: u32) -> String {
        let part = |letters: &str, of: u32, ranks: u32| {
            if ranks > 1 { format!("_{letters}{of}") } else { String::new() }
        };
        let tensor = part("TP", rank % self.tensor.max(1), self.tensor);
        let stage = part("PP", rank / self.tensor.max(1), self.pipeline);
        format!("vllm_Worker_{engine}{tensor}{stage}")
    }
}
