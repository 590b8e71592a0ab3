"""The Ray token of this cluster, from where Ray itself looks for it. Standard library only."""

import os
from typing import Optional


def token() -> Optional[bytes]:
    """The cluster's token; None if there is none, empty (which nothing matches) if its file cannot be
    read."""
    given = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if given:
        return given.encode()
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
