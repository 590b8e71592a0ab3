"""Tests of the batch: which sequences get tokens, in what order, and the effect of a sequence that hangs."""

import asyncio
import unittest

from light_engine.batching import Batch, Completion


def sequence(key, wanted=2, hangs=False):
    return Completion(key=key, seed=key, wanted=wanted, prompt=3, hangs=hangs)


class Batching(unittest.TestCase):
    def setUp(self):
        self.said = []
        self.steps = []

    async def step(self, sequences):
        self.steps.append(list(sequences))
        return [f"{seed}.{index}" for seed, index in sequences]

    def run_until(self, done, *sequences, most=8, then=None):
        """Runs a batch of these sequences until `done` returns true; `then` may change it after every
        step."""

        async def go():
            batch = Batch(self.step, 10000.0, most, self.said.append)
            for one in sequences:
                batch.add(one)
            loop = asyncio.ensure_future(batch.loop())
            while not done():
                if then is not None:
                    then(batch)
                await asyncio.sleep(0)
                if loop.done():
                    loop.result()
            loop.cancel()

        asyncio.run(asyncio.wait_for(go(), 10))

    def made(self, key):
        return [update["made"][str(key)] for update in self.said if str(key) in update["made"]]

    def test_every_sequence_gets_its_tokens_and_is_counted(self):
        self.run_until(lambda: self.said and self.said[-1]["completed"] == 2, sequence(1), sequence(2, wanted=3))
        self.assertEqual((self.made(1), self.made(2)), (["1.0", "1.1"], ["2.0", "2.1", "2.2"]))
        last = self.said[-1]
        self.assertEqual((last["generated"], last["prompted"], last["running"], last["waiting"]), (5, 6, 0, 0))

    def test_sequences_beyond_the_limit_wait(self):
        self.run_until(lambda: self.said and self.said[-1]["completed"] == 2, sequence(1), sequence(2), most=1)
        self.assertEqual(self.said[0]["waiting"], 1)
        self.assertTrue(all(len(step) == 1 for step in self.steps))

    def test_a_removed_sequence_gets_no_more_tokens(self):
        self.run_until(lambda: len(self.steps) > 3, sequence(1, wanted=99), sequence(2, wanted=99), then=lambda batch: batch.drop(1))
        self.assertEqual(self.steps[-1], [(2, self.steps[-1][0][1])])

    def test_a_hung_sequence_stops_all_sequences(self):
        turns = iter(range(100))
        self.run_until(lambda: next(turns) == 99, sequence(1), sequence(2, hangs=True))
        self.assertEqual((self.steps, self.said), ([], []))


if __name__ == "__main__":
    unittest.main()
