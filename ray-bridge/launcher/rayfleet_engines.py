"""Puts vLLM's data-parallel engines into the placement groups of the plan. Checked with vLLM 0.32.0.
Left to itself vLLM makes its own (`CoreEngineActorManager.create_dp_placement_groups` in vllm/v1/engine/utils.py),
on nodes of its choice. Runs in the process of the API server."""

import threading
from typing import Any, List, NamedTuple, Sequence


class EnginesError(RuntimeError):
    """These engines cannot run as they were planned."""


class Engines(NamedTuple):
    """The launch's name, the placement groups by data-parallel rank, and the address of the first rank's node. In each
    group the bundles of the ranks come first, then that of the engine's core, as vLLM expects it."""

    name: str
    groups: List[Any]
    first_address: str

    def place(self) -> None:
        """From here on vLLM starts its data-parallel engines in these groups."""
        from vllm.v1.engine import utils

        engines = self

        class PlacedEngines(utils.CoreEngineActorManager):  # type: ignore[misc]
            """vLLM's manager of the engines' cores, which takes placement groups but is given none by its command
            line."""

            def __init__(self, vllm_config: Any, **more: Any) -> None:
                parallel = vllm_config.parallel_config
                check(vllm_config.model_config.is_moe, parallel.data_parallel_size)
                if parallel.data_parallel_master_ip != engines.first_address:
                    # The API server has bound its sockets by now. What follows is where engines and ranks find each
                    # other: that has to be on the node of the first rank, which listens there.
                    self._store, parallel._coord_store_port = engines.open_store()
                    parallel.data_parallel_master_ip = engines.first_address
                super().__init__(
                    vllm_config=vllm_config, placement_groups=engines.groups, local_dp_ranks=local_ranks(engines.groups), **more
                )

            def monitor_engine_liveness(self) -> None:
                """Blocks until a core ends, then ends the others; vLLM ends its server after that. vLLM's own notices
                the death of a core's process alone: after an exception in a step, or a dead rank, requests would wait
                for ever."""
                print(await_end(self.get_run_refs(), self.manager_stopped), flush=True)
                self.shutdown()

        utils.CoreEngineActorManager = PlacedEngines

    def open_store(self) -> Any:
        """The store by which engines and ranks find each other, on the node of the first rank: (actor, port). It lives
        as long as the actor is referred to."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(placement_group=self.groups[0], placement_group_bundle_index=0)
        actor = ray.remote(num_cpus=0)(Store).options(name=f"{self.name}/store", scheduling_strategy=strategy).remote()
        return actor, ray.get(actor.open.remote(self.first_address))


class Store:
    """An actor that holds a store."""

    def open(self, address: str) -> int:
        """Opens it at `address`; returns its port."""
        from torch.distributed import TCPStore

        self._store = TCPStore(address, 0, is_master=True, wait_for_workers=False)
        return self._store.port


def await_end(runs: Sequence[Any], stopped: threading.Event) -> str:
    """Waits until one of the cores, which run as long as their engine, ends, and says which and why; or until it was
    stopped."""
    import ray

    while not stopped.is_set():
        ended, _ = ray.wait(list(runs), timeout=5)
        if ended:
            return f"EngineDeadError: engine core DP{list(runs).index(ended[0])} ended: {_why(ended[0])}"
    return "the engine cores were stopped"


def _why(run: Any) -> str:
    import ray

    try:
        ray.get(run)
    except Exception as error:  # noqa: BLE001 - whatever ended it is the report
        return " ".join(str(getattr(error, "cause", None) or error).split())[:500]
    return "it returned"


def check(is_moe: bool, engines: int) -> None:
    """Refuses what data parallelism gains nothing for."""
    if not is_moe:
        raise EnginesError(
            f"data parallelism ({engines} engines) is for mixtures of experts, whose engines share their experts; this model has "
            "none, so that its engines would be independent: set data to 1 and run more replicas"
        )


def local_ranks(groups: List[Any]) -> List[int]:
    """For each engine how many others before it begin on its node: by that vLLM numbers engines that share one."""
    from ray.util import placement_group_table

    nodes = [placement_group_table(group)["bundles_to_node_id"][0] for group in groups]
    return [nodes[:engine].count(node) for engine, node in enumerate(nodes)]
