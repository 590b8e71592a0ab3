"""Placement of the ranks: in the placement group of the current actor, or in a new one when started from a
shell."""

import os
import time
from typing import Any, List, Tuple

import ray
from ray.util.placement_group import placement_group

Placement = Tuple[Any, List[int]]
"""A placement group and, by rank, the index of its bundle."""

_RETRY_SECONDS = 0.5


def current_group(ranks: int) -> Placement:
    """The placement group of this actor, with the bundles that VLLM_RAY_BUNDLE_INDICES names, as vLLM reads
    it."""
    group = ray.util.get_current_placement_group()
    if group is None:
        raise RuntimeError("not in a placement group: start this engine through the launcher or `python -m light_engine`")
    given = os.environ.get("VLLM_RAY_BUNDLE_INDICES", "")
    gpus = [index for index, bundle in enumerate(group.bundle_specs) if bundle.get("GPU")]
    indices = [int(index) for index in given.split(",")] if given else gpus
    if len(indices) < ranks:
        raise ValueError(f"{ranks} ranks need {ranks} bundles with a GPU, the placement group has {len(indices)}")
    return group, indices[:ranks]


def engine_groups(name: str, engines: int, ranks: int) -> List[Placement]:
    """The placement groups that the launcher made for data-parallel engines; the ranks' bundles come first."""
    return [(ray.util.get_placement_group(f"{name}/dp{engine}"), list(range(ranks))) for engine in range(engines)]


def connect(deadline: float) -> None:
    """Joins the Ray cluster on this machine; waits until `deadline` (monotonic) for it to come up."""
    while True:
        try:
            ray.init(address="auto", log_to_driver=True)
            return
        except ConnectionError as error:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no Ray on this machine: {error}") from None
            time.sleep(_RETRY_SECONDS)


def own_group(ranks: int, deadline: float) -> Placement:
    """A placement group of `ranks` GPUs, packed as closely as possible; waits until `deadline` for nodes to
    join."""
    group = placement_group([{"GPU": 1}] * ranks, strategy="PACK")
    reported = 0.0
    while not group.wait(1):
        now = time.monotonic()
        if now >= deadline:
            raise TimeoutError(f"Cannot provide a placement group requiring {ranks} GPUs: {_gpus()}")
        if now - reported >= 10:
            reported = now
            print(f"waiting for {ranks} GPUs: {_gpus()}", flush=True)
    return group, list(range(ranks))


def _gpus() -> str:
    total, free = ray.cluster_resources().get("GPU", 0), ray.available_resources().get("GPU", 0)
    return f"{free:g} of {total:g} GPUs are free on {sum(node['Alive'] for node in ray.nodes())} nodes"
