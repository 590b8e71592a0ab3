//! The matrices of a model: what each layer, the embedding and the head hold, and how tensor parallelism
//! splits each. How many bytes that is on a rank stands in `rank`.
//!
//! The splits are those of vLLM 0.32: `ColumnParallelLinear` splits outputs, `RowParallelLinear` inputs,
//! `QKVParallelLinear` gives each rank whole key-value heads and copies them if there are fewer than ranks,
//! `ReplicatedLinear`, `disable_tp=True`, norms and routers (`GateLinear`) are on every rank
//! (`vllm/model_executor/layers/linear.py` and the models named below).

use crate::model::{
    Attention, Bias, Compressed, Experts, FeedForward, Group, Grouped, Latent, Layer, Linear, Model,
};

/// One matrix, or several of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Name within its layer, as checkpoints have it; what patterns of a quantisation are compared with.
    pub module: &'static str,
    /// What it is part of.
    pub group: Group,
    /// How many there are: experts.
    pub copies: u64,
    /// Rows.
    pub outputs: u64,
    /// Columns; 1 for a vector.
    pub inputs: u64,
    /// How tensor parallelism splits it.
    pub split: Split,
    /// How it is stored.
    pub kind: Kind,
}

/// How tensor parallelism splits a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Each rank has a part of the rows.
    Outputs,
    /// Each rank has a part of the columns.
    Inputs,
    /// Each rank has whole heads of this number of them, at least one.
    Heads(u64),
    /// Each rank has all of it.
    Whole,
    /// Each rank has a part of the rows, after they were padded: a vocabulary.
    Vocabulary,
}

/// How a matrix is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In the checkpoint's precision for linear layers.
    Linear,
    /// In the checkpoint's precision for experts.
    Expert,
    /// In the model's type, never quantised.
    Plain,
    /// In float32.
    Single,
}

impl Matrix {
    /// Its numbers, scales not counted.
    pub fn parameters(&self) -> u128 {
        u128::from(self.copies) * u128::from(self.outputs) * u128::from(self.inputs)
    }

    fn linear(module: &'static str, group: Group, (outputs, inputs): (u64, u64), split: Split) -> Self {
        Self { module, group, copies: 1, outputs, inputs, split, kind: Kind::Linear }
    }

    fn plain(module: &'static str, group: Group, (outputs, inputs): (u64, u64), split: Split) -> Self {
        Self { kind: Kind::Plain, ..Self::linear(module, group, (outputs, inputs), split) }
    }

    fn single(self) -> Self {
        Self { kind: Kind::Single, ..self }
    }

    fn vector(module: &'static str, length: u64) -> Self {
        Self::plain(module, Group::Norms, (length, 1), Split::Whole)
    }
}

/// Parameters that the engine loads: layers, embedding, head and vision tower, without prediction layers.
pub fn total(model: &Model) -> u128 {
    let layers = model.layers.iter().flat_map(|layer| layer_matrices(model, layer));
    let ends = first(model).into_iter().chain(last(model)).chain(everywhere(model));
    let tied = if model.tied { u128::from(model.vocabulary) * u128::from(model.hidden) } else { 0 };
    layers.chain(ends).map(|matrix| matrix.parameters()).sum::<u128>() - tied
}

/// Parameters of one prediction layer as DeepSeek V3 has them: a layer like the last one, a projection of two
/// vectors to one, and three norms. It shares embedding and head (`deepseek_mtp.py`).
pub fn prediction_layer(model: &Model) -> u128 {
    let hidden = u128::from(model.hidden);
    let layer = model.layers.last().map(|layer| layer_matrices(model, layer)).unwrap_or_default();
    layer.iter().map(Matrix::parameters).sum::<u128>() + 2 * hidden * hidden + 3 * hidden
}

/// What the first stage holds beside its layers.
pub fn first(model: &Model) -> Vec<Matrix> {
    let size = (model.vocabulary, model.hidden);
    vec![Matrix::plain("model.embed_tokens", Group::Embedding, size, Split::Vocabulary)]
}

/// What the last stage holds beside its layers. A tied head is a copy of the embedding there, unless first and
/// last stage are the same.
pub fn last(model: &Model) -> Vec<Matrix> {
    let size = (model.vocabulary, model.hidden);
    let mut matrices = vec![
        Matrix::vector("model.norm", model.hidden),
        Matrix::plain("lm_head", Group::Head, size, Split::Vocabulary),
    ];
    if model.streams > 1 {
        let rows = model.streams;
        matrices
            .push(Matrix::plain("hc_head", Group::Norms, (rows, rows * model.hidden), Split::Whole).single());
    }
    matrices
}

/// What every rank of every stage holds: a vision tower, whole. That is the most that it can be: vLLM splits
/// most towers over tensor ranks, and some models build theirs on the first stage alone.
pub fn everywhere(model: &Model) -> Vec<Matrix> {
    let tower = Matrix::plain("vision_tower", Group::Vision, (model.vision, 1), Split::Whole);
    if model.vision > 0 { vec![tower] } else { Vec::new() }
}

/// What a layer holds.
pub fn layer_matrices(model: &Model, layer: &Layer) -> Vec<Matrix> {
    let hidden = model.hidden;
    let mut all =
        vec![Matrix::vector("input_layernorm", hidden), Matrix::vector("post_attention_layernorm", hidden)];
    match &layer.attention {
        Attention::Grouped(found) => grouped(hidden, found, &mut all),
        Attention::Latent(found) => latent(hidden, found, &mut all),
        Attention::Compressed(found) => compressed(hidden, found, &mut all),
        Attention::Linear(found) => linear(hidden, found, &mut all),
    }
    match &layer.feed_forward {
        FeedForward::Dense { intermediate, bias } => {
            let names = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];
            gated(hidden, *intermediate, Group::Dense, names, *bias, &mut all);
        }
        FeedForward::Experts(found) => experts(hidden, found, &mut all),
    }
    if model.streams > 1 {
        // Two hyper-connections, in float32 (vllm/models/deepseek_v4/nvidia/model.py).
        let (mix, wide) = ((2 + model.streams) * model.streams, model.streams * hidden);
        let connections = Matrix::plain("hyper_connections", Group::Norms, (2 * mix, wide + 1), Split::Whole);
        all.push(connections.single());
    }
    all
}

fn grouped(hidden: u64, found: &Grouped, all: &mut Vec<Matrix>) {
    use Group::{Attention, Index, Norms};
    let (queries, keys) = (found.heads * found.head_dim, found.kv_heads * found.head_dim);
    let kv = Split::Heads(found.kv_heads);
    let query_rows = if found.gate { 2 * queries } else { queries };
    all.extend([
        Matrix::linear("self_attn.q_proj", Attention, (query_rows, hidden), Split::Outputs),
        Matrix::linear("self_attn.k_proj", Attention, (keys, hidden), kv),
        Matrix::linear("self_attn.v_proj", Attention, (keys, hidden), kv),
        Matrix::linear("self_attn.o_proj", Attention, (hidden, queries), Split::Inputs),
    ]);
    if found.norms > 0 {
        all.push(Matrix::vector("self_attn.norms", found.norms));
    }
    if found.bias != Bias::None {
        all.push(Matrix::plain("self_attn.q_proj.bias", Norms, (queries, 1), Split::Outputs));
        all.push(Matrix::plain("self_attn.kv.bias", Norms, (2 * keys, 1), kv));
    }
    if found.bias == Bias::All {
        all.push(Matrix::vector("self_attn.o_proj.bias", hidden));
    }
    if found.sinks {
        all.push(Matrix::plain("self_attn.sinks", Norms, (found.heads, 1), Split::Outputs));
    }
    if let Some((heads, width)) = found.index {
        // Queries of the index lie with the key-value heads, its one key on every rank
        // (MinimaxM3QKVParallelLinearWithIndexer).
        all.extend([
            Matrix::linear("self_attn.index_q_proj", Index, (heads * width, hidden), Split::Heads(heads)),
            Matrix::linear("self_attn.index_k_proj", Index, (width, hidden), Split::Whole),
            Matrix::vector("self_attn.index_norms", 2 * width),
        ]);
    }
}

/// `vllm/model_executor/models/deepseek_v2.py`: projections to latents are on every rank, as is the index.
fn latent(hidden: u64, found: &Latent, all: &mut Vec<Matrix>) {
    use Group::{Attention, Index};
    let head = found.nope + found.rope;
    if found.query_rank == 0 {
        let size = (found.heads * head, hidden);
        all.push(Matrix::linear("self_attn.q_proj", Attention, size, Split::Outputs));
    } else {
        let (rank, queries) = (found.query_rank, found.heads * head);
        all.extend([
            Matrix::linear("self_attn.q_a_proj", Attention, (rank, hidden), Split::Whole),
            Matrix::vector("self_attn.q_a_layernorm", rank),
            Matrix::linear("self_attn.q_b_proj", Attention, (queries, rank), Split::Outputs),
        ]);
    }
    let (latent, values) = (found.kv_rank + found.rope, found.heads * found.value);
    let expanded = found.heads * (found.nope + found.value);
    all.extend([
        Matrix::linear("self_attn.kv_a_proj_with_mqa", Attention, (latent, hidden), Split::Whole),
        Matrix::vector("self_attn.kv_a_layernorm", found.kv_rank),
        Matrix::linear("self_attn.kv_b_proj", Attention, (expanded, found.kv_rank), Split::Outputs),
        Matrix::linear("self_attn.o_proj", Attention, (hidden, values), Split::Inputs),
    ]);
    if let Some((heads, width)) = found.index {
        let rank = if found.query_rank == 0 { hidden } else { found.query_rank };
        all.extend([
            Matrix::linear("self_attn.indexer.wq_b", Index, (heads * width, rank), Split::Whole),
            Matrix::plain("self_attn.indexer.wk_weights_proj", Index, (width + heads, hidden), Split::Whole),
            Matrix::vector("self_attn.indexer.k_norm", 2 * width).single(),
        ]);
    }
}

/// `vllm/models/deepseek_v4/attention.py` and compressor.py: compressors are plain and on every rank.
fn compressed(hidden: u64, found: &Compressed, all: &mut Vec<Matrix>) {
    use Group::{Attention, Index, Norms};
    let queries = found.heads * found.head_dim;
    let latents = found.output_groups * found.output_rank;
    all.extend([
        Matrix::linear("self_attn.q_a_proj", Attention, (found.query_rank, hidden), Split::Whole),
        Matrix::linear("self_attn.kv_proj", Attention, (found.head_dim, hidden), Split::Whole),
        Matrix::vector("self_attn.norms", found.query_rank + found.head_dim),
        Matrix::linear("self_attn.q_b_proj", Attention, (queries, found.query_rank), Split::Outputs),
        Matrix::linear(
            "self_attn.o_a_proj",
            Attention,
            (latents, queries / found.output_groups.max(1)),
            Split::Outputs,
        ),
        Matrix::linear("self_attn.o_b_proj", Attention, (hidden, latents), Split::Inputs),
        Matrix::plain("self_attn.sinks", Norms, (found.heads, 1), Split::Outputs).single(),
    ]);
    if found.ratio > 1 {
        let width = if found.ratio == 4 { 2 * found.head_dim } else { found.head_dim };
        all.extend([
            Matrix::plain("self_attn.compressor", Attention, (2 * width, hidden), Split::Whole),
            Matrix::plain("self_attn.compressor.ape", Norms, (found.ratio, width), Split::Whole).single(),
            Matrix::vector("self_attn.compressor.norm", found.head_dim),
        ]);
    }
    if found.ratio == 4 {
        let (heads, width) = found.index;
        all.extend([
            Matrix::linear("self_attn.indexer.wq_b", Index, (heads * width, found.query_rank), Split::Whole),
            Matrix::plain("self_attn.indexer.weights_proj", Index, (heads, hidden), Split::Whole),
            Matrix::plain("self_attn.indexer.compressor", Index, (4 * width, hidden), Split::Whole),
            Matrix::plain("self_attn.indexer.compressor.ape", Norms, (4, 2 * width), Split::Whole).single(),
            Matrix::vector("self_attn.indexer.compressor.norm", width),
        ]);
    }
}

/// `vllm/model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py`.
fn linear(hidden: u64, found: &Linear, all: &mut Vec<Matrix>) {
    use Group::{Attention, Norms};
    let (keys, values) = (found.key_heads * found.key_dim, found.value_heads * found.value_dim);
    all.extend([
        Matrix::linear("linear_attn.in_proj_q", Attention, (keys, hidden), Split::Outputs),
        Matrix::linear("linear_attn.in_proj_k", Attention, (keys, hidden), Split::Outputs),
        Matrix::linear("linear_attn.in_proj_v", Attention, (values, hidden), Split::Outputs),
        Matrix::linear("linear_attn.in_proj_z", Attention, (values, hidden), Split::Outputs),
        Matrix::plain("linear_attn.in_proj_ba", Attention, (2 * found.value_heads, hidden), Split::Outputs),
        Matrix::plain("linear_attn.conv1d", Norms, (2 * keys + values, found.kernel), Split::Outputs),
        Matrix::plain("linear_attn.decay", Norms, (2 * found.value_heads, 1), Split::Outputs).single(),
        Matrix::vector("linear_attn.norm", found.value_dim),
        Matrix::linear("linear_attn.out_proj", Attention, (hidden, values), Split::Inputs),
    ]);
}

/// A gated network: two projections in, one out.
fn gated(
    hidden: u64,
    width: u64,
    group: Group,
    [gate, up, down]: [&'static str; 3],
    bias: bool,
    all: &mut Vec<Matrix>,
) {
    all.extend([
        Matrix::linear(gate, group, (width, hidden), Split::Outputs),
        Matrix::linear(up, group, (width, hidden), Split::Outputs),
        Matrix::linear(down, group, (hidden, width), Split::Inputs),
    ]);
    if bias {
        all.push(Matrix::plain(gate, Group::Norms, (2 * width, 1), Split::Outputs));
        all.push(Matrix::vector(down, hidden));
    }
}

fn experts(hidden: u64, found: &Experts, all: &mut Vec<Matrix>) {
    let of = |module, size, split| Matrix {
        copies: found.experts,
        kind: Kind::Expert,
        ..Matrix::linear(module, Group::Experts, size, split)
    };
    all.extend([
        of("mlp.experts.gate_proj", (found.intermediate, hidden), Split::Outputs),
        of("mlp.experts.up_proj", (found.intermediate, hidden), Split::Outputs),
        of("mlp.experts.down_proj", (hidden, found.intermediate), Split::Inputs),
        Matrix::plain("mlp.gate", Group::Router, (found.experts, hidden), Split::Whole),
    ]);
    if found.correction {
        all.push(Matrix::plain("mlp.gate.bias", Group::Router, (found.experts, 1), Split::Whole).single());
    }
    if found.bias {
        let copies = found.experts;
        let rows =
            Matrix::plain("mlp.experts.bias", Group::Experts, (2 * found.intermediate, 1), Split::Outputs);
        all.push(Matrix { copies, ..rows });
        let out = Matrix::plain("mlp.experts.down_proj.bias", Group::Experts, (hidden, 1), Split::Whole);
        all.push(Matrix { copies, ..out });
        all.push(Matrix::plain("mlp.gate.bias", Group::Router, (found.experts, 1), Split::Whole));
    }
    if found.shared > 0 {
        let names =
            ["mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj", "mlp.shared_experts.down_proj"];
        gated(hidden, found.shared, Group::SharedExperts, names, false, all);
    }
    if found.shared_gate {
        all.push(Matrix::plain("mlp.shared_expert_gate", Group::Router, (1, hidden), Split::Whole));
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::catalogue::Catalogue;

    /// Each kind of layer that the catalogue has, as a table: to be read against vLLM's model files.
    #[test]
    fn every_kind_of_layer_has_its_matrices_and_splits() {
        let catalogue = Catalogue::embedded().unwrap();
        let layers = [
            ("llama-3.1-405b", 0),
            ("deepseek-v3.2", 0),
            ("deepseek-v3.2", 3),
            ("deepseek-v4-pro", 0),
            ("deepseek-v4-pro", 2),
            ("deepseek-v4-pro", 4),
            ("glm-4.6", 3),
            ("gpt-oss-120b", 0),
            ("llama-4-maverick", 1),
            ("minimax-m3", 0),
            ("minimax-m3", 3),
            ("qwen3-235b", 0),
            ("qwen3.5-397b", 0),
            ("qwen3.5-397b", 3),
        ];
        let mut text = String::new();
        for (name, index) in layers {
            let model = catalogue.model(name, None).unwrap();
            let layer: &Layer = &model.layers[index];
            writeln!(text, "{name}, layer {index}").unwrap();
            let mut matrices = layer_matrices(&model, layer);
            if index == 0 {
                matrices.extend([first(&model), last(&model)].concat());
            }
            for matrix in matrices {
                let Matrix { module, group, copies, outputs, inputs, split, kind } = matrix;
                let group = group.text();
                writeln!(text, "  {module}: {group}, {copies} x {outputs} x {inputs}, {split:?}, {kind:?}")
                    .unwrap();
            }
        }
        insta::assert_snapshot!(text);
    }
}
