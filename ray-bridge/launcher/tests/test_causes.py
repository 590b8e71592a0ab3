"""Which lines of an engine's output count as the cause of its failure."""

import io
import threading
import unittest

from rayfleet_causes import Memory, causes, last_lines, plain

CORE = "\x1b[36m(ApiServer pid=1)\x1b[0m (EngineCore pid=2) ERROR 11-23 17:44:42 [core.py:99] "


class Plain(unittest.TestCase):
    def test_prefixes_and_colours_are_removed_and_the_indentation_is_kept(self):
        self.assertEqual(plain(CORE + "  Value error, no such model"), "  Value error, no such model")

    def test_nested_prefixes_are_removed(self):
        self.assertEqual(plain("(ApiServer pid=1) (RayWorkerProc pid=7, ip=10.0.0.2) (Worker pid=7) OSError: x"), "OSError: x")


class Causes(unittest.TestCase):
    def test_the_root_cause_comes_before_its_consequences(self):
        lines = [
            CORE + "Traceback (most recent call last):",
            CORE + '  File "loader.py", line 3, in load',
            CORE + "OSError: No space left on device",
            "(ApiServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        ]
        self.assertEqual(causes(lines), ["OSError: No space left on device"])

    def test_a_consequence_is_used_if_there_is_no_root_cause(self):
        self.assertEqual(causes(["vllm.v1.engine.exceptions.EngineDeadError: dead"]), ["vllm.v1.engine.exceptions.EngineDeadError: dead"])

    def test_a_validation_error_keeps_the_lines_that_say_what_is_wrong(self):
        (cause,) = causes(["pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig", "  Value error, bad model"])
        self.assertIn("Value error, bad model", cause)

    def test_the_same_error_with_its_lines_counts_once(self):
        error = ["ValidationError: 1 validation error", "  Value error, too small", "    For further information visit https://x"]
        self.assertEqual(causes(error + error), ["ValidationError: 1 validation error Value error, too small"])

    def test_invalid_arguments_are_a_cause(self):
        self.assertEqual(causes(["vllm: error: unrecognized arguments: --tp"]), ["vllm: error: unrecognized arguments: --tp"])

    def test_repetitions_count_once_and_the_number_is_limited(self):
        lines = ["ValueError: a", "ValueError: a", "ValueError: b", "ValueError: c", "ValueError: d"]
        self.assertEqual(causes(lines), ["ValueError: a", "ValueError: b", "ValueError: c"])

    def test_ordinary_lines_are_not_a_cause(self):
        self.assertEqual(causes(["INFO 11-23 17:44:42 [a.py:1] ValueErrors are counted", "all good", ""]), [])


class LastLines(unittest.TestCase):
    LINES = [
        "\x1b[36m(ApiServer pid=1)\x1b[0m (RayWorkerProc pid=7, ip=10.0.0.2) INFO 11-23 17:44:42 [x.py:1] loading",
        "(ApiServer pid=1) (RayWorkerProc pid=7, ip=10.0.0.3) of another node",
        "(ApiServer pid=1) (RayWorkerProc pid=70, ip=10.0.0.2) of another process",
        "(ApiServer pid=1) (RayWorkerProc pid=7, ip=10.0.0.2)",
        "(ApiServer pid=1) (RayWorkerProc pid=7, ip=10.0.0.2) (Worker pid=7) loaded 3 GiB",
        "(RayWorkerProc pid=7) of the node that collects",
    ]

    def test_only_lines_of_the_process_on_that_node_are_returned(self):
        self.assertEqual(last_lines(self.LINES, 7, "10.0.0.2"), ["loading", "loaded 3 GiB", "of the node that collects"])

    def test_only_the_last_lines_are_returned(self):
        lines = [f"(RayWorkerProc pid=7, ip=10.0.0.2) line {number}" for number in range(99)]
        self.assertEqual(last_lines(lines, 7, "10.0.0.2", limit=2), ["line 97", "line 98"])


class Remembering(unittest.TestCase):
    def test_lines_are_forwarded_whole_and_recorded(self):
        target, memory = io.StringIO(), Memory()
        stream = memory.attach(target)
        stream.write("one\ntw")
        self.assertEqual(target.getvalue(), "one\n")
        stream.write("o\n")
        self.assertEqual(target.getvalue(), "one\ntwo\n")
        self.assertEqual(memory.lines(), ["one", "two"])

    def test_only_the_last_lines_are_kept(self):
        memory = Memory(size=2)
        memory.attach(io.StringIO()).write("1\n2\n3\n")
        self.assertEqual(memory.lines(), ["2", "3"])

    def test_lines_of_several_threads_never_mix(self):
        target, memory = io.StringIO(), Memory(size=10000)
        out, err = memory.attach(target), memory.attach(target)
        threads = [
            threading.Thread(target=lambda s=stream, t=text: [print(t, t, file=s) for _ in range(500)])
            for stream, text in ((out, "a" * 50), (err, "b" * 50))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(set(target.getvalue().splitlines()), {f"{'a' * 50} {'a' * 50}", f"{'b' * 50} {'b' * 50}"})


if __name__ == "__main__":
    unittest.main()
