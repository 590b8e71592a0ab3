"""What Ray knows of the engine's ranks: the actors in its placement group.
The state API is asked over the dashboard; if that does not answer, a launch goes on without these facts."""

import threading
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from rayfleet_causes import plain

# Ends that follow from another end: the engine or this launcher took the rank down.
_TAKEN_DOWN = (
    "ray.kill",
    "placement group was removed",
    "owner has died",
    "all references to the actor were removed",
    "INTENDED",
)


class Rank(NamedTuple):
    """One actor of the placement group; `cause` is Ray's word on its death, in one line. `pid` is 0 if not known."""

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
    """A rank that nobody took down but that died, if there is one."""
    for rank in found:
        if rank.state == "DEAD" and not any(mark in rank.cause for mark in _TAKEN_DOWN):
            return rank
    return None


def obituary(rank: Rank) -> str:
    """Who died where, and Ray's reason, in one line."""
    return f"rank {rank.name} on node {rank.node_id[:12]} died: {rank.cause}"


def last_words(rank: Rank, get_log: Optional[Callable[..., Iterable[str]]] = None, limit: int = 4, patience: float = 3.0) -> List[str]:
    """The last `limit` lines in the log files of a rank, which stay on its node; empty if they do not come in time.

    What Ray prints of a rank at the launcher lacks the lines that another rank has printed too. `get_log` is Ray's.
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
            except Exception:  # noqa: BLE001 - with its node its files are gone
                continue
            # Ray's own marks in these files.
            files[suffix] = [line[:200] for line in lines if line and not line.startswith((":job_id:", ":actor_name:", ":task_name:"))]

    # Ray's call has no time-out of its own.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(patience)
    return [*files.get("out", []), *files.get("err", [])][-limit:]


def _cause(death: Any) -> str:
    """Ray's death cause is a dictionary with one filled context; its message is long and starts with the point."""
    if not isinstance(death, dict):
        return ""
    for context in death.values():
        if isinstance(context, dict):
            message = context.get("error_message") or context.get("exit_detail") or ""
            reason = context.get("reason") or ""
            message = message.split("Some common causes include")[0]  # a lecture that fits every death
            return " ".join(f"{reason}: {message}".split())[:500]
    return ""
