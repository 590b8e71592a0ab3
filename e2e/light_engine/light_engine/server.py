"""The life of the engine: ranks, then HTTP, until a rank dies or a stop is asked for.
Dies as vLLM does: /health 503 at once, the port closed a little later, and a normal return."""

import asyncio
import sys
from contextlib import suppress
from typing import Optional

import uvicorn

from light_engine.app import build
from light_engine.batching import Batch
from light_engine.options import Options, check_model
from light_engine.placement import Placement
from light_engine.ranks import EngineDead, Gang

_LAST_SECONDS = 3.0
"""How long a dead engine still answers 503, so that a health check can see it."""


def run(options: Options, placement: Placement, middleware_class: Optional[type]) -> None:
    """Serves until the end. Raises FileNotFoundError or EngineDead if the engine could not start."""
    check_model(options.model)
    gang = Gang(options, placement)
    gang.load()
    asyncio.run(_serve(options, gang, middleware_class))


async def _serve(options: Options, gang: Gang, middleware_class: Optional[type]) -> None:
    batch = Batch(gang.step, options.tokens_per_second, options.max_num_seqs)
    app = build(options, batch)
    if middleware_class is not None:
        app.add_middleware(middleware_class)
    server = uvicorn.Server(
        uvicorn.Config(app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=2)
    )
    guard = asyncio.ensure_future(_guard(gang, batch, server))
    print(f"serving {options.served_model_name} on {options.host}:{options.port}", flush=True)
    await server.serve()
    guard.cancel()
    with suppress(asyncio.CancelledError):
        await guard


async def _guard(gang: Gang, batch: Batch, server: uvicorn.Server) -> None:
    """Waits for a rank's death, seen by itself or by a failing step, and ends the server after it."""
    watching = asyncio.ensure_future(gang.watch())
    stepping = asyncio.ensure_future(batch.loop())
    done, _ = await asyncio.wait((watching, stepping), return_when=asyncio.FIRST_COMPLETED)
    batch.end()
    for task in done:
        error = task.exception()
        reason = task.result() if error is None else error
        if error is not None and not isinstance(error, EngineDead):
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"EngineDeadError: {reason}", file=sys.stderr, flush=True)
    for task in (watching, stepping):
        task.cancel()
    await asyncio.sleep(_LAST_SECONDS)
    server.should_exit = True
