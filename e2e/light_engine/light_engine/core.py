"""The engine core: a separate process, as in vLLM. It owns the ranks and the batch, and the API server talks
to it in lines of JSON over a socket. `python -m light_engine.core FD` with the setting as the first line; of
data-parallel engines an actor on the node of the first rank. Ends when its API server does."""

import asyncio
import json
import socket
import sys
from typing import Any, Dict

import ray
from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup

from light_engine.batching import Batch, Completion
from light_engine.options import Options
from light_engine.ranks import EngineDead, Gang


async def main(descriptor: int) -> int:
    """Exit codes: 0 when the API server has exited, 1 when the ranks could not start or one has died."""
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor))
    return await run(reader, writer)


class DPMoEEngineCoreActor:
    """The core of one data-parallel engine, in an actor of vLLM's class name."""

    async def run(self, host: str, port: int) -> int:
        """Runs it for the API server that listens there."""
        return await run(*await asyncio.open_connection(host, port))


async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The core at the other end of this connection; returns the exit code."""

    def say(message: Dict[str, Any]) -> None:
        writer.write(json.dumps(message).encode() + b"\n")

    setting = json.loads(await reader.readline())
    options = Options(**setting["options"])
    if not ray.is_initialized():
        ray.init(address=setting["address"], namespace=setting["namespace"], log_to_driver=True)
    group = PlacementGroup(PlacementGroupID(bytes.fromhex(setting["group"])))
    try:
        gang = Gang(options, (group, setting["bundles"]), setting["engine"])
        await asyncio.to_thread(gang.load)
    except EngineDead as error:
        say({"failed": str(error)})
        await writer.drain()
        return 1
    batch = Batch(gang.step, options.tokens_per_second, options.max_num_seqs, say)
    say({"ready": True})
    tasks = [asyncio.ensure_future(task) for task in (_orders(reader, batch), gang.watch(), batch.loop())]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    ended = done.pop()
    if ended is tasks[0]:
        return 0
    error = ended.exception()
    reason = ended.result() if error is None else error
    if error is not None and not isinstance(error, EngineDead):
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    print(f"EngineDeadError: {reason}", file=sys.stderr, flush=True)
    return 1


async def _orders(reader: asyncio.StreamReader, batch: Batch) -> None:
    """Handles the API server's requests until it exits."""
    while line := await reader.readline():
        order = json.loads(line)
        if "drop" in order:
            batch.drop(order["drop"])
        else:
            batch.add(Completion(**order["add"]))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]))))
