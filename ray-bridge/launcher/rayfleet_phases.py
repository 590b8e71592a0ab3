"""Phase lines: one-line JSON reports with which the bridge follows a launch in the job's log.
No Ray here. Everything printed by this module is bounded and free of known secrets."""

import json
import os
import sys
import time
from typing import Any, Iterable, List, Tuple

MARK = "RAYFLEET_PHASE"
LAUNCH_MARK = "RAYFLEET_LAUNCH"
MAX_MESSAGE = 2000
"""Longest `message` in characters; a longer one is cut at its end, because the cause comes first."""

_SECRET_VARIABLES = ("RAY_AUTH_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY")
_SECRET_OPTIONS = ("--api-key", "--hf-token")


def secrets_of(argv: Iterable[str]) -> Tuple[str, ...]:
    """Values that must never be printed: tokens in the environment and keys among the engine's arguments."""
    found: List[str] = [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    taking = False
    for arg in argv:
        if arg.startswith("-"):
            option, _, value = arg.partition("=")
            taking = option in _SECRET_OPTIONS
            if taking:
                found.append(value)
        elif taking:
            found.append(arg)
    return tuple(value for value in found if len(value) >= 4)


class Phases:
    """Writes phase lines. `seconds` in each is the time since the launcher began."""

    def __init__(self, name: str, began: float, secrets: Iterable[str] = ()) -> None:
        self._name = name
        self._began = began
        self._secrets = tuple(secrets)
        self.current = ""

    def begin(self) -> None:
        """Marks the beginning of this launch: Ray appends to the log of an earlier job of the same name."""
        line = {"name": self._name, "ms": int(time.time() * 1000)}
        sys.stdout.write(f"{LAUNCH_MARK} {json.dumps(line)}\n")
        sys.stdout.flush()

    def enter(self, phase: str, **detail: Any) -> None:
        """Reports that the launch entered `phase`."""
        self.current = phase
        line = {"phase": phase, "name": self._name, "seconds": round(time.monotonic() - self._began, 2)}
        line.update({key: self.clean(value) if isinstance(value, str) else value for key, value in detail.items()})
        sys.stdout.write(f"{MARK} {json.dumps(line)}\n")
        sys.stdout.flush()

    def fail(self, message: str, exit_code: int, **detail: Any) -> int:
        """Reports the failure with the phase it happened in and returns the exit code."""
        self.enter("Failed", during=self.current, exitCode=exit_code, message=message, **detail)
        return exit_code

    def clean(self, text: str) -> str:
        """`text` without known secrets, cut to MAX_MESSAGE characters."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 4] + " ..."
