"""The API server's actor: runs the engine's own server inside the placement group.
Only the actor imports the engine, so the launcher's process stays small."""

import importlib
import json
import os
import sys
import traceback
from typing import Any, List, Optional, Sequence

from rayfleet_engines import Engines
from rayfleet_preflight import missing_model, model_path
from rayfleet_spec import Spec

MIDDLEWARE = "rayfleet_middleware.InFlightMiddleware"


class EngineExit(RuntimeError):
    """The engine ended by itself, with an exit code or an exception; its output says why."""


class ApiServer:
    """Serves until the engine ends. One call of `serve` per actor."""

    def serve(self, spec: Spec, engines: Optional[Engines] = None) -> str:
        """Blocks while the engine serves. Returning is a failure too, because a server should not end."""
        import ray

        path = model_path(spec)
        if path and not os.path.exists(path):
            raise EngineExit(missing_model(path, ray.util.get_node_ip_address()))
        # vLLM binds and announces itself on this address; it differs by node, so it cannot come with the
        # job's environment.
        os.environ["VLLM_HOST_IP"] = ray.util.get_node_ip_address()
        # vLLM's engine core connects to Ray by itself. Without an address it looks into /tmp/ray, and starts
        # a new Ray if the nodes use another --temp-dir.
        os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
        os.environ["VLLM_RAY_BUNDLE_INDICES"] = ",".join(map(str, range(spec.each)))
        os.environ["RAYFLEET_ENGINE_NAME"] = spec.name
        os.environ["RAYFLEET_PROBE"] = json.dumps(spec.probe)
        argv = listening(spec.argv, ray.util.get_node_ip_address())
        try:
            run_vllm(argv, engines) if spec.engine == "vllm" else run_custom(spec, argv)
        except SystemExit as end:
            # Ray would treat it as an intended exit of the actor and hide the code.
            raise EngineExit(f"the engine exited with code {end.code}") from None
        except Exception as error:
            # Not every exception can be sent to the launcher; its text can, and the traceback is logged
            # here.
            traceback.print_exc()
            raise EngineExit(f"{type(error).__name__}: {error}") from None
        return "the server returned"


def listening(argv: Sequence[str], address: str) -> List[str]:
    """The arguments, with the wildcard address of the node's own family: an IPv6 node receives nothing on
    IPv4."""
    everywhere = "::" if ":" in address else "0.0.0.0"
    return [everywhere if before == "--host" and arg == "0.0.0.0" else arg for before, arg in zip(["", *argv], argv)]


def run_vllm(argv: List[str], engines: Optional[Engines]) -> None:
    """vLLM's command line, as `vllm serve` would run it, with the middleware added; with `engines`, its data-parallel
    engines are in their placement groups."""
    if engines is not None:
        engines.place()
    sys.argv = ["vllm", "serve", *argv, "--middleware", MIDDLEWARE]
    main = importlib.import_module("vllm.entrypoints.cli.main").main
    main()


def run_custom(spec: Spec, argv: List[str]) -> None:
    """`module:callable(argv, spec, middleware_class)`; the callable serves until its engine ends."""
    module, _, name = spec.entrypoint.partition(":")
    middleware: Any = importlib.import_module("rayfleet_middleware").InFlightMiddleware
    getattr(importlib.import_module(module), name)(argv, spec.raw, middleware)
