//! What each family makes of its fields: defaults, and which layer is of which kind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends with what it did not expect")]

use rayfleet_templates::model::{Attention, Bias, Experts, FeedForward, Grouped};
use rayfleet_templates::{Catalogue, ConfigError, Model};
use serde_json::{Value, json};

/// A config.json of this family with what all have, and these fields.
fn read(family: &str, fields: &Value) -> Result<Model, ConfigError> {
    let mut config = json!({
        "model_type": family, "hidden_size": 512, "num_hidden_layers": 8, "vocab_size": 1000,
        "max_position_embeddings": 4096, "num_attention_heads": 8, "intermediate_size": 1024,
        "num_experts": 16, "n_routed_experts": 16, "num_local_experts": 16, "num_experts_per_tok": 2,
        "moe_intermediate_size": 256,
    });
    for (name, value) in fields.as_object().unwrap() {
        config[name] = value.clone();
    }
    Model::from_config(&config, None)
}

fn grouped(model: &Model, layer: usize) -> &Grouped {
    let Attention::Grouped(found) = &model.layers[layer].attention else {
        panic!("layer {layer} is another")
    };
    found
}

fn experts(model: &Model, layer: usize) -> Option<&Experts> {
    match &model.layers[layer].feed_forward {
        FeedForward::Experts(found) => Some(found),
        FeedForward::Dense { .. } => None,
    }
}

/// Which layers have experts.
fn sparse(model: &Model) -> Vec<usize> {
    (0..model.layers.len()).filter(|layer| experts(model, *layer).is_some()).collect()
}

fn windows(model: &Model) -> Vec<Option<u64>> {
    (0..model.layers.len()).map(|layer| grouped(model, layer).window).collect()
}

#[test]
fn heads_have_defaults() {
    let plain = read("llama", &json!({})).unwrap();
    let found = grouped(&plain, 0);
    assert_eq!((found.kv_heads, found.head_dim, found.bias), (8, 64, Bias::None));
    let given =
        read("llama", &json!({"num_key_value_heads": 2, "head_dim": 96, "attention_bias": true})).unwrap();
    let found = grouped(&given, 7);
    assert_eq!((found.kv_heads, found.head_dim, found.bias), (2, 96, Bias::All));
    assert_eq!(grouped(&read("llama", &json!({"head_dim": 0})).unwrap(), 0).head_dim, 64);
    assert_eq!(grouped(&read("qwen2", &json!({})).unwrap(), 0).bias, Bias::Inputs);
    assert_eq!(grouped(&read("qwen3", &json!({})).unwrap(), 0).norms, 128);
    assert_eq!(grouped(&read("glm4_moe", &json!({"attention_bias": true})).unwrap(), 0).bias, Bias::Inputs);
    let error = read("llama", &json!({"num_attention_heads": 1024})).unwrap_err();
    assert_eq!(error.field, "num_attention_heads");
    assert!(!plain.tied && read("llama", &json!({"tie_word_embeddings": true})).unwrap().tied);
}

#[test]
fn experts_are_where_the_fields_say() {
    let all: Vec<usize> = (0..8).collect();
    assert_eq!(sparse(&read("qwen3_moe", &json!({})).unwrap()), all);
    let some = json!({"decoder_sparse_step": 2, "mlp_only_layers": [3]});
    assert_eq!(sparse(&read("qwen3_moe", &some).unwrap()), [1, 5, 7]);
    assert_eq!(sparse(&read("glm4_moe", &json!({"first_k_dense_replace": 3})).unwrap()), [3, 4, 5, 6, 7]);
    assert_eq!(sparse(&read("glm4_moe", &json!({})).unwrap()), [1, 2, 3, 4, 5, 6, 7]);
    let latent = json!({"kv_lora_rank": 64, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
        "first_k_dense_replace": 1, "moe_layer_freq": 2, "n_shared_experts": 2});
    let model = read("deepseek_v3", &latent).unwrap();
    assert_eq!(sparse(&model), [2, 4, 6]);
    let found = experts(&model, 2).unwrap();
    assert_eq!((found.shared, found.correction), (512, true));
    let llama = json!({"interleave_moe_layer_step": 2, "intermediate_size_mlp": 2048});
    let model = read("llama4_text", &llama).unwrap();
    assert_eq!(sparse(&model), [1, 3, 5, 7]);
    assert_eq!(experts(&model, 1).unwrap().shared, 1024);
    let minimax = json!({"moe_layer_freq": [0, 0, 1, 1, 1, 1, 1, 1], "dense_intermediate_size": 2048,
        "n_shared_experts": 1, "shared_intermediate_size": 128});
    let model = read("minimax_m3", &minimax).unwrap();
    assert_eq!(sparse(&model), [2, 3, 4, 5, 6, 7]);
    let found = experts(&model, 2).unwrap();
    assert_eq!((found.shared, found.correction, found.intermediate), (128, false, 256));
    let long = json!({"mlp_only_layers": vec![0; 1025]});
    assert_eq!(read("qwen3_moe", &long).unwrap_err().field, "mlp_only_layers");
    assert!(read("qwen3_moe", &json!({"mlp_only_layers": vec![0; 1024]})).is_ok());
}

#[test]
fn windows_are_where_the_fields_say() {
    let chunk = json!({"attention_chunk_size": 256, "intermediate_size_mlp": 2048});
    let some = Some(256);
    assert_eq!(
        windows(&read("llama4_text", &chunk).unwrap()),
        [some, some, some, None, some, some, some, None]
    );
    let gpt = read("gpt_oss", &json!({"sliding_window": 128})).unwrap();
    assert_eq!(windows(&gpt)[..3], [Some(128), None, Some(128)]);
    assert_eq!((grouped(&gpt, 0).bias, grouped(&gpt, 0).sinks), (Bias::All, true));
    let types = json!({"sliding_window": 128, "layer_types": ["full_attention", "sliding_attention"]});
    let error = read("gpt_oss", &types).unwrap_err();
    assert_eq!((error.field.as_str(), error.problem.as_str()), ("layer_types", "has no name for layer 2"));
}

#[test]
fn every_fourth_layer_of_qwen_3_5_is_full_and_gated() {
    let linear = json!({"linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_num_value_heads": 4,
        "linear_value_head_dim": 8, "linear_conv_kernel_dim": 4, "shared_expert_intermediate_size": 64});
    let model = read("qwen3_5_moe_text", &linear).unwrap();
    let full: Vec<usize> = model
        .layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| matches!(layer.attention, Attention::Grouped(_)))
        .map(|(index, _)| index)
        .collect();
    assert_eq!(full, [3, 7]);
    assert!(grouped(&model, 3).gate);
    let found = experts(&model, 0).unwrap();
    assert_eq!((found.shared, found.shared_gate), (64, true));
}

#[test]
fn each_layer_of_deepseek_v4_names_its_ratio() {
    let with = |ratios: Value| {
        let fields = json!({"head_dim": 64, "q_lora_rank": 32, "o_groups": 2, "o_lora_rank": 16,
            "sliding_window": 128, "index_n_heads": 2, "index_head_dim": 16, "num_hash_layers": 1,
            "n_shared_experts": 1, "compress_ratios": ratios});
        read("deepseek_v4", &fields)
    };
    let model = with(json!([128, 4, 0, 4, 4, 4, 4, 4])).unwrap();
    let ratio = |layer: usize| match &model.layers[layer].attention {
        Attention::Compressed(found) => found.ratio,
        _ => panic!("layer {layer} is another"),
    };
    assert_eq!((ratio(0), ratio(1), ratio(2), model.streams), (128, 4, 1, 4));
    let correction = |layer: usize| experts(&model, layer).unwrap().correction;
    assert_eq!((correction(0), correction(1)), (false, true));
    assert_eq!(with(json!([128, 4])).unwrap_err().field, "compress_ratios");
    assert_eq!(with(json!([3, 4, 4, 4, 4, 4, 4, 4])).unwrap_err().field, "compress_ratios");
}

#[test]
fn towers_and_prediction_layers_are_counted_apart() {
    let catalogue = Catalogue::embedded().unwrap();
    let of = |name: &str| {
        let model = catalogue.model(name, None).unwrap();
        (model.vision, model.prediction_layers)
    };
    // 27 layers of 1152 and 4304; a merger of four patches to the width of the model.
    assert_eq!(of("qwen3.5-397b"), (451_178_496, 1));
    assert_eq!(of("kimi-k2.5"), (465_334_272, 0));
    assert_eq!(of("minimax-m3"), (686_817_280, 1));
    assert_eq!(of("deepseek-r1"), (0, 1));
}
