"""The lifecycle of the engine: its core with the ranks, then HTTP, until the core is dead or a stop is
requested. Dies as vLLM does: /health answers 503 at once, the port closes a little later, and the process
exits normally."""

import asyncio
from contextlib import suppress
from typing import List, Optional

import uvicorn

from light_engine.app import build
from light_engine.core_client import Cores
from light_engine.options import Options, check_model
from light_engine.placement import Placement

_LAST_SECONDS = 3.0
"""How long a dead engine still answers 503, so that a health check can see it."""


def run(options: Options, placements: List[Placement], middleware_class: Optional[type]) -> None:
    """Serves until the end, with an engine in each placement. Raises FileNotFoundError or EngineDead if the engine could not start."""
    check_model(options.model)
    asyncio.run(_serve(options, placements, middleware_class))


async def _serve(options: Options, placements: List[Placement], middleware_class: Optional[type]) -> None:
    cores = Cores(len(placements))
    try:
        await cores.start(options, placements)
        app = build(options, cores)
        if middleware_class is not None:
            app.add_middleware(middleware_class)
        server = uvicorn.Server(
            uvicorn.Config(app, host=options.host, port=options.port, log_level="warning", timeout_graceful_shutdown=2)
        )
        guard = asyncio.ensure_future(_guard(cores, server))
        print(f"serving {options.served_model_name} on {options.host}:{options.port}", flush=True)
        await server.serve()
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard
    finally:
        cores.end()


async def _guard(cores: Cores, server: uvicorn.Server) -> None:
    """Waits for the end of a core and ends the server after it."""
    await cores.follow()
    await asyncio.sleep(_LAST_SECONDS)
    server.should_exit = True
