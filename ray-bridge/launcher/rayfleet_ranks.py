"""What Ray reports about the engine's ranks: the actors in its placement group.
The state API goes through the dashboard; if that does not answer, a launch continues without these facts."""

import threading
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from rayfleet_causes import plain

# Deaths that follow from another one: the engine or this launcher ended the rank.
_TAKEN_DOWN = (
    "ray.kill",
    "placement group was removed",
    "owner has died",
    "all references to the actor were removed",
    "INTENDED",
)


class Rank(NamedTuple):
    """One actor of the placement group; `cause` is Ray's cause of death, in one line. `pid` is 0 if
    unknown."""

    name: str
    state: str
    node_id: str
    cause: str
    pid: int
    actor_id: str


def ranks(group: Any, server_name: str) -> List[Rank]:
    """All actors in the placement group but the API server's. Raises whatever the state API raises."""
    from ray.util.state import list_actors

    filters = [("placement_group_id", "=", group.id.hex())]
    actors = list_actors(filters=filters, detail=True, limit=10000, timeout=5, raise_on_missing_output=False)
    return [
        Rank(
            name=actor.name or actor.class_name,
            state=actor.state,
            node_id=actor.node_id or "",
            cause=_cause(actor.death_cause),
            pid=int(actor.pid or 0),
            actor_id=actor.actor_id,
        )
        for actor in actors
        if actor.name != server_name
    ]


def dead_by_itself(found: List[Rank]) -> Optional[Rank]:
    """A rank that died by itself, if there is one."""
    for rank in found:
        if rank.state == "DEAD" and not any(mark in rank.cause for mark in _TAKEN_DOWN):
            return rank
    return None


def obituary(rank: Rank) -> str:
    """The rank, its node and Ray's cause of death, in one line."""
    return f"rank {rank.name} on node {rank.node_id[:12]} died: {rank.cause}"


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
