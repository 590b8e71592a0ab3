//! Bytes of weights on the ranks of a stage, and whether the engine can split the model so. Nothing of caches
//! or of what the engine needs beside weights.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Attention, Group, Model};
use crate::parameters::{self, Kind, Matrix, Split};
use crate::precision::Precision;

/// vLLM pads a vocabulary to a multiple of this before it splits it (`DEFAULT_VOCAB_PADDING_SIZE` in
/// `vllm/model_executor/layers/vocab_parallel_embedding.py`).
pub const VOCABULARY_MULTIPLE: u64 = 64;

/// Experts in MXFP4 are padded to multiples of these: 256 in the width of the model, 128 in a rank's part of
/// an expert. The largest of what the kernels ask for (`mxfp4_round_up_hidden_size_and_intermediate_size` in
/// `vllm/model_executor/layers/fused_moe/oracle/mxfp4.py`).
const MXFP4_MULTIPLES: (u64, u64) = (256, 128);

/// The finest blocks to which vLLM refines the scales of FP8 experts that a rank's part would cut
/// (`refine_fp8_moe_block_shape` in `vllm/model_executor/layers/fused_moe/oracle/fp8.py`).
const FINEST_BLOCK: u64 = 32;

/// Why vLLM cannot split a model over so many tensor ranks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Indivisible {
    /// A number of heads, or of features, is no multiple of the ranks.
    #[error("{what} ({number}) cannot be divided by tensor {tensor}")]
    Count {
        /// What is counted.
        what: String,
        /// How many there are.
        number: u64,
        /// Tensor ranks.
        tensor: u64,
    },
    /// Key-value heads neither divide the ranks nor are divided by them.
    #[error("{number} key-value heads and tensor {tensor}: neither divides the other")]
    Heads {
        /// Key-value heads.
        number: u64,
        /// Tensor ranks.
        tensor: u64,
    },
    /// A rank's part would cut the blocks that share a scale.
    #[error("{what}: a rank's part ({part}) is no multiple of its {group} weights that share a scale")]
    Scales {
        /// The matrix.
        what: String,
        /// Rows or columns on a rank.
        part: u64,
        /// Rows or columns that share a scale.
        group: u64,
    },
}

/// Memory of each rank of a stage; ranks of one stage have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RankMemory {
    /// Bytes of weights by kind, with scales and padding.
    pub weights: BTreeMap<Group, u64>,
    /// Bytes that vLLM makes from weights and keeps beside them: the two halves of `kv_b_proj` in two bytes
    /// each, with which latent attention decodes (`W_UK_T`, `W_UV` in
    /// `vllm/model_executor/layers/attention/mla_attention.py`).
    pub derived: u64,
}

impl RankMemory {
    /// Weights and what is made from them.
    pub fn bytes(&self) -> u64 {
        self.weights.values().fold(self.derived, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn add(&mut self, other: &Self) {
        for (group, bytes) in &other.weights {
            let sum = self.weights.entry(*group).or_default();
            *sum = sum.saturating_add(*bytes);
        }
        self.derived = self.derived.saturating_add(other.derived);
    }
}

/// How the ranks of a stage divide a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Tensor ranks of an engine, at least one.
    pub tensor: u64,
    /// Data-parallel engines, at least one. With more the ranks of all of them share the experts of each layer whole
    /// (`--enable-expert-parallel`: `FusedMoEParallelConfig.make` in `vllm/model_executor/layers/fused_moe/config.py`).
    pub data: u64,
}

impl Ranks {
    /// How a rank has a matrix, and how many copies of it: of whole experts as many as the rank with the most of them. Shared experts
    /// are whole on every rank then (`disable_tp=is_sequence_parallel` in `vllm/model_executor/models/deepseek_v2.py` and others,
    /// by `use_sequence_parallel_moe` in `vllm/config/parallel.py`).
    fn of(self, matrix: &Matrix) -> (Split, u64) {
        match matrix.group {
            Group::Experts if self.data > 1 => {
                (Split::Whole, matrix.copies.div_ceil(self.tensor.saturating_mul(self.data).max(1)))
            }
            Group::SharedExperts if self.data > 1 => (Split::Whole, matrix.copies),
            _ => (matrix.split, matrix.copies),
        }
    }
}

/// The weights of a model on one of `tensor` ranks, layer by layer.
#[derive(Clone, Debug)]
pub struct Weights {
    layers: Vec<RankMemory>,
    first: RankMemory,
    last: RankMemory,
    tied: RankMemory,
    everywhere: RankMemory,
}

impl Weights {
    /// What a rank holds if each stage has `tensor` of them, of one engine.
    pub fn of(model: &Model, tensor: u64) -> Result<Self, Indivisible> {
        Self::on(model, Ranks { tensor, data: 1 })
    }

    /// What a rank holds.
    pub fn on(model: &Model, ranks: Ranks) -> Result<Self, Indivisible> {
        let tensor = ranks.tensor.max(1);
        let ranks = Ranks { tensor, ..ranks };
        let mut layers = Vec::with_capacity(model.layers.len());
        for (index, layer) in model.layers.iter().enumerate() {
            heads(&layer.attention, tensor)?;
            let matrices = parameters::layer_matrices(model, layer);
            let mut memory = memory(model, &matrices, &format!("model.layers.{index}."), ranks)?;
            if let Attention::Latent(found) = &layer.attention {
                let expanded = found.heads / tensor * (found.nope + found.value);
                memory.derived = expanded.saturating_mul(found.kv_rank).saturating_mul(2);
            }
            layers.push(memory);
        }
        let mut last = parameters::last(model);
        let tied = if model.tied {
            last.extract_if(.., |matrix| matrix.group == Group::Head).collect()
        } else {
            Vec::new()
        };
        Ok(Self {
            layers,
            first: memory(model, &parameters::first(model), "", ranks)?,
            last: memory(model, &last, "", ranks)?,
            tied: memory(model, &tied, "", ranks)?,
            everywhere: memory(model, &parameters::everywhere(model), "", ranks)?,
        })
    }

    /// What a rank of the stage with these layers holds: the first stage has the embedding as well, the last
    /// one norm and head. A tied head is stored a second time if they are two stages.
    pub fn stage(&self, layers: &std::ops::Range<u32>) -> RankMemory {
        let range = layers.start as usize..layers.end as usize;
        let mut sum = self.everywhere.clone();
        self.layers.get(range).unwrap_or_default().iter().for_each(|layer| sum.add(layer));
        let (is_first, is_last) = (layers.start == 0, layers.end as usize == self.layers.len());
        if is_first {
            sum.add(&self.first);
        }
        if is_last {
            sum.add(&self.last);
            if !is_first {
                sum.add(&self.tied);
            }
        }
        sum
    }
}

/// Bytes of all weights once, with scales, as a checkpoint without prediction layers stores them.
pub fn checkpoint(model: &Model) -> u64 {
    let sum = |matrices: &[Matrix], prefix: &str| {
        matrices.iter().fold(0u64, |sum, matrix| {
            let found = precision(model, matrix, prefix);
            let found = if found == model.quantization.plain { model.quantization.stored } else { found };
            let bytes = found.bytes(matrix.outputs, matrix.inputs);
            sum.saturating_add(bytes.saturating_mul(matrix.copies))
        })
    };
    let mut ends = parameters::first(model);
    ends.extend(
        parameters::last(model).into_iter().filter(|matrix| !model.tied || matrix.group != Group::Head),
    );
    ends.extend(parameters::everywhere(model));
    model.layers.iter().enumerate().fold(sum(&ends, ""), |total, (index, layer)| {
        let bytes = sum(&parameters::layer_matrices(model, layer), &format!("model.layers.{index}."));
        total.saturating_add(bytes)
    })
}

fn precision(model: &Model, matrix: &Matrix, prefix: &str) -> Precision {
    match matrix.kind {
        Kind::Plain => model.quantization.plain,
        Kind::Single => Precision::Single,
        kind => model.quantization.linear(&format!("{prefix}{}", matrix.module), kind == Kind::Expert),
    }
}

fn memory(model: &Model, matrices: &[Matrix], prefix: &str, ranks: Ranks) -> Result<RankMemory, Indivisible> {
    let mut memory = RankMemory::default();
    for matrix in matrices {
        let precision = precision(model, matrix, prefix);
        let (split, copies) = ranks.of(matrix);
        let (outputs, inputs) = part(matrix, split, precision, ranks.tensor)?;
        let bytes = precision.bytes(outputs, inputs).saturating_mul(copies);
        let sum = memory.weights.entry(matrix.group).or_default();
        *sum = sum.saturating_add(bytes);
    }
    Ok(memory)
}

/// Heads must be whole on a rank (`verify_with_parallel_config` in `vllm/config/model.py`; state shapes in
/// `vllm/model_executor/layers/mamba/mamba_utils.py`; groups of the output in `deepseek_v4/attention.py`).
fn heads(attention: &Attention, tensor: u64) -> Result<(), Indivisible> {
    let counts: &[(&str, u64)] = match attention {
        Attention::Grouped(found) => &[("attention heads", found.heads)],
        Attention::Latent(found) => &[("attention heads", found.heads)],
        Attention::Compressed(found) => {
            &[("attention heads", found.heads), ("groups of the output", found.output_groups)]
        }
        Attention::Linear(found) => {
            &[("key heads of linear attention", found.key_heads), ("value heads", found.value_heads)]
        }
    };
    counts.iter().try_for_each(|(what, number)| divide(what, *number, tensor).map(|_| ()))
}

fn divide(what: &str, number: u64, tensor: u64) -> Result<u64, Indivisible> {
    if number.is_multiple_of(tensor) {
        Ok(number / tensor)
    } else {
        Err(Indivisible::Count { what: what.to_owned(), number, tensor })
    }
}

/// Rows and columns of a matrix on one of `tensor` ranks.
fn part(matrix: &Matrix, split: Split, precision: Precision, tensor: u64) -> Result<(u64, u64), Indivisible> {
    let (outputs, inputs) = (matrix.outputs, matrix.inputs);
    let cut = |number: u64| divide(matrix.module, number, tensor);
    let (outputs, inputs) = match split {
        Split::Whole => (outputs, inputs),
        Split::Outputs => (cut(outputs)?, inputs),
        Split::Inputs => (outputs, cut(inputs)?),
        Split::Vocabulary => {
            let padded = outputs.next_multiple_of(VOCABULARY_MULTIPLE);
            (divide("padded vocabulary", padded, tensor)?, inputs)
        }
        Split::Heads(number) => {
            let each = outputs / number.max(1);
            if number.is_multiple_of(tensor) {
                (number / tensor * each, inputs)
            } else if tensor.is_multiple_of(number.max(1)) {
                (each, inputs)
            } else {
                return Err(Indivisible::Heads { number, tensor });
            }
        }
    };
    if matrix.kind == Kind::Expert && precision == Precision::Mxfp4 {
        return Ok(padded(matrix.split, outputs, inputs));
    }
    aligned(matrix, precision, (outputs, inputs))?;
    Ok((outputs, inputs))
}

fn padded(split: Split, outputs: u64, inputs: u64) -> (u64, u64) {
    let (width, part) = MXFP4_MULTIPLES;
    if split == Split::Inputs {
        (outputs.next_multiple_of(width), inputs.next_multiple_of(part))
    } else {
        (outputs.next_multiple_of(part), inputs.next_multiple_of(width))
    }
}

/// A part must not cut blocks that share a scale (`validate_fp8_block_shape` in
/// `vllm/model_executor/layers/quantization/utils/fp8_utils.py`); scales of experts are refined if that helps.
fn aligned(matrix: &Matrix, precision: Precision, (outputs, inputs): (u64, u64)) -> Result<(), Indivisible> {
    let rows = if let Precision::Fp8Block { rows, .. } = precision { rows.max(1) } else { 1 };
    let (part, group) = match matrix.split {
        Split::Outputs | Split::Heads(_) if outputs < matrix.outputs => (outputs, rows),
        Split::Inputs if inputs < matrix.inputs => (inputs, precision.input_group()),
        _ => return Ok(()),
    };
    let refined = matrix.kind == Kind::Expert && rows > 1 && gcd(part, group) >= FINEST_BLOCK;
    if part.is_multiple_of(group) || refined {
        Ok(())
    } else {
        Err(Indivisible::Scales { what: matrix.module.to_owned(), part, group })
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::catalogue::Catalogue;

    /// A small model of experts in FP8 blocks of 128, with these fields replaced.
    fn model(changes: &Value) -> Model {
        let mut config = json!({
            "model_type": "qwen3_moe", "hidden_size": 256, "num_hidden_layers": 1, "vocab_size": 760,
            "max_position_embeddings": 64, "num_attention_heads": 48, "num_key_value_heads": 6, "head_dim": 128,
            "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 768,
            "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
        });
        for (name, value) in changes.as_object().unwrap() {
            config[name] = value.clone();
        }
        Model::from_config(&config, None).unwrap()
    }

    fn refused(changes: &Value, tensor: u64) -> Option<Indivisible> {
        Weights::of(&model(changes), tensor).err()
    }

    fn group(changes: &Value, tensor: u64, group: Group) -> u64 {
        Weights::of(&model(changes), tensor).unwrap().stage(&(0..1)).weights[&group]
    }

    #[test]
    fn key_value_heads_divide_the_ranks_or_are_divided_by_them() {
        assert_eq!(refused(&json!({}), 3), None);
        assert_eq!(refused(&json!({}), 12), None);
        assert_eq!(refused(&json!({}), 4), Some(Indivisible::Heads { number: 6, tensor: 4 }));
        let count = Indivisible::Count { what: "attention heads".into(), number: 48, tensor: 5 };
        assert_eq!(refused(&json!({}), 5), Some(count));
    }

    #[test]
    fn scales_of_experts_are_refined_down_to_32() {
        let of = |width: u64| refused(&json!({"moe_intermediate_size": width, "num_key_value_heads": 1}), 8);
        assert_eq!(of(1024), None);
        assert_eq!(of(256), None, "32 on a rank");
        let what = "mlp.experts.gate_proj".to_owned();
        assert_eq!(of(128), Some(Indivisible::Scales { what, part: 16, group: 128 }));
        let what = "mlp.experts.gate_proj".to_owned();
        assert_eq!(of(384), Some(Indivisible::Scales { what, part: 48, group: 128 }), "blocks of 16");
        // Not those of other matrices: heads of 64 would be cut.
        let small = json!({"head_dim": 64, "num_key_value_heads": 48});
        let what = "self_attn.q_proj".to_owned();
        assert_eq!(refused(&small, 16), Some(Indivisible::Scales { what, part: 192, group: 128 }));
        assert_eq!(refused(&small, 1), None, "nothing is cut");
    }

    #[test]
    fn a_part_of_a_row_has_whole_groups() {
        let int = json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128},
            "num_key_value_heads": 1});
        assert_eq!(refused(&int, 6), None);
        let what = "mlp.experts.down_proj".to_owned();
        assert_eq!(refused(&int, 8), Some(Indivisible::Scales { what, part: 96, group: 128 }));
    }

    #[test]
    fn a_vocabulary_is_padded_and_heads_are_copied() {
        let half = json!({"quantization_config": null});
        assert_eq!(group(&half, 1, Group::Embedding), 768 * 256 * 2);
        assert_eq!(group(&half, 3, Group::Embedding) * 3, 768 * 256 * 2);
        let attention = |tensor: u64| group(&half, tensor, Group::Attention);
        let (query, head) = (48 * 128 * 256 * 2, 128 * 256 * 2);
        assert_eq!(attention(1), 2 * query + 2 * 6 * head);
        assert_eq!(attention(3), 2 * query / 3 + 2 * 2 * head);
        assert_eq!(attention(12), 2 * query / 12 + 2 * head, "one head of six on each of twelve");
    }

    #[test]
    fn the_rank_with_the_most_whole_experts_counts() {
        let experts = |data: u64, tensor: u64| {
            let model = model(&json!({"num_experts": 6, "num_key_value_heads": 1}));
            let weights = Weights::on(&model, Ranks { tensor, data }).unwrap();
            weights.stage(&(0..1)).weights[&Group::Experts]
        };
        let one = 3 * (768 * 256 + 6 * 2 * 4);
        assert_eq!(
            [(2, 1), (2, 2), (2, 3), (6, 2)].map(|(data, tensor)| experts(data, tensor) / one),
            [3, 2, 1, 1]
        );
    }

    /// The shape of Qwen3-235B in GPTQ with groups of 128: an expert of 1536 is 192 on each of eight ranks, and whole with expert
    /// parallelism.
    #[test]
    fn scales_of_experts_that_are_whole_are_not_cut() {
        let int = json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128},
            "hidden_size": 4096, "num_attention_heads": 64, "num_key_value_heads": 4,
            "num_experts": 128, "moe_intermediate_size": 1536});
        let what = "mlp.experts.down_proj".to_owned();
        assert_eq!(refused(&int, 8), Some(Indivisible::Scales { what, part: 192, group: 128 }));
        let whole = Weights::on(&model(&int), Ranks { tensor: 8, data: 2 }).unwrap().stage(&(0..1));
        let matrix = |outputs: u64, inputs: u64| outputs * (inputs / 2 + inputs / 128 * 2);
        let expert = 2 * matrix(1536, 4096) + matrix(4096, 1536);
        assert_eq!(whole.weights[&Group::Experts], 8 * expert, "128 experts on 16 ranks");
    }

    #[test]
    fn shared_experts_are_whole_beside_expert_parallelism() {
        let model = Catalogue::embedded().unwrap().model("deepseek-r1", None).unwrap();
        let shared = |tensor: u64, data: u64| {
            let stage = Weights::on(&model, Ranks { tensor, data }).unwrap().stage(&(3..4));
            stage.weights[&Group::SharedExperts]
        };
        assert_eq!((shared(8, 1) * 8, shared(8, 2)), (shared(1, 1), shared(1, 1)));
    }

    #[test]
    fn experts_in_mxfp4_are_padded() {
        let model = Catalogue::embedded().unwrap().model("gpt-oss-120b", None).unwrap();
        let experts = |tensor: u64| {
            let memory = Weights::of(&model, tensor).unwrap().stage(&(0..1));
            memory.weights[&Group::Experts]
        };
        let row = |inputs: u64| inputs / 2 + inputs / 32;
        // 2880 is 3072 as the width of the model; 2944 as that of an expert, or 384 on one of eight ranks.
        let biases = |part: u64| 128 * 2 * (2 * part + 2880);
        assert_eq!(experts(1), 128 * (2 * 2944 * row(3072) + 3072 * row(2944)) + biases(2880));
        assert_eq!(experts(8), 128 * (2 * 384 * row(3072) + 3072 * row(384)) + biases(360));
    }

    #[test]
    fn latent_attention_keeps_what_it_decodes_with() {
        let model = Catalogue::embedded().unwrap().model("deepseek-r1", None).unwrap();
        let derived = |tensor: u64| Weights::of(&model, tensor).unwrap().stage(&(0..1)).derived;
        assert_eq!((derived(1), derived(8)), (128 * 256 * 512 * 2, 16 * 256 * 512 * 2));
    }
}
