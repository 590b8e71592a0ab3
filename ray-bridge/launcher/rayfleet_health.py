"""Health check of the engine's API server. Standard library only."""

import urllib.error
import urllib.request

# Traffic between two nodes of one cluster must not go through a proxy from the environment.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def healthy(address: str, port: int, timeout: float = 2.0) -> bool:
    """True if `GET /health` answers 200 within `timeout` seconds."""
    host = f"[{address}]" if ":" in address else address
    try:
        with _OPENER.open(f"http://{host}:{port}/health", timeout=timeout) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError, ValueError):
        return False
