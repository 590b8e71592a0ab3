"""Bundles and pins of a plan, and the error for a plan that Ray cannot place."""

import unittest

from rayfleet_placement import bundles_of, missing
from rayfleet_spec import parse
from tests.test_spec import A, B, spec

HEAD = "c" * 56
IPS = {A: "10.0.0.1", B: "10.0.0.2", HEAD: "10.0.0.3"}


def node(node_id, gpus=2, alive=True):
    return {"NodeID": node_id, "NodeManagerAddress": IPS[node_id], "Alive": alive, "Resources": {"GPU": gpus}}


def bundles(*of):
    return [{"rank": rank, "nodeId": node_id} for rank, node_id in enumerate(of)]


def nodes(made):
    return [pin["ray.io/node-id"] for pin in made.selectors]


class Bundles(unittest.TestCase):
    def test_each_rank_has_one_gpu_pinned_by_node_id(self):
        (made,) = bundles_of(parse(spec()), IPS, labels=True)
        self.assertEqual(made.name, "llama-7f-0-e1")
        self.assertEqual(made.resources, [{"GPU": 1}] * 4)
        self.assertEqual(nodes(made), [A, A, B, B])

    def test_the_api_server_shares_the_bundle_of_a_rank_on_its_node(self):
        self.assertEqual(bundles_of(parse(spec()), IPS, labels=True)[0].server, 0)
        self.assertEqual(bundles_of(parse(spec(apiServerNodeId=B)), IPS, labels=True)[0].server, 2)

    def test_an_api_server_on_a_node_without_ranks_gets_the_last_bundle(self):
        (made,) = bundles_of(parse(spec(apiServerNodeId=HEAD)), IPS, labels=True)
        self.assertEqual(made.server, 4)
        self.assertEqual(made.resources[4], {"node:10.0.0.3": 0.001})
        self.assertEqual(made.selectors[4], {"ray.io/node-id": HEAD})

    def test_without_label_selectors_every_bundle_is_pinned_by_ip(self):
        (made,) = bundles_of(parse(spec(apiServerNodeId=HEAD)), IPS, labels=False)
        self.assertIsNone(made.selectors)
        self.assertEqual(made.resources[1], {"GPU": 1, "node:10.0.0.1": 0.001})
        self.assertEqual(made.resources[3], {"GPU": 1, "node:10.0.0.2": 0.001})
        self.assertEqual(made.resources[4], {"node:10.0.0.3": 0.001})


class Engines(unittest.TestCase):
    """Data-parallel engines."""

    def test_each_has_a_group_with_its_ranks_and_its_core(self):
        first, second = bundles_of(parse(spec(pipeline=1, data=2)), IPS, labels=True)
        self.assertEqual([first.name, second.name], ["llama-7f-0-e1/dp0", "llama-7f-0-e1/dp1"])
        for made in (first, second):
            self.assertEqual(made.resources, [{"GPU": 1}, {"GPU": 1}, {"CPU": 1}])
        self.assertEqual([nodes(first), nodes(second)], [[A, A, A], [B, B, B]])
        self.assertEqual([first.server, second.server], [0, None])

    def test_a_core_is_on_the_node_of_its_first_rank(self):
        _, second = bundles_of(parse(spec(tensor=1, bundles=bundles(A, A, B, A), data=2)), IPS, labels=True)
        self.assertEqual(nodes(second), [B, A, B])

    def test_the_api_server_is_in_the_group_of_a_rank_on_its_node(self):
        first, second = bundles_of(parse(spec(pipeline=1, data=2, apiServerNodeId=B)), IPS, labels=True)
        self.assertEqual([first.server, second.server], [None, 0])

    def test_an_api_server_on_a_node_without_ranks_is_in_the_first_group(self):
        first, second = bundles_of(parse(spec(pipeline=1, data=2, apiServerNodeId=HEAD)), IPS, labels=False)
        self.assertEqual([first.server, second.server], [3, None])
        self.assertEqual(first.resources[2:], [{"CPU": 1, "node:10.0.0.1": 0.001}, {"node:10.0.0.3": 0.001}])
        self.assertEqual(second.resources[2:], [{"CPU": 1, "node:10.0.0.2": 0.001}])


class Missing(unittest.TestCase):
    def test_nothing_is_missing_if_every_gpu_is_free(self):
        free = {A: {"GPU": 2}, B: {"GPU": 2}}
        self.assertEqual(missing(parse(spec()), [node(A), node(B)], free), [])

    def test_a_node_with_too_few_free_gpus_is_named_with_its_numbers(self):
        (fault,) = missing(parse(spec()), [node(A), node(B)], {A: {"GPU": 2}, B: {"GPU": 1}})
        self.assertIn("10.0.0.2", fault)
        self.assertIn("1 of 2 GPUs free, 2 needed", fault)

    def test_a_node_without_a_cpu_for_a_core_is_named_with_the_cure(self):
        engines = parse(spec(pipeline=1, data=2))
        free = {A: {"GPU": 2, "CPU": 1}, B: {"GPU": 2}}
        (fault,) = missing(engines, [node(A), node(B)], free)
        self.assertIn("10.0.0.2", fault)
        self.assertIn("0 of 0 CPUs free, 1 needed for the cores of data-parallel engines: see num-cpus", fault)
        self.assertEqual(missing(engines, [node(A), node(B)], {**free, B: {"GPU": 2, "CPU": 4}}), [])

    def test_a_dead_node_is_named(self):
        (fault,) = missing(parse(spec()), [node(A), node(B, alive=False)], {A: {"GPU": 2}, B: {"GPU": 2}})
        self.assertIn(B[:12], fault)
        self.assertIn("not alive", fault)


if __name__ == "__main__":
    unittest.main()
