"""The API server's side of the engine core, or of the cores of data-parallel engines: starts them, passes completions
to them, and detects their death. Its counters are those that the core reported after its last step, as in vLLM: with a core that hangs
they freeze."""

import asyncio
import json
import socket
import subprocess
import sys
from itertools import count
from typing import Any, AsyncIterator, Dict, List, Optional

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

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
        self._actor: Any = None

    async def start(self, options: Options, placement: Placement, engine: Optional[int]) -> None:
        """Returns when every rank has loaded. Raises EngineDead with the cause if that fails. `engine` is its
        data-parallel rank."""
        context = ray.get_runtime_context()
        group, bundles = placement
        setting = {
            "options": vars(options),
            "address": context.gcs_address,
            "namespace": context.namespace,
            "group": group.id.hex(),
            "bundles": bundles,
            "engine": engine,
        }
        if engine is None:
            await self._fork()
        else:
            await self._place(group, len(bundles))
        self._say(setting)
        line = await self._reader.readline()
        answer = json.loads(line) if line else {"failed": "the engine core ended while it started"}
        if "failed" in answer:
            raise EngineDead(answer["failed"])

    async def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-u", "-m", "light_engine.core", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=1 << 24)

    async def _place(self, group: Any, bundle: int) -> None:
        from light_engine.core import DPMoEEngineCoreActor

        came: "asyncio.Future[Any]" = asyncio.get_running_loop().create_future()
        host = ray.util.get_node_ip_address()
        listening = await asyncio.start_server(lambda *both: came.set_result(both), host, 0, limit=1 << 24)
        strategy = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=bundle)
        self._actor = ray.remote(DPMoEEngineCoreActor).options(scheduling_strategy=strategy).remote()
        self._actor.run.remote(host, listening.sockets[0].getsockname()[1])
        self._reader, self._writer = await came
        listening.close()

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
        if self._actor is not None:
            ray.kill(self._actor)
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


class Cores:
    """The core of one engine, or those of data-parallel engines, which take turns and end together."""

    def __init__(self, engines: int) -> None:
        self.all = [Core() for _ in range(engines)]
        self._turn = count()

    @property
    def dead(self) -> bool:
        """One of them has ended."""
        return any(core.dead for core in self.all)

    async def start(self, options: Options, placements: List[Placement]) -> None:
        """Returns when every rank has loaded. Raises EngineDead with the first cause if that fails."""
        number = range(len(placements)) if len(placements) > 1 else [None]
        await asyncio.gather(*(core.start(options, *of) for core, *of in zip(self.all, placements, number)))

    async def follow(self) -> None:
        """Returns once one is dead and its open completions have ended."""
        following = [asyncio.ensure_future(core.follow()) for core in self.all]
        await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)

    def end(self) -> None:
        """Ends all."""
        for core in self.all:
            core.end()

    def complete(self, seed: int, tokens: int, prompt: int, hangs: bool) -> AsyncIterator[str]:
        """As of one core; the next one's turn."""
        return self.all[next(self._turn) % len(self.all)].complete(seed, tokens, prompt, hangs)
