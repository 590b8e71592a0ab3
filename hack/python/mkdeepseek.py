"""mkdeepseek.py DIR [SEED]: writes a tiny DeepSeek V3: latent attention, a dense layer, then experts with a shared one.
Tokenizer and words are those of mkmodel.py; the same bytes for the same seed."""

import json
import os
import sys
from typing import Dict, List

import mkmodel
import numpy
from mkmodel import HEADS, HIDDEN, INTERMEDIATE, LAYERS, WORDS
from safetensors.numpy import save_file

QUERY_RANK, NOPE, VALUE = 128, 32, 32
LATENT, ROPE = 512, 64
"""DeepSeek's own: vLLM's CPU kernel takes no other sum than 576."""

EXPERTS, EXPERTS_PER_TOKEN, GROUPS, EXPERT = 8, 2, 2, 64
"""Width of an expert; vLLM's CPU kernel of experts takes multiples of 32."""


def configuration(vocabulary: int) -> Dict[str, object]:
    """The model's config.json: Llama's where nothing else is said."""
    base = mkmodel.configuration(vocabulary)
    for name in ("head_dim", "mlp_bias"):
        del base[name]
    return {
        **base,
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "q_lora_rank": QUERY_RANK,
        "kv_lora_rank": LATENT,
        "qk_nope_head_dim": NOPE,
        "qk_rope_head_dim": ROPE,
        "v_head_dim": VALUE,
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "n_routed_experts": EXPERTS,
        "n_shared_experts": 1,
        "num_experts_per_tok": EXPERTS_PER_TOKEN,
        "moe_intermediate_size": EXPERT,
        "n_group": GROUPS,
        "topk_group": 1,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
    }


def weights(random: numpy.random.Generator, vocabulary: int, spoken: List[int]) -> Dict[str, numpy.ndarray]:
    """Random weights in DeepSeek's names. Embedding and output layer are those of the tiny Llama."""

    def matrix(rows: int, columns: int) -> numpy.ndarray:
        return (random.standard_normal((rows, columns)) * 0.08).astype(numpy.float32)

    def ones(size: int) -> numpy.ndarray:
        return numpy.ones(size, dtype=numpy.float32)

    llama = mkmodel.weights(random, vocabulary, spoken)
    tensors = {name: tensor for name, tensor in llama.items() if ".layers." not in name}
    for layer in range(LAYERS):
        attention, mlp = f"model.layers.{layer}.self_attn", f"model.layers.{layer}.mlp"
        tensors[f"{attention}.q_a_proj.weight"] = matrix(QUERY_RANK, HIDDEN)
        tensors[f"{attention}.q_a_layernorm.weight"] = ones(QUERY_RANK)
        tensors[f"{attention}.q_b_proj.weight"] = matrix(HEADS * (NOPE + ROPE), QUERY_RANK)
        tensors[f"{attention}.kv_a_proj_with_mqa.weight"] = matrix(LATENT + ROPE, HIDDEN)
        tensors[f"{attention}.kv_a_layernorm.weight"] = ones(LATENT)
        tensors[f"{attention}.kv_b_proj.weight"] = matrix(HEADS * (NOPE + VALUE), LATENT)
        tensors[f"{attention}.o_proj.weight"] = matrix(HIDDEN, HEADS * VALUE)
        parts = {mlp: INTERMEDIATE}
        if layer > 0:
            parts = {f"{mlp}.experts.{expert}": EXPERT for expert in range(EXPERTS)}
            parts[f"{mlp}.shared_experts"] = EXPERT
            tensors[f"{mlp}.gate.weight"] = matrix(EXPERTS, HIDDEN)
            tensors[f"{mlp}.gate.e_score_correction_bias"] = numpy.zeros(EXPERTS, dtype=numpy.float32)
        for part, width in parts.items():
            tensors[f"{part}.gate_proj.weight"] = matrix(width, HIDDEN)
            tensors[f"{part}.up_proj.weight"] = matrix(width, HIDDEN)
            tensors[f"{part}.down_proj.weight"] = matrix(HIDDEN, width)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{norm}.weight"] = ones(HIDDEN)
    return tensors


def write(directory: str, seed: int) -> None:
    """Writes all files of the model into `directory`: the tiny Llama's, with other weights and another configuration."""
    mkmodel.write(directory, seed)
    tokens = mkmodel.tokenizer()
    size = tokens.get_vocab_size()
    spoken = [tokens.token_to_id("Ġ" + word) for word in WORDS]
    tensors = weights(numpy.random.Generator(numpy.random.PCG64(seed)), size, spoken)
    file_of_weights = os.path.join(directory, "model.safetensors")
    save_file(tensors, file_of_weights, metadata={"format": "pt"})
    os.chmod(file_of_weights, 0o644)  # written for the owner alone, but engines run as other users
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(configuration(size), file, indent=2, sort_keys=True)
        file.write("\n")
    parameters = sum(tensor.size for tensor in tensors.values())
    print(f"{directory}: DeepSeek V3 of {parameters / 1e6:.1f} M parameters, {LAYERS} layers, seed {seed}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: mkdeepseek.py DIR [SEED]")
    write(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 7)
