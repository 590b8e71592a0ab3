//! What a model is made of, as its config.json says. Nothing of bytes, ranks or GPUs.

use serde::Serialize;

use crate::quantization::Quantization;

/// A model whose weights and caches can be counted.
#[derive(Clone, Debug)]
pub struct Model {
    /// `model_type` of the language model.
    pub family: String,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Tokens of the vocabulary, before the engine pads it.
    pub vocabulary: u64,
    /// The head uses the embedding's weights.
    pub tied: bool,
    /// The longest context that the model declares, in tokens; vLLM's default `--max-model-len`.
    pub context: u64,
    /// The decoder's layers, in order.
    pub layers: Vec<Layer>,
    /// Streams of the residual (hyper-connections of DeepSeek V4); 1 otherwise.
    pub streams: u64,
    /// Parameters of a vision tower, estimated; 0 without one.
    pub vision: u64,
    /// Layers that predict further tokens: in the checkpoint, but only loaded for speculative decoding.
    pub prediction_layers: u32,
    /// Which weights have which precision.
    pub quantization: Quantization,
}

impl Model {
    /// Experts of a layer that has the most of them; 0 in a dense model. Shared experts do not count.
    pub fn experts(&self) -> u64 {
        let of = |layer: &Layer| match &layer.feed_forward {
            FeedForward::Experts(found) => found.experts,
            FeedForward::Dense { .. } => 0,
        };
        self.layers.iter().map(of).max().unwrap_or(0)
    }
}

/// One layer of the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// How tokens see each other.
    pub attention: Attention,
    /// What each token passes through.
    pub feed_forward: FeedForward,
}

/// How tokens see each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Queries share keys and values in groups (GQA).
    Grouped(Grouped),
    /// Keys and values are stored as one latent vector (MLA).
    Latent(Latent),
    /// One key and value head whose cache is compressed (DeepSeek V4).
    Compressed(Compressed),
    /// A state of fixed size instead of a cache (gated delta net).
    Linear(Linear),
}

/// Which projections of attention have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// Those to queries, keys and values.
    Inputs,
    /// Those and the output.
    All,
}

/// Grouped-query attention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grouped {
    /// Query heads.
    pub heads: u64,
    /// Key and value heads.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Only so many tokens back are seen.
    pub window: Option<u64>,
    /// Which of its projections have a bias.
    pub bias: Bias,
    /// Weights of the norms of queries and keys, in all.
    pub norms: u64,
    /// The output passes a gate as wide as the queries.
    pub gate: bool,
    /// One learned sink a head.
    pub sinks: bool,
    /// Heads and width of an index that selects blocks (`MiniMax M3`).
    pub index: Option<(u64, u64)>,
}

/// Multi-head latent attention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latent {
    /// Query heads.
    pub heads: u64,
    /// Width of the queries' latent; 0: queries are projected directly.
    pub query_rank: u64,
    /// Width of the latent of keys and values.
    pub kv_rank: u64,
    /// Width of a head's part without position.
    pub nope: u64,
    /// Width of a head's part with position.
    pub rope: u64,
    /// Width of a head's values.
    pub value: u64,
    /// Heads and width of an index that selects tokens (DeepSeek V3.2, GLM-5).
    pub index: Option<(u64, u64)>,
}

/// Attention over a compressed cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compressed {
    /// Query heads.
    pub heads: u64,
    /// Width of a head, and of the one key-value head.
    pub head_dim: u64,
    /// Width of the queries' latent.
    pub query_rank: u64,
    /// Groups of the output projection.
    pub output_groups: u64,
    /// Width of a group's latent.
    pub output_rank: u64,
    /// Tokens that share one entry of the cache: 4 (with an index), 128, or 1 for none beyond the window.
    pub ratio: u64,
    /// Uncompressed tokens.
    pub window: u64,
    /// Heads and width of the index of layers with ratio 4.
    pub index: (u64, u64),
}

/// Linear attention by a gated delta net.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Key heads.
    pub key_heads: u64,
    /// Width of a key head.
    pub key_dim: u64,
    /// Value heads.
    pub value_heads: u64,
    /// Width of a value head.
    pub value_dim: u64,
    /// Width of the convolution.
    pub kernel: u64,
}

/// What each token passes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// One gated network.
    Dense {
        /// Its width.
        intermediate: u64,
        /// Its three matrices have biases.
        bias: bool,
    },
    /// Experts, of which each token uses a few.
    Experts(Experts),
}

/// A mixture of experts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experts {
    /// Experts to choose from.
    pub experts: u64,
    /// Experts that a token uses.
    pub per_token: u64,
    /// Width of an expert.
    pub intermediate: u64,
    /// Width of all shared experts together; 0 without.
    pub shared: u64,
    /// The shared expert has a gate.
    pub shared_gate: bool,
    /// Experts and router have biases.
    pub bias: bool,
    /// The router has a float32 correction for each expert.
    pub correction: bool,
}

/// Kinds of weights, each with a line of its own in an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Group {
    /// The table of token vectors, on the first stage.
    Embedding,
    /// Projections of attention.
    Attention,
    /// What selects tokens for sparse attention.
    Index,
    /// Feed-forward networks that every token passes through.
    Dense,
    /// Shared experts.
    SharedExperts,
    /// Experts that are routed to.
    Experts,
    /// What routes to experts.
    Router,
    /// Norms and other small vectors.
    Norms,
    /// The projection to the vocabulary, on the last stage.
    Head,
    /// The vision tower.
    Vision,
}

impl Group {
    /// As the text of an explanation says it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Attention => "attention",
            Self::Index => "index",
            Self::Dense => "dense",
            Self::SharedExperts => "shared experts",
            Self::Experts => "experts",
            Self::Router => "router",
            Self::Norms => "norms",
            Self::Head => "head",
            Self::Vision => "vision",
        }
    }
}
