"""The ranks: real Ray actors, one per GPU bundle, with vLLM's class and actor names, so that tools see the
same. A step of the engine runs through every stage; the last stage's ranks generate the tokens, so every rank
is needed."""

import asyncio
import time
import uuid
from typing import Any, List, Optional, Sequence, Tuple

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from light_engine.options import Options, check_model
from light_engine.placement import Placement

_WORDS = (
    "a group of nodes holds one model and every rank of it has its own place in the pipeline where the first stage "
    "reads what was asked and the last stage says the next word while all the others keep their part of the work"
).split()


class EngineDead(RuntimeError):
    """A rank died or stopped answering; no request can be served any more."""


def token(seed: int, index: int) -> str:
    """The word at position `index` of the completion with this seed: the same on every group and in every
    layout."""
    return _WORDS[(seed * 31 + index * (seed % 7 + 1)) % len(_WORDS)]


class RayWorkerProc:
    """One rank. Async methods, so that a step is answered while `run` waits as long as the rank lives."""

    def __init__(self, model: str, last_stage: bool) -> None:
        self._model = model
        self._last_stage = last_stage

    async def load(self, seconds: float) -> str:
        """Pretends to load weights for `seconds`; returns the node id. Fails if the model is not on this
        node."""
        check_model(self._model)
        print(f"loading its part of {self._model}", flush=True)
        await asyncio.sleep(seconds)
        print(f"loaded its part of {self._model}", flush=True)
        return ray.get_runtime_context().get_node_id()

    async def run(self) -> None:
        """Never returns: its reference fails when the rank dies."""
        await asyncio.Event().wait()

    async def step(self, *passed: List[Tuple[int, int]]) -> Any:
        """One step for all running sequences (seed, index), as passed on by every rank of the stage before:
        passes them on in turn, or in the last stage generates their tokens."""
        sequences = passed[0]
        return [token(seed, index) for seed, index in sequences] if self._last_stage else sequences


class Gang:
    """All ranks of the engine, stage by stage."""

    def __init__(self, options: Options, placement: Placement, engine: Optional[int] = None) -> None:
        group, bundles = placement
        self._options = options
        self._tensor = options.tensor_parallel_size
        instance = f"{options.served_model_name.rsplit('/', 1)[-1]}-{uuid.uuid4().hex[:5]}"
        if engine is not None:
            instance += f"_dp{engine}"
        rank_class = ray.remote(num_cpus=0, num_gpus=1, max_restarts=0)(RayWorkerProc)
        self._ranks: List[Any] = []
        for rank in range(options.world_size):
            strategy = PlacementGroupSchedulingStrategy(
                placement_group=group, placement_group_bundle_index=bundles[rank]
            )
            stage = rank // self._tensor
            actor = rank_class.options(name=self._name(instance, rank), scheduling_strategy=strategy)
            self._ranks.append(actor.remote(options.model, stage == options.pipeline_parallel_size - 1))

    def _name(self, instance: str, rank: int) -> str:
        """vLLM's naming: only dimensions above 1 are part of the name."""
        tensor = f"_TP{rank % self._tensor}" if self._tensor > 1 else ""
        pipeline = f"_PP{rank // self._tensor}" if self._options.pipeline_parallel_size > 1 else ""
        return f"vllm_Worker_{instance}{tensor}{pipeline}"

    def load(self) -> None:
        """Blocks until every rank has loaded. Raises EngineDead with the cause of the first rank that could
        not."""
        began = time.monotonic()
        try:
            nodes = ray.get([rank.load.remote(self._options.load_seconds) for rank in self._ranks])
        except ray.exceptions.RayTaskError as error:
            raise EngineDead(f"a rank failed to load: {error.cause}") from None
        except ray.exceptions.RayError as error:
            raise EngineDead(f"a rank died while loading: {error}") from None
        print(f"loaded {len(nodes)} ranks on {len(set(nodes))} nodes in {time.monotonic() - began:.1f} s", flush=True)

    async def watch(self) -> str:
        """Waits for the first rank to end and returns the cause."""
        runs = [asyncio.ensure_future(_settled(rank.run.remote())) for rank in self._ranks]
        done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
        return f"a rank died: {done.pop().result()}"

    async def step(self, sequences: Sequence[Tuple[int, int]]) -> List[str]:
        """The next token of each sequence (seed, index), through all stages. Raises EngineDead."""
        outputs: List[Any] = [list(sequences)]
        for first in range(0, len(self._ranks), self._tensor):
            outputs = [rank.step.remote(*outputs) for rank in self._ranks[first : first + self._tensor]]
        limit = self._options.step_timeout
        try:
            answers = await asyncio.wait_for(asyncio.gather(*outputs), limit)
        except asyncio.TimeoutError:
            raise EngineDead(f"the last stage did not answer for {limit:g} s") from None
        except ray.exceptions.RayError as error:
            raise EngineDead(f"a rank failed in a step: {error}") from None
        return answers[0]


async def _settled(reference: Any) -> Optional[str]:
    try:
        await reference
    except ray.exceptions.RayError as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return "it returned"
