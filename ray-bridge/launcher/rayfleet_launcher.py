"""Entry point of the Ray job that runs one engine: creates the placement group, starts the API server in it,
reports phases.
Runs exactly as long as the engine; the steps are in the sibling modules."""

import os
import signal
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

import rayfleet_engines as engines
import rayfleet_preflight as preflight
from rayfleet_causes import Memory, causes, last_lines
from rayfleet_calls import call_watchers, healthy
from rayfleet_nodes import LivingNodes
from rayfleet_phases import Phases, secrets_of
from rayfleet_placement import PlacementError, create
from rayfleet_ranks import dead_by_itself, last_words, obituary, ranks
from rayfleet_server import ApiServer
from rayfleet_spec import Spec, SpecError, parse

EXIT_SPEC, EXIT_PLACEMENT, EXIT_RETURNED, EXIT_ENGINE, EXIT_STOPPED = 2, 3, 4, 5, 128 + signal.SIGTERM

NAMESPACE = "rayfleet"
_CLEANUP_SECONDS = 2.0
"""Ray kills a job 3 s after the stop request (RAY_JOB_STOP_WAIT_TIME_S); cleaning up must end before."""

_GRACE_SECONDS = 2.0
"""How long an engine may run with a dead rank. vLLM 0.32 never ends if its last stage is on another node and
dies during a request: the engine core waits for the reply forever while /health answers 200."""


class Stopped(BaseException):
    """A stop was requested (SIGTERM). Not an Exception, so that no handler on the way treats it as an
    error."""


# Raising alone is not enough: Ray's compiled code converts an exception from a signal handler into a
# SystemError.
_STOP = threading.Event()


class Launch:
    """One launch, from the placement group to the end of the engine."""

    def __init__(self, spec: Spec, phases: Phases, memory: Memory) -> None:
        self.spec = spec
        self.phases = phases
        self.memory = memory
        self.groups: List[Any] = []
        self.server: Optional[Any] = None
        self.own = f"{spec.name}/"
        """How the names of the launcher's own actors begin."""
        self.server_name = f"{self.own}api"
        self.address = ""
        self.addresses: Dict[str, str] = {}
        self._next_look = 0.0
        self._died = 0.0
        self._known: Optional[Tuple[int, int, int]] = None
        self._nodes = LivingNodes()
        # While it is not known how many nodes are alive, the watchers are called again at this time.
        self._unknown_until = 0.0

    def run(self) -> int:
        """Runs until the engine ends; returns the exit code, never 0. Raises Stopped after a stop request."""
        import ray

        self.phases.enter("PlacementGroup", ranks=len(self.spec.nodes), timeout=self.spec.placement_timeout)
        ray.init(namespace=NAMESPACE)
        signal.signal(signal.SIGTERM, _stop)  # ray.init has installed its own handler
        try:
            self.groups, server = create(self.spec, print)
        except PlacementError as error:
            return self.phases.fail(str(error), EXIT_PLACEMENT)
        ids = ",".join(group.id.hex() for group in self.groups)
        self.phases.enter("Ranks", placementGroup=ids, alive=0, wanted=len(self.spec.nodes))
        serving = self._start(*server)
        checks = preflight.begin(self.spec, self.groups)
        while True:
            # Short, because Ray delivers no signal while it waits, and a stop has little time.
            done, _ = ray.wait([serving, *checks], num_returns=1, timeout=0.2)
            for ref in done:
                if ref == serving:
                    return self._ended(serving)
                node = checks.pop(ref)
                if not _found(ref, node):
                    path, address = preflight.model_path(self.spec), _addresses().get(node, node)
                    return self.phases.fail(preflight.missing_model(path, address), EXIT_ENGINE)
            self._advance()
            if _STOP.is_set():
                raise Stopped
            if self._died and time.monotonic() - self._died >= _GRACE_SECONDS:
                return self.phases.fail(self._cause(self.memory.lines()), EXIT_ENGINE, ended="a rank is dead, its engine goes on")

    def close(self) -> None:
        """Ends the engine. Removing the placement groups ends every rank."""
        import ray

        if self.server is not None:
            ray.kill(self.server)
        for group in self.groups:
            ray.util.remove_placement_group(group)
        ray.shutdown()

    def _start(self, engine: int, bundle: int) -> Any:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(
            placement_group=self.groups[engine], placement_group_bundle_index=bundle, placement_group_capture_child_tasks=True
        )
        actor = ray.remote(num_cpus=0)(ApiServer)
        self.server = actor.options(name=self.server_name, scheduling_strategy=strategy).remote()
        self.addresses = _addresses()
        self.address = self.addresses[self.spec.api_server_node]
        first = self.addresses[self.spec.nodes[0]]
        return self.server.serve.remote(self.spec, engines.Engines(self.spec.name, self.groups, first) if self.spec.data > 1 else None)

    def _advance(self) -> None:
        """Enters the next phase if its condition is met, and notes a rank's death."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + (1.0 if self.phases.current == "Ranks" else 2.0)
            self._look()
        if self.phases.current in ("Ranks", "Loading") and healthy(self.address, self.spec.port):
            self.phases.enter("Serving", address=f"{self.address}:{self.spec.port}")

    def _look(self) -> None:
        try:
            found = ranks(self.groups, self.own)
        except Exception as error:  # noqa: BLE001 - an unreachable dashboard must not end an engine that serves
            print(f"ranks cannot be read: {error!r:.300}")
            self._next_look = time.monotonic() + 10.0
            self._compare(None)
            return
        alive, wanted = sum(rank.state == "ALIVE" and not rank.is_core for rank in found), len(self.spec.nodes)
        if self.phases.current == "Ranks" and alive >= wanted:
            self.phases.enter("Loading", alive=alive, wanted=wanted)
        if not self._died and dead_by_itself(found):
            self._died = time.monotonic()
        if self.phases.current == "Serving":
            dead, nodes = sum(rank.state == "DEAD" for rank in found), self._nodes.living()
            if nodes is None:
                # A GCS that is slow for all gets no look at everything from each group every two seconds.
                nodes = -1 if self._known is None else self._known[2]
                if time.monotonic() >= self._unknown_until:
                    self._known, nodes, self._unknown_until = None, -1, time.monotonic() + 10.0
            self._compare((alive, dead, nodes))

    def _compare(self, known: Optional[Tuple[int, int, int]]) -> None:
        """Calls the watchers of an engine that serves if other ranks or nodes are alive than before, or if that is
        not known. A call that was not taken is repeated."""
        if self.phases.current != "Serving" or (known is not None and known == self._known):
            return
        taken = call_watchers(self.address, self.spec.port)
        self._known = known if taken else None

    def _ended(self, serving: Any) -> int:
        import ray

        lines = self.memory.settle(quiet=0.7, limit=3.0)
        try:
            code, said = EXIT_RETURNED, str(ray.get(serving))
        except Exception as error:  # noqa: BLE001 - whatever the engine raised is the report
            code, said = EXIT_ENGINE, " ".join(str(getattr(error, "cause", None) or error).split())
        return self.phases.fail(self._cause(lines) or said, code, ended=said[:500])

    def _cause(self, lines: List[str]) -> str:
        """The dead rank with its last lines, if Ray reports one, and the relevant lines of the output."""
        try:
            dead = dead_by_itself(ranks(self.groups, self.own))
        except Exception:  # noqa: BLE001 - the engine's own output remains
            dead = None
        if dead is None:
            return "; ".join(causes(lines))
        printed = last_words(dead) or last_lines(lines, dead.pid, self.addresses.get(dead.node_id, ""))
        last = f"the last lines of this rank: {' | '.join(printed)}" if printed else ""
        return "; ".join(reason for reason in (obituary(dead), *causes(lines), last) if reason)


def _found(ref: Any, node: str) -> bool:
    import ray

    try:
        return bool(ray.get(ref))
    except Exception as error:  # noqa: BLE001 - a check that cannot run must not stop the engine
        print(f"the model's path was not checked on node {node[:12]}: {error!r:.300}")
        return True


def _addresses() -> Dict[str, str]:
    import ray

    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}


def _stop(_signal: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up starts now and is bounded
    _STOP.set()
    raise Stopped


def _leave(launch: Optional[Launch], code: int) -> None:
    """Cleans up and ends the process with `code`, at the time limit even if cleaning up has not ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    limit = threading.Timer(_CLEANUP_SECONDS, os._exit, (code,))
    limit.daemon = True
    limit.start()
    if launch is not None:
        try:
            launch.close()
        except Exception as error:  # noqa: BLE001 - Ray removes the rest at the end of this job
            print(f"clean-up: {error!r:.300}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Never returns and never exits with 0: an engine that ended is a failure, however it ended."""
    began = time.monotonic()
    signal.signal(signal.SIGTERM, _stop)
    launch: Optional[Launch] = None
    phases = Phases("", began)
    code = EXIT_ENGINE
    try:
        spec = parse(os.environ.get("RAYFLEET_SPEC", ""))
        phases = Phases(spec.name, began, secrets_of(spec.argv))
        phases.begin()
        memory = Memory()
        sys.stdout, sys.stderr = memory.attach(sys.stdout), memory.attach(sys.stderr)
        launch = Launch(spec, phases, memory)
        code = launch.run()
    except SpecError as error:
        code = phases.fail(str(error), EXIT_SPEC)
    except Stopped:
        code = phases.fail("stopped on request", EXIT_STOPPED)
    except Exception as error:  # noqa: BLE001 - the bridge reads phases, not tracebacks
        if _STOP.is_set():
            code = phases.fail("stopped on request", EXIT_STOPPED)
        else:
            code = phases.fail(f"launcher: {type(error).__name__}: {error}", EXIT_ENGINE)
    _leave(launch, code)


if __name__ == "__main__":
    main()
