"""mkmodel.py DIR [SEED]: writes a tiny Llama with its tokenizer, the same bytes for the same seed.
Small enough to load at once, deep enough for four pipeline stages, and it never stops by itself.
Needs numpy, safetensors and tokenizers (they come with vLLM), not torch."""

import json
import os
import sys
from typing import Dict, List

import numpy
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

HIDDEN, INTERMEDIATE, LAYERS, HEADS, HEAD_SIZE, CONTEXT = 256, 512, 4, 8, 32, 8192
"""Head sizes below 32 are refused by vLLM's CPU attention; 8 heads allow tensor parallelism up to 8."""

WORDS = (
    "the a an and or of to in on at by for from with without into over under between after before while when where "
    "one two three four five six seven eight nine ten first last next every each some many few all more most other "
    "model rank node group head worker stage step token word layer weight tensor pipeline request answer stream "
    "reads writes makes takes gives holds keeps moves waits runs starts ends says asks sends finds places counts "
    "small large long short fast slow new old warm cold open closed ready empty full quiet bright plain"
).split()
SPECIAL = ["<s>", "</s>", "<pad>"]

CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


def tokenizer() -> Tokenizer:
    """Byte-level BPE over a fixed list of words: any text can be read, each of our words is one token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = SPECIAL + alphabet
    merges = []
    for word in WORDS:
        built = "Ġ"  # the byte-level sign for a space
        for letter in word:
            if built + letter not in vocabulary:
                vocabulary.append(built + letter)
                merges.append((built, letter))
            built += letter
    ids = {text: number for number, text in enumerate(vocabulary)}
    made = Tokenizer(models.BPE(vocab=ids, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    return made


def weights(random: numpy.random.Generator, vocabulary: int, spoken: List[int]) -> Dict[str, numpy.ndarray]:
    """Random weights in Llama's names. Only `spoken` tokens get a row in the output layer: the rest, among them the end
    of the sequence, have logit 0 and lose against the best of so many random ones."""

    def matrix(rows: int, columns: int) -> numpy.ndarray:
        return (random.standard_normal((rows, columns)) * 0.08).astype(numpy.float32)

    ones = numpy.ones(HIDDEN, dtype=numpy.float32)
    heads = HEADS * HEAD_SIZE
    tensors = {"model.embed_tokens.weight": matrix(vocabulary, HIDDEN), "model.norm.weight": ones}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj"):
            tensors[f"{name}.self_attn.{part}.weight"] = matrix(heads, HIDDEN)
        tensors[f"{name}.self_attn.o_proj.weight"] = matrix(HIDDEN, heads)
        tensors[f"{name}.mlp.gate_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        tensors[f"{name}.mlp.up_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        tensors[f"{name}.mlp.down_proj.weight"] = matrix(HIDDEN, INTERMEDIATE)
        tensors[f"{name}.input_layernorm.weight"] = ones
        tensors[f"{name}.post_attention_layernorm.weight"] = ones
    output = numpy.zeros((vocabulary, HIDDEN), dtype=numpy.float32)
    # Far above 0.08, so that sampling at temperature 1 stays with the spoken words too.
    output[spoken] = matrix(len(spoken), HIDDEN) * 12
    tensors["lm_head.weight"] = output
    return tensors


def configuration(vocabulary: int) -> Dict[str, object]:
    """The model's config.json. No end-of-sequence token, so every request runs to its max_tokens."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_SIZE,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": None,
        "pad_token_id": 2,
        "torch_dtype": "float32",
    }


def write(directory: str, seed: int) -> None:
    """Writes all files of the model into `directory`."""
    os.makedirs(directory, exist_ok=True)
    tokens = tokenizer()
    size = tokens.get_vocab_size()
    spoken = [tokens.token_to_id("Ġ" + word) for word in WORDS]
    tensors = weights(numpy.random.Generator(numpy.random.PCG64(seed)), size, spoken)
    file_of_weights = os.path.join(directory, "model.safetensors")
    save_file(tensors, file_of_weights, metadata={"format": "pt"})
    os.chmod(file_of_weights, 0o644)  # written for the owner alone, but engines run as other users
    tokens.save(os.path.join(directory, "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE,
    }
    texts = {
        "config.json": configuration(size),
        "tokenizer_config.json": settings,
        "generation_config.json": {"bos_token_id": 0, "pad_token_id": 2},
    }
    for name, content in texts.items():
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, sort_keys=True)
            file.write("\n")
    parameters = sum(tensor.size for tensor in tensors.values())
    print(f"{directory}: Llama of {parameters / 1e6:.1f} M parameters, {LAYERS} layers, {size} tokens, seed {seed}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: mkmodel.py DIR [SEED]")
    write(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 7)
