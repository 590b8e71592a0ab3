//! Bytes of cache that sequences need on a rank. Nothing of weights.
//!
//! Tokens are rounded up to vLLM's blocks (`CacheConfig.DEFAULT_BLOCK_SIZE`, 16); some attention kernels have
//! larger ones, which adds less than one block a sequence.

use serde::{Deserialize, Serialize};

use crate::model::{Attention, Compressed, Grouped, Layer, Linear};

/// Tokens in a block.
pub const BLOCK: u64 = 16;

/// Bytes of an entry of the sparse latent cache in FP8 with its scales (`fp8_ds_mla`: `state_content_bytes`
/// in `vllm/model_executor/layers/attention/mla_attention.py`).
const SPARSE_LATENT_FP8: u64 = 656;

/// Bytes of an entry of DeepSeek V4's cache: 448 in FP8, 128 with position in two bytes each, 8 of scales
/// (`vllm/models/deepseek_v4/attention.py`).
const COMPRESSED_ENTRY: u64 = 584;

/// What pages add to all parts of DeepSeek V4's cache, as a fraction: vLLM keeps them in pages of one size, in
/// groups of as many layers. Measured for V4 Flash: one sequence of 30,000 tokens needs 6.66 GiB (vLLM issue
/// 44376, 0.22, two ranks, steps of 16,384 tokens), the parts alone 5.04.
const COMPRESSED_PAGES: (u64, u64) = (4, 3);

/// How keys and values are stored: `--kv-cache-dtype`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KvPrecision {
    /// `auto`: two bytes a number.
    #[default]
    Auto,
    /// `fp8`: one byte a number.
    Fp8,
}

/// What the sequences of an engine need of a rank's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheNeed {
    /// Bytes of each sequence of the given length.
    pub each: u64,
    /// Bytes once, however many sequences: windows keep the tokens of all steps that have not ended
    /// (`max_admission_blocks_per_request` in `vllm/v1/kv_cache_interface.py`).
    pub once: u64,
}

impl CacheNeed {
    /// Bytes of so many sequences. Saturates.
    pub fn of(self, sequences: u64) -> u64 {
        self.each.saturating_mul(sequences).saturating_add(self.once)
    }

    /// How many sequences fit into so many bytes; at most as many as 64 bits hold if a sequence needs nothing.
    pub fn fit(self, bytes: u64) -> u64 {
        bytes.saturating_sub(self.once).checked_div(self.each).unwrap_or(u64::MAX)
    }

    fn add(&mut self, other: Self) {
        self.each = self.each.saturating_add(other.each);
        self.once = self.once.saturating_add(other.once);
    }
}

/// What a part of a layer stores.
struct Part {
    bytes: u64,
    tokens_per_entry: u64,
    window: Option<u64>,
}

/// What sequences of `context` tokens need on one of `tensor` ranks for these layers, if so many tokens are in
/// steps that have not ended.
pub fn need(layers: &[Layer], tensor: u64, kv: KvPrecision, context: u64, in_flight: u64) -> CacheNeed {
    let mut sum = CacheNeed::default();
    for layer in layers {
        match &layer.attention {
            Attention::Grouped(found) => add(&mut sum, &grouped(found, tensor, kv), context, in_flight),
            Attention::Latent(found) => {
                add(&mut sum, &latent(found.kv_rank, found.rope, found.index, kv), context, in_flight);
            }
            Attention::Compressed(found) => {
                let mut parts = CacheNeed::default();
                add(&mut parts, &compressed(found), context, in_flight);
                let (more, of) = COMPRESSED_PAGES;
                let paged = |bytes: u64| bytes.saturating_mul(more).div_ceil(of);
                sum.add(CacheNeed { each: paged(parts.each), once: paged(parts.once) });
            }
            Attention::Linear(found) => sum.add(CacheNeed { each: state(found, tensor), once: 0 }),
        }
    }
    sum
}

/// Bytes that one more token of a long sequence needs on a rank, for these layers.
pub fn per_token(layers: &[Layer], tensor: u64, kv: KvPrecision) -> u64 {
    // 128 is the largest number of tokens that share an entry; windows are full long before.
    let far = |tokens: u64| need(layers, tensor, kv, tokens, 0).each;
    (far((1 << 41) + 128 * BLOCK) - far(1 << 41)) / (128 * BLOCK)
}

fn add(sum: &mut CacheNeed, parts: &[Part], context: u64, in_flight: u64) {
    let rounded = |tokens: u64| tokens.saturating_add(BLOCK - 1) / BLOCK * BLOCK;
    for part in parts {
        let tokens = rounded(context);
        // A window may begin within a block: one block more (vllm/v1/kv_cache_interface.py).
        let held = part.window.map_or(tokens, |window| tokens.min(rounded(window).saturating_add(BLOCK)));
        let entries = held.div_ceil(part.tokens_per_entry.max(1));
        let once = if held < tokens { part.bytes.saturating_mul(in_flight) } else { 0 };
        sum.add(CacheNeed { each: part.bytes.saturating_mul(entries), once });
    }
}

fn bytes(kv: KvPrecision) -> u64 {
    match kv {
        KvPrecision::Auto => 2,
        KvPrecision::Fp8 => 1,
    }
}

/// Each rank has whole heads, at least one (`get_num_kv_heads` in `vllm/config/model.py`). The index of
/// `MiniMax M3` stores one key in two bytes a number, on every rank.
fn grouped(found: &Grouped, tensor: u64, kv: KvPrecision) -> Vec<Part> {
    let heads = (found.kv_heads / tensor.max(1)).max(1);
    let keys_and_values = heads.saturating_mul(found.head_dim).saturating_mul(2 * bytes(kv));
    let mut parts = vec![Part { bytes: keys_and_values, tokens_per_entry: 1, window: found.window }];
    if let Some((_, width)) = found.index {
        parts.push(Part { bytes: 2 * width, tokens_per_entry: 1, window: None });
    }
    parts
}

/// One latent vector on every rank (with MLA a rank has one key-value head). An index stores one FP8 key and
/// a float32 scale for 128 numbers (`Indexer` in `vllm/model_executor/models/deepseek_v2.py`).
fn latent(rank: u64, rope: u64, index: Option<(u64, u64)>, kv: KvPrecision) -> Vec<Part> {
    let entry = match (kv, index) {
        (KvPrecision::Fp8, Some(_)) if (rank, rope) == (512, 64) => SPARSE_LATENT_FP8,
        _ => (rank + rope) * bytes(kv),
    };
    let mut parts = vec![Part { bytes: entry, tokens_per_entry: 1, window: None }];
    if let Some((_, width)) = index {
        parts.push(Part { bytes: width + width.div_ceil(128) * 4, tokens_per_entry: 1, window: None });
    }
    parts
}

/// All in vLLM's own layout, whatever `--kv-cache-dtype` says (`fp8` is the only one that it takes): a window
/// of plain entries, compressed ones behind, and the state of each compressor (`CompressorStateCache`: keys
/// and scores in float32, for twice the ratio where blocks overlap).
fn compressed(found: &Compressed) -> Vec<Part> {
    let mut parts = vec![Part { bytes: COMPRESSED_ENTRY, tokens_per_entry: 1, window: Some(found.window) }];
    if found.ratio > 1 {
        let overlap = if found.ratio == 4 { 2 } else { 1 };
        let state = |width: u64| Part {
            bytes: 2 * overlap * width * 4,
            tokens_per_entry: 1,
            window: Some(overlap * found.ratio),
        };
        parts.push(Part { bytes: COMPRESSED_ENTRY, tokens_per_entry: found.ratio, window: None });
        parts.push(state(found.head_dim));
        if found.ratio == 4 {
            let width = found.index.1;
            let key = width + width.div_ceil(128) * 4;
            parts.push(Part { bytes: key, tokens_per_entry: found.ratio, window: None });
            parts.push(state(width));
        }
    }
    parts
}

/// The state of a sequence: the last inputs of the convolution in two bytes each, and one float32 matrix a
/// value head (`gated_delta_net_state_shape` in `vllm/model_executor/layers/mamba/mamba_utils.py`), twice:
/// prefix caching keeps two (`MambaSpec`, mode `align`).
fn state(found: &Linear, tensor: u64) -> u64 {
    let convolved = 2 * found.key_heads * found.key_dim + found.value_heads * found.value_dim;
    let convolution = convolved.saturating_mul(found.kernel.saturating_sub(1)).saturating_mul(2);
    let matrices = found.value_heads.saturating_mul(found.value_dim * found.key_dim).saturating_mul(4);
    convolution.saturating_add(matrices).saturating_mul(2).div_ceil(tensor.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FeedForward, Latent};

    fn layer(attention: Attention) -> [Layer; 1] {
        [Layer { attention, feed_forward: FeedForward::Dense { intermediate: 1, bias: false } }]
    }

    fn gqa(kv_heads: u64, window: Option<u64>) -> [Layer; 1] {
        layer(Attention::Grouped(Grouped {
            heads: 64,
            kv_heads,
            head_dim: 128,
            window,
            ..Grouped::default()
        }))
    }

    #[test]
    fn key_value_heads_are_split_down_to_one_a_rank() {
        let of = |tensor: u64, kv: KvPrecision| per_token(&gqa(4, None), tensor, kv);
        assert_eq!(of(1, KvPrecision::Auto), 4 * 512);
        assert_eq!(of(4, KvPrecision::Auto), 512);
        assert_eq!(of(8, KvPrecision::Auto), 512, "copied, not halved");
        assert_eq!(of(4, KvPrecision::Fp8), 256);
    }

    #[test]
    fn an_index_of_blocks_has_one_key_on_every_rank() {
        let found =
            Grouped { heads: 64, kv_heads: 4, head_dim: 128, index: Some((4, 128)), ..Grouped::default() };
        assert_eq!(per_token(&layer(Attention::Grouped(found)), 8, KvPrecision::Fp8), 256 + 2 * 128);
    }

    #[test]
    fn a_latent_cache_is_whole_on_every_rank() {
        let mla = |index: Option<(u64, u64)>| {
            layer(Attention::Latent(Latent {
                heads: 128,
                query_rank: 1536,
                kv_rank: 512,
                nope: 128,
                rope: 64,
                value: 128,
                index,
            }))
        };
        assert_eq!(per_token(&mla(None), 8, KvPrecision::Auto), 1152);
        assert_eq!(per_token(&mla(None), 8, KvPrecision::Fp8), 576);
        assert_eq!(per_token(&mla(Some((64, 128))), 8, KvPrecision::Auto), 1152 + 132);
        assert_eq!(per_token(&mla(Some((64, 128))), 8, KvPrecision::Fp8), 656 + 132);
    }

    #[test]
    fn a_window_ends_what_a_sequence_needs() {
        let of = |context: u64| need(&gqa(1, Some(128)), 1, KvPrecision::Auto, context, 100);
        assert_eq!(of(64), CacheNeed { each: 64 * 512, once: 0 });
        assert_eq!(of(1 << 20), CacheNeed { each: 144 * 512, once: 100 * 512 });
        assert_eq!(per_token(&gqa(1, Some(128)), 1, KvPrecision::Auto), 0);
    }

    #[test]
    fn a_compressed_cache_grows_by_its_ratio() {
        let of = |ratio: u64| {
            let attention = Attention::Compressed(Compressed {
                heads: 128,
                head_dim: 512,
                query_rank: 1536,
                output_groups: 16,
                output_rank: 1024,
                ratio,
                window: 128,
                index: (64, 128),
            });
            need(&layer(attention), 8, KvPrecision::Auto, 1 << 20, 0).each
        };
        let (window, paged) = (144 * 584, |bytes: u64| (bytes * 4).div_ceil(3));
        assert_eq!(of(1), paged(window));
        assert_eq!(of(4), paged(window + (1 << 18) * (584 + 132) + 32 * (8192 + 2048)));
        assert_eq!(of(128), paged(window + (1 << 13) * 584 + 144 * 4096));
    }

    #[test]
    fn a_state_does_not_grow() {
        let linear = Linear { key_heads: 16, key_dim: 128, value_heads: 64, value_dim: 128, kernel: 4 };
        let of = |context: u64, tensor: u64| {
            need(&layer(Attention::Linear(linear.clone())), tensor, KvPrecision::Auto, context, 0).each
        };
        assert_eq!(of(1, 1), 2 * (12_288 * 3 * 2 + 64 * 128 * 128 * 4));
        assert_eq!(of(1 << 30, 8), of(1, 1) / 8);
    }

    #[test]
    fn sequences_that_need_nothing_always_fit() {
        assert_eq!(CacheNeed { each: 0, once: 5 }.fit(0), u64::MAX);
        assert_eq!(CacheNeed { each: 10, once: 5 }.fit(26), 2);
        assert_eq!(CacheNeed { each: 10, once: 5 }.of(2), 25);
    }
}
