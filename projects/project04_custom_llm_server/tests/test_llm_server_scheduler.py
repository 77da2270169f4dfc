"""The scheduler on random traces: every block counted at every step, every sequence ended, first come first served."""

import numpy as np
import pytest

from llm_server.scheduler import Generating, Scheduler
from tf_study.paged import Pool


class Trace:
    """A scheduler under random load, with a model that remembers what was written where."""

    def __init__(self, seed, blocks, size, slots, budget, caching):
        self.rng = np.random.default_rng(seed)
        self.scheduler = Scheduler(Pool(blocks, size, caching), slots, budget)
        self.room = (blocks - 1) * size
        self.texts = self.rng.integers(0, 5, (3, self.room)).tolist()
        self.written = {}  # (block, place) → all tokens up to that one
        self.ended = {}
        self.all = []

    def sequence(self):
        limit = int(self.rng.integers(2, self.room + 1))
        prompt = int(self.rng.integers(1, limit))
        shared = int(self.rng.integers(0, prompt + 1))
        text = self.texts[self.rng.integers(3)][:shared] + self.rng.integers(0, 5, prompt - shared).tolist()
        return Generating(
            text, limit, stops=frozenset({4} if self.rng.random() < 0.3 else ()), owner=len(self.all)
        )

    def step(self):
        if self.rng.random() < 0.4:
            self.all.append(self.sequence())
            self.scheduler.add(self.all[-1])
        if self.all and self.rng.random() < 0.05:
            self.abort(self.all[self.rng.integers(len(self.all))])
        self.compute()

    def abort(self, sequence):
        before = self.scheduler.finished["abort"]
        self.scheduler.abort(sequence)
        assert (self.scheduler.finished["abort"] > before) == (sequence.owner not in self.ended)
        self.ended.setdefault(sequence.owner, "abort")

    def compute(self):
        s, size = self.scheduler, self.scheduler.pool.size
        before, preemptions = list(s.running), s.preemptions
        parts = s.schedule()
        if victims := s.preemptions - preemptions:  # Who has made room is not let in again at once.
            assert s.running == before[: len(before) - victims]
        assert bool(parts) == bool(s.running or s.waiting)  # Something always goes on.
        assert sum(part.count for part in parts) <= s.budget and len(s.running) <= s.slots
        assert len({id(part.sequence) for part in parts}) == len(parts) and min(
            part.count for part in parts or [ONE]
        )
        for part in parts:
            q = part.sequence
            for place in range(q.computed, q.computed + part.count):
                self.written[q.table[place // size], place % size] = tuple(q.tokens[: place + 1])
        for part in parts:  # What a row attends to is what its own sequence has written, or an equal one.
            q = part.sequence
            for place in range(q.computed + part.count):
                assert self.written[q.table[place // size], place % size] == tuple(q.tokens[: place + 1])
        self.check_blocks()
        tokens = [int(self.rng.integers(5)) for part in parts if part.gives]
        for q, token, reason in s.commit(parts, tokens):
            assert reason == ("stop" if token in q.stops else "length" if len(q.tokens) == q.limit else None)
            if reason:
                assert q.owner not in self.ended
                self.ended[q.owner] = reason
        self.check_blocks()

    def check_blocks(self):
        """Each block is free or in as many tables as it counts; no table names one twice."""
        pool, counts = self.scheduler.pool, np.zeros(len(self.scheduler.pool.refs), int)
        for q in self.scheduler.running:
            assert len(set(q.table)) == len(q.table) and 0 not in q.table
            counts[q.table] += 1
        assert counts.tolist() == list(pool.refs)
        assert set(pool.free) == set(np.flatnonzero(counts == 0)) - {0}
        assert not any(q.table for q in self.scheduler.waiting)


class ONE:
    count = 1


@pytest.mark.parametrize("caching", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_random_traces(seed, caching):
    rng = np.random.default_rng(100 + seed)
    slots = int(rng.integers(1, 7))
    trace = Trace(
        seed, int(rng.integers(4, 40)), int(rng.integers(1, 6)), slots, int(rng.integers(slots, 20)), caching
    )
    for _ in range(250):
        trace.step()
    while trace.scheduler.running or trace.scheduler.waiting:
        trace.compute()
    assert len(trace.ended) == len(trace.all) and trace.scheduler.usage() == 0
    s = trace.scheduler
    assert sum(s.finished.values()) == len(trace.all) and s.prompt_tokens == sum(q.prompt for q in trace.all)
    assert s.generated_tokens == sum(len(q.tokens) - q.prompt for q in trace.all)
    assert (s.hits > 0) == caching


def test_the_traces_see_everything():
    """The loads above pre-empt, hit and end in every way, or they would test little."""
    preemptions, reasons = 0, set()
    for seed in range(4):
        trace = Trace(seed, 12, 4, 4, 8, True)
        for _ in range(250):
            trace.step()
        preemptions += trace.scheduler.preemptions
        reasons |= set(trace.scheduler.finished)
    assert preemptions > 20 and reasons == {"stop", "length", "abort"}


def order(scheduler):
    """Run to the end; return owners in the order of their first tokens."""
    first = []
    while scheduler.running or scheduler.waiting:
        parts = scheduler.schedule()
        for sequence, _, _ in scheduler.commit(parts, [1] * sum(part.gives for part in parts)):
            if sequence.owner not in first:
                first.append(sequence.owner)
    return first


def test_first_come_first_served_even_when_a_later_one_would_fit():
    scheduler = Scheduler(Pool(9, 4, caching=False), slots=4, budget=16)
    for name, prompt in enumerate((20, 24, 2, 2)):
        scheduler.add(Generating([0] * prompt, prompt + 4, owner=name))
    assert order(scheduler) == [0, 1, 2, 3]


def test_a_long_prompt_comes_in_pieces_and_does_not_stop_the_others():
    scheduler = Scheduler(Pool(99, 4), slots=4, budget=8)
    short, long = Generating([1, 2], 60, owner="short"), Generating(list(range(40)), 42, owner="long")
    scheduler.add(short)
    scheduler.commit(scheduler.schedule(), [5])
    scheduler.add(long)
    counts = []
    while long.missing > 1 or not counts:
        parts = scheduler.schedule()
        counts.append([part.count for part in parts])
        assert parts[0].sequence is short
        scheduler.commit(parts, [5] * sum(part.gives for part in parts))
        if len(long.tokens) > 40:
            break
    assert counts == [[1, 7]] * 5 + [[1, 5]]


def test_the_last_to_come_makes_room_and_keeps_its_tokens():
    scheduler = Scheduler(Pool(5, 2, caching=False), slots=2, budget=8)
    first, last = Generating([1, 1, 1], 8, owner="first"), Generating([2, 2], 6, owner="last")
    scheduler.add(first), scheduler.add(last)
    seen = []
    while scheduler.running or scheduler.waiting:
        parts = scheduler.schedule()
        seen.append([(part.sequence.owner, part.count) for part in parts])
        scheduler.commit(parts, [3] * sum(part.gives for part in parts))
    assert (
        scheduler.preemptions >= 1 and first.tokens == [1] * 3 + [3] * 5 and last.tokens == [2] * 2 + [3] * 4
    )
    again = next(row for row in seen[1:] if row[-1][0] == "last" and row[-1][1] > 1)
    assert again[-1][1] >= 3  # prompt and answer so far, computed again


@pytest.mark.parametrize("prompt, limit", [(0, 5), (5, 5), (3, 41)])
def test_what_can_never_run_is_refused(prompt, limit):
    with pytest.raises(ValueError):
        Scheduler(Pool(11, 4)).add(Generating([1] * prompt, limit))
    assert Scheduler(Pool(11, 4)).add(Generating([1] * 3, 40)) is None
