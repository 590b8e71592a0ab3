"""ASGI middleware of the engine's API server: exact requests in flight, draining, the probe of an engine that
wants a key, and the watch.
Standard library only, no Ray: it runs inside the engine's own process, in front of every request."""

import hmac
import itertools
import json
import logging
import os
import threading
import time
from typing import Any, Awaitable, Callable, Dict, Iterable, List, MutableMapping, Optional, Tuple

from rayfleet_token import token
from rayfleet_watch import watch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = List[Tuple[bytes, bytes]]

UNCOUNTED = frozenset(("/health", "/ping", "/metrics", "/version"))
"""Paths of probes and scrapes: their requests do not count, or a group would never be idle."""

_ENGINE_WORK = frozenset(
    ("/invocations", "/generate", "/inference/v1/generate", "/pooling", "/classify", "/score", "/rerank", "/v2/rerank")
)
"""Paths outside /v1/ whose responses the engine's ranks compute."""

_PREFIX = "/rayfleet/"
_STATE_PATH = "/rayfleet/v1/state"
_DRAIN_PATH = "/rayfleet/v1/drain"
_RANK_CHANGES_PATH = "/rayfleet/v1/rank-changes"
_WATCH_PATH = "/rayfleet/v1/watch"
_PROBE_PATH = "/rayfleet/v1/probe"
_MOST_PROBES = 4
"""Concurrent probes. They are fixed requests, but each of them is work for the engine."""
_MOST_WATCHES = 8
"""Concurrent watches. One orchestrator needs one."""
_METHODS = {_STATE_PATH: ("GET",), _WATCH_PATH: ("GET",), _DRAIN_PATH: ("POST", "DELETE"), _RANK_CHANGES_PATH: ("POST",)}


KEEP_ALIVE_SECONDS = 5.0
"""How long uvicorn leaves a connection open on which no request comes; vLLM's variable changes it."""
_CLOSED_BY_THEN = 1.0
"""A busy server closes its connections that much later."""


def _keep_alive() -> float:
    try:
        return max(float(os.environ["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]), 0.0)
    except (KeyError, ValueError):
        return KEEP_ALIVE_SECONDS


_WANTS_TOKEN = b"Unauthorized: this endpoint needs Authorization: Bearer <Ray token>\n"


class Traffic:
    """Counters of one server process. Times are on the monotonic clock, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._in_flight = 0
        self._awaiting = 0
        self._served = 0
        self._last: Optional[float] = None
        # Until when a connection may be open on which a client's next request would come. The first to end comes first.
        self._kept: Dict[Tuple[str, int], float] = {}
        self._keep_alive = _keep_alive() + _CLOSED_BY_THEN
        self.draining = False
        self.probes = 0
        self.watches = 0
        self.rank_changes = 0

    def begin(self) -> "Request":
        """Counts a request as in flight until the returned object's `end`."""
        with self._lock:
            self._in_flight += 1
            self._last = self.clock()
        return Request(self)

    def finished(self) -> None:
        """Counts one request as served."""
        with self._lock:
            self._in_flight -= 1
            self._served += 1
            self._last = self.clock()

    def leaves_open(self, client: Tuple[str, int]) -> None:
        """A response has ended, and its client may send the next request on the same connection."""
        with self._lock:
            self._expire()
            self._kept.pop(client, None)
            self._kept[client] = self.clock() + self._keep_alive

    def is_used(self, client: Tuple[str, int]) -> None:
        """A request has come on a connection."""
        with self._lock:
            self._kept.pop(client, None)

    def _expire(self) -> None:
        now = self.clock()
        for client, end in list(itertools.takewhile(lambda item: item[1] <= now, self._kept.items())):
            del self._kept[client]

    def await_engine(self, requests: int) -> None:
        """Changes the number of requests that wait for the engine."""
        with self._lock:
            self._awaiting += requests

    def report(self) -> Dict[str, Any]:
        """The state as the bridge reads it."""
        with self._lock:
            self._expire()
            return {
                "name": os.environ.get("RAYFLEET_ENGINE_NAME", ""),
                "inFlight": self._in_flight,
                "awaiting": self._awaiting,
                "served": self._served,
                "keptConnections": len(self._kept),
                "draining": self.draining,
                "rankChanges": self.rank_changes,
                "idleSeconds": None if self._last is None else round(self.clock() - self._last, 3),
            }


class Request:
    """One counted request. It ends once, at the first of: last byte sent, client disconnected, application
    returned."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic: Optional[Traffic] = traffic
        self._awaits = False

    def awaits(self, awaits: bool) -> None:
        """Sets whether it waits for the engine, as opposed to the rest of its body or a client that reads
        slowly."""
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
"""The only counters of this process: a server may build its middleware stack more than once."""


class QuietProbes(logging.Filter):
    """Keeps probes and the bridge's own requests, several per second, out of the access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        fields = record.args
        # uvicorn's: client, method, path with query, HTTP version, status.
        if not isinstance(fields, tuple) or len(fields) < 3:
            return True
        path = str(fields[2]).split("?", 1)[0]
        return not (path in UNCOUNTED or path.startswith(_PREFIX))


QUIET_PROBES = QuietProbes()


class InFlightMiddleware:
    """Wraps an ASGI application. `app` is the only argument that a server must pass."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], traffic: Traffic = TRAFFIC) -> None:
        self._app = app
        self._traffic = traffic
        logging.getLogger("uvicorn.access").addFilter(QUIET_PROBES)  # the same object, so it is added once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._session(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _route(scope)
        if path == _WATCH_PATH and scope.get("method") == "GET":
            await self._watch(scope, path, receive, send)
            return
        send = self._closing(scope, send)
        if path.startswith(_PROBE_PATH + "/"):
            await self._probe(scope, path, receive, send)
        elif path.startswith(_PREFIX):
            await self._control(scope, path, send)
        elif path in UNCOUNTED:
            await self._app(scope, receive, send)
        else:
            await self._counted(scope, receive, send, _is_engine_work(scope, path))

    async def _counted(self, scope: Scope, receive: Receive, send: Send, work: bool) -> None:
        request = self._traffic.begin()
        read = False
        client = _kept_client(scope)
        if client is not None:
            self._traffic.is_used(client)
        keeps = False

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
            nonlocal keeps
            request.awaits(False)
            if message["type"] == "http.response.start":
                keeps = client is not None and not self._traffic.draining and not _closes(message.get("headers", ()))
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                if keeps and client is not None:
                    self._traffic.leaves_open(client)
                request.end()
            else:
                request.awaits(work and read)

        try:
            await self._app(scope, receive_counted, send_counted)
        finally:
            request.end()

    async def _session(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket (vLLM's /v1/realtime): in flight from its handshake to its close. It never counts as
        waiting for the engine, because no response is due between two utterances."""
        request = self._traffic.begin()

        async def receive_counted() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                request.end()
            return message

        async def send_counted(message: Message) -> None:
            await send(message)
            if message["type"] == "websocket.close":
                request.end()

        try:
            await self._app(scope, receive_counted, send_counted)
        finally:
            request.end()

    def _closing(self, scope: Scope, send: Send) -> Send:
        """While draining, responses ask the client to close its connection, so that its next request goes to
        another group."""
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
            await _answer(send, 401, _WANTS_TOKEN, "text/plain")
            return
        if method not in _METHODS.get(path, ()):
            known = "".join(f"{' or '.join(methods)} {path}\n" for path, methods in _METHODS.items())
            await _answer(send, 405 if path in _METHODS else 404, known.encode(), "text/plain")
            return
        if path == _DRAIN_PATH:
            self._traffic.draining = method == "POST"
        elif path == _RANK_CHANGES_PATH:
            self._traffic.rank_changes += 1
        await _answer(send, 200, json.dumps(self._traffic.report()).encode(), "application/json")

    async def _watch(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        """Lines of JSON until the client goes: the state, with the health of the engine. Its response never
        asks the client to close its connection."""
        if not _authorized(scope):
            await _answer(send, 401, _WANTS_TOKEN, "text/plain")
            return
        if self._traffic.watches >= _MOST_WATCHES:
            await _answer(send, 503, b"enough watches are open already\n", "text/plain")
            return
        self._traffic.watches += 1
        try:
            host = [header for header in scope.get("headers", ()) if header[0].lower() == b"host"]
            await watch(self._app, _inner(scope, path, "/health", host), receive, send, self._traffic.clock, self._traffic.report)
        finally:
            self._traffic.watches -= 1

    async def _probe(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        """Sends the request that the launch defined for the path after the prefix, with the engine's own key,
        and returns the engine's response. Nothing of the incoming request is forwarded, so a caller can only
        send the probe."""
        if not _authorized(scope):
            await _answer(send, 401, _WANTS_TOKEN, "text/plain")
            return
        asked = path[len(_PROBE_PATH) :]
        body = _probes().get(asked)
        if body is None or scope.get("method") != "POST":
            await _answer(send, 404 if body is None else 405, f"no probe: POST {_PROBE_PATH}{asked}\n".encode(), "text/plain")
            return
        if self._traffic.probes >= _MOST_PROBES:
            await _answer(send, 503, b"enough probes are being answered already; try again\n", "text/plain")
            return
        text = json.dumps(body).encode()
        headers: Headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
        key = os.environ.get("VLLM_API_KEY", "")
        if key:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        inner = _inner(scope, path, asked, headers)
        messages = [{"type": "http.request", "body": text, "more_body": False}]

        async def receive_fixed() -> Message:
            if messages:
                return messages.pop()
            while True:  # ignores the rest of the incoming request, but not its client's disconnect
                message = await receive()
                if message["type"] == "http.disconnect":
                    return message

        self._traffic.probes += 1
        try:
            await self._counted(inner, receive_fixed, send, True)
        finally:
            self._traffic.probes -= 1


def _kept_client(scope: Scope) -> Optional[Tuple[str, int]]:
    """The other end of a connection that stays open after a response: HTTP/1.1, unless the client says otherwise."""
    client = scope.get("client")
    if scope.get("http_version") != "1.1" or not client or _closes(scope.get("headers", ())):
        return None
    return (client[0], client[1])


def _closes(headers: Iterable[Tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"connection" and b"close" in value.lower() for name, value in headers)


def _probes() -> Dict[str, Any]:
    """Request bodies by path, as defined by the launch."""
    try:
        probes = json.loads(os.environ.get("RAYFLEET_PROBE", ""))
    except ValueError:
        return {}
    return probes if isinstance(probes, dict) else {}


def _inner(scope: Scope, path: str, asked: str, headers: Headers) -> Scope:
    """The scope of a request to the application itself, behind a request for `path` that does the same."""
    before = str(scope.get("path", ""))[: -len(path)]  # the prefix under which a proxy publishes the server
    return {**scope, "path": before + asked, "raw_path": (before + asked).encode(), "query_string": b"", "headers": headers}


def _route(scope: Scope) -> str:
    """The path without the prefix under which a proxy publishes the server."""
    path, root = str(scope.get("path", "")), str(scope.get("root_path", ""))
    return path[len(root) :] if root and path.startswith(root) else path


def _is_engine_work(scope: Scope, path: str) -> bool:
    """Whether the ranks compute the response. Loading an adapter does not count: it may take minutes without
    a step."""
    if scope.get("method") != "POST" or path.endswith("_lora_adapter"):
        return False
    return path.startswith("/v1/") or path in _ENGINE_WORK


def _authorized(scope: Scope) -> bool:
    wanted = token()
    if wanted is None:
        return True
    given = b""
    for name, value in scope.get("headers", ()):
        if name.lower() == b"authorization":
            given = value
    scheme, _, credential = given.partition(b" ")
    return bool(wanted) and scheme.lower() == b"bearer" and hmac.compare_digest(credential.strip(), wanted)


async def _answer(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers: Headers = [
        (b"content-type", content_type.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
