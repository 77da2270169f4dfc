"""Batches: when they are full, when time is up, who leaves, no room, mistakes, several workers; groups by length."""

import asyncio

import numpy as np
import pytest

from sentiment_analysis.batching import Batcher, Full, groups


class Held:
    """A worker that notes its batches and answers each when the test lets it."""

    def __init__(self):
        self.batches, self.go = [], asyncio.Semaphore(0)

    async def __call__(self, values):
        self.batches.append(values)
        await self.go.acquire()
        if "틀려" in values:
            raise ValueError("틀려")
        return [f"{value}!" for value in values]


def play(action, *, workers=1, most=4, wait=0.0, room=8, **options):
    """Run ``action(batcher, worker, ...)`` with held workers."""

    async def whole():
        held = [Held() for _ in range(workers)]
        batcher = Batcher(held, most, wait, room, **options)
        batcher.start()
        try:
            async with asyncio.timeout(20):
                return await action(batcher, *held)
        finally:
            batcher.close()

    return asyncio.run(whole())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def ask(batcher, *values):
    return asyncio.create_task(batcher.submit(values))


def test_what_piles_up_is_one_batch():
    async def action(batcher, worker):
        first = ask(batcher, "하나")
        await until(lambda: worker.batches)
        others = [ask(batcher, value) for value in "가나다라마"]
        await asyncio.sleep(0)
        for _ in range(3):
            worker.go.release()
        answers = await asyncio.gather(first, *others)
        assert answers == [["하나!"], ["가!"], ["나!"], ["다!"], ["라!"], ["마!"]]
        return worker.batches

    assert play(action) == [["하나"], ["가", "나", "다", "라"], ["마"]]


def test_a_free_worker_waits_for_others_but_not_longer_than_it_may():
    noted = []

    async def action(batcher, worker):
        loop = asyncio.get_running_loop()
        start = loop.time()
        first = ask(batcher, "가")
        await asyncio.sleep(0.05)
        second = ask(batcher, "나")
        await until(lambda: worker.batches)
        waited = loop.time() - start
        for _ in range(2):
            worker.go.release()
        await asyncio.gather(first, second)
        full, start = ask(batcher, *"가나다라"), loop.time()
        assert await full == ["가!", "나!", "다!", "라!"]  # A full batch does not wait.
        assert loop.time() - start < 0.15
        return waited, worker.batches

    waited, batches = play(action, wait=0.2, note=lambda *both: noted.append(both))
    assert batches == [["가", "나"], ["가", "나", "다", "라"]]
    assert waited >= 0.19
    assert [size for size, _ in noted] == [2, 4] and noted[0][1] >= 0.19 and noted[1][1] < 0.15


def test_the_wait_counts_from_the_arrival():
    """Who waited while another batch was computed does not wait again."""

    async def action(batcher, worker):
        loop = asyncio.get_running_loop()
        full = ask(batcher, *"가나다라")
        await until(lambda: worker.batches)
        late = ask(batcher, "마")
        await asyncio.sleep(0.3)
        start = loop.time()
        worker.go.release()
        await until(lambda: len(worker.batches) == 2)
        assert loop.time() - start < 0.15
        worker.go.release()
        await asyncio.gather(full, late)

    play(action, wait=0.3)


def test_who_leaves_is_not_computed():
    async def action(batcher, worker):
        first = ask(batcher, "하나")
        await until(lambda: worker.batches)
        second, third = ask(batcher, "둘", "셋"), ask(batcher, "넷")
        await asyncio.sleep(0)
        first.cancel()  # It is computed already; nobody hears of it.
        second.cancel()
        await asyncio.sleep(0)
        for _ in range(2):
            worker.go.release()
        assert await third == ["넷!"]
        return worker.batches

    assert play(action) == [["하나"], ["넷"]]


def test_no_room():
    async def action(batcher, worker):
        tasks = [ask(batcher, "하나")]
        await until(lambda: worker.batches)
        tasks.append(ask(batcher, *range(6)))
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await batcher.submit(range(3))  # All of them or none.
        tasks.append(ask(batcher, 6, 7))
        await asyncio.sleep(0)
        with pytest.raises(Full):
            await batcher.submit(["더"])
        tasks[1].cancel()
        await asyncio.sleep(0)
        tasks.append(ask(batcher, *range(8, 14)))  # Who has left takes no room.
        for _ in range(3):
            worker.go.release()
        await asyncio.wait(tasks)
        return tasks[2].result() + tasks[3].result()

    assert play(action) == [f"{value}!" for value in range(6, 14)]


def test_a_mistake_reaches_those_of_its_batch():
    async def action(batcher, worker):
        both = [ask(batcher, "틀려"), ask(batcher, "가", "나")]
        for _ in range(2):
            worker.go.release()
        assert [str(one) for one in await asyncio.gather(*both, return_exceptions=True)] == ["틀려", "틀려"]
        assert await batcher.submit(["다"]) == ["다!"]

    play(action)


def test_several_workers_share_the_line():
    async def action(batcher, one, two):
        tasks = [ask(batcher, number) for number in range(2)]
        await until(lambda: one.batches and two.batches)  # The second does not wait for the first.
        for worker in (one, two):
            worker.go.release()
        assert sorted(await asyncio.gather(*tasks)) == [["0!"], ["1!"]]

    play(action, workers=2, most=1)


def test_groups_hold_what_fits_and_lose_nothing():
    rng = np.random.default_rng(0)
    for most in (1, 64, 300, 10**6):
        lengths = rng.integers(3, 65, 100)
        found = list(groups(lengths, most))
        assert sorted(np.concatenate(found).tolist()) == list(range(100))
        assert all(len(group) * lengths[group].max() <= most or len(group) == 1 for group in found)
        joined = lengths[np.concatenate(found)]
        assert (np.diff(joined) >= 0).all()
        for group, after in zip(found, found[1:], strict=False):  # None could have taken one more.
            assert (len(group) + 1) * lengths[after[0]] > most
    assert list(groups([], 10)) == []


def test_sorting_saves_padding():
    lengths = np.random.default_rng(1).integers(5, 65, 64)
    computed = sum(len(group) * lengths[group].max() for group in groups(lengths, 512))
    assert computed < 1.25 * lengths.sum() and 64 * lengths.max() > 1.6 * lengths.sum()
