"""Command line of the light engine: vLLM's names where vLLM has the option, so that the same arguments start
both."""

import argparse
import os
from typing import List, NoReturn


class OptionError(ValueError):
    """The arguments cannot be used."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(message)


class Options(argparse.Namespace):
    """Parsed arguments. Durations are in seconds."""

    model: str
    served_model_name: str
    host: str
    port: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    max_model_len: int
    max_num_seqs: int
    load_seconds: float
    tokens_per_second: float
    step_timeout: float
    hang_on: str
    ray_timeout: float

    @property
    def world_size(self) -> int:
        """Number of ranks of one data-parallel engine."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


def parse(argv: List[str]) -> Options:
    """Options from `argv`, which starts with the model's path. Raises OptionError."""
    parser = _Parser(prog="light_engine serve", allow_abbrev=False)
    parser.add_argument("model")
    parser.add_argument("--served-model-name", default="")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    parser.add_argument("--pipeline-parallel-size", "-pp", type=int, default=1)
    parser.add_argument("--data-parallel-size", "-dp", type=int, default=1)
    parser.add_argument("--data-parallel-size-local", type=int, default=1)
    parser.add_argument("--data-parallel-backend", choices=["ray"], default="ray")
    parser.add_argument("--api-server-count", type=int, choices=[1], default=1)
    parser.add_argument("--max-model-len", type=int, default=65536)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--distributed-executor-backend", choices=["ray"], default="ray")
    parser.add_argument("--load-seconds", type=float, default=0.0, help="how long every rank pretends to load weights")
    parser.add_argument("--tokens-per-second", type=float, default=20.0, help="tokens per second of each request")
    parser.add_argument("--step-timeout", type=float, default=300.0, help="longest step, as VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS")
    parser.add_argument("--hang-on", default="", metavar="TEXT", help="a prompt with this text stops the engine's steps for ever")
    parser.add_argument("--ray-timeout", type=float, default=300.0, help="how long to wait for Ray and its GPUs")
    options = parser.parse_args(argv, namespace=Options())
    options.served_model_name = options.served_model_name or options.model
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "max_num_seqs", "tokens_per_second", "step_timeout"):
        if getattr(options, name) <= 0:
            raise OptionError(f"argument --{name.replace('_', '-')}: must be above 0")
    return options


def check_model(model: str) -> None:
    """Raises FileNotFoundError unless `model` is a directory with a configuration, on this machine."""
    if not os.path.isfile(os.path.join(model, "config.json")):
        raise FileNotFoundError(
            f"Invalid repository ID or local directory specified: {model!r}. "
            "The directory must exist on every node and hold a config.json."
        )
