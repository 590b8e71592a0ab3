"""Finds the cause of a failed start in the mixed output of API server, engine core and ranks.
Ray prints all of it through the launcher's own stdout and stderr; this keeps its end and selects the relevant
lines."""

import re
import threading
import time
from collections import deque
from typing import Deque, Iterable, List, Optional, TextIO

_MAX_LINE = 4000

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SOURCE = re.compile(r"^\([^()]*pid=\d+[^()]*\) ?")
_PROCESS = re.compile(r"\([^()]*\bpid=(\d+)(?:, ip=([^(),\s]+))?[^()]*\)")
# vLLM's log prefix: `ERROR 11-23 12:00:00 [core.py:12] `, optionally after the name of the process,
# `(EngineCore pid=7) `.
_LEVEL = re.compile(r"^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w]*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure|NotFound)\b:? ?.*")
_ARGUMENT = re.compile(r"^\S.*: error: .+")
_FATAL = re.compile(r"(Fatal Python error|Segmentation fault|SIGILL|SIGBUS|Out of memory|out of memory|address already in use)")
# These only say that something else failed, so they are the cause only if there is no other error.
_CONSEQUENCE = re.compile(
    r"(See root cause above|EngineDeadError|ActorDiedError|RayActorError|RayTaskError|WorkerCrashedError|"
    r"EngineExit|SystemExit|KeyboardInterrupt|CancelledError|The actor died|resource_tracker)"
)


class Tail:
    """A text stream that records its lines. It forwards only whole lines, each in one write, so that lines of
    several threads never mix."""

    def __init__(self, target: TextIO, lines: "Deque[str]", lock: "threading.RLock") -> None:
        self._target = target
        self._lines = lines
        self._lock = lock
        self._open = ""

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._open = (self._open + text).split("\n")
            if whole:
                self._target.write("\n".join(whole) + "\n")
                self._lines.extend(line[:_MAX_LINE] for line in whole)
            elif len(self._open) > _MAX_LINE:
                self._target.write(self._open)
                self._open = ""
        return len(text)

    def __getattr__(self, name: str):
        return getattr(self._target, name)


class Memory:
    """The last `size` lines of all its streams."""

    def __init__(self, size: int = 600) -> None:
        self._lines: Deque[str] = deque(maxlen=size)
        # Reentrant: a signal can interrupt a write in the main thread and print itself.
        self._lock = threading.RLock()

    def attach(self, target: TextIO) -> Tail:
        """A stream in front of `target` whose lines are recorded here."""
        return Tail(target, self._lines, self._lock)

    def lines(self) -> List[str]:
        """The recorded lines, oldest first."""
        with self._lock:
            return list(self._lines)

    def settle(self, quiet: float, limit: float) -> List[str]:
        """Waits until no line arrived for `quiet` seconds, at most `limit` seconds, and returns the lines.

        Output of other nodes reaches the launcher shortly after the failure that it explains.
        """
        end = time.monotonic() + limit
        before, since = self.lines(), time.monotonic()
        while time.monotonic() < min(end, since + quiet):
            time.sleep(0.05)
            now = self.lines()
            if now != before:
                before, since = now, time.monotonic()
        return before


def plain(line: str) -> str:
    """`line` without colours, Ray's `(actor pid=1)` prefixes and vLLM's log prefix."""
    line = _ANSI.sub("", line)
    for _ in range(3):
        line = _LEVEL.sub("", _SOURCE.sub("", line))
    return line.rstrip()


def causes(lines: Iterable[str], limit: int = 3) -> List[str]:
    """Up to `limit` distinct errors, the likeliest root cause first: the first error caused the others."""
    roots: List[str] = []
    consequences: List[str] = []
    found: Optional[List[str]] = None
    for text in map(plain, lines):
        if found is not None and text.startswith("  ") and not text.lstrip().startswith(("File ", "For further information")):
            # Validation errors name the field and the fault in the indented lines below the first.
            found[-1] = f"{found[-1]} {text.strip()}" if len(found[-1]) < 600 else found[-1]
            continue
        found, text = None, text.strip()
        if _EXCEPTION.match(text) or _ARGUMENT.match(text) or _FATAL.search(text):
            kind = consequences if _CONSEQUENCE.search(text) else roots
            kind.append(text)
            found = kind
    return list(dict.fromkeys(roots or consequences))[:limit]


def last_lines(lines: Iterable[str], pid: int, address: str, limit: int = 4) -> List[str]:
    """The last `limit` lines that the process `pid` on the node at `address` printed, oldest first.

    Ray writes the address unless it is that of the node on which the line was collected. Two nodes may have
    processes with the same id, so a line with another address is from another process.
    """
    found: Deque[str] = deque(maxlen=limit)
    for line in lines:
        printed_by = _PROCESS.findall(_ANSI.sub("", line))
        if any(int(number) == pid and ip in ("", address) for number, ip in printed_by):
            text = plain(line).strip()
            if text:
                found.append(text[:200])
    return list(found)
