//! What a model's engine needs stands in the manifest, and what is given with it.

use rayfleet_templates::Catalogue;

use super::{known_fields, printed, refused};

/// Arguments of a manifest after those that every one has.
fn args(line: &str) -> Vec<String> {
    let args = known_fields(&printed(line)).spec.model.unwrap().engine.unwrap().args;
    assert!(args[2].starts_with("--gpu-memory-utilization="), "{args:?}");
    args[3..].to_vec()
}

#[test]
fn what_a_model_needs_is_printed() {
    let trust = "--trust-remote-code";
    let fp8 = ["--kv-cache-dtype=fp8", trust, "--block-size=256"];
    for (model, needed) in [
        ("minimax-m3", &["--block-size=128"][..]),
        ("kimi-k2", &[trust]),
        ("kimi-k2.5", &[trust]),
        ("deepseek-r1", &[trust]),
        ("deepseek-v3.2", &[trust]),
        ("glm-5", &[trust, "--chat-template-content-format=string"]),
        ("deepseek-v4-pro", &fp8),
        ("deepseek-v4-flash", &fp8),
        ("gpt-oss-120b", &[]),
    ] {
        assert_eq!(args(&format!("template {model} --gpu b300 --max-model-len 8192")), needed, "{model}");
    }
    assert_eq!(
        args("template minimax-m3 --gpu mi355x --max-model-len 8192"),
        ["--block-size=128", "--attention-backend=TRITON_ATTN"]
    );
}

#[test]
fn what_is_given_stands_after_it_or_in_its_place() {
    let line = "template deepseek-v4-pro --gpu b300 --max-model-len 8192 --kv-cache-dtype fp8";
    assert_eq!(
        args(&format!("{line} --engine-arg=--block_size=64 --engine-arg=--seed=1")),
        ["--kv-cache-dtype=fp8", "--trust-remote-code", "--block_size=64", "--seed=1"]
    );
}

#[test]
fn the_arithmetic_has_the_cache_that_is_printed() {
    for entry in Catalogue::embedded().unwrap().models {
        let Some(needed) = entry.engine_args.and_then(|args| args.kv_cache_dtype) else { continue };
        let line = format!("template {} --gpu b300 --max-model-len 8192 --explain -o json", entry.name);
        let document: serde_json::Value = serde_json::from_str(&printed(&line)).unwrap();
        assert_eq!(document["demand"]["kv"], serde_json::json!(needed), "{}", entry.name);
    }
}

#[test]
fn an_argument_that_says_the_shape_otherwise_is_refused() {
    for arg in ["--max-model-len=100", "--max_num_seqs=1", "--gpu-memory=1", "--kv-cache-dtype=auto", ""] {
        let fault = refused(&format!("template gpt-oss-120b --gpu h200 --engine-arg={arg}"));
        assert!(fault.message.starts_with("--engine-arg") && fault.code() == 2, "{arg}: {fault}");
    }
}

#[test]
fn only_a_folder_is_read_without_the_hub() {
    let offline = |source: &str| {
        printed(&format!("template gpt-oss-120b --gpu h200 {source}")).contains("HF_HUB_OFFLINE")
    };
    assert!(offline("") && offline("--source /models/other"));
    assert!(!offline("--source openai/gpt-oss-120b"));
}

#[test]
fn the_default_image_is_not_said_to_be_for_amd() {
    let hint = |more: &str| printed(&format!("template gpt-oss-120b {more}")).contains("vLLM for ROCm, and");
    assert!(hint("--gpu mi300x") && hint("--gpu mi300x --set registry=r.io"));
    assert!(!hint("--gpu h200") && !hint("--gpu mi300x --set image=r.io/rocm:1"));
}

#[test]
fn a_checkpoint_with_a_shorter_context_is_not_asked_for_more() {
    let line = "template qwen3-235b --gpu h200 --precision fp8";
    assert!(printed(line).contains("--max-model-len=40960"));
    let fault = refused(&format!("{line} --max-model-len 65536"));
    assert!(fault.message.contains("declares 40960 tokens"), "{fault}");
    assert!(printed("template qwen3-235b --gpu h200 --max-model-len 65536").contains("=65536"));
}
