"""Dynamic batching: requests that come at about the same time are computed together.

A batch is computed as soon as it is full, or its oldest request has waited long enough; what piles up while another
batch is computed waits no longer than that one takes. A batch has a fixed cost, which its requests share. Padding costs,
too: :func:`groups` puts texts of like length together.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np


class Full(Exception):
    """There is no room in the line."""


@dataclass(eq=False)
class Item:
    """One thing that waits for its answer, since ``start``."""

    value: object
    answer: asyncio.Future
    start: float = field(default_factory=time.monotonic)


class Batcher:
    """A line, and one task for each worker that takes batches out of it.

    Args:
        workers: each is given a batch, a list of values, and returns as many answers, in order.
        most: values of a batch.
        wait: seconds that a value waits at most for others while a worker is free.
        room: values that can wait.
        note: called with the number of values of each batch and the seconds that the oldest of it has waited.
    """

    def __init__(
        self,
        workers: Sequence[Callable[[list], Awaitable[Sequence]]],
        most: int,
        wait: float,
        room: int,
        note: Callable[[int, float], None] = lambda size, seconds: None,
    ):
        self.most, self.wait, self.room, self.note = most, wait, room, note
        self.line: deque[Item] = deque()
        self._workers, self._tasks = workers, []
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()

    def start(self) -> None:
        """Begin to take batches, on the running event loop."""
        self._tasks = [asyncio.create_task(self._serve(worker)) for worker in self._workers]

    async def submit(self, values: Sequence) -> list:
        """Return the answers, in order. Who is cancelled takes along what still waits.

        Raises:
            Full: if there is no room for all of them.
            Exception: that a worker raised.
        """
        if len(self.line) + len(values) > self.room:
            self._forget()
            if len(self.line) + len(values) > self.room:
                raise Full
        loop = asyncio.get_running_loop()
        items = [Item(value, loop.create_future()) for value in values]
        self.line.extend(items)
        self._changed.set()
        try:
            return [await item.answer for item in items]
        finally:
            for item in items:
                if not item.answer.done():
                    item.answer.cancel()
                elif not item.answer.cancelled():
                    item.answer.exception()  # The first one that was raised speaks for all.

    def close(self) -> None:
        """Stop taking batches."""
        for task in self._tasks:
            task.cancel()

    async def _serve(self, worker: Callable[[list], Awaitable[Sequence]]) -> None:
        while True:
            batch = await self._collect()
            self.note(len(batch), time.monotonic() - batch[0].start)
            try:
                answers = await worker([item.value for item in batch])
            except Exception as error:
                for item in batch:
                    if not item.answer.done():
                        item.answer.set_exception(error)
            else:
                for item, answer in zip(batch, answers, strict=True):
                    if not item.answer.done():
                        item.answer.set_result(answer)

    async def _collect(self) -> list[Item]:
        async with self._turn:  # One free worker collects; the others wait for their turn.
            while True:
                while not self.line:
                    await self._change()
                left = self.line[0].start + self.wait - time.monotonic()
                if left > 0 and len(self.line) < self.most:
                    await self._change(left)
                    self._forget()
                    continue
                self._forget()
                if batch := [self.line.popleft() for _ in range(min(self.most, len(self.line)))]:
                    return batch

    async def _change(self, seconds: float | None = None) -> None:
        """Wait for something to come into the line."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _forget(self) -> None:
        """Take those out of the line for whom nobody waits any more."""
        if any(item.answer.done() for item in self.line):
            self.line = deque(item for item in self.line if not item.answer.done())


def groups(lengths: Sequence[int] | np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield the indices of texts to be computed together, the shortest texts first.

    Args:
        lengths: (N,) tokens of each text.
        most: tokens of a group, with its texts padded to the longest one. A text that is longer goes alone.
    """
    order = np.argsort(lengths, kind="stable")
    first = 0
    for last, index in enumerate(order):
        if last > first and (last - first + 1) * lengths[index] > most:
            yield order[first:last]
            first = last
    if len(order):
        yield order[first:]
