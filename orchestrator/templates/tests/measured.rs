//! Against what engines logged: sizes that vLLM measured when it started, found in public logs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends with what it did not expect")]
#![allow(clippy::cast_precision_loss, reason = "three digits are compared")]

use rayfleet_templates::cache::{self, KvPrecision};
use rayfleet_templates::rank::Weights;
use rayfleet_templates::{Catalogue, Demand, Model, choose};
use serde_json::{Value, json};

const GIB: f64 = (1u64 << 30) as f64;

fn model(name: &str, precision: &str) -> Model {
    Catalogue::embedded().unwrap().model(name, Some(precision)).unwrap()
}

/// "Model loading took … GiB" on each rank of one stage.
#[test]
fn weights_are_within_half_a_percent_of_what_vllm_loads() {
    let cases = [
        // A public log of vLLM 0.11.2, DeepSeek-R1-0528, tensor 8, no MTP; it does not name the GPU.
        ("deepseek-r1", "fp8", 8, 79.739),
        // vLLM issue 23278: gpt-oss-120b on one H100, Marlin kernels (65.9651); Triton's need 64.38 (issue 33155).
        ("gpt-oss-120b", "mxfp4", 1, 65.9651),
        // A public benchmark of Kimi K2.5 on eight H100 (2026-02-09, vLLM 0.15.0).
        ("kimi-k2.5", "int4", 8, 72.02),
    ];
    for (name, precision, tensor, measured) in cases {
        let model = model(name, precision);
        let layers = u32::try_from(model.layers.len()).unwrap();
        let bytes = Weights::of(&model, tensor).unwrap().stage(&(0..layers)).bytes();
        let gib = bytes as f64 / GIB;
        assert!((gib / measured - 1.0).abs() < 0.005, "{name}: {gib} GiB against {measured}");
    }
}

/// "GPU KV cache size: … tokens" by "Available KV cache memory: … GiB".
#[test]
fn a_token_needs_what_vllm_divides_by() {
    let per_token = |name: &str, precision: &str, tensor: u64| {
        cache::per_token(&model(name, precision).layers, tensor, KvPrecision::Auto) as f64
    };
    // The same log of DeepSeek-R1: 635,648 tokens in 41.60 GiB.
    let measured = 41.60 * GIB / 635_648.0;
    assert!((per_token("deepseek-r1", "fp8", 8) / measured - 1.0).abs() < 0.001);
    // vLLM issue 21348: Qwen3-235B-A22B-FP8 on four H100, 178,880 tokens in 8.11 GiB.
    let measured = 8.11 * GIB / 178_880.0;
    assert!((per_token("qwen3-235b", "fp8", 4) / measured - 1.0).abs() < 0.02);
}

/// vLLM issue 44376: "To serve at least one request with the model's max seq len (30000), (6.66 GiB KV cache is
/// needed)"; steps of 16,384 tokens, one at a time in that version.
#[test]
fn a_compressed_cache_needs_what_vllm_asks_for() {
    let model = model("deepseek-v4-flash", "fp8");
    let need = cache::need(&model.layers, 2, KvPrecision::Auto, 30_000, 16_384).of(1);
    let gib = need as f64 / GIB;
    assert!((6.66..6.66 * 1.03).contains(&gib), "{gib} GiB");
}

/// What is left for the cache is on the safe side, and not by more than 3 GiB: in the same log of DeepSeek-R1
/// it is 41.60 GiB. With 79.74 GiB of weights that is a GPU of 139.8 GiB, of which 0.11.2 used 90 percent.
#[test]
fn overheads_are_not_too_small_and_not_far_too_large() {
    let catalogue = Catalogue::embedded().unwrap();
    let demand = Demand { utilization_permille: 900, context: Some(8192), ..Demand::default() };
    let choice = choose(&model("deepseek-r1", "fp8"), catalogue.gpu("h200").unwrap(), &demand);
    let chosen = choice.chosen.unwrap();
    assert_eq!((chosen.shape.tensor, chosen.shape.pipeline), (8, 1));
    let room = chosen.stages[0].room() as f64 / GIB;
    assert!((38.6..=41.6).contains(&room), "{room} GiB");
}

/// Fields that the tiny models of `hack/python` have in common (`mkmodel.py`).
fn tiny(family: &str, fields: Value) -> Model {
    let mut config = json!({
        "model_type": family, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 4, "vocab_size": 575,
        "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 8192, "torch_dtype": "float32",
    });
    let Value::Object(fields) = fields else { panic!("{fields}") };
    config.as_object_mut().unwrap().extend(fields);
    Model::from_config(&config, None).unwrap()
}

/// vLLM 0.32.0 on CPU, on 2026-11-30: "CPU KV cache size: … tokens", with `--kv-cache-memory-bytes=268435456` and without
/// `--dtype`, so that it stores two bytes a number whatever the checkpoint has. The predicted tokens are whole blocks, too:
/// 128 tokens each on CPU, 16 with latent attention (`vllm/platforms/cpu.py`).
#[test]
fn tiny_models_have_the_blocks_that_vllm_on_cpu_reports() {
    let grouped = json!({"head_dim": 32});
    let experts = json!({
        "head_dim": 32, "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64,
        "decoder_sparse_step": 1, "mlp_only_layers": [],
    });
    let latent = json!({
        "q_lora_rank": 128, "kv_lora_rank": 512, "qk_nope_head_dim": 32, "qk_rope_head_dim": 64, "v_head_dim": 32,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_routed_experts": 8, "n_shared_experts": 1,
        "num_experts_per_tok": 2, "moe_intermediate_size": 64,
    });
    let (auto, fp8) = (KvPrecision::Auto, KvPrecision::Fp8);
    let cases = [
        // Fleets that `kubectl rayfleet template` wrote, on the local cluster: two stages of two layers each.
        ("llama", grouped.clone(), 2, auto, 128, 131_072),
        ("deepseek_v3", latent.clone(), 2, auto, 16, 116_496),
        ("qwen3_moe", experts.clone(), 2, auto, 128, 131_072),
        // One process.
        ("llama", grouped, 4, auto, 128, 65_536),
        ("qwen3_moe", experts, 4, auto, 128, 65_536),
        ("deepseek_v3", latent.clone(), 4, auto, 16, 58_240),
        // With `--kv-cache-dtype=fp8`: reported before the first request, with which that engine ends.
        ("deepseek_v3", latent, 4, fp8, 16, 116_496),
    ];
    for (family, fields, layers, kv, block, reported) in cases {
        let model = tiny(family, fields);
        let per_token = cache::per_token(&model.layers[..layers], 1, kv);
        let predicted = (256 << 20) / (per_token * block) * block;
        assert_eq!(predicted, reported, "{family}: {per_token} bytes a token on {layers} layers");
    }
}
