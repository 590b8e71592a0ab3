"""The watch of an engine: a stream of lines by which the orchestrator learns of changes without asking.
Standard library only, no Ray: it runs inside the engine's own process."""

import asyncio
import json
from typing import Any, Awaitable, Callable, Dict, MutableMapping, Optional

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TICK_SECONDS = 0.25
"""Between two comparisons of the state with the last line."""
COUNTS_SECONDS = 1.0
"""Least time between two lines that differ in counts alone."""
BEAT_SECONDS = 2.0
"""Longest time without a line."""
HEALTH_SECONDS = 0.5
"""Between two health checks."""
HEALTH_LIMIT = 2.0
"""Longest time for one of them."""
SEND_LIMIT = 5.0
"""Longest time that a client may leave a line unread when its buffers are full."""
LONGEST_SECONDS = 60.0
"""Life of one watch: no server waits longer for one when it shuts down. The client opens the next one."""

_AT_ONCE = ("health", "draining", "rankChanges")


class Lines:
    """Decides which line is due. Times are on one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._written: Dict[str, Any] = {}
        self._at = 0.0

    def due(self, now: float, state: Dict[str, Any]) -> bytes:
        """The line to write now: the state if it has changed, an empty line as a sign of life, or nothing."""
        counts = {key: value for key, value in state.items() if key != "idleSeconds"}
        at_once = any(key not in self._written or counts[key] != self._written[key] for key in _AT_ONCE)
        if at_once or (counts != self._written and now - self._at >= COUNTS_SECONDS):
            self._written, self._at = counts, now
            return json.dumps(state).encode() + b"\n"
        if now - self._at >= BEAT_SECONDS:
            self._at = now
            return b"\n"
        return b""


async def watch(
    app: App, health_scope: Scope, receive: Receive, send: Send, clock: Callable[[], float], report: Callable[[], Dict[str, Any]]
) -> None:
    """Writes lines until the client has gone, the server shuts down, or the engine is not healthy: then the
    last line says so, and a server that ends need not wait."""
    headers = [(b"content-type", b"application/jsonl"), (b"cache-control", b"no-store")]
    gone = asyncio.ensure_future(_disconnect(receive))
    health, began, lines = _Health(app, health_scope), clock(), Lines()

    async def write(message: Message) -> None:
        await asyncio.wait_for(send(message), SEND_LIMIT)

    try:
        await write({"type": "http.response.start", "status": 200, "headers": headers})
        while not gone.done() and not _is_closing(receive):
            status = await health.now(clock)
            line = lines.due(clock(), {**report(), "health": status})
            if line:
                await write({"type": "http.response.body", "body": line, "more_body": True})
            if status != 200 or clock() - began >= LONGEST_SECONDS or _shuts_down(receive):
                await write({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await asyncio.wait({gone}, timeout=TICK_SECONDS)
    except asyncio.TimeoutError:
        return  # a client that does not read; the server closes the unfinished response
    finally:
        gone.cancel()
        health.close()


class _Health:
    """What the engine's application answers to GET /health, without a connection: asked again when the last
    answer is old, one question at a time. A handler that cannot be cancelled, such as one in a thread, is
    waited for by nobody."""

    def __init__(self, app: App, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self._asked: Optional["asyncio.Future[int]"] = None
        self._since = 0.0
        self._status: Optional[int] = None

    async def now(self, clock: Callable[[], float]) -> Optional[int]:
        """The status; None if there is no answer within HEALTH_LIMIT."""
        if self._asked is None and (self._status is None or clock() - self._since >= HEALTH_SECONDS):
            self._asked, self._since = asyncio.ensure_future(self._ask()), clock()
        if self._asked is not None:
            # The first answer is waited for; later ones are taken when they come.
            await asyncio.wait({self._asked}, timeout=HEALTH_LIMIT if self._status is None else 0)
            if self._asked.done():
                self._status, self._asked = self._asked.result(), None
            elif self._status is None or clock() - self._since >= HEALTH_LIMIT:
                return None
        return self._status

    def close(self) -> None:
        if self._asked is not None:
            self._asked.cancel()

    async def _ask(self) -> int:
        status = 500
        body = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if body:
                return body.pop()
            await asyncio.get_running_loop().create_future()  # its client never goes
            raise AssertionError

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])

        try:
            await self._app(dict(self._scope), receive, send)
        except Exception:  # noqa: BLE001 - a server answers 500 to whatever its application raises
            return 500
        return status


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _is_closing(receive: Receive) -> bool:
    """uvicorn tells only the newest request of a connection that its client has gone; its transport tells all."""
    closing = getattr(getattr(getattr(receive, "__self__", None), "transport", None), "is_closing", None)
    return bool(closing and closing())


def _shuts_down(receive: Receive) -> bool:
    """uvicorn, which waits for open responses when it shuts down, has no sign of that for applications but
    this attribute of a connection. Without it a watch ends with its time."""
    return getattr(getattr(receive, "__self__", None), "keep_alive", True) is False
