"""The HTTP side: vLLM's routes as a Starlette application in front of the engine core.
A client that disconnects ends its completion, streaming or not."""

import asyncio
import json
import socket
from contextlib import suppress
from typing import Any, AsyncIterator, List

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from light_engine import __version__
from light_engine.core_client import Cores
from light_engine.metrics import exposition
from light_engine.openai import RequestError, Wanted, error_body, read
from light_engine.options import Options

_WHO = {"x-served-by": socket.gethostname()}
"""Behind a Service nothing else identifies the group that answered."""

_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


def build(options: Options, core: Cores) -> Starlette:
    """The application. It answers 503 on /health from the moment `core.dead` is set."""

    async def health(_request: Request) -> Response:
        return Response(status_code=503 if core.dead else 200)

    async def version(_request: Request) -> Response:
        return JSONResponse({"version": f"light-engine {__version__}"})

    async def models(_request: Request) -> Response:
        card = {
            "id": options.served_model_name,
            "object": "model",
            "owned_by": "light-engine",
            "root": options.model,
            "max_model_len": options.max_model_len,
        }
        return JSONResponse({"object": "list", "data": [card]})

    async def metrics(_request: Request) -> Response:
        return PlainTextResponse(exposition(options.served_model_name, core))

    async def completions(request: Request) -> Response:
        return await _complete(request, chat=False)

    async def chat(request: Request) -> Response:
        return await _complete(request, chat=True)

    async def _complete(request: Request, chat: bool) -> Response:
        try:
            wanted = read(await request.json(), chat, options.served_model_name, options.max_model_len)
        except RequestError as error:
            return JSONResponse(error_body(str(error), error.kind, error.status), error.status)
        except ValueError as error:
            return JSONResponse(error_body(f"the body is not JSON: {error}", "BadRequestError", 400), 400)
        if core.dead:
            return JSONResponse(error_body(_DEAD, "InternalServerError", 500), 500, _WHO)
        hangs = bool(options.hang_on) and options.hang_on in wanted.prompt
        if wanted.stream:
            return StreamingResponse(_events(core, wanted, hangs), headers=_WHO, media_type="text/event-stream")
        return await _whole(request, core, wanted, hangs)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/ping", health, methods=["GET", "POST"]),
            Route("/version", version),
            Route("/metrics", metrics),
            Route("/v1/models", models),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/chat/completions", chat, methods=["POST"]),
        ]
    )


async def _events(core: Cores, wanted: Wanted, hangs: bool) -> AsyncIterator[str]:
    made = 0
    async for word in core.complete(wanted.seed, wanted.tokens, wanted.prompt_tokens, hangs):
        made += 1
        yield _event(wanted.chunk(f" {word}", "length" if made == wanted.tokens else None))
    if made < wanted.tokens:
        yield _event(error_body(_DEAD, "InternalServerError", 500))
    elif wanted.stream_usage:
        yield _event(wanted.usage_chunk(made))
    yield "data: [DONE]\n\n"


def _event(data: Any) -> str:
    return f"data: {json.dumps(data, separators=(',', ':'))}\n\n"


async def _whole(request: Request, core: Cores, wanted: Wanted, hangs: bool) -> Response:
    collecting = asyncio.ensure_future(_collect(core, wanted, hangs))
    leaving = asyncio.ensure_future(_left(request))
    await asyncio.wait((collecting, leaving), return_when=asyncio.FIRST_COMPLETED)
    for task in (collecting, leaving):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    if collecting.cancelled():
        return Response(status_code=499)
    words = collecting.result()
    if len(words) < wanted.tokens:
        return JSONResponse(error_body(_DEAD, "InternalServerError", 500), 500, _WHO)
    return JSONResponse(wanted.answer(words), headers=_WHO)


async def _collect(core: Cores, wanted: Wanted, hangs: bool) -> List[str]:
    return [word async for word in core.complete(wanted.seed, wanted.tokens, wanted.prompt_tokens, hangs)]


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
