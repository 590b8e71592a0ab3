"""Continuous batching: one loop that gives every running sequence one token per step, and queues others.
Sequences and steps only; HTTP and the engine core's process do not belong here."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Deque, Dict, List, Sequence, Tuple

Step = Callable[[Sequence[Tuple[int, int]]], Awaitable[List[str]]]


@dataclass
class Completion:
    """A completion in progress. With `hangs`, the step that it is part of never ends."""

    key: int
    seed: int
    wanted: int
    prompt: int
    hangs: bool
    made: int = 0


class Batch:
    """Running and waiting sequences. `emit` is called with the tokens of every step and the counters after
    it."""

    def __init__(self, step: Step, tokens_per_second: float, most: int, emit: Callable[[Dict[str, Any]], None]) -> None:
        self._step = step
        self._tick = 1.0 / tokens_per_second
        self._most = most
        self._emit = emit
        self._more = asyncio.Event()
        self._running: List[Completion] = []
        self._waiting: Deque[Completion] = deque()
        self._generated = 0
        self._prompted = 0
        self._completed = 0

    def add(self, sequence: Completion) -> None:
        """Adds a sequence; it gets its first token in one of the next steps."""
        self._waiting.append(sequence)
        self._more.set()

    def drop(self, key: int) -> None:
        """Removes a sequence whose client has disconnected, if it is still running or waiting."""
        self._running = [sequence for sequence in self._running if sequence.key != key]
        self._waiting = deque(sequence for sequence in self._waiting if sequence.key != key)

    async def loop(self) -> None:
        """Runs until a step raises."""
        clock = asyncio.get_running_loop().time
        while True:
            if not (self._running or self._waiting):
                self._more.clear()
                await self._more.wait()
            began = clock()
            await self._advance()
            await asyncio.sleep(max(0.0, began + self._tick - clock()))

    async def _advance(self) -> None:
        while self._waiting and len(self._running) < self._most:
            self._running.append(self._waiting.popleft())
        batch = list(self._running)
        if any(sequence.hangs for sequence in batch):
            await asyncio.Event().wait()
        words = await self._step([(sequence.seed, sequence.made) for sequence in batch])
        made: Dict[str, str] = {}
        for sequence, word in zip(batch, words):
            if sequence.made == 0:
                self._prompted += sequence.prompt
            sequence.made += 1
            self._generated += 1
            made[str(sequence.key)] = word
            if sequence.made >= sequence.wanted:
                self._completed += 1
                self.drop(sequence.key)
        self._emit(
            {
                "made": made,
                "running": len(self._running),
                "waiting": len(self._waiting),
                "generated": self._generated,
                "prompted": self._prompted,
                "completed": self._completed,
            }
        )
