"""The placement group of one engine: one GPU bundle per rank, each pinned to the Ray node the plan names.
Creates it, waits and explains failures; engines do not belong here. The group is not detached, so it ends
with this job."""

import inspect
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from rayfleet_spec import Spec

# Every Ray node has 1.0 of the resource `node:<ip>`, so a share this small pins a bundle and takes nothing
# away.
_PIN = 0.001


class PlacementError(RuntimeError):
    """The ranks cannot be placed as planned; the message says what is missing."""


class Bundles(NamedTuple):
    """The bundles to request from Ray. `server` is the index of the API server's bundle."""

    resources: List[Dict[str, float]]
    selectors: Optional[List[Dict[str, str]]]
    server: int


def bundles_of(spec: Spec, addresses: Dict[str, str], labels: bool) -> Bundles:
    """One {"GPU": 1} bundle per rank in rank order, then one more for an API server on a node without ranks.

    `addresses` maps node ids to IPs. With `labels` a bundle is pinned by the node's id, else by its IP.
    """
    nodes = list(spec.nodes)
    resources: List[Dict[str, float]] = [{"GPU": 1} for _ in nodes]
    if spec.api_server_node in nodes:
        server = nodes.index(spec.api_server_node)
    else:
        # vLLM uses the placement group of the actor it runs in, so its API server needs its own bundle here.
        # Not a CPU bundle: heads are commonly started without CPUs for Ray.
        server = len(nodes)
        nodes.append(spec.api_server_node)
        resources.append({f"node:{addresses[spec.api_server_node]}": _PIN})
    if labels:
        return Bundles(resources, [{"ray.io/node-id": node} for node in nodes], server)
    for rank in range(len(spec.nodes)):
        resources[rank][f"node:{addresses[nodes[rank]]}"] = _PIN
    return Bundles(resources, None, server)


def missing(spec: Spec, nodes: List[Dict[str, Any]], free: Dict[str, Dict[str, float]]) -> List[str]:
    """Why `nodes` (from ray.nodes()) with `free` resources by node id cannot hold the plan."""
    alive = {node["NodeID"]: node for node in nodes if node.get("Alive")}
    faults = []
    for node_id in dict.fromkeys([*spec.nodes, spec.api_server_node]):
        wanted = spec.nodes.count(node_id)
        if node_id not in alive:
            faults.append(f"node {node_id[:12]} is not alive in Ray ({wanted} ranks)")
            continue
        total = alive[node_id].get("Resources", {}).get("GPU", 0)
        left = free.get(node_id, {}).get("GPU", 0)
        if left < wanted:
            address = alive[node_id].get("NodeManagerAddress", "?")
            faults.append(f"node {node_id[:12]} ({address}) has {left:g} of {total:g} GPUs free, {wanted} needed")
    return faults


def create(spec: Spec, say: Callable[[str], None]) -> Tuple[Any, int]:
    """Creates the group and waits until Ray has placed it: (placement group, index of the API server's
    bundle).

    Raises PlacementError after spec.placement_timeout seconds, or at once if a planned node is gone: a node
    that returns has a new id.
    """
    import ray
    from ray.util.placement_group import placement_group

    gone = _gone(spec, ray.nodes())
    if gone:
        raise PlacementError(gone)
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    labels = "bundle_label_selector" in inspect.signature(placement_group).parameters
    if not labels:
        say(f"Ray {ray.__version__} has no bundle_label_selector: bundles are pinned by node IP instead of node id")
    bundles = bundles_of(spec, addresses, labels)
    selectors = {"bundle_label_selector": bundles.selectors} if labels else {}
    try:
        group = placement_group(bundles.resources, strategy="PACK", name=spec.name, **selectors)
    except ValueError as error:
        raise PlacementError(f"Ray refused the placement group {spec.name}: {error}") from None
    deadline = time.monotonic() + spec.placement_timeout
    # Short waits, so that a stop request is handled between two of them.
    while not group.wait(min(1.0, max(0.0, deadline - time.monotonic()))):
        gone = _gone(spec, ray.nodes())
        if gone or time.monotonic() >= deadline:
            raise PlacementError(gone or _why_not(spec, group))
    return group, bundles.server


def _gone(spec: Spec, nodes: List[Dict[str, Any]]) -> str:
    alive = {node["NodeID"] for node in nodes if node["Alive"]}
    lost = [node for node in dict.fromkeys([*spec.nodes, spec.api_server_node]) if node not in alive]
    return f"planned nodes are not alive in Ray: {', '.join(lost)}; plan again on the nodes that are" if lost else ""


def _why_not(spec: Spec, group: Any) -> str:
    import ray
    from ray._private.state import available_resources_per_node
    from ray.util.placement_group import placement_group_table

    table = placement_group_table(group)
    scheduling = table.get("stats", {}).get("scheduling_state", "unknown")
    faults = missing(spec, ray.nodes(), available_resources_per_node())
    return (
        f"{len(spec.nodes)} ranks were not placed within {spec.placement_timeout:g} s "
        f"({table.get('state')}, {scheduling}): {'; '.join(faults) or 'no single node lacks GPUs now'}"
    )
