//! What each family of models makes of the fields of its `config.json`: names, defaults and which layer is of
//! which kind. One function a family; the source of its defaults is the configuration class in transformers
//! 5.19 (`models/<family>/configuration_<family>.py`) and the model in vLLM 0.32.

use serde_json::Value;

use crate::config::{ConfigError, Fields, MOST_LAYERS};
use crate::model::{
    Attention, Bias, Compressed, Experts, FeedForward, Grouped, Latent, Layer, Linear, Model,
};
use crate::quantization::Quantization;
use crate::rope;

const WIDTH: u64 = 1 << 20;
const HEADS: u64 = 1 << 16;
const INTERMEDIATE: u64 = 1 << 22;
const EXPERTS: u64 = 1 << 16;
const TOKENS: u64 = 1 << 40;

/// The families that are known.
pub(crate) const KNOWN: &str = "llama, mistral, qwen2, qwen3, qwen3_moe, qwen3_5_moe, deepseek_v3, deepseek_v32, \
     deepseek_v4, kimi_k2, glm4_moe, glm_moe_dsa, minimax_m3, llama4_text, gpt_oss";

pub(crate) fn model(
    family: &str,
    outer: Fields<'_>,
    fields: Fields<'_>,
    quantization: Quantization,
) -> Result<Model, ConfigError> {
    let layer: fn(Fields<'_>, u64) -> Result<Layer, ConfigError> = match family {
        "llama" | "mistral" | "qwen2" => dense,
        "qwen3" => qwen3,
        "qwen3_moe" => qwen3_moe,
        "qwen3_5_moe" | "qwen3_5_moe_text" => qwen3_5,
        "deepseek_v3" | "deepseek_v32" | "kimi_k2" | "glm_moe_dsa" => latent,
        "deepseek_v4" => compressed,
        "glm4_moe" => glm4,
        "minimax_m3" | "minimax_m3_vl" | "minimax_m3_vl_text" => minimax_m3,
        "llama4" | "llama4_text" => llama4,
        "gpt_oss" => gpt_oss,
        _ => {
            return Err(fields.error(
                "model_type",
                format!("\"{family}\" is not known"),
                format!("known are {KNOWN}; for another model, size by hand and give the shape"),
            ));
        }
    };
    let hidden = fields.number("hidden_size", WIDTH)?;
    let count = fields.number("num_hidden_layers", MOST_LAYERS)?;
    let layers = (0..count).map(|index| layer(fields, index)).collect::<Result<_, _>>()?;
    Ok(Model {
        family: family.to_owned(),
        hidden,
        vocabulary: fields.number("vocab_size", 1 << 26)?,
        tied: fields.flag("tie_word_embeddings", outer.flag("tie_word_embeddings", false)),
        context: rope::context(fields)?,
        layers,
        streams: if family == "deepseek_v4" { fields.number_or("hc_mult", 4, 64)?.max(1) } else { 1 },
        vision: vision(outer)?,
        prediction_layers: prediction_layers(fields)?,
        quantization,
    })
}

fn prediction_layers(fields: Fields<'_>) -> Result<u32, ConfigError> {
    let declared = match fields.optional("num_nextn_predict_layers", 64)? {
        Some(count) => count,
        None => fields.number_or("mtp_num_hidden_layers", 0, 64)?,
    };
    Ok(u32::try_from(declared).unwrap_or(u32::MAX))
}

/// An estimate: a plain transformer and a merger of two times two patches, without biases and norms.
fn vision(outer: Fields<'_>) -> Result<u64, ConfigError> {
    let Some(tower) = outer.object("vision_config") else { return Ok(0) };
    let fields = Fields::new(tower, "vision_config");
    let first = |names: &[&str], most: u64| -> Result<u64, ConfigError> {
        for name in names {
            if let Some(found) = fields.optional(name, most)? {
                return Ok(found);
            }
        }
        Ok(0)
    };
    let width = first(&["hidden_size", "vt_hidden_size"], 1 << 14)?;
    let intermediate = first(&["intermediate_size", "vt_intermediate_size"], 1 << 16)?;
    let layers = first(&["depth", "num_hidden_layers", "vt_num_hidden_layers"], 1024)?;
    let out = first(&["out_hidden_size", "text_hidden_size", "projector_hidden_size"], 1 << 16)?;
    let merged = width * 4;
    Ok(layers * (4 * width * width + 2 * width * intermediate) + merged * merged + merged * out)
}

fn intermediate(fields: Fields<'_>, name: &str) -> Result<u64, ConfigError> {
    fields.number(name, INTERMEDIATE)
}

fn grouped(fields: Fields<'_>) -> Result<Grouped, ConfigError> {
    let heads = fields.number("num_attention_heads", HEADS)?;
    let head_dim = match fields.optional("head_dim", HEADS)? {
        Some(found) if found > 0 => found,
        _ => fields.number("hidden_size", WIDTH)? / heads,
    };
    if head_dim == 0 {
        return Err(fields.error("num_attention_heads", "exceeds hidden_size", "give head_dim"));
    }
    Ok(Grouped {
        heads,
        kv_heads: fields.number_or("num_key_value_heads", heads, HEADS)?.max(1),
        head_dim,
        bias: if fields.flag("attention_bias", false) { Bias::Inputs } else { Bias::None },
        ..Grouped::default()
    })
}

fn feed_forward(fields: Fields<'_>, name: &str) -> Result<FeedForward, ConfigError> {
    Ok(FeedForward::Dense { intermediate: intermediate(fields, name)?, bias: fields.flag("mlp_bias", false) })
}

/// llama, mistral, qwen2: every layer the same. Qwen 2 always has biases of queries, keys and values.
fn dense(fields: Fields<'_>, _layer: u64) -> Result<Layer, ConfigError> {
    let mut attention = grouped(fields)?;
    attention.bias = match attention.bias {
        _ if fields.text("model_type") == Some("qwen2") => Bias::Inputs,
        Bias::None => Bias::None,
        _ => Bias::All,
    };
    Ok(Layer {
        attention: Attention::Grouped(attention),
        feed_forward: feed_forward(fields, "intermediate_size")?,
    })
}

fn qwen3_attention(fields: Fields<'_>) -> Result<Attention, ConfigError> {
    let attention = grouped(fields)?;
    Ok(Attention::Grouped(Grouped { norms: 2 * attention.head_dim, ..attention }))
}

fn qwen3(fields: Fields<'_>, _layer: u64) -> Result<Layer, ConfigError> {
    Ok(Layer {
        attention: qwen3_attention(fields)?,
        feed_forward: feed_forward(fields, "intermediate_size")?,
    })
}

/// Experts by the names that most families use.
fn experts(fields: Fields<'_>, count: &str) -> Result<Experts, ConfigError> {
    Ok(Experts {
        experts: fields.number(count, EXPERTS)?,
        per_token: fields.number("num_experts_per_tok", EXPERTS)?,
        intermediate: intermediate(fields, "moe_intermediate_size")?,
        shared: 0,
        shared_gate: false,
        bias: false,
        correction: false,
    })
}

/// Experts in every `decoder_sparse_step`-th layer that is not in `mlp_only_layers`.
fn qwen3_moe(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let step = fields.number_or("decoder_sparse_step", 1, MOST_LAYERS)?.max(1);
    let listed = fields.list("mlp_only_layers").map(Vec::as_slice).unwrap_or_default();
    // Looked through once a layer, so its length has a bound.
    if u64::try_from(listed.len()).map_or(true, |length| length > MOST_LAYERS) {
        let cure = "take the config.json as it is published";
        return Err(fields.error("mlp_only_layers", "has more entries than a model has layers", cure));
    }
    let only_dense = listed.iter().any(|value| value.as_u64() == Some(layer));
    let feed_forward = if only_dense || !(layer + 1).is_multiple_of(step) {
        feed_forward(fields, "intermediate_size")?
    } else {
        FeedForward::Experts(experts(fields, "num_experts")?)
    };
    Ok(Layer { attention: qwen3_attention(fields)?, feed_forward })
}

/// A gated delta net in all layers but every `full_attention_interval`-th (or as `layer_types` says).
fn qwen3_5(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let interval = fields.number_or("full_attention_interval", 4, MOST_LAYERS)?.max(1);
    let full = match layer_type(fields, layer)? {
        Some(name) => name == "full_attention",
        None => (layer + 1).is_multiple_of(interval),
    };
    let attention = if full {
        let attention = grouped(fields)?;
        let gate = fields.flag("attn_output_gate", true);
        Attention::Grouped(Grouped { norms: 2 * attention.head_dim, gate, ..attention })
    } else {
        Attention::Linear(Linear {
            key_heads: fields.number("linear_num_key_heads", HEADS)?,
            key_dim: fields.number("linear_key_head_dim", HEADS)?,
            value_heads: fields.number("linear_num_value_heads", HEADS)?,
            value_dim: fields.number("linear_value_head_dim", HEADS)?,
            kernel: fields.number("linear_conv_kernel_dim", 1024)?,
        })
    };
    let shared = fields.number_or("shared_expert_intermediate_size", 0, INTERMEDIATE)?;
    let experts = Experts { shared, shared_gate: shared > 0, ..experts(fields, "num_experts")? };
    Ok(Layer { attention, feed_forward: FeedForward::Experts(experts) })
}

/// The name that `layer_types` has for a layer.
fn layer_type(fields: Fields<'_>, layer: u64) -> Result<Option<&str>, ConfigError> {
    let Some(types) = fields.list("layer_types") else { return Ok(None) };
    let found = usize::try_from(layer).ok().and_then(|index| types.get(index)).and_then(Value::as_str);
    found.map(Some).ok_or_else(|| {
        fields.error("layer_types", format!("has no name for layer {layer}"), "give one name a layer")
    })
}

/// Shared experts as wide as so many routed ones.
fn with_shared(fields: Fields<'_>, mut experts: Experts) -> Result<Experts, ConfigError> {
    let count = fields.number_or("n_shared_experts", 0, 1024)?;
    (experts.shared, experts.correction) = (count * experts.intermediate, true);
    Ok(experts)
}

/// `deepseek_v3`, `deepseek_v32`, `kimi_k2`, `glm_moe_dsa`: latent attention; experts after the first dense layers.
fn latent(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let index = match fields.optional("index_n_heads", HEADS)? {
        Some(heads) => Some((heads, fields.number("index_head_dim", HEADS)?)),
        None => None,
    };
    let attention = Attention::Latent(Latent {
        heads: fields.number("num_attention_heads", HEADS)?,
        query_rank: fields.number_or("q_lora_rank", 0, WIDTH)?,
        kv_rank: fields.number("kv_lora_rank", WIDTH)?,
        nope: fields.number("qk_nope_head_dim", HEADS)?,
        rope: fields.number("qk_rope_head_dim", HEADS)?,
        value: fields.number("v_head_dim", HEADS)?,
        index,
    });
    let dense = fields.number_or("first_k_dense_replace", 0, MOST_LAYERS)?;
    let every = fields.number_or("moe_layer_freq", 1, MOST_LAYERS)?.max(1);
    let feed_forward = if layer < dense || !layer.is_multiple_of(every) {
        feed_forward(fields, "intermediate_size")?
    } else {
        FeedForward::Experts(with_shared(fields, experts(fields, "n_routed_experts")?)?)
    };
    Ok(Layer { attention, feed_forward })
}

/// `deepseek_v4`: `compress_ratios` says how each layer's cache is compressed; experts in every layer.
fn compressed(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let ratio = usize::try_from(layer)
        .ok()
        .and_then(|index| fields.list("compress_ratios")?.get(index)?.as_u64())
        .map(|ratio| ratio.max(1))
        .filter(|ratio| [1, 4, 128].contains(ratio))
        .ok_or_else(|| {
            fields.error(
                "compress_ratios",
                format!("must be 0, 4 or 128 for layer {layer}"),
                "give one a layer",
            )
        })?;
    let attention = Attention::Compressed(Compressed {
        heads: fields.number("num_attention_heads", HEADS)?,
        head_dim: fields.number("head_dim", HEADS)?,
        query_rank: fields.number("q_lora_rank", WIDTH)?,
        output_groups: fields.number("o_groups", HEADS)?,
        output_rank: fields.number("o_lora_rank", WIDTH)?,
        ratio,
        window: fields.number("sliding_window", TOKENS)?,
        index: (fields.number("index_n_heads", HEADS)?, fields.number("index_head_dim", HEADS)?),
    });
    let experts = with_shared(fields, experts(fields, "n_routed_experts")?)?;
    // The first layers choose experts by a table of tokens and have no correction.
    let correction = layer >= fields.number_or("num_hash_layers", 0, MOST_LAYERS)?;
    Ok(Layer { attention, feed_forward: FeedForward::Experts(Experts { correction, ..experts }) })
}

/// `glm4_moe`: grouped attention with norms and biases; experts after the first dense layers.
fn glm4(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let attention = grouped(fields)?;
    let norms = if fields.flag("use_qk_norm", false) { 2 * attention.head_dim } else { 0 };
    let feed_forward = if layer < fields.number_or("first_k_dense_replace", 1, MOST_LAYERS)? {
        feed_forward(fields, "intermediate_size")?
    } else {
        FeedForward::Experts(with_shared(fields, experts(fields, "n_routed_experts")?)?)
    };
    Ok(Layer { attention: Attention::Grouped(Grouped { norms, ..attention }), feed_forward })
}

/// `minimax_m3`: `moe_layer_freq` and `sparse_attention_freq` have one number a layer. An index has as many
/// heads as there are key-value heads (`vllm/models/minimax_m3/nvidia/model.py`).
fn minimax_m3(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let sparse =
        fields.object("sparse_attention_config").map(|map| Fields::new(map, "sparse_attention_config"));
    let chosen = |list: Option<&Vec<Value>>| {
        usize::try_from(layer).ok().and_then(|index| list?.get(index)?.as_u64()).unwrap_or(1) != 0
    };
    let attention = grouped(fields)?;
    let index = match sparse {
        Some(sparse) if chosen(sparse.list("sparse_attention_freq")) => {
            Some((sparse.number("sparse_num_index_heads", HEADS)?, sparse.number("sparse_index_dim", HEADS)?))
        }
        _ => None,
    };
    let norms = if fields.flag("use_qk_norm", false) { 2 * attention.head_dim } else { 0 };
    let feed_forward = if chosen(fields.list("moe_layer_freq")) {
        // The sizes of experts have two names: older files only have `intermediate_size`.
        let name = if fields.get("moe_intermediate_size").is_some() {
            "moe_intermediate_size"
        } else {
            "intermediate_size"
        };
        let shared = fields.number_or("n_shared_experts", 0, 1024)?
            * fields.number_or("shared_intermediate_size", 0, INTERMEDIATE)?;
        FeedForward::Experts(Experts {
            experts: fields.number("num_local_experts", EXPERTS)?,
            per_token: fields.number("num_experts_per_tok", EXPERTS)?,
            intermediate: intermediate(fields, name)?,
            shared,
            shared_gate: false,
            bias: false,
            correction: fields.flag("use_routing_bias", false),
        })
    } else {
        feed_forward(fields, "dense_intermediate_size")?
    };
    Ok(Layer { attention: Attention::Grouped(Grouped { norms, index, ..attention }), feed_forward })
}

/// llama4: experts in every `interleave_moe_layer_step`-th layer, with one shared expert as wide as a routed
/// one; three of four layers only see a chunk of the context.
fn llama4(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let step = fields.number_or("interleave_moe_layer_step", 1, MOST_LAYERS)?.max(1);
    let every = fields.number_or("no_rope_layer_interval", 4, MOST_LAYERS)?.max(1);
    let chunk = fields.optional("attention_chunk_size", TOKENS)?.filter(|&chunk| chunk > 0);
    let window = if (layer + 1).is_multiple_of(every) { None } else { chunk };
    let attention = Attention::Grouped(Grouped { window, ..grouped(fields)? });
    let feed_forward = if (layer + 1).is_multiple_of(step) {
        let width = intermediate(fields, "intermediate_size")?;
        FeedForward::Experts(Experts {
            experts: fields.number("num_local_experts", EXPERTS)?,
            per_token: fields.number("num_experts_per_tok", EXPERTS)?,
            intermediate: width,
            shared: width,
            shared_gate: false,
            bias: false,
            correction: false,
        })
    } else {
        feed_forward(fields, "intermediate_size_mlp")?
    };
    Ok(Layer { attention, feed_forward })
}

/// `gpt_oss`: biases everywhere, sinks, and layers that see a window by `layer_types`.
fn gpt_oss(fields: Fields<'_>, layer: u64) -> Result<Layer, ConfigError> {
    let sliding = match layer_type(fields, layer)? {
        Some(name) => name == "sliding_attention",
        None => layer.is_multiple_of(2),
    };
    let window = if sliding { Some(fields.number("sliding_window", TOKENS)?) } else { None };
    let bias = if fields.flag("attention_bias", true) { Bias::All } else { Bias::None };
    let attention = Grouped { window, bias, sinks: true, ..grouped(fields)? };
    let experts = Experts {
        experts: fields.number("num_local_experts", EXPERTS)?,
        per_token: fields.number("num_experts_per_tok", EXPERTS)?,
        intermediate: intermediate(fields, "intermediate_size")?,
        shared: 0,
        shared_gate: false,
        bias: true,
        correction: false,
    };
    Ok(Layer { attention: Attention::Grouped(attention), feed_forward: FeedForward::Experts(experts) })
}
