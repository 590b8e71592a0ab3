"""Checks on the nodes of the plan that the model exists, while the engine starts.
vLLM needs up to a minute of imports to report a missing directory, and a remote rank needs longer."""

import os
from typing import Any, Dict, List

from rayfleet_spec import Spec


def model_path(spec: Spec) -> str:
    """The model if it is given as an absolute path, else an empty string: the engine resolves repository
    ids."""
    first = spec.argv[0] if spec.argv else ""
    return first if first.startswith("/") else ""


def missing_model(path: str, address: str) -> str:
    """The error if `path` does not exist on the node at `address`."""
    return f"model path {path} does not exist on node {address}: mount or copy the model there, or correct the path"


def begin(spec: Spec, groups: List[Any]) -> Dict[Any, str]:
    """Starts one check per node except the API server's, which checks by itself: {object reference: node
    id}."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    path = model_path(spec)
    if not path:
        return {}
    check = ray.remote(num_cpus=0, max_retries=0)(os.path.exists)
    placed: Dict[Any, str] = {}
    for node in dict.fromkeys(spec.nodes):
        if node == spec.api_server_node:
            continue
        engine, bundle = divmod(spec.nodes.index(node), spec.each)
        strategy = PlacementGroupSchedulingStrategy(placement_group=groups[engine], placement_group_bundle_index=bundle)
        placed[check.options(scheduling_strategy=strategy, name="rayfleet-preflight").remote(path)] = node
    return placed
