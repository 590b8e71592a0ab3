"""The placement group of one engine: one GPU bundle per rank, each pinned to the Ray node the plan names. With data
parallelism each of its engines has one. Creates them, waits and explains failures; engines do not belong here. They
are not detached, so they end with this job."""

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
    """The bundles of one placement group, to request from Ray. `server` is the index of the API server's bundle, if
    that is here."""

    name: str
    resources: List[Dict[str, float]]
    selectors: Optional[List[Dict[str, str]]]
    server: Optional[int]


class Placed(NamedTuple):
    """The placement groups of the data-parallel engines, in their order; `server` is the index of the group with the
    API server's bundle, and the bundle's in it."""

    groups: List[Any]
    server: Tuple[int, int]


def group_name(spec: Spec, engine: int) -> str:
    """Name of the placement group of a data-parallel engine. No job has a name with a slash."""
    return spec.name if spec.data == 1 else f"{spec.name}/dp{engine}"


def bundles_of(spec: Spec, addresses: Dict[str, str], labels: bool) -> List[Bundles]:
    """For each data-parallel engine one {"GPU": 1} bundle per rank in rank order, with data parallelism one for the
    engine's core, and in the first group one more for an API server on a node without ranks.

    `addresses` maps node ids to IPs. With `labels` a bundle is pinned by the node's id, else by its IP.
    """
    owner = spec.nodes.index(spec.api_server_node) // spec.each if spec.api_server_node in spec.nodes else None
    made = []
    for engine in range(spec.data):
        nodes = list(spec.nodes_of(engine))
        resources: List[Dict[str, float]] = [{"GPU": 1} for _ in nodes]
        server = nodes.index(spec.api_server_node) if engine == owner else None
        if spec.data > 1:
            # vLLM starts the core as an actor without a number of CPUs, for which Ray wants one.
            nodes.append(nodes[0])
            resources.append({"CPU": 1})
        if owner is None and engine == 0:
            # vLLM uses the placement group of the actor it runs in, so its API server needs its own bundle here.
            # Not a CPU bundle: heads are commonly started without CPUs for Ray.
            server = len(nodes)
            nodes.append(spec.api_server_node)
            resources.append({f"node:{addresses[spec.api_server_node]}": _PIN})
        selectors = [{"ray.io/node-id": node} for node in nodes] if labels else None
        if not labels:
            for node, resource in zip(nodes, resources):
                resource[f"node:{addresses[node]}"] = _PIN
        made.append(Bundles(group_name(spec, engine), resources, selectors, server))
    return made


def missing(spec: Spec, nodes: List[Dict[str, Any]], free: Dict[str, Dict[str, float]]) -> List[str]:
    """Why `nodes` (from ray.nodes()) with `free` resources by node id cannot hold the plan."""
    alive = {node["NodeID"]: node for node in nodes if node.get("Alive")}
    faults = []
    for node_id in dict.fromkeys([*spec.nodes, spec.api_server_node]):
        wanted = spec.nodes.count(node_id)
        if node_id not in alive:
            faults.append(f"node {node_id[:12]} is not alive in Ray ({wanted} ranks)")
            continue
        cores = sum(spec.nodes_of(engine)[0] == node_id for engine in range(spec.data)) if spec.data > 1 else 0
        for what, needed in (("GPU", wanted), ("CPU", cores)):
            total = alive[node_id].get("Resources", {}).get(what, 0)
            left = free.get(node_id, {}).get(what, 0)
            if left < needed:
                address = alive[node_id].get("NodeManagerAddress", "?")
                why = "" if what == "GPU" else " for the cores of data-parallel engines: see num-cpus of ray start"
                faults.append(f"node {node_id[:12]} ({address}) has {left:g} of {total:g} {what}s free, {needed} needed{why}")
    return faults


def create(spec: Spec, say: Callable[[str], None]) -> Placed:
    """Creates the groups and waits until Ray has placed them.

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
    groups, server = [], (0, 0)
    for engine, bundles in enumerate(bundles_of(spec, addresses, labels)):
        selectors = {"bundle_label_selector": bundles.selectors} if labels else {}
        try:
            groups.append(placement_group(bundles.resources, strategy="PACK", name=bundles.name, **selectors))
        except ValueError as error:
            raise PlacementError(f"Ray refused the placement group {bundles.name}: {error}") from None
        if bundles.server is not None:
            server = (engine, bundles.server)
    deadline = time.monotonic() + spec.placement_timeout
    for group in groups:
        # Short waits, so that a stop request is handled between two of them.
        while not group.wait(min(1.0, max(0.0, deadline - time.monotonic()))):
            gone = _gone(spec, ray.nodes())
            if gone or time.monotonic() >= deadline:
                raise PlacementError(gone or _why_not(spec, group))
    return Placed(groups, server)


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
