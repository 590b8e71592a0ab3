"""A look at the model's path on every node of the plan while the engine starts.
vLLM takes up to a minute of imports to find a missing directory, and a remote rank finds it later still."""

import os
from typing import Any, Dict, List

from rayfleet_spec import Spec


def model_path(spec: Spec) -> str:
    """The model if it is given as an absolute path, else an empty string: repository ids are the engine's affair."""
    first = spec.argv[0] if spec.argv else ""
    return first if first.startswith("/") else ""


def begin(spec: Spec, group: Any) -> Dict[Any, str]:
    """Starts one check per node, as tasks in the placement group: {object reference: node id}. Empty if there is nothing to check."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    path = model_path(spec)
    if not path:
        return {}
    check = ray.remote(num_cpus=0, max_retries=0)(os.path.exists)
    placed: Dict[Any, str] = {}
    for node in dict.fromkeys(spec.nodes):
        strategy = PlacementGroupSchedulingStrategy(
            placement_group=group, placement_group_bundle_index=spec.nodes.index(node)
        )
        placed[check.options(scheduling_strategy=strategy, name="rayfleet-preflight").remote(path)] = node
    return placed


def faults(spec: Spec, results: Dict[str, bool], addresses: Dict[str, str]) -> List[str]:
    """One line per node (id -> found) on which the model was not found."""
    path = model_path(spec)
    return [
        f"model path {path} does not exist on node {addresses.get(node, '?')} ({node[:12]}): "
        "mount or copy the model there, or correct the path"
        for node, found in results.items()
        if not found
    ]
