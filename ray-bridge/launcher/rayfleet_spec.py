"""The launch specification of the bridge, checked field by field before anything is started.
No Ray and no I/O here, so that an invalid specification is refused without a cluster."""

import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_NODE_ID = re.compile(r"[0-9a-f]{16,128}")
_ENTRYPOINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
ENGINES = ("vllm", "custom")


class SpecError(ValueError):
    """The specification cannot be used; the message names the field and the cure."""


@dataclass(frozen=True)
class Spec:
    """A checked specification. `nodes[rank]` is the Ray node id (hex) that the rank must run on."""

    name: str
    engine: str
    entrypoint: str
    nodes: Tuple[str, ...]
    api_server_node: str
    tensor: int
    pipeline: int
    data: int
    """Data-parallel engines; 1 without data parallelism."""
    port: int
    argv: Tuple[str, ...]
    placement_timeout: float
    probe: Dict[str, Any]
    """Request bodies by path; the middleware sends these and no others with the engine's key."""
    raw: Dict[str, Any]

    @property
    def each(self) -> int:
        """Ranks of one data-parallel engine."""
        return self.tensor * self.pipeline

    def nodes_of(self, engine: int) -> Tuple[str, ...]:
        """Nodes of the ranks of one data-parallel engine."""
        return self.nodes[engine * self.each : (engine + 1) * self.each]


def parse(text: str) -> Spec:
    """Reads the JSON text of RAYFLEET_SPEC. Raises SpecError with the first error."""
    if not text:
        raise SpecError("RAYFLEET_SPEC is not set: give the launch specification as JSON in this variable")
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise SpecError(f"RAYFLEET_SPEC is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise SpecError("RAYFLEET_SPEC must be a JSON object")

    engine = _string(raw, "engine")
    if engine not in ENGINES:
        raise SpecError(f"engine: unknown engine {engine!r}, use one of {', '.join(ENGINES)}")
    entrypoint = ""
    if engine == "custom":
        entrypoint = _matching(raw, "entrypoint", _ENTRYPOINT, "module:callable")
    tensor, pipeline = _integer(raw, "tensor", 1, 1024), _integer(raw, "pipeline", 1, 1024)
    data = _integer(raw, "data", 1, 1024, default=1)
    return Spec(
        name=_matching(raw, "name", _NAME, "letters, digits, '.', '_' and '-'"),
        engine=engine,
        entrypoint=entrypoint,
        nodes=_nodes(raw, data * tensor * pipeline),
        api_server_node=_matching(raw, "apiServerNodeId", _NODE_ID, "a Ray node id in hex"),
        tensor=tensor,
        pipeline=pipeline,
        data=data,
        port=_integer(raw, "port", 1, 65535),
        argv=_argv(raw, engine),
        placement_timeout=_seconds(raw, "placementTimeoutSeconds", 60.0),
        probe=_probe(raw),
        raw=raw,
    )


def _string(raw: Dict[str, Any], field: str) -> str:
    value = raw.get(field)
    if not isinstance(value, str) or not value:
        raise SpecError(f"{field}: a non-empty string is needed, got {value!r}")
    return value


def _matching(raw: Dict[str, Any], field: str, pattern: "re.Pattern[str]", meaning: str) -> str:
    value = _string(raw, field)
    if not pattern.fullmatch(value):
        raise SpecError(f"{field}: {value[:200]!r} is not {meaning}")
    return value


def _integer(raw: Dict[str, Any], field: str, low: int, high: int, default: Optional[int] = None) -> int:
    value = raw.get(field, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise SpecError(f"{field}: an integer from {low} to {high} is needed, got {value!r}")
    return value


def _seconds(raw: Dict[str, Any], field: str, default: float) -> float:
    value = raw.get(field, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= 86400:
        raise SpecError(f"{field}: seconds above 0 and up to 86400 are needed, got {value!r}")
    return float(value)


def _nodes(raw: Dict[str, Any], ranks: int) -> Tuple[str, ...]:
    bundles = raw.get("bundles")
    if not isinstance(bundles, list) or len(bundles) != ranks:
        got = len(bundles) if isinstance(bundles, list) else bundles
        raise SpecError(f"bundles: data x tensor x pipeline = {ranks} entries are needed, one per rank, got {got!r}")
    nodes: List[str] = []
    for rank, bundle in enumerate(bundles):
        if not isinstance(bundle, dict) or bundle.get("rank") != rank:
            raise SpecError(f"bundles[{rank}]: entries must be in rank order and have rank {rank}")
        node = bundle.get("nodeId")
        if not isinstance(node, str) or not _NODE_ID.fullmatch(node):
            raise SpecError(f"bundles[{rank}].nodeId: {node!r} is not a Ray node id in hex")
        nodes.append(node)
    return tuple(nodes)


def _probe(raw: Dict[str, Any]) -> Dict[str, Any]:
    probe = raw.get("probe", {})
    if not isinstance(probe, dict) or not all(path.startswith("/") and isinstance(body, dict) for path, body in probe.items()):
        raise SpecError("probe: an object of request bodies by path is needed")
    return probe


def _argv(raw: Dict[str, Any], engine: str) -> Tuple[str, ...]:
    argv = raw.get("argv")
    if not isinstance(argv, list) or not all(isinstance(arg, str) for arg in argv):
        raise SpecError("argv: a list of strings is needed")
    if engine == "vllm" and (not argv or argv[0].startswith("-")):
        raise SpecError("argv: the first entry must be the model (a path or a repository id)")
    for position, arg in enumerate(argv):
        value = argv[position + 1] if arg == "--api-server-count" and position + 1 < len(argv) else ""
        value = arg.split("=", 1)[1] if arg.startswith("--api-server-count=") else value
        if value not in ("", "1"):
            raise SpecError("argv: --api-server-count must be 1: requests in flight are counted in one process")
    return tuple(argv)
