"""Valid launch specifications, and the errors of invalid ones."""

import json
import unittest

from rayfleet_spec import SpecError, parse

A, B = "a" * 56, "b" * 56


def spec(**changes):
    """A valid specification of four ranks on two nodes, with `changes` to its fields; None removes a
    field."""
    fields = {
        "name": "llama-7f-0-e1",
        "engine": "vllm",
        "bundles": [{"rank": rank, "nodeId": (A, B)[rank // 2]} for rank in range(4)],
        "apiServerNodeId": A,
        "tensor": 2,
        "pipeline": 2,
        "port": 8000,
        "argv": ["/models/llama", "--tensor-parallel-size", "2"],
    }
    fields.update(changes)
    return json.dumps({key: value for key, value in fields.items() if value is not None})


class Accepted(unittest.TestCase):
    def test_a_valid_spec_gives_nodes_in_rank_order(self):
        read = parse(spec())
        self.assertEqual(read.nodes, (A, A, B, B))
        self.assertEqual((read.tensor, read.pipeline, read.data, read.placement_timeout), (2, 2, 1, 60.0))

    def test_ranks_belong_to_data_parallel_engines_one_after_the_other(self):
        read = parse(spec(pipeline=1, data=2))
        self.assertEqual((read.each, read.nodes_of(0), read.nodes_of(1)), (2, (A, A), (B, B)))

    def test_a_custom_engine_names_its_entrypoint(self):
        read = parse(spec(engine="custom", entrypoint="light_engine:serve", argv=[]))
        self.assertEqual(read.entrypoint, "light_engine:serve")

    def test_one_api_server_process_is_accepted(self):
        self.assertIn("--api-server-count=1", parse(spec(argv=["/m", "--api-server-count=1"])).argv)


class Refused(unittest.TestCase):
    def refuse(self, text, *words):
        with self.assertRaises(SpecError) as caught:
            parse(text)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_a_missing_specification_is_refused(self):
        self.refuse("", "RAYFLEET_SPEC")

    def test_text_that_is_not_json_is_refused(self):
        self.refuse("{", "JSON")

    def test_json_that_is_not_an_object_is_refused(self):
        self.refuse("[]", "object")

    def test_missing_and_invalid_fields_are_refused(self):
        for field, value in (
            ("name", None), ("name", "a/b"), ("name", 3), ("engine", "sglang"), ("bundles", None), ("tensor", 0),
            ("tensor", True), ("pipeline", "2"), ("data", 0), ("data", "2"), ("port", 70000), ("apiServerNodeId", "node-1"), ("argv", "serve"),
            ("argv", []), ("argv", ["--port", "1"]), ("placementTimeoutSeconds", -1), ("probe", []), ("probe", {"v1": {}}), ("probe", {"/v1": 1}),
        ):  # fmt: skip
            with self.subTest(field=field, value=value):
                self.refuse(spec(**{field: value}), field)

    def test_too_few_or_unordered_ranks_are_refused(self):
        self.refuse(spec(pipeline=3), "bundles", "6")
        self.refuse(spec(data=2), "bundles", "8")
        self.refuse(spec(bundles=[{"rank": rank, "nodeId": A} for rank in (0, 2, 1, 3)]), "bundles[1]")
        self.refuse(spec(bundles=[{"rank": rank, "nodeId": "../x"} for rank in range(4)]), "bundles[0].nodeId")

    def test_a_custom_engine_without_entrypoint_is_refused(self):
        self.refuse(spec(engine="custom"), "entrypoint")
        self.refuse(spec(engine="custom", entrypoint="light_engine"), "module:callable")

    def test_several_api_server_processes_are_refused(self):
        self.refuse(spec(argv=["/m", "--api-server-count", "4"]), "--api-server-count")
        self.refuse(spec(argv=["/m", "--api-server-count=4"]), "--api-server-count")


if __name__ == "__main__":
    unittest.main()
