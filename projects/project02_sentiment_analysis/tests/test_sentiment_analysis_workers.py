"""Workers as real processes: killed while they compute or while they wait, mistakes, models that do not open."""

import asyncio
import contextlib
import os
import signal
import sys
import time

import psutil
import pytest
import sentiment_analysis_standin as standin

from sentiment_analysis import workers
from sentiment_analysis.workers import Lost, Worker
from tf_study.errors import StudyError

workers.prepare("numpy")  # which the stand-in uses


def play(worker, action):
    async def whole():
        try:
            async with asyncio.timeout(60):
                await worker.start()
                return await action(worker)
        finally:
            worker.kill()

    return asyncio.run(whole())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


def gone(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


def test_a_killed_process_is_replaced_and_asked_again():
    told = []

    async def action(worker):
        await until(lambda: worker.ready)
        first = worker.pid
        assert await worker.call(0) == first != os.getpid()
        asked = asyncio.create_task(worker.call(1))
        await asyncio.sleep(0.1)  # It is under way.
        os.kill(first, signal.SIGKILL)
        second = await asked
        assert second != first and worker.pid == second
        await until(lambda: worker.ready)
        os.kill(second, signal.SIGKILL)  # Nothing is asked of it.
        await until(lambda: worker.pid != second and worker.ready)
        assert await worker.call(2) == worker.pid
        return worker.deaths

    assert play(Worker(standin.number, (0.3,), [0], told.append), action) == 2
    assert len(told) == 2 and all("다시 시작합니다 (상태 -9)." in line for line in told)


@pytest.mark.skipif(sys.platform != "linux", reason="리눅스에서만 한 프로세스에서 갈라집니다.")
def test_what_they_are_forked_from_may_be_killed():
    """Those that are there count as dead; the next is forked from another."""

    async def action(worker):
        first = psutil.Process(worker.pid)
        asked = asyncio.create_task(worker.call(0))
        await asyncio.sleep(0.1)  # It is under way.
        first.parent().kill()
        assert await asked == first.pid
        await until(lambda: worker.pid != first.pid and worker.ready)
        await until(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
        assert await worker.call(1) == worker.pid
        return worker.deaths

    assert play(Worker(standin.number, (0.3,)), action) == 1


def test_signals_for_all_do_not_reach_it():
    """Ctrl+C goes to every process of a terminal; the server decides when the models end."""

    async def action(worker):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid, number)
        assert await worker.call(0) == worker.pid
        return worker.deaths

    assert play(Worker(standin.number), action) == 0


def test_a_question_that_kills_every_process_is_given_up(tmp_path):
    async def action(worker):
        with pytest.raises(Lost):
            await worker.call(["죽어"])
        lost = worker.deaths
        found = await worker.call(["좋다"])
        assert found[0, 1] > 0.5
        found = await worker.call(["나쁘다", f"죽어{tmp_path / '표시'}"])  # This one dies once.
        assert found[0, 1] < 0.5 and worker.deaths == lost + 1
        return lost

    assert play(Worker(standin.classifier), action) == workers.TRIES


def test_a_mistake_says_where_and_not_what():
    async def action(worker):
        with pytest.raises(RuntimeError) as caught:
            await worker.call(["틀려"])
        assert str(caught.value).startswith("ValueError < sentiment_analysis_standin.py:")
        assert "비밀" not in str(caught.value)
        assert (await worker.call(["좋다"])).shape == (1, 2)
        return worker.deaths

    assert play(Worker(standin.classifier), action) == 0


@pytest.mark.parametrize(
    ("build", "arguments", "sentence"),
    [(standin.broken, ("모델이 깨졌으니 다시 내보내세요.",), "모델이 깨졌으니 다시 내보내세요."), (standin.dead, (), "상태 3")],
)  # fmt: skip
def test_a_model_that_does_not_open(build, arguments, sentence):
    worker = Worker(build, arguments)
    with pytest.raises(StudyError, match=sentence):
        play(worker, None)
    assert not worker.ready


def test_one_that_hangs_is_replaced(monkeypatch):
    monkeypatch.setattr(workers, "SECONDS", 0.2)

    async def action(worker):
        with pytest.raises(Lost):
            await worker.call(0)
        return worker.deaths

    assert play(Worker(standin.number, (60,)), action) == workers.TRIES


def test_the_end_ends_what_is_asked():
    async def action(worker):
        pid = worker.pid
        asked = asyncio.create_task(worker.call(0))
        await asyncio.sleep(0.1)
        start = time.monotonic()
        worker.kill()
        with pytest.raises(Lost):
            await asked
        with pytest.raises((Lost, RuntimeError)):
            await worker.call(0)
        assert time.monotonic() - start < 5
        return pid

    worker = Worker(standin.number, (60,))
    pid = play(worker, action)
    worker._process.join(10)
    assert gone(pid) and worker.deaths == 0
