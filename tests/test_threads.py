"""Ranks as threads: the same results and bytes as processes, and no rank that outlives a call."""

import threading
import time

import numpy as np
import pytest

from tf_study import threads, workers
from tf_study.errors import StudyError


def collectives(comm, scale):
    total = comm.all_reduce(scale * np.arange(5.0) * (comm.rank + 1))
    return total, np.concatenate(comm.all_gather(np.full(comm.rank + 1, comm.rank))), dict(comm.sent)


def test_threads_give_what_processes_give():
    for one, two in zip(
        threads.run(collectives, 3, scale=2.0), workers.run(collectives, 3, scale=2.0), strict=True
    ):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert one[2] == two[2]


def never(comm):
    while comm.rank:
        time.sleep(0.01)
    return comm.recv(1)


def test_a_rank_that_waits_and_one_that_computes_are_stopped_and_named():
    before = threading.active_count()
    with pytest.raises(StudyError, match="0번은 1번을 기다림, 1번은 계산함"):
        threads.run(never, 2, timeout=0.3)
    assert threading.active_count() == before


def test_what_a_rank_raises_comes_out_and_not_that_others_missed_it():
    def work(comm):
        if comm.rank == 1:
            raise NotImplementedError
        comm.barrier()

    with pytest.raises(NotImplementedError):
        threads.run(work, 3)


def test_a_rank_that_ends_too_soon_is_named():
    with pytest.raises(StudyError, match="1번이 먼저 끝나 0번이"):
        threads.run(lambda comm: comm.rank or comm.barrier(), 2)
