"""What the launcher asks the engine's API server: whether it is healthy, and to call its watchers.
Standard library only."""

import http.client
import urllib.error
import urllib.request
from typing import Any

from rayfleet_token import token


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to no other address."""

    def redirect_request(self, *_args: Any) -> None:
        return None


# Traffic between two nodes of one cluster must not go through a proxy from the environment.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

# A server that speaks no HTTP raises one that is no OSError.
_FAILURES = (OSError, http.client.HTTPException, ValueError)


def healthy(address: str, port: int, timeout: float = 2.0) -> bool:
    """True if `GET /health` answers 200 within `timeout` seconds."""
    try:
        with _OPENER.open(f"{_base(address, port)}/health", timeout=timeout) as response:
            return response.status == 200
    except _FAILURES:
        return False


def call_watchers(address: str, port: int, timeout: float = 1.0) -> bool:
    """Whoever watches this engine is to read ranks and nodes now. False if the engine did not take the call; one
    without the middleware has no watchers, and answers 404."""
    secret = (token() or b"").decode(errors="replace")
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        request = urllib.request.Request(f"{_base(address, port)}/rayfleet/v1/rank-changes", method="POST", headers=headers)
        _OPENER.open(request, timeout=timeout).close()
    except urllib.error.HTTPError as answer:
        return answer.code < 500
    except _FAILURES:
        return False
    return True


def _base(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
