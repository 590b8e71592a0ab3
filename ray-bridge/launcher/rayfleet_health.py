"""What the launcher asks the engine's API server: whether it is healthy, and to call its watchers.
Standard library only."""

import urllib.error
import urllib.request

from rayfleet_middleware import token

# Traffic between two nodes of one cluster must not go through a proxy from the environment.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def healthy(address: str, port: int, timeout: float = 2.0) -> bool:
    """True if `GET /health` answers 200 within `timeout` seconds."""
    try:
        with _OPENER.open(f"{_base(address, port)}/health", timeout=timeout) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False


def call_watchers(address: str, port: int, timeout: float = 1.0) -> None:
    """Whoever watches this engine is to look at Ray now. An engine without the middleware has no watchers, and
    one that does not answer is looked at anyway."""
    secret = (token() or b"").decode(errors="replace")
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    request = urllib.request.Request(f"{_base(address, port)}/rayfleet/v1/look", method="POST", headers=headers)
    try:
        _OPENER.open(request, timeout=timeout).close()
    except (OSError, urllib.error.URLError, ValueError):
        pass


def _base(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
