"""ASGI middleware of the engine's API server: exact requests in flight, and draining.
Standard library only, no Ray: it runs inside the engine's own process, in front of every request."""

import hmac
import json
import logging
import os
import threading
import time
from typing import Any, Awaitable, Callable, Dict, List, MutableMapping, Optional, Tuple

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = List[Tuple[bytes, bytes]]

UNCOUNTED = frozenset(("/health", "/ping", "/metrics", "/version"))
"""Paths of probes and scrapes: their requests are nobody's work and would keep a group from ever being idle."""

_ENGINE_WORK = frozenset(
    ("/invocations", "/generate", "/inference/v1/generate", "/pooling", "/classify", "/score", "/rerank", "/v2/rerank")
)
"""Paths outside /v1/ whose answers the engine's ranks make."""

_PREFIX = "/rayfleet/"
_STATE_PATH = "/rayfleet/v1/state"
_DRAIN_PATH = "/rayfleet/v1/drain"


class Traffic:
    """Counts of one server process. Times are on the monotonic clock, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._in_flight = 0
        self._awaiting = 0
        self._served = 0
        self._last: Optional[float] = None
        self.draining = False

    def begin(self) -> "Request":
        """Counts a request as in flight until the returned object's `end`."""
        with self._lock:
            self._in_flight += 1
            self._last = self._clock()
        return Request(self)

    def finished(self) -> None:
        """Counts one request as served."""
        with self._lock:
            self._in_flight -= 1
            self._served += 1
            self._last = self._clock()

    def await_engine(self, requests: int) -> None:
        """Adds to the requests that wait for the engine."""
        with self._lock:
            self._awaiting += requests

    def report(self) -> Dict[str, Any]:
        """The state as the bridge reads it."""
        with self._lock:
            return {
                "name": os.environ.get("RAYFLEET_ENGINE_NAME", ""),
                "inFlight": self._in_flight,
                "awaiting": self._awaiting,
                "served": self._served,
                "draining": self.draining,
                "idleSeconds": None if self._last is None else round(self._clock() - self._last, 3),
            }


class Request:
    """One counted request. It ends once, by whichever comes first: last byte sent, client gone, application done."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic: Optional[Traffic] = traffic
        self._awaits = False

    def awaits(self, awaits: bool) -> None:
        """Whether it waits for the engine now: not for the rest of its body, nor for a client that reads slowly."""
        if self._traffic is not None and awaits != self._awaits:
            self._awaits = awaits
            self._traffic.await_engine(1 if awaits else -1)

    def end(self) -> None:
        """Idempotent."""
        self.awaits(False)
        if self._traffic is not None:
            self._traffic.finished()
            self._traffic = None


TRAFFIC = Traffic()
"""The one count of this process: a server may build its middleware stack more than once."""


class QuietProbes(logging.Filter):
    """Keeps probes and the bridge's own questions, several a second, out of the access log: it would hold little else."""

    def filter(self, record: logging.LogRecord) -> bool:
        fields = record.args
        # uvicorn's: client, method, path with query, HTTP version, status.
        if not isinstance(fields, tuple) or len(fields) < 3:
            return True
        path = str(fields[2]).split("?", 1)[0]
        return not (path in UNCOUNTED or path.startswith(_PREFIX))


QUIET_PROBES = QuietProbes()


class InFlightMiddleware:
    """Wraps an ASGI application. `app` is the only argument a server has to give."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], traffic: Traffic = TRAFFIC) -> None:
        self._app = app
        self._traffic = traffic
        logging.getLogger("uvicorn.access").addFilter(QUIET_PROBES)  # the same one, so it is there once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _route(scope)
        send = self._closing(scope, send)
        if path.startswith(_PREFIX):
            await self._control(scope, path, send)
        elif path in UNCOUNTED:
            await self._app(scope, receive, send)
        else:
            await self._counted(scope, receive, send, _is_engine_work(scope, path))

    async def _counted(self, scope: Scope, receive: Receive, send: Send, work: bool) -> None:
        request = self._traffic.begin()
        read = False

        async def receive_counted() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.disconnect":
                request.end()
            elif not message.get("more_body", False):
                read = True
                request.awaits(work)
            return message

        async def send_counted(message: Message) -> None:
            request.awaits(False)
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                request.end()
            else:
                request.awaits(work and read)

        try:
            await self._app(scope, receive_counted, send_counted)
        finally:
            request.end()

    def _closing(self, scope: Scope, send: Send) -> Send:
        """While draining, answers tell the client to close its connection, so that its next request finds another group."""
        if not str(scope.get("http_version", "")).startswith("1"):
            return send  # HTTP/2 forbids the header

        async def send_closing(message: Message) -> None:
            if self._traffic.draining and message["type"] == "http.response.start":
                headers = [(name, value) for name, value in message.get("headers", ()) if name.lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        return send_closing

    async def _control(self, scope: Scope, path: str, send: Send) -> None:
        method = scope.get("method", "")
        if not _authorized(scope):
            await _answer(send, 401, b"Unauthorized: this endpoint needs Authorization: Bearer <Ray token>\n", "text/plain")
            return
        if (method, path) == ("POST", _DRAIN_PATH):
            self._traffic.draining = True
        elif (method, path) == ("DELETE", _DRAIN_PATH):
            self._traffic.draining = False
        elif (method, path) != ("GET", _STATE_PATH):
            known = path in (_STATE_PATH, _DRAIN_PATH)
            await _answer(send, 405 if known else 404, b"GET /rayfleet/v1/state, POST or DELETE /rayfleet/v1/drain\n", "text/plain")
            return
        await _answer(send, 200, json.dumps(self._traffic.report()).encode(), "application/json")


def _route(scope: Scope) -> str:
    """The path without the prefix under which a proxy publishes the server."""
    path, root = str(scope.get("path", "")), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) else path


def _is_engine_work(scope: Scope, path: str) -> bool:
    """Answers that the ranks make. Loading an adapter is not among them: it may take minutes without a step."""
    if scope.get("method") != "POST" or path.endswith("_lora_adapter"):
        return False
    return path.startswith("/v1/") or path in _ENGINE_WORK


def _authorized(scope: Scope) -> bool:
    token = _token()
    if token is None:
        return True
    given = b""
    for name, value in scope.get("headers", ()):
        if name.lower() == b"authorization":
            given = value
    scheme, _, credential = given.partition(b" ")
    return bool(token) and scheme.lower() == b"bearer" and hmac.compare_digest(credential.strip(), token)


def _token() -> Optional[bytes]:
    """The cluster's token; None where there is none, empty (which nothing matches) where its file cannot be read."""
    token = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if token:
        return token.encode()
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if not path and os.environ.get("RAY_AUTH_MODE", "").lower() == "token":
        path = os.path.expanduser("~/.ray/auth_token")  # where Ray looks last
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read(65536).strip()
    except OSError:
        return b""


async def _answer(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers: Headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
