"""What Ray knows of the engine's ranks: the actors in its placement group.
The state API is asked over the dashboard; if that does not answer, a launch goes on without these facts."""

from typing import Any, List, NamedTuple, Optional

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
