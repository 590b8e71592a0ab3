"""Which engines are refused, and that vLLM's manager is given the placement groups and the place to meet."""

import sys
import threading
import unittest
from types import ModuleType, SimpleNamespace
from unittest import mock

from rayfleet_engines import Engines, EnginesError, await_end, check


class Refused(unittest.TestCase):
    def test_a_model_without_experts_is_refused_with_the_cure(self):
        with self.assertRaises(EnginesError) as caught:
            check(is_moe=False, engines=2)
        self.assertIn("run more replicas", str(caught.exception))
        check(is_moe=True, engines=2)


class Placed(unittest.TestCase):
    """With a manager in place of vLLM's; the real one is run by `hack/ray vllm`."""

    def manager(self, first_address, is_moe=True):
        given = {}

        class Manager:
            def __init__(self, **more):
                given.update(more)

        utils = ModuleType("vllm.v1.engine.utils")
        utils.CoreEngineActorManager = Manager
        engine = ModuleType("vllm.v1.engine")
        engine.utils = utils
        parallel = SimpleNamespace(data_parallel_size=2, data_parallel_master_ip="10.0.0.1", _coord_store_port=4000)
        config = SimpleNamespace(parallel_config=parallel, model_config=SimpleNamespace(is_moe=is_moe))
        names = {"vllm": ModuleType("vllm"), "vllm.v1": ModuleType("vllm.v1"), "vllm.v1.engine": engine, "vllm.v1.engine.utils": utils}
        with mock.patch.dict(sys.modules, names), mock.patch("rayfleet_engines.local_ranks", return_value=[0, 1]), mock.patch.object(
            Engines, "open_store", return_value=("actor", 5000)
        ):
            Engines("chat", ["g0", "g1"], first_address).place()
            utils.CoreEngineActorManager(vllm_config=config, log_stats=True)
        return given, parallel

    def test_the_groups_are_given_to_vllm(self):
        given, parallel = self.manager("10.0.0.1")
        self.assertEqual((given["placement_groups"], given["local_dp_ranks"], given["log_stats"]), (["g0", "g1"], [0, 1], True))
        self.assertEqual((parallel.data_parallel_master_ip, parallel._coord_store_port), ("10.0.0.1", 4000))

    def test_engines_meet_on_the_node_of_the_first_rank(self):
        _, parallel = self.manager("10.0.0.2")
        self.assertEqual((parallel.data_parallel_master_ip, parallel._coord_store_port), ("10.0.0.2", 5000))

    def test_a_dense_model_is_refused_before_any_engine_starts(self):
        with self.assertRaises(EnginesError):
            self.manager("10.0.0.1", is_moe=False)


class Ends(unittest.TestCase):
    def ray(self, ended, raised=None):
        ray = ModuleType("ray")
        ray.wait = lambda refs, timeout: (ended, [])

        def get(_ref):
            if raised is not None:
                raise raised

        ray.get = get
        return mock.patch.dict(sys.modules, {"ray": ray})

    def test_a_core_that_fails_in_a_step_is_an_end_with_its_cause(self):
        with self.ray(["b"], RuntimeError("Executor failed.\n twice")):
            said = await_end(["a", "b"], threading.Event())
        self.assertEqual(said, "EngineDeadError: engine core DP1 ended: Executor failed. twice")

    def test_a_core_that_returns_has_ended_too(self):
        with self.ray(["a"]):
            self.assertEqual(await_end(["a", "b"], threading.Event()), "EngineDeadError: engine core DP0 ended: it returned")

    def test_a_stop_is_no_death(self):
        stopped = threading.Event()
        stopped.set()
        with self.ray([]):
            self.assertEqual(await_end(["a"], stopped), "the engine cores were stopped")


if __name__ == "__main__":
    unittest.main()
