"""What Ray reports about the engine's ranks: the actors in its placement group.
The state API goes through the dashboard; if that does not answer, a launch continues without these facts."""

import threading
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence

from rayfleet_causes import plain

# Deaths that follow from another one: the engine or this launcher ended the rank.
_TAKEN_DOWN = (
    "ray.kill",
    "placement group was removed",
    "owner has died",
    "all references to the actor were removed",
    "INTENDED",
)

_CORES = ("DPMoEEngineCoreActor", "EngineCoreActor")
"""Classes of the actors in which vLLM runs the cores of data-parallel engines."""


class Rank(NamedTuple):
    """One actor of the placement group; `cause` is Ray's cause of death, in one line. `pid` is 0 if
    unknown."""

    name: str
    state: str
    node_id: str
    cause: str
    pid: int
    actor_id: str
    is_core: bool = False
    """It is the core of a data-parallel engine, which is no rank."""


def ranks(groups: Sequence[Any], own: str) -> List[Rank]:
    """All actors in the placement groups but those whose names begin with `own`, the launcher's. Raises whatever the state API raises."""
    from ray import get_runtime_context
    from ray.util.state import list_actors

    if len(groups) == 1:
        filters = [("placement_group_id", "=", groups[0].id.hex())]
    else:
        # Their cores, and with them their ranks, belong to this job; one call however many there are.
        filters = [("job_id", "=", get_runtime_context().get_job_id())]
    actors = list_actors(filters=filters, detail=True, limit=10000, timeout=5, raise_on_missing_output=False)
    return of_groups(actors, [group.id.hex() for group in groups], own)


def of_groups(actors: Iterable[Any], groups: Sequence[str], own: str) -> List[Rank]:
    """The actors in the placement groups with these ids, but those whose names begin with `own`."""
    found = []
    for actor in actors:
        if (actor.name or "").startswith(own) or actor.placement_group_id not in groups:
            continue
        is_core = actor.class_name in _CORES
        engine = groups.index(actor.placement_group_id)
        found.append(
            Rank(
                name=f"DP{engine}" if is_core else actor.name or actor.class_name,
                state=actor.state,
                node_id=actor.node_id or "",
                cause=_cause(actor.death_cause),
                pid=int(actor.pid or 0),
                actor_id=actor.actor_id,
                is_core=is_core,
            )
        )
    return found


def dead_by_itself(found: List[Rank]) -> Optional[Rank]:
    """A rank that died by itself, if there is one."""
    for rank in found:
        if rank.state == "DEAD" and not any(mark in rank.cause for mark in _TAKEN_DOWN):
            return rank
    return None


def obituary(rank: Rank) -> str:
    """The rank, its node and Ray's cause of death, in one line."""
    what = "engine core" if rank.is_core else "rank"
    return f"{what} {rank.name} on node {rank.node_id[:12]} died: {rank.cause}"


def last_words(rank: Rank, get_log: Optional[Callable[..., Iterable[str]]] = None, limit: int = 4, patience: float = 3.0) -> List[str]:
    """The last `limit` lines in the log files of a rank, which are on its node; empty if they do not arrive
    in time.

    Ray's output of ranks at the launcher lacks lines that another rank printed too. `get_log` is Ray's
    function unless given.
    """
    files: Dict[str, List[str]] = {}

    def read() -> None:
        ask = get_log
        if ask is None:
            from ray.util.state import get_log as ask
        for suffix in ("out", "err"):
            try:
                chunks = ask(actor_id=rank.actor_id, tail=4 * limit, suffix=suffix, errors="replace", timeout=3)
                lines = [plain(line).strip() for line in "".join(chunks).splitlines()]
            except Exception:  # noqa: BLE001 - the files are gone with their node
                continue
            # Ray writes these marks into the files.
            files[suffix] = [line[:200] for line in lines if line and not line.startswith((":job_id:", ":actor_name:", ":task_name:"))]

    # Ray's call has no time-out of its own.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(patience)
    return [*files.get("out", []), *files.get("err", [])][-limit:]


def _cause(death: Any) -> str:
    """Ray's death cause is a dictionary with one non-empty context; its message is long and starts with the
    cause."""
    if not isinstance(death, dict):
        return ""
    for context in death.values():
        if isinstance(context, dict):
            message = context.get("error_message") or context.get("exit_detail") or ""
            reason = context.get("reason") or ""
            message = message.split("Some common causes include")[0]  # general advice
            return " ".join(f"{reason}: {message}".split())[:500]
    return ""
