"""The time limit: what ends, what cannot catch it, and what stands afterwards."""

import signal
import subprocess
import sys
import threading
import time

import pytest

from tf_study.limit import TimeUp, within

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="이 시스템에는 SIGALRM이 없습니다.")


def forever():
    while True:
        pass


def endless_generator():
    while True:
        yield 1


def catches_exception():
    while True:
        try:
            forever()
        except Exception:
            continue


def catches_everything():
    while True:
        try:
            forever()
        except:  # noqa: E722
            pass


def catches_everything_twice():
    while True:
        try:
            catches_everything()
        except BaseException as error:
            str(error)


def turns_it_into_another_error():
    try:
        forever()
    except BaseException as error:
        raise ValueError("다른 오류") from error


def returns_after_it():
    try:
        forever()
    except BaseException:
        return 1


def waits():
    threading.Event().wait()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr("tf_study.limit.AGAIN", 0.02)


@pytest.mark.parametrize(
    "code",
    [
        forever,
        lambda: sum(endless_generator()),
        catches_exception,
        catches_everything,
        catches_everything_twice,
        turns_it_into_another_error,
        returns_after_it,
        waits,
    ],
)
@pytest.mark.usefixtures("impatient")
def test_code_without_end_is_stopped_whatever_it_catches(code):
    before = signal.getsignal(signal.SIGALRM)
    start = time.monotonic()
    with pytest.raises(TimeUp) as stopped:
        within(0.05, code)
    assert 0.05 <= time.monotonic() - start < 10
    assert any(module == __name__ for module, _, _ in stopped.value.lines)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_what_ends_in_time_returns_and_raises_what_it_did():
    assert within(60, lambda: 3) == 3
    with pytest.raises(ValueError, match="자기 오류"):
        within(60, lambda: (_ for _ in ()).throw(ValueError("자기 오류")))
    with pytest.raises(KeyboardInterrupt):
        within(60, lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_the_clean_up_of_stopped_code_runs():
    cleaned = []

    def code():
        try:
            forever()
        finally:
            time.sleep(0.05)
            cleaned.append(True)

    with pytest.raises(TimeUp):
        within(0.05, code)
    assert cleaned == [True]


def test_a_timer_and_handler_of_the_caller_stand_afterwards():
    rings = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rings.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 30)
        with pytest.raises(TimeUp):
            within(0.05, forever)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 30
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(TimeUp):
            within(0.2, forever)
        time.sleep(0.1)  # It would have rung during the call, and rings now.
        assert rings == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_limit_inside_a_limit():
    def inner():
        with pytest.raises(TimeUp):
            within(0.05, forever)
        forever()

    with pytest.raises(TimeUp) as stopped:
        within(0.3, inner)
    assert stopped.value.args == (0.3,)


def test_code_that_uses_the_alarm_itself_leaves_nothing_behind():
    def code():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 20)
        return 5

    before = signal.getsignal(signal.SIGALRM)
    assert within(1, code) == 5
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_there_is_no_limit_outside_of_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(within(0.01, lambda: time.sleep(0.1) or 1)))
    thread.start()
    thread.join()
    assert results == [1]


def test_there_is_no_limit_without_the_signal():
    code = (
        "import signal, time; del signal.setitimer, signal.SIGALRM\n"
        "from tf_study.limit import within; print(within(0.01, lambda: time.sleep(0.1) or 1))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


def test_a_notebook_stops_a_cell_and_goes_on():
    from jupyter_client.manager import start_new_kernel

    code = (
        "from tf_study.practice import grade, problem\n"
        "def check(answer):\n    answer(3)\n"
        "item = problem('끝', minutes=5, seconds=0.2)(check)\n"
        "def answer(n):\n    while n > 1:\n        n = n + 1\n"
        "print(*grade(item, answer))"
    )
    manager, client = start_new_kernel()
    try:
        said = []
        client.execute_interactive(code, timeout=60, output_hook=lambda m: said.append(m["content"]))
        client.execute_interactive(
            "print('이어서')", timeout=60, output_hook=lambda m: said.append(m["content"])
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    text = "".join(content.get("text", "") for content in said)
    assert text.startswith("❌ 0.2초가 지나도") and text.endswith("이어서\n")
    assert "'while n > 1:'" in text or "'n = n + 1'" in text
