"""A light engine for tests: vLLM's interfaces (HTTP, metrics, rank actors and their failures) without a
model. `serve` is what the launcher calls as a custom engine; `python -m light_engine serve ...` runs it from
a shell."""

from typing import Any, Dict, List

__version__ = "0.1.0"


def serve(argv: List[str], spec: Dict[str, Any], middleware_class: type) -> None:
    """Serves inside the launcher's actor, with ranks in that actor's placement group, or those of its data-parallel
    engines, until a rank dies.

    Raises if it cannot start: OptionError, FileNotFoundError for the model, EngineDead for its ranks.
    """
    from light_engine.options import parse
    from light_engine.placement import current_group, engine_groups
    from light_engine.server import run

    options = parse(argv)
    engines, ranks = options.data_parallel_size, options.world_size
    run(options, engine_groups(spec["name"], engines, ranks) if engines > 1 else [current_group(ranks)], middleware_class)
