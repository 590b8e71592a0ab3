"""warm_vllm.py CACHE_DIR [ARCHITECTURE]: lets vLLM write down what it finds out about a model class.
Without the note every new pod imports vLLM once more in a second process, about 10 s of CPU, before its engine starts.
Give the directory to engines as VLLM_CACHE_ROOT; they only read it, so it may be mounted read-only."""

import os
import sys


def warm(directory: str, architecture: str) -> None:
    """Fills `directory` for the model class; seconds if it is filled already."""
    os.environ["VLLM_CACHE_ROOT"] = directory
    from vllm.model_executor.models.registry import ModelRegistry

    ModelRegistry.models[architecture].inspect_model_cls()
    notes = os.path.join(directory, "modelinfos")
    if not os.path.isdir(notes) or not os.listdir(notes):
        sys.exit(f"{notes} is empty: this vLLM keeps its notes elsewhere")
    print(f"{notes}: {architecture}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: warm_vllm.py CACHE_DIR [ARCHITECTURE]")
    warm(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "LlamaForCausalLM")
