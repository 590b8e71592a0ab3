"""Continuous batching: one loop that gives every running sequence one token per tick, and lets others wait.
Knows sequences and ticks, nothing of HTTP."""

import asyncio
from collections import deque
from typing import AsyncIterator, Awaitable, Callable, Deque, List, Optional, Sequence, Tuple

Step = Callable[[Sequence[Tuple[int, int]]], Awaitable[List[str]]]


class Completion:
    """One completion being made: where its tokens arrive, and how many are still to come."""

    def __init__(self, seed: int, tokens: int) -> None:
        self.seed = seed
        self.wanted = tokens
        self.made = 0
        self.arrived: "asyncio.Queue[Optional[str]]" = asyncio.Queue()


class Batch:
    """Sequences that run and that wait, and the counters that /metrics shows."""

    def __init__(self, step: Step, tokens_per_second: float, most: int) -> None:
        self._step = step
        self._tick = 1.0 / tokens_per_second
        self._most = most
        self._more = asyncio.Event()
        self.running: List[Completion] = []
        self.waiting: Deque[Completion] = deque()
        self.generated = 0
        self.prompted = 0
        self.completed = 0
        self.dead = False

    async def complete(self, seed: int, tokens: int) -> AsyncIterator[str]:
        """Yields `tokens` tokens as they are made. Ends early only if the engine dies: check `dead` after it.

        Leaving the iteration (a client that went away) takes the sequence out of the batch.
        """
        sequence = Completion(seed, tokens)
        self.waiting.append(sequence)
        self._more.set()
        try:
            while not self.dead:
                word = await sequence.arrived.get()
                if word is None:
                    return
                yield word
        finally:
            self._drop(sequence)

    async def loop(self) -> None:
        """Runs until a step raises; every open sequence is ended then and the error goes on to the caller."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                if not (self.running or self.waiting):
                    self._more.clear()
                    await self._more.wait()
                began = clock()
                await self._advance()
                await asyncio.sleep(max(0.0, began + self._tick - clock()))
        finally:
            self.end()

    def end(self) -> None:
        """Ends every open sequence: there will be no more tokens."""
        self.dead = True
        for sequence in [*self.running, *self.waiting]:
            sequence.arrived.put_nowait(None)

    async def _advance(self) -> None:
        while self.waiting and len(self.running) < self._most:
            self.running.append(self.waiting.popleft())
        batch = list(self.running)
        words = await self._step([(sequence.seed, sequence.made) for sequence in batch])
        for sequence, word in zip(batch, words):
            sequence.made += 1
            self.generated += 1
            sequence.arrived.put_nowait(word)
            if sequence.made >= sequence.wanted:
                self.completed += 1
                sequence.arrived.put_nowait(None)
                self._drop(sequence)

    def _drop(self, sequence: Completion) -> None:
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
