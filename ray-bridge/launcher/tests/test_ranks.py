"""Which death of a rank counts as a death by itself."""

import threading
import unittest
from types import SimpleNamespace

from rayfleet_ranks import Rank, _cause, dead_by_itself, last_words, obituary, of_groups

LOST = {"actor_died_error_context": {"reason": "WORKER_DIED", "error_message": "its worker process has died. Some common causes include: (1)"}}
KILLED = {"actor_died_error_context": {"reason": "RAY_KILL", "error_message": "The actor is dead because it was killed by `ray.kill`."}}
REMOVED = {"actor_died_error_context": {"error_message": "Destroying worker since its placement group was removed."}}

UNREFERENCED = {"actor_died_error_context": {"error_message": "The actor is dead because all references to the actor were removed."}}


def rank(name, state="DEAD", death=None):
    return Rank(name=name, state=state, node_id="f" * 56, cause=_cause(death), pid=7, actor_id="a1")


class Deaths(unittest.TestCase):
    def test_the_rank_that_died_by_itself_is_reported(self):
        reported = obituary(dead_by_itself([rank("a", death=KILLED), rank("b", death=LOST), rank("c", death=REMOVED)]))
        self.assertIn("rank b on node ffffffffffff died: WORKER_DIED: its worker process has died.", reported)
        self.assertNotIn("common causes", reported)

    def test_living_ranks_and_a_removed_group_are_not_deaths(self):
        self.assertIsNone(dead_by_itself([rank("a", "ALIVE"), rank("b", "PENDING_CREATION")]))
        self.assertIsNone(dead_by_itself([rank("a", death=KILLED), rank("b", death=REMOVED), rank("c", death=UNREFERENCED)]))

    def test_causes_of_unknown_form_are_accepted(self):
        for death in (None, {}, {"x": None}, {"x": {}}, "gone"):
            self.assertIsInstance(_cause(death), str)


class Engines(unittest.TestCase):
    """The actors of one job, whose data-parallel engines have a placement group each."""

    def actor(self, group, name="", class_name="RayWorkerProc", death=None):
        state = "ALIVE" if death is None else "DEAD"
        return SimpleNamespace(
            placement_group_id=group, name=name, class_name=class_name, state=state, node_id="f" * 56, death_cause=death, pid=7, actor_id="a1"
        )

    def test_ranks_and_cores_are_told_apart_and_others_left_out(self):
        core = "DPMoEEngineCoreActor"
        actors = [
            self.actor("g0", "chat/api", "ApiServer"), self.actor("g0", "chat/store", "Store"), self.actor(None, "elsewhere"), self.actor("g9", "another"),
            self.actor("g0", class_name=core), self.actor("g0", "vllm_Worker_1_dp0_TP0"), self.actor("g1", class_name=core, death=LOST),
        ]  # fmt: skip
        found = of_groups(actors, ["g0", "g1"], "chat/")
        self.assertEqual([(rank.name, rank.is_core) for rank in found], [("DP0", True), ("vllm_Worker_1_dp0_TP0", False), ("DP1", True)])
        self.assertIn("engine core DP1 on node ffffffffffff died: WORKER_DIED", obituary(dead_by_itself(found)))


class LastWords(unittest.TestCase):
    def test_the_ends_of_both_files_are_returned_without_the_marks_of_ray(self):
        def get_log(actor_id, suffix, **_more):
            self.assertEqual(actor_id, "a1")
            return {"out": [":actor_name:RayWorkerProc\nloading\n", "loaded\n"], "err": [":job_id:01\n\nFatal Python error: Aborted\n"]}[suffix]

        self.assertEqual(last_words(rank("a"), get_log), ["loading", "loaded", "Fatal Python error: Aborted"])
        self.assertEqual(last_words(rank("a"), get_log, limit=1), ["Fatal Python error: Aborted"])

    def test_files_that_are_gone_or_late_give_no_lines(self):
        def gone(**_more):
            raise RuntimeError("no such node")

        self.assertEqual(last_words(rank("a"), gone), [])
        self.assertEqual(last_words(rank("a"), lambda **_more: threading.Event().wait(), patience=0.05), [])


if __name__ == "__main__":
    unittest.main()
