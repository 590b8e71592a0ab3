"""Phase lines: one line each, bounded, and without secrets."""

import contextlib
import io
import json
import os
import time
import unittest
from unittest import mock

from rayfleet_phases import LAUNCH_MARK, MARK, MAX_MESSAGE, Phases, secrets_of


class Lines(unittest.TestCase):
    def report(self, act, secrets=()):
        """The JSON of the last phase line that `act` prints."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            act(Phases("e1", time.monotonic() - 5, secrets))
        mark, _, body = out.getvalue().splitlines()[-1].partition(" ")
        self.assertEqual(mark, MARK)
        return json.loads(body)

    def test_a_phase_has_its_name_time_and_detail(self):
        line = self.report(lambda phases: phases.enter("Ranks", alive=1, wanted=4))
        self.assertEqual((line["phase"], line["name"], line["alive"], line["wanted"]), ("Ranks", "e1", 1, 4))
        self.assertGreaterEqual(line["seconds"], 5)

    def test_a_launch_marks_its_beginning_with_its_name_and_time(self):
        before = time.time()
        with contextlib.redirect_stdout(io.StringIO()) as out:
            Phases("e1", time.monotonic()).begin()
        mark, _, body = out.getvalue().partition(" ")
        line = json.loads(body)
        self.assertEqual((mark, line["name"]), (LAUNCH_MARK, "e1"))
        self.assertTrue(before * 1000 - 1 <= line["ms"] <= time.time() * 1000)

    def test_a_failure_has_its_phase(self):
        def act(phases):
            phases.enter("Loading")
            self.assertEqual(phases.fail("no memory", 5), 5)

        line = self.report(act)
        self.assertEqual((line["phase"], line["during"], line["exitCode"], line["message"]), ("Failed", "Loading", 5, "no memory"))

    def test_messages_are_bounded_and_stay_on_one_line(self):
        line = self.report(lambda phases: phases.fail("x\n" * MAX_MESSAGE, 5))
        self.assertEqual(len(line["message"]), MAX_MESSAGE)

    def test_secrets_are_not_printed(self):
        line = self.report(lambda phases: phases.fail("key s3cr3t refused", 5), ["s3cr3t"])
        self.assertEqual(line["message"], "key *** refused")


class Secrets(unittest.TestCase):
    def test_keys_in_arguments_and_tokens_in_the_environment_are_secrets(self):
        with mock.patch.dict(os.environ, {"RAY_AUTH_TOKEN": "token-1", "HF_TOKEN": ""}, clear=True):
            found = secrets_of(["/m", "--api-key", "key-1", "key-2", "--hf-token=hf-1", "--port", "8000"])
        self.assertEqual(set(found), {"token-1", "key-1", "key-2", "hf-1"})


if __name__ == "__main__":
    unittest.main()
