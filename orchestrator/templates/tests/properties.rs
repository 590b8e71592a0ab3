//! What holds for every model: nothing panics, every layer lies somewhere once, and ranks add up.
#![allow(clippy::unwrap_used, reason = "a test ends with what it did not expect")]

use proptest::prelude::*;
use rayfleet_templates::cache::{self, KvPrecision};
use rayfleet_templates::parameters::{self, Split};
use rayfleet_templates::rank::{self, Weights};
use rayfleet_templates::stages::stages;
use rayfleet_templates::{Catalogue, Demand, Model, choose};
use serde_json::{Map, Value, json};

/// Any JSON, with numbers of every size.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z_.*]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, 0u64..300, 0u64..100_000, any::<u64>(), (0u32..64).prop_map(|bit| 1 << bit)]
}

const FAMILIES: &[&str] = &[
    "llama",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "qwen3_5_moe",
    "deepseek_v3",
    "deepseek_v32",
    "kimi_k2",
    "glm_moe_dsa",
    "deepseek_v4",
    "glm4_moe",
    "minimax_m3",
    "llama4",
    "gpt_oss",
];

/// A config.json of the catalogue with some of its fields replaced by something else.
fn mutated() -> impl Strategy<Value = Value> {
    let configs: Vec<Value> =
        Catalogue::embedded().unwrap().models.into_iter().filter_map(|e| e.config).collect();
    let value = prop_oneof![number().prop_map(Value::from), any_json()];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), value), 0..4);
    (prop::sample::select(configs), changes).prop_map(|(mut config, changes)| {
        for (at, value) in changes {
            let nested = config.get("text_config").is_some();
            let map = if nested { &mut config["text_config"] } else { &mut config };
            let map = map.as_object_mut().unwrap();
            let name = map.keys().nth(at.index(map.len())).unwrap().clone();
            map.insert(name, value);
        }
        config
    })
}

/// Plausible numbers under the names that families read.
fn plausible() -> impl Strategy<Value = Value> {
    const NAMES: &[&str] = &[
        "hidden_size",
        "num_hidden_layers",
        "vocab_size",
        "max_position_embeddings",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "moe_intermediate_size",
        "num_experts",
        "n_routed_experts",
        "num_local_experts",
        "num_experts_per_tok",
        "n_shared_experts",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "index_n_heads",
        "index_head_dim",
        "first_k_dense_replace",
        "moe_layer_freq",
        "linear_num_key_heads",
        "linear_key_head_dim",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
        "sliding_window",
        "o_groups",
        "o_lora_rank",
        "intermediate_size_mlp",
        "dense_intermediate_size",
        "attention_chunk_size",
        "decoder_sparse_step",
        "interleave_moe_layer_step",
        "full_attention_interval",
        "hc_mult",
    ];
    let numbers =
        prop::collection::vec(prop_oneof![8 => 1u64..70, 4 => 1u64..70_000, 1 => number()], NAMES.len());
    let ratios = prop::collection::vec(prop::sample::select(vec![0u64, 4, 128]), 0..40);
    (prop::sample::select(FAMILIES), numbers, ratios, any::<bool>()).prop_map(
        |(family, numbers, ratios, quantised)| {
            let mut map: Map<String, Value> =
                NAMES.iter().zip(numbers).map(|(name, number)| ((*name).to_owned(), number.into())).collect();
            map.insert("model_type".into(), family.into());
            map.insert("compress_ratios".into(), ratios.into());
            if quantised {
                map.insert(
                    "quantization_config".into(),
                    json!({"quant_method": "fp8", "weight_block_size": [128, 128]}),
                );
            }
            Value::Object(map)
        },
    )
}

fn try_all(config: &Value) {
    let Ok(model) = Model::from_config(config, None) else { return };
    let catalogue = Catalogue::embedded().unwrap();
    for demand in
        [Demand::default(), Demand { context: Some(u64::MAX), sequences: u64::MAX, ..Demand::default() }]
    {
        let choice = choose(&model, catalogue.gpu("h100").unwrap(), &demand);
        if let Some(fit) = &choice.chosen {
            assert!(fit.stages.iter().all(|stage| stage.needed() <= stage.usable));
            let layers: u32 = fit.stages.iter().map(|stage| stage.layers).sum();
            assert_eq!(layers as usize, model.layers.len());
        }
        rayfleet_templates::explain("it", &choice);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_any_text(text in ".{0,200}") {
        let _ = Model::from_json(&text);
    }

    #[test]
    fn nothing_panics_on_any_json(config in any_json(), quantization in any_json()) {
        let _ = Model::from_config(&config, Some(&quantization));
        try_all(&config);
    }

    #[test]
    fn nothing_panics_on_a_changed_config(config in mutated()) {
        try_all(&config);
    }

    #[test]
    fn nothing_panics_on_numbers_of_any_size(config in plausible()) {
        try_all(&config);
    }

    /// Ranks hold the checkpoint once, and again what each of them has: whole matrices, heads that are fewer
    /// than ranks, the padding of the vocabulary. Models are plain here, so that bytes are parameters × 2.
    #[test]
    fn the_ranks_hold_everything_once_and_what_is_replicated_again(
        (name, tensor, pipeline) in (
            prop::sample::select(vec!["llama-3.1-405b", "qwen3-235b", "qwen3-coder-480b", "glm-4.6",
                "minimax-m3", "llama-4-maverick", "qwen3.5-397b", "glm-5"]),
            prop::sample::select(vec![1u64, 2, 4, 8, 16]),
            1u32..12,
        )
    ) {
        let catalogue = Catalogue::embedded().unwrap();
        let model = catalogue.model(name, Some("bf16")).unwrap();
        let Ok(weights) = Weights::of(&model, tensor) else { return Ok(()) };
        let layers = u32::try_from(model.layers.len()).unwrap();
        let ranges = stages(layers, pipeline);
        let on_ranks: u128 = ranges
            .iter()
            .map(|range| {
                let stage = weights.stage(range);
                u128::from(stage.bytes() - stage.derived) * u128::from(tensor)
            })
            .sum();

        let mut extra = 0u128;
        let mut count = |matrix: &parameters::Matrix, stages: u128| {
            let bytes = matrix.parameters() * if matrix.kind == parameters::Kind::Single { 4 } else { 2 };
            let tensor = u128::from(tensor);
            extra += match matrix.split {
                Split::Outputs | Split::Inputs => bytes * (stages - 1),
                Split::Whole => bytes * (tensor * stages - 1),
                Split::Heads(heads) => bytes * (tensor / u128::from(heads)).max(1) - bytes,
                Split::Vocabulary => {
                    let row = 2 * u128::from(matrix.inputs);
                    u128::from(matrix.outputs.next_multiple_of(64) - matrix.outputs) * row
                }
            };
        };
        for layer in &model.layers {
            for matrix in &parameters::layer_matrices(&model, layer) {
                count(matrix, 1);
            }
        }
        for matrix in parameters::first(&model).iter().chain(&parameters::last(&model)) {
            count(matrix, 1);
        }
        for matrix in &parameters::everywhere(&model) {
            count(matrix, u128::from(pipeline));
        }
        prop_assert_eq!(on_ranks, u128::from(rank::checkpoint(&model)) + extra);
    }

    /// Cache of all stages together is that of one stage with all layers.
    #[test]
    fn caches_of_stages_add_up(pipeline in 1u32..12, context in 0u64..2_000_000, step in 0u64..20_000) {
        let catalogue = Catalogue::embedded().unwrap();
        for entry in catalogue.models.iter().filter(|entry| entry.config.is_some()) {
            let model = entry.model(&entry.precisions[0]).unwrap();
            let need = |layers: &[_]| cache::need(layers, 8, KvPrecision::Auto, context, step);
            let layers = u32::try_from(model.layers.len()).unwrap();
            let all = stages(layers, pipeline).into_iter().map(|range| {
                need(&model.layers[range.start as usize..range.end as usize])
            });
            let (each, once) = all.fold((0, 0), |sum, need| (sum.0 + need.each, sum.1 + need.once));
            let whole = need(&model.layers);
            prop_assert_eq!((each, once), (whole.each, whole.once));
        }
    }
}

#[test]
fn a_tied_head_is_a_copy_only_on_another_stage() {
    let config = json!({
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 128,
        "max_position_embeddings": 128, "num_attention_heads": 4, "intermediate_size": 64,
        "tie_word_embeddings": true,
    });
    let model = Model::from_config(&config, None).unwrap();
    let weights = Weights::of(&model, 1).unwrap();
    let (one, two) = (weights.stage(&(0..2)), [weights.stage(&(0..1)), weights.stage(&(1..2))]);
    assert_eq!(one.bytes(), rank::checkpoint(&model));
    assert_eq!(two[0].bytes() + two[1].bytes(), one.bytes() + 2 * 128 * 64);
}

#[test]
fn what_the_engine_cannot_split_is_said() {
    let catalogue = Catalogue::embedded().unwrap();
    let why = |name: &str, precision: &str, tensor: u64| {
        let model = catalogue.model(name, Some(precision)).unwrap();
        Weights::of(&model, tensor).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(
        why("llama-4-maverick", "bf16", 16),
        Err("attention heads (40) cannot be divided by tensor 16".into())
    );
    assert_eq!(why("qwen3-235b", "bf16", 8), Ok(()), "four heads on eight ranks are copied");
    // Experts of 1536 over 8 ranks are 192: blocks of 128 are refined to 64. Over 64, 24: too fine.
    assert_eq!(why("qwen3-235b", "fp8", 8), Ok(()));
    assert_eq!(
        why("qwen3-235b", "fp8", 64),
        Err("mlp.experts.gate_proj: a rank's part (24) is no multiple of its 128 weights that share a scale"
            .into())
    );
    assert_eq!(
        why("deepseek-r1", "fp8", 32),
        Err("mlp.gate_proj: a rank's part (576) is no multiple of its 128 weights that share a scale".into())
    );
    assert_eq!(
        why("minimax-m3", "bf16", 3),
        Err("attention heads (64) cannot be divided by tensor 3".into())
    );
}
