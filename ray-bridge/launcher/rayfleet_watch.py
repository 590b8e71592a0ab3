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

_AT_ONCE = ("health", "draining", "looks")


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
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    health = _Health(app, health_scope)
    await health.check()
    gone = asyncio.ensure_future(_disconnect(receive))
    checks = asyncio.ensure_future(health.follow())
    began, lines = clock(), Lines()
    try:
        while not gone.done():
            now, status = clock(), health.status
            line = lines.due(now, {**report(), "health": status})
            if line:
                await asyncio.wait_for(send({"type": "http.response.body", "body": line, "more_body": True}), SEND_LIMIT)
            if status != 200 or now - began >= LONGEST_SECONDS or _shuts_down(receive):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await asyncio.wait({gone}, timeout=TICK_SECONDS)
    except asyncio.TimeoutError:
        return  # a client that does not read; the server closes the unfinished response
    finally:
        health.ended = True
        gone.cancel()
        checks.cancel()


class _Health:
    """What the engine's application answers to GET /health, without a connection. `status` is None if it does
    not answer in time."""

    def __init__(self, app: App, scope: Scope) -> None:
        self._app = app
        self._scope = scope
        self.status: Optional[int] = None
        self.ended = False

    async def check(self) -> None:
        try:
            self.status = await asyncio.wait_for(self._ask(), HEALTH_LIMIT)
        except asyncio.TimeoutError:
            self.status = None
        except Exception:  # noqa: BLE001 - a server answers 500 to whatever its application raises
            self.status = 500

    async def follow(self) -> None:
        while not self.ended:  # Python 3.11's wait_for may swallow a cancellation
            await asyncio.sleep(HEALTH_SECONDS)
            await self.check()

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

        await self._app(dict(self._scope), receive, send)
        return status


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _shuts_down(receive: Receive) -> bool:
    """uvicorn, which waits for open responses when it shuts down, has no sign of that for applications but
    this attribute of a connection. Without it a watch ends with its time."""
    return getattr(getattr(receive, "__self__", None), "keep_alive", True) is False
