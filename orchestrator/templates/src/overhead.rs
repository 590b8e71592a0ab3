//! What the engine needs on a GPU beside weights and cache. Estimates, with the reason of each: vLLM measures
//! them when it starts (`determine_available_memory` in `vllm/v1/worker/gpu_worker.py`).

use serde::Serialize;

use crate::gpu::{Gpu, Link};
use crate::model::{Attention, FeedForward, Layer, Model};
use crate::rank::Ranks;

/// CUDA context, libraries, CUDA graphs and what fragments: 3.5 GiB (`other_mem` in every system file of
/// ai-dynamo/aiconfigurator 095f58a, raised from a measured 551 MB "for safer deployment").
pub const OTHER: u64 = 3_758_096_384;

/// Buffers of NCCL for two ranks, and for more (`nccl_mem`, same files).
const COMMUNICATION: [u64; 2] = [358_612_992, 411_041_792];

/// The least that activations need (`MIN_ACTIVATION_BYTES` in aiconfigurator's `base_backend.py`).
const LEAST_ACTIVATION: u64 = 70 << 20;

/// vLLM's default limits of a step: they depend on the memory of a GPU (`get_batch_defaults` in
/// `vllm/engine/arg_utils.py`, for the API server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `--max-num-batched-tokens`.
    pub tokens: u64,
    /// `--max-num-seqs`.
    pub sequences: u64,
}

impl Step {
    /// What vLLM takes on this GPU.
    pub fn default_on(gpu: &Gpu) -> Self {
        let gib = gpu.memory() >> 30;
        match gib {
            160.. => Self { tokens: 16_384, sequences: 1024 },
            70.. if !gpu.name.starts_with("a100") => Self { tokens: 8192, sequences: 1024 },
            _ => Self { tokens: 2048, sequences: 256 },
        }
    }

    /// Tokens in steps that have not ended: each stage works on one, and one more is prepared
    /// (`max_in_flight_tokens` in `vllm/config/vllm.py`, the most of its cases).
    pub fn in_flight(self, pipeline: u32) -> u64 {
        self.tokens.saturating_mul(u64::from(pipeline) + 1)
    }
}

/// Bytes on each rank of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overhead {
    /// The largest that is alive at once during a step.
    pub activation: u64,
    /// Logits of all sequences, on the last stage: in two bytes, and two copies in float32 for sampling.
    pub logits: u64,
    /// Buffers of collective communication.
    pub communication: u64,
    /// Everything else.
    pub other: u64,
}

impl Overhead {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        [self.activation, self.logits, self.communication, self.other]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// What a rank needs that has these layers.
    pub fn of(model: &Model, layers: &[Layer], (ranks, last): (Ranks, bool), step: Step) -> Self {
        let widest = layers.iter().map(|layer| width(model, layer, ranks)).max().unwrap_or(0);
        // Input, residual, and one of each for what comes out, per stream.
        let residual = model.hidden.saturating_mul(4).saturating_mul(model.streams);
        let numbers = residual.saturating_add(widest).saturating_mul(step.tokens);
        Self {
            activation: numbers.saturating_mul(2).max(LEAST_ACTIVATION),
            logits: if last { step.sequences.saturating_mul(model.vocabulary).saturating_mul(10) } else { 0 },
            communication: match ranks.tensor.saturating_mul(ranks.data) {
                0 | 1 => 0,
                2 => COMMUNICATION[0],
                _ => COMMUNICATION[1],
            },
            other: OTHER,
        }
    }
}

/// Numbers that a token of a step has in the widest part of a layer, on one rank: queries, keys, values and output of
/// attention, or what goes in and out of each of its experts (`moe_problem_size` of vLLM's Triton experts:
/// one buffer for the wider of gate-and-up and output, one for what the activation leaves).
///
/// With data parallelism experts are whole, and each rank has those buffers for the tokens of all engines, with what
/// is gathered and what is scattered again: it cannot know how many are its own (`M_full` in
/// `vllm/model_executor/layers/fused_moe/modular_kernel.py`, which no longer cuts it into chunks;
/// `allgather_reducescatter` is the default of `all2all_backend` in `vllm/config/parallel.py`).
fn width(model: &Model, layer: &Layer, ranks: Ranks) -> u64 {
    let tensor = ranks.tensor.max(1);
    let attention = match &layer.attention {
        Attention::Grouped(found) => (3 * found.heads / tensor + 2 * found.kv_heads) * found.head_dim,
        Attention::Latent(found) => {
            let head = 2 * (found.nope + found.rope) + 2 * found.value;
            found.heads / tensor * head + found.query_rank + found.kv_rank
        }
        Attention::Compressed(found) => found.heads / tensor * 2 * found.head_dim + 4 * found.head_dim,
        Attention::Linear(found) => {
            (2 * found.key_heads * found.key_dim + 3 * found.value_heads * found.value_dim) / tensor
        }
    };
    let feed_forward = match &layer.feed_forward {
        FeedForward::Dense { intermediate, .. } => 3 * intermediate / tensor,
        FeedForward::Experts(found) => {
            let shared = 3 * found.shared / tensor;
            let buffers = |part: u64| found.per_token.saturating_mul((2 * part).max(model.hidden) + part);
            if ranks.data > 1 {
                let gathered = buffers(found.intermediate).saturating_add(2 * model.hidden);
                gathered.saturating_mul(ranks.data).saturating_add(shared)
            } else {
                buffers(found.intermediate / tensor).saturating_add(shared)
            }
        }
    };
    attention.max(feed_forward)
}

/// What a reader should know of tensor parallelism over this link, if anything.
pub fn link_warning(gpu: &Gpu, tensor: u32) -> Option<String> {
    (gpu.link == Link::PciExpress && tensor > 1)
        .then(|| format!("tensor ranks of {} communicate in every layer, over PCI Express", gpu.title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Catalogue;

    #[test]
    fn limits_of_a_step_are_those_of_vllm() {
        let catalogue = Catalogue::embedded().unwrap();
        let of = |name: &str| Step::default_on(catalogue.gpu(name).unwrap());
        assert_eq!(of("b200"), Step { tokens: 16_384, sequences: 1024 });
        assert_eq!(of("mi300x"), Step { tokens: 16_384, sequences: 1024 });
        assert_eq!(of("h100"), Step { tokens: 8192, sequences: 1024 });
        assert_eq!(of("a100"), Step { tokens: 2048, sequences: 256 });
        assert_eq!(of("l40s"), Step { tokens: 2048, sequences: 256 });
    }

    #[test]
    fn logits_are_on_the_last_stage_alone() {
        let catalogue = Catalogue::embedded().unwrap();
        let model = catalogue.model("deepseek-r1", None).unwrap();
        let step = Step { tokens: 8192, sequences: 1024 };
        let ranks = Ranks { tensor: 8, data: 1 };
        let of = |last: bool| Overhead::of(&model, &model.layers, (ranks, last), step);
        assert_eq!((of(false).logits, of(true).logits), (0, 1024 * 129_280 * 10));
        // Eight experts a token: 8 × (7168 + 256), one shared of 2048 over 8 ranks; four vectors of 7168.
        assert_eq!(of(true).activation, 8192 * 2 * (8 * (7168 + 256) + 3 * 256 + 4 * 7168));
        assert_eq!(of(true).communication, 411_041_792);
    }

    #[test]
    fn whole_experts_have_the_tokens_of_all_engines() {
        let catalogue = Catalogue::embedded().unwrap();
        let model = catalogue.model("deepseek-r1", None).unwrap();
        let step = Step { tokens: 8192, sequences: 1024 };
        let of = |tensor, data| Overhead::of(&model, &model.layers, (Ranks { tensor, data }, false), step);
        // Eight experts a token: 8 × (7168 + 2048), gathered and scattered, of 16 engines; one shared; four vectors.
        let experts = 16 * (8 * (7168 + 2048) + 2 * 7168);
        assert_eq!(of(1, 16).activation, 8192 * 2 * (experts + 3 * 2048 + 4 * 7168));
        let communication =
            [(1, 1), (1, 2), (1, 16), (2, 8)].map(|(tensor, data)| of(tensor, data).communication);
        assert_eq!(communication, [0, 358_612_992, 411_041_792, 411_041_792]);
    }

    #[test]
    fn the_widest_part_of_a_layer_counts() {
        let catalogue = Catalogue::embedded().unwrap();
        let widest = |name: &str, layer: usize, tensor: u64| {
            let model = catalogue.model(name, None).unwrap();
            width(&model, &model.layers[layer], Ranks { tensor, data: 1 })
        };
        assert_eq!(widest("llama-3.1-405b", 0, 8), 3 * 53_248 / 8);
        assert_eq!(widest("qwen3-235b", 0, 8), 8 * (4096 + 192));
        assert_eq!(widest("qwen3-235b", 0, 1), 8 * (4096 + 1536));
        assert_eq!(
            widest("deepseek-r1", 0, 1),
            128 * (2 * 192 + 2 * 128) + 1536 + 512,
            "attention of a dense layer"
        );
        assert_eq!(widest("deepseek-v4-pro", 0, 1), 128 * 2 * 512 + 4 * 512);
        assert_eq!(widest("qwen3.5-397b", 0, 1), 10 * (4096 + 1024) + 3 * 1024);
        let config = serde_json::json!({
            "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "vocab_size": 64, "head_dim": 8,
            "max_position_embeddings": 64, "num_attention_heads": 16, "num_key_value_heads": 2,
            "intermediate_size": 64,
        });
        let model = Model::from_config(&config, None).unwrap();
        assert_eq!(width(&model, &model.layers[0], Ranks { tensor: 2, data: 1 }), (3 * 8 + 2 * 2) * 8);
        assert_eq!(widest("gpt-oss-120b", 0, 1), 4 * (2 * 2880 + 2880));
    }

    #[test]
    fn only_pci_express_is_warned_of() {
        let catalogue = Catalogue::embedded().unwrap();
        let warned = |name: &str, tensor: u32| link_warning(catalogue.gpu(name).unwrap(), tensor).is_some();
        assert!(warned("l40s", 2));
        assert!(!warned("l40s", 1));
        assert!(!warned("h100", 8));
    }
}
