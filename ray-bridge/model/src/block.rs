//! The model block as users write it: `spec.model` of a fleet, or a model file. Only types; what they default to is in
//! [`crate::valid`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The model that Rayfleet places and runs.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Name that clients ask for (`model` in a completion request).
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What the engine loads: a path in the containers or a name it can resolve.
    #[schemars(length(min = 1, max = 4096))]
    pub source: String,
    /// The engine and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
    /// How many ranks there are; their product is the number of GPUs of the template.
    pub parallelism: Parallelism,
    /// Which nodes the ranks go to. Default: as near to each other as can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementPolicy>,
    /// Port of the engine's API server on the head. Default 8000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Longest time from a launch to a healthy engine. Default: 45m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub start_timeout: Option<String>,
    /// Prompt that must be answered before a group may take traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

/// The engine and what it is given.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Engine {
    /// Kind of engine.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub type_: Option<EngineType>,
    /// Python callable `module:function` of a custom engine, importable in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub entrypoint: Option<String>,
    /// Further arguments. Those that Rayfleet sets itself or relies on are refused: parallel sizes, executor
    /// backend, host, port, served name, TLS files and API key. With `env` at most 96 KiB.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::arguments")]
    pub args: Vec<String>,
    /// Environment of the engine. The Ray dashboard shows it in clear: put secrets into the pod
    /// template instead. No name may be there twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub env: Vec<EnvVar>,
}

/// `vllm` (default), or `custom`: a Python callable of the image, named by `entrypoint`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineType {
    /// vLLM's OpenAI-compatible server.
    #[default]
    Vllm,
    /// A Python callable of the image.
    Custom,
}

/// One variable of the engine's environment.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Value, in clear.
    #[serde(default)]
    #[schemars(length(max = 32768))]
    pub value: String,
}

/// Numbers of ranks.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parallelism {
    /// Tensor-parallel size: ranks that share each layer, always on one node, or within `placement.tensorDomain`.
    /// Default 1.
    #[serde(default = "schema::one_u32")]
    #[schemars(range(min = 1, max = 1024))]
    pub tensor: u32,
    /// Pipeline-parallel size: stages of layers. Default 1.
    #[serde(default = "schema::one_u32")]
    #[schemars(range(min = 1, max = 1024))]
    pub pipeline: u32,
    /// Data-parallel size, for mixtures of experts: so many engines, each of `tensor` × `pipeline` ranks with its own
    /// cache, behind one API server. With `--enable-expert-parallel` in `engine.args` their ranks share the experts
    /// among all of them. Dense models gain nothing and are refused when they load: raise `replicas` instead. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub data: Option<u32>,
}

impl Parallelism {
    /// Data-parallel engines; 1 without data parallelism.
    pub fn engines(&self) -> u32 {
        self.data.unwrap_or(1)
    }

    /// Ranks, and therefore GPUs, of all engines together.
    pub fn ranks(&self) -> u64 {
        [self.tensor, self.pipeline, self.engines()].into_iter().map(u64::from).fold(1, u64::saturating_mul)
    }

    /// The sizes in words, with their product: `tensor 8 x pipeline 2 = 16 ranks`.
    pub fn in_words(&self) -> String {
        let data = if self.engines() == 1 { String::new() } else { format!("data {} x ", self.engines()) };
        format!("{data}tensor {} x pipeline {} = {} ranks", self.tensor, self.pipeline, self.ranks())
    }
}

/// Which nodes the ranks go to. Labels are those of Ray's nodes and, in a fleet, of the Kubernetes nodes below them.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementPolicy {
    /// How stages share nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<PlacementStrategy>,
    /// Label of a domain that a stage's tensor ranks never leave, such as `nvidia.com/gpu.clique`; without it, and on nodes
    /// without the label, they never leave a node. Its values must be unique in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_key")]
    pub tensor_domain: Option<String>,
    /// Labels that tell which nodes are near to each other, from the inside out, such as rack and zone. Default: the
    /// labels of fabric, rack, block and zone that Ray, NVIDIA's tools and clouds set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::label_keys")]
    pub topology: Vec<String>,
}

/// How stages share nodes: `Pack` (default) takes the cheapest hops from stage to stage, `Spread` gives no node more
/// stages than it must, then takes the cheapest hops.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlacementStrategy {
    /// The cheapest hops.
    #[default]
    Pack,
    /// As few stages on each node as can be.
    Spread,
}

/// A prompt that proves that an engine answers.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// The prompt. Default `Hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub prompt: Option<String>,
    /// Tokens to ask for. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_tokens: Option<i32>,
    /// Text that the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub expect: Option<String>,
}
