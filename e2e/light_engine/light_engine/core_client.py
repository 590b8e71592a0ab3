"""The API server's side of the engine core: starts the process, passes completions to it, and detects its
death. Its counters are those that the core reported after its last step, as in vLLM: with a core that hangs
they freeze."""

import asyncio
import json
import socket
import subprocess
import sys
from itertools import count
from typing import Any, AsyncIterator, Dict, Optional

import ray

from light_engine.options import Options
from light_engine.placement import Placement
from light_engine.ranks import EngineDead


class Core:
    """One engine core. `start` before anything else; `dead` once it has ended, for whatever reason."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.generated = 0
        self.prompted = 0
        self.completed = 0
        self.dead = False
        self._keys = count()
        self._arrived: Dict[str, "asyncio.Queue[Optional[str]]"] = {}
        self._process: Optional["subprocess.Popen[bytes]"] = None

    async def start(self, options: Options, placement: Placement) -> None:
        """Returns when every rank has loaded. Raises EngineDead with the cause if that fails."""
        ours, theirs = socket.socketpair()
        context = ray.get_runtime_context()
        group, bundles = placement
        setting = {
            "options": vars(options),
            "address": context.gcs_address,
            "namespace": context.namespace,
            "group": group.id.hex(),
            "bundles": bundles,
        }
        with theirs:
            command = [sys.executable, "-u", "-m", "light_engine.core", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 24)
        self._say(setting)
        line = await self._reader.readline()
        answer = json.loads(line) if line else {"failed": "the engine core ended while it started"}
        if "failed" in answer:
            raise EngineDead(answer["failed"])

    async def follow(self) -> None:
        """Receives the core's tokens; returns once it is dead and every open completion has ended."""
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except OSError as error:
            print(f"the engine core's socket: {error}", file=sys.stderr, flush=True)
        finally:
            self.dead = True
            for arrived in self._arrived.values():
                arrived.put_nowait(None)

    def end(self) -> None:
        """Kills the process unless it has exited by itself, and releases it."""
        if self._process is not None:
            self._process.kill()
            code = self._process.wait()
            print(f"the engine core has ended (exit code {code})", flush=True)

    async def complete(self, seed: int, tokens: int, prompt: int, hangs: bool) -> AsyncIterator[str]:
        """Yields `tokens` tokens as they are generated. Ends early only if the engine dies: check `dead`
        after it.

        Leaving the iteration (a client that disconnected) removes the sequence from the batch.
        """
        key = next(self._keys)
        arrived = self._arrived[str(key)] = asyncio.Queue()
        try:
            self._say({"add": {"key": key, "seed": seed, "wanted": tokens, "prompt": prompt, "hangs": hangs}})
            for _ in range(tokens):
                word = None if self.dead else await arrived.get()
                if word is None:
                    return
                yield word
        finally:
            del self._arrived[str(key)]
            self._say({"drop": key})

    def _take(self, update: Dict[str, Any]) -> None:
        for name in ("running", "waiting", "generated", "prompted", "completed"):
            setattr(self, name, update[name])
        for key, word in update["made"].items():
            if key in self._arrived:
                self._arrived[key].put_nowait(word)

    def _say(self, message: Dict[str, Any]) -> None:
        if not self.dead:
            self._writer.write(json.dumps(message).encode() + b"\n")
