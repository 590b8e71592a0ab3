"""`python -m light_engine serve MODEL ...`: the engine as a plain process beside `ray start`, as AIBrix's
manifests run vLLM."""

import sys
import time

from light_engine.options import OptionError, check_model, parse
from light_engine.placement import connect, own_group
from light_engine.ranks import EngineDead
from light_engine.server import run


def main() -> int:
    """Exit codes: 0 after a dead engine has shut down, as vLLM exits, 1 if it could not start, 2 for wrong
    arguments."""
    argv = sys.argv[1:]
    if not argv or argv[0] != "serve":
        print("usage: python -m light_engine serve MODEL [options]", file=sys.stderr)
        return 2
    try:
        options = parse(argv[1:])
        check_model(options.model)
        connect(time.monotonic() + options.ray_timeout)
        group = own_group(options.world_size, time.monotonic() + options.ray_timeout)
        run(options, [group], None)
    except OptionError as error:
        print(f"light_engine serve: error: {error}", file=sys.stderr)
        return 2
    except (OSError, TimeoutError, EngineDead) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
